"""Heart rate and S1/S2 from sound, on thumps whose times are known, in noise, in silence and across gaps."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.dsp.auscultation import HeartSounds
from agent.dsp.auscultation_mask import ClassicalMask
from agent.dsp.heart_sounds import period_of, sequence
from agent.model import NoValue

FS = 4000
SYSTOLE_S = 0.3


def heart(seconds, rate, noise_rms=0.001, seed=0, start_s=0.2):
    """Give sound and the middles of its S1 (50 Hz, longer) and S2 (75 Hz, shorter)."""
    n = int(seconds * FS)
    y = noise_rms * np.random.default_rng(seed).standard_normal(n)
    systole = min(SYSTOLE_S, 0.42 * 60 / rate)
    firsts = np.arange(start_s, seconds - systole - 0.2, 60 / rate)
    for times, f, length, gain in ((firsts, 50, 440, 0.3), (firsts + systole, 75, 320, 0.2)):
        t = np.arange(length) / FS
        for middle in times:
            at = int(middle * FS) - length // 2
            y[max(at, 0) : at + length] += (gain * np.sin(np.pi * t * FS / length) ** 2 * np.sin(2 * np.pi * f * t))[
                max(-at, 0) :
            ]
    return y, firsts, firsts + systole


def sounds_of(x, stage=None, block=500):
    stage = stage or HeartSounds()
    return [s for i in range(0, len(x), block) for s in stage.push(x[i : i + block])], stage


def f1(reference, found, within_s=0.05):
    hits = sum(any(abs(d - r) <= within_s for d in found) for r in reference)
    return 2 * hits / (len(reference) + len(found))


@pytest.mark.parametrize("rate", [45, 60, 75, 95, 120, 150])
def test_rate_is_right_within_2_per_minute(rate):
    _, stage = sounds_of(heart(10, rate)[0])
    assert stage.rate().bpm == pytest.approx(rate, abs=2)


@pytest.mark.parametrize("rate", [50, 65, 80, 95])
@pytest.mark.parametrize("noise_rms", [0.001, 0.03])
def test_s1_and_s2_are_found_once_each_at_their_middles(rate, noise_rms):
    x, first, second = heart(12, rate, noise_rms)
    sounds, _ = sounds_of(x)
    for kind, times in (("S1", first), ("S2", second)):
        found = [s.time_s for s in sounds if s.kind == kind and 1 < s.time_s < 10.5]
        assert f1(times[(times > 1) & (times < 10.5)], found) >= 0.95
    assert all(a.time_s < b.time_s for a, b in pairwise(sounds))


def test_sounds_come_within_the_stated_delay():
    x, _, _ = heart(12, 70)
    stage, late = HeartSounds(), []
    for i in range(0, len(x), 160):
        late += [(i + 160) / FS - s.time_s for s in stage.push(x[i : i + 160]) if s.time_s > 4.5]
    assert late
    assert max(late) <= stage.delay_s + 0.04  # a block


def test_first_rate_within_4_seconds_and_a_reason_before():
    stage = HeartSounds()
    x, _, _ = heart(4, 72)
    stage.push(x[: 2 * FS])
    assert stage.rate().reason is NoValue.STARTING
    stage.push(x[2 * FS :])
    assert stage.rate().bpm == pytest.approx(72, abs=3)


def test_no_rate_from_noise_or_silence():
    noise = 0.05 * np.random.default_rng(5).standard_normal(10 * FS)
    _, stage = sounds_of(noise)
    assert stage.rate().bpm is None
    assert stage.rate().reason is NoValue.UNSURE
    sounds, stage = sounds_of(np.zeros(10 * FS))
    assert sounds == []
    assert stage.rate().reason is NoValue.SILENT


def test_a_change_of_rate_is_followed():
    a, b = heart(8, 60)[0], heart(10, 100, start_s=0.1)[0]
    _, stage = sounds_of(np.concatenate([a, b]))
    assert stage.rate().bpm == pytest.approx(100, abs=4)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(0, 5 * FS), max_size=10))
def test_any_cutting_gives_the_same_sounds(cuts):
    x, _, _ = heart(5, 80, 0.01)
    whole, cut = HeartSounds(), HeartSounds()
    edges = [0, *sorted(cuts), len(x)]
    pieces = [s for a, b in pairwise(edges) for s in cut.push(x[a:b])]
    assert whole.push(x) == pieces
    assert whole.rate() == cut.rate()


def test_after_a_gap_times_count_the_lost_samples():
    x, _, _ = heart(8, 75)
    stage = HeartSounds()
    stage.push(x)
    stage.gap(3 * FS)
    assert stage.rate().reason is NoValue.STARTING
    y, first, _ = heart(8, 75)
    found = [s.time_s - 11 for s in stage.push(y) if s.kind == "S1"]
    assert f1(first[(first > 1) & (first < 6.5)], [t for t in found if 1 < t < 6.5]) >= 0.9


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_no_number_counts_as_nothing(bad):
    x, _, _ = heart(10, 75)
    x[2 * FS : 2 * FS + 100] = bad
    _, stage = sounds_of(x)
    assert stage.rate().bpm == pytest.approx(75, abs=2)


def test_works_with_the_fallback_mask_too():
    x, _, _ = heart(10, 66, 0.02)
    _, stage = sounds_of(x, HeartSounds(mask=ClassicalMask("heart")))
    assert stage.rate().bpm == pytest.approx(66, abs=2)


def test_other_rates_are_refused():
    with pytest.raises(ValueError, match="sampling rate"):
        HeartSounds(8000)


def test_reset_and_no_events():
    x, _, _ = heart(6, 75)
    stage = HeartSounds()
    first = stage.push(x)
    stage.reset()
    assert stage.push(x) == first
    assert stage.events() == []


def test_period_of_a_flat_envelope_is_unsure():
    assert period_of(np.ones((375, 2))) == (0.0, 0.0)


def test_sequence_skips_a_peak_that_does_not_fit():
    """A click in mid-diastole, as loud as S2, is neither S1 nor S2."""
    t = np.arange(375)
    period, systole = 56.0, 19.0
    e = np.zeros(375)
    for k in range(6):
        for at, gain in ((20, 1.0), (20 + systole, 0.8)):
            e += gain * np.exp(-0.5 * ((t - at - k * period) / 2) ** 2)
    e += 0.8 * np.exp(-0.5 * ((t - 20 - 2 * period - 38) / 2) ** 2)
    found = sequence(e, period)
    assert [kind for kind, _ in found] == ["S1", "S2"] * 6
    assert max(abs(at - 20 - k * period) for k, (_, at) in enumerate(found[::2])) < 1
