# Ref: ProtoCentral, healthypi v4 firmware (protocentral_healthypi_v4, Healthypiv4_Arduino.ino, V3_MODE serial frame;
# Protocentral_ADS1292r.cpp registers); TI SBAS502 (ADS1292R), SBAS602 (AFE4490).
"""HealthyPi v4 over USB serial, 115200 8N1: a 27-byte frame per sample, 125 a second.

`0A FA 14 00 02` | ecg s16, respiration s16, infrared s32, red s32, temperature u16 x 0.01 degC, respiration rate,
SpO2, heart rate, 80, 120, lead status | `00 0B`. No checksum, no sequence number. The 80 and 120 are constants of the
firmware and never a blood pressure.

Gains: the firmware sends the upper 16 of the ADS1292R's 24 bits of channel 2 (VREF 2.42 V, CH2SET = 0x60: PGA 12, its
comment "gain 6" notwithstanding), so an ECG count is 2.42 V / 12 / 2^15 = 6.154 uV; of channel 1 (PGA 4, respiration)
the lower 16 bits, so a count is 2.42 V / 4 / 2^23 = 72.1 nV and large swings wrap. Red and infrared are the AFE4490's
22-bit codes, +-1.2 V at its converter: 0.572 uV. The board has already low-passed ECG at 40 Hz (161 taps: 0.64 s late).
"""

import struct

import numpy as np

from agent.drivers.base import DecoderCounters, Item
from agent.drivers.pace import Track
from agent.drivers.readings import Readings
from agent.model import GapReason, InstrumentEvent, Kind, NoValue, Signal, Stream

HEAD = b"\x0a\xfa\x14\x00\x02"
TAIL = b"\x00\x0b"
BODY = struct.Struct("<hhiiHBBB2xB")
SIZE = len(HEAD) + BODY.size + len(TAIL)
TAIL_AT = SIZE - len(TAIL)
FS_HZ = 125.0
LOOK_EVERY = 25  # frames between looks at numbers that have not changed

ECG_UV = 2.42e6 / 12 / 2**15
RESPIRATION_UV = 2.42e6 / 4 / 2**23
LIGHT_UV = 1.2e6 / 2**21
MDC_LEAD_I = 131329
LEAD_OFF_BITS = 0x1F
NONE = (0x00, 0xFF)


class HealthyPi4Decoder:
    """Streams ecg, respiration, infrared, red at 125 Hz; numerics on change and once a second."""

    def __init__(self, instrument: str) -> None:
        self.counters = DecoderCounters()
        self._instrument = instrument
        self._readings = Readings(instrument, self.counters)
        self._track = Track(
            Stream(f"{instrument}.ecg", Signal.ECG, instrument, FS_HZ, ECG_UV, "uV", "DI", MDC_LEAD_I),
            Stream(f"{instrument}.respiration", Signal.RESPIRATION, instrument, FS_HZ, RESPIRATION_UV, "uV"),
            Stream(f"{instrument}.infrared", Signal.INFRARED, instrument, FS_HZ, LIGHT_UV, "uV", resolution_bits=22),
            Stream(f"{instrument}.red", Signal.RED, instrument, FS_HZ, LIGHT_UV, "uV", resolution_bits=22),
        )
        self._buffer = bytearray()
        self._skipped = 0
        self._synced = False
        self._lead_off: int | None = None
        self._numbers: tuple[int, ...] = ()

    @property
    def streams(self) -> tuple[Stream, ...]:
        """ECG, respiration, infrared, red."""
        return self._track.streams

    def resume(self) -> None:
        """Forget the cut frame; the next samples open with a Gap."""
        self._buffer.clear()
        self._skipped = 0
        self._synced = False
        self._track.resume()

    def feed(self, channel: str, data: bytes, t_ns: int) -> list[Item]:
        """Take bytes from the port."""
        del channel
        buffer = self._buffer
        buffer += data
        items: list[Item] = []
        rows: list[tuple[int, int, int, int]] = []
        at, end = 0, len(buffer)
        while end - at >= SIZE:
            if buffer.startswith(HEAD, at) and buffer.startswith(TAIL, at + TAIL_AT):
                if self._skipped:
                    items += self._samples(rows, t_ns) + self._damage()
                    rows = []
                *row, temperature, breaths, spo2, rate, leads = BODY.unpack_from(buffer, at + len(HEAD))
                rows.append((row[0], row[1], row[2], row[3]))
                numbers = breaths, spo2, rate, leads
                if numbers != self._numbers or self.counters.frames % LOOK_EVERY == 0:
                    self._numbers = numbers
                    items += self._numerics(temperature, breaths, spo2, rate, leads, t_ns)
                self.counters.frames += 1
                self._synced = True
                at += SIZE
            else:
                found = buffer.find(HEAD, at + 1)
                following = found if found >= 0 else end - len(HEAD) + 1
                self._skipped += following - at
                at = following
        del buffer[:at]
        return items + self._samples(rows, t_ns)

    def _samples(self, rows: list[tuple[int, int, int, int]], t_ns: int) -> list[Item]:
        return [*self._track.take(np.array(rows, np.int32), t_ns)] if rows else []

    def _damage(self) -> list[Item]:
        frames = -(-self._skipped // SIZE) if self._synced else 0
        self.counters.damaged += frames
        self.counters.skipped_bytes += self._skipped
        self._skipped = 0
        return [*self._track.skip(frames, GapReason.DAMAGED)]

    def _numerics(self, temperature: int, breaths: int, spo2: int, rate: int, leads: int, t_ns: int) -> list[Item]:
        items: list[Item] = []
        frame = self.counters.frames
        every = int(FS_HZ)
        off = leads & LEAD_OFF_BITS
        if off != self._lead_off:
            what = "lead_off" if off else "lead_on"
            if off or self._lead_off:
                items.append(InstrumentEvent(self._instrument, t_ns, what=what, detail=f"{off:#04x}"))
            self._lead_off = off
        make = self._readings
        if frame % every == 0 and temperature:
            items.append(make.value(Kind.TEMPERATURE, t_ns, temperature, -2, site="peau"))
        if make.due(Kind.SPO2, spo2, frame, every):
            items.append(
                make.missing(Kind.SPO2, t_ns, NoValue.INSTRUMENT) if spo2 in NONE else make.value(Kind.SPO2, t_ns, spo2)
            )
        no_ecg = NoValue.LEAD_OFF if off else NoValue.NO_BEATS
        for kind, value in ((Kind.HEART_RATE, rate), (Kind.RESPIRATION_RATE, breaths)):
            if make.due(kind, (value, off), frame, every):
                known = value not in NONE and not off
                items.append(make.value(kind, t_ns, value) if known else make.missing(kind, t_ns, no_ecg))
        return items
