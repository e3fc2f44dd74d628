# Ref: Bluetooth SIG, Heart Rate Service 1.0, 3.1; GATT Specification Supplement v9, Heart Rate Measurement (0x2A37).
"""Heart rate straps."""

import struct

from agent.drivers.base import DecoderCounters, Item
from agent.drivers.gatt.fields import Layout, TruncatedError
from agent.drivers.readings import Readings
from agent.model import InstrumentEvent, Kind, NoValue, Stream

MEASUREMENT = "2a37"
WIDE, CONTACT, CONTACT_KNOWN, ENERGY, RR = 0x01, 0x02, 0x04, 0x08, 0x10
VALUE = Layout("BB", (WIDE, "B"), (ENERGY, "H"))  # a wide rate has a second byte
MOST_INTERVALS = 16  # in an event


class HeartRateDecoder:
    """Heart rate each notification; RR intervals (given by the strap in 1/1024 s) as an event in ms."""

    def __init__(self, instrument: str) -> None:
        self.counters = DecoderCounters()
        self._instrument = instrument
        self._readings = Readings(instrument, self.counters)

    @property
    def streams(self) -> tuple[Stream, ...]:
        """None."""
        return ()

    def resume(self) -> None:
        """Nothing is kept between notifications."""

    def feed(self, channel: str, data: bytes, t_ns: int) -> list[Item]:
        """Decode one notification of 2A37."""
        if channel != MEASUREMENT:
            return []
        try:
            flags, rate, high, _ = VALUE.read(data)
        except TruncatedError:
            self.counters.damaged += 1
            self.counters.skipped_bytes += len(data)
            return []
        self.counters.frames += 1
        rate |= (high or 0) << 8
        off = flags & CONTACT_KNOWN and not flags & CONTACT
        if off or not rate:
            reason = NoValue.LEAD_OFF if off else NoValue.NO_BEATS
            items: list[Item] = [self._readings.missing(Kind.HEART_RATE, t_ns, reason)]
        else:
            items = [self._readings.value(Kind.HEART_RATE, t_ns, rate)]
        if flags & RR:
            intervals = intervals_ms(VALUE.rest(data))
            for at in range(0, len(intervals), MOST_INTERVALS):
                detail = " ".join(f"{interval:.1f}" for interval in intervals[at : at + MOST_INTERVALS])
                items.append(InstrumentEvent(self._instrument, t_ns, what="rr_ms", detail=detail))
        return items


def intervals_ms(data: bytes) -> list[float]:
    """RR intervals, from u16 of 1/1024 s; a cut one is left out."""
    return [raw * 1000 / 1024 for (raw,) in struct.iter_unpack("<H", data[: len(data) // 2 * 2])]
