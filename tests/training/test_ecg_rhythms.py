import numpy as np
import pytest

from training.ecg_rhythms import DURATION_S, RHYTHMS, TURN_S, Sheet, draw


def sheet(seed, fs_hz=360.0):
    rng = np.random.default_rng(seed)
    noise = {kind: rng.standard_normal(30_000) for kind in ("em", "ma", "bw")}
    return Sheet(rng, noise, seed, fs_hz, size=1.0, grain=0.0, shape="qrs")


@pytest.mark.parametrize("kind", RHYTHMS)
@pytest.mark.parametrize("seed", range(3))
def test_samples_are_finite_and_beats_lie_inside(kind, seed):
    mv, r_s = RHYTHMS[kind][1](sheet(seed, 250.0))
    assert np.isfinite(mv).all()
    assert len(mv) == 250 * DURATION_S
    assert (np.diff(r_s) > 0).all()
    assert ((r_s >= 0) & (r_s < DURATION_S)).all()


def test_every_kind_is_drawn_the_same_from_the_same_seed():
    def some(seed):
        rng = np.random.default_rng(seed)
        return [draw(rng, sheet(0).noise, k) for k in range(60)]

    first, second = some(1), some(1)
    assert {kind for kind, _, _ in first} == set(RHYTHMS)
    for (kind, fs_hz, (mv, _)), (again, fs_again, (mv_again, _)) in zip(first, second, strict=True):
        assert (kind, fs_hz) == (again, fs_again)
        np.testing.assert_array_equal(mv, mv_again)


@pytest.mark.parametrize("seed", range(5))
def test_fibrillation_has_no_beats_and_a_tachycardia_has(seed):
    mv, r_s = RHYTHMS["vf"][1](sheet(seed))
    assert mv[22 * 360 : 28 * 360].std() > 0.05
    assert not ((r_s > TURN_S) & (r_s < 30)).any()
    fast = RHYTHMS["vt"][1](sheet(seed))[1]
    assert np.diff(fast[fast > TURN_S]).max() < 60 / 150 + 1e-9


@pytest.mark.parametrize("seed", range(5))
def test_the_beat_of_a_wide_complex_lies_on_its_first_slope(seed):
    mv, r_s = RHYTHMS["wide"][1](sheet(seed))
    r = round(r_s[5] * 360)
    complex_ = np.abs(mv[r - 18 : r + 108])
    assert 0.2 < complex_[18] / complex_.max() < 0.95
    assert complex_.argmax() > 18
