"""16 to 4 kHz in integers."""

from operator import mul

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.drivers.decimate import RATES_HZ, TAPS_Q15, Decimator, decimate, ratio

TAPS, FACTOR = len(TAPS_Q15), 4
CENTRE = TAPS // 2


def pcm(samples: np.ndarray) -> bytes:
    return samples.astype("<i2").tobytes()


def response_db() -> tuple[np.ndarray, np.ndarray]:
    n = 1 << 15
    gain = np.abs(np.fft.rfft(TAPS_Q15 / 32768, n))
    return np.fft.rfftfreq(n, 1 / 16000), 20 * np.log10(np.maximum(gain, 1e-9))


def test_the_filter_passes_to_1600_hz_and_stops_from_2000_hz():
    hz, db = response_db()
    assert TAPS == 191
    assert (TAPS_Q15[::-1] == TAPS_Q15).all()  # linear phase
    assert TAPS_Q15.sum() == 32768  # a constant stays itself
    assert np.abs(db[hz <= 1600]).max() < 0.01
    assert db[hz >= 2000].max() < -68


def test_a_constant_stays_itself_at_both_ends_of_the_scale():
    for value in (-32768, -1, 0, 1, 32767):
        _, out = decimate(np.full(1000, value, np.int32))
        assert set(out.tolist()) == {value}


def test_a_tone_that_would_alias_is_gone():
    t = np.arange(16000) / 16000
    _, low = decimate(np.round(20000 * np.sin(2 * np.pi * 200 * t)).astype(np.int32))
    _, high = decimate(np.round(20000 * np.sin(2 * np.pi * 3800 * t)).astype(np.int32))  # would become 200 Hz
    assert np.abs(low).max() > 19900
    assert np.abs(high).max() < 12


def test_output_m_stands_for_input_4m():
    x = np.zeros(1000, np.int32)
    x[400] = 16384
    first, out = decimate(x)
    assert first == -(-CENTRE // FACTOR)
    assert first + int(np.argmax(out)) == 400 // FACTOR
    assert out.max() == TAPS_Q15[CENTRE] / 2


@pytest.mark.parametrize("fs_hz", RATES_HZ)
def test_against_a_plain_sum(fs_hz):
    by, index, rng = ratio(fs_hz), 1234, np.random.default_rng(1)
    x = rng.choice([-32768, -16384, 0, 8192, 16384, 32767], 4000)  # of which many sums end on a half
    first, out = decimate(x, index, fs_hz)
    taps, one = by.taps.astype(int), int(by.one)
    for m, given_ in enumerate(out.tolist(), first):
        at, phase = divmod(m * by.down, by.up)
        window = x[at - by.centre - index : at + by.centre + 1 - index].tolist()
        assert given_ == (2 * sum(map(mul, window, taps[phase].tolist())) + one) // (2 * one)
    at = (first - 1) * by.down // by.up - by.centre
    assert at < index  # and none that is complete is missing
    assert (first + len(out)) * by.down // by.up + by.centre >= index + len(x)


@pytest.mark.parametrize("fs_hz", RATES_HZ)
@given(sizes=st.lists(st.integers(0, 1500), max_size=8), start=st.integers(0, 1 << 40))
@settings(max_examples=40, deadline=None)
def test_pieces_give_the_same_as_the_whole(fs_hz, sizes, start):
    x = np.random.default_rng(start).integers(-32768, 32768, sum(sizes))
    first, whole = decimate(x, start, fs_hz)
    d, parts, at = Decimator(fs_hz), [], 0
    for size in sizes:
        m, out = d.push(start + at, pcm(x[at : at + size]))
        assert m == first + sum(map(len, parts))
        parts.append(out)
        at += size
    assert np.concatenate((np.empty(0, np.int32), *parts)).tolist() == whole.tolist()


@pytest.mark.parametrize("fs_hz", RATES_HZ)
def test_every_rate_passes_to_1600_hz_and_stops_from_2000_hz_in_each_of_its_phases(fs_hz):
    by = ratio(fs_hz)
    gain = np.abs(np.fft.rfft(by.taps / by.one, 1 << 15, axis=1))
    hz, db = np.fft.rfftfreq(1 << 15, 1 / fs_hz), 20 * np.log10(np.maximum(gain, 1e-9))
    assert (by.taps.sum(axis=1) == by.one).all()
    assert np.abs(db[:, hz <= 1600]).max() < 0.01
    assert db[:, hz >= 2000].max() < -68


@pytest.mark.parametrize("fs_hz", RATES_HZ)
def test_output_m_is_the_sound_at_m_over_4000_s(fs_hz):
    at, n = 1_000_003, fs_hz // 2
    x = np.round(20000 * np.sin(2 * np.pi * 700 * (at + np.arange(n)) / fs_hz)).astype(np.int32)
    first, out = decimate(x, at, fs_hz)
    assert len(out) > 1900
    assert np.abs(out - 20000 * np.sin(2 * np.pi * 700 * (first + np.arange(len(out))) / 4000)).max() < 12


def test_another_rate_is_refused():
    with pytest.raises(ValueError, match="8000 Hz"):
        Decimator(8000)


@pytest.mark.parametrize("jump", [-900, 1, 4, 100, 5000, 1 << 62])
def test_after_a_jump_only_whole_windows_count(jump):
    x = np.random.default_rng(9).integers(-9000, 9000, 4000)
    d = Decimator()
    d.push(0, pcm(x[:1000]))
    first, out = d.push(1000 + jump, pcm(x[1000:2000]))
    expected_first, expected = decimate(x[1000:2000], 1000 + jump)
    assert first == expected_first
    assert (out == expected).all()
