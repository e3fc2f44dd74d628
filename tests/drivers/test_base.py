"""What every driver shares: the moments at which all transports are read together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.drivers.base import AFTER_READ_S, EARLY_S, READ_EVERY_S, Announcer, just_after_read_s, unlost_s, until_read_s
from agent.model import InstrumentState


@pytest.mark.parametrize(("passed", "left"), [(0.0, 1.0), (80, 1.0), (80.8, 0.2), (80.5, 0.5)])
def test_the_next_common_moment(passed, left):
    assert until_read_s(passed * READ_EVERY_S) == pytest.approx(left * READ_EVERY_S)


def test_a_timer_that_is_a_little_early_does_not_wake_twice():
    assert until_read_s(81 * READ_EVERY_S - 1e-6) == pytest.approx(READ_EVERY_S, abs=1e-5)


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
def test_as_many_readings_later_whether_the_timer_is_early_or_late(early_s):
    moment_s = just_after_read_s(1234.5)
    later_s = moment_s + 7 * READ_EVERY_S
    assert just_after_read_s(later_s + early_s) == pytest.approx(later_s)


@given(st.floats(1, 1e6), st.floats(0.04, 0.8), st.floats(0.0, 0.01))
def test_what_a_power_cut_takes(at_s, commit_s, late_s):
    """From the reading before a moment to send, to the end of the commit that follows the next such moment."""
    began_s = just_after_read_s(at_s) + late_s
    next_s = just_after_read_s(began_s + unlost_s(1.0, commit_s))
    read_s = began_s - late_s - AFTER_READ_S
    assert next_s + commit_s - read_s <= 1.0 + 1e-6
    assert next_s + commit_s - read_s >= 1.0 - READ_EVERY_S - 3 * EARLY_S


def test_a_disk_that_is_slower_than_all_that_still_gets_rows():
    assert unlost_s(1.0, 3.0) == READ_EVERY_S


def test_what_is_measuring_does_not_fall_back_to_ready():
    """A notification may come before the subscription is known to have succeeded."""
    said = []
    announcer = Announcer("k", said.append, lambda: 0)
    announcer.ready()
    announcer.state(InstrumentState.MEASURING)
    announcer.ready()
    assert [event.state for event in said] == [InstrumentState.READY, InstrumentState.MEASURING]
