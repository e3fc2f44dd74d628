"""The sound socket's frames."""

import struct

import numpy as np
import pytest
from driver_rig import cuts, fed, gaps_of, samples_of
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.drivers.decimate import decimate
from agent.drivers.stethoscope import StethoscopeDecoder
from agent.model import SampleBlock

SOUND = "stethoscope.sound"


def frame(index: int, samples: np.ndarray) -> bytes:
    return struct.pack("<QI", index, len(samples)) + samples.astype("<i2").tobytes()


def noise(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-32768, 32768, n).astype(np.int32)


def decoder() -> StethoscopeDecoder:
    return StethoscopeDecoder("stethoscope")


def test_a_frame_by_hand():
    d = decoder()
    constant = bytes.fromhex("e803000000000000" + "c8000000") + bytes.fromhex("1027") * 200  # index 1000, 200 x 10000
    items = fed(d, constant)
    assert samples_of(items, SOUND).tolist() == [10000] * 3  # (200 - 191) / 4 + 1


def test_output_is_the_decimation_of_what_was_sent():
    x = noise(5000)
    d = decoder()
    items = fed(d, b"".join(frame(7 + at, x[at : at + 512]) for at in range(0, 5000, 512)))
    assert (samples_of(items, SOUND) == decimate(x, 7)[1]).all()


def test_a_jump_of_the_index_is_a_gap_on_the_4_khz_grid():
    x = noise(4000)
    d = decoder()
    items = fed(d, frame(0, x[:2000]) + frame(2600, x[2600:4000]))
    before, (first, after) = decimate(x[:2000]), decimate(x[2600:], 2600)
    (gap,) = gaps_of(items, SOUND)
    assert gap == (len(before[1]), first - (before[0] + len(before[1])))
    assert (samples_of(items, SOUND) == np.concatenate((before[1], after))).all()


def test_an_index_from_nowhere_is_no_gap_of_a_century():
    d = decoder()
    fed(d, frame(0, noise(1000)), t_ns=10**9)
    items = fed(d, frame(2**62, noise(1000)), t_ns=2 * 10**9)
    (gap,) = gaps_of(items, SOUND)
    assert gap[1] == pytest.approx(4000 - 203, abs=2)
    assert d.counters.damaged == 1


def test_repeated_samples_are_not_taken_twice():
    x = noise(1000)
    d = decoder()
    items = fed(d, frame(0, x) + frame(0, x) + frame(1000, x))
    assert d.counters.damaged == 1
    assert (samples_of(items, SOUND) == decimate(np.concatenate((x, x)))[1]).all()


def test_time_is_that_of_the_sample_in_the_filters_middle():
    d = decoder()
    items = d.feed("sound", frame(0, noise(1000)), 10**9)
    block = next(i for i in items if isinstance(i, SampleBlock))
    first = decimate(noise(1000))[0]
    expected = 10**9 - (999 - 4 * first) * 1_000_000_000 // 16000
    assert block.t_ns == pytest.approx(expected, abs=250_000)


def test_resume_after_the_source_began_anew():
    d = decoder()
    fed(d, frame(90_000, noise(1000)), t_ns=10**9)
    d.resume()
    items = fed(d, frame(0, noise(1000)), t_ns=3 * 10**9)
    (gap,) = gaps_of(items, SOUND)
    assert gap[1] == pytest.approx(2 * 4000 - 203, abs=2)


def test_an_absurd_header_is_no_sound():
    d = decoder()
    assert fed(d, b"\xff" * 12) == []
    assert d.lost_sync
    fed(d, b"\xff" * 100)
    d.resume()
    assert not d.lost_sync


@given(cuts(4 * 524))
@settings(max_examples=40, deadline=None)
def test_any_cutting_gives_the_same(places):
    data = b"".join(frame(256 * k, noise(256, k)) for k in range(4))
    assert (samples_of(fed(decoder(), data, places), SOUND) == samples_of(fed(decoder(), data), SOUND)).all()


@given(st.lists(st.binary(max_size=60), max_size=8))
@settings(max_examples=80, deadline=None)
def test_random_bytes_never_raise(pieces):
    d = decoder()
    for piece in pieces:
        d.feed("sound", piece, 0)
