"""R-peaks of any ECG lead, found while it comes in."""

import numpy as np
from numpy.typing import ArrayLike

from agent.dsp.heart_rate import SILENCE_S, HeartRate
from agent.dsp.qrs_features import Candidates, QrsFrontEnd
from agent.dsp.stream import as_samples, check_rate
from agent.model import Beat, Happening, Rate, StageEvent

OUT_OF_RANGE_MV = 1e4  # no front end gives ten volts: such a number, NaN and infinity are no samples
HELD_S = 0.05  # a longer run of no samples is a gap


class RPeakDetector:
    """Finds R-peaks in one ECG lead, in mV at 100-2000 Hz, of any gain and polarity."""

    def __init__(self, fs_hz: float) -> None:
        self.fs_hz = check_rate(fs_hz, 100.0, 2000.0)
        self._front = QrsFrontEnd(self.fs_hz)
        self._rate = HeartRate()
        self.reset()

    @property
    def delay_s(self) -> float:
        """From an R-peak to the sample that confirms it."""
        return self._front.delay_s

    def reset(self) -> None:
        """Forget everything; the next sample is index 0."""
        self._next = 0
        self._held = 0.0
        self._bad = 0
        self._front.restart(0)
        self._rate.reset()
        self._events: list[StageEvent] = []
        self._level: float | None = None
        self._noise = 0.0
        self._last: int | None = None
        self._told = -1
        self._silent_since = 0

    def push(self, block: ArrayLike) -> list[Beat]:
        """Take samples (n,) in mV; give the beats they confirm."""
        x = as_samples(block)
        if not x.size:
            return []
        if np.abs(x).max() < OUT_OF_RANGE_MV:  # false for NaN too
            return self._push_finite(x)
        beats: list[Beat] = []
        good = np.abs(x) < OUT_OF_RANGE_MV
        edges = np.flatnonzero(np.diff(good)) + 1
        for start, stop in zip((0, *edges), (*edges, x.size), strict=True):
            beats += self._push_finite(x[start:stop]) if good[start] else self._push_missing(int(stop - start))
        return beats

    def finish(self) -> list[Beat]:
        """The stream ends: decide what is still open."""
        return self._push_finite(np.full(round(self.delay_s * self.fs_hz) + 1, self._held)) if self._next else []

    def gap(self, n: int) -> None:
        """Skip `n` lost samples."""
        self._next += n
        self._front.restart(self._next)
        self._rate.skip()
        self._silent_since = self._next

    def rate(self) -> Rate:
        """The heart rate now."""
        return self._rate.rate(self._next / self.fs_hz)

    def events(self) -> list[StageEvent]:
        """Take what happened since the last call."""
        events, self._events = self._events, []
        return events

    def _push_missing(self, n: int) -> list[Beat]:
        if not self._bad:
            self._tell(Happening.NOT_FINITE, self._next)
        held = max(0, min(n, round(HELD_S * self.fs_hz) - self._bad))
        bad = self._bad + n
        beats = self._push_finite(np.full(held, self._held)) if held else []
        self._bad = bad
        self._next += n - held
        return beats

    def _push_finite(self, x: np.ndarray) -> list[Beat]:
        if self._bad > round(HELD_S * self.fs_hz):
            self.gap(0)
        self._bad = 0
        self._held = float(x[-1])
        self._next += x.size
        found = self._front.push(x)
        beats = self._decide(found) if found else []
        silent = max(self._last or 0, self._silent_since) + round(SILENCE_S * self.fs_hz)
        if self._next > silent and self._told < silent:
            self._told = silent
            self._tell(Happening.NO_BEATS, silent)
        return beats

    def _tell(self, kind: Happening, index: int) -> None:
        self._events.append(StageEvent(index, index / self.fs_hz, kind))

    def _decide(self, found: Candidates) -> list[Beat]:
        beats = []
        for i in range(len(found.r)):
            a, r = float(found.log_a[i]), int(found.r[i])
            if self._level is None:
                self._level = a
            rr = (r - self._last) / self.fs_hz if self._last is not None else 10.0
            if a > self._level - 1.0 + max(0.0, 0.35 - rr) * 4 and rr > 0.15:
                self._level += 0.15 * (a - self._level)
                self._last = r
                self._rate.beat(r / self.fs_hz)
                beats.append(Beat(r, r / self.fs_hz))
            elif rr > 1.5:
                self._level -= 0.1
        return beats
