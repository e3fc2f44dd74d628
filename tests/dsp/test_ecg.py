import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_ecg import clock, ecg, half_sine, regular, triangle

from agent.dsp.ecg import EcgFilter
from agent.dsp.mains import MainsCanceller
from agent.model import Happening

RATES = [125.0, 250.0, 360.0, 500.0, 1000.0]


def filtered(x, fs_hz, mode, mains_hz=50.0):
    return EcgFilter(fs_hz, mode, mains_hz).push(x)


@pytest.mark.parametrize("fs_hz", RATES)
def test_diagnostic_keeps_st_after_the_impulse_of_iec_60601_2_25(fs_hz):
    t = clock(fs_hz, 15)
    y = filtered(np.where((t >= 5) & (t < 5.1), 3.0, 0.0), fs_hz, "diagnostic")
    after = y[t >= 5.1 + 0.02]  # the low-pass has settled
    assert np.abs(after).max() <= 0.1
    assert np.abs(np.diff(after)).max() * fs_hz <= 0.30


def test_monitor_mode_fails_that_test_and_says_so():
    t = clock(500.0, 15)
    y = filtered(np.where((t >= 5) & (t < 5.1), 3.0, 0.0), 500.0, "monitor")
    assert np.abs(y[t >= 5.15]).max() > 0.3
    assert EcgFilter(500.0, "monitor").band_hz == (0.5, 40.0)


@pytest.mark.parametrize(("fs_hz", "top_hz"), [(125.0, 50.0), (250.0, 100.0), (360.0, 144.0), (500.0, 150.0)])
def test_diagnostic_edges(fs_hz, top_hz):
    assert EcgFilter(fs_hz, "diagnostic").band_hz == (0.05, top_hz)
    t = clock(fs_hz, 40)
    for edge in (0.05, top_hz if top_hz < 0.45 * fs_hz else None):
        y = filtered(np.sin(2 * np.pi * edge * t), fs_hz, "diagnostic", None)
        assert np.sqrt(2 * np.mean(y[t > 20] ** 2)) == pytest.approx(np.sqrt(0.5), abs=0.02)


@pytest.mark.parametrize("fs_hz", RATES)
@pytest.mark.parametrize("mode", ["monitor", "diagnostic"])
def test_delay_is_the_stated_one(fs_hz, mode):
    t = clock(fs_hz, 6)
    x = np.exp(-0.5 * ((t - 3) / 0.02) ** 2) * np.cos(2 * np.pi * 10 * (t - 3))
    y = filtered(x, fs_hz, mode, None)
    fine = np.arange(-0.02, 0.06, 0.0005)
    overlap = [np.sum(y * np.exp(-0.5 * ((t - 3 - d) / 0.02) ** 2) * np.cos(20 * np.pi * (t - 3 - d))) for d in fine]
    delay_s = EcgFilter(fs_hz, mode).delay_s
    assert fine[int(np.argmax(overlap))] == pytest.approx(delay_s, abs=0.003)
    assert delay_s <= 0.060


@pytest.mark.parametrize("fs_hz", RATES)
@pytest.mark.parametrize("hum_hz", [49.5, 49.7, 50.0, 50.3, 50.5])
def test_mains_30_db_down_within_half_a_hertz(fs_hz, hum_hz):
    t = clock(fs_hz, 12)
    beats = ecg(fs_hz, 12, regular(75, 12), t_mv=0.25)
    hum = 0.3 * np.sin(2 * np.pi * hum_hz * t + 0.4)
    left = MainsCanceller(fs_hz, 50.0).push((beats + hum)[:, None])[:, 0] - beats
    assert 20 * np.log10(hum.std() / left[t > 2].std()) >= 30.0


def test_mains_of_60_hz_and_a_drifting_one():
    t = clock(500.0, 20)
    for mains_hz, drift in ((60.0, 0.0), (50.0, 0.02)):
        hum = 0.2 * np.sin(2 * np.pi * (mains_hz * t + drift / 2 * t**2))
        left = MainsCanceller(500.0, mains_hz).push(hum[:, None])[:, 0]
        assert 20 * np.log10(hum.std() / left[t > 2].std()) >= 30.0


@pytest.mark.parametrize("fs_hz", RATES)
@pytest.mark.parametrize("shape", ["triangle", "half-sine"])
def test_the_canceller_does_not_ring_after_a_qrs_nor_lower_r(fs_hz, shape):
    t = clock(fs_hz, 12)
    at = regular(75, 12)
    x = sum(triangle(t, r, 0.06) if shape == "triangle" else half_sine(t, r - 0.03, 0.06) for r in at)
    y = MainsCanceller(fs_hz, 50.0).push(x[:, None])[:, 0]
    assert np.abs(y - x).max() <= 0.025
    r = np.rint(at * fs_hz).astype(int)
    assert np.abs(y[r] / x[r] - 1).max() <= 0.02


def test_a_fixed_notch_for_30_db_would_bend_the_qrs():  # negative control of the test above
    from scipy import signal

    t = clock(500.0, 6)
    b, a = signal.iirnotch(50.0, 1.6, fs=500.0)  # as broad as 30 dB at 49.5 Hz asks for
    x = triangle(t, 3.0, 0.06)
    assert np.abs(signal.lfilter(b, a, x) - x).max() > 0.025


def test_twelve_leads_are_filtered_as_one():
    x = np.random.default_rng(0).normal(size=(1500, 12)).cumsum(axis=0) * 0.01
    together = filtered(x, 500.0, "diagnostic", None)
    np.testing.assert_allclose(together[:, 5], filtered(x[:, 5], 500.0, "diagnostic", None), atol=1e-12)
    assert EcgFilter(500.0).push(x).shape == x.shape


@given(cuts=st.lists(st.integers(0, 900), max_size=8), mode=st.sampled_from(["monitor", "diagnostic"]))
@settings(max_examples=25, deadline=None)
def test_output_does_not_depend_on_the_cut(cuts, mode):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(900, 2)) * 0.1 + 0.2 * np.sin(2 * np.pi * 50.2 * np.arange(900) / 360)[:, None]
    x[200:260, 0] = np.nan
    x[500:, 1] += 50.0
    stage = EcgFilter(360.0, mode)
    parts = np.concatenate([stage.push(p) for p in np.split(x, sorted(cuts))])
    np.testing.assert_allclose(parts, filtered(x, 360.0, mode), rtol=1e-9, atol=1e-9)


def test_lead_off_and_on_leaves_no_transient():
    fs_hz = 250.0
    t = clock(fs_hz, 12)
    x = ecg(fs_hz, 12, regular(75, 12))
    off = (t > 4) & (t < 6)
    y = filtered(np.where(off, 300.0, x + np.where(t >= 6, 25.0, 0.0)), fs_hz, "diagnostic")
    assert np.abs(y).max() < 1.3  # 300 mV and a new offset of 25 mV, and nothing of either


def test_unknown_samples_stay_unknown_and_harm_nothing():
    fs_hz = 500.0
    x = ecg(fs_hz, 10, regular(75, 10))
    x[1000:1003], x[2000:2600], x[4000] = np.nan, np.inf, 1e300
    stage = EcgFilter(fs_hz)
    y = stage.push(x)
    np.testing.assert_array_equal(np.isnan(y), ~(np.abs(x) < 1e6))
    assert np.nanmax(np.abs(y)) < 1.3
    assert [(e.index, e.kind) for e in stage.events()] == [(k, Happening.NOT_FINITE) for k in (1000, 2000, 4000)]


def test_a_gap_is_joined_without_a_step():
    stage = EcgFilter(250.0, "diagnostic")
    stage.push(np.full(500, 1.0))
    stage.gap(100_000)
    assert np.abs(stage.push(np.full(500, -7.0))).max() < 0.01
    stage.reset()
    assert np.abs(stage.push(np.full(50, 3.0))).max() < 1e-9


@pytest.mark.parametrize(
    ("settings_", "word"),
    [
        ({"fs_hz": 99.0}, "rate"),
        ({"fs_hz": 2001.0}, "rate"),
        ({"fs_hz": float("nan")}, "rate"),
        ({"fs_hz": 250.0, "mode": "st"}, "mode"),
        ({"fs_hz": 250.0, "mains_hz": 55.0}, "mains"),
    ],
)
def test_bad_settings_are_refused(settings_, word):
    with pytest.raises(ValueError, match=word):
        EcgFilter(**settings_)


def test_empty_single_and_wrong_blocks():
    stage = EcgFilter(250.0)
    assert stage.push([]).shape == (0,)
    assert stage.push([0.1]).shape == (1,)
    assert EcgFilter(250.0).push(np.empty((0, 12))).shape == (0, 12)
    with pytest.raises(ValueError, match="dimension"):
        stage.push(np.zeros((2, 2, 2)))
    with pytest.raises(ValueError, match="leads"):
        stage.push(np.zeros((5, 3)))
