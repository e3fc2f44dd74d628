"""Heart rate against pulse rate: a lasting deficit is told once, silence is no deficit."""

import pytest

from agent.dsp.pulse_deficit import PulseDeficit
from agent.model import Happening, NoValue, Rate

SILENT = Rate(None, NoValue.MOTION)


def told(pairs, **settings):
    """Push one pair of rates a second; the seconds at which the event came."""
    stage = PulseDeficit(**settings)
    seconds = []
    for second, (heart, pulse) in enumerate(pairs):
        stage.push(float(second), heart, pulse)
        seconds += [second for event in stage.events() if event.kind is Happening.PULSE_DEFICIT]
    return seconds


def rates(heart, pulse, n):
    return [(Rate(heart), Rate(pulse))] * n


def test_a_lasting_deficit_is_told_once():
    assert told(rates(110.0, 92.0, 60)) == [10]


@pytest.mark.parametrize(("heart", "pulse"), [(80.0, 80.0), (80.0, 71.0), (80.0, 120.0)])
def test_a_small_one_or_a_pulse_faster_than_the_heart_is_none(heart, pulse):
    assert told(rates(heart, pulse, 60)) == []


def test_a_short_one_is_none():
    assert told(rates(110.0, 92.0, 8) + rates(80.0, 80.0, 5) + rates(110.0, 92.0, 8)) == []


def test_silence_of_either_begins_the_ten_seconds_anew():
    assert told([*rates(110.0, 92.0, 8), (Rate(110.0), SILENT), *rates(110.0, 92.0, 8)]) == []
    assert told([(SILENT, Rate(80.0))] * 40) == []


def test_it_is_told_again_after_it_was_gone():
    pairs = rates(110.0, 92.0, 20) + rates(90.0, 90.0, 20) + rates(110.0, 92.0, 20)
    assert told(pairs) == [10, 50]


def test_the_comparison_stands_beside_both_rates():
    stage = PulseDeficit()
    assert stage.push(0.0, Rate(100.0), Rate(88.0)).deficit_per_min == 12.0
    assert stage.push(1.0, Rate(100.0), SILENT).deficit_per_min is None
    stage.reset()
    assert stage.events() == []
