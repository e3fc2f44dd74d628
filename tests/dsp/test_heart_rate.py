import numpy as np
import pytest

from agent.dsp.heart_rate import HeartRate
from agent.model import NoValue


def read(intervals):
    rate = HeartRate()
    times = np.concatenate(([0.0], np.cumsum(intervals)))
    for t in times:
        rate.beat(float(t))
    return rate.rate(float(times[-1]) + 0.2)


@pytest.mark.parametrize(
    ("intervals", "bpm"),
    [
        ([0.75] * 4, 80),
        ([0.55, 0.95] * 8, 80),  # bigeminy
        ([0.55, 0.95] * 4 + [0.55], 80),
        ([0.7, 1.3] * 8, 60),
        ([0.4, 0.6] * 8, 120),
        ([0.75] * 8 + [1.5], 80),  # one missed
        ([0.75] * 8 + [0.3, 0.45], 80),  # one too many
        ([0.75] * 8 + [0.5] * 3, 120),  # a step shows after three
        ([0.75] * 8 + [1.5] * 3, 40),
        ([0.86] * 8 + [1.04] * 3, 60 / 0.86),  # a breath, no step
    ],
)
def test_reads(intervals, bpm):
    assert read(intervals).bpm == pytest.approx(bpm, abs=0.5)


def test_no_number_has_a_reason():
    rate = HeartRate()
    assert rate.rate(0.0).reason is NoValue.STARTING
    for t in (0.0, 1.0, 2.0, 3.0):
        rate.beat(t)
    assert rate.rate(3.5).bpm == pytest.approx(60)
    assert rate.rate(7.5) == type(rate.rate(0.0))(None, NoValue.NO_BEATS)
    rate.reset()
    assert rate.rate(7.5).reason is NoValue.STARTING


@pytest.mark.parametrize(("lost_s", "bpm"), [(1.3, 60), (97.3, None)])
def test_an_interruption_is_no_interval_and_a_long_one_ends_the_rate(lost_s, bpm):
    rate = HeartRate()
    for t in (0.0, 1.0, 2.0, 3.0):
        rate.beat(t)
    rate.interrupt()
    for t in (3 + lost_s, 4 + lost_s):
        rate.beat(t)
    assert rate.rate(4.2 + lost_s).bpm == (bpm and pytest.approx(bpm))
    assert rate.steady() == pytest.approx((4 if bpm else 1) / 8)
    rate.interrupt()
    assert rate.rate(9.0 + lost_s).reason is NoValue.NO_BEATS  # nothing old is shown
