# Ref: Bluetooth SIG, Weight Scale Service 1.0, 3.2; GATT Specification Supplement v9, Weight Measurement (0x2A9D).
"""Scales: one indication per weighing."""

from agent.drivers.base import DecoderCounters, Item
from agent.drivers.gatt.fields import MOMENT, Layout, TruncatedError, moment
from agent.drivers.readings import Readings
from agent.model import Kind, NoValue, Stream

MEASUREMENT = "2a9d"
POUNDS, TIME, USER = 0x01, 0x02, 0x04
VALUE = Layout("BH", (TIME, MOMENT), (USER, "B"))
UNSUCCESSFUL = 0xFFFF
UNKNOWN_USER = 0xFF
GRAMS = 5  # per count
KG_PER_COUNT_LB = 0.01 * 0.45359237


class WeightScaleDecoder:
    """Weight in g steps of 5 as kg; pounds (0.01 lb) become g, flagged "pounds"."""

    def __init__(self, instrument: str) -> None:
        self.counters = DecoderCounters()
        self._readings = Readings(instrument, self.counters)
        self._group = 0

    @property
    def streams(self) -> tuple[Stream, ...]:
        """None."""
        return ()

    def resume(self) -> None:
        """Nothing is kept between indications."""

    def feed(self, channel: str, data: bytes, t_ns: int) -> list[Item]:
        """Decode one indication of 2A9D."""
        if channel != MEASUREMENT:
            return []
        try:
            flags, raw, *parts, user = VALUE.read(data)
        except TruncatedError:
            self.counters.damaged += 1
            self.counters.skipped_bytes += len(data)
            return []
        self.counters.frames += 1
        self._group += 1
        time, undated = moment(*parts)
        words = (*(("pounds",) if flags & POUNDS else ()), *undated)
        if user is not None and user != UNKNOWN_USER:
            words += (f"user_{user}",)
        if raw == UNSUCCESSFUL:
            return [
                self._readings.missing(
                    Kind.WEIGHT, t_ns, NoValue.INSTRUMENT, instrument_time=time, group=self._group, flags=words
                )
            ]
        grams = round(raw * KG_PER_COUNT_LB * 1000) if flags & POUNDS else raw * GRAMS
        return [
            self._readings.value(Kind.WEIGHT, t_ns, grams, -3, instrument_time=time, group=self._group, flags=words)
        ]
