# Ref: Contec publishes none; frames, flags and checksum as in independent public readers: pulseoxdl (CMS50E over USB
# HID, the same frames), three of the EMAY SleepO2 (service FF12), PulsoxRelay.
"""Contec oximeters over BLE: SpO2 and pulse rate once a second.

Every byte but a frame's first has its top bit clear; the last is the sum of the others & 7F. `EB 01 flags rate SpO2 x
x sum` is a measurement: bit 1 of the flags is the rate's top bit, SpO2 7F means no finger. `EB 00 x x x sum` is a
waveform sample: passed over, because nobody gives its rate. Replies to commands begin with other bytes and are skipped.
Live data must be asked for and stops within the minute unless it is asked for again.
"""

from agent.drivers.base import DecoderCounters, Item
from agent.drivers.readings import Readings
from agent.model import Kind, NoValue, Stream

WRITE, NOTIFY = "ff01", "ff02"
START = bytes.fromhex("9b 01 1c")
FRAME = 0xEB
MEASUREMENT, WAVE = 0x01, 0x00
SIZES = {WAVE: 6, MEASUREMENT: 8, 0x7F: 3}
TOP = 0x80
RATE_HIGH = 0x02
NO_FINGER = 0x7F
NO_RATE = {0, 0x7F, 0xFF}


class ContecBleDecoder:
    """A reading of each kind per measurement; what is neither a whole frame nor part of one is counted and skipped."""

    def __init__(self, instrument: str) -> None:
        self.counters = DecoderCounters()
        self._readings = Readings(instrument, self.counters)
        self._buffer = bytearray()

    @property
    def streams(self) -> tuple[Stream, ...]:
        """None: the waveform's rate is not known."""
        return ()

    def resume(self) -> None:
        """Forget the cut frame."""
        self._buffer.clear()

    def feed(self, channel: str, data: bytes, t_ns: int) -> list[Item]:
        """Take one notification of FF02; frames may be cut or joined."""
        if channel != NOTIFY:
            return []
        buffer = self._buffer
        buffer += data
        items: list[Item] = []
        while buffer:
            size = SIZES.get(buffer[1]) if buffer[0] == FRAME and len(buffer) > 1 else None
            if buffer[0] == FRAME and (len(buffer) == 1 or (size is not None and len(buffer) < size)):
                if _plain(buffer[1:]):
                    break  # the rest is still to come
                size = None
            if size is not None and _stands(buffer[:size]):
                self.counters.frames += 1
                if buffer[1] == MEASUREMENT:
                    items += self._measurement(buffer[2], buffer[3], buffer[4], t_ns)
                del buffer[:size]
                continue
            self.counters.damaged += buffer[0] == FRAME
            self.counters.skipped_bytes += 1
            del buffer[:1]
        return items

    def _measurement(self, flags: int, low: int, spo2: int, t_ns: int) -> list[Item]:
        rate = low | TOP if flags & RATE_HIGH else low
        items: list[Item] = []
        off = spo2 == NO_FINGER
        for kind, number, none in (
            (Kind.SPO2, spo2, off or not spo2),
            (Kind.PULSE_RATE, rate, off or rate in NO_RATE),
        ):
            if none:
                reason = NoValue.PROBE_OFF if off else NoValue.POOR_SIGNAL
                items.append(self._readings.missing(kind, t_ns, reason, site="doigt"))
            else:
                items.append(self._readings.value(kind, t_ns, number, site="doigt"))
        return items


def _plain(data: bytes | bytearray) -> bool:
    return not data or max(data) < TOP


def _stands(frame: bytes | bytearray) -> bool:
    return _plain(frame[1:]) and sum(frame[:-1]) & 0x7F == frame[-1]
