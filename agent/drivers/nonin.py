# Ref: Nonin, OEM III / Xpod module specification and technical information (serial data formats 2 and 7), Onyx II 9560
# / WristOx2 3150 OEM specification (data format 13, format select 0x70).
"""Nonin oximeters over serial, 9600 8N1.

Formats 2 and 7: 75 frames of 5 bytes a second, 25 to a packet; the last byte is the sum of the others. Format 2:
01 STATUS PLETH FLOAT CHK; format 7: STATUS PLETH16 FLOAT CHK. STATUS: bit 7 set, 6 sensor disconnected, 5 artefact,
4 out of track, 3 sensor alarm, 2 and 1 perfusion red and green (both: yellow), 0 first frame of a packet. FLOAT means
something else in every frame; here 1-3: heart rate (9 bits, 511 = none) and SpO2 (127 = none), 8: battery low.
Format 13: one spot reading, `00 02 00 0D 00 0E`, 14 bytes, their sum, 03; readings from memory carry that flag.
"""

from datetime import datetime

import numpy as np

from agent.drivers.base import DecoderCounters, Item
from agent.drivers.pace import Track
from agent.drivers.readings import Readings
from agent.model import GapReason, InstrumentEvent, Kind, NoValue, Reading, ReadingQuality, Signal, Stream

FS_HZ = 75.0
SIZE = 5
FRAMES = 25
STATUS_SET = 0x80
DISCONNECTED, ARTEFACT, OUT_OF_TRACK, ALARM, RED, GREEN, SYNC = 0x40, 0x20, 0x10, 0x08, 0x04, 0x02, 0x01
NO_RATE, NO_SPO2 = 511, 127
BATTERY_LOW = 0x01

SELECT_FORMAT_2 = bytes.fromhex("02 70 02 02 02 03")
SELECT_FORMAT_7 = bytes.fromhex("02 70 02 02 07 03")
SELECT_FORMAT_13 = bytes.fromhex("02 70 02 02 0d 03")

SPOT_HEAD = bytes.fromhex("00 02 00 0d")
SPOT_DATA = 14
SPOT_LONGEST = 64
SPOT_TAIL = 0x03
SMART_POINT, NO_MEASUREMENT, FROM_MEMORY = 0x0200, 0x0100, 0x0010


class NoninDecoder:
    """Formats 2 and 7: pleth at 75 Hz, SpO2 and pulse rate on change and once a second.

    A frame stands when its sum is right; after a frame that is wrong, one at another place than expected must be
    followed by a second one, because 1 in 256 sums is right by chance.
    """

    def __init__(self, instrument: str, wide: bool = True) -> None:
        self.counters = DecoderCounters()
        self._instrument = instrument
        self._wide = wide
        self._readings = Readings(instrument, self.counters)
        bits = 16 if wide else 8
        self._track = Track(
            Stream(f"{instrument}.pleth", Signal.PLETH, instrument, FS_HZ, 1.0, "1", "doigt", resolution_bits=bits)
        )
        self._buffer = bytearray()
        self._skipped = 0
        self._synced = False
        self._frame = 0  # in its packet, 1 to 25; 0 before the first sync
        self._floats: dict[int, int] = {}
        self._battery_low = False

    @property
    def streams(self) -> tuple[Stream, ...]:
        """The pleth."""
        return self._track.streams

    def resume(self) -> None:
        """Forget the cut frame and packet; the next samples open with a Gap."""
        self._buffer.clear()
        self._skipped = 0
        self._synced = False
        self._frame = 0
        self._floats.clear()
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
            aligned = self._synced and self._skipped % SIZE == 0
            if not aligned and end - at < 2 * SIZE:
                break
            if self._stands(at) and (aligned or self._stands(at + SIZE)):
                if self._skipped:
                    items += self._samples(pleth, t_ns) + self._damage()
                    pleth = []
                status = buffer[at if self._wide else at + 1]
                pleth.append(int.from_bytes(buffer[at + 1 : at + 3], "big") if self._wide else buffer[at + 2])
                items += self._numerics(status, buffer[at + 3], t_ns)
                self.counters.frames += 1
                self._synced = True
                at += SIZE
            else:
                at += 1
                self._skipped += 1
        del buffer[:at]
        return items + self._samples(pleth, t_ns)

    def _stands(self, at: int) -> bool:
        frame = self._buffer[at : at + SIZE]
        if self._wide:
            return bool(frame[0] & STATUS_SET) and sum(frame[:4]) & 0xFF == frame[4]
        return frame[0] == 1 and bool(frame[1] & STATUS_SET) and sum(frame[:4]) & 0xFF == frame[4]

    def _samples(self, pleth: list[int], t_ns: int) -> list[Item]:
        return [*self._track.take(np.array(pleth, np.int32), t_ns)]

    def _damage(self) -> list[Item]:
        frames = -(-self._skipped // SIZE) if self._synced else 0
        self.counters.damaged += frames
        self.counters.skipped_bytes += self._skipped
        self._skipped = 0
        self._frame = 0  # which frame of the packet this is, the next sync will tell
        self._floats.clear()
        return [*self._track.skip(frames, GapReason.DAMAGED)]

    def _numerics(self, status: int, value: int, t_ns: int) -> list[Item]:
        if status & SYNC:
            self._frame = 1
            self._floats.clear()
        elif self._frame:
            self._frame += 1
        if not 0 < self._frame <= FRAMES:
            self._frame = 0
            return []
        self._floats[self._frame] = value
        if self._frame == 8:  # STAT2
            return self._battery(value, t_ns)
        if self._frame != 3:  # heart rate and SpO2 are complete
            return []
        rate = (self._floats[1] & 0x03) << 7 | self._floats[2] & 0x7F
        return [
            reading
            for kind, number, none in ((Kind.SPO2, value & 0x7F, NO_SPO2), (Kind.PULSE_RATE, rate, NO_RATE))
            if (reading := self._reading(kind, number, none, status, t_ns))
        ]

    def _reading(self, kind: Kind, number: int, none: int, status: int, t_ns: int) -> Reading | None:
        words = status_words(status)
        if not self._readings.due(kind, (number, words), self.counters.frames, round(FS_HZ)):
            return None
        if number == none:
            reason = NoValue.PROBE_OFF if status & (DISCONNECTED | ALARM) else NoValue.POOR_SIGNAL
            return self._readings.missing(kind, t_ns, reason, site="doigt", flags=words)
        doubtful = status & (ARTEFACT | OUT_OF_TRACK)
        quality = ReadingQuality.QUESTIONABLE if doubtful else ReadingQuality.GOOD
        return self._readings.value(kind, t_ns, number, quality=quality, site="doigt", flags=words)

    def _battery(self, value: int, t_ns: int) -> list[Item]:
        low, before = bool(value & BATTERY_LOW), self._battery_low
        self._battery_low = low
        return [InstrumentEvent(self._instrument, t_ns, what="battery_low")] if low and not before else []


def status_words(status: int) -> tuple[str, ...]:
    """What a STATUS byte says."""
    words = [
        word
        for bit, word in (
            (DISCONNECTED, "sensor_disconnected"),
            (ARTEFACT, "artefact"),
            (OUT_OF_TRACK, "out_of_track"),
            (ALARM, "sensor_alarm"),
        )
        if status & bit
    ]
    if status & (RED | GREEN) == RED:  # green and yellow come and go with every pulse
        words.append("perfusion_red")
    return tuple(words)


class NoninSpotDecoder:
    """Format 13: a reading per measurement; what comes from the meter's memory says so and when it was."""

    def __init__(self, instrument: str) -> None:
        self.counters = DecoderCounters()
        self._readings = Readings(instrument, self.counters)
        self._buffer = bytearray()
        self._group = 0

    @property
    def streams(self) -> tuple[Stream, ...]:
        """None."""
        return ()

    def resume(self) -> None:
        """Forget the cut packet."""
        self._buffer.clear()

    def feed(self, channel: str, data: bytes, t_ns: int) -> list[Item]:
        """Take bytes from the port."""
        del channel
        buffer = self._buffer
        buffer += data
        items: list[Item] = []
        while (at := buffer.find(SPOT_HEAD)) >= 0:
            self.counters.skipped_bytes += at
            del buffer[:at]
            if len(buffer) < len(SPOT_HEAD) + 2:
                break
            length = int.from_bytes(buffer[4:6], "big")
            size = len(SPOT_HEAD) + 2 + length + 2
            if not SPOT_DATA <= length <= SPOT_LONGEST:
                self._drop()
                continue
            if len(buffer) < size:
                break
            body = bytes(buffer[6 : 6 + length])
            if sum(body) & 0xFF != buffer[size - 2] or buffer[size - 1] != SPOT_TAIL:
                self._drop()
                continue
            del buffer[:size]
            self.counters.frames += 1
            items += self._spot(body, t_ns)
        if at < 0:
            kept = len(SPOT_HEAD) - 1
            self.counters.skipped_bytes += max(0, len(buffer) - kept)
            del buffer[: max(0, len(buffer) - kept)]
        return items

    def _drop(self) -> None:
        self.counters.damaged += 1
        self.counters.skipped_bytes += 1
        del self._buffer[:1]

    def _spot(self, body: bytes, t_ns: int) -> list[Item]:
        century, year, month, day, hour, minute, second = body[:7]
        try:
            time = datetime(100 * century + year, month, day, hour, minute, second)  # noqa: DTZ001
        except ValueError:
            time = None
        status = int.from_bytes(body[8:10], "big")
        words = ("from_memory",) if status & FROM_MEMORY else ()
        quality = ReadingQuality.GOOD if status & SMART_POINT else ReadingQuality.QUESTIONABLE
        self._group += 1
        items: list[Item] = []
        numbers = ((Kind.SPO2, body[13], NO_SPO2), (Kind.PULSE_RATE, int.from_bytes(body[10:12], "big"), NO_RATE))
        for kind, number, none in numbers:
            if number == none or status & NO_MEASUREMENT:
                items.append(
                    self._readings.missing(
                        kind, t_ns, NoValue.POOR_SIGNAL, site="doigt", instrument_time=time, group=self._group,
                        flags=words,
                    )
                )  # fmt: skip
            else:
                items.append(
                    self._readings.value(
                        kind, t_ns, number, quality=quality, site="doigt", instrument_time=time, group=self._group,
                        flags=words,
                    )
                )  # fmt: skip
        return items
