"""Heart rate from R-peaks, read as a bedside monitor reads it."""

from collections import deque
from statistics import median

from agent.model import NoValue, Rate

KEPT = 8  # RR intervals the rate rests on
SILENCE_S = 4.0  # no beat for this long is told
NEW_RATE = 3  # consecutive RR intervals that agree on another rate end the old one
AGREE = 0.12
MOVED = 0.25  # from the rate shown; a breath moves it by less, and the median follows
STEADY = 0.15


class HeartRate:
    """Median of the last eight RR intervals, of an even number so that bigeminy reads its true rate.

    Three intervals that agree with each other and are a quarter off the rate shown start it afresh, so a step in rate
    shows after three beats.
    """

    def __init__(self) -> None:
        self._rr: deque[float] = deque(maxlen=KEPT)
        self._last: float | None = None
        self._broken = False

    def beat(self, time_s: float) -> None:
        """Take an R-peak, in order of time."""
        if self._last is not None:
            if not self._broken:
                self._rr.append(time_s - self._last)
                self._follow()
            elif time_s - self._last > SILENCE_S:
                self._rr.clear()
        self._last, self._broken = time_s, False

    def interrupt(self) -> None:
        """The signal was lost: the next beat's RR interval is unknown, and those before grow old."""
        self._broken = True

    def reset(self) -> None:
        """Forget every beat."""
        self._rr.clear()
        self._last = None
        self._broken = False

    def rate(self, now_s: float) -> Rate:
        """Return the rate at `now_s`, None with a reason when there is none."""
        if self._last is not None and now_s - self._last > SILENCE_S:
            return Rate(None, NoValue.NO_BEATS)
        if len(self._rr) < NEW_RATE:
            return Rate(None, NoValue.STARTING)
        return Rate(60.0 / self._interval())

    def steady(self) -> float:
        """Return the share of RR intervals within 15 % of their median."""
        middle = self._interval() if self._rr else 1.0
        return sum(abs(rr / middle - 1) < STEADY for rr in self._rr) / KEPT

    def _interval(self) -> float:
        rr = list(self._rr)
        return median(rr[len(rr) % 2 :] if len(rr) > NEW_RATE else rr)

    def _follow(self) -> None:
        if len(self._rr) <= NEW_RATE:
            return
        low, middle, high = sorted((self._rr[-1], self._rr[-2], self._rr[-3]))
        if abs(middle / self._rr[0] - 1) <= AGREE or high > (1 + AGREE) * middle or low < (1 - AGREE) * middle:
            return
        if abs(middle / self._interval() - 1) > MOVED:
            self._rr = deque(list(self._rr)[-NEW_RATE:], maxlen=KEPT)
