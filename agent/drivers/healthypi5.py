# Ref: ProtoCentral, protocentral_healthypi5_zephyr, app/src/data_module.c (OpenView frame: type 2; OV3 frames: types 3
# and 4); Analog Devices MAX30001 data sheet (ECG LSB = VREF / 2^17 / gain), TI SBAS602 (AFE4400).
"""HealthyPi 5 over USB (CDC-ACM): `0A FA` length u16 type, data, `00 0B`; no checksum, no sequence number.

Type 2 (22 bytes, 125 a second; some firmware): ecg s32, bio-impedance s32, its skip mark, red s32,
infrared s32, temperature s16, SpO2, heart rate, respiration rate. Type 3 (50 bytes): 8 ecg s32 at 125 Hz, 4
bio-impedance s32, heart rate, respiration rate. Type 4 (19 bytes): 8 pleth s16 at 100 Hz, SpO2, temperature twice its
upper byte (a fault of the firmware: no temperature is given).
ECG counts are MAX30001's, gain 20 V/V, VREF 1 V: 0.381 uV (to be confirmed on a board).
"""

import struct

import numpy as np

from agent.drivers.base import DecoderCounters, Item
from agent.drivers.pace import Track
from agent.drivers.readings import Readings
from agent.model import GapReason, Kind, NoValue, Signal, Stream

START = b"\x0a\xfa"
TAIL = b"\x00\x0b"
HEAD = 5
BODIES = {2: 22, 3: 50, 4: 19}
OPENVIEW_KIND = 2
OPENVIEW = struct.Struct("<iiBiihBBB")
ECG_FS_HZ, BIOZ_FS_HZ, PPG_FS_HZ = 125.0, 62.5, 100.0
ECG_UV = 1e6 / 20 / 2**17
MDC_LEAD_I = 131329
NONE = (0x00, 0xFF)


class HealthyPi5Decoder:
    """ECG and respiration, pleth (type 4) or red and infrared (type 2), numerics on change and once a second."""

    def __init__(self, instrument: str) -> None:
        self.counters = DecoderCounters()
        self._readings = Readings(instrument, self.counters)

        def stream(name: str, signal: Signal, fs_hz: float, gain: float = 1.0, unit: str = "1") -> Stream:
            lead, mdc = ("DI", MDC_LEAD_I) if signal is Signal.ECG else (None, None)
            return Stream(f"{instrument}.{name}", signal, instrument, fs_hz, gain, unit, lead, mdc, 32)

        self._ecg = Track(stream("ecg", Signal.ECG, ECG_FS_HZ, ECG_UV, "uV"))
        self._respiration = Track(stream("respiration", Signal.RESPIRATION, BIOZ_FS_HZ))
        self._pleth = Track(stream("pleth", Signal.PLETH, PPG_FS_HZ))
        self._light = Track(stream("red", Signal.RED, ECG_FS_HZ), stream("infrared", Signal.INFRARED, ECG_FS_HZ))
        self._tracks = (self._ecg, self._respiration, self._pleth, self._light)
        self._buffer = bytearray()
        self._skipped = 0
        self._last_kind = 0

    @property
    def streams(self) -> tuple[Stream, ...]:
        """All that some firmware gives."""
        return tuple(stream for track in self._tracks for stream in track.streams)

    def resume(self) -> None:
        """Forget the cut frame; the next samples open with a Gap."""
        self._buffer.clear()
        self._skipped = 0
        self._last_kind = 0
        for track in self._tracks:
            track.resume()

    def feed(self, channel: str, data: bytes, t_ns: int) -> list[Item]:
        """Take bytes from the port."""
        del channel
        buffer = self._buffer
        buffer += data
        items: list[Item] = []
        at, end = 0, len(buffer)
        while end - at >= HEAD:
            kind = buffer[at + 4]
            length = BODIES.get(kind, 0)
            head = START + length.to_bytes(2, "little")
            if length and buffer.startswith(head, at):
                size = HEAD + length + len(TAIL)
                if end - at < size:
                    break
                if buffer.startswith(TAIL, at + HEAD + length):
                    items += self._damage(kind)
                    items += self._frame(kind, bytes(buffer[at + HEAD : at + HEAD + length]), t_ns)
                    self.counters.frames += 1
                    self._last_kind = kind
                    at += size
                    continue
            at += 1
            self._skipped += 1
        del buffer[:at]
        return items

    def _damage(self, kind: int) -> list[Item]:
        """Bytes were skipped before this frame: their number tells which frames they were."""
        skipped, self._skipped = self._skipped, 0
        if not skipped:
            return []
        self.counters.skipped_bytes += skipped
        if not self._last_kind:
            return []
        items: list[Item] = []
        if kind == OPENVIEW_KIND:
            frames = -(-skipped // (HEAD + BODIES[kind] + len(TAIL)))
            self.counters.damaged += frames
            for track in (self._ecg, self._light):
                items += track.skip(frames, GapReason.DAMAGED)
            return items
        ecg, pleth = likeliest(skipped)
        self.counters.damaged += ecg + pleth
        items += self._ecg.skip(8 * ecg, GapReason.DAMAGED)
        items += self._respiration.skip(4 * ecg, GapReason.DAMAGED)
        items += self._pleth.skip(8 * pleth, GapReason.DAMAGED)
        return items

    def _frame(self, kind: int, body: bytes, t_ns: int) -> list[Item]:
        items: list[Item] = []
        match kind:
            case 2:  # OPENVIEW_KIND
                ecg, bioz, skip, red, infrared, temperature, spo2, rate, breaths = OPENVIEW.unpack(body)
                items += self._ecg.take(np.array([ecg], np.int32), t_ns)
                if not skip:
                    items += self._respiration.take(np.array([bioz], np.int32), t_ns)
                items += self._light.take(np.array([[red, infrared]], np.int32), t_ns)
                items += self._number(Kind.SPO2, spo2, t_ns, 125, NoValue.INSTRUMENT)
                if temperature > 0 and self._readings.due(Kind.TEMPERATURE, None, self.counters.frames, 125):
                    items.append(self._readings.value(Kind.TEMPERATURE, t_ns, temperature, -2, site="peau"))
                items += self._rates(rate, breaths, t_ns, 125)
            case 3:
                numbers = np.frombuffer(body, "<i4", 12).astype(np.int32)
                items += self._ecg.take(numbers[:8], t_ns)
                items += self._respiration.take(numbers[8:], t_ns)
                items += self._rates(body[48], body[49], t_ns, 28)
            case _:
                items += self._pleth.take(np.frombuffer(body, "<i2", 8).astype(np.int32), t_ns)
                items += self._number(Kind.SPO2, body[16], t_ns, 28, NoValue.INSTRUMENT)
        return items

    def _rates(self, rate: int, breaths: int, t_ns: int, every: int) -> list[Item]:
        return [
            *self._number(Kind.HEART_RATE, rate, t_ns, every, NoValue.NO_BEATS),
            *self._number(Kind.RESPIRATION_RATE, breaths, t_ns, every, NoValue.INSTRUMENT),
        ]

    def _number(self, kind: Kind, value: int, t_ns: int, every: int, none: NoValue) -> list[Item]:
        if not self._readings.due(kind, value, self.counters.frames, every):
            return []
        if value in NONE:
            return [self._readings.missing(kind, t_ns, none)]
        return [self._readings.value(kind, t_ns, value)]


def likeliest(skipped: int) -> tuple[int, int]:
    """How many frames of types 3 and 4 make up `skipped` bytes, or the fewest bytes above that."""
    sizes = [HEAD + BODIES[kind] + len(TAIL) for kind in (3, 4)]
    most = skipped // sizes[0] + 1
    choices = [(ecg, -(-max(0, skipped - ecg * sizes[0]) // sizes[1])) for ecg in range(most + 1)]
    return min(choices, key=lambda c: (c[0] * sizes[0] + c[1] * sizes[1], sum(c)))
