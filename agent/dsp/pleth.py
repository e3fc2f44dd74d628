"""The pleth for screens: smoothed as far as its noise asks, 31 ms late. The pulses are in pulses.py."""

import math
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg, signal

from agent.dsp.filters import filtered
from agent.dsp.pulses import PulseDetector
from agent.dsp.stream import as_samples, check_rate
from agent.model import StageEvent

__all__ = ["PlethSmoother", "PulseDetector"]

Floats = NDArray[np.float64]

DELAY_S: Final = 0.0312
SPAN_S: Final = 0.32
# Power density of an average pleth of peak-to-peak 1 (BIDMC, 35 patients): flat to the pulse's fundamental, then
# falling as a power of the frequency. Per Hz.
FLAT, CORNER_HZ, FALL, TOP_HZ = 0.05, 2.2, 5.2, 25.0
WIDE_NOISE, NARROW_NOISE = 0.025, 0.15  # RMS against the peak-to-peak the two filters are made for
NOISE_HZ: Final = 15.0
NOISE_MEMORY_S: Final = 2.0
DETAIL_S: Final = 0.024
CAUTION: Final = 1.5  # a detail counts as signal from this many times its noise


@lru_cache(maxsize=16)
def _optimal(fs_hz: float, noise: float) -> Floats:
    """Taps of the filter with the least mean-square error DELAY_S late, for the average pleth in white noise.

    Wiener's filter by its normal equations, with the sum of the taps held at 1 (Lagrange) so that the level stays.
    """
    n = math.ceil(SPAN_S * fs_hz)
    f = np.linspace(0.0, TOP_HZ, 2000)
    density = FLAT / (1.0 + (f / CORNER_HZ) ** FALL)

    def correlation(lag_s: Floats) -> Floats:
        return np.asarray(np.cos(2 * np.pi * np.outer(lag_s, f)) @ density * (f[1] - f[0]))

    lag_s = np.arange(n) / fs_hz
    column = correlation(lag_s)
    column[0] += noise**2
    taps, ones = linalg.solve_toeplitz(column, np.stack((correlation(DELAY_S - lag_s), np.ones(n)), axis=1)).T
    return np.asarray(taps + ones * (1.0 - taps.sum()) / ones.sum())


class PlethSmoother:
    """Causal smoothing of a pleth: (n,) in any unit in, (n,) in the same unit out, DELAY_S late.

    Two Wiener filters of the same delay run side by side, a wide one and a narrow one. Their difference, the detail
    (upslope, notch, and noise), is let through as far as it exceeds what the noise above 15 Hz makes expect: a clean
    wave keeps its notch, a noisy one becomes smooth. Missing samples (NaN) are held.
    """

    def __init__(self, fs_hz: float) -> None:
        self.fs_hz = check_rate(fs_hz, 40.0, 1000.0)
        self._wide, self._narrow = _optimal(self.fs_hz, WIDE_NOISE), _optimal(self.fs_hz, NARROW_NOISE)
        self._high = signal.butter(2, min(NOISE_HZ, 0.36 * self.fs_hz), btype="high", fs=self.fs_hz)
        impulse = np.zeros(round(4 * self.fs_hz))
        impulse[0] = 1.0
        above = float(np.sum(signal.lfilter(*self._high, impulse) ** 2))
        self._share = CAUTION**2 * float(np.sum((self._wide - self._narrow) ** 2)) / above
        memory = 1.0 / (NOISE_MEMORY_S * self.fs_hz)
        self._memory = np.array([memory]), np.array([1.0, memory - 1.0])
        n = max(1, round(DETAIL_S * self.fs_hz))
        self._mean = np.full(n, 1.0 / n)
        self.reset()

    @property
    def delay_s(self) -> float:
        """By design, the same at every frequency of the pulse."""
        return DELAY_S

    def reset(self) -> None:
        """Forget everything; the next sample is index 0."""
        self._last = math.nan
        self._start()

    def _start(self) -> None:
        self._level: float | None = None
        self._past = np.zeros(self._wide.size - 1)
        self._past_power = np.zeros(self._mean.size - 1)
        self._z_high = np.zeros(2)
        self._z_noise = np.zeros(1)

    def gap(self, n: int) -> None:
        """Skip `n` lost samples: the filters start anew at the next one, without a transient."""
        if n > 0:
            self._start()

    def events(self) -> list[StageEvent]:
        """Nothing is told here."""
        return []

    def push(self, block: ArrayLike) -> Floats:
        """Smooth the next samples."""
        x = as_samples(block)
        if not x.size:
            return x.copy()
        x = self._without_nan(x)
        if self._level is None:
            self._level = float(x[0])
        x = x - self._level
        seen = np.concatenate((self._past, x))
        self._past = seen[x.size :]
        wide, narrow = np.convolve(seen, self._wide, "valid"), np.convolve(seen, self._narrow, "valid")
        high, self._z_high = filtered(self._high, x, self._z_high)
        noise, self._z_noise = filtered(self._memory, high**2, self._z_noise)
        detail = wide - narrow
        powers = np.concatenate((self._past_power, detail**2))
        self._past_power = powers[x.size :]
        power = np.convolve(powers, self._mean, "valid")
        through = np.divide(power, power + self._share * noise, out=np.ones_like(power), where=power > 0.0)
        return np.asarray(narrow + through * detail + self._level)

    def _without_nan(self, x: Floats) -> Floats:
        """Hold the last sample in place of missing ones; 0 before the first."""
        finite = np.isfinite(x)
        if not finite.all():
            last = np.maximum.accumulate(np.where(finite, np.arange(x.size), -1))
            x = np.where(last < 0, self._last if math.isfinite(self._last) else 0.0, x[last])
        self._last = float(x[-1])
        return x
