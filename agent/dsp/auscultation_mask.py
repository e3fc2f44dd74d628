"""Which frequency bins of a stethoscope's sound to keep: gains within 0..1 from short-time spectra."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from agent.model import Floats

Spectra = NDArray[np.complex128]
BINS = 129
BIN_HZ = 15.625
PASS_HZ = {"heart": (20.0, 400.0), "lung": (60.0, 1600.0), "wide": (20.0, 1600.0)}
FLOOR = 10 ** (-8 / 20)


class Mask(Protocol):
    """Turns spectra (hops, 129) of 64 ms frames every 16 ms into as many gains; keeps state between calls."""

    @property
    def trained(self) -> bool:
        """Whether this is the trained mask; otherwise it is the fallback, and must be said to be."""

    def gains(self, spectra: Spectra) -> Floats:
        """Give the gains of the next frames."""

    def reset(self) -> None:
        """Forget everything."""


class ClassicalMask:
    """A band per mode and, within it, spectral subtraction against a tracked minimum, never below -8 dB.

    Minimum tracking by continuous spectral minima (Doblinger, Eurospeech 1995). Known weakness: speech, rubbing
    and every other sound that comes and goes passes.
    """

    trained = False

    def __init__(self, mode: str) -> None:
        low, high = PASS_HZ[mode]
        f = np.arange(BINS) * BIN_HZ
        octaves = np.maximum(np.log2(low / np.maximum(f, 1.0)), np.log2(np.maximum(f, 1.0) / high))
        self._band = 10 ** (-12 * np.maximum(octaves, 0.0) / 20)  # 12 dB per octave outside the band
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._power: Floats | None = None
        self._floor = np.zeros(BINS)

    def gains(self, spectra: Spectra) -> Floats:
        """Give the gains of the next frames."""
        out = np.empty(spectra.shape)
        for i, frame in enumerate(np.abs(spectra) ** 2):
            if self._power is None:
                self._power = self._floor = frame
            before = self._power
            self._power = 0.6 * before + 0.4 * frame
            rising = 0.996 * self._floor + 0.06 * np.maximum(self._power - 0.94 * before, 0.0)
            self._floor = np.minimum(np.where(self._floor < self._power, rising, self._power), self._power)
            kept = 1 - self._floor / np.maximum(self._power, 1e-20)
            out[i] = self._band * np.maximum(np.sqrt(kept), FLOOR)
        return out
