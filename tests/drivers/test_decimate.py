"""16 to 4 kHz in integers."""

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
    x[400] = 32768
    first, out = decimate(x)
    assert first == -(-CENTRE // FACTOR)
    assert first + int(np.argmax(out)) == 400 // FACTOR
    assert out.max() == TAPS_Q15[CENTRE]


def test_against_a_plain_sum():
    rng = np.random.default_rng(1)
    x = rng.integers(-32768, 32768, 600).astype(np.int32)
    first, out = decimate(x, 1234)
    m = first + 3
    window = x[4 * m - CENTRE - 1234 : 4 * m + CENTRE + 1 - 1234]
    assert out[3] == (sum(int(a) * int(b) for a, b in zip(window, TAPS_Q15, strict=True)) + 16384) >> 15


@given(st.lists(st.integers(0, 700), max_size=8), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_pieces_give_the_same_as_the_whole(sizes, start):
    x = np.random.default_rng(start).integers(-32768, 32768, sum(sizes)).astype(np.int32)
    first, whole = decimate(x, start)
    d, parts, at, begin = Decimator(), [], 0, None
    for size in sizes:
        m, out = d.push(start + at, pcm(x[at : at + size]))
        if len(out):
            begin = m if begin is None else begin
            parts.append(out)
        at += size
    got = np.concatenate(parts) if parts else np.empty(0, np.int32)
    assert (got == whole).all()
    assert len(got) == len(whole)
    assert begin in (None, first)


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
    first, out = decimate(x, at, ratio(fs_hz))
    assert len(out) > 1900
    assert np.abs(out - 20000 * np.sin(2 * np.pi * 700 * (first + np.arange(len(out))) / 4000)).max() < 12


@pytest.mark.parametrize("fs_hz", [44_100, 48_000])
def test_other_rates_are_cut_freely_too(fs_hz):
    x = np.random.default_rng(fs_hz).integers(-32768, 32768, 9000).astype(np.int32)
    first, whole = decimate(x, 77, ratio(fs_hz))
    d = Decimator(fs_hz)
    pieces = [d.push(77 + at, pcm(x[at : at + 613])) for at in range(0, 9000, 613)]
    assert next(m for m, out in pieces if len(out)) == first
    assert (np.concatenate([out for _, out in pieces]) == whole).all()


def test_another_rate_is_refused():
    with pytest.raises(ValueError, match="8000 Hz"):
        Decimator(8000)


@pytest.mark.parametrize("jump", [1, 4, 100, 5000])
def test_after_a_jump_only_whole_windows_count(jump):
    x = np.random.default_rng(jump).integers(-9000, 9000, 4000).astype(np.int32)
    d = Decimator()
    d.push(0, pcm(x[:1000]))
    first, out = d.push(1000 + jump, pcm(x[1000:2000]))
    expected_first, expected = decimate(x[1000:2000], 1000 + jump)
    assert first == expected_first
    assert (out == expected).all()
