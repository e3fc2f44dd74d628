# Ref: Bluetooth SIG, Glucose Service 1.0.1, 3.1-3.4 (Record Access Control Point); GATT Specification Supplement v9,
# Glucose Measurement (0x2A18), Glucose Measurement Context (0x2A34). 1 mol glucose = 180.156 g.
"""Glucose meters: stored measurements, asked for by record number.

A meter is lent from patient to patient: on a first meeting only its newest record is asked for, afterwards only what
is newer than the last one seen; where there is none, the newest again, since a meter whose memory was cleared counts
anew. Every reading carries the meter's own time; whether it belongs to the open visit is for the visit to decide.
"""

from datetime import datetime, timedelta

from agent.drivers.base import DecoderCounters, Item
from agent.drivers.gatt.fields import MOMENT, Layout, TruncatedError, moment
from agent.drivers.ieee11073 import Decimal11073, Special, sfloat
from agent.drivers.readings import Readings, namer
from agent.model import InstrumentEvent, Kind, ReadingQuality, Stream

MEASUREMENT = "2a18"
CONTEXT = "2a34"
ACCESS = "2a52"

OFFSET, CONCENTRATION, MOLAR, STATUS = 0x01, 0x02, 0x04, 0x08
VALUE = Layout("BH" + MOMENT, (OFFSET, "h"), (CONCENTRATION, "HB"), (STATUS, "H"))
CONTEXT_VALUE = Layout("BH", (0x80, "B"), (0x01, "BH"), (0x02, "B"))  # extended flags, carbohydrate, meal; more follows
MEALS = ("", "meal_before", "meal_after", "meal_fasting", "meal_casual", "meal_bedtime")
CONTROL_SOLUTION = 10
SITES = {1: "doigt", 2: "autre site", 3: "lobe de l'oreille"}
STATUS_WORDS = namer(
    {
        0: "battery_low",
        1: "sensor_malfunction",
        2: "sample_too_small",
        3: "strip_inserted_wrong",
        4: "wrong_strip",
        5: "above_range",
        6: "below_range",
        7: "too_warm",
        8: "too_cold",
        9: "strip_pulled_early",
        10: "fault",
        11: "time_fault",
    }
)
DOUBTFUL = {
    "sensor_malfunction",
    "sample_too_small",
    "strip_inserted_wrong",
    "wrong_strip",
    "strip_pulled_early",
    "fault",
}
MG_PER_DL_PER_MOL_PER_L = 18015.6

REPORT, RESPONSE = 0x01, 0x06
AT_LEAST, NEWEST = 0x03, 0x06
BY_SEQUENCE = 0x01
SUCCESS, NO_RECORDS = 0x01, 0x06
ASK_NEWEST = bytes((REPORT, NEWEST))


class GlucoseDecoder:
    """Decodes 2A18, the answers of 2A52, and of 2A34 the meal; `commands` asks for what has not been seen.

    The meal is an event of its own (`meal_fasting`…), its detail the number of the record just given.
    """

    def __init__(self, instrument: str) -> None:
        self.counters = DecoderCounters()
        self._instrument = instrument
        self._readings = Readings(instrument, self.counters)
        self._newest: tuple[int, datetime | None] | None = None  # its number and time
        self._given: int | None = None
        self._ask: bytes | None = ASK_NEWEST
        self._asked = b""

    @property
    def streams(self) -> tuple[Stream, ...]:
        """None."""
        return ()

    def resume(self) -> None:
        """What was seen stays seen; what came since is asked for."""
        self._ask = ASK_NEWEST
        if self._newest is not None:
            following = self._newest[0] + 1 & 0xFFFF
            self._ask = bytes((REPORT, AT_LEAST, BY_SEQUENCE)) + following.to_bytes(2, "little")

    def commands(self) -> tuple[tuple[str, bytes], ...]:
        """What to write now, once: the newest record, or all after the newest one seen."""
        if self._ask is None:
            return ()
        self._asked, self._ask = self._ask, None
        return ((ACCESS, self._asked),)

    def feed(self, channel: str, data: bytes, t_ns: int) -> list[Item]:
        """Decode one value of characteristic `channel` (short UUID)."""
        try:
            if channel == MEASUREMENT:
                return self._measurement(data, t_ns)
            if channel == CONTEXT:
                return self._context(data, t_ns)
            if channel == ACCESS:
                return self._answer(data, t_ns)
        except TruncatedError:
            self.counters.damaged += 1
            self.counters.skipped_bytes += len(data)
        return []

    def _answer(self, data: bytes, t_ns: int) -> list[Item]:
        if data[:3] != bytes((RESPONSE, 0, REPORT)) or data[3:] == bytes((SUCCESS,)):
            return []
        if data[3:] == bytes((NO_RECORDS,)):
            self._ask = ASK_NEWEST if self._asked != ASK_NEWEST else None
            return []
        return [InstrumentEvent(self._instrument, t_ns, what="refused", detail=data.hex())]

    def _context(self, data: bytes, t_ns: int) -> list[Item]:
        _, sequence, *_, meal = CONTEXT_VALUE.read(data)
        if sequence != self._given or not 0 < (meal or 0) < len(MEALS):
            return []
        return [InstrumentEvent(self._instrument, t_ns, what=MEALS[meal], detail=str(sequence))]

    def _measurement(self, data: bytes, t_ns: int) -> list[Item]:
        flags, sequence, *parts, offset_min, concentration, sample, status = VALUE.read(data)
        self.counters.frames += 1
        base, undated = moment(*parts)
        self._given = None
        if (sequence, base) == self._newest:
            return []  # asked for once more
        self._newest = sequence, base
        sample = sample or 0
        if sample & 0x0F == CONTROL_SOLUTION:
            return [InstrumentEvent(self._instrument, t_ns, what="control_solution", detail=str(sequence))]
        self._given = sequence
        words = STATUS_WORDS(status or 0) + undated
        quality = ReadingQuality.GOOD if DOUBTFUL.isdisjoint(words) else ReadingQuality.QUESTIONABLE
        number = Special.NAN if concentration is None else sfloat(concentration)
        if isinstance(number, Decimal11073):
            number = in_mg_per_dl(number, molar=bool(flags & MOLAR))
        return [
            self._readings.decimal(
                Kind.GLUCOSE, t_ns, number, quality=quality, site=SITES.get(sample >> 4),
                instrument_time=shifted(base, offset_min or 0), group=sequence, flags=words,
            )
        ]  # fmt: skip


def in_mg_per_dl(number: Decimal11073, *, molar: bool) -> Decimal11073:
    """A concentration in kg/L (exactly) or mol/L (to whole mg/dL) as mg/dL."""
    if molar:
        return Decimal11073(round(float(number) * MG_PER_DL_PER_MOL_PER_L), 0)
    return Decimal11073(number.mantissa, number.exponent + 5)


def shifted(base: datetime | None, minutes: int) -> datetime | None:
    """The meter's base time plus the user's offset; None when that is no time."""
    try:
        return None if base is None else base + timedelta(minutes=minutes)
    except OverflowError:
        return None
