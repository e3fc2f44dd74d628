"""Signal quality: one number per stretch, 0 bad to 1 good, with the cause when it is bad.

`EcgQuality` judges an ECG lead every second; `PlethQuality` (pleth_quality.py) a pleth every 0.5 s.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agent.dsp.pleth_quality import PlethQuality as PlethQuality
from agent.dsp.stream import as_samples, check_rate
from agent.model import Cause, Quality, StageEvent


class EcgQuality:
    """Quality of one ECG lead (n,) in mV, every second."""

    def __init__(self, fs_hz: float) -> None:
        self.fs_hz = check_rate(fs_hz, 100.0, 2000.0)
        self.reset()

    @property
    def delay_s(self) -> float:
        """A second is judged when it is complete."""
        return 0.0

    def reset(self) -> None:
        """Forget everything; the next sample is index 0."""
        self._start = 0
        self._open = np.empty(0)

    def push(self, block: ArrayLike) -> list[Quality]:
        """Take samples; give the quality of each second they complete."""
        self._open = np.concatenate((self._open, as_samples(block)))
        second = round(self.fs_hz)
        out = []
        while self._open.size >= second:
            out.append(self._judge(self._open[:second]))
            self._open = self._open[second:]
            self._start += second
        return out

    def gap(self, n: int) -> None:
        """Skip `n` lost samples."""
        self._start += self._open.size + n
        self._open = np.empty(0)

    def events(self) -> list[StageEvent]:
        """Take what happened since the last call."""
        return []

    def _judge(self, x: NDArray[np.float64]) -> Quality:
        if not np.isfinite(x).all():
            return Quality(self._start, 0.0, Cause.NOT_FINITE)
        if np.ptp(x) == 0:
            return Quality(self._start, 0.0, Cause.FLAT)
        return Quality(self._start, 1.0)
