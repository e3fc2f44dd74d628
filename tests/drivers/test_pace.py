"""Sample times from arrival times alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.drivers.pace import ArrivalClock, Track
from agent.model import Gap, GapReason, SampleBlock, Signal, Stream

S = 1_000_000_000


def stream(fs_hz=125.0, name="x.ecg") -> Stream:
    return Stream(name, Signal.ECG, "x", fs_hz, 1.0, "uV")


def run(fs_hz, true_hz, seconds, burst, jitter_s, seed=0, start=5 * S):
    """Blocks of a stream whose instrument really samples at `true_hz`; returns (blocks, true time of each first)."""
    rng = np.random.default_rng(seed)
    track, blocks, truth = Track(stream(fs_hz)), [], []
    arrived = 0
    for first in range(0, int(seconds * true_hz), burst):
        last_ns = start + round((first + burst - 1) * S / true_hz)
        arrived = max(arrived, last_ns + round(rng.exponential(jitter_s) * S))
        items = track.take(np.arange(first, first + burst, dtype=np.int32), arrived)
        assert not [i for i in items if isinstance(i, Gap)]
        blocks += [i for i in items if isinstance(i, SampleBlock)]
        truth.append(start + round(first * S / true_hz))
    return blocks, np.array(truth)


@pytest.mark.parametrize(
    ("fs_hz", "true_hz", "burst", "jitter_s", "error_s"),
    [
        (125, 125, 2, 0.004, 0.002),
        (125, 124.4, 2, 0.004, 0.003),  # the ADS1292R's oscillator, 0.5 % slow
        (125, 126.5, 2, 0.004, 0.003),  # 1.2 % fast
        (130, 130.06, 73, 0.02, 0.025),  # Polar H10
        (100, 100, 4, 0.02, 0.012),
        (4000, 4000, 128, 0.005, 0.005),
    ],
)
def test_dates_within_a_fraction_of_the_jitter(fs_hz, true_hz, burst, jitter_s, error_s):
    blocks, truth = run(fs_hz, true_hz, 60, burst, jitter_s)
    settled = len(blocks) // 10
    error_ns = np.array([b.t_ns for b in blocks]) - truth
    assert np.percentile(np.abs(error_ns[settled:]), 95) <= error_s * S


@given(st.integers(0, 2**31), st.sampled_from([1, 2, 5, 25]), st.floats(0, 0.1))
@settings(max_examples=40, deadline=None)
def test_time_and_index_never_go_back(seed, burst, jitter_s):
    blocks, _ = run(125, 125, 8, burst, jitter_s, seed)
    t = np.array([b.t_ns for b in blocks])
    index = np.array([b.index for b in blocks])
    assert (np.diff(t) > 0).all()
    assert (np.diff(index) == burst).all()
    assert (np.diff(t) >= burst * 0.85 * S / 125).all()


def test_a_slow_start_is_forgotten():
    track = Track(stream())
    track.take(np.zeros(2, np.int32), 5 * S + 150_000_000)  # 150 ms late
    for k in range(1, 400):
        items = track.take(np.zeros(2, np.int32), 5 * S + k * 16_000_000)
    assert items[0].t_ns == pytest.approx(5 * S + 399 * 16_000_000 - 8_000_000, abs=1_000_000)


def test_a_stall_that_loses_nothing_makes_no_gap():
    track, items = Track(stream()), []
    for k in range(2000):
        late = 16_000_000 * max(0, 300 - k) if 200 <= k < 300 else 0  # blocks 200-299 come together
        items += track.take(np.zeros(2, np.int32), 5 * S + k * 16_000_000 + late)
    assert not [i for i in items if isinstance(i, Gap)]


def test_samples_that_vanish_without_a_trace_become_a_gap_of_the_right_length():
    track, items, index = Track(stream()), [], 0
    for k in range(3000):
        if 500 <= k < 600:
            continue  # 200 samples, 1.6 s, never arrive
        items += track.take(np.full(2, index, np.int32), 5 * S + k * 16_000_000)
        index += 2
    gaps = [i for i in items if isinstance(i, Gap)]
    assert [g.reason for g in gaps] == [GapReason.OVERRUN]
    assert gaps[0].n == pytest.approx(200, abs=15)
    last = items[-1]
    assert last.t_ns == pytest.approx(5 * S + 2999 * 16_000_000, abs=70_000_000)


def test_a_stream_that_counts_its_samples_is_late_without_a_gap():
    for counted, gaps in ((False, 1), (True, 0)):
        track, items = Track(stream(), counted=counted), []
        for k in range(2000):
            late = 1_000_000_000 if k > 500 else 0  # its source has begun to buffer a second
            items += track.take(np.zeros(2, np.int32), 5 * S + k * 16_000_000 + late)
        assert len([i for i in items if isinstance(i, Gap)]) == gaps


def test_resume_counts_what_passed_and_declared_loss_keeps_time():
    track = Track(stream(), stream(name="x.resp"))
    assert track.skip(5, GapReason.DAMAGED) == []  # nothing came yet: nothing is missing
    track.resume()
    two = np.zeros((2, 2), np.int32)
    assert [type(i) for i in track.take(two, 5 * S)] == [SampleBlock, SampleBlock]
    gaps = track.skip(10, GapReason.DAMAGED)
    assert [(g.stream, g.index, g.n) for g in gaps] == [("x.ecg", 2, 10), ("x.resp", 2, 10)]
    track.resume()
    items = track.take(two, 7 * S)
    gap = items[0]
    assert (gap.index, gap.reason) == (12, GapReason.LINK)
    assert gap.n == 2 * 125 - 12  # the 10 that were declared and the 2 that came are part of the 2 s
    assert items[2].index == 12 + gap.n
    assert items[2].t_ns == pytest.approx(7 * S - 8_000_000, abs=4_000_000)


def test_nothing_gives_nothing():
    assert Track(stream()).take(np.empty(0, np.int32), S) == []


def test_the_clock_knows_nothing_before_the_first_arrival():
    clock = ArrivalClock(125)
    assert not clock.started
    assert clock.arrived(1, 2, S) == 0
    assert clock.started
    assert clock.time_ns(1) == S
