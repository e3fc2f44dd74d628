"""Which stored measurements may join a visit: the instrument's times tied to ours, no time of day needed."""

from datetime import datetime

import pytest

from agent.dating import OLD, Dating, Why
from agent.model import InstrumentEvent, InstrumentState, Kind, Reading, Unit

S = 1_000_000_000
CUFF = "and-ua651ble"
VISIT_S = 10_000  # boot time at which the visit opened


def reading(at_s, own=None, *, instrument=CUFF, flags=(), group=1, value=120):
    time = datetime.fromisoformat(own) if own else None
    return Reading(
        instrument, Kind.PRESSURE_SYSTOLIC, Unit.MMHG, round(at_s * S), value, instrument_time=time, group=group,
        flags=flags,
    )  # fmt: skip


def said(at_s, what, detail, instrument=CUFF):
    return InstrumentEvent(instrument, round(at_s * S), what=what, detail=detail)


def judged(events, one, since_s=VISIT_S):
    dating = Dating()
    dating.take(events, since_s * S)
    return dating.judge(one, since_s * S)


# The cuff connects 200 s into the visit; its own clock shows 14:00:00 of a day that may be any.
CONNECTED_S = VISIT_S + 200
SHOWS = [said(CONNECTED_S, "clock", "2019-01-01T14:00:00")]
THEN_SET = [*SHOWS, said(CONNECTED_S + 0.3, "clock_set", "2026-11-21T09:30:00")]


@pytest.mark.parametrize(
    ("own", "why"),
    [
        ("2019-01-01T13:59:50", None),  # ten seconds before it connected
        ("2019-01-01T13:56:41", None),  # 199 s before: the visit was open
        ("2019-01-01T13:56:39", Why.BEFORE),  # 201 s before
        ("2019-01-01T09:00:00", Why.BEFORE),  # the patient of this morning
        ("2018-12-31T13:59:50", Why.BEFORE),
        ("2019-01-01T14:00:09", Why.UNDATED),  # later than now: its clock was changed in between
        ("2026-11-21T09:29:50", Why.UNDATED),
    ],
)
def test_a_stored_measurement_is_dated_by_the_clock_it_was_taken_with(own, why):
    assert judged(SHOWS, reading(CONNECTED_S + 1, own)) is why


@pytest.mark.parametrize(
    ("own", "arrives_s", "why"),
    [
        ("2019-01-01T13:59:50", 1, None),  # taken before the clock was set, dated by the old one
        ("2019-01-01T09:00:00", 1, Why.BEFORE),
        ("2026-11-21T09:31:10", 80, None),  # taken after it, on the same connection
        ("2026-11-21T09:29:00", 80, Why.UNDATED),  # by the new clock before it was set: neither
        ("2026-11-21T09:31:10", 60, Why.UNDATED),  # not taken yet
    ],
)
def test_a_clock_that_was_set_counts_from_then_on(own, arrives_s, why):
    assert judged(THEN_SET, reading(CONNECTED_S + arrives_s, own)) is why


def test_nothing_dates_a_time_without_a_clock_or_with_an_unknown_one():
    own = "2026-11-21T09:30:00"
    assert judged([], reading(CONNECTED_S, own)) is Why.UNDATED
    assert judged([said(CONNECTED_S, "clock", "unknown")], reading(CONNECTED_S, own)) is Why.UNDATED
    other = [said(CONNECTED_S, "clock", own, instrument="and-ut201ble")]
    assert judged(other, reading(CONNECTED_S + 1, own)) is Why.UNDATED


@pytest.mark.parametrize(
    ("flags", "why"),
    [((), None), (("irregular_pulse",), None), (("time_unknown",), Why.UNDATED), (("from_memory",), Why.UNDATED)],
)
def test_without_a_time_it_is_live_unless_it_says_otherwise(flags, why):
    assert judged([], reading(CONNECTED_S, flags=flags)) is why


def test_an_instrument_that_marks_its_memory_is_believed():
    own = "2011-01-01T00:00:00"
    assert judged([], reading(CONNECTED_S, own, instrument="nonin-spot")) is None
    assert judged([], reading(CONNECTED_S, own, instrument="nonin-spot", flags=("from_memory",))) is Why.UNDATED


def test_a_new_connection_reads_the_clock_anew():
    dating = Dating()
    dating.take(THEN_SET, VISIT_S * S)
    later_s = CONNECTED_S + 600  # ten minutes later by both clocks
    dating.take([said(later_s, "clock", "2026-11-21T09:40:00")], VISIT_S * S)
    assert dating.judge(reading(later_s + 1, "2026-11-21T09:39:50"), VISIT_S * S) is None
    assert dating.judge(reading(later_s + 1, "2026-11-21T09:20:00"), VISIT_S * S) is Why.BEFORE


def test_what_is_refused_is_said_once_for_the_measurement_and_without_its_value():
    dating = Dating()
    parts = [reading(CONNECTED_S, "2026-11-21T08:00:00", group=7, value=value) for value in (141, 92, 108)]
    state = InstrumentEvent(CUFF, CONNECTED_S * S, InstrumentState.READY)
    kept = dating.take([state, *parts, reading(CONNECTED_S, "2026-11-21T08:01:00", group=8)], VISIT_S * S)
    old = InstrumentEvent(CUFF, CONNECTED_S * S, what=OLD, detail="undated")
    assert kept == [state, old, old]
    assert dating.refused == 2


def test_what_is_said_of_a_refused_measurement_is_not_said_and_of_the_next_one_is():
    dating, meter = Dating(), "glucose-meter"
    dating.take([said(CONNECTED_S, "clock", "2026-11-21T09:30:00", meter)], VISIT_S * S)
    old = reading(CONNECTED_S, "2026-11-21T08:00:00", instrument=meter, group=7)
    new = reading(CONNECTED_S, "2026-11-21T09:29:50", instrument=meter, group=8)
    meal_7, meal_8 = (said(CONNECTED_S, "meal_fasting", number, meter) for number in "78")
    other = reading(CONNECTED_S)  # of another instrument, live, in between
    kept = dating.take([old, other, meal_7, new, meal_8], VISIT_S * S)
    assert [k.what if isinstance(k, InstrumentEvent) else k.group for k in kept] == [OLD, 1, 8, "meal_fasting"]


def test_a_second_between_visits_belongs_to_the_first():
    """The next patient's visit opens while the cuff still holds the last patient's value."""
    own = "2019-01-01T13:59:50"
    assert judged(SHOWS, reading(CONNECTED_S + 1, own), since_s=CONNECTED_S - 5) is Why.BEFORE
