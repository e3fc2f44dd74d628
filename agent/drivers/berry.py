# Ref: Shanghai Berry, "BM1000 series Bluetooth oximeter protocol" (the BCI 5-byte protocol at 100 packets a second,
# transparent UART service 49535343-FE7D-4AE5-8FA9-9FAFD205E455).
"""Berry BM1000 oximeter: BCI packets of 5 bytes in notifications of up to 20.

Byte 0: bit 7 set (sync, in this byte only), 6 beep, 5 SpO2 dropping, 4 searching too long, 3-0 strength; 1: pleth
(0 = none); 2: bit 6 = bit 7 of the pulse rate, 5 searching, 4 probe error, 3-0 bar graph; 3: pulse rate 6-0
(255 = none); 4: SpO2 (127 = none).
"""

import numpy as np

from agent.drivers.base import DecoderCounters, Item
from agent.drivers.pace import Track
from agent.drivers.readings import Readings
from agent.model import GapReason, Kind, NoValue, Signal, Stream

SIZE = 5
SYNC = 0x80
NO_RATE = 0xFF
NO_SPO2 = 0x7F
DROPPING, SEARCHING_LONG = 0x20, 0x10
RATE_HIGH, SEARCHING, PROBE_ERROR = 0x40, 0x20, 0x10


class BciDecoder:
    """The BCI 5-byte protocol at `fs_hz` packets a second; numerics on change and once a second."""

    def __init__(self, instrument: str, fs_hz: float = 100.0) -> None:
        self.counters = DecoderCounters()
        self._readings = Readings(instrument, self.counters)
        self._every = round(fs_hz)
        self._look_every = self._every // 5
        self._numbers: tuple[int, ...] = ()
        self._track = Track(
            Stream(f"{instrument}.pleth", Signal.PLETH, instrument, fs_hz, 1.0, "1", "doigt", resolution_bits=7)
        )
        self._buffer = bytearray()
        self._skipped = 0
        self._synced = False

    @property
    def streams(self) -> tuple[Stream, ...]:
        """The pleth, in the instrument's own scale (it normalises the amplitude)."""
        return self._track.streams

    def resume(self) -> None:
        """Forget the cut packet; the next samples open with a Gap."""
        self._buffer.clear()
        self._skipped = 0
        self._synced = False
        self._track.resume()

    def feed(self, channel: str, data: bytes, t_ns: int) -> list[Item]:
        """Take bytes from the notification (or port)."""
        del channel
        buffer = self._buffer
        buffer += data
        items: list[Item] = []
        pleth: list[int] = []
        at, end = 0, len(buffer)
        while end - at >= SIZE:
            b0, b1, b2, b3, b4 = buffer[at : at + SIZE]
            if b0 & SYNC and not (b1 | b2 | b3 | b4) & SYNC:
                if self._skipped:
                    items += self._samples(pleth, t_ns) + self._damage()
                    pleth = []
                pleth.append(b1)
                numbers = b0 & (DROPPING | SEARCHING_LONG), b2 & (RATE_HIGH | SEARCHING | PROBE_ERROR), b3, b4
                if numbers != self._numbers or self.counters.frames % self._look_every == 0:
                    self._numbers = numbers
                    items += self._numerics(*numbers, t_ns)
                self.counters.frames += 1
                self._synced = True
                at += SIZE
            else:
                at += 1
                self._skipped += 1
        del buffer[:at]
        return items + self._samples(pleth, t_ns)

    def _samples(self, pleth: list[int], t_ns: int) -> list[Item]:
        return [*self._track.take(np.array(pleth, np.int32), t_ns)]

    def _damage(self) -> list[Item]:
        packets = -(-self._skipped // SIZE) if self._synced else 0
        self.counters.damaged += packets
        self.counters.skipped_bytes += self._skipped
        self._skipped = 0
        return [*self._track.skip(packets, GapReason.DAMAGED)]

    def _numerics(self, status: int, b2: int, b3: int, spo2: int, t_ns: int) -> list[Item]:
        rate = b3 | 0x80 if b2 & RATE_HIGH else b3
        words = tuple(
            word
            for word, said in (
                ("spo2_dropping", status & DROPPING),
                ("searching_long", status & SEARCHING_LONG),
                ("searching", b2 & SEARCHING),
                ("probe_error", b2 & PROBE_ERROR),
            )
            if said
        )
        reason = (
            NoValue.PROBE_OFF
            if b2 & PROBE_ERROR
            else NoValue.STARTING
            if b2 & SEARCHING
            else NoValue.POOR_SIGNAL
            if status & SEARCHING_LONG
            else NoValue.INSTRUMENT
        )
        items: list[Item] = []
        for kind, value, none in ((Kind.SPO2, spo2, NO_SPO2), (Kind.PULSE_RATE, rate, NO_RATE)):
            if not self._readings.due(kind, (value, words), self.counters.frames, self._every):
                continue
            if value == none or b2 & PROBE_ERROR:
                items.append(self._readings.missing(kind, t_ns, reason, site="doigt", flags=words))
            else:
                items.append(self._readings.value(kind, t_ns, value, site="doigt", flags=words))
        return items
