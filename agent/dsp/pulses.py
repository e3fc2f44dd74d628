"""Pulses of a pleth, each within a second, and their rate when it is sure.

pulse_features.py finds where a pulse may be, pulse_path.py which of these are, pulse_rate.py whether a rate follows.
"""

import math
from collections import deque
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agent.dsp.pulse_features import PulseFeatures
from agent.dsp.pulse_path import Found, PulsePath
from agent.dsp.pulse_rate import MEMORY_S, Told, rate_of
from agent.dsp.stream import as_samples, check_rate
from agent.model import Happening, NoValue, Pulse, Rate, StageEvent

Floats = NDArray[np.float64]

LOOK_AHEAD_S: Final = 1.0
KEPT_S: Final = 60.0
STARTING_S: Final = 4.0
RATE_S: Final = 10.0
BRIDGED_S: Final = 0.5  # a gap up to this long is bridged, a longer one starts the filters anew
AROUND_S: Final = (0.25, 0.45)  # before and after the upslope: foot and systolic peak lie within


class PulseDetector:
    """Pulses of a pleth of any gain and offset: (n,) in, the pulses decided by it out.

    `Pulse.time_s` is the steepest point of the upslope, sub-sample, in seconds since the first sample. A pulse is
    told at most 1 s after it. Level and rhythm are learned from the last 12 s, so a probe taken off and put back
    costs nothing later. NaN is held and reported.

    Polarity is not guessed (a symmetrical wave has none): an oximeter's pleth rises with the pulse; raw light falls
    with it, so give `inverted=True` for a red or infrared stream. With the wrong one pulses are still found, at the
    downslope. `light=True` says the samples are proportional to light, so that the perfusion index
    (100 * peak-to-peak / mean) has a meaning; else it is None.
    """

    def __init__(self, fs_hz: float, *, inverted: bool = False, light: bool = False) -> None:
        self.fs_hz = check_rate(fs_hz, 25.0, 1000.0)
        self._sign = -1.0 if inverted else 1.0
        self._light = light
        self._features = PulseFeatures(self.fs_hz)
        grid = self._features.grid_hz
        # A grid sample more than the second: `place` is that of the grid sample's end, and counted from 0.
        due = (LOOK_AHEAD_S - self._features.delay_s - 1.0 / self.fs_hz) * grid + 1.0
        self._path = PulsePath(grid, due, self._features.look)
        self.reset()

    @property
    def delay_s(self) -> float:
        """The longest a pulse waits before it is told."""
        return LOOK_AHEAD_S

    def reset(self) -> None:
        """Forget everything; the next sample is index 0."""
        self._n = 0
        self._base = 0  # index of the features' first sample
        self._features.reset()
        self._path.reset()
        self._held = math.nan
        self._missing = False
        self._events: list[StageEvent] = []
        self._waiting: list[Pulse] = []  # decided by a gap, told at the next push
        self._told: deque[Told] = deque()
        self._raw: Floats = np.empty(0)

    def push(self, block: ArrayLike) -> list[Pulse]:
        """Take samples, give the pulses they decide."""
        x = as_samples(block)
        pulses, self._waiting = self._waiting, []
        if not x.size:
            return pulses
        x = self._without_nan(x)
        if not x.size:
            return pulses
        self._n += x.size
        if self._light:
            self._raw = np.concatenate((self._raw, x))
        candidates = self._features.push(self._sign * x)
        pulses += self._tell(self._path.push(candidates, self._features.grid))
        if self._light:
            self._raw = self._raw[-round((LOOK_AHEAD_S + sum(AROUND_S)) * self.fs_hz) :]
        return pulses

    def finish(self) -> list[Pulse]:
        """No more samples will come: decide what is still open."""
        pulses, self._waiting = self._waiting, []
        return pulses + self._tell(self._path.finish())

    def gap(self, n: int) -> None:
        """Skip `n` lost samples: a short gap is bridged, after a long one level and filters begin anew."""
        if n <= 0:
            return
        if n <= BRIDGED_S * self.fs_hz and math.isfinite(self._held):
            self._waiting += self.push(np.full(n, self._held))
            return
        self._waiting += self._tell(self._path.finish())
        self._n += n
        self._base = self._n
        self._features.restart()
        self._path.reset()
        self._raw = np.empty(0)

    def events(self) -> list[StageEvent]:
        """Take what happened since the last call: NOT_FINITE."""
        taken, self._events = self._events, []
        return taken

    def rate(self) -> Rate:
        """Pulse rate over the last 10 s."""
        now = self._n / self.fs_hz
        return self.rate_between(now - RATE_S, now)

    def rate_between(self, t0_s: float, t1_s: float) -> Rate:
        """Pulse rate of [t0_s, t1_s), or None with the reason when it is not sure; 60 s are kept."""
        if self._n < (t0_s + STARTING_S) * self.fs_hz or self._n < STARTING_S * self.fs_hz:
            return Rate(None, NoValue.STARTING)
        return rate_of([told for told in self._told if t0_s - MEMORY_S <= told.time_s < t1_s], t0_s, t1_s)

    def _without_nan(self, x: Floats) -> Floats:
        """Hold the last sample in place of missing ones, and report where they begin."""
        finite = np.isfinite(x)
        if finite.all():
            self._missing = False
        else:
            begin = np.flatnonzero(~finite & np.concatenate(([not self._missing], finite[:-1])))
            for k in begin.tolist():
                index = self._n + k
                self._events.append(StageEvent(index, index / self.fs_hz, Happening.NOT_FINITE))
            self._missing = not finite[-1]
            if math.isnan(self._held):  # nothing to hold yet: the stream begins with its first finite sample
                lead = int(finite.argmax()) if finite.any() else x.size
                self._n += lead
                self._base = self._n
                x, finite = x[lead:], finite[lead:]
                if not x.size:
                    return x
            last = np.maximum.accumulate(np.where(finite, np.arange(x.size), -1))
            x = np.where(last < 0, self._held, x[last])
        self._held = float(x[-1])
        return x

    def _tell(self, found: list[Found]) -> list[Pulse]:
        """Give pulses their time in the stream, and remember them."""
        pulses = []
        step = self.fs_hz / self._features.grid_hz
        for f in found:
            # Grid sample k holds the samples up to (k + 1) * step - 1.
            sample = self._base + (f.at + 1.0) * step - 1.0 - self._features.delay_s * self.fs_hz
            time_s = sample / self.fs_hz
            pulses.append(Pulse(time_s, self._perfusion(sample) if self._light else None))
            self._told.append(Told(time_s, f.height, f.unsure, f.phase, f.regular, f.excess, f.shape))
        oldest = self._n / self.fs_hz - KEPT_S - MEMORY_S
        while self._told and self._told[0].time_s < oldest:
            self._told.popleft()
        return pulses

    def _perfusion(self, sample: float) -> float | None:
        """Peak-to-peak of the light around a pulse in % of its mean."""
        start = self._n - self._raw.size
        a = max(0, math.floor(sample - AROUND_S[0] * self.fs_hz) - start)
        b = math.ceil(sample + AROUND_S[1] * self.fs_hz) - start
        part = self._raw[a:b]
        if part.size < 2 or not part.mean() > 0.0:
            return None
        return 100.0 * float(np.ptp(part) / part.mean())
