"""What a lead's raw samples say besides the ECG: electrode off, amplifier at its limit, pacing pulses."""

import numpy as np

from agent.dsp.filters import Floats, SpikeFilter
from agent.model import Happening

OFF_S = 1.0  # no living skin gives the very same number for so long
STUCK_S = 0.1
PACING_FROM_HZ = 1000.0
PACING_MV = 0.2  # a pulse of 2 mV for 0.1 ms as a sample of 1 ms sees it
PACING_ABOVE_NOISE = 12.0
PACING_APART_S = 0.01


class LeadWatch:
    """Watches raw samples (n,) in mV; gives happenings as (sample, what), sample counted since the last restart.

    LEAD_OFF after 1 s without any change; SATURATED after 0.1 s at one number above or below all of the last two
    whole seconds (a silent base line is neither); LEAD_ON when it moves again.
    PACING_SPIKE from 1 kHz: what a median over 7 ms takes away exceeds 0.2 mV and 12 times its usual size.
    """

    def __init__(self, fs_hz: float, *, pacing: bool = True) -> None:
        self._off, self._stuck = round(OFF_S * fs_hz), max(2, round(STUCK_S * fs_hz))
        self._second = round(fs_hz)
        self._apart = round(PACING_APART_S * fs_hz)
        self._spikes = SpikeFilter(fs_hz) if pacing and fs_hz >= PACING_FROM_HZ else None
        self.restart()

    def restart(self) -> None:
        """Start again: the next sample is 0."""
        self._seen = 0
        self._last: float | None = None
        self._since = 0  # where the present run of equal samples began
        self.off = self.saturated = False
        self._extremes: list[tuple[float, float]] = []  # of the last two whole seconds
        self._open = (np.inf, -np.inf)
        self._usual_residue = 0.0
        self._residues: list[Floats] = []
        self._delayed: Floats | None = None
        self._last_spike = -self._second
        if self._spikes:
            self._spikes.restart()

    def push(self, x: Floats) -> list[tuple[int, Happening]]:
        """Take finite samples; give what happened, in order."""
        found: list[tuple[int, Happening]] = []
        start = 0
        while start < len(x):  # second by second, so that what counts as usual does not depend on the cut
            stop = min(len(x), start + self._second - self._seen % self._second)
            part = x[start:stop]
            found += self._runs(part)
            if self._spikes:
                found += self._pulses(part)
            self._open = min(self._open[0], float(part.min())), max(self._open[1], float(part.max()))
            self._seen += stop - start
            if self._seen % self._second == 0:
                self._extremes = [*self._extremes[-1:], self._open]
                self._open = (np.inf, -np.inf)
                if self._residues:
                    self._usual_residue = float(np.median(np.abs(np.concatenate(self._residues))))
                    self._residues = []
            start = stop
        return sorted(found, key=lambda one: one[0])

    def _runs(self, x: Floats) -> list[tuple[int, Happening]]:
        last = x[0] if self._last is None else self._last
        moves = np.flatnonzero(x[1:] != x[:-1]) + 1
        if x[0] != last:
            moves = np.concatenate(([0], moves))
        self._last = float(x[-1])
        found: list[tuple[int, Happening]] = []
        if moves.size:
            moves += self._seen
            # Only runs long enough to be told matter: the one that ends first here, and any long one inside.
            self._told(self._since, int(moves[0]), float(last), found)
            if self.off or self.saturated:
                self.off = self.saturated = False
                found.append((int(moves[0]), Happening.LEAD_ON))
            for k in np.flatnonzero(np.diff(moves) >= self._stuck).tolist():
                begin, end = int(moves[k]), int(moves[k + 1])
                self._told(begin, end, float(x[begin - self._seen]), found)
                if self.off or self.saturated:
                    self.off = self.saturated = False
                    found.append((end, Happening.LEAD_ON))
            self._since = int(moves[-1])
        self._told(self._since, self._seen + len(x), self._last, found)
        return found

    def _told(self, begin: int, end: int, value: float, found: list[tuple[int, Happening]]) -> None:
        """Tell what a run of equal samples [begin, end) means, once."""
        if end - begin >= self._stuck and not self.saturated and not self.off and self._at_limit(value):
            self.saturated = True
            found.append((begin + self._stuck - 1, Happening.SATURATED))
        if end - begin >= self._off and not self.off:
            self.off = True
            found.append((begin + self._off - 1, Happening.LEAD_OFF))

    def _at_limit(self, value: float) -> bool:
        if not self._extremes:
            return False
        return value < min(e[0] for e in self._extremes) or value > max(e[1] for e in self._extremes)

    def _pulses(self, x: Floats) -> list[tuple[int, Happening]]:
        assert self._spikes is not None
        k = self._spikes.delay
        past = np.repeat(x[:1], k) if self._delayed is None else self._delayed
        late = np.concatenate((past, x))
        self._delayed = late[-k:]
        residue = late[: len(x)] - self._spikes.push(x)
        self._residues.append(residue)
        least = max(PACING_MV, PACING_ABOVE_NOISE * self._usual_residue)
        found = []
        for at in (np.flatnonzero(np.abs(residue) > least) + self._seen - k).tolist():
            if at - self._last_spike > self._apart:
                found.append((at, Happening.PACING_SPIKE))
            self._last_spike = at
        return found
