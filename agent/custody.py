"""Who holds the bag: the loan as a pure transition table, every failure beside its success.

A bag leaves its loan point by a *check-out* (sortie) and comes back by a *check-in* (retour). A row says: in this
state, on this event, when this guard holds, go there, record this in the ledger, do this, say this. Rows of one
(state, event) are tried in order and the last of them always holds; a pair without rows is impossible for a person
to cause and changes nothing. Where `record` is set the move takes effect when the ledger has it on disk, not before.

States below DURABLE are replayed from the ledger after a power cut; the others are conversations at the desk, which
a power cut or a time-out ends where they began. Nothing here reads a clock, a disk or a card.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

REPEAT_S = 10.0
CONFIRM_AFTER_S = 3.0  # a card left lying before the scanner reads again each second: that is no confirmation


class State(Enum):
    """Where the bag stands between two holders."""

    NEW = "new"
    HOME = "home"
    LEAVING = "leaving"
    CONFIRMING = "confirming"
    OUT = "out"
    PASSING = "passing"
    RETURNING = "returning"
    DRAINING = "draining"
    CHECKING = "checking"
    DEFECT = "defect"
    SERVICE = "service"
    RETIRED = "retired"


DURABLE = frozenset({State.NEW, State.HOME, State.OUT, State.DRAINING, State.CHECKING, State.DEFECT, State.RETIRED})
PATIENCE_S = {
    State.LEAVING: 60.0, State.CONFIRMING: 30.0, State.PASSING: 30.0, State.RETURNING: 600.0, State.SERVICE: 60.0,
}  # fmt: skip
"""How long a conversation waits for its next gesture."""


class Event(Enum):
    """What can happen to a loan."""

    POINT = "point"
    NURSE = "nurse"
    TECHNICIAN = "technician"
    PART = "part"
    ALL_THERE = "all_there"
    INCOMPLETE = "incomplete"
    DISINFECTED = "disinfected"
    BROKEN = "broken"
    CONSUMABLES = "consumables"
    QUARANTINE = "quarantine"
    CLEAR = "clear"
    REFUSED = "refused"
    KEEP = "keep"
    PROBLEM = "problem"
    DRAINED = "drained"
    TESTED = "tested"
    TIMED_OUT = "timed_out"
    OVERDUE = "overdue"
    ON_CHARGER = "on_charger"
    RETIRE = "retire"


SHEET = {
    "COMPLET": Event.ALL_THERE,
    "INCOMPLET": Event.INCOMPLETE,
    "DESINFECTE": Event.DISINFECTED,
    "CASSE": Event.BROKEN,
    "CONSOMMABLES": Event.CONSUMABLES,
    "QUARANTAINE": Event.QUARANTINE,
    "REMIS": Event.CLEAR,
}
"""The condition sheet's codes by the label on their cards."""


class Guard(Enum):
    """What must hold for a row; ALWAYS ends each list."""

    ALWAYS = "always"
    UNFIT = "unfit"
    CONFIRM = "confirm"
    IN_VISIT = "in_visit"
    HOLDER = "holder"
    SAME_BADGE = "same_badge"
    SETTLED = "settled"
    DEFECTIVE = "defective"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is so at the moment of an event: one field for each guard but ALWAYS.

    `unfit`: the self-test fails. `confirm`: it passes with a warning that wants a second scan. `holder`: the badge is
    the holder's. `same_badge`: it is the badge this conversation began with. `settled`: inventory and condition are
    complete. `defective`: something keeps the bag from being lent until a technician clears it.
    """

    unfit: bool = False
    confirm: bool = False
    in_visit: bool = False
    holder: bool = False
    same_badge: bool = False
    settled: bool = False
    defective: bool = False


class What(Enum):
    """A ledger entry's kind."""

    IDENTITY = "identity"
    PLACED = "placed"
    CHECK_OUT = "check_out"
    PASSED = "passed"
    KEPT = "kept"
    RETURNED = "returned"
    DRAINED = "drained"
    LENDABLE = "lendable"
    FAULTY = "faulty"
    CLEARED = "cleared"
    QUARANTINED = "quarantined"
    PROBLEM = "problem"
    REFUSED = "refused"
    RETIRED = "retired"


AFTER: dict[What, State] = {
    What.PLACED: State.DRAINING,
    What.CHECK_OUT: State.OUT,
    What.PASSED: State.OUT,
    What.KEPT: State.OUT,
    What.RETURNED: State.DRAINING,
    What.DRAINED: State.CHECKING,
    What.LENDABLE: State.HOME,
    What.FAULTY: State.DEFECT,
    What.CLEARED: State.CHECKING,
    What.QUARANTINED: State.DEFECT,
    What.RETIRED: State.RETIRED,
}
"""The durable state each entry leads to; entries not listed (identity, problem, refused) change none."""


class Action(Enum):
    """What follows an event once it is recorded; each may be done twice without harm."""

    EPOCH_OUT = "epoch_out"
    EPOCH_IN = "epoch_in"
    COUNT = "count"


class Say(Enum):
    """What the person is told; each has a French sentence."""

    AGAIN = "again"
    NOTHING = "nothing"
    NOT_RECORDED = "not_recorded"
    BADGE_PLEASE = "badge_please"
    CONFIRM_PLEASE = "confirm_please"
    HANDED_OVER = "handed_over"
    UNFIT = "unfit"
    NOT_IN_SERVICE = "not_in_service"
    CARD_FIRST = "card_first"
    WRONG_CARD = "wrong_card"
    BAD_CARD = "bad_card"
    HELD_SINCE = "held_since"
    OTHER_BADGE = "other_badge"
    PASSED = "passed"
    PASSING_OFF = "passing_off"
    END_VISIT_FIRST = "end_visit_first"
    COUNTING = "counting"
    COUNTED = "counted"
    RETURNED = "returned"
    SENDING = "sending"
    CHECKING = "checking"
    LENDABLE = "lendable"
    NOT_YET_FIT = "not_yet_fit"
    FAULTY = "faulty"
    TECHNICIAN_PLEASE = "technician_please"
    SHEET_PLEASE = "sheet_please"
    CLEARED = "cleared"
    QUARANTINED = "quarantined"
    KEPT = "kept"
    PROBLEM_NOTED = "problem_noted"
    OVERDUE = "overdue"
    NOT_CHECKED_IN = "not_checked_in"
    TIMED_OUT = "timed_out"
    PLACED = "placed"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class Row:
    """One transition; `after` None goes back to the durable state the conversation began in."""

    state: State
    event: Event
    guard: Guard
    after: State | None
    say: Say
    record: What | None = None
    actions: tuple[Action, ...] = ()


_S, _E, _G, _W = State, Event, Guard, What
_NO = _W.REFUSED


def _counting() -> Iterator[Row]:
    """The inventory and the condition: each gesture may be the one that completes the return."""
    for event in (_E.PART, _E.ALL_THERE, _E.INCOMPLETE, _E.DISINFECTED, _E.BROKEN, _E.CONSUMABLES):
        yield Row(_S.RETURNING, event, _G.IN_VISIT, _S.OUT, Say.END_VISIT_FIRST, _NO)
        yield Row(_S.RETURNING, event, _G.SETTLED, _S.DRAINING, Say.RETURNED, _W.RETURNED)
        yield Row(_S.RETURNING, event, _G.ALWAYS, _S.RETURNING, Say.COUNTED)


def _everywhere() -> Iterator[Row]:
    """What is answered alike in several states."""
    sheet = (
        _E.ALL_THERE, _E.INCOMPLETE, _E.DISINFECTED, _E.BROKEN, _E.CONSUMABLES, _E.QUARANTINE, _E.CLEAR, _E.PART,
    )  # fmt: skip
    for state in State:
        yield Row(state, _E.REFUSED, _G.ALWAYS, state, Say.BAD_CARD, _NO)
        if state in PATIENCE_S:
            said = Say.PASSING_OFF if state is _S.PASSING else Say.TIMED_OUT
            yield Row(state, _E.TIMED_OUT, _G.ALWAYS, None, said)
        if state is _S.RETIRED:
            for event in (_E.POINT, _E.NURSE, _E.TECHNICIAN, _E.RETIRE, *sheet):
                yield Row(state, event, _G.ALWAYS, state, Say.RETIRED)
            continue
        yield Row(state, _E.PROBLEM, _G.ALWAYS, state, Say.PROBLEM_NOTED, _W.PROBLEM)
        taken = {
            _S.RETURNING: set(sheet) - {_E.QUARANTINE, _E.CLEAR},
            _S.SERVICE: {_E.QUARANTINE, _E.CLEAR, _E.PART},
        }.get(state, set())
        for event in sheet:
            if event not in taken:
                yield Row(state, event, _G.ALWAYS, state, Say.WRONG_CARD, _NO)
        if state in {_S.NEW, _S.HOME, _S.DEFECT, _S.CHECKING}:
            yield Row(state, _E.RETIRE, _G.ALWAYS, _S.RETIRED, Say.RETIRED, _W.RETIRED)


TABLE: tuple[Row, ...] = (
    # --- before the first loan
    Row(_S.NEW, _E.POINT, _G.ALWAYS, _S.DRAINING, Say.PLACED, _W.PLACED),
    Row(_S.NEW, _E.NURSE, _G.ALWAYS, _S.NEW, Say.NOT_IN_SERVICE, _NO),
    Row(_S.NEW, _E.TECHNICIAN, _G.ALWAYS, _S.NEW, Say.NOT_IN_SERVICE, _NO),
    # --- check-out: the point's card, then the badge
    Row(_S.HOME, _E.POINT, _G.IN_VISIT, _S.HOME, Say.END_VISIT_FIRST, _NO),  # a visit has one holder, or none
    Row(_S.HOME, _E.POINT, _G.UNFIT, _S.HOME, Say.UNFIT, _NO),
    Row(_S.HOME, _E.POINT, _G.ALWAYS, _S.LEAVING, Say.BADGE_PLEASE),
    Row(_S.HOME, _E.NURSE, _G.ALWAYS, _S.HOME, Say.CARD_FIRST, _NO),
    Row(_S.HOME, _E.TECHNICIAN, _G.ALWAYS, _S.SERVICE, Say.SHEET_PLEASE),
    Row(_S.LEAVING, _E.POINT, _G.ALWAYS, _S.LEAVING, Say.BADGE_PLEASE),
    Row(_S.LEAVING, _E.NURSE, _G.IN_VISIT, _S.HOME, Say.END_VISIT_FIRST, _NO),
    Row(_S.LEAVING, _E.NURSE, _G.UNFIT, _S.HOME, Say.UNFIT, _NO),
    Row(_S.LEAVING, _E.NURSE, _G.CONFIRM, _S.CONFIRMING, Say.CONFIRM_PLEASE),
    Row(_S.LEAVING, _E.NURSE, _G.ALWAYS, _S.OUT, Say.HANDED_OVER, _W.CHECK_OUT, (Action.EPOCH_OUT,)),
    Row(_S.LEAVING, _E.TECHNICIAN, _G.ALWAYS, _S.LEAVING, Say.WRONG_CARD, _NO),
    Row(_S.CONFIRMING, _E.POINT, _G.ALWAYS, _S.LEAVING, Say.BADGE_PLEASE),
    Row(_S.CONFIRMING, _E.NURSE, _G.IN_VISIT, _S.HOME, Say.END_VISIT_FIRST, _NO),
    Row(_S.CONFIRMING, _E.NURSE, _G.UNFIT, _S.HOME, Say.UNFIT, _NO),
    Row(_S.CONFIRMING, _E.NURSE, _G.SAME_BADGE, _S.OUT, Say.HANDED_OVER, _W.CHECK_OUT, (Action.EPOCH_OUT,)),
    Row(_S.CONFIRMING, _E.NURSE, _G.ALWAYS, _S.CONFIRMING, Say.CONFIRM_PLEASE),
    Row(_S.CONFIRMING, _E.TECHNICIAN, _G.ALWAYS, _S.CONFIRMING, Say.WRONG_CARD, _NO),
    # --- out: passing on, keeping, reminding; nothing here ever stops a visit
    Row(_S.OUT, _E.NURSE, _G.IN_VISIT, _S.OUT, Say.END_VISIT_FIRST, _NO),
    Row(_S.OUT, _E.NURSE, _G.HOLDER, _S.PASSING, Say.OTHER_BADGE),
    Row(_S.OUT, _E.NURSE, _G.ALWAYS, _S.OUT, Say.HELD_SINCE, _NO),
    Row(_S.OUT, _E.TECHNICIAN, _G.ALWAYS, _S.OUT, Say.HELD_SINCE, _NO),
    Row(_S.OUT, _E.KEEP, _G.ALWAYS, _S.OUT, Say.KEPT, _W.KEPT),
    Row(_S.OUT, _E.OVERDUE, _G.ALWAYS, _S.OUT, Say.OVERDUE),
    Row(_S.OUT, _E.ON_CHARGER, _G.ALWAYS, _S.OUT, Say.NOT_CHECKED_IN),
    Row(_S.PASSING, _E.NURSE, _G.IN_VISIT, _S.OUT, Say.END_VISIT_FIRST, _NO),
    Row(_S.PASSING, _E.NURSE, _G.HOLDER, _S.OUT, Say.PASSING_OFF),
    Row(_S.PASSING, _E.NURSE, _G.ALWAYS, _S.OUT, Say.PASSED, _W.PASSED, (Action.EPOCH_OUT,)),
    Row(_S.PASSING, _E.TECHNICIAN, _G.ALWAYS, _S.PASSING, Say.WRONG_CARD, _NO),
    # --- check-in: the card of any loan point, the inventory, the condition
    Row(_S.OUT, _E.POINT, _G.IN_VISIT, _S.OUT, Say.END_VISIT_FIRST, _NO),
    Row(_S.OUT, _E.POINT, _G.ALWAYS, _S.RETURNING, Say.COUNTING, None, (Action.COUNT,)),
    Row(_S.PASSING, _E.POINT, _G.IN_VISIT, _S.OUT, Say.END_VISIT_FIRST, _NO),
    Row(_S.PASSING, _E.POINT, _G.ALWAYS, _S.RETURNING, Say.COUNTING, None, (Action.COUNT,)),
    *_counting(),
    Row(_S.RETURNING, _E.POINT, _G.IN_VISIT, _S.OUT, Say.END_VISIT_FIRST, _NO),
    Row(_S.RETURNING, _E.POINT, _G.ALWAYS, _S.DRAINING, Say.RETURNED, _W.RETURNED),  # as it is: the rest is missing
    Row(_S.RETURNING, _E.NURSE, _G.ALWAYS, _S.RETURNING, Say.WRONG_CARD, _NO),
    Row(_S.RETURNING, _E.TECHNICIAN, _G.ALWAYS, _S.RETURNING, Say.WRONG_CARD, _NO),
    # --- back: returned yes, lendable not before the hub has everything and the self-test passes
    Row(_S.DRAINING, _E.POINT, _G.ALWAYS, _S.DRAINING, Say.SENDING),
    Row(_S.DRAINING, _E.NURSE, _G.ALWAYS, _S.DRAINING, Say.SENDING, _NO),
    Row(_S.DRAINING, _E.TECHNICIAN, _G.ALWAYS, _S.DRAINING, Say.SENDING, _NO),
    Row(_S.DRAINING, _E.DRAINED, _G.ALWAYS, _S.CHECKING, Say.CHECKING, _W.DRAINED, (Action.EPOCH_IN,)),
    Row(_S.CHECKING, _E.POINT, _G.ALWAYS, _S.CHECKING, Say.CHECKING),
    Row(_S.CHECKING, _E.NURSE, _G.ALWAYS, _S.CHECKING, Say.CHECKING, _NO),
    Row(_S.CHECKING, _E.TECHNICIAN, _G.ALWAYS, _S.SERVICE, Say.SHEET_PLEASE),
    Row(_S.CHECKING, _E.TESTED, _G.DEFECTIVE, _S.DEFECT, Say.FAULTY, _W.FAULTY),
    Row(_S.CHECKING, _E.TESTED, _G.UNFIT, _S.CHECKING, Say.NOT_YET_FIT),
    Row(_S.CHECKING, _E.TESTED, _G.ALWAYS, _S.HOME, Say.LENDABLE, _W.LENDABLE),
    # --- defects and quarantine: the technician's badge, then one of the technician's codes
    Row(_S.DEFECT, _E.POINT, _G.ALWAYS, _S.DEFECT, Say.TECHNICIAN_PLEASE),
    Row(_S.DEFECT, _E.NURSE, _G.ALWAYS, _S.DEFECT, Say.TECHNICIAN_PLEASE, _NO),
    Row(_S.DEFECT, _E.TECHNICIAN, _G.ALWAYS, _S.SERVICE, Say.SHEET_PLEASE),
    Row(_S.SERVICE, _E.QUARANTINE, _G.ALWAYS, _S.DEFECT, Say.QUARANTINED, _W.QUARANTINED),
    Row(_S.SERVICE, _E.PART, _G.ALWAYS, _S.SERVICE, Say.SHEET_PLEASE),  # the next code is for this part alone
    Row(_S.SERVICE, _E.CLEAR, _G.ALWAYS, _S.CHECKING, Say.CLEARED, _W.CLEARED),
    Row(_S.SERVICE, _E.TECHNICIAN, _G.ALWAYS, None, Say.TIMED_OUT),
    Row(_S.SERVICE, _E.POINT, _G.ALWAYS, _S.SERVICE, Say.WRONG_CARD, _NO),
    Row(_S.SERVICE, _E.NURSE, _G.ALWAYS, _S.SERVICE, Say.WRONG_CARD, _NO),
    *_everywhere(),
)  # fmt: skip

_ROWS: dict[tuple[State, Event], list[Row]] = {}
for _row in TABLE:
    _ROWS.setdefault((_row.state, _row.event), []).append(_row)


def find(state: State, event: Event, facts: Facts) -> Row | None:
    """The row that applies; None when the pair has none (nothing a person can cause)."""
    return next(
        (row for row in _ROWS.get((state, event), ()) if row.guard is Guard.ALWAYS or getattr(facts, row.guard.value)),
        None,
    )


def is_repeat(state: State, *, same_card: bool, elapsed_s: float) -> bool:
    """Whether a scan is the last one again: the same card, nothing in between, within ten seconds.

    Only where a second scan of the same badge is asked for is it taken sooner, after three seconds. Wider than
    "in the same state": a card held before the scanner reads again after the state has moved.
    """
    return same_card and elapsed_s < (CONFIRM_AFTER_S if state is State.CONFIRMING else REPEAT_S)


def diagram() -> str:
    """The table as a Mermaid state diagram: refusals, repeats and time-outs left out."""
    lines = ["stateDiagram-v2", "    [*] --> new"]
    for row in TABLE:
        if row.record is _NO or row.after is None or row.after is row.state:
            continue
        guard = "" if row.guard is Guard.ALWAYS else f" [{row.guard.value}]"
        recorded = f" / {row.record.value}" if row.record else ""
        lines.append(f"    {row.state.value} --> {row.after.value}: {row.event.value}{guard}{recorded}")
    return "\n".join(dict.fromkeys(lines))
