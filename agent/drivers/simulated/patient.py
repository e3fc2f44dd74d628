"""The simulated patient: recorded signals repeated without a seam, each sample with a little noise of its own."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agent.model import Samples

RECORDINGS = Path(__file__).parent / "recordings"
Floats = NDArray[np.float64]


def recording(name: str, fs_hz: float) -> Floats:
    """A recording without its mean, one repetition, resampled to `fs_hz` (periodic, so that no seam appears)."""
    with np.load(RECORDINGS / f"{name}.npz") as archive:
        samples, own_hz = archive["samples"].astype(np.float64), float(archive["fs_hz"])
    n = round(len(samples) * fs_hz / own_hz)
    spectrum = np.fft.rfft(samples - samples.mean())
    return np.fft.irfft(spectrum, n) * (n / len(samples))


class Signal:
    """One integer signal of the patient: `take(n)` gives the next samples."""

    def __init__(
        self, period: Floats, gain: float, offset: float, dither: int, limits: tuple[int, int], seed: int
    ) -> None:
        self._period = np.round(period * gain + offset).astype(np.int32)
        self._dither = dither
        self._limits = limits
        self._random = np.random.default_rng(seed)
        self._at = 0

    def take(self, n: int) -> Samples:
        """The next `n` samples."""
        places = (self._at + np.arange(n)) % len(self._period)
        self._at = (self._at + n) % len(self._period)
        noise = self._random.integers(-self._dither, self._dither + 1, n, dtype=np.int32)
        return np.asarray(np.clip(self._period[places] + noise, *self._limits), np.int32)


def breathing(fs_hz: float, seconds: float = 60.0, per_minute: int = 15) -> Floats:
    """A synthetic respiration wave between -1 and 1."""
    return np.asarray(np.sin(2 * np.pi * per_minute / 60 * np.arange(round(seconds * fs_hz)) / fs_hz))


def auscultation(fs_hz: float) -> Floats:
    """Heart sound, then lung sound, faded into each other."""
    parts = [recording("heart", fs_hz), recording("lung", fs_hz)]
    fade = round(0.05 * fs_hz)
    ramp = np.linspace(0, 1, fade)
    for part in parts:
        part[:fade] *= ramp
        part[-fade:] *= ramp[::-1]
    return np.concatenate(parts)
