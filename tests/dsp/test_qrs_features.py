import numpy as np
import pytest
from synthetic_ecg import clock, ecg, regular

from agent.dsp.qrs_features import N_STATIC, QrsFrontEnd

RATES = [125.0, 250.0, 360.0, 1000.0]


def candidates(x, fs_hz, parts=1):
    front, found = QrsFrontEnd(fs_hz), []
    for block in np.array_split(x, parts):
        peaks = front.push(block)
        found += [front.describe(peaks)] if peaks else []
    return [c for c in found if c is not None]


def deep_and_wide(fs_hz, at_s):
    """Return complexes as a ventricular pacer gives them in V2: down, and 100 ms later up as steeply."""
    t = clock(fs_hz, at_s[-1] + 1.0)
    knots, heights = (0.0, 0.02, 0.08, 0.13, 0.18, 0.3, 0.4), (0.0, 0.6, -3.0, -3.0, 0.8, 1.6, 0.0)
    return sum(np.interp(t - at, knots, heights, left=0.0, right=0.0) for at in at_s)


@pytest.mark.parametrize("fs_hz", RATES)
def test_r_of_a_wide_complex_lies_on_its_first_slope(fs_hz):
    at = np.arange(1.0, 12.0, 0.85)
    found = candidates(deep_and_wide(fs_hz, at), fs_hz)
    r_s = np.concatenate([c.r for c in found]) / fs_hz
    for start in at:
        assert np.abs(r_s - (start + 0.05)).min() < 0.06


@pytest.mark.parametrize("fs_hz", RATES)
def test_r_of_a_narrow_one_is_its_peak(fs_hz):
    at = regular(75, 12)
    found = candidates(ecg(fs_hz, 12, at, shape="qrs", t_mv=0.3, p_mv=0.15), fs_hz)
    r_s = np.concatenate([c.r for c in found]) / fs_hz
    assert max(np.abs(r_s - r).min() for r in at) <= max(0.004, 1 / fs_hz)


def test_candidates_are_the_same_for_any_cutting():
    x = deep_and_wide(250.0, np.arange(1.0, 12.0, 0.85))
    x += 0.02 * np.random.default_rng(0).standard_normal(len(x))
    whole, cut = candidates(x, 250.0), candidates(x, 250.0, parts=97)
    for name in ("peak", "r", "log_a", "log_b", "features", "patch"):
        one, other = (np.concatenate([getattr(c, name) for c in found]) for found in (whole, cut))
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-9)
    assert np.concatenate([c.features for c in whole]).shape[1] == N_STATIC
