import numpy as np
import pytest

from agent.dsp.qrs_decision import N_DYNAMIC, Network
from agent.dsp.qrs_features import N_STATIC
from training.ecg import HIDDEN, MEMBERS, Case, auc, candidates, fit, logistic, match, weighed
from training.ecg_signals import FS_HZ, _p_waves, _steady_wave, _synthetic


def minute(seed):
    rng = np.random.default_rng(seed)
    noise = {kind: rng.standard_normal(30_000) for kind in ("em", "ma", "bw")}
    return _synthetic(rng, noise, seed)


@pytest.mark.parametrize("seed", range(6))
def test_synthetic_lessons_are_finite_and_their_beats_lie_inside(seed):
    lesson = minute(seed)
    assert np.isfinite(lesson.mv).all()
    assert len(lesson.mv) == 60 * lesson.fs_hz
    assert (np.diff(lesson.beats) > 0).all()
    assert ((lesson.beats >= 0) & (lesson.beats < len(lesson.mv))).all()


def test_a_case_is_weighed_as_the_detector_weighs_it():
    lesson = next(one for one in map(minute, range(20)) if len(one.beats) > 30)
    found = candidates(lesson.fs_hz, lesson.mv)
    is_beat = np.zeros(len(found.r), bool)
    is_beat[match(lesson.beats, found.r, 0.15 * lesson.fs_hz)[1]] = True
    for network in (None, Network.shipped()):
        x, y = weighed(Case(lesson, found, is_beat), network)
        assert x.shape == (len(y), N_STATIC + N_DYNAMIC)
        assert y.sum() >= 0.9 * len(lesson.beats)


def test_fit_learns_a_rule_of_both_parts():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (20_000, N_STATIC + N_DYNAMIC)).astype(np.float32)
    y = (x[:, 0] + x[:, N_STATIC] > 0.2).astype(np.float32)
    network = Network(fit(x, y, np.ones_like(y), 20))
    odds = [network.log_odds(features) for features in x[:500].astype(float)]
    assert np.mean((np.array(odds) > 0) == (y[:500] > 0)) > 0.9


def test_members_are_taught_apart_and_averaged():
    rng = np.random.default_rng(2)
    x = rng.uniform(-1, 1, (20_000, N_STATIC + N_DYNAMIC)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.float32)
    table = fit(x, y, np.ones_like(y), 30)
    hidden = np.tanh(x[:500] @ table["hidden"] + table["bias"])
    each = (hidden * table["out"]).reshape(500, MEMBERS, HIDDEN).sum(axis=2)
    assert np.abs(np.corrcoef(each.T)).max(where=~np.eye(MEMBERS, dtype=bool), initial=0.0) < 0.9999
    assert all(np.mean((member > np.median(member)) == (y[:500] > 0)) > 0.85 for member in each.T)


def test_a_steady_wave_has_a_beat_where_it_is_steepest():
    for seed in range(10):
        wave, beats = _steady_wave(np.random.default_rng(seed), 500.0, 30.0, 10.0)
        assert not wave[:5000].any()
        assert np.diff(beats) == pytest.approx(np.diff(beats)[0])
        assert 150 <= 60 / np.diff(beats)[0] <= 240
        slope = np.abs(np.diff(wave[5001:]))
        assert slope[np.rint((beats[:-1] - 10.0) * 500).astype(int) - 1] == pytest.approx(slope.max(), rel=0.05)


def test_p_waves_come_before_beats_and_not_before_early_ones():
    beats = np.array([400, 700, 850, 1200, 1500])
    mv = np.zeros(1800)
    mv[beats] = 1.0
    for seed in range(10):
        drawn = np.abs(_p_waves(np.random.default_rng(seed), mv, beats))
        places = [drawn[r - round(0.32 * FS_HZ) : r - round(0.05 * FS_HZ)].max() for r in beats.tolist()]
        assert np.min(np.delete(places, 2)) >= 0.09
        assert drawn[701:850].max() == 0.0
        assert drawn.max() <= 0.51


def test_logistic_and_auc():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 2000).astype(float)
    x = rng.normal(size=(2000, 3)) + 2.0 * y[:, None] * [1, 0, 0]
    table = logistic(x, y, np.ones(2000))
    odds = x @ table["weights"] + table["bias"]
    assert auc(odds[y == 1], odds[y == 0]) == pytest.approx(0.92, abs=0.02)
    assert auc(np.array([1.0, 1.0]), np.array([1.0])) == 0.5
