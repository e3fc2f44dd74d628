# Ref: Bluetooth SIG, Blood Pressure Service 1.1.1, 3.1-3.3; GATT Specification Supplement v9, 3.31 Blood Pressure
# Measurement (0x2A35), 3.111 Intermediate Cuff Pressure (0x2A36).
"""Blood pressure monitors: one indication per measurement, cuff pressure while it inflates."""

from agent.drivers.base import DecoderCounters, Item
from agent.drivers.gatt.fields import MOMENT, Layout, TruncatedError, moment
from agent.drivers.ieee11073 import Decimal11073, Special, sfloat
from agent.drivers.readings import Readings, namer
from agent.model import InstrumentEvent, Kind, ReadingQuality, Stream

MEASUREMENT = "2a35"
CUFF = "2a36"

KPA, TIME, PULSE, USER, STATUS = 0x01, 0x02, 0x04, 0x08, 0x10
VALUE = Layout("BHHH", (TIME, MOMENT), (PULSE, "H"), (USER, "B"), (STATUS, "H"))
CUFF_VALUE = Layout("BH")  # the two numbers that follow are not used and may hold anything
UNKNOWN_USER = 0xFF
MMHG_PER_KPA = 7.500617

STATUS_WORDS = namer(
    {
        0: "body_movement",
        1: "cuff_too_loose",
        2: "irregular_pulse",
        5: "improper_position",
    }
)
PULSE_RANGE, PULSE_RANGE_WORDS = 0x18, {0x08: "pulse_above_range", 0x10: "pulse_below_range"}
DOUBTFUL = {"body_movement", "cuff_too_loose", "improper_position"}


SYSTOLIC, DIASTOLIC, MEAN, RATE = Kind.PRESSURE_SYSTOLIC, Kind.PRESSURE_DIASTOLIC, Kind.PRESSURE_MEAN, Kind.PULSE_RATE
GOOD, QUESTIONABLE = ReadingQuality.GOOD, ReadingQuality.QUESTIONABLE


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
                return self._measurement(data, t_ns)
            if channel == CUFF:
                return self._cuff(data, t_ns)
        except TruncatedError:
            self.counters.damaged += 1
            self.counters.skipped_bytes += len(data)
        return []

    def _measurement(self, data: bytes, t_ns: int) -> list[Item]:
        flags, systolic, diastolic, mean, *parts, pulse, user, status = VALUE.read(data)
        time, words = moment(*parts)
        self.counters.frames += 1
        self._group += 1
        quality = GOOD
        if status:
            words = STATUS_WORDS(status) + words
            if not DOUBTFUL.isdisjoint(words):
                quality = QUESTIONABLE
            if word := PULSE_RANGE_WORDS.get(status & PULSE_RANGE):
                words += (word,)
        if user is not None and user != UNKNOWN_USER:
            words += (f"user_{user}",)
        pressure, said = (in_mmhg, (*words, "kpa")) if flags & KPA else (sfloat, words)
        make, group = self._readings.decimal, self._group
        items: list[Item] = [
            make(SYSTOLIC, t_ns, pressure(systolic), quality, None, time, group, said),
            make(DIASTOLIC, t_ns, pressure(diastolic), quality, None, time, group, said),
            make(MEAN, t_ns, pressure(mean), quality, None, time, group, said),
        ]
        if pulse is not None:
            items.append(make(RATE, t_ns, sfloat(pulse), quality, None, time, group, words))
        return items

    def _cuff(self, data: bytes, t_ns: int) -> list[Item]:
        flags, raw = CUFF_VALUE.read(data)
        pressure = in_mmhg(raw) if flags & KPA else sfloat(raw)
        if isinstance(pressure, Special):
            return []
        self.counters.frames += 1
        return [InstrumentEvent(self._instrument, t_ns, what="cuff_mmhg", detail=f"{float(pressure):g}")]


def in_mmhg(raw: int) -> Decimal11073 | Special:
    """Whole mmHg of an SFLOAT in kPa."""
    kpa = sfloat(raw)
    return kpa if isinstance(kpa, Special) else Decimal11073(round(float(kpa) * MMHG_PER_KPA), 0)
