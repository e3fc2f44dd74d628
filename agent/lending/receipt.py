"""What a custody entry says besides who, when and where: details as `kind:which`."""

from dataclasses import dataclass

from agent.custody import Event, Row, What
from agent.health import Level, Readiness, Why
from agent.holding import Custody
from agent.lending.inventory import Count

MOST_DETAILS = 64


@dataclass(frozen=True, slots=True)
class Moment:
    """What is known when a step is recorded: `part` is the one the technician named, `day` today (ISO) or None."""

    held: Custody
    readiness: Readiness
    count: Count | None = None
    part: str = ""
    detail: str = ""
    day: str | None = None
    flags: tuple[str, ...] = ()


def findings(readiness: Readiness, *levels: Level) -> tuple[str, ...]:
    """What keeps the bag here and what wants a second scan (or other `levels`), as `why:which`."""
    asked = levels or (Level.UNFIT, Level.CONFIRM)
    return tuple(f"{f.why.value}:{f.which}" for level in asked for f in readiness.at(level))


def details(row: Row, event: Event, now: Moment) -> tuple[str, ...]:
    """The details of the entry that `row` records."""
    return _details(row, event, now)[:MOST_DETAILS]


def _details(row: Row, event: Event, now: Moment) -> tuple[str, ...]:
    match row.record:
        case What.RETURNED:
            assert now.count is not None
            charge = tuple(f"charge:{f.which}" for f in now.readiness.findings if f.why is Why.INSTRUMENT_BATTERY)
            return (*now.count.details(now.held.quarantined, now.day), *charge, *now.flags)
        case What.CHECK_OUT:
            return (*findings(now.readiness), *now.flags)
        case What.FAULTY:
            return now.held.defects
        case What.QUARANTINED:
            return (f"quarantined:{now.part}", *now.flags)
        case What.CLEARED:
            return (f"cleared:{now.part}", *now.flags)
        case What.REFUSED:
            return (f"{row.say.value}:{now.detail or event.value}", *now.flags)
        case What.PROBLEM:
            return (now.detail,)
        case _:
            return now.flags
