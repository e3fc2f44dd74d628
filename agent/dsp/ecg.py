"""ECG for the eye: a monitor's or a diagnostic band, without mains hum, keeping the ST segment."""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agent.dsp.filters import half_band, high_pass, low_pass
from agent.dsp.mains import MainsCanceller
from agent.dsp.stream import as_samples, check_rate
from agent.model import Happening, StageEvent

Mode = Literal["monitor", "diagnostic"]
STEP_MV = 10.0  # no heart moves a sample this far from the one before: an electrode came off or on, or a pacer fired
OUT_OF_RANGE_MV = 1e6


class EcgFilter:
    """Filters one lead (n,) or several (n, leads), in mV, any number at once.

    monitor: 0.5-40 Hz, a high-pass of second order; the ST segment is not to be read from it.
    diagnostic: 0.05-150 Hz (upper edge 0.4 of the sampling rate below 375 Hz); the high-pass is of first order, which
    leaves 0.092 mV after an impulse of 3 mV for 100 ms (IEC 60601-2-25 allows 0.1).
    Both: hum of 50 or 60 Hz ± 0.5 is foreseen and subtracted first (`mains.MainsCanceller`; `mains_hz=None`: not).

    Samples that are not finite or beyond a kilovolt stay unknown: they come out as NaN, the filters hold what was
    before. A step of more than 10 mV between neighbours, or across lost samples, is taken out of the signal, so an
    electrode that comes off or on leaves no decaying baseline. `delay_s` is that of the low-pass, near 10 Hz.
    """

    def __init__(self, fs_hz: float, mode: Mode = "monitor", mains_hz: float | None = 50.0) -> None:
        self.fs_hz = check_rate(fs_hz, 100.0, 2000.0)
        if mode not in {"monitor", "diagnostic"}:
            raise ValueError(f"mode {mode!r} is neither 'monitor' nor 'diagnostic'")
        if mains_hz not in {50.0, 60.0, None}:
            raise ValueError(f"mains {mains_hz!r} Hz is neither 50 nor 60")
        self.mode = mode
        self.mains_hz = mains_hz
        monitor = mode == "monitor"
        self.band_hz = (0.5 if monitor else 0.05, min(40.0 if monitor else 150.0, 0.4 * self.fs_hz))
        self._mains = MainsCanceller(self.fs_hz, mains_hz) if mains_hz is not None else None
        self._high = high_pass(self.fs_hz, self.band_hz[0], 2 if monitor else 1)
        self._low = low_pass(self.fs_hz, self.band_hz[1]) if self.band_hz[1] < 0.4 * self.fs_hz else half_band(0.4)
        self.delay_s = self._low.delay_s(self.fs_hz, 10.0)
        self.reset()

    def reset(self) -> None:
        """Forget everything; the next sample is index 0."""
        self._leads: int | None = None
        self._index = 0
        self._high.restart()
        self._low.restart()
        self._join = True
        if self._mains:
            self._mains.restart(0)
        self._events: list[StageEvent] = []

    def gap(self, n: int) -> None:
        """Skip `n` lost samples: what comes next is joined on without a step."""
        self._index += n
        self._join = True
        if self._mains:
            self._mains.restart(self._index)

    def events(self) -> list[StageEvent]:
        """Take what happened since the last call: NOT_FINITE where unknown samples begin in any lead."""
        events, self._events = self._events, []
        return events

    def push(self, block: ArrayLike) -> NDArray[np.float64]:
        """Return as many filtered samples, same shape; ValueError when the number of leads changes."""
        x = as_samples(block, ndim=(1, 2))
        y = x[:, None] if x.ndim == 1 else x
        if self._leads is None:
            self._start(y.shape[1])
        if y.shape[1] != self._leads:
            raise ValueError(f"this stream has {self._leads} leads, the block has {y.shape[1]}")
        if not y.size:
            return x
        unknown = ~(np.abs(y) < OUT_OF_RANGE_MV)
        y = self._joined(y, unknown)
        if self._mains:
            y = self._mains.push(y)
        y = self._low.push(self._high.push(y))
        if unknown.any():
            y[unknown] = np.nan
        self._index += len(y)
        return y.reshape(x.shape)

    def _start(self, leads: int) -> None:
        self._leads = leads
        self._last = np.zeros(leads)  # the newest known sample of each lead, and whether it is out of date
        self._offset = np.zeros(leads)  # steps taken out so far
        self._lost = np.zeros(leads, bool)

    def _joined(self, y: NDArray[np.float64], unknown: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return `y` with unknown samples held and steps taken out."""
        if self._join:
            self._lost[:] = True
            self._join = False
        lost = np.concatenate((self._lost[None], unknown))
        held = np.concatenate((self._last[None], y))
        if unknown.any():
            starts = np.flatnonzero((unknown & ~lost[:-1]).any(axis=1)) + self._index
            self._events += [StageEvent(i, i / self.fs_hz, Happening.NOT_FINITE) for i in starts.tolist()]
            row = np.arange(len(held))[:, None]
            known = np.where(np.concatenate((np.zeros_like(self._lost)[None], unknown)), 0, row)
            held = np.take_along_axis(held, np.maximum.accumulate(known, axis=0), axis=0)
        move = np.diff(held, axis=0)
        steps = np.where((np.abs(move) > STEP_MV) | (lost[:-1] & ~unknown), move, 0.0)
        if steps.any():
            offset = np.cumsum(np.concatenate((self._offset[None], steps)), axis=0)[1:]
            self._offset = offset[-1]
        else:
            offset = self._offset[None]
        self._last, self._lost = held[-1], unknown[-1]
        return np.asarray(held[1:] - offset)
