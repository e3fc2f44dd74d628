"""Quality of a pleth, every 0.5 s. First plain version: the interface is final, the algorithm is not."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agent.dsp.stream import as_samples, check_rate
from agent.model import Cause, Quality, StageEvent


class PlethQuality:
    """Quality of a pleth: (n,) in, one Quality for each 0.5 s completed."""

    def __init__(self, fs_hz: float) -> None:
        self.fs_hz = check_rate(fs_hz, 25.0, 1000.0)
        self._hop = round(0.5 * self.fs_hz)
        self.reset()

    @property
    def delay_s(self) -> float:
        """A stretch is judged as soon as it is complete."""
        return 0.0

    def push(self, block: ArrayLike) -> list[Quality]:
        """Take samples, give the quality of each 0.5 s they complete."""
        self._x = np.concatenate((self._x, as_samples(block)))
        out = []
        while self._x.size >= self._hop:
            part, self._x = self._x[: self._hop], self._x[self._hop :]
            cause = None
            if not np.isfinite(part).all():
                cause = Cause.NOT_FINITE
            elif np.ptp(part) == 0.0:
                cause = Cause.FLAT
            out.append(Quality(self._start, 0.0 if cause else 1.0, cause))
            self._start += self._hop
        return out

    def gap(self, n: int) -> None:
        """Skip `n` lost samples."""
        self._start += self._x.size + n
        self._x = np.zeros(0)

    def reset(self) -> None:
        """Forget everything."""
        self._start = 0
        self._x: NDArray[np.float64] = np.zeros(0)

    def events(self) -> list[StageEvent]:
        """Take what happened since the last call."""
        return []
