import numpy as np
import pytest
from scipy import ndimage, signal

from agent.dsp.filters import SpikeFilter, band_pass, band_slope, filtered, filtered_sections, high_pass, low_pass

RNG = np.random.default_rng(1)
MAKERS = {
    "low": lambda fs: low_pass(fs, 35.0),
    "low butter": lambda fs: low_pass(fs, 150.0, 2, "butter"),
    "high": lambda fs: high_pass(fs, 0.05),
    "band": lambda fs: band_pass(fs, 1.0, 5.0),
    "slope": lambda fs: band_slope(fs, 16.0, 45.0),
    "spikes": SpikeFilter,
}


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("fs_hz", [100.0, 360.0, 2000.0])
def test_cuts_change_not_one_bit(name, fs_hz):
    x = RNG.normal(size=700)
    whole = MAKERS[name](fs_hz).push(x)
    stage = MAKERS[name](fs_hz)
    parts = [stage.push(p) for p in np.split(x, [0, 1, 2, 9, 9, 10, 300, 699])]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("shape", [(300,), (300, 3)])
def test_it_is_scipys_filter_to_the_last_bit(shape):  # whose inner loop is called without what is around it
    x, stage = RNG.normal(size=shape), band_pass(360.0, 1.0, 5.0)
    steady = np.multiply.outer(signal.lfilter_zi(stage.b, stage.a), x[0])
    expected, _ = signal.lfilter(stage.b, stage.a, x, axis=0, zi=steady)
    np.testing.assert_array_equal(np.concatenate([stage.push(part) for part in np.split(x, [1, 19, 200])]), expected)


@pytest.mark.parametrize("kind", [float, complex])
def test_a_filter_with_a_given_state_is_scipys_to_the_last_bit(kind):
    ba, rows, states = signal.butter(2, 0.1), RNG.normal(size=(3, 50)).astype(kind), np.ones((3, 2), kind)
    for axis, x, state in ((-1, rows, states), (0, rows.T, states.T)):
        for found, expected in zip(filtered(ba, x, state, axis), signal.lfilter(*ba, x, axis, zi=state), strict=True):
            np.testing.assert_array_equal(found, expected)


def test_sections_are_scipys_to_the_last_bit_and_leave_what_they_are_given():
    sos, x, state = signal.butter(4, (0.1, 0.2), "bandpass", output="sos"), RNG.normal(size=(3, 50)), np.ones((3, 4, 2))
    kept = x.copy()
    y, after = filtered_sections(sos, x, state)
    expected, expected_after = signal.sosfilt(sos, x, zi=state.swapaxes(0, 1))
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(after.swapaxes(0, 1), expected_after)
    np.testing.assert_array_equal(x, kept)
    np.testing.assert_array_equal(state, 1.0)


@pytest.mark.parametrize("name", MAKERS)
def test_a_constant_gives_no_transient(name):
    y = MAKERS[name](500.0).push(np.full(5000, 300.0))
    assert np.ptp(y) < 1e-6
    assert abs(y[0] - (300.0 if name.startswith(("low", "spikes")) else 0.0)) < 1e-6


def test_restart_joins_a_new_level_at_rest():
    stage = high_pass(250.0, 0.5, 2)
    stage.push(np.zeros(100))
    assert abs(stage.push(np.full(10, 5.0))[0]) > 4.9  # without a restart a step is a step
    stage.restart()
    assert np.abs(stage.push(np.full(10, 5.0))).max() < 1e-9


@pytest.mark.parametrize(("low_hz", "high_hz"), [(6.0, 24.0), (16.0, 45.0)])
def test_edges_are_3_db_down(low_hz, high_hz):
    fs_hz, t = 1000.0, np.arange(4000) / 1000.0
    for edge in (low_hz, high_hz):
        y = band_pass(fs_hz, low_hz, high_hz).push(np.sin(2 * np.pi * edge * t))
        assert np.abs(y[2000:]).max() == pytest.approx(np.sqrt(0.5), abs=0.01)


def test_filters_of_several_leads_are_those_of_each():
    x = RNG.normal(size=(400, 12))
    together = low_pass(500.0, 40.0).push(x)
    for lead in (0, 11):
        np.testing.assert_array_equal(together[:, lead], low_pass(500.0, 40.0).push(x[:, lead]))


@pytest.mark.parametrize(("fs_hz", "delay"), [(125, 1), (250, 2), (360, 2), (500, 2), (1000, 3), (2000, 5)])
def test_the_spike_filter_is_a_running_median(fs_hz, delay):
    x = RNG.normal(size=200)
    stage = SpikeFilter(fs_hz)
    assert stage.delay == delay
    assert stage.delay / fs_hz <= 0.0081
    padded = np.concatenate((np.full(2 * delay, x[0]), x))
    np.testing.assert_array_equal(stage.push(x), ndimage.median_filter(padded, 2 * delay + 1)[delay:-delay])


@pytest.mark.parametrize("fs_hz", [360, 500, 1000, 2000])
def test_a_pulse_of_2_ms_is_gone_wherever_it_falls(fs_hz):
    for phase in np.arange(0, 1, 0.25):
        covered = np.clip(np.arange(50) + 1 - (20 + phase), 0, 1) - np.clip(
            np.arange(50) - (20 + phase + 0.002 * fs_hz) + 1, 0, 1
        )
        assert covered.sum() == pytest.approx(0.002 * fs_hz)
        assert np.abs(SpikeFilter(fs_hz).push(700.0 * covered)).max() == 0.0
