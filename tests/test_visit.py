"""The visit's table, every pair of it."""

from itertools import product

import pytest

from agent.visit import TABLE, Action, Event, State, VisitMachine, diagram

MOVES = {
    ("idle", "started"): ("ready", []),
    ("idle", "resumed"): ("visit", ["resume"]),
    ("ready", "new_visit"): ("visit", ["open"]),
    ("visit", "new_visit"): ("visit", ["close", "open"]),
    ("visit", "end_visit"): ("closing", ["close"]),
    ("closing", "new_visit"): ("visit", ["open"]),
    ("closing", "drained"): ("sent", ["say_sent"]),
    ("sent", "new_visit"): ("visit", ["open"]),
    ("closing", "handed_over"): ("ready", []),
    ("sent", "handed_over"): ("ready", []),
}


@pytest.mark.parametrize(("state", "event"), product(State, Event))
def test_every_event_in_every_state(state, event):
    machine = VisitMachine()
    machine.state = state
    actions = machine.on(event)
    expected = MOVES.get((state.value, event.value))
    if expected is None:
        assert actions is None
        assert machine.state is state
    else:
        assert (machine.state.value, [a.value for a in actions]) == expected


def test_a_day():
    machine = VisitMachine()
    for event in (Event.STARTED, Event.NEW_VISIT, Event.END_VISIT, Event.DRAINED, Event.NEW_VISIT, Event.NEW_VISIT):
        assert machine.on(event) is not None
    assert machine.state is State.VISIT


def test_a_visit_is_opened_exactly_once_before_it_is_closed():
    """Whatever happens, in whatever order: no two opens without a close between, no close of what is not open."""
    for events in product(Event, repeat=5):
        machine, is_open = VisitMachine(), False
        for event in events:
            for action in machine.on(event) or ():
                if action in {Action.OPEN, Action.RESUME}:
                    assert not is_open
                    is_open = True
                elif action is Action.CLOSE:
                    assert is_open
                    is_open = False


def test_every_state_is_reached_and_left():
    assert {after for after, _ in TABLE.values()} | {State.IDLE} == set(State)
    assert {before for before, _ in TABLE} == set(State)


def test_the_next_holder_does_not_see_the_last_visit_as_news_and_an_open_one_is_never_handed_over():
    for state in (State.CLOSING, State.SENT):
        assert TABLE[state, Event.HANDED_OVER] == (State.READY, ())
    assert (State.VISIT, Event.HANDED_OVER) not in TABLE


def test_the_diagram_is_the_table():
    lines = diagram().splitlines()
    assert lines[:2] == ["stateDiagram-v2", "    [*] --> idle"]
    assert "    visit --> visit: new_visit / close, open" in lines
    assert "    closing --> sent: drained / say_sent" in lines
    assert len(lines) == 2 + len(TABLE)
