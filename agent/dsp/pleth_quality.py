"""Quality of a pleth, every half second: how far the wave still looks like the one a moment ago.

A pulse repeats itself; movement, tapping, a moved probe and an auto-gain step do not, or not with the same energy.
Every half second the last 1.5 s of the wave's slope are compared with the same length one period before (the best
of all periods of 32 to 200 per minute), and their energy with the usual one of the last 12 s. A logistic sum of these
is the quality. Flat stretches, missing samples and clipping are seen directly, and named.
"""

import math
from functools import reduce
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import signal

from agent.dsp.filters import filtered_sections
from agent.dsp.stream import as_samples, check_rate
from agent.dsp.trailing import quantile, shifted, trailing
from agent.dsp.trailing import windows as neighbours
from agent.model import Cause, Happening, Quality, StageEvent

Floats = NDArray[np.float64]

HOP_S: Final = 0.5
GRID_HZ: Final = 28.0
BAND_HZ: Final = (0.5, 8.0)
WINDOW_S: Final = 1.5
SHORTEST_S, LONGEST_S = 0.3, 1.9
USUAL_HOPS: Final = 24  # 12 s
EXTREME_HOPS: Final = 8  # 4 s
TINY: Final = 1e-30

# Log-odds of a disturbance, fitted on BIDMC with disturbances of five kinds, half the records held out.
OFFSET: Final = -3.05
WEIGHTS: Final = {
    "unlike": 0.66,  # log10 of what one period ago does not explain, against the usual energy
    "more": 1.54,  # log10 of the energy of 1.5 s above the usual
    "less": 1.52,  # and below it
    "held": 2.55,  # a third of the half second is one value
    "shape": 0.65,  # 1 - correlation with one period ago
    "burst": 5.77,  # log10 of the energy of the last half second above the usual
}
# Noise without a pulse: half seconds hardly like what was a period before them, whichever period that is (the median of
# those of usual energy in 12 s), nor all at the same one (the mean of 8 s). What both lack, times this, is added.
LIKE, TOGETHER, LACK = 0.58, 0.3, 40.0
TOGETHER_HOPS: Final = 16
USUAL_CHANGE: Final = 0.3  # of energy, in tens
BATCH: Final = 32  # half seconds compared at a time: what fits the processor's cache
BAD: Final = 0.5
HELD: Final = 0.3
CLIPPED: Final = 0.25
TAP_S: Final = 0.55  # tapping repeats faster than this
TAP_SHAPE: Final = 0.7
FIRST_PEAK: Final = 0.9  # the first likeness this high against the highest is the period


class PlethQuality:
    """Quality of a pleth of any gain, offset and polarity: (n,) in, one Quality for each half second completed.

    `events()` tells PROBE_OFF and PROBE_ON (a wave gone flat for a second, and back), CLIPPING, NOT_FINITE.
    """

    def __init__(self, fs_hz: float) -> None:
        self.fs_hz = check_rate(fs_hz, 20.0, 1000.0)
        self._width = math.ceil(HOP_S * self.fs_hz)
        self._step = max(1, int(self.fs_hz / GRID_HZ))
        grid = self.fs_hz / self._step
        self._sos = signal.butter(
            2, [BAND_HZ[0], min(BAND_HZ[1], 0.42 * self.fs_hz)], btype="band", fs=self.fs_hz, output="sos"
        )
        self._window = int(WINDOW_S * grid)
        self._lags = np.arange(int(SHORTEST_S * grid), int(LONGEST_S * grid) + 1)
        self._lag_s = self._lags / grid
        self._short = int(HOP_S * grid)
        self._past = self._window + int(self._lags[-1]) + 1
        self.reset()

    @property
    def delay_s(self) -> float:
        """A half second is judged as soon as it is complete."""
        return 0.0

    def reset(self) -> None:
        """Forget everything; the next sample is index 0."""
        self._base = 0  # stream index of the first sample since the last gap
        self._n = 0  # samples since then
        self._events: list[StageEvent] = []
        self._off = False
        self._state: Cause | None = None
        self._last = np.nan
        self._begin()

    def _begin(self) -> None:
        """Start anew at the next sample."""
        self._base, self._n = self._base + self._n, 0
        self._open: Floats = np.empty(0)  # samples from _open_from on
        self._open_from = 0
        self._slope_open: Floats = np.empty(0)
        self._first: float | None = None
        self._z: Floats = np.zeros((1, self._sos.shape[0], 2))
        self._last_y = 0.0
        self._hops = 0
        self._end = 0  # of the last full one
        self._slope: Floats = np.zeros(self._past)  # ends with the last grid sample of a full hop
        self._energies: Floats = np.empty((2, 0))
        self._extremes: Floats = np.empty((2, 0))
        # A pulse is taken to be there until some seconds have shown none.
        self._likeness: Floats = np.ones((TOGETHER_HOPS - 1, self._lags.size))
        self._shapes: Floats = np.ones(USUAL_HOPS - 1)
        self._flat_hops = 0

    def gap(self, n: int) -> None:
        """Skip `n` lost samples: the half seconds they fall in are bad, and the comparison starts anew."""
        if n <= 0:
            return
        self._n += n
        self._begin()

    def events(self) -> list[StageEvent]:
        """Take what happened since the last call."""
        taken, self._events = self._events, []
        return taken

    def push(self, block: ArrayLike) -> list[Quality]:
        """Take samples, give the quality of each half second they complete."""
        x = as_samples(block)
        if not x.size:
            return []
        self._filter(x)
        self._n += x.size
        self._open = np.concatenate((self._open, x))
        n = int(self._n / (HOP_S * self.fs_hz) + 1e-9) - self._hops
        if n <= 0:
            return []
        ends = np.ceil((self._hops + 1 + np.arange(n)) * HOP_S * self.fs_hz - 1e-9).astype(np.int64)
        ends = ends[ends <= self._n]
        if not ends.size:
            return []
        odds, tapping, lack = self._compare(ends)
        # At an odd rate half seconds differ by a sample: each is seen as wide as the longest.
        raw = self._open[ends[:, None] - self._width - self._open_from + np.arange(self._width)]
        starts = np.concatenate(([self._end], ends[:-1])) + self._base
        judged = self._judge(starts.tolist(), raw, odds, tapping, lack)
        self._hops += ends.size
        self._end = int(ends[-1])
        keep = max(self._end - self._width, self._open_from)
        self._open, self._open_from = self._open[keep - self._open_from :], keep
        return judged

    def _filter(self, x: Floats) -> None:
        """Bring the slope on the grid up to date; missing samples are held."""
        finite = np.isfinite(x)
        if not finite.all():
            last = np.maximum.accumulate(np.where(finite, np.arange(x.size), -1))
            x = np.nan_to_num(np.where(last < 0, self._last, x[last]))
        self._last = float(x[-1])
        if self._first is None:
            self._first = float(x[0])
        y, self._z = filtered_sections(self._sos, (x - self._first)[None], self._z)
        y = np.concatenate((self._slope_open, y[0]))
        m = y.size // self._step
        self._slope_open = y[m * self._step :]
        if m:
            picked = y[self._step - 1 : m * self._step : self._step]
            self._slope = np.concatenate((self._slope, np.diff(picked, prepend=self._last_y)))
            self._last_y = float(picked[-1])

    def _compare(self, until: NDArray[np.int64]) -> tuple[Floats, NDArray[np.bool_], Floats]:
        """Return the log-odds of a disturbance without the held share, what looks like tapping, and what a pulse lacks.

        `until` are the samples, counted from the last gap, at which the half seconds end.
        """
        n = until.size
        ends = until // self._step - self._end // self._step + self._past
        windows = neighbours(self._slope, self._window)
        starts = ends - self._window
        sums = np.add.reduce(windows, axis=1)
        now = windows[starts] - sums[starts, None] / self._window
        energy = np.einsum("hn,hn->h", now, now)
        powers = np.einsum("wn,wn->w", windows, windows) - sums * sums / self._window
        earlier = starts[:, None] - self._lags
        energy_before = np.maximum(powers[earlier], 0.0)
        product = np.concatenate(
            [np.einsum("hln,hn->hl", windows[earlier[k : k + BATCH]], now[k : k + BATCH]) for k in range(0, n, BATCH)]
        )
        likeness = product / np.sqrt(energy[:, None] * energy_before + TINY)
        unlike = (energy[:, None] + energy_before - 2.0 * product).min(axis=1)
        latest = neighbours(self._slope, self._short)[ends - self._short]
        burst = np.einsum("hn,hn->h", latest, latest) / self._short
        self._slope = self._slope[int(ends[-1]) - self._past :]

        self._energies = np.concatenate((self._energies, (energy, burst)), axis=1)
        usual = trailing(self._energies[0], n, USUAL_HOPS, lambda v, axis: quantile(v, 0.4, axis))
        usual_burst = trailing(self._energies[1], n, USUAL_HOPS, lambda v, axis: quantile(v, 0.5, axis))
        self._energies = self._energies[:, -USUAL_HOPS:]
        change = np.log10((energy + TINY) / (usual + TINY) + 1e-3)
        sudden = np.log10((burst + TINY) / (usual_burst + TINY) + 1e-3)
        shape = likeness.max(axis=1)
        odds = (
            OFFSET
            + WEIGHTS["unlike"] * np.log10(unlike / (2.0 * usual + TINY) + 1e-4)
            + WEIGHTS["more"] * np.maximum(change, 0.0)
            + WEIGHTS["less"] * np.maximum(-change, 0.0)
            + WEIGHTS["shape"] * (1.0 - shape)
            + WEIGHTS["burst"] * np.maximum(sudden, 0.0)
        )
        period = self._lag_s[(likeness >= FIRST_PEAK * shape[:, None]).argmax(axis=1)]
        tapping = (period < TAP_S) & (shape > TAP_SHAPE) & (change > 0.0)
        lack = self._lack(likeness, np.where(np.abs(change) < USUAL_CHANGE, shape, 1.0))
        return odds + LACK * lack, tapping, lack

    def _lack(self, likeness: Floats, shape: Floats) -> Floats:
        """Return how far the last seconds are from any pulse's likeness to itself (hops,), 0 where there is one."""
        n = shape.size
        self._likeness = np.concatenate((self._likeness[1 - TOGETHER_HOPS :], likeness))
        self._shapes = np.concatenate((self._shapes[1 - USUAL_HOPS :], shape))
        together = reduce(np.add, shifted(self._likeness, TOGETHER_HOPS)).max(axis=1) / TOGETHER_HOPS
        usual = trailing(self._shapes, n, USUAL_HOPS, lambda v, axis: quantile(v, 0.5, axis))
        return np.asarray(np.maximum(np.minimum(LIKE - usual, TOGETHER - together), 0.0))

    def _judge(
        self, starts: list[int], raw: Floats, odds: Floats, tapping: NDArray[np.bool_], lack: Floats
    ) -> list[Quality]:
        """Name what is seen in the samples themselves (hops, n), and give the qualities."""
        n, width = raw.shape
        finite: NDArray[np.bool_] = np.asarray(np.isfinite(raw).all(axis=1))
        held = np.add.reduce(raw[:, 1:] == raw[:, :-1], axis=1) > HELD * (width - 1)
        top, bottom = raw.max(axis=1), raw.min(axis=1)
        self._extremes = np.concatenate((self._extremes, (top, -bottom)), axis=1)
        highest, lowest = trailing(self._extremes, n, EXTREME_HOPS, np.fmax.reduce)
        self._extremes = self._extremes[:, -EXTREME_HOPS:]
        at_edge = [np.add.reduce(raw == edge[:, None], axis=1) for edge in (highest, -lowest)]
        clipped = np.maximum(*at_edge) >= CLIPPED * width
        odds = odds + WEIGHTS["held"] * held
        value = 1.0 / (1.0 + np.exp(np.minimum(np.maximum(odds, -30.0), 30.0)))
        columns = (finite, top == bottom, clipped, held, lack > 0.0, tapping, value)
        out = []
        for start, *seen in zip(starts, *(column.tolist() for column in columns), strict=True):
            cause = _cause(*seen)
            lost = cause is Cause.FLAT or cause is Cause.NOT_FINITE
            self._flat_hops = self._flat_hops + 1 if lost else 0
            if self._flat_hops > 1 and cause is Cause.FLAT:
                cause = Cause.PROBE_OFF
            self._say(cause, start + self._width)
            quality = seen[-1]
            number = 0.0 if lost else min(quality, BAD) if cause is Cause.CLIPPING else quality
            out.append(Quality(start, number, cause))
        return out

    def _say(self, cause: Cause | None, index: int) -> None:
        """Report the changes that have a name, at the end of the half second they were seen in."""
        if cause is Cause.PROBE_OFF and not self._off:
            self._note(Happening.PROBE_OFF, index)
            self._off = True
        elif self._off and cause not in (Cause.PROBE_OFF, Cause.FLAT, Cause.NOT_FINITE):
            self._note(Happening.PROBE_ON, index)
            self._off = False
        if cause is not self._state:
            if cause is Cause.CLIPPING:
                self._note(Happening.CLIPPING, index)
            elif cause is Cause.NOT_FINITE:
                self._note(Happening.NOT_FINITE, index)
        self._state = cause

    def _note(self, kind: Happening, index: int) -> None:
        self._events.append(StageEvent(index, index / self.fs_hz, kind))


def _cause(
    finite: bool, flat: bool, clipped: bool, held: bool, pulseless: bool, tapping: bool, value: float
) -> Cause | None:
    """Say why a half second is bad, or None."""
    if not finite:
        return Cause.NOT_FINITE
    if flat:
        return Cause.FLAT
    if clipped:
        return Cause.CLIPPING
    if value >= BAD:
        return None
    if held:
        return Cause.GAP
    if pulseless:
        return Cause.NOISE
    return Cause.TAPPING if tapping else Cause.MOTION
