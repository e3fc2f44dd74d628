"""Asking the hub for the time: when, and what an answer is worth whatever the way did to it."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from agent.clock import Source
from agent.transport.hubtime import GRAIN_US, LONGEST_AGAIN_S, LONGEST_WAY_NS, HubTime
from agent.transport.messages import TimeAnswer, TimeAsk

BOOT_NS = 40 * 10**9
UTC_US = 1_790_000_000_000_000  # when the bag's boot clock says BOOT_NS
MS = 1_000


def exchange(up_us, stay_us, down_us, time=None):
    """One question and its answer over ways of this length."""
    time = time or HubTime(floor_us=0)
    ask = time.due(BOOT_NS)
    assert ask == TimeAsk(BOOT_NS // 1000)
    answer = TimeAnswer(ask.asked_us, UTC_US + up_us, UTC_US + up_us + stay_us)
    return time.answered(answer, BOOT_NS + 1000 * (up_us + stay_us + down_us))


def off_us(anchor):
    return anchor.utc_at(BOOT_NS) - UTC_US


def test_equal_ways_give_the_time_exactly():
    anchor = exchange(40 * MS, 125 * MS, 40 * MS)
    assert (anchor.source, off_us(anchor), anchor.uncertainty_us) == (Source.HUB, 0, 40 * MS + GRAIN_US)


@given(*[st.integers(0, 3_000_000)] * 3)
def test_it_is_never_further_off_than_it_says(up_us, stay_us, down_us):
    anchor = exchange(up_us, stay_us, down_us)
    assert abs(off_us(anchor)) <= anchor.uncertainty_us <= (up_us + down_us) / 2 + GRAIN_US


def test_an_answer_held_back_says_less_and_then_nothing():
    assert exchange(10 * MS, 0, 5_000 * MS).uncertainty_us > 2_500 * MS
    assert exchange(10 * MS, 0, LONGEST_WAY_NS // 1000) is None


def test_only_the_answer_to_the_question_that_was_asked_and_only_once():
    time = HubTime(floor_us=0)
    asked_us = time.due(BOOT_NS).asked_us
    answer = TimeAnswer(asked_us, UTC_US, UTC_US)
    assert time.answered(TimeAnswer(asked_us - 1, UTC_US, UTC_US), BOOT_NS + 9) is None
    assert time.answered(answer, BOOT_NS + 9) is not None
    assert time.answered(answer, BOOT_NS + 9) is None


def test_what_cannot_be_true():
    for changed in ({"stay_us": -1}, {"down_us": -50 * MS}):
        assert exchange(**{"up_us": 10, "stay_us": 10, "down_us": 10} | changed) is None
    assert exchange(10, 10, 10, HubTime(floor_us=UTC_US + 3600 * 10**6)) is None, "a hub in the past"


def test_once_three_are_answered_five_minutes_are_enough():
    time, asked_s = HubTime(floor_us=0), []
    for second in range(700):
        ask = time.due(BOOT_NS + second * 10**9)
        if ask is not None:
            asked_s.append(second)
            assert time.answered(TimeAnswer(ask.asked_us, UTC_US, UTC_US), BOOT_NS + second * 10**9 + 1000) is not None
    assert asked_s == [0, 1, 9, 309, 609]


def test_it_asks_often_at_first_then_every_five_minutes():
    time = HubTime(floor_us=0)
    asked_s = [second for second in range(4000) if time.due(BOOT_NS + second * 10**9)]
    assert asked_s[:6] == [0, 1, 9, 73, 373, 673]
    assert {b - a for a, b in pairwise(asked_s[4:])} == {LONGEST_AGAIN_S}
    time.connected()
    assert time.due(BOOT_NS) is not None
