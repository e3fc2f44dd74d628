import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_ecg import clock, ecg, regular

from agent.dsp.quality import EcgQuality
from agent.model import Cause

DATA = Path(os.environ.get("BESACE_DATA") or Path(__file__).parents[2].parent / "shared" / "data") / "ecg"
RATES = [125.0, 250.0, 360.0, 1000.0]


def judged(x, fs_hz):
    return EcgQuality(fs_hz).push(x)


@pytest.mark.parametrize("fs_hz", RATES)
@pytest.mark.parametrize("gain", [0.1, 1.0, -5.0])
def test_one_good_value_per_second_of_a_clean_lead(fs_hz, gain):
    x = ecg(fs_hz, 20.5, regular(75, 20.5), shape="qrs", t_mv=0.25, p_mv=0.1, noise_mv=0.01)
    out = judged(gain * x, fs_hz)
    assert [q.start for q in out] == [k * round(fs_hz) for k in range(20)]
    assert all(q.value > 0.9 and q.cause is None for q in out[3:])


@pytest.mark.parametrize("fs_hz", RATES)
def test_noise_and_a_moving_baseline_are_named(fs_hz):
    x = ecg(fs_hz, 30, regular(75, 30), shape="qrs", t_mv=0.25, noise_mv=0.01)
    t = clock(fs_hz, 30)
    noise = judged(x + 0.8 * np.random.default_rng(0).standard_normal(t.size), fs_hz)
    assert all(q.value < 0.5 and q.cause is Cause.NOISE for q in noise[3:])
    rng = np.random.default_rng(1)
    steps = np.interp(t, np.arange(61) / 2, 8 * rng.standard_normal(61))
    baseline = judged(x + steps, fs_hz)
    assert np.mean([q.cause is Cause.BASELINE for q in baseline[3:]]) > 0.8


def test_what_is_no_signal_is_worth_nothing():
    fs_hz = 250.0
    x = ecg(fs_hz, 12, regular(75, 12), noise_mv=0.01)
    x[750:1000] = x[749]
    x[1300] = np.nan
    x[1750:1990] = 6.0
    causes = {q.start // 250: (q.value, q.cause) for q in judged(x, fs_hz) if q.cause}
    assert causes[3] == (0.0, Cause.FLAT)
    assert causes[5] == (0.0, Cause.NOT_FINITE)
    assert causes[7] == (0.0, Cause.SATURATED)
    assert judged(np.full(500, np.inf), fs_hz)[0].cause is Cause.NOT_FINITE
    assert judged(np.zeros(500), fs_hz)[1].cause is Cause.FLAT


@given(cuts=st.lists(st.integers(0, 3600), max_size=10))
@settings(max_examples=20, deadline=None)
def test_verdicts_do_not_depend_on_the_cut(cuts):
    x = ecg(360.0, 10, regular(90, 10), noise_mv=0.1)
    stage = EcgQuality(360.0)
    assert [q for part in np.split(x, sorted(cuts)) for q in stage.push(part)] == judged(x, 360.0)


def test_a_gap_drops_the_second_it_cuts():
    stage = EcgQuality(250.0)
    x = ecg(250.0, 10, regular(75, 10), noise_mv=0.01)
    assert [q.start for q in stage.push(x[:600])] == [0, 250]
    stage.gap(1000)
    assert [q.start for q in stage.push(x[600:1200])] == [1600, 1850]
    stage.reset()
    assert [q.start for q in stage.push(x[:250])] == [0]
    assert stage.events() == []


@pytest.mark.parametrize("fs_hz", [50.0, 2500.0, float("nan")])
def test_a_bad_rate_is_refused(fs_hz):
    with pytest.raises(ValueError, match="rate"):
        EcgQuality(fs_hz)


@pytest.mark.skipif(not DATA.is_dir(), reason="no recordings beside the repository")
def test_clean_seconds_are_told_from_electrode_motion_at_0_db():
    from benchmarks.ecg_records import folder, gain_for, noises, read

    noise, good, bad = noises()["em"][325_000:], [], []
    for name in ("118", "122", "209", "223"):
        record = read(folder(), name)
        x = record.mv[:72_000]
        good += [q.value for q in judged(x, 360.0)[3:]]
        disturbed = x + gain_for(record, noises()["em"], 0) * noise[: len(x)]
        bad += [q.value for q in judged(disturbed, 360.0)[3:]]
    below = np.searchsorted(np.sort(bad), good).mean() / len(bad)
    assert below >= 0.97
