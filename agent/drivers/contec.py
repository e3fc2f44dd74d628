# Ref: Contec CMS50D+/E/F serial protocol of firmware 4.6 and later: Contec publishes none; layout as in two independent
# public readers (headrotor/contec_data with a capture, igagis' contec_cms50d_plus.cpp for the flags).
"""Contec oximeters: the 9-byte serial protocol, 115200 8N1, 60 packets a second.

01, then a byte with the top bits of the seven that follow it (their own are set on the wire): status (bit 7 no finger,
6 beep, 5 SpO2 dropping, 4 searching too long, 3-0 strength), pleth (bit 7 searching), bar graph, pulse rate, SpO2
(above 100 = none), perfusion index u16 whose scale nobody gives: it is not given. Live data stops 30 s after it was
asked for. Older models speak the BCI 5-byte protocol: berry.py at 60 Hz.
"""

import numpy as np

from agent.drivers.base import DecoderCounters, Item
from agent.drivers.pace import Track
from agent.drivers.readings import Readings
from agent.model import GapReason, Kind, NoValue, Signal, Stream

FS_HZ = 60.0
LOOK_EVERY = 12  # packets between looks at numbers that have not changed
SIZE = 9
REALTIME = 0x01
TOP = 0x80
START = bytes.fromhex("7d 81 a1 80 80 80 80 80 80")
KEEP_ALIVE = bytes.fromhex("7d 81 af 80 80 80 80 80 80")
NO_FINGER, DROPPING, SEARCHING_LONG = 0x80, 0x20, 0x10
SEARCHING = 0x80
NO_RATE = 0xFF
HIGHEST_SPO2 = 100


class ContecDecoder:
    """Pleth at 60 Hz, SpO2 and pulse rate on change and once a second. Replies to commands are skipped."""

    def __init__(self, instrument: str) -> None:
        self.counters = DecoderCounters()
        self._readings = Readings(instrument, self.counters)
        self._track = Track(
            Stream(f"{instrument}.pleth", Signal.PLETH, instrument, FS_HZ, 1.0, "1", "doigt", resolution_bits=7)
        )
        self._buffer = bytearray()
        self._skipped = 0
        self._synced = False
        self._numbers: tuple[int, ...] = ()

    @property
    def streams(self) -> tuple[Stream, ...]:
        """The pleth."""
        return self._track.streams

    def resume(self) -> None:
        """Forget the cut packet; the next samples open with a Gap."""
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
        pleth: list[int] = []
        at, end = 0, len(buffer)
        while end - at >= SIZE:
            packet = buffer[at : at + SIZE]
            if packet[0] == REALTIME and min(packet[1:]) >= TOP:
                if self._skipped:
                    items += self._samples(pleth, t_ns) + self._damage()
                    pleth = []
                status, wave, _, rate, spo2 = whole(packet)
                pleth.append(wave & 0x7F)
                numbers = status & (NO_FINGER | DROPPING | SEARCHING_LONG), wave & SEARCHING, rate, spo2
                if numbers != self._numbers or self.counters.frames % LOOK_EVERY == 0:
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

    def _numerics(self, status: int, wave: int, rate: int, spo2: int, t_ns: int) -> list[Item]:
        words = tuple(
            word
            for word, said in (
                ("searching_long", status & SEARCHING_LONG),
                ("spo2_dropping", status & DROPPING),
                ("searching", wave & SEARCHING),
                ("no_finger", status & NO_FINGER),
            )
            if said
        )
        reason = (
            NoValue.PROBE_OFF
            if status & NO_FINGER
            else NoValue.STARTING
            if wave & SEARCHING
            else NoValue.POOR_SIGNAL
            if status & SEARCHING_LONG
            else NoValue.INSTRUMENT
        )
        items: list[Item] = []
        no_spo2, no_rate = not 0 < spo2 <= HIGHEST_SPO2, rate in {0, NO_RATE}
        for kind, number, none in ((Kind.SPO2, spo2, no_spo2), (Kind.PULSE_RATE, rate, no_rate)):
            if not self._readings.due(kind, (number, words), self.counters.frames, round(FS_HZ)):
                continue
            if none or status & NO_FINGER:
                items.append(self._readings.missing(kind, t_ns, reason, site="doigt", flags=words))
            else:
                items.append(self._readings.value(kind, t_ns, number, site="doigt", flags=words))
        return items


def whole(packet: bytes | bytearray) -> list[int]:
    """Bytes 2 to 6 with their true top bits, which byte 1 carries: its bit 0 is byte 2's, and so on.

    The pulse rate's is bit 3: left out, every rate above 127 a minute is wrong.
    """
    tops = packet[1] & 0x1F
    if not tops:
        return [byte - TOP for byte in packet[2:7]]
    return [byte & 0x7F | (tops >> place & 1) << 7 for place, byte in enumerate(packet[2:7])]
