# Ref: Nonin, WristOx2 3150 BLE, "Nonin oximetry service" 113142-000-02 rev B (continuous oximetry DF19, PPG DF22).
"""Nonin 3150 over BLE: pleth at 75 Hz, 25 samples a notification with a counter; numerics once a second.

PPG: 35 (length 53), 25 x u16, u16 counter. Oximetry: length 10, status, battery x 0.1 V, pulse amplitude index u16 x
0.01 %, u16 counter, SpO2, u16 pulse rate. All big endian. Status: 1 weak signal, 2 SmartPoint, 3 searching, 4 sensor
on the finger, 5 battery low, 6 encrypted.
"""

import struct

import numpy as np

from agent.drivers.base import DecoderCounters, Item
from agent.drivers.nonin import FRAMES, FS_HZ, NO_RATE, NO_SPO2
from agent.drivers.pace import Track
from agent.drivers.readings import Readings
from agent.model import GapReason, InstrumentEvent, Kind, NoValue, ReadingQuality, Signal, Stream

PPG = "ec0a883a-4d24-11e7-b114-b2f933d5fe66"
OXIMETRY = "0aad7ea0-0d60-11e2-8e3c-0002a5d5c51b"
PPG_SIZE = 1 + 2 * FRAMES + 2
NUMERICS = struct.Struct(">BBBHHBH")
WEAK, SMART_POINT, SEARCHING, ON_FINGER, BATTERY_LOW = 0x02, 0x04, 0x08, 0x10, 0x20
FARTHEST = 1000  # notifications that a jump of the counter may mean; more is a counter that began anew


class Nonin3150Decoder:
    """Pleth with its losses counted by the instrument's own counter; SpO2, pulse rate, perfusion index."""

    def __init__(self, instrument: str) -> None:
        self.counters = DecoderCounters()
        self._instrument = instrument
        self._readings = Readings(instrument, self.counters)
        self._track = Track(
            Stream(f"{instrument}.pleth", Signal.PLETH, instrument, FS_HZ, 1.0, "1", "doigt"), counted=True
        )
        self._following: int | None = None
        self._battery_low = False

    @property
    def streams(self) -> tuple[Stream, ...]:
        """The pleth."""
        return self._track.streams

    def resume(self) -> None:
        """The next samples open with a Gap."""
        self._following = None
        self._track.resume()

    def feed(self, channel: str, data: bytes, t_ns: int) -> list[Item]:
        """Decode one notification of `channel`."""
        if channel == PPG and len(data) == PPG_SIZE == data[0]:
            return self._pleth(data, t_ns)
        if channel == OXIMETRY and len(data) == NUMERICS.size == data[0]:
            return self._numerics(data, t_ns)
        self.counters.damaged += 1
        self.counters.skipped_bytes += len(data)
        return []

    def _pleth(self, data: bytes, t_ns: int) -> list[Item]:
        self.counters.frames += 1
        counter = int.from_bytes(data[-2:], "big")
        items: list[Item] = []
        if self._following is not None:
            missed = (counter - self._following) & 0xFFFF
            if missed < FARTHEST:
                items += self._track.skip(missed * FRAMES, GapReason.LINK)
        self._following = counter + 1 & 0xFFFF
        samples = np.frombuffer(data, ">u2", FRAMES, 1).astype(np.int32)
        return [*items, *self._track.take(samples, t_ns)]

    def _numerics(self, data: bytes, t_ns: int) -> list[Item]:
        self.counters.frames += 1
        _, status, battery, amplitude, _, spo2, rate = NUMERICS.unpack(data)
        words = tuple(
            word
            for bit, word in ((WEAK, "weak_signal"), (SEARCHING, "searching"), (BATTERY_LOW, "battery_low"))
            if status & bit
        )
        reason = (
            NoValue.PROBE_OFF
            if not status & ON_FINGER
            else NoValue.STARTING
            if status & SEARCHING
            else NoValue.POOR_SIGNAL
        )
        quality = ReadingQuality.GOOD if status & SMART_POINT else ReadingQuality.QUESTIONABLE
        items: list[Item] = []
        for kind, number, none in ((Kind.SPO2, spo2, NO_SPO2), (Kind.PULSE_RATE, rate, NO_RATE)):
            if number == none or not status & ON_FINGER:
                items.append(self._readings.missing(kind, t_ns, reason, site="doigt", flags=words))
            else:
                items.append(self._readings.value(kind, t_ns, number, quality=quality, site="doigt", flags=words))
        if amplitude and status & ON_FINGER:
            items.append(self._readings.value(Kind.PERFUSION_INDEX, t_ns, amplitude, -2, site="doigt", flags=words))
        low, before = bool(status & BATTERY_LOW), self._battery_low
        self._battery_low = low
        if low and not before:
            items.append(InstrumentEvent(self._instrument, t_ns, what="battery_low", detail=f"{battery / 10:.1f} V"))
        return items
