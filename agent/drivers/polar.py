# Ref: Polar, "Polar Measurement Data Specification" (PMD) for H10, polar-ble-sdk technical documentation; H10's real
# rate of 130.06 Hz: own observation of timestamps in public recordings.
"""Polar H10 chest strap: one ECG lead at 130 Hz over the PMD service.

Data FB005C82: 00 (ECG), u64 ns since 2000-01-01 of the last sample, frame type 00, samples s24 in uV, little endian.
The strap's clock falls back to 2019 when it loses power, so it dates nothing; it does count what is missing, in its
own rate, which is learned (own_clock.py).
"""

import struct
from datetime import datetime, timedelta

import numpy as np

from agent.drivers.base import DecoderCounters, Item
from agent.drivers.own_clock import OwnClock
from agent.drivers.pace import Track
from agent.model import GapReason, InstrumentEvent, Signal, Stream

CONTROL = "fb005c81-02e7-f387-1cad-8acd2d8df0c8"
DATA = "fb005c82-02e7-f387-1cad-8acd2d8df0c8"
START_ECG = bytes.fromhex("02 00 00 01 82 00 01 01 0e 00")  # sample rate 130, resolution 14 bits
RESPONSE, START, ALREADY_STREAMING = 0xF0, 0x02, 0x06

FS_HZ = 130.0
ECG, RAW = 0x00, 0x00
HEADER = struct.Struct("<xQx")  # kind, own time, frame type
SAMPLE = 3
INT32 = np.dtype("<i4")
EIGHT_BITS = np.int32(8)
EPOCH = datetime(2000, 1, 1)  # noqa: DTZ001 (the strap's own clock has no zone)
FARTHEST_S = 60  # a jump of the strap's clock beyond this is the clock's
MDC_LEAD_UNSPECIFIED = 131072


class PolarDecoder:
    """ECG in uV; what the strap's timestamps say is missing is a Gap."""

    def __init__(self, instrument: str) -> None:
        self.counters = DecoderCounters()
        self._instrument = instrument
        self._track = Track(
            Stream(
                f"{instrument}.ecg", Signal.ECG, instrument, FS_HZ, 1.0, "uV", "dérivation non standard",
                MDC_LEAD_UNSPECIFIED, resolution_bits=24,
            ),
            counted=True,
        )  # fmt: skip
        self._last_ns: int | None = None
        self._own = OwnClock(FS_HZ)

    @property
    def streams(self) -> tuple[Stream, ...]:
        """The ECG."""
        return self._track.streams

    def resume(self) -> None:
        """The next samples open with a Gap."""
        self._last_ns = None
        self._own.restart()
        self._track.resume()

    def feed(self, channel: str, data: bytes, t_ns: int) -> list[Item]:
        """Decode one notification (data) or indication (control)."""
        if channel == CONTROL:
            return self._answer(data, t_ns)
        n, rest = divmod(len(data) - HEADER.size, SAMPLE)
        if n < 1 or rest or data[0] != ECG or data[HEADER.size - 1] != RAW:
            self.counters.damaged += 1
            self.counters.skipped_bytes += len(data)
            return []
        self.counters.frames += 1
        samples = signed24(data, HEADER.size)
        (own_ns,) = HEADER.unpack_from(data)
        items: list[Item] = []
        if self._last_ns is None:
            passed = n
            own = EPOCH + timedelta(microseconds=own_ns // 1000 % (1 << 51))  # a wild clock stays a date
            items.append(InstrumentEvent(self._instrument, t_ns, what="clock", detail=own.isoformat()))
        elif 0 < own_ns - self._last_ns < FARTHEST_S * 10**9:
            passed = round((own_ns - self._last_ns) * self._own.rate_hz / 1e9)
            items += self._track.skip(passed - n, GapReason.LINK)
        else:
            passed = n
            self._own.restart()
        self._last_ns = own_ns
        if news := self._own.take(own_ns, max(passed, n), t_ns):
            items.append(InstrumentEvent(self._instrument, t_ns, what="clock_drift", detail=news))
        items += self._track.take(samples, t_ns)
        return items

    def _answer(self, data: bytes, t_ns: int) -> list[Item]:
        refused = len(data) > 3 and data[0] == RESPONSE and data[1] == START and data[3] not in {0, ALREADY_STREAMING}
        return [InstrumentEvent(self._instrument, t_ns, what="refused", detail=data.hex())] if refused else []


def signed24(data: bytes, start: int) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    """The little-endian 24-bit numbers from byte `start` (1 or later) to the end, as int32.

    Each is read as the top of a 32-bit number whose lowest byte is its neighbour's, which the shift drops.
    """
    numbers = np.ndarray(((len(data) - start) // SAMPLE,), INT32, data, start - 1, (SAMPLE,)).copy()  # now aligned
    numbers >>= EIGHT_BITS
    return numbers
