"""Which frequency bins of a stethoscope's sound to keep: gains within 0..1 from short-time spectra."""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Protocol
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from agent.dsp.auscultation_features import BIN_HZ, BINS, FEATURES, Features
from agent.dsp.auscultation_trust import KNOWN, Trust
from agent.dsp.transforms import Spectra
from agent.model import Floats

Weights = dict[str, NDArray[np.float32]]
MODES = ("heart", "lung", "wide")
PASS_HZ = {"heart": (20.0, 400.0), "lung": (60.0, 1600.0), "wide": (20.0, 1600.0)}
FLOOR_DB = {"heart": -45.0, "wide": -12.0}  # nothing is lowered further, but what lies above any body; lungs: Trust
CAUTION = {"heart": 0.35, "lung": 1.05, "wide": 0.5}  # log odds: rather a little of the room than less of the body
ABOVE_BODY = np.clip((np.arange(BINS) * BIN_HZ - 700.0) / 300.0, 0, 1)  # nothing of a body from 1000 Hz on
ABOVE_BODY_DB = -30.0
NEPERS = np.log(10) / 20  # in a decibel
CLASSICAL_FLOOR = 10 ** (-4 / 20)
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


def floor_of(lowest_db: float | Floats) -> Floats:
    """Lowest gain of each bin, (..., 129): `lowest_db` to 700 Hz, straight in dB to at least -30 dB from 1000 Hz on.

    Above lie next to no body sounds, of crackles too, but much of what machines and hands do.
    """
    lowest = np.asarray(lowest_db, dtype=np.float64)[..., None]
    floor: Floats = np.exp(NEPERS * (lowest + ABOVE_BODY * (np.minimum(lowest, ABOVE_BODY_DB) - lowest)))
    return floor


class TrainedMask:
    """A dense layer of rectifiers, one gated recurrent unit (Cho 2014, in torch's form), 129 sigmoids that see both.

    The gains run from `floor_of` the mode's FLOOR_DB to 1; the mode's CAUTION is added to the log odds of each. For
    lungs Trust gives both the floor and further log odds, from frame to frame.

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
        self._floor = None if mode == "lung" else floor_of(FLOOR_DB[mode])
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._features = Features()
        self._trust = Trust()
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
        floor = self._floor
        if floor is None:
            odds, lowest_db = self._trust.of(spectra, (1 + np.tanh(opening[:, KNOWN].astype(np.float64))) / 2)
            opening += odds[:, None] / 2
            floor = floor_of(lowest_db)
        return 1 - (1 - floor) / 2 * (1 - np.tanh(opening).astype(np.float64))


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
