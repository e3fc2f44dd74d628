"""Where a pulse may be: the candidates of a pleth, each with what speaks for and against it.

Two things are looked at. The slope of the wave between 0.4 and 3 Hz, whose maxima are the upslopes. And the phase of
the pulse's fundamental, from the one of a bank of narrow filters that fits the present rate: it survives noise and
tapping that hide every single pulse, and says nothing about an irregular rhythm, so how far it is believed depends
on how regular the wave has been (the height of its autocorrelation, noise removed).
"""

from bisect import bisect_left
from cmath import phase as cycles
from cmath import rect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from operator import attrgetter
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from agent.dsp.filters import filtered
from agent.dsp.pulse_rhythm import AROUND, HOP, TINY, PulseRhythm
from agent.dsp.trailing import highest, trailing

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

GRID_HZ: Final = 28.0  # the slope is looked at on a grid of at least this rate
SLOPE_HZ: Final = (0.35, 2.2)
NOISE_HZ: Final = 9.0
BANK_STEP_HZ: Final = 0.1  # the rates of the bank are multiples of about this
BANK: Final = np.arange(5, 42, 3)  # 0.5 to 4.1 Hz
BANK_WIDTH_HZ: Final = 0.3
WING_S: Final = 0.15  # a candidate is the largest slope this far around
LOOK_S: Final = 0.28  # what comes after a candidate and is waited for
# The slope around a pulse, at these times after it and against its usual maximum: the log-odds that each adds.
SHAPE_S: Final = np.array([-0.288, -0.192, -0.096, -0.032, 0.032, 0.096, 0.192, 0.288])
SHAPE: Final = np.array([-0.325, 0.658, -0.475, -0.736, -0.410, -0.324, -0.697, -1.205])  # by training/pleth.py
HIGHEST: Final = 3.0  # no more of it counts
TUNE_S: Final = 6.0  # what a narrow filter has forgotten of so long ago is less than 0.001
LEVEL_S, NOW_S, PEAK_S = 12.0, 1.25, 1.5
LOUD: Final = 3.5  # a hop of this energy against the usual is left out of the autocorrelation
SOUND: Final = 1.85  # energy below which the phase is learned
NEAR: Final = 0.1  # of a period: a beat of the rhythm this near a maximum of the slope is that maximum
PHASE_MEMORY: Final = 0.033
TWO_PI: Final = 2.0 * np.pi


class Candidate(NamedTuple):
    """Where a pulse may be; a tuple, made in a fraction of a frozen dataclass's time."""

    at: float  # grid samples since the stream began, sub-sample
    height: float  # slope against its usual maximum
    shape: float  # log-odds of a pulse by the slope around it
    phase: float  # deviation from the rhythm's phase, cycles -0.5..0.5
    excess: float  # energy of the last second against the usual
    noise: float  # noise of `height`, from above the pulse band
    period_s: float
    regular: float  # how regular the wave has been, 0..1
    ready: int  # the grid sample at which it is known
    slope: bool  # a maximum of the slope, not only of the rhythm


@dataclass(frozen=True, slots=True, eq=False)
class _Design:
    """What depends on the sampling rate alone."""

    step: int  # samples to a grid sample
    grid_hz: float
    slope: tuple[Floats, Floats]
    high: tuple[Floats, Floats]
    narrow: tuple[Floats, Floats]
    noise_gain: float  # RMS of the slope on the grid for white noise whose high-passed RMS is 1
    delay_s: float  # of an upslope
    bank_hz: Floats
    repeat: int  # grid samples after which the whole bank's rates begin anew
    mixer: Floats  # (2, bank, 4 * repeat), real and imaginary: turns each rate of the bank to 0 Hz
    turned: Floats  # (bank, 4 * repeat), cycles: and how far
    detune_hz: Floats  # phase of the narrow filter, in cycles, off its centre
    detune_phase: Floats


@lru_cache(maxsize=8)
def _design(fs_hz: float) -> _Design:
    step = max(1, int(fs_hz / GRID_HZ))
    grid = fs_hz / step
    # A slope lets noise rise with its frequency: the upper edge is of one order more.
    slope_high, slope_low = (
        signal.butter(2, SLOPE_HZ[0], btype="high", fs=fs_hz),
        signal.butter(3, SLOPE_HZ[1], fs=fs_hz),
    )
    slope = np.convolve(slope_high[0], slope_low[0]), np.convolve(slope_high[1], slope_low[1])
    high = signal.butter(2, min(NOISE_HZ, 0.36 * fs_hz), btype="high", fs=fs_hz)
    narrow = signal.butter(2, BANK_WIDTH_HZ, fs=grid)
    impulse = np.zeros(int(12 * fs_hz))
    impulse[0] = 1.0
    y = signal.lfilter(*slope, impulse)
    gain = np.sqrt(np.sum((y[step:] - y[:-step]) ** 2) / np.sum(signal.lfilter(*high, impulse) ** 2))
    phase = float(np.angle(signal.freqz(*slope, [2.0], fs=fs_hz)[1][0])) / (2 * np.pi)
    repeat = round(grid / BANK_STEP_HZ)
    mixer = np.exp(-2j * np.pi * np.outer(BANK, np.arange(repeat)) / repeat)
    detune = np.linspace(-0.5, 0.5, 101)
    return _Design(
        step=step,
        grid_hz=grid,
        slope=slope,
        high=high,
        narrow=narrow,
        noise_gain=float(gain),
        delay_s=-phase / 2.0 + 0.5 / grid,
        repeat=repeat,
        bank_hz=BANK * grid / repeat,
        # Apart: as complex numbers they are filtered at half the speed. Four times: any three periods are one slice.
        mixer=np.tile(np.array((mixer.real, mixer.imag)), 4),
        turned=np.tile(np.outer(BANK, np.arange(repeat)) % repeat / repeat, 4),
        detune_hz=detune,
        detune_phase=np.angle(signal.freqz(*narrow, detune, fs=grid)[1]) / (2 * np.pi),
    )


class PulseFeatures:
    """Candidates of a stream of samples; `push` takes float64 (n,), n > 0, without NaN."""

    def __init__(self, fs_hz: float, shape: Floats = SHAPE) -> None:
        self._design = _design(fs_hz)
        self._weights = shape
        self.grid_hz = grid = self._design.grid_hz
        self.delay_s = self._design.delay_s
        self._wing = max(1, round(WING_S * grid))
        self._tune = round(TUNE_S * grid)
        self._beyond: Floats = np.full(self._wing, -np.inf)
        self.look = max(self._wing, HOP, round(LOOK_S * grid))
        self._around = np.minimum(np.rint(SHAPE_S * grid).astype(np.int64), self.look)[:, None]
        hops = grid / HOP
        self._level_hops, self._now_hops = round(LEVEL_S * hops), round(NOW_S * hops)
        self._peak_hops = round(PEAK_S * hops)
        self._rhythm = PulseRhythm(grid)
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._rhythm.reset()
        self.restart()

    def restart(self) -> None:
        """Begin anew at the next sample, keeping only the rhythm."""
        self._rhythm.restart()
        self._first: float | None = None
        self._z: list[Floats] = [np.zeros(max(map(len, ba)) - 1) for ba in (self._design.slope, self._design.high)]
        self._band = -1  # the one of the bank that is listened to, and its state
        self._z_band: Floats = np.zeros((2, 2))
        self._heard: Floats = np.zeros(self._tune)  # the slope up to the newest grid sample
        self._rest: Floats = np.zeros((2, 1))  # the last grid sample's end, then filtered samples that fill none
        self.grid = 0  # grid samples made
        self._from = 0  # grid index of the first sample of the slope kept
        self._u: Floats = np.empty(0)
        self._open: Floats = np.empty((2, 0))  # slope and noise power of the unfinished hop
        self._hops = 0
        self._largest: Floats = np.full(self._peak_hops - 1, -np.inf)  # per hop
        self._powers: Floats = np.empty((2, 0))  # per hop: energy, noise power
        self._usual: Floats = np.empty((3, 0))  # per hop: largest slope of 1.5 s, noise power, energy now
        # Of the newest hop: level, excess, noise, period, regular.
        self._known: Floats = np.array([[0.0], [0.0], [0.0], [self._rhythm.period_s], [self._rhythm.regular]])
        self._spin = 0j
        self._rhythm_phase = 0.0
        self._last_deviation = 0.0

    def push(self, x: Floats) -> list[Candidate]:
        """Take samples, give the candidates they make ready."""
        most = (2 * self._design.repeat - 1) * self._design.step  # 20 s, of which two periods of the mixer are enough
        return [found for k in range(0, x.size, most) for found in self._push(x[k : k + most])]

    def _push(self, x: Floats) -> list[Candidate]:
        slope, noise_power = self._make_grid(x)
        if not slope.size:
            return []
        closed = self._hops
        known = self._close_hops(slope, noise_power)
        self._u = np.concatenate((self._u, slope))
        self._heard = np.concatenate((self._heard[-self._tune :], slope))
        grid = np.arange(self.grid, self.grid + slope.size)
        self.grid += slope.size
        hop = (grid + 1) // HOP - closed  # the column of `known` that is known then
        phase = self._phase(known[3], hop)
        early = max(0, self.look - int(grid[0]))
        if early >= grid.size:
            return []
        return self._look_for_candidates(grid[early:], phase[early:], known, hop[early:])

    def _make_grid(self, x: Floats) -> tuple[Floats, Floats]:
        """Return slope (m,) and noise power (m,) of the grid samples that `x` completes."""
        design = self._design
        if self._first is None:
            self._first = float(x[0])
        x = x - self._first
        slope, self._z[0] = filtered(design.slope, x, self._z[0])
        high, self._z[1] = filtered(design.high, x, self._z[1])
        y = np.concatenate((self._rest, (slope, high)), axis=1)
        m = (y.shape[1] - 1) // design.step
        self._rest = y[:, m * design.step :]
        ends = y[0, : m * design.step + 1 : design.step]
        u = ends[1:] - ends[:-1]
        high = y[1, 1 : m * design.step + 1].reshape(m, design.step)
        power = np.einsum("ms,ms->m", high, high) / design.step
        return u, power

    def _close_hops(self, slope: Floats, noise_power: Floats) -> Floats:
        """Return what is known (5, n + 1) at the last hop and at each of the `n` that are full now."""
        open_ = np.concatenate((self._open, (slope, noise_power)), axis=1)
        n = open_.shape[1] // HOP
        self._open = open_[:, n * HOP :]
        if not n:
            return self._known
        u, power = open_[:, : n * HOP].reshape(2, n, HOP)
        energy = np.einsum("hs,hs->h", u, u) / HOP
        powers = self._powers = np.concatenate(
            (self._powers[:, 1 - self._now_hops :], (energy, _mean(power, axis=1))), axis=1
        )
        largest = np.concatenate((self._largest, u.max(axis=1)))
        self._largest = largest[n:]
        peaks = np.maximum(highest(largest, self._peak_hops), 0.0)
        now, noise_now = trailing(powers, n, self._now_hops, _mean)
        self._usual = np.concatenate((self._usual[:, 1 - self._level_hops :], (peaks, powers[1, -n:], now)), axis=1)
        level, noise, usual = trailing(self._usual, n, self._level_hops, _middles)
        noise_now = self._design.noise_gain * np.sqrt(noise_now)
        noise = np.maximum(self._design.noise_gain * np.sqrt(noise), noise_now) / (level + TINY)
        period, regular = self._rhythm.push(u, energy < LOUD * usual, noise_now)
        known = np.concatenate((self._known, (level, now / (usual + TINY), noise, period, regular)), axis=1)
        self._known = known[:, -1:]
        self._hops += n
        return known

    def _phase(self, period_s: Floats, hop: Ints) -> Floats:
        """Phase (cycles) of the fundamental `look` before each of the newest grid samples, by the nearest filter.

        The filter lags by the better part of a second: that is why it is asked later, and turned back.
        """
        design = self._design
        rate = 1.0 / period_s
        nearest = np.rint((rate - design.bank_hz[0]) / (design.bank_hz[1] - design.bank_hz[0]))
        nearest = np.minimum(np.maximum(nearest, 0), len(BANK) - 1).astype(np.int64)
        off = np.interp(rate - design.bank_hz[nearest], design.detune_hz, design.detune_phase)
        off += rate * self.look / design.grid_hz
        return np.asarray(self._listen(nearest[hop]) - off[hop])

    def _listen(self, band: Ints) -> Floats:
        """Return the phase (cycles) of the newest grid samples in the narrow filter of each one's `band`: both (n,).

        Only one of the bank is kept going. Another begins TUNE_S earlier, which is all that it remembers.
        """
        design, n = self._design, band.size
        parts, begin = [], 0
        for end in [*((band[1:] != band[:-1]).nonzero()[0] + 1).tolist(), n]:
            first = begin
            if band[begin] != self._band:
                self._band = int(band[begin])
                first, self._z_band = begin - self._tune, np.zeros((2, 2))
            at = (self.grid - n + first) % design.repeat
            mixed = (
                self._heard[first + self._tune : end + self._tune] * design.mixer[:, self._band, at : at + end - first]
            )
            part, self._z_band = filtered(design.narrow, mixed, self._z_band)
            real, imaginary = part[:, begin - first :]
            turned = design.turned[self._band, at + begin - first : at + end - first]
            parts.append(np.arctan2(imaginary, real) / TWO_PI + turned)
            begin = end
        return np.concatenate(parts)

    def _look_for_candidates(self, ready: Ints, phase: Floats, known: Floats, hop: Ints) -> list[Candidate]:
        """Describe the slope's maxima and the rhythm's beats among the grid samples that are `ready` now."""
        u, wing = self._u, self._wing
        begin = int(ready[0]) - (self.look + self._from)  # the place in `u` of the first one judged now
        end = begin + ready.size
        around = highest(np.concatenate((self._beyond, u, self._beyond)), 2 * wing + 1)
        seen = ((u == around) & (u > 0.0)).nonzero()[0].tolist()
        maxima = seen[bisect_left(seen, max(begin, 1)) : bisect_left(seen, end)]
        places = [place - begin for place in maxima]
        expected, found = [self._rhythm_phase], []
        if maxima:
            near, rows = u[np.array(maxima) + AROUND], known[:, hop[places]]
            columns = *near.tolist(), phase[places].tolist(), rows.T.tolist(), self._shapes(maxima, rows[0])
            for place, left, top, right, turn, (level, excess, noise, period_s, regular), shape in zip(
                places, *columns, strict=True
            ):
                shift = min(max(0.5 * (left - right) / min(left - 2 * top + right, -TINY), -0.5), 0.5)
                height = (top - 0.25 * (left - right) * shift) / (level + TINY)
                weight = min(max(height, 0.0), 1.2) ** 8 if excess < SOUND else 0.0
                self._spin += PHASE_MEMORY * (rect(weight + 1e-9, TWO_PI * turn) - self._spin)
                expected.append(cycles(self._spin) / TWO_PI)
                departs = turn - expected[-1]
                departs -= round(departs)
                at = begin + self._from + place
                told = at + self.look
                found.append(
                    Candidate(at + shift, height, shape, departs, excess, noise, period_s, regular, told, slope=True)
                )
        lasts = [end - start for start, end in pairwise((0, *places, ready.size))]
        found += self._beats(begin, phase - np.repeat(expected, lasts), known, hop, seen)
        self._rhythm_phase = expected[-1]
        drop = max(0, end - 2 * wing - 1)
        self._u, self._from = u[drop:], self._from + drop
        return sorted(found, key=_ready)

    def _beats(self, begin: int, deviation: Floats, known: Floats, hop: Ints, seen: list[int]) -> list[Candidate]:
        """Describe the rhythm's own beats: where the phase passes the expected one, and no maximum is `seen` near."""
        u = self._u
        deviation -= np.rint(deviation)
        deviation = np.concatenate(([self._last_deviation], deviation))
        self._last_deviation = float(deviation[-1])
        early = deviation < 0.0
        passed = (early[:-1] > early[1:]).nonzero()[0]
        sure = seen[: bisect_left(seen, u.size - self._wing)]  # maxima, whatever comes
        crossings = passed, deviation[passed], deviation[passed + 1], known[3, hop[passed]]
        own, fractions = [], []
        for k, before, after, period_s in zip(*map(np.ndarray.tolist, crossings), strict=True):
            place, near = begin + k, NEAR * period_s * self.grid_hz
            next_ = bisect_left(sure, place)
            if (next_ and place - sure[next_ - 1] < near) or (next_ < len(sure) and sure[next_] - place < near):
                continue
            if after - before < 0.5:
                own.append(k)
                fractions.append(after / (after - before))
        if not own:
            return []
        places, rows = begin + np.array(own), known[:, hop[own]]
        described = places.tolist(), fractions, u[places].tolist(), rows.T.tolist(), self._shapes(places, rows[0])
        found = []
        for place, fraction, top, (level, excess, noise, period_s, regular), shape in zip(*described, strict=True):
            at, height = self._from + place, top / (level + TINY)
            told = at + self.look
            found.append(
                Candidate(at - fraction, height, shape, 0.0, excess, noise, period_s, regular, told, slope=False)
            )
        return found

    def _shapes(self, places: Sequence[int] | Ints, level: Floats) -> list[float]:
        """Weigh the slope around `places` in it against the usual maxima `level` there."""
        around = self._u[np.maximum(np.asarray(places) + self._around, 0)] / (level + TINY)
        around = np.minimum(np.maximum(around, -HIGHEST), HIGHEST)
        return list(np.einsum("ak,a->k", around, self._weights).tolist())


_ready = attrgetter("ready")


def _mean(values: Floats, axis: int) -> Floats:
    """As np.mean, without what it asks first."""
    return np.asarray(np.add.reduce(values, axis=axis) / values.shape[axis])


def _middles(values: Floats, axis: int) -> Floats:
    """The upper median of levels and of noise powers, the 40 % quantile of energies: (3, ..., hops) to (3, ...)."""
    ranked, hops = np.sort(values, axis=axis), values.shape[axis]
    return np.array((ranked[0, ..., hops // 2], ranked[1, ..., hops // 2], ranked[2, ..., int(0.4 * (hops - 1))]))
