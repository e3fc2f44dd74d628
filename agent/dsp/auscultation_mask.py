"""Which frequency bins of a stethoscope's sound to keep: gains within 0..1 from short-time spectra."""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from itertools import pairwise
from typing import Protocol
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from agent.dsp.trailing import windows
from agent.dsp.transforms import Spectra, irfft
from agent.model import Floats

Weights = dict[str, NDArray[np.float32]]
FS_HZ = 4000.0
FRAME = 256
HOP = 64
WINDOW: Floats = np.sin(np.pi * np.arange(FRAME) / FRAME)  # root of a Hann window, for analysis and synthesis
FRAMES_HZ = FS_HZ / HOP
BINS = FRAME // 2 + 1
BIN_HZ = FS_HZ / FRAME
BANDS = 73
SINGLE = 40  # bands of one bin each, up to 625 Hz
MODES = ("heart", "lung", "wide")
PASS_HZ = {"heart": (20.0, 400.0), "lung": (60.0, 1600.0), "wide": (20.0, 1600.0)}
FLOOR_DB = {"heart": -45.0, "lung": -2.5, "wide": -12.0}  # nothing is lowered further, but what lies above any body
CAUTION = {"heart": 0.35, "lung": 1.5, "wide": 0.5}  # log odds: rather a little of the room than less of the body
BODY_HZ, ABOVE_BODY_HZ, ABOVE_BODY_DB = 700.0, 1000.0, -30.0
CLASSICAL_FLOOR = 10 ** (-4 / 20)
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
WEIGHTS = ("dense_w", "dense_b", "input_w", "input_b", "state_w", "state_b", "gain_w", "gain_b")


class Mask(Protocol):
    """Turns the spectra (n, 129) of n 64 ms frames, 62.5 a second, into as many gains; keeps state between calls."""

    @property
    def trained(self) -> bool:
        """Whether this is the trained mask; otherwise it is the fallback, and must be said to be."""

    def gains(self, spectra: Spectra) -> Floats:
        """Give the gains of the next frames."""

    def reset(self) -> None:
        """Forget everything."""


def floor_of(lowest_db: float) -> Floats:
    """Lowest gain of each bin, shape (129,): `lowest_db` to 700 Hz, straight in dB to at least -30 dB from 1000 Hz on.

    Above lie next to no body sounds, of crackles too, but much of what machines and hands do.
    """
    ends_db = lowest_db, min(lowest_db, ABOVE_BODY_DB)
    floor: Floats = 10 ** (np.interp(np.arange(BINS) * BIN_HZ, (BODY_HZ, ABOVE_BODY_HZ), ends_db) / 20)
    return floor


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


def bursts(spectra: Spectra) -> Floats:
    """Loudness of the inner 4 ms pieces of each frame against their mean, in units of 10 dB, (frames, n, 24)."""
    pieces = irfft(spectra[..., None, :] * ABOVE_BINS).reshape(*spectra.shape[:-1], len(ABOVE_BINS), -1, PIECE)
    power = np.vecdot(pieces, pieces)[..., PIECES] / PIECE_WINDOW + TINY / FRAME
    loudness: Floats = np.log10(power / (power @ PIECE_MEAN))
    return loudness.reshape(*spectra.shape[:-1], -1)


class TrainedMask:
    """A dense layer of rectifiers, one gated recurrent unit (Cho 2014, in torch's form), 129 sigmoids that see both.

    The gains run from `floor_of` the mode's FLOOR_DB to 1; the mode's CAUTION is added to the log odds of each.

    `weights`: dense_w (units, 207 + 3), dense_b, input_w (3 units, units), input_b, state_w (3 units, units),
    state_b (gates in the order reset, update, new), gain_w (129, 2 units: for the state, then for the dense layer),
    gain_b.
    """

    trained = True

    def __init__(self, mode: str, weights: Weights) -> None:
        one_hot = np.array([m == mode for m in MODES], dtype=np.float32)
        dense = weights["dense_w"]
        self._dense_w = np.ascontiguousarray(dense[:, : -len(MODES)])
        self._dense_b = weights["dense_b"] + dense[:, -len(MODES) :] @ one_hot
        gain_of_state, gain_of_hidden = np.split(weights["gain_w"], 2, axis=1)
        n = gain_of_state.shape[1]
        # Of two gates and the gains only tanh(x / 2) is taken: their sigmoid is (1 + tanh(x / 2)) / 2.
        halves = np.repeat(np.array([0.5, 1.0, 0.5], dtype=np.float32), (2 * n, n, BINS))
        self._hidden_w = halves[:, None] * np.concatenate([weights["input_w"], gain_of_hidden])
        self._hidden_b = halves * np.concatenate([weights["input_b"], weights["gain_b"] + np.float32(CAUTION[mode])])
        self._state_w = halves[:, None] * np.concatenate([weights["state_w"], gain_of_state])
        self._state_b = halves * np.concatenate([weights["state_b"], np.zeros_like(weights["gain_b"])])
        self._half_range = (1 - floor_of(FLOOR_DB[mode])) / 2
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._features = Features()
        self._state: NDArray[np.float32] = np.zeros(self._state_w.shape[1], dtype=np.float32)
        self._staying = self._state_b  # what the state gives to the next frame's gates and gave to this one's gains

    def gains(self, spectra: Spectra) -> Floats:
        """Give the gains of the next frames; rounded alike however many come at once."""
        n = len(self._state)
        seen = self._features.of(spectra[:, None])[:, 0].astype(np.float32)
        # A product for each frame: one for all would round by how many they are.
        hidden = np.maximum(np.matvec(self._dense_w, seen) + self._dense_b, 0)
        entering = np.matvec(self._hidden_w, hidden) + self._hidden_b
        opening = np.empty((len(spectra), BINS), dtype=np.float32)
        for enters, opens in zip(entering, opening, strict=True):
            staying = self._staying
            gates = 0.5 * np.tanh(enters[: 2 * n] + staying[: 2 * n]) + 0.5
            new = np.tanh(enters[2 * n : 3 * n] + gates[:n] * staying[2 * n : 3 * n])
            self._state = new + gates[n:] * (self._state - new)
            self._staying = self._state_w @ self._state + self._state_b
            np.add(enters[3 * n :], self._staying[3 * n :], out=opens)
        return 1 - self._half_range * (1 - np.tanh(opening).astype(np.float64))


class ClassicalMask:
    """A band per mode and, within it, spectral subtraction against a tracked minimum, never below -4 dB.

    Minimum tracking by continuous spectral minima (Doblinger, Eurospeech 1995). Known weakness: speech, rubbing
    and every other sound that comes and goes passes.
    """

    trained = False

    def __init__(self, mode: str) -> None:
        low, high = PASS_HZ[mode]
        f = np.maximum(np.arange(BINS) * BIN_HZ, 1.0)
        octaves_outside = np.maximum(np.maximum(np.log2(low / f), np.log2(f / high)), 0.0)
        self._band = 10 ** (-12 * octaves_outside / 20)  # 12 dB per octave
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._power: Floats | None = None
        self._minimum = np.zeros(BINS)

    def gains(self, spectra: Spectra) -> Floats:
        """Give the gains of the next frames."""
        return np.array([self._next(now) for now in np.abs(spectra) ** 2]).reshape(-1, BINS)

    def _next(self, now: Floats) -> Floats:
        if self._power is None:
            self._power = self._minimum = now
        before, self._power = self._power, 0.6 * self._power + 0.4 * now
        rising = 0.996 * self._minimum + 0.06 * np.maximum(self._power - 0.94 * before, 0.0)
        self._minimum = np.minimum(np.where(self._minimum < self._power, rising, self._power), self._power)
        kept = 1 - self._minimum / np.maximum(self._power, 1e-20)
        return np.asarray(self._band * np.maximum(np.sqrt(kept), CLASSICAL_FLOOR))


def unpacked(stored: Mapping[str, NDArray[np.integer | np.floating]]) -> Weights:
    """Weights as TrainedMask takes them from whole numbers and the size of their steps, one per row."""
    return {name: (stored[name] * stored[f"{name}_step"]).astype(np.float32) for name in WEIGHTS}


@cache
def packaged_weights() -> Weights | None:
    """Give the trained weights that ship with the package, or None when they are missing or damaged."""
    try:
        with files("agent.dsp").joinpath("weights", "auscultation.npz").open("rb") as file:
            weights = unpacked(np.load(file))
            units, seen = weights["dense_w"].shape
            return weights if seen == FEATURES + len(MODES) and weights["gain_w"].shape == (BINS, 2 * units) else None
    except (OSError, EOFError, ValueError, KeyError, AttributeError, BadZipFile):
        return None


def mask_for(mode: str) -> Mask:
    """Give the trained mask, or the classical one when there are no weights."""
    weights = packaged_weights()
    return ClassicalMask(mode) if weights is None else TrainedMask(mode, weights)
