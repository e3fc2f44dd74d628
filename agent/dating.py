"""Which readings belong to the moment: a lent meter's memory holds other patients' values.

An instrument that stores measurements gives each its own time. The driver says, at every connection, what the
instrument's clock shows (event `clock`) and what it was set to (`clock_set`); that ties the instrument's times to ours
without anybody knowing the time of day. A stored measurement that was taken before the visit opened, or that nothing
dates, is not let through: an event says so instead, once for the measurement, without its value.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from agent.model import InstrumentEvent, Reading

S = 1_000_000_000
WHOLE_SECONDS_NS = 2 * S  # both the clock's value and the measurement's time are cut to whole seconds
OUTSIDE_NS = 300 * S  # without a visit, what is older than this is not even shown
OLD = "old_reading"
CLOCK, CLOCK_SET = "clock", "clock_set"
FROM_MEMORY, TIME_UNKNOWN = "from_memory", "time_unknown"
MEAL = "meal_"  # of the measurement whose group is the event's detail, and just as old


class Why(Enum):
    """Why a reading is not let through."""

    BEFORE = "before_visit"
    UNDATED = "undated"


@dataclass(frozen=True, slots=True)
class _Shown:
    """An instrument's clock showed `own` at boot time `t_ns`."""

    own: datetime
    t_ns: int

    def boot_ns(self, own: datetime) -> int:
        """The boot time at which it shows `own`, to the second."""
        return self.t_ns + round((own - self.own).total_seconds()) * S


@dataclass(slots=True)
class _Clock:
    """What is known of one instrument's clock at this connection: as it was, and as it was set."""

    found: _Shown | None = None
    put: _Shown | None = None

    def measured_ns(self, own: datetime, t_ns: int) -> int | None:
        """When a measurement of time `own` that arrived at `t_ns` was taken; the earliest that can be, None if never.

        Before the clock was set its old time counts, afterwards its new one.
        """
        until_ns = self.put.t_ns if self.put is not None else t_ns
        possible = []
        if self.found is not None and (at := self.found.boot_ns(own)) <= until_ns + WHOLE_SECONDS_NS:
            possible.append(at)
        if self.put is not None and until_ns - WHOLE_SECONDS_NS <= (at := self.put.boot_ns(own)):
            possible.append(at)
        return min((at for at in possible if at <= t_ns + WHOLE_SECONDS_NS), default=None)


@dataclass(slots=True)
class Dating:
    """Lets readings through, or puts an event in their place. Synchronous, one per process.

    `own_word`: instruments that mark what comes from their memory, and are believed when they do not.
    """

    own_word: frozenset[str] = frozenset({"nonin-spot"})
    refused: int = 0
    _clocks: dict[str, _Clock] = field(default_factory=dict)
    _last_refused: dict[str, tuple[int, datetime | None]] = field(default_factory=dict)

    def take(self, items: Iterable[Reading | InstrumentEvent], since_ns: int) -> list[Reading | InstrumentEvent]:
        """What may be shown and, in a visit that opened at `since_ns`, stored."""
        return [kept for item in items if (kept := self._one(item, since_ns)) is not None]

    def _one(self, item: Reading | InstrumentEvent, since_ns: int) -> Reading | InstrumentEvent | None:
        if isinstance(item, InstrumentEvent):
            self._heard(item)
            group, _ = self._last_refused.get(item.instrument, (None, None))
            return None if item.what.startswith(MEAL) and item.detail == str(group) else item
        why = self.judge(item, since_ns)
        if why is None:
            self._last_refused.pop(item.instrument, None)
            return item
        which = item.group, item.instrument_time
        if which == self._last_refused.get(item.instrument):  # another value of the same measurement
            return None
        self._last_refused[item.instrument] = which
        self.refused += 1
        return InstrumentEvent(item.instrument, item.t_ns, what=OLD, detail=why.value)

    def _heard(self, event: InstrumentEvent) -> None:
        if event.what == CLOCK:
            shown = _time(event.detail)
            self._clocks[event.instrument] = _Clock(_Shown(shown, event.t_ns) if shown is not None else None)
        elif event.what == CLOCK_SET and (put := _time(event.detail)) is not None:
            self._clocks.setdefault(event.instrument, _Clock()).put = _Shown(put, event.t_ns)

    def judge(self, reading: Reading, since_ns: int) -> Why | None:
        """Why a reading must not join what began at `since_ns`; None when it may."""
        if FROM_MEMORY not in reading.flags and reading.instrument in self.own_word:
            return None
        if reading.instrument_time is None:
            return Why.UNDATED if {FROM_MEMORY, TIME_UNKNOWN} & set(reading.flags) else None
        clock = self._clocks.get(reading.instrument)
        measured_ns = clock.measured_ns(reading.instrument_time, reading.t_ns) if clock is not None else None
        if measured_ns is None:
            return Why.UNDATED
        return Why.BEFORE if measured_ns < since_ns else None


def _time(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=None)
    except ValueError:
        return None
