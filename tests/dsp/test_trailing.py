"""Statistics over the last so many values: as written out one by one, fewer at the start, rows apart."""

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from agent.dsp.trailing import highest, quantile, shifted, trailing, windows

VALUES = np.random.default_rng(4).normal(size=(2, 30))


def test_windows_are_the_neighbours_from_every_step_on():
    assert windows(np.arange(6.0), 3).tolist() == [[0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5]]
    assert windows(np.arange(6.0), 4, first=1).tolist() == [[1, 2, 3, 4], [2, 3, 4, 5]]
    assert windows(VALUES, 5).shape == (2, 26, 5)
    assert np.array_equal(windows(VALUES, 5), sliding_window_view(VALUES, 5, axis=1))


@pytest.mark.parametrize("n", [1, 7, 30])
@pytest.mark.parametrize("length", [1, 4, 25])
def test_the_newest_have_their_last_values_and_fewer_at_the_start(n, length):
    expected = [[row[max(0, end - length) : end].sum() for end in range(31 - n, 31)] for row in VALUES]
    assert trailing(VALUES, n, length, np.sum) == pytest.approx(np.array(expected))
    assert np.array_equal(trailing(VALUES[0], n, length, np.sum), trailing(VALUES, n, length, np.sum)[0])


def test_the_highest_of_neighbours():
    assert highest(np.array([3.0, 1.0, 2.0, 5.0, 4.0]), 3).tolist() == [3.0, 5.0, 5.0]
    assert highest(np.array([1.0, 2.0]), 2).tolist() == [2.0]


def test_a_quantile_is_a_value_of_the_row():
    assert quantile(np.array([[4.0, 1.0, 3.0, 2.0, 5.0]]), 0.5, axis=1).tolist() == [3.0]


def test_shifted_views_show_each_what_it_looks_back_on():
    seconds = np.arange(10.0).reshape(5, 2)
    assert np.add.reduce(shifted(seconds, 3)).tolist() == [[6, 9], [12, 15], [18, 21]]
