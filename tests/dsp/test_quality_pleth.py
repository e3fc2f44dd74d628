"""Pleth quality: good waves stay good, each disturbance is seen within half a second and named."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal
from synthetic_pleth import beats, blocks, wave

from agent.dsp.pleth_quality import PlethQuality
from agent.dsp.quality import PlethQuality as OfQuality
from agent.model import Cause, Happening

FS = 100.0
SECONDS = 40.0
FEET = beats(72, SECONDS)
CLEAN = 1000.0 + 100.0 * wave(FEET, SECONDS, FS)
T = np.arange(CLEAN.size) / FS
BAD = slice(2000, 2800)


def judge(x, fs=FS):
    stage = PlethQuality(fs)
    return stage.push(x), stage.events()


def inside(qualities, part=BAD, *, margin=0):
    return [q for q in qualities if part.start + margin <= q.start < part.stop - 50]


def test_it_is_found_beside_the_ecgs():
    assert OfQuality is PlethQuality


@pytest.mark.parametrize("fs", [60.0, 75.0, 100.0, 125.0])
def test_a_clean_wave_is_good(fs):
    qualities, events = judge(wave(FEET, SECONDS, fs), fs)
    assert len(qualities) == 80
    assert [q.start for q in qualities[:4]] == [0, int(-(-fs // 2)), int(fs), int(-(-3 * fs // 2))]
    assert min(q.value for q in qualities[8:]) > 0.7
    assert not any(q.cause for q in qualities[8:])
    assert events == []


@pytest.mark.parametrize(("gain", "offset"), [(1e-6, 0.0), (1.0, -5e4), (-1.0, 0.0), (1e5, 1e8)])
def test_gain_offset_and_polarity_do_not_matter(gain, offset):
    for a, b in zip(judge(CLEAN)[0], judge(gain * CLEAN + offset)[0], strict=True):
        assert b.value == pytest.approx(a.value, abs=1e-3)


def movement(size):
    rng = np.random.default_rng(4)
    x = CLEAN.copy()
    x[BAD] += size * np.interp(np.arange(800), np.arange(0, 800, 20), rng.standard_normal(40))
    return x


@pytest.mark.parametrize("size", [100.0, 300.0])
def test_movement(size):
    qualities, _ = judge(movement(size))
    assert np.mean([q.value < 0.5 for q in inside(qualities, margin=50)]) > 0.7
    assert {q.cause for q in inside(qualities) if q.value < 0.5} <= {Cause.MOTION, Cause.TAPPING}
    assert np.mean([q.value > 0.5 for q in qualities if q.start > 3100]) > 0.9


def test_tapping_is_named():
    x = CLEAN.copy()
    x[BAD] += 150.0 * np.sin(2 * np.pi * 3.1 * T[BAD])
    causes = [q.cause for q in inside(judge(x)[0], margin=150)]
    assert causes.count(Cause.TAPPING) > len(causes) / 2


def test_a_probe_off_is_seen_within_half_a_second_and_told_after_one():
    x = CLEAN.copy()
    x[BAD] = 0.0
    qualities, events = judge(x)
    assert qualities[40].start == 2000
    assert all(q.value == 0.0 for q in inside(qualities))
    assert inside(qualities)[0].cause in {Cause.FLAT, Cause.CLIPPING}
    assert inside(qualities)[-1].cause is Cause.PROBE_OFF
    assert [(e.kind, e.index) for e in events if e.kind is not Happening.CLIPPING] == [
        (Happening.PROBE_OFF, 2100),
        (Happening.PROBE_ON, 2850),
    ]


def test_clipping_is_named():
    x = np.clip(CLEAN, None, 1060.0)
    qualities, events = judge(x)
    clipped = [q for q in qualities[8:] if q.cause is Cause.CLIPPING]
    assert len(clipped) > 10
    assert all(q.value <= 0.5 for q in clipped)
    assert Happening.CLIPPING in {e.kind for e in events}


def test_missing_samples_are_named():
    x = CLEAN.copy()
    x[2010] = np.nan
    qualities, events = judge(x)
    assert (qualities[40].value, qualities[40].cause) == (0.0, Cause.NOT_FINITE)
    assert [e.index for e in events if e.kind is Happening.NOT_FINITE] == [2050]
    assert qualities[39].cause is None


def test_held_packets_are_named():
    x = CLEAN.copy()
    for start in range(2000, 2800, 40):
        x[start : start + 25] = x[start]
    assert np.mean([q.value for q in inside(judge(x)[0])]) < np.mean([q.value for q in judge(CLEAN)[0][8:]]) - 0.2


@pytest.mark.parametrize("band_hz", [None, (0.3, 4.0), (0.5, 8.0)])
def test_noise_without_a_pulse_is_bad_after_some_seconds_and_named(band_hz):
    x = np.random.default_rng(4).standard_normal(9000)
    if band_hz:
        x = signal.lfilter(*signal.butter(2, band_hz, "bandpass", fs=FS), x)
    later = judge(x)[0][24:]
    assert np.mean([q.value < 0.5 for q in later]) > 0.7
    assert np.mean([q.cause is Cause.NOISE for q in later]) > 0.7


def test_a_pulse_in_noise_is_no_noise_alone():
    """The control: noise of 0.3 of the pulse, and a rhythm that is all but even."""
    noise = 30.0 * np.random.default_rng(4).standard_normal(CLEAN.size)
    assert np.mean([q.value > 0.5 for q in judge(CLEAN + noise)[0][24:]]) > 0.9
    uneven = np.cumsum(np.random.default_rng(5).uniform(0.5, 1.2, 60))
    assert all(q.value > 0.5 for q in judge(wave(uneven, SECONDS, FS))[0][24:])


def test_a_gap_moves_the_start_and_begins_anew():
    stage = PlethQuality(FS)
    first = stage.push(CLEAN[:1030])
    stage.gap(170)
    second = stage.push(CLEAN[1200:])
    assert first[-1].start == 950
    assert second[0].start == 1200
    assert all(q.cause is None for q in second[8:])


@given(cuts=st.lists(st.integers(0, CLEAN.size), max_size=12))
@settings(max_examples=20, deadline=None)
def test_any_cutting_judges_alike(cuts):
    x = movement(200.0)
    x[1000:1200] = x[1000]
    x[1500:1505] = np.nan
    want, events = judge(x, 93.0)
    stage = PlethQuality(93.0)
    got = [q for s in blocks(x.size, cuts) for q in stage.push(x[s])]
    assert [(q.start, q.cause) for q in got] == [(q.start, q.cause) for q in want]
    assert [q.value for q in got] == pytest.approx([q.value for q in want], abs=1e-9)
    assert stage.events() == events


def test_every_half_second_is_given_as_soon_as_it_is_complete():
    stage = PlethQuality(FS)
    given_at = {}
    for n in range(0, 1000, 10):
        for q in stage.push(CLEAN[n : n + 10]):
            given_at[q.start] = n + 10
    assert given_at == {start: start + 50 for start in range(0, 1000, 50)}


def test_two_dimensions_are_refused():
    with pytest.raises(ValueError, match="dimension"):
        PlethQuality(FS).push(np.zeros((2, 2)))
