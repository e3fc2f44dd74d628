# Ref: Bluetooth SIG, Heart Rate Service 1.0, 3.1; GATT Specification Supplement v9, Heart Rate Measurement (0x2A37).
"""Heart rate straps."""

from agent.drivers.base import DecoderCounters, Item
from agent.drivers.gatt.fields import Fields, TruncatedError
from agent.drivers.readings import Readings
from agent.model import InstrumentEvent, Kind, NoValue, Stream

MEASUREMENT = "2a37"
WIDE, CONTACT, CONTACT_KNOWN, ENERGY, RR = 0x01, 0x02, 0x04, 0x08, 0x10


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
            fields = Fields(data)
            flags = fields.u8()
            rate = fields.u16() if flags & WIDE else fields.u8()
            if flags & ENERGY:
                fields.u16()
        except TruncatedError:
            self.counters.damaged += 1
            self.counters.skipped_bytes += len(data)
            return []
        self.counters.frames += 1
        off = flags & CONTACT_KNOWN and not flags & CONTACT
        if off or not rate:
            reason = NoValue.LEAD_OFF if off else NoValue.NO_BEATS
            items: list[Item] = [self._readings.missing(Kind.HEART_RATE, t_ns, reason)]
        else:
            items = [self._readings.value(Kind.HEART_RATE, t_ns, rate)]
        if flags & RR and (intervals := self._intervals_ms(fields)):
            detail = " ".join(f"{interval:.1f}" for interval in intervals)
            items.append(InstrumentEvent(self._instrument, t_ns, what="rr_ms", detail=detail))
        return items

    def _intervals_ms(self, fields: Fields) -> list[float]:
        intervals = []
        try:
            while True:
                intervals.append(fields.u16() * 1000 / 1024)
        except TruncatedError:
            return intervals
