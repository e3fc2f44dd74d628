"""Heart rate from R-peaks, read as a bedside monitor reads it."""

from collections import deque

import numpy as np

from agent.model import NoValue, Rate

KEPT = 9  # RR intervals the rate rests on
SILENCE_S = 4.0  # no beat for this long is told
NEW_RATE = 3  # consecutive RR intervals that agree on another rate end the old one
AGREE = 0.12


class HeartRate:
    """Median of the mean of neighbouring RR intervals, over the last nine.

    Pairs read an alternating rhythm (bigeminy) at its true rate; the median drops one missed or added beat; three
    intervals that agree with each other and not with the rate shown start it afresh.
    """

    def __init__(self) -> None:
        self._rr: deque[float] = deque(maxlen=KEPT)
        self._last: float | None = None

    def beat(self, time_s: float) -> None:
        """Take an R-peak, in order of time."""
        if self._last is not None:
            self._rr.append(time_s - self._last)
            self._follow()
        self._last = time_s

    def interrupt(self) -> None:
        """The signal was interrupted: the next beat's RR interval is unknown."""
        self._last = None

    def reset(self) -> None:
        """Forget every beat."""
        self._rr.clear()
        self._last = None

    def rate(self, now_s: float) -> Rate:
        """Return the rate at `now_s`, None with a reason when there is none."""
        if self._last is not None and now_s - self._last > SILENCE_S:
            return Rate(None, NoValue.NO_BEATS)
        if len(self._rr) < NEW_RATE:
            return Rate(None, NoValue.STARTING)
        return Rate(60.0 / self._interval())

    def _interval(self) -> float:
        rr = np.array(self._rr)
        return float(np.median((rr[1:] + rr[:-1]) / 2))

    def _follow(self) -> None:
        if len(self._rr) <= NEW_RATE:
            return
        newest = list(self._rr)[-NEW_RATE:]
        middle = sorted(newest)[NEW_RATE // 2]
        if all(abs(rr / middle - 1) < AGREE for rr in newest) and abs(middle / self._interval() - 1) > AGREE:
            self._rr = deque(newest, maxlen=KEPT)
