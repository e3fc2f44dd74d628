"""What the stethoscope's mask sees of a sound: whatever its loudness, however it is cut."""

import numpy as np
import pytest

from agent.dsp.auscultation_features import FEATURES, WINDOW, Features


def loud_now_and_then():
    """400 frames of white noise, every fiftieth with a loud low sound."""
    rng = np.random.default_rng(6)
    frames = np.fft.rfft(rng.standard_normal((400, 256)))
    frames[::50, 2:6] *= 30
    return frames


def features_of(frames):
    return Features().of(frames[:, None])[:, 0]


@pytest.mark.parametrize("at_once", [1, 7, 95, 200])
def test_features_are_the_same_however_many_frames_come_at_once(at_once):
    frames, stage = loud_now_and_then(), Features()
    pieces = [frames[i : i + at_once] for i in range(0, 400, at_once)]
    assert np.abs(np.concatenate([stage.of(p[:, None])[:, 0] for p in pieces]) - features_of(frames)).max() < 1e-9


def test_features_do_not_depend_on_loudness_and_follow_the_minimum():
    rng = np.random.default_rng(4)
    frames = np.fft.rfft(rng.standard_normal((80, 256)))
    frames[40:] *= 10
    seen = features_of(frames)
    assert seen.shape == (80, FEATURES)
    assert np.abs(seen - features_of(30 * frames)).max() < 1e-6
    minimum = slice(73, 146)
    assert seen[40:, minimum].mean() > seen[30:40, minimum].mean() + 1.5  # a burst stands out of the tracked minimum


def test_features_show_what_is_shorter_than_a_frame():
    """A click of 1 ms in steady noise stands out in its own 4 ms, by far; noise alone nowhere by as much."""
    x = 0.01 * np.random.default_rng(8).standard_normal(256)
    clicked = x.copy()
    clicked[100:104] += (0.5, -0.5, 0.5, -0.5)
    with_click, without = (features_of(np.fft.rfft(WINDOW * v)[None])[0, 183:].reshape(2, 12) for v in (clicked, x))
    assert (with_click.argmax(axis=1) == 100 // 16 - 2).all()
    assert with_click.max(axis=1).min() > 1
    assert without.max() < 0.6


def test_features_show_the_beat_before_and_the_usual_one():
    """Sound in one band every 70 frames, one beat left out: a beat later it is missed, and still known to be usual."""
    rng = np.random.default_rng(5)
    frames = np.fft.rfft(rng.standard_normal((560, 256)))
    frames[:420:70, 2:6] *= 30
    frames[490::70, 2:6] *= 30
    seen = features_of(frames)
    echo, usual, regular = seen[:, 146], seen[:, 164], seen[:, 182]
    on, after_the_missing, off = [280, 350, 420], 490, slice(315, None, 70)
    assert min(echo[on].min(), usual[on].min()) > max(echo[off].max(), usual[off].max()) + 1
    assert echo[after_the_missing] < echo[on].min() - 1 < usual[after_the_missing]
    assert regular[200:].mean() > 0.5 > features_of(np.fft.rfft(rng.standard_normal((400, 256))))[200:, 182].mean()


@pytest.mark.parametrize(
    ("beat", "late", "seen"), [(100, 3, True), (100, -3, True), (100, 5, False), (40, 1, True), (40, 3, False)]
)
def test_a_beat_that_strays_by_a_30th_is_still_seen_to_be_one(beat, late, seen):
    """After beats as regular as a clock: what was heard a beat before it stands out, or not."""
    frames = np.fft.rfft(np.random.default_rng(6).standard_normal((9 * beat, 256)))
    at = beat * np.arange(8)
    at[-1] += late
    frames[at, 2:6] *= 30
    echo = features_of(frames)[at, 146]
    assert echo[4:7].min() > 1.5
    assert (echo[7] > 1.5) == seen
