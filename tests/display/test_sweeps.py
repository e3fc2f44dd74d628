"""Traces for screens: nothing seen is lost, nothing unseen is sent, times are even and true."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.display.sweeps import POINTS_PER_S, Piece, Sweep
from agent.model import Signal, Stream, Trace

ECG = Stream("ecg", Signal.ECG, "board", 500.0, 1.0, "mV", lead="DII")
SOUND = Stream("sound", Signal.SOUND, "stethoscope", 4000.0, 1.0, "1")


def trace(stream: Stream, index: int, values, t_s: float | None = None) -> Trace:
    t = index / stream.fs_hz if t_s is None else t_s
    return Trace(stream.name, index, round(t * 1e9), stream.fs_hz, np.asarray(values, float))


def points(pieces: list[Piece | None]) -> list[tuple[float, float | None]]:
    """(time, value) of every point."""
    return [
        (p.t + i / p.fs, None if y is None else y * p.q) for p in pieces if p is not None for i, y in enumerate(p.y)
    ]


def test_a_slow_stream_is_sent_as_it_is():
    stream = Stream("ecg", Signal.ECG, "board", 125.0, 1.0, "mV")
    piece = Sweep(stream).push(trace(stream, 0, [0.0, 0.5, 1.2, -0.3]), 0)
    assert piece is not None
    assert (piece.t, piece.fs) == (0.0, 125.0)
    assert [y * piece.q for y in piece.y] == pytest.approx([0.0, 0.5, 1.2, -0.3])


@pytest.mark.parametrize(("unit", "factor"), [("mV", 1.0), ("uV", 1000.0), ("V", 0.001)])
def test_an_ecg_is_drawn_in_millivolts_whatever_its_unit(unit, factor):
    stream = Stream("ecg", Signal.ECG, "board", 125.0, 1.0, unit)
    assert points([Sweep(stream).push(trace(stream, 0, [1.5 * factor]), 0)])[0][1] == pytest.approx(1.5)


def test_an_ecg_that_is_no_voltage_is_refused():
    with pytest.raises(ValueError, match="not a voltage"):
        Sweep(Stream("ecg", Signal.ECG, "board", 125.0, 1.0, "1"))


def test_an_r_peak_of_one_sample_survives_and_stays_in_place():
    x = np.zeros(2000)
    x[1001] = 1.3
    found = points([Sweep(ECG).push(trace(ECG, 0, x), 0)])
    assert len(found) <= 4 * POINTS_PER_S
    top = max(found, key=lambda p: p[1])
    assert top[1] == pytest.approx(1.3)
    assert top[0] == pytest.approx(1001 / 500, abs=0.009)


def test_a_sound_becomes_few_points_that_keep_its_outline():
    t = np.arange(8000) / 4000
    x = np.sin(2 * np.pi * 90 * t) * (t < 1)
    found = points([Sweep(SOUND).push(trace(SOUND, 0, x), 0)])
    assert len(found) == 2 * POINTS_PER_S
    loud = [v for at, v in found if at < 0.98]
    assert min(loud) < -0.95
    assert max(loud) > 0.95
    assert all(abs(v) < 0.01 for at, v in found if at > 1.01)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 90), min_size=1, max_size=40), st.sampled_from([ECG, SOUND]))
def test_any_cutting_gives_the_same_points(cuts, stream):
    n = sum(cuts)
    x = np.round(np.random.default_rng(1).normal(size=n), 2)
    whole = points([Sweep(stream).push(trace(stream, 0, x), 0)])
    sweep, at, pieces = Sweep(stream), 0, []
    for cut in cuts:
        pieces.append(sweep.push(trace(stream, at, x[at : at + cut]), 0))
        at += cut
    found = points(pieces)
    assert len(found) == len(whole)
    for (t, v), (t_whole, v_whole) in zip(found, whole, strict=True):
        assert t == pytest.approx(t_whole, abs=1e-4)
        assert v == pytest.approx(v_whole, abs=0.02)


def test_jitter_of_block_times_leaves_one_even_line():
    stream = Stream("ecg", Signal.ECG, "board", 125.0, 1.0, "mV")
    sweep, rng = Sweep(stream), np.random.default_rng(2)
    pieces = [
        sweep.push(trace(stream, i, np.zeros(10), t_s=10 + i / 125 + rng.uniform(-0.02, 0.02)), 0)
        for i in range(0, 2500, 10)
    ]
    times = np.array([t for t, _ in points(pieces)])
    assert np.abs(np.diff(times) - 1 / 125).max() < 0.002
    assert np.abs(times - times[0] - np.arange(times.size) / 125).max() < 0.02


def test_a_rate_that_is_a_little_off_is_followed():
    sweep, stream = Sweep(ECG), ECG
    true = 500.25  # a crystal 500 ppm fast: 0.3 s in ten minutes
    last = None
    for i in range(0, 300_000, 50):
        last = sweep.push(trace(stream, i, np.zeros(50), t_s=i / true), 0)
    assert last is not None
    assert last.t == pytest.approx(300_000 / true, abs=0.11)


def test_a_hole_stays_a_hole_of_its_length():
    sweep = Sweep(ECG)
    first = sweep.push(trace(ECG, 0, np.zeros(500)), 0)
    second = sweep.push(trace(ECG, 600, np.ones(500)), 0)
    assert first is not None
    assert second is not None
    assert not first.followed_by(second)
    assert second.t == pytest.approx(1.2, abs=0.005)
    assert set(second.y) == {200}  # nothing of before the hole is mixed in


def test_a_restarted_stream_begins_where_its_time_says():
    sweep = Sweep(ECG)
    sweep.push(trace(ECG, 90_000, np.zeros(100), t_s=180.0), 0)
    piece = sweep.push(trace(ECG, 0, np.zeros(100), t_s=183.0), 0)
    assert piece is not None
    assert piece.t == pytest.approx(183.0, abs=0.005)


def test_what_is_filled_in_late_keeps_its_true_time_and_disturbs_nothing():
    sweep = Sweep(ECG)
    sweep.push(trace(ECG, 0, np.zeros(500)), 0)
    sweep.push(trace(ECG, 5000, np.zeros(503)), 0)
    late = sweep.push(trace(ECG, 500, np.ones(502)), 0)
    assert late is not None
    assert late.t == pytest.approx(1.0, abs=0.005)
    assert len(late.y) / late.fs == pytest.approx(1.004, abs=0.009)
    after = sweep.push(trace(ECG, 5503, np.zeros(500)), 0)
    assert after is not None
    assert after.t == pytest.approx(11.0, abs=0.005)


def test_what_is_no_number_is_drawn_as_nothing():
    stream = Stream("ecg", Signal.ECG, "board", 125.0, 1.0, "mV")
    piece = Sweep(stream).push(trace(stream, 0, [0.1, np.nan, np.inf, 0.2]), 0)
    assert piece is not None
    assert piece.y == [20, None, None, 40]


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_every_amplitude_gets_enough_levels(scale):
    stream = Stream("pleth", Signal.PLETH, "clip", 100.0, 1.0, "1")
    x = scale * (50 + np.sin(np.arange(300) / 10))
    piece = Sweep(stream).push(trace(stream, 0, x), 0)
    assert piece is not None
    assert np.abs(np.array(piece.y) * piece.q - x).max() <= 2 * scale / 512
    assert Sweep(stream).push(trace(stream, 0, np.zeros(0)), 0) is None
