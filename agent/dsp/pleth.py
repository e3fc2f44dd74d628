"""The pleth: smoothing for the screen, and pulses with their rate.

First plain version: the interface is final, the algorithms are not.
"""

import math
from collections import deque

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import signal

from agent.dsp.stream import as_samples, check_rate
from agent.model import NoValue, Pulse, Rate, StageEvent

Floats = NDArray[np.float64]


class PlethSmoother:
    """Causal low-pass of the pleth for screens: (n,) in, (n,) out, same unit, missing samples held."""

    def __init__(self, fs_hz: float) -> None:
        self.fs_hz = check_rate(fs_hz, 25.0, 1000.0)
        self._sos = signal.butter(2, min(8.0, 0.4 * self.fs_hz), fs=self.fs_hz, output="sos")
        self.reset()

    @property
    def delay_s(self) -> float:
        """Group delay in the pulse band."""
        return 0.0287

    def push(self, block: ArrayLike) -> Floats:
        """Smooth the next samples; NaN is held."""
        x = as_samples(block).copy()
        if not x.size:
            return x
        missing = ~np.isfinite(x)
        if missing.any():
            last = np.maximum.accumulate(np.where(missing, -1, np.arange(x.size)))
            x = np.where(last < 0, self._last, x[last])
            x = np.nan_to_num(x, nan=0.0)
        if self._z is None:
            self._z = signal.sosfilt_zi(self._sos) * x[0]
        y, self._z = signal.sosfilt(self._sos, x, zi=self._z)
        self._last = float(x[-1])
        return np.asarray(y, dtype=np.float64)

    def gap(self, n: int) -> None:
        """Skip `n` lost samples: the filter restarts at the next one."""
        if n > 0:
            self._z = None

    def reset(self) -> None:
        """Forget everything."""
        self._z: Floats | None = None
        self._last = math.nan

    def events(self) -> list[StageEvent]:
        """Nothing happens in a smoother."""
        return []


class PulseDetector:
    """Pulses of a pleth of any gain and offset: (n,) in, the pulses completed by it out."""

    def __init__(self, fs_hz: float) -> None:
        self.fs_hz = check_rate(fs_hz, 25.0, 1000.0)
        self._sos = signal.butter(2, [0.5, 5.0], btype="band", fs=self.fs_hz, output="sos")
        self._wing = int(0.25 * self.fs_hz)
        self.reset()

    @property
    def delay_s(self) -> float:
        """From a pulse's upslope to its being told."""
        return 0.3

    def push(self, block: ArrayLike) -> list[Pulse]:
        """Take samples, give the pulses they complete."""
        x = as_samples(block)
        if not x.size:
            return []
        x = np.where(np.isfinite(x), x, self._last if math.isfinite(self._last) else 0.0)
        if not self._started:
            self._first, self._started = float(x[0]), True
        self._last = float(x[-1])
        y, self._z = signal.sosfilt(self._sos, x - self._first, zi=self._z)
        self._y = np.concatenate((self._y, y))
        self._n += x.size
        return self._scan()

    def _scan(self) -> list[Pulse]:
        slope = np.diff(self._y)
        w = self._wing
        found: list[Pulse] = []
        if slope.size <= 2 * w:
            return found
        start = self._n - self._y.size
        windows = np.lib.stride_tricks.sliding_window_view(slope, 2 * w + 1).max(axis=1)
        for i in np.flatnonzero((slope[w:-w] == windows) & (windows > 0)) + w:
            height = float(slope[i])
            level = float(np.median(self._heights)) if self._heights else 0.0
            self._heights.append(height)
            if height < 0.4 * level:
                continue
            t = (start + i + 0.5) / self.fs_hz
            self._times.append(t)
            found.append(Pulse(t))
        self._y = self._y[-(2 * w + 1) :] if slope.size > 2 * w else self._y
        while self._times and self._times[0] < self._n / self.fs_hz - 60.0:
            self._times.popleft()
        return found

    def finish(self) -> list[Pulse]:
        """No more samples will come: give what was held back."""
        return []

    def rate(self) -> Rate:
        """Pulse rate over the last 10 s."""
        now = self._n / self.fs_hz
        return self.rate_between(now - 10.0, now)

    def rate_between(self, t0_s: float, t1_s: float) -> Rate:
        """Pulse rate of [t0_s, t1_s), within the last 60 s."""
        times = [t for t in self._times if t0_s <= t < t1_s]
        if len(times) < 3:
            return Rate(None, NoValue.NO_BEATS)
        return Rate(60.0 * (len(times) - 1) / (times[-1] - times[0]))

    def gap(self, n: int) -> None:
        """Skip `n` lost samples."""
        if n > 0:
            self._n += n
            self._y = np.zeros(0)
            self._z = np.zeros((self._sos.shape[0], 2))
            self._started = False

    def reset(self) -> None:
        """Forget everything."""
        self._n = 0
        self._y: Floats = np.zeros(0)
        self._z: Floats = np.zeros((self._sos.shape[0], 2))
        self._started = False
        self._first = 0.0
        self._last = math.nan
        self._heights: deque[float] = deque(maxlen=8)
        self._times: deque[float] = deque()

    def events(self) -> list[StageEvent]:
        """Take what happened since the last call."""
        return []
