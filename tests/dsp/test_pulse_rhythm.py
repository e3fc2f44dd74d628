"""The period of a slope and how regular it is, from nothing but the slope."""

import numpy as np
import pytest

from agent.dsp.pulse_rhythm import HOP, PulseRhythm

GRID_HZ = 30.0
HOPS = 60  # 16 s


def hops(slope):
    return slope[: HOPS * HOP].reshape(HOPS, HOP)


def followed(slope, *, quiet=None, noise=0.0, cuts=(HOPS,)):
    """Period and regularity at each hop, pushed in pieces."""
    quiet = np.ones(HOPS, bool) if quiet is None else quiet
    rhythm, begin, found = PulseRhythm(GRID_HZ), 0, []
    for end in cuts:
        part = slice(begin, end)
        found.append(rhythm.push(hops(slope)[part], quiet[part], np.full(end - begin, noise)))
        begin = end
    return np.concatenate(found, axis=1)


T = np.arange(HOPS * HOP) / GRID_HZ


@pytest.mark.parametrize("period_s", [0.3, 0.8, 1.5, 2.0])
def test_the_period_of_an_even_slope(period_s):
    period, regular = followed(np.sin(2 * np.pi * T / period_s))
    assert period[-1] == pytest.approx(period_s, rel=0.02)
    assert regular[-1] > 0.9


def test_noise_is_hardly_regular():
    _, regular = followed(np.random.default_rng(3).standard_normal(T.size))
    assert regular[-1] < 0.5


def test_what_white_noise_takes_from_the_height_is_put_back():
    noise = 0.5 * np.random.default_rng(3).standard_normal(T.size)
    x = np.sin(2 * np.pi * T / 0.8) + noise
    assert followed(x, noise=0.5)[1, -1] > followed(x)[1, -1] + 0.1


def test_loud_hops_are_left_out():
    x = np.sin(2 * np.pi * T / 0.8)
    loud = np.zeros(HOPS, bool)
    loud[30:36] = True
    x[np.repeat(loud, HOP)] += 50.0 * np.random.default_rng(3).standard_normal(6 * HOP)
    assert followed(x, quiet=~loud)[0, -1] == pytest.approx(0.8, rel=0.02)
    assert followed(x)[1, 30:].min() < 0.9 < followed(x, quiet=~loud)[1, 30:].min()


def test_before_half_the_time_is_there_nothing_is_said():
    period, regular = followed(np.sin(2 * np.pi * T / 1.3))
    assert period[0] == 0.8
    assert regular[0] == 0.5


def test_any_cutting_follows_alike():
    x = np.sin(2 * np.pi * T / 0.7) + 0.3 * np.random.default_rng(1).standard_normal(T.size)
    assert followed(x, cuts=(1, 4, 9, 10, 33, HOPS)).tolist() == followed(x).tolist()
