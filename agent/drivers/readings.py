# Ref: plausible ranges: the widest a bedside monitor displays (ISO 80601-2-61 oximeters, 2-30 sphygmomanometers,
# 2-56 clinical thermometers), not normal values.
"""How decoders make readings: unit by kind, plausible range by kind, repeated values thinned out."""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache

from agent.drivers.base import DecoderCounters
from agent.drivers.ieee11073 import Decimal11073, Special
from agent.model import USUAL_UNIT, Kind, NoValue, Reading, ReadingQuality

PLAUSIBLE = {
    Kind.PRESSURE_SYSTOLIC: (40.0, 280.0),
    Kind.PRESSURE_DIASTOLIC: (20.0, 200.0),
    Kind.PRESSURE_MEAN: (30.0, 240.0),
    Kind.TEMPERATURE: (30.0, 43.0),
    Kind.SPO2: (50.0, 100.0),
    Kind.PULSE_RATE: (25.0, 300.0),
    Kind.HEART_RATE: (20.0, 300.0),
    Kind.RESPIRATION_RATE: (3.0, 80.0),
    Kind.PERFUSION_INDEX: (0.02, 30.0),
    Kind.GLUCOSE: (10.0, 600.0),
    Kind.WEIGHT: (1.0, 350.0),
}

# No measurement gives anything else: firmware's signs for "none" (127, 255, 511, 0) that its protocol does not name.
POSSIBLE = {Kind.SPO2: (1.0, 100.0), Kind.PULSE_RATE: (1.0, 350.0), Kind.HEART_RATE: (1.0, 350.0)}

_ANYTHING = (-1e6, 1e6)
_FACTS = {kind: (USUAL_UNIT[kind], *PLAUSIBLE[kind], *POSSIBLE.get(kind, _ANYTHING)) for kind in USUAL_UNIT}
MOST_EXPONENT = 20  # a health device's float goes to 127, and can be zero a hundred times over


def namer(words: Mapping[int, str]) -> Callable[[int], tuple[str, ...]]:
    """A function that gives the word of each bit that is set; `words` by the bit's number.

    It remembers: an instrument says the same again and again.
    """

    @lru_cache(maxsize=256)
    def named(bits: int) -> tuple[str, ...]:
        return tuple(word for bit, word in words.items() if bits >> bit & 1)

    return named


class Readings:
    """Makes one instrument's readings; a value outside its plausible range is marked, counted and kept.

    A value that no patient can have is no number: counted, and given as missing.
    """

    def __init__(self, instrument: str, counters: DecoderCounters) -> None:
        self._instrument = instrument
        self._counters = counters
        self._said: dict[Kind, tuple[int, object]] = {}

    def value(
        self,
        kind: Kind,
        t_ns: int,
        value: int,
        exponent: int = 0,
        quality: ReadingQuality = ReadingQuality.GOOD,
        site: str | None = None,
        instrument_time: datetime | None = None,
        group: int = 0,
        flags: tuple[str, ...] = (),
    ) -> Reading:
        """A number: `value * 10**exponent` in the kind's unit; none where that is impossible."""
        unit, low, high, lowest, highest = _FACTS[kind]
        number = value if not exponent else value / 10**-exponent if exponent < 0 else value * 10**exponent
        if not low <= number <= high:
            self._counters.implausible += 1
            if not lowest <= number <= highest or abs(exponent) > MOST_EXPONENT:
                return self.missing(kind, t_ns, NoValue.INSTRUMENT, site, instrument_time, group, flags)
            quality = ReadingQuality.IMPLAUSIBLE
        return Reading(
            self._instrument, kind, unit, t_ns, value, exponent, quality, None, site, instrument_time, group, flags
        )

    def missing(
        self,
        kind: Kind,
        t_ns: int,
        reason: NoValue,
        site: str | None = None,
        instrument_time: datetime | None = None,
        group: int = 0,
        flags: tuple[str, ...] = (),
    ) -> Reading:
        """No number, with the reason."""
        return Reading(
            self._instrument, kind, USUAL_UNIT[kind], t_ns, None, 0, ReadingQuality.NONE, reason,
            site, instrument_time, group, flags,
        )  # fmt: skip

    def decimal(
        self,
        kind: Kind,
        t_ns: int,
        number: Decimal11073 | Special,
        quality: ReadingQuality = ReadingQuality.GOOD,
        site: str | None = None,
        instrument_time: datetime | None = None,
        group: int = 0,
        flags: tuple[str, ...] = (),
    ) -> Reading:
        """A health device's float: a number, or none with the float's own word among the flags."""
        if isinstance(number, Decimal11073):
            return self.value(
                kind, t_ns, number.mantissa, number.exponent, quality, site, instrument_time, group, flags
            )
        word = (*flags, number.value)
        return self.missing(kind, t_ns, NoValue.INSTRUMENT, site, instrument_time, group, word)

    def due(self, kind: Kind, said: object, frame: int, every: int) -> bool:
        """Whether a value that every frame repeats is worth a reading: it changed, or `every` frames have passed."""
        last = self._said.get(kind)
        if last is not None and last[1] == said and frame - last[0] < every:
            return False
        self._said[kind] = (frame, said)
        return True
