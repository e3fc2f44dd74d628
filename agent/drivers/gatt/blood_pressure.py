# Ref: Bluetooth SIG, Blood Pressure Service 1.1.1, 3.1-3.3; GATT Specification Supplement v9, 3.31 Blood Pressure
# Measurement (0x2A35), 3.111 Intermediate Cuff Pressure (0x2A36).
"""Blood pressure monitors: one indication per measurement, cuff pressure while it inflates."""

from agent.drivers.base import DecoderCounters, Item
from agent.drivers.gatt.fields import Fields, TruncatedError
from agent.drivers.ieee11073 import Decimal11073, Special
from agent.drivers.readings import Readings
from agent.model import InstrumentEvent, Kind, NoValue, Reading, ReadingQuality, Stream

MEASUREMENT = "2a35"
CUFF = "2a36"

KPA, TIME, PULSE, USER, STATUS = 0x01, 0x02, 0x04, 0x08, 0x10
MMHG_PER_KPA = 7.500617

STATUS_WORDS = {
    0x01: "body_movement",
    0x02: "cuff_too_loose",
    0x04: "irregular_pulse",
    0x20: "improper_position",
}
PULSE_RANGE_WORDS = {0x08: "pulse_above_range", 0x10: "pulse_below_range"}
DOUBTFUL = {"body_movement", "cuff_too_loose", "improper_position"}
PRESSURES = (Kind.PRESSURE_SYSTOLIC, Kind.PRESSURE_DIASTOLIC, Kind.PRESSURE_MEAN)


class BloodPressureDecoder:
    """Decodes 2A35 and 2A36. Deviation: a value in kPa is given in whole mmHg, flagged "kpa"."""

    def __init__(self, instrument: str) -> None:
        self.counters = DecoderCounters()
        self._instrument = instrument
        self._readings = Readings(instrument, self.counters)
        self._group = 0

    @property
    def streams(self) -> tuple[Stream, ...]:
        """None."""
        return ()

    def resume(self) -> None:
        """Nothing is kept between indications."""

    def feed(self, channel: str, data: bytes, t_ns: int) -> list[Item]:
        """Decode one value of characteristic `channel` (short UUID)."""
        try:
            if channel == MEASUREMENT:
                return self._measurement(Fields(data), t_ns)
            if channel == CUFF:
                return self._cuff(Fields(data), t_ns)
        except TruncatedError:
            self.counters.damaged += 1
            self.counters.skipped_bytes += len(data)
        return []

    def _measurement(self, fields: Fields, t_ns: int) -> list[Item]:
        flags = fields.u8()
        pressures = [fields.sfloat() for _ in PRESSURES]
        time, undated = fields.stamp(given=bool(flags & TIME))
        pulse = fields.sfloat() if flags & PULSE else None
        user = fields.u8() if flags & USER else None
        status = fields.u16() if flags & STATUS else 0
        self.counters.frames += 1
        self._group += 1

        words = (*(word for bit, word in STATUS_WORDS.items() if status & bit), *undated)
        if word := PULSE_RANGE_WORDS.get(status & 0x18):
            words += (word,)
        if user is not None and user != 0xFF:
            words += (f"user_{user}",)
        quality = ReadingQuality.QUESTIONABLE if DOUBTFUL & set(words) else ReadingQuality.GOOD

        def reading(kind: Kind, number: Decimal11073 | Special, said: tuple[str, ...]) -> Reading:
            if isinstance(number, Special):
                return self._readings.missing(
                    kind, t_ns, NoValue.INSTRUMENT, instrument_time=time, group=self._group,
                    flags=(*said, number.value),
                )  # fmt: skip
            return self._readings.value(
                kind, t_ns, number.mantissa, number.exponent, quality=quality, instrument_time=time,
                group=self._group, flags=said,
            )  # fmt: skip

        kpa = bool(flags & KPA)
        pressure_words = (*words, "kpa") if kpa else words
        items: list[Item] = [
            reading(kind, in_mmhg(number) if kpa and isinstance(number, Decimal11073) else number, pressure_words)
            for kind, number in zip(PRESSURES, pressures, strict=True)
        ]
        if pulse is not None:
            items.append(reading(Kind.PULSE_RATE, pulse, words))
        return items

    def _cuff(self, fields: Fields, t_ns: int) -> list[Item]:
        flags = fields.u8()
        pressure = fields.sfloat()  # the two that follow are not used and may hold anything
        if isinstance(pressure, Special):
            return []
        self.counters.frames += 1
        shown = float(in_mmhg(pressure) if flags & KPA else pressure)
        return [InstrumentEvent(self._instrument, t_ns, what="cuff_mmhg", detail=f"{shown:g}")]


def in_mmhg(kpa: Decimal11073) -> Decimal11073:
    """Whole mmHg of a pressure in kPa."""
    return Decimal11073(round(float(kpa) * MMHG_PER_KPA), 0)
