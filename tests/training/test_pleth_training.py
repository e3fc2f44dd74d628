"""The fit of what the slope around a pulse says, on candidates whose truth is known."""

import numpy as np
import pytest

from agent.dsp.pulse_features import SHAPE_S
from training.pleth import Lesson, fit


def lessons(weights, *, known=0.0, n=20_000):
    rng = np.random.default_rng(6)
    around = np.concatenate((rng.standard_normal((n, SHAPE_S.size)), np.ones((n, 1))), axis=1)
    odds = around @ weights + known
    is_pulse = rng.random(n) < 1.0 / (1.0 + np.exp(-odds))
    half = n // 2
    parts = slice(0, half), slice(half, n)
    return [Lesson(k, 1.0, around[p], np.full(half, known), is_pulse[p]) for k, p in enumerate(parts)]


def test_the_weights_of_the_places_are_found():
    weights = np.array([0.5, -0.5, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0])
    assert fit(lessons(weights))[0] == pytest.approx(weights[:-1], abs=0.1)


def test_what_is_known_already_is_not_said_again():
    assert fit(lessons(np.zeros(9), known=2.0))[0] == pytest.approx(np.zeros(8), abs=0.06)
