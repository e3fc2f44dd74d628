"""ECG for the eye: the two bands of a monitor, without mains hum."""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agent.dsp.filters import high_pass, low_pass
from agent.dsp.stream import as_samples, check_rate
from agent.model import StageEvent

Mode = Literal["monitor", "diagnostic"]


class EcgFilter:
    """Filters leads (n,) or (n, leads) in mV."""

    def __init__(self, fs_hz: float, mode: Mode = "monitor", mains_hz: float = 50.0) -> None:
        self.fs_hz = check_rate(fs_hz, 100.0, 2000.0)
        if mode not in {"monitor", "diagnostic"}:
            raise ValueError(f"mode {mode!r} is neither monitor nor diagnostic")
        if mains_hz not in {50.0, 60.0}:
            raise ValueError(f"mains {mains_hz!r} Hz is neither 50 nor 60 Hz")
        self.band_hz = (0.05, min(150.0, 0.4 * self.fs_hz)) if mode == "diagnostic" else (0.5, min(40.0, 0.4 * self.fs_hz))
        self._stages = (high_pass(self.fs_hz, self.band_hz[0]), low_pass(self.fs_hz, self.band_hz[1], 2))

    @property
    def delay_s(self) -> float:
        """Delay of the pass band."""
        return 0.0

    def push(self, block: ArrayLike) -> NDArray[np.float64]:
        """Filter the next samples."""
        x = as_samples(block, ndim=(1, 2))
        for stage in self._stages:
            x = stage.push(x)
        return x

    def gap(self, n: int) -> None:  # noqa: ARG002
        """Restart after lost samples."""
        self.reset()

    def reset(self) -> None:
        """Start again from the next sample."""
        for stage in self._stages:
            stage.restart()

    def events(self) -> list[StageEvent]:
        """Take what happened since the last call."""
        return []
