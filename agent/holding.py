"""What the custody log's entries add up to: who holds the bag, where it belongs, what is wrong with it. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from agent.custody import AFTER, State, What

DEFECTS = frozenset({"missing", "broken", "soiled", "quarantined"})
"""Kinds of details (`kind:which`) that keep a bag from being lent until a technician clears them."""

SERIAL = "#"
"""Between the part and the serial number of a reported problem: `BP-1#5200123`."""


@dataclass(frozen=True, slots=True)
class Act:
    """What one ledger entry says: `badge` and `label` of who did it or, at a hand-over, of who holds the bag now.

    `utc_s` is None when the clock had no anchor. `details` are `kind:which` texts; `blob` carries a certificate.
    """

    what: What
    t_us: int
    utc_s: int | None
    badge: bytes = b""
    label: str = ""
    place: str = ""
    due_s: int | None = None
    details: tuple[str, ...] = ()
    blob: bytes = b""


@dataclass(frozen=True, slots=True)
class Custody:
    """Who holds the bag, where it belongs, what is wrong with it: replayed from the ledger."""

    state: State = State.NEW
    badge: bytes = b""
    label: str = ""
    place: str = ""
    since_s: int | None = None
    due_s: int | None = None
    defects: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    quarantined: frozenset[str] = frozenset()


def split(details: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Details that are defects, and the others."""
    listed = tuple(details)
    defects = tuple(d for d in listed if d.partition(":")[0] in DEFECTS)
    return defects, tuple(d for d in listed if d not in defects)


def advance(before: Custody, act: Act) -> Custody:
    """The custody after one more entry."""
    state = AFTER.get(act.what, before.state)
    moved = replace(before, state=state, since_s=act.utc_s if state is not before.state else before.since_s)
    defects, notes = split(act.details)
    match act.what:
        case What.CHECK_OUT | What.PASSED:
            return replace(
                moved, badge=act.badge, label=act.label, since_s=act.utc_s, due_s=act.due_s, notes=notes, defects=()
            )
        case What.KEPT:
            return replace(moved, due_s=act.due_s)
        case What.PLACED | What.RETURNED:
            return replace(moved, badge=b"", label="", place=act.place, due_s=None, defects=defects, notes=notes)
        case What.QUARANTINED:
            which = {d.partition(":")[2] for d in defects} - {""}
            return replace(moved, defects=before.defects + defects, quarantined=before.quarantined | frozenset(which))
        case What.CLEARED:
            lifted = {d.partition(":")[2] for d in act.details}
            return replace(moved, defects=(), problems=(), quarantined=before.quarantined - lifted)
        case What.PROBLEM:
            return replace(moved, problems=before.problems + act.details)
        case _:
            return moved


def replay(acts: Iterable[Act]) -> Custody:
    """The custody after all entries, from the first."""
    custody = Custody()
    for act in acts:
        custody = advance(custody, act)
    return custody
