"""An instrument's own clock: rate, drift and offset from stamps and late arrivals."""

import re

import numpy as np
import pytest

from agent.drivers.own_clock import OwnClock

S = 1_000_000_000


def run(clock, *, seconds, rate_hz=130.06, drift_ppm=0.0, jitter_s=0.02, n=73, seed=1, own_began_s=599_616_000.0):
    """Frames of `n` samples; returns the words said. Our time runs from 100 s, the instrument's from its own epoch."""
    rng = np.random.default_rng(seed)
    said, last_ns = [], 0
    for k in range(int(seconds * rate_hz / n)):
        own_s = k * n / rate_hz
        our_s = 100 + own_s / (1 + drift_ppm * 1e-6) + 0.01 + rng.exponential(jitter_s)
        last_ns = max(last_ns, round(our_s * S))
        said.append(clock.take(round((own_began_s + own_s) * S), n, last_ns))
    return [words for words in said if words]


@pytest.mark.parametrize("drift_ppm", [-60.0, 0.0, 45.0])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_rate_and_drift_are_found(drift_ppm, seed):
    clock = OwnClock(130.0)
    run(clock, seconds=600, drift_ppm=drift_ppm, seed=seed)
    assert clock.rate_hz == pytest.approx(130.06, abs=0.001)
    assert clock.drift_ppm == pytest.approx(drift_ppm, abs=6)
    assert clock.offset_s == pytest.approx(100.01 - 599_616_000, abs=0.06)


def test_the_nominal_rate_counts_until_the_true_one_is_sure():
    clock = OwnClock(130.0)
    run(clock, seconds=9)
    assert clock.rate_hz == 130.0
    assert clock.drift_ppm == 0.0


def test_it_is_said_after_two_minutes_and_then_every_ten():
    said = run(OwnClock(130.0), seconds=1400)
    assert len(said) == 3
    assert re.fullmatch(r"rate_hz=130\.0[56]\d drift_ppm=[+-]\d+ offset_s=-\d+\.\d{3}", said[0])


def test_a_jump_begins_anew_and_keeps_the_rate():
    clock = OwnClock(130.0)
    run(clock, seconds=60)
    clock.restart()
    assert clock.rate_hz == pytest.approx(130.06, abs=0.001)
    run(clock, seconds=300, drift_ppm=30, own_began_s=1.0)
    assert clock.drift_ppm == pytest.approx(30, abs=15)
    assert clock.offset_s == pytest.approx(99.01, abs=0.06)


def test_a_rate_no_crystal_has_is_not_believed():
    clock = OwnClock(130.0)
    run(clock, seconds=60, rate_hz=200)
    assert clock.rate_hz == 130.0
