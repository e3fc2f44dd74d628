"""The loan's table, row by row as the failure list says it, and what must hold of the whole."""

from dataclasses import replace
from itertools import product

import pytest

from agent.custody import (
    AFTER,
    DURABLE,
    PATIENCE_S,
    SHEET,
    TABLE,
    Event,
    Facts,
    Guard,
    Row,
    Say,
    State,
    What,
    diagram,
    find,
    is_repeat,
)
from agent.holding import Act, Custody, advance, replay
from agent.lending.sentences import desk_words

WORDS = desk_words()
GESTURES = (Event.POINT, Event.NURSE, Event.TECHNICIAN, Event.PART, Event.REFUSED, *SHEET.values())


def step(state, event, **facts):
    row = find(state, event, Facts(**facts))
    assert row is not None
    return row.after, row.record, row.say


FAILURES = [
    # wrong order
    (State.HOME, Event.NURSE, {}, State.HOME, What.REFUSED, Say.CARD_FIRST),
    (State.LEAVING, Event.TECHNICIAN, {}, State.LEAVING, What.REFUSED, Say.WRONG_CARD),
    (State.NEW, Event.NURSE, {}, State.NEW, What.REFUSED, Say.NOT_IN_SERVICE),
    (State.HOME, Event.DISINFECTED, {}, State.HOME, What.REFUSED, Say.WRONG_CARD),
    (State.RETURNING, Event.NURSE, {}, State.RETURNING, What.REFUSED, Say.WRONG_CARD),
    # unknown, expired, forged, revoked
    (State.LEAVING, Event.REFUSED, {}, State.LEAVING, What.REFUSED, Say.BAD_CARD),
    (State.OUT, Event.REFUSED, {}, State.OUT, What.REFUSED, Say.BAD_CARD),
    # already out
    (State.OUT, Event.NURSE, {}, State.OUT, What.REFUSED, Say.HELD_SINCE),
    # data still on board
    (State.DRAINING, Event.NURSE, {}, State.DRAINING, What.REFUSED, Say.SENDING),
    (State.DRAINING, Event.POINT, {}, State.DRAINING, None, Say.SENDING),
    # part missing or broken: named, and lendable only when the technician clears it
    (State.CHECKING, Event.TESTED, {"defective": True}, State.DEFECT, What.FAULTY, Say.FAULTY),
    (State.DEFECT, Event.NURSE, {}, State.DEFECT, What.REFUSED, Say.TECHNICIAN_PLEASE),
    (State.DEFECT, Event.POINT, {}, State.DEFECT, None, Say.TECHNICIAN_PLEASE),
    (State.SERVICE, Event.CLEAR, {}, State.CHECKING, What.CLEARED, Say.CLEARED),
    # unfit cannot leave, low battery asks again
    (State.HOME, Event.POINT, {"unfit": True}, State.HOME, What.REFUSED, Say.UNFIT),
    (State.LEAVING, Event.NURSE, {"unfit": True}, State.HOME, What.REFUSED, Say.UNFIT),
    (State.LEAVING, Event.NURSE, {"confirm": True}, State.CONFIRMING, None, Say.CONFIRM_PLEASE),
    (State.CONFIRMING, Event.NURSE, {"confirm": True, "same_badge": True}, State.OUT, What.CHECK_OUT, Say.HANDED_OVER),
    (State.CONFIRMING, Event.NURSE, {"confirm": True}, State.CONFIRMING, None, Say.CONFIRM_PLEASE),
    (State.CHECKING, Event.TESTED, {"unfit": True}, State.CHECKING, None, Say.NOT_YET_FIT),
    # never in the middle of a visit
    (State.OUT, Event.POINT, {"in_visit": True}, State.OUT, What.REFUSED, Say.END_VISIT_FIRST),
    (State.OUT, Event.NURSE, {"in_visit": True, "holder": True}, State.OUT, What.REFUSED, Say.END_VISIT_FIRST),
    (State.PASSING, Event.NURSE, {"in_visit": True}, State.OUT, What.REFUSED, Say.END_VISIT_FIRST),
    (State.RETURNING, Event.POINT, {"in_visit": True}, State.OUT, What.REFUSED, Say.END_VISIT_FIRST),
    (
        State.RETURNING,
        Event.DISINFECTED,
        {"in_visit": True, "settled": True},
        State.OUT,
        What.REFUSED,
        Say.END_VISIT_FIRST,
    ),
    # overdue
    (State.OUT, Event.OVERDUE, {"in_visit": True}, State.OUT, None, Say.OVERDUE),
    (State.OUT, Event.ON_CHARGER, {}, State.OUT, None, Say.NOT_CHECKED_IN),
    # abandoned
    (State.RETURNING, Event.TIMED_OUT, {}, None, None, Say.TIMED_OUT),
]


@pytest.mark.parametrize(("state", "event", "facts", "after", "record", "say"), FAILURES)
def test_failure_rows(state, event, facts, after, record, say):
    assert step(state, event, **facts) == (after, record, say)


def test_the_way_out_and_back():
    assert step(State.NEW, Event.POINT) == (State.DRAINING, What.PLACED, Say.PLACED)
    assert step(State.DRAINING, Event.DRAINED) == (State.CHECKING, What.DRAINED, Say.CHECKING)
    assert step(State.CHECKING, Event.TESTED) == (State.HOME, What.LENDABLE, Say.LENDABLE)
    assert step(State.HOME, Event.POINT) == (State.LEAVING, None, Say.BADGE_PLEASE)
    assert step(State.LEAVING, Event.NURSE) == (State.OUT, What.CHECK_OUT, Say.HANDED_OVER)
    assert step(State.OUT, Event.NURSE, holder=True) == (State.PASSING, None, Say.OTHER_BADGE)
    assert step(State.PASSING, Event.NURSE) == (State.OUT, What.PASSED, Say.PASSED)
    assert step(State.OUT, Event.POINT) == (State.RETURNING, None, Say.COUNTING)
    assert step(State.RETURNING, Event.ALL_THERE) == (State.RETURNING, None, Say.COUNTED)
    assert step(State.RETURNING, Event.DISINFECTED, settled=True) == (State.DRAINING, What.RETURNED, Say.RETURNED)


def all_facts():
    for values in product((False, True), repeat=len(Facts.__slots__)):
        yield Facts(**dict(zip(Facts.__slots__, values, strict=True)))


@pytest.mark.parametrize("state", State)
def test_every_gesture_has_an_answer_everywhere(state):
    for event in GESTURES:
        for facts in all_facts():
            assert find(state, event, facts) is not None, (state, event)


def test_every_pair_ends_with_a_row_that_always_holds_and_no_row_is_hidden():
    pairs = {}
    for row in TABLE:
        pairs.setdefault((row.state, row.event), []).append(row.guard)
    for pair, guards in pairs.items():
        assert guards[-1] is Guard.ALWAYS, pair
        assert len(set(guards)) == len(guards), pair
    used = {find(row.state, row.event, facts) for row in TABLE for facts in all_facts()}
    assert used == set(TABLE)


@pytest.mark.parametrize("row", TABLE, ids=lambda r: f"{r.state.value}-{r.event.value}-{r.guard.value}")
def test_what_is_recorded_and_where_it_leads_agree(row: Row):
    if row.record in AFTER:
        assert row.after is AFTER[row.record]
    elif row.after in DURABLE and row.after is not row.state:
        # A durable state is entered without a record only by falling back from a conversation that began there.
        assert row.state not in DURABLE
        assert row.record in {None, What.REFUSED}


@pytest.mark.parametrize("state", [State.OUT, State.PASSING, State.RETURNING])
def test_nothing_locks_a_bag_during_a_visit(state):
    """While a visit is open no event takes the bag from its holder, whatever was begun before it."""
    for event in Event:
        for facts in all_facts():
            row = find(state, event, replace(facts, in_visit=True))
            if row is not None:
                assert row.after in {None, State.OUT, state}
                assert row.record in {None, What.REFUSED, What.KEPT, What.PROBLEM}


def test_an_unfit_bag_is_handed_to_nobody():
    for state in State:
        for event in Event:
            for facts in all_facts():
                row = find(state, event, facts)
                if row is not None and row.record is What.CHECK_OUT:
                    assert not facts.unfit


def test_a_defective_bag_becomes_lendable_only_through_a_technician():
    reach, todo = {State.DEFECT}, [State.DEFECT]
    while todo:
        state = todo.pop()
        for event in set(Event) - {Event.TECHNICIAN}:
            for facts in all_facts():
                row = find(state, event, facts)
                if row is not None and row.after is not None and row.after not in reach:
                    reach.add(row.after)
                    todo.append(row.after)
    assert reach == {State.DEFECT, State.RETIRED}


@pytest.mark.parametrize("state", State)
def test_conversations_end_by_themselves_and_durable_states_do_not(state):
    assert (state in PATIENCE_S) == (state not in DURABLE)
    assert (find(state, Event.TIMED_OUT, Facts()) is not None) == (state in PATIENCE_S)


@pytest.mark.parametrize(
    ("state", "same", "elapsed", "repeat"),
    [
        (State.HOME, True, 9.9, True),
        (State.HOME, True, 10.0, False),
        (State.HOME, False, 0.1, False),
        (State.OUT, True, 1.0, True),
        (State.CONFIRMING, True, 2.9, True),
        (State.CONFIRMING, True, 3.0, False),
    ],
)
def test_repeats(state, same, elapsed, repeat):
    assert is_repeat(state, same_card=same, elapsed_s=elapsed) is repeat


@pytest.mark.parametrize("say", Say)
def test_every_answer_has_a_french_sentence(say):
    assert f"custody.{say.value}" in WORDS


def test_the_diagram_names_every_state():
    drawn = diagram()
    assert all(state.value in drawn for state in State)


def test_quarantine_and_problems_are_kept_until_cleared():
    custody = replay(
        [
            Act(What.PROBLEM, 1, 1, details=("BP-1",)),
            Act(What.QUARANTINED, 2, 2, details=("quarantined:BP-1",)),
        ]
    )
    assert custody == Custody(
        State.DEFECT, since_s=2, defects=("quarantined:BP-1",), problems=("BP-1",), quarantined=frozenset({"BP-1"})
    )
    cleared = advance(custody, Act(What.CLEARED, 3, 3, details=("cleared:",)))
    assert (cleared.state, cleared.defects, cleared.problems) == (State.CHECKING, (), ())
    assert cleared.quarantined == {"BP-1"}  # the bag is cleared, the part is not
    assert advance(custody, Act(What.CLEARED, 3, 3, details=("cleared:BP-1",))).quarantined == frozenset()
