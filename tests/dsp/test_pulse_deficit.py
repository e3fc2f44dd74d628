"""Heart rate against pulse rate: a lasting deficit is told while it lasts, silence is no deficit."""

import pytest

from agent.dsp.pulse_deficit import PulseDeficit, RatesBesideEachOther
from agent.model import Happening, Kind, NoValue, Rate, Reading, ReadingQuality, Unit

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


def test_a_lasting_deficit_is_told_every_ten_seconds():
    assert told(rates(110.0, 92.0, 35)) == [10, 20, 30]


@pytest.mark.parametrize(("heart", "pulse"), [(80.0, 80.0), (80.0, 71.0), (80.0, 120.0)])
def test_a_small_one_or_a_pulse_faster_than_the_heart_is_none(heart, pulse):
    assert told(rates(heart, pulse, 60)) == []


def test_a_short_one_is_none():
    assert told(rates(110.0, 92.0, 8) + rates(80.0, 80.0, 5) + rates(110.0, 92.0, 8)) == []


def test_silence_of_either_begins_the_ten_seconds_anew():
    assert told([*rates(110.0, 92.0, 8), (Rate(110.0), SILENT), *rates(110.0, 92.0, 8)]) == []
    assert told([(SILENT, Rate(80.0))] * 40) == []


def test_the_ten_seconds_begin_anew_once_it_was_gone():
    pairs = rates(110.0, 92.0, 15) + rates(90.0, 90.0, 2) + rates(110.0, 92.0, 15)
    assert told(pairs) == [10, 27]


def test_the_difference_stands_beside_both_rates():
    stage = PulseDeficit()
    assert stage.push(0.0, Rate(100.0), Rate(88.0)) == 12.0
    assert stage.push(1.0, Rate(100.0), SILENT) is None
    stage.push(1.0, Rate(100.0), Rate(88.0))
    stage.reset()
    stage.push(12.0, Rate(100.0), Rate(88.0))
    assert stage.events() == []


# --- which two numbers are compared: those that are shown -------------------------------------------------------

S = 10**9


def reading(kind, value, t_s, *, instrument="clip", quality=ReadingQuality.GOOD):
    unit = Unit.PERCENT if kind is Kind.SPO2 else Unit.PER_MIN
    return Reading(instrument, kind, unit, round(t_s * S), value, quality=quality)


def deficits(*, own=None, found=None, seconds=25, heart=110.0, spo2=97, quality=ReadingQuality.GOOD):
    """Seconds at which a heart of `heart`/min beside these pulse rates is told, one of each a second."""
    beside, told = RatesBesideEachOther(), []
    for t in range(seconds):
        if own is not None:
            beside.read(reading(Kind.SPO2, spo2, t)) if spo2 else None
            beside.read(reading(Kind.PULSE_RATE, own, t, quality=quality))
        if found is not None:
            beside.pulse(Rate(found), t * S)
        told += [t] if beside.heart(Rate(heart), t * S) else []
    return told


def test_the_pulse_of_the_pleth_is_compared():
    assert deficits(found=92.0) == [10, 20]
    assert deficits(found=108.0) == []


def test_the_oximeter_s_own_number_goes_before_it():
    assert deficits(own=92, found=110.0) == [10, 20]
    assert deficits(own=109, found=92.0) == []


def test_a_number_the_oximeter_doubts_or_does_not_give_is_no_ground():
    assert deficits(own=92, quality=ReadingQuality.QUESTIONABLE) == []
    beside = RatesBesideEachOther()
    beside.read(reading(Kind.SPO2, 97, 0))
    beside.read(Reading("clip", Kind.PULSE_RATE, Unit.PER_MIN, 0, None, 0, ReadingQuality.NONE, NoValue.PROBE_OFF))
    assert not any(beside.heart(Rate(110.0), t * S) for t in range(5))


def test_the_pulse_of_a_cuff_is_not_compared():
    """It gives no SpO2: its pulse belongs to one measurement of minutes ago."""
    assert deficits(own=92, spo2=None) == []


def test_an_old_pulse_rate_is_none():
    beside = RatesBesideEachOther()
    beside.pulse(Rate(92.0), 0)
    assert not any(beside.heart(Rate(110.0), t * S) for t in range(30))
