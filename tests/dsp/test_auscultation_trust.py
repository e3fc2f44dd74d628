"""When the mask of lung sounds is followed less: a voice or a crackle stands out, or it has kept little for long."""

import numpy as np
import pytest

from agent.dsp.auscultation_features import BINS, FRAME, FRAMES_HZ, WINDOW
from agent.dsp.auscultation_trust import DEEPEST_DB, KNOWN, LOUD_LOWEST_DB, ODDS, QUIET_LOWEST_DB, Trust

TWO_S = int(2 * FRAMES_HZ)
T_S = np.arange(FRAME) / 4000
NOTHING, ALL = (share * np.ones((4 * TWO_S, KNOWN.stop - KNOWN.start)) for share in (0.0, 1.0))


def steady(n):
    """Sound of `n` frames: white noise."""
    return 0.01 * np.random.default_rng(2).standard_normal((n, FRAME))


def spectra(sound):
    return np.fft.rfft(sound * WINDOW)


def a_voice(_rng=None):
    """Six harmonics of 180 Hz."""
    return 0.1 * sum(np.sin(2 * np.pi * 180 * k * T_S) / k for k in range(1, 7))


def a_crackle(_rng=None):
    """A cycle of 300 Hz, dying away within 4 ms."""
    since = T_S - 0.033
    return np.where(since > 0, 0.8 * np.exp(-np.maximum(since, 0) / 0.0012) * np.sin(2 * np.pi * 300 * since), 0)


def a_cough(rng):
    """Noise up to some 600 Hz."""
    shape = 1 / (1 + (np.fft.rfftfreq(FRAME, 1 / 4000) / 600) ** 4)
    return 0.3 * np.fft.irfft(np.fft.rfft(rng.standard_normal(FRAME)) * shape)


def a_scrape(rng):
    """The same within some 5 ms."""
    return a_cough(rng) * np.exp(-(((T_S - 0.032) / 0.0035) ** 2))


def nothing(_rng):
    return np.zeros(FRAME)


@pytest.mark.parametrize(
    ("sound", "least", "most", "lowest_db"),
    [
        (a_voice, 0.99, 1, LOUD_LOWEST_DB),
        (a_crackle, 0.99, 1, LOUD_LOWEST_DB),
        (a_cough, 0.6, 1, LOUD_LOWEST_DB),
        (a_scrape, 0, 0.4, LOUD_LOWEST_DB),  # stands out, but is less rough than a cough and longer than a crackle
        (nothing, 0, 0, DEEPEST_DB),
    ],
)
def test_voices_coughs_and_crackles_that_stand_out_are_let_through_more_than_scrapes(sound, least, most, lowest_db):
    """In a mask that has kept all for four seconds, and so may lower much; the mean of 40 such sounds."""
    x, rng, shares = steady(2 * TWO_S), np.random.default_rng(5), []
    for _ in range(40):
        odds, lowest = Trust().of(spectra(np.concatenate([x, [x[0] + sound(rng)]])), ALL[: 2 * TWO_S + 1])
        assert lowest[-1] == pytest.approx(lowest_db, abs=0.1)
        assert odds[TWO_S:-1].max() == 0
        shares.append(odds[-1] / ODDS)
    assert least <= np.mean(shares) <= most


def test_what_lasts_becomes_usual():
    x = steady(3 * TWO_S)
    x[TWO_S:] += a_voice()
    odds, _ = Trust().of(spectra(x), ALL[: 3 * TWO_S])
    assert odds[TWO_S] == ODDS
    assert odds[2 * TWO_S :].max() == 0


def test_a_mask_that_keeps_may_lower_much_one_that_keeps_nothing_little_and_it_takes_seconds_to_show():
    trust, n = Trust(), 2 * TWO_S
    _, closed = trust.of(spectra(steady(n)), NOTHING[:n])
    _, opening = trust.of(spectra(steady(n)), ALL[:n])
    assert closed.min() >= QUIET_LOWEST_DB[0] - 1e-9
    assert np.median(closed) == pytest.approx(QUIET_LOWEST_DB[1])
    assert opening[0] >= QUIET_LOWEST_DB[0] - 1e-9
    assert opening[-1] == pytest.approx(DEEPEST_DB)
    assert 0.5 * TWO_S < np.argmax(opening < DEEPEST_DB + 0.1) < 1.5 * TWO_S


@pytest.mark.parametrize("at_once", [1, 2, 7, 95])
def test_it_says_the_same_however_many_frames_come_at_once(at_once):
    n = 300
    x, kept = steady(n), np.random.default_rng(4).random((n, KNOWN.stop - KNOWN.start))
    x[::30] += a_voice()
    x[::50] += a_crackle()
    frames = spectra(x)
    whole, cut = Trust().of(frames, kept), Trust()
    pieces = [cut.of(frames[i : i + at_once], kept[i : i + at_once]) for i in range(0, n, at_once)]
    for part, together in zip(zip(*pieces, strict=True), whole, strict=True):
        assert np.array_equal(np.concatenate(part), together)


def test_silence_and_full_scale_are_numbers():
    for scale in (0.0, 1.0, 1e6):
        odds, lowest_db = Trust().of(scale * np.ones((50, BINS), complex), NOTHING[:50])
        assert np.isfinite([odds, lowest_db]).all()
