"""What a lead's raw samples say besides the ECG: electrode off, amplifier at its limit, pacing pulses."""

from collections import deque

import numpy as np

from agent.dsp.filters import Floats, SpikeFilter
from agent.model import Happening

OFF_S = 2.0  # no living skin gives the very same number for so long; a simulator at 30/min does for 1.9 s
STUCK_S = 0.1
PACING_FROM_HZ = 1000.0
PACING_MV = 0.2  # a pulse of 2 mV for 0.1 ms as a sample of 1 ms sees it
PACING_ABOVE_NOISE = 12.0
PACING_APART_S = 0.01


class LeadWatch:
    """Watches raw samples (n,) in mV; gives happenings as (sample, what), sample counted since the last restart.

    LEAD_OFF after 2 s without any change; SATURATED after 0.1 s at one number above or below all of the last two
    whole seconds (a silent base line is neither); LEAD_ON when it moves again.
    PACING_SPIKE from 1 kHz: what a median over 7 ms takes away exceeds 0.2 mV and 12 times its usual size.
    """

    def __init__(self, fs_hz: float, *, pacing: bool = True) -> None:
        self._off, self._stuck = round(OFF_S * fs_hz), max(2, round(STUCK_S * fs_hz))
        self._still = bytes(self._stuck - 1)  # no move
        self._second = round(fs_hz)
        self._apart = round(PACING_APART_S * fs_hz)
        self._spikes = SpikeFilter(fs_hz) if pacing and fs_hz >= PACING_FROM_HZ else None
        self.restart()

    def restart(self) -> None:
        """Start again: the next sample is 0."""
        self._seen = 0
        self._last = np.nan
        self._since = 0  # where the present run of equal samples began
        self.off = self.saturated = False
        self._past: deque[tuple[int, Floats]] = deque()  # blocks of the last two seconds
        self._usual_residue = 0.0
        self._residues: list[Floats] = []
        self._delayed: Floats | None = None
        self._last_spike = -self._second
        if self._spikes:
            self._spikes.restart()

    def push(self, x: Floats) -> list[tuple[int, Happening]]:
        """Take finite samples (n > 0); give what happened, in order."""
        self._past.append((self._seen, x.copy()))
        while self._past[0][0] + len(self._past[0][1]) < self._seen - 2 * self._second:
            self._past.popleft()
        found = self._runs(x)
        if self._spikes:
            found = sorted(found + self._pulses(self._spikes, x), key=lambda one: one[0])
        self._seen += len(x)
        return found

    def _runs(self, x: Floats) -> list[tuple[int, Happening]]:
        """Look at the runs of equal samples: mostly there is none that matters."""
        found: list[tuple[int, Happening]] = []
        if x[0] != self._last:
            self._end_run(self._seen, found)
        moved, first = (x[1:] != x[:-1]).tobytes(), self._seen + 1  # searched as bytes: no index is made of each move
        at = moved.find(1)
        if at >= 0:
            self._last = float(x[0])
            self._end_run(first + at, found)
            while (still := moved.find(self._still, at)) > 0 and (at := moved.find(1, still)) > 0:
                self._since = first + still - 1
                self._last = float(x[still])
                self._end_run(first + at, found)
            self._since = first + moved.rfind(1)
        self._last = float(x[-1])
        self._look(self._seen + len(x), found)
        return found

    def _end_run(self, end: int, found: list[tuple[int, Happening]]) -> None:
        """The run of equal samples ends before sample `end`, where the lead moves again."""
        self._look(end, found)
        self._since = end
        if self.off or self.saturated:
            self.off = self.saturated = False
            found.append((end, Happening.LEAD_ON))

    def _look(self, end: int, found: list[tuple[int, Happening]]) -> None:
        """Tell what the run up to sample `end` means, once."""
        length = end - self._since
        if length >= self._stuck and not (self.off or self.saturated) and self._at_limit():
            self.saturated = True
            found.append((self._since + self._stuck - 1, Happening.SATURATED))
        if length >= self._off and not self.off:
            self.off = True
            found.append((self._since + self._off - 1, Happening.LEAD_OFF))

    def _at_limit(self) -> bool:
        """Whether the run's number is beyond all of the two seconds before it."""
        low, high = np.inf, -np.inf
        for start, block in self._past:
            part = block[max(0, self._since - 2 * self._second - start) : max(0, self._since - start)]
            if part.size:
                low, high = min(low, float(part.min())), max(high, float(part.max()))
        return low <= high and not low <= self._last <= high

    def _pulses(self, spikes: SpikeFilter, x: Floats) -> list[tuple[int, Happening]]:
        k = spikes.delay
        late = np.concatenate((np.repeat(x[:1], k) if self._delayed is None else self._delayed, x))
        self._delayed = late[-k:]
        residue = np.abs(late[: len(x)] - spikes.push(x))
        found = []
        start = 0
        while start < len(x):  # second by second, so that what is usual does not depend on the cut
            stop = min(len(x), start + self._second - (self._seen + start) % self._second)
            part = residue[start:stop]
            least = max(PACING_MV, PACING_ABOVE_NOISE * self._usual_residue)
            for at in (np.flatnonzero(part > least) + (self._seen + start - k)).tolist():
                if at - self._last_spike > self._apart:
                    found.append((at, Happening.PACING_SPIKE))
                self._last_spike = at
            self._residues.append(part)
            if (self._seen + stop) % self._second == 0:
                self._usual_residue = float(np.median(np.concatenate(self._residues)))
                self._residues = []
            start = stop
        return found
