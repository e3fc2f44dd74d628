"""What every driver shares: the moments at which all transports are read together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.drivers.base import AFTER_READ_S, EARLY_S, READ_EVERY_S, just_after_read_s, until_read_s


@pytest.mark.parametrize(("now_s", "left_s"), [(0.0, 0.125), (10.0, 0.125), (10.1, 0.025), (10.0625, 0.0625)])
def test_the_next_common_moment(now_s, left_s):
    assert until_read_s(now_s) == pytest.approx(left_s)


def test_a_timer_that_is_a_little_early_does_not_wake_twice():
    assert until_read_s(10.125 - 1e-6) == pytest.approx(0.125, abs=1e-5)


@given(st.floats(0, 1e7))
def test_it_is_never_now_and_never_far(now_s):
    assert READ_EVERY_S / 10 < until_read_s(now_s) <= 1.1 * READ_EVERY_S


@given(st.floats(1, 1e6))
def test_what_was_read_is_sent_just_after(at_s):
    moment_s = just_after_read_s(at_s)
    assert at_s - READ_EVERY_S < moment_s <= at_s + EARLY_S + 1e-6
    assert (moment_s - AFTER_READ_S) % READ_EVERY_S == pytest.approx(0, abs=1e-6) or (
        moment_s - AFTER_READ_S
    ) % READ_EVERY_S == pytest.approx(READ_EVERY_S, abs=1e-6)


@pytest.mark.parametrize("early_s", [-0.001, 0.0, 0.001])
def test_a_second_later_is_a_second_later_whether_the_timer_is_early_or_late(early_s):
    moment_s = just_after_read_s(1234.5)
    assert just_after_read_s(moment_s + early_s + 1) == pytest.approx(moment_s + 1)
