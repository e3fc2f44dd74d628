# Ref: arrival times bound an instrument's time stamps from one side: the least delayed of each window lie on a line
# (cf. RFC 5905, 10, clock filter; Paxson 1998, "On calibrating measurements of packet transit times").
"""How an instrument's own clock and sampling rate run against ours, from its time stamps and their arrivals.

Nothing is corrected here: samples are dated by arrivals (pace.py). What is found is said beside them, and lets a
decoder count what is missing in the instrument's true rate instead of the nominal one (a Polar H10 samples at 130.06
Hz by its own clock, so a minute's hole is 3.6 samples more than 130 Hz makes it).
"""

from collections import deque

import numpy as np

S = 1_000_000_000
WINDOW_S = 5.0
WINDOWS = 240
SURE_AFTER_S = 10.0  # of undisturbed time stamps, before their rate counts
SAY_FIRST_S, SAY_EVERY_S = 120.0, 600.0
FARTHEST = 0.02  # a rate further from the nominal one is no crystal's error


class OwnClock:
    """Fed with each time stamp; `rate_hz` is by the instrument's own seconds, `drift_ppm` its seconds against ours."""

    def __init__(self, nominal_hz: float) -> None:
        self.rate_hz = nominal_hz
        self._nominal_hz = nominal_hz
        self._began: tuple[int, int] | None = None  # its time and ours
        self._samples = 0
        self._window: tuple[float, float] | None = None  # its seconds since the beginning, least delay in s
        self._least: deque[tuple[float, float]] = deque(maxlen=WINDOWS)
        self._say_at_s = SAY_FIRST_S

    def restart(self) -> None:
        """Its clock jumped, or a new link follows a lost one: begin anew, keep the rate."""
        self._began = self._window = None
        self._samples = 0
        self._least.clear()
        self._say_at_s = SAY_FIRST_S

    def take(self, own_ns: int, n: int, t_ns: int) -> str | None:
        """`n` samples after the last stamp came the stamp `own_ns`, at boot time `t_ns`; words when there is news."""
        if self._began is None:
            self._began = own_ns, t_ns
            return None
        own_s, our_s = (own_ns - self._began[0]) / S, (t_ns - self._began[1]) / S
        self._samples += n
        delay_s = our_s - own_s
        if self._window is None or own_s - self._window[0] >= WINDOW_S:
            self._next_window(own_s, delay_s)
        elif delay_s < self._window[1]:
            self._window = self._window[0], delay_s
        if own_s < self._say_at_s:
            return None
        self._say_at_s += SAY_EVERY_S
        return f"rate_hz={self.rate_hz:.3f} drift_ppm={self.drift_ppm:+.0f} offset_s={self.offset_s:.3f}"

    def _next_window(self, own_s: float, delay_s: float) -> None:
        if self._window is not None:
            self._least.append(self._window)
        self._window = own_s, delay_s
        if own_s >= SURE_AFTER_S and abs(self._samples / own_s / self._nominal_hz - 1) < FARTHEST:
            self.rate_hz = self._samples / own_s

    @property
    def drift_ppm(self) -> float:
        """How much faster than ours its clock runs; 0 until two windows are full."""
        if len(self._least) < 2:
            return 0.0
        at_s, delay_s = np.array(self._least).T
        return float(-np.polyfit(at_s, delay_s, 1)[0] * 1e6)

    @property
    def offset_s(self) -> float:
        """Our boot time less its time, at the least delay known."""
        if self._began is None:
            return 0.0
        least_s = min((delay for _, delay in self._least), default=0.0)
        return (self._began[1] - self._began[0]) / S + least_s
