"""What the stethoscope's mask sees of a sound: levels, minima, the beat before and what is shorter than a frame."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from agent.dsp.trailing import windows
from agent.dsp.transforms import Spectra, irfft
from agent.model import Floats

FS_HZ = 4000.0
FRAME = 256
HOP = 64
WINDOW: Floats = np.sin(np.pi * np.arange(FRAME) / FRAME)  # root of a Hann window, for analysis and synthesis
FRAMES_HZ = FS_HZ / HOP
BINS = FRAME // 2 + 1
BIN_HZ = FS_HZ / FRAME
BANDS = 73
SINGLE = 40  # bands of one bin each, up to 625 Hz
RISE = 0.25 / FRAMES_HZ  # of the tracked minimum, 2.5 dB a second
STARTING = 12  # frames in which it follows upwards too: the first hold little sound
LOW_BANDS = 4  # 16-47, 47-94, 94-156 and 156-250 Hz
SHORTEST, LONGEST = 20, 125  # frames between heart beats: 188 to 30 a minute
STRAY, FURTHEST = 1 / 30, 4  # of a beat, by which the next comes early or late as a rule; frames at most
AROUND = np.arange(-FURTHEST, FURTHEST + 1)[:, None]
GROUP_STARTS = np.arange(0, BANDS, 4)[:18]
GROUP_SIZES = np.diff(np.append(GROUP_STARTS, BANDS))
GROUPS = len(GROUP_STARTS)
USUAL_KEPT = np.repeat([0.0, 0.7], GROUPS)  # by each beat; nothing of what was heard, 0.7 of what is usual
PIECE = 16  # samples: 4 ms, as short as a crackle
PIECES = slice(2, FRAME // PIECE - 2)  # of a frame; the window leaves next to nothing of the outer ones
PIECE_WINDOW = (WINDOW**2).reshape(-1, PIECE).sum(axis=1)[PIECES]
PIECE_MEAN = np.full((len(PIECE_WINDOW), len(PIECE_WINDOW)), 1 / len(PIECE_WINDOW))
ABOVE_BINS = np.arange(BINS) >= np.array([[3], [16]])  # 47 and 250 Hz
FEATURES = 2 * BANDS + 2 * GROUPS + 1 + len(ABOVE_BINS) * len(PIECE_WINDOW)
TINY = 1e-9


def kept_over(time_s: float) -> float:
    """What a running sum over about so long keeps of itself from frame to frame."""
    return 1 - 1 / (time_s * FRAMES_HZ)


LEVEL, SMOOTH, BEATS = kept_over(2.0), kept_over(0.1), kept_over(3.0)


def summed(x: Floats, kept: float, before: Floats) -> Floats:
    """Turn frames into the running sum after each of them, in place; give the last one for the next frames."""
    for now in x:  # of a few frames lfilter takes longer
        before = np.add(now, kept * before, out=now)
    return before


def band_matrix() -> Floats:
    """Mean power per band from power per bin, shape (129, 73): single bins, then 33 bands of constant ratio."""
    upper = np.geomspace(SINGLE + 1, BINS, BANDS - SINGLE + 1).round().astype(int)
    edges = [*range(1, SINGLE + 1), *upper.tolist()]
    matrix = np.zeros((BINS, BANDS))
    for i, (low, high) in enumerate(pairwise(edges)):
        matrix[low:high, i] = 1 / (high - low)
    matrix[0, 0] = 1.0
    return matrix


def low_matrix() -> Floats:
    """Mean power of the four low bands that heart beats are looked for in, shape (129, 4)."""
    matrix = np.zeros((BINS, LOW_BANDS))
    for i, (low, high) in enumerate(pairwise((1, 3, 6, 10, 16))):
        matrix[low:high, i] = 1 / (high - low)
    return matrix


def means_matrix() -> Floats:
    """From log powers of bands, shape (73, 1 + 2 groups): their mean, then the mean of each group, twice."""
    groups = np.add.reduceat(np.eye(BANDS), GROUP_STARTS, axis=1) / GROUP_SIZES
    return np.concatenate([np.full((BANDS, 1), 1 / BANDS), groups, groups], axis=1)


class Features:
    """What the network sees of a frame, shape (frames, n, 207) for n sounds side by side, whatever their loudness.

    In units of 10 dB: log band powers minus their running mean over all bands and 2 s; minus each band's own tracked
    minimum, which follows downwards at once and upwards by 2.5 dB a second; the band powers in 18 groups about one
    heart beat ago (the largest within a 30th of a beat), and what they usually are at this place of the beat (their
    running mean over beats, 0.3 of it the newest; the largest alike);
    how regular the sound is (0..1); and how each 4 ms of the frame stand out of it, above 47 and above 250 Hz, for what
    is shorter than the frame. A beat is the lag (0.32 to 2 s) of the largest autocorrelation of four compressed
    low-frequency envelopes over about 3 s.
    """

    def __init__(self, n: int = 1) -> None:
        # Powers of bands and of low bands, and a 1 to count frames by.
        self._bands = np.concatenate([band_matrix(), low_matrix(), np.zeros((BINS, 1))], axis=1)
        self._added = np.append(np.full(BANDS + LOW_BANDS, TINY), 1.0)
        self._means = means_matrix()
        self._frames = 0
        self._levels: Floats = np.zeros((n, 1 + LOW_BANDS + 1))  # running sums: of levels, envelopes and frames
        self._correlation: Floats = np.zeros((n, LONGEST + 1))
        self._smooth: Floats | None = None
        self._minimum: Floats = np.full((n, BANDS), np.inf)
        self._envelopes: Floats = np.zeros((n, LOW_BANDS, LONGEST))  # of the frames before
        # Of the sounds in the frames before, one after the other: what was heard, and what was usual.
        self._groups: Floats = np.zeros(((LONGEST + FURTHEST) * n, 2 * GROUPS))

    def of(self, spectra: Spectra) -> Floats:
        """Take the next frames of each sound, (frames, n, 129)."""
        power = (spectra.real**2 + spectra.imag**2) @ self._bands + self._added
        x, low = np.log10(power[..., :BANDS]), np.sqrt(np.sqrt(power[..., BANDS:]))
        means = x @ self._means
        levels = np.concatenate([means[..., :1], low], axis=-1)
        self._levels = summed(levels, LEVEL, self._levels)
        levels = levels[..., :-1] / levels[..., -1:]
        level = levels[..., :1]
        beat, regular = self._beat(low[..., :-1] / levels[..., 1:] - 1)
        echoes = self._echoes(means[..., 1:] - level, beat)
        above = x - self._least(x)
        self._frames += len(x)
        return np.concatenate([x - level, above, echoes, regular, bursts(spectra)], axis=-1)

    def _least(self, x: Floats) -> Floats:
        """Follow each band's minimum."""
        least = (1 - SMOOTH) * x
        smooth = x[0] if self._smooth is None else self._smooth
        for number, now in enumerate(least, self._frames):
            smooth = now + SMOOTH * smooth
            most = self._minimum + RISE if number >= STARTING else np.inf
            self._minimum = np.minimum(smooth, most, out=now)
        self._smooth = smooth
        return least

    def _beat(self, e: Floats) -> tuple[NDArray[np.intp], Floats]:
        """Follow the envelopes' autocorrelation; give the best lag and its share of the whole.

        The lag is told by its place among the candidates, the longest being the first.
        """
        past = np.concatenate([self._envelopes, e.transpose(1, 2, 0)], axis=2)
        self._envelopes = past[..., len(e) :]
        lagged = windows(past, LONGEST + 1).transpose(2, 0, 1, 3)  # (frames, n, bands, lags), longest lag first
        products = (e[:, :, None, :] @ lagged)[:, :, 0]
        self._correlation = summed(products, BEATS, self._correlation)
        candidates = products[..., : LONGEST + 1 - SHORTEST]
        most = np.maximum.reduce(candidates, axis=-1, keepdims=True, initial=0.0)
        return candidates.argmax(axis=-1), most / np.maximum(products[..., -1:], TINY)

    def _echoes(self, groups: Floats, beat: NDArray[np.intp]) -> Floats:
        """Give what was loudest about one beat ago, and of what is usual at this place of the beat.

        About: as many frames before and after as a beat may stray, one at least.
        """
        past, n = np.concatenate([self._groups, groups.reshape(-1, groups.shape[-1])]), groups.shape[1]
        reach = np.clip(np.rint((LONGEST - beat) * STRAY), 1, FURTHEST).astype(np.intp)[:, None]
        around = np.clip(AROUND, -reach, reach)  # the outermost again where it reaches less far
        places = n * (FURTHEST + beat[:, None] + around) + np.arange(n)
        echoes = np.empty_like(groups)
        for i, echo in enumerate(echoes):  # a beat is longer than a block may be: one frame at a time
            before = past[n * i :].take(places[i], axis=0)
            np.maximum.reduce(before, axis=0, out=echo)
            now = past[n * (i + LONGEST + FURTHEST) : n * (i + LONGEST + FURTHEST + 1)]
            now += USUAL_KEPT * (before[FURTHEST] - now)
        self._groups = past[n * len(groups) :]
        return echoes


def pieces(spectra: Spectra) -> Floats:
    """Power of the inner 4 ms pieces of each frame, shape (..., 12)."""
    sound = irfft(spectra).reshape(*spectra.shape[:-1], -1, PIECE)
    power: Floats = np.vecdot(sound, sound)[..., PIECES] / PIECE_WINDOW + TINY / FRAME
    return power


def bursts(spectra: Spectra) -> Floats:
    """Loudness of each piece against the mean of its frame, above 47 and above 250 Hz, in 10 dB, (frames, n, 24)."""
    power = pieces(spectra[..., None, :] * ABOVE_BINS)
    loudness: Floats = np.log10(power / (power @ PIECE_MEAN))
    return loudness.reshape(*spectra.shape[:-1], -1)
