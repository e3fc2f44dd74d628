"""When the mask of lung sounds is followed less: something stands out, or it has kept nothing for long."""

import numpy as np
import pytest

from agent.dsp.auscultation_features import BINS, FRAMES_HZ
from agent.dsp.auscultation_trust import KNOWN, LOWEST_DB, ODDS, Trust

TWO_S = int(2 * FRAMES_HZ)
NOTHING, ALL = (share * np.ones((8 * TWO_S, KNOWN.stop - KNOWN.start)) for share in (0.0, 1.0))


def noise(n):
    return np.fft.rfft(0.01 * np.random.default_rng(2).standard_normal((n, 256)) * np.hanning(256))


def test_a_mask_that_keeps_may_lower_much_one_that_keeps_nothing_little_and_both_show_over_two_seconds():
    trust = Trust()
    _, closed = trust.of(noise(4 * TWO_S), NOTHING[: 4 * TWO_S])
    _, opening = trust.of(noise(4 * TWO_S), ALL[: 4 * TWO_S])
    assert (closed == LOWEST_DB[0]).all()
    assert opening[0] == LOWEST_DB[0]
    assert np.diff(opening).max() <= 0  # ever deeper
    reached = int(np.argmax(opening == LOWEST_DB[1]))
    assert 0.5 * TWO_S < reached < TWO_S


@pytest.mark.parametrize(
    ("louder_db", "opened"),
    [(0, "nothing"), (5, "nothing"), (40, "all")],
)
def test_a_short_sound_is_let_through_by_how_far_it_stands_out_of_what_is_usual(louder_db, opened):
    """8 ms of 300 Hz, `louder_db` above the noise of all frequencies around it."""
    rng = np.random.default_rng(3)
    x = 0.01 * rng.standard_normal((200, 256))
    t = np.arange(32) / 4000
    x[150, 112:144] += 0.01 * 10 ** (louder_db / 20) * np.sin(2 * np.pi * 300 * t)
    odds, _ = Trust().of(np.fft.rfft(x * np.hanning(256)), ALL[:200])
    assert odds[150] == {"nothing": ODDS[0], "all": ODDS[1]}[opened]
    assert odds[100:150].max() == ODDS[0]


def test_what_lies_outside_150_to_600_hz_does_not_stand_out():
    frames = noise(200)
    frames[150, :9] *= 100
    frames[150, 40:] *= 100
    odds, _ = Trust().of(frames, ALL[:200])
    assert odds[150] == ODDS[0]


def test_what_lasts_becomes_usual():
    frames = noise(4 * TWO_S)
    frames[TWO_S:] *= 30
    odds, _ = Trust().of(frames, ALL[: 4 * TWO_S])
    assert odds[TWO_S] == ODDS[1]
    assert odds[3 * TWO_S :].max() == ODDS[0]


@pytest.mark.parametrize("at_once", [1, 2, 7, 95])
def test_it_says_the_same_however_many_frames_come_at_once(at_once):
    n = 300
    frames, kept = noise(n), np.random.default_rng(4).random((n, KNOWN.stop - KNOWN.start))
    frames[::30] *= 10
    whole, cut = Trust().of(frames, kept), Trust()
    pieces = [cut.of(frames[i : i + at_once], kept[i : i + at_once]) for i in range(0, n, at_once)]
    for part, together in zip(zip(*pieces, strict=True), whole, strict=True):
        assert np.array_equal(np.concatenate(part), together)


def test_silence_is_nothing_that_stands_out():
    odds, lowest_db = Trust().of(np.zeros((50, BINS), complex), NOTHING[:50])
    assert (odds == ODDS[0]).all()
    assert np.isfinite(lowest_db).all()
