"""Where a pulse may be: the candidates of a pleth, each with what speaks for and against it.

Two things are looked at. The slope of the wave between 0.4 and 3 Hz, whose maxima are the upslopes. And the phase of
the pulse's fundamental, from the one of a bank of narrow filters that fits the present rate: it survives noise and
tapping that hide every single pulse, and says nothing about an irregular rhythm, so how far it is believed depends
on how regular the wave has been (the height of its autocorrelation, noise removed).
"""

from collections import deque
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft, signal

from agent.dsp.filters import filtered
from agent.dsp.trailing import highest, trailing, windows

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Complexes = NDArray[np.complex128]

GRID_HZ: Final = 28.0  # the slope is looked at on a grid of at least this rate
SLOPE_HZ: Final = (0.35, 2.5)
NOISE_HZ: Final = 9.0
BANK_STEP_HZ: Final = 0.1  # the rates of the bank are multiples of about this
BANK: Final = np.arange(5, 42, 3)  # 0.5 to 4.1 Hz
BANK_WIDTH_HZ: Final = 0.3
WING_S: Final = 0.15  # a candidate is the largest slope this far around
LOOK_S: Final = 0.28  # what comes after a candidate and is waited for
HOP: Final = 8  # grid samples whose statistics are kept together
LEVEL_S, NOW_S, PEAK_S, PERIOD_S = 12.0, 1.25, 1.5, 7.5
PERIOD_HOPS: Final = 4  # the period is looked for this often
SHORTEST_S, LONGEST_S = 0.23, 2.15
FIRST_PEAK: Final = 0.7  # the first autocorrelation peak this high against the highest is the period
LOUD: Final = 3.5  # a hop of this energy against the usual is left out of the autocorrelation
GOOD_HEIGHT: Final = 0.4
SLIGHT_HEIGHT: Final = 0.1
SOUND: Final = 1.85  # energy below which the phase is learned
NEAR: Final = 0.1  # of a period: a beat of the rhythm this near a maximum of the slope is that maximum
PHASE_MEMORY: Final = 0.033
SLOWLY: Final = np.array([PHASE_MEMORY]), np.array([1.0, PHASE_MEMORY - 1.0])
AROUND: Final = np.array([[-1], [0], [1]])  # a maximum's place, and those beside it
TINY: Final = 1e-30


class Candidate(NamedTuple):
    """Where a pulse may be; a tuple, made in a fraction of a frozen dataclass's time."""

    at: float  # grid samples since the stream began, sub-sample
    height: float  # slope against its usual maximum
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
    mixer: Floats  # (2, bank, 3 * repeat), real and imaginary: turns each rate of the bank to 0 Hz
    detune_hz: Floats  # phase of the narrow filter, in cycles, off its centre
    detune_phase: Floats


@lru_cache(maxsize=8)
def _design(fs_hz: float) -> _Design:
    step = max(1, int(fs_hz / GRID_HZ))
    grid = fs_hz / step
    slope = signal.butter(2, SLOPE_HZ, btype="band", fs=fs_hz)
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
        # Apart: as complex numbers they are filtered at half the speed. Three times: any two periods are one slice.
        mixer=np.tile(np.array((mixer.real, mixer.imag)), 3),
        detune_hz=detune,
        detune_phase=np.angle(signal.freqz(*narrow, detune, fs=grid)[1]) / (2 * np.pi),
    )


class PulseFeatures:
    """Candidates of a stream of samples; `push` takes float64 (n,), n > 0, without NaN."""

    def __init__(self, fs_hz: float) -> None:
        self._design = _design(fs_hz)
        self.grid_hz = grid = self._design.grid_hz
        self.delay_s = self._design.delay_s
        self._wing = max(1, round(WING_S * grid))
        self._beyond: Floats = np.full(self._wing, -np.inf)
        self.look = max(self._wing, HOP, round(LOOK_S * grid))
        hops = grid / HOP
        self._level_hops, self._now_hops = round(LEVEL_S * hops), round(NOW_S * hops)
        self._peak_hops, self._period_hops = round(PEAK_S * hops), round(PERIOD_S * hops)
        # Of the autocorrelation, at every second grid sample:
        self._wave_hz = grid / 2
        self._points = self._period_hops * HOP // 2
        self._shortest = int(SHORTEST_S * self._wave_hz)
        self._longest = min(int(LONGEST_S * self._wave_hz), self._points - 2)
        self._size = fft.next_fast_len(self._points + self._longest + 2, real=True)
        self._products_of_all = self._points - np.arange(self._longest + 2)[None]
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.period_s, self.regular = 0.8, 0.5
        self.restart()

    def restart(self) -> None:
        """Begin anew at the next sample, keeping only the rhythm."""
        self._first: float | None = None
        self._z: list[Floats] = [np.zeros(4), np.zeros(2), np.zeros((2, len(BANK), 2))]
        self._rest: Floats = np.zeros((2, 1))  # the last grid sample's end, then filtered samples that fill none
        self.grid = 0  # grid samples made
        self._from = 0  # grid index of the first sample of the slope kept
        self._u: Floats = np.empty(0)
        self._open: Floats = np.empty((2, 0))  # slope and noise power of the unfinished hop
        self._hops = 0
        self._largest: Floats = np.full(self._peak_hops - 1, -np.inf)  # per hop
        self._powers: Floats = np.empty((2, 0))  # per hop: energy, noise power
        self._usual: Floats = np.empty((3, 0))  # per hop: largest slope of 1.5 s, noise power, energy now
        self._quiet: Floats = np.zeros(self._period_hops - 1)  # per hop: 1, or 0 where it is too loud
        self._waves: Floats = np.zeros(self._points - HOP // 2)  # every second grid sample of these
        self._periods: deque[float] = deque(maxlen=12)
        self._regulars: deque[float] = deque(maxlen=7)
        # Of the newest hop: level, excess, noise, period, regular.
        self._known: Floats = np.array([[0.0], [0.0], [0.0], [self.period_s], [self.regular]])
        self._spin: Complexes = np.zeros(1, dtype=np.complex128)
        self._rhythm_phase = 0.0
        self._last_deviation = 0.0

    def push(self, x: Floats) -> list[Candidate]:
        """Take samples, give the candidates they make ready."""
        most = (2 * self._design.repeat - 1) * self._design.step  # 20 s, of which two periods of the mixer are enough
        return [found for k in range(0, x.size, most) for found in self._push(x[k : k + most])]

    def _push(self, x: Floats) -> list[Candidate]:
        slope, noise_power, bank = self._make_grid(x)
        if not slope.size:
            return []
        closed = self._hops
        known = self._close_hops(slope, noise_power)
        self._u = np.concatenate((self._u, slope))
        ready = np.arange(max(self.grid, self.look), self.grid + slope.size)
        self.grid += slope.size
        if not ready.size:
            return []
        hop = (ready + 1) // HOP - closed  # the column of `known` that is known then
        phase = self._phase(bank[..., -ready.size :], ready, known[3], hop)
        return self._look_for_candidates(ready, phase, known, hop)

    def _make_grid(self, x: Floats) -> tuple[Floats, Floats, Floats]:
        """Return slope (m,), noise power (m,) and bank (2, rates, m) of the grid samples that `x` completes."""
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
        begin = self.grid % design.repeat
        bank = u * design.mixer[..., begin : begin + m]
        if m:  # scipy's loop loses the state of no samples
            bank, self._z[2] = filtered(design.narrow, bank, self._z[2])
        return u, power, bank

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
        quiet = (energy < LOUD * usual).astype(float)
        self._quiet = np.concatenate((self._quiet[1 - self._period_hops :], quiet))
        self._waves = np.concatenate((self._waves[HOP // 2 - self._points :], (u[:, ::2] * quiet[:, None]).ravel()))
        period, regular = self._follow_rhythm(n, noise_now)
        known = np.concatenate((self._known, (level, now / (usual + TINY), noise, period, regular)), axis=1)
        self._known = known[:, -1:]
        self._hops += n
        return known

    def _follow_rhythm(self, n: int, noise: Floats) -> tuple[Floats, Floats]:
        """Return period and regularity at each of the `n` newest hops."""
        period, regular = np.full(n, self.period_s), np.full(n, self.regular)
        ends = np.arange((-self._hops - 1) % PERIOD_HOPS, n, PERIOD_HOPS)
        for end, candidate, height in self._find_periods(n, ends, noise[ends]) if ends.size else []:
            if height > 0.0:
                self._regulars.append(min(height, 1.0))
                self.regular = sorted(self._regulars)[len(self._regulars) // 2]
            if height > GOOD_HEIGHT:
                self._periods.append(candidate)
                self.period_s = sorted(self._periods)[len(self._periods) // 2]
            period[end:], regular[end:] = self.period_s, self.regular
        return period, regular

    def _find_periods(self, n: int, ends: Ints, noise: Floats) -> list[tuple[int, float, float]]:
        """Return hop, period and height of the autocorrelation's peak of the time that ends with the hops `ends`."""
        low, high, points = self._shortest, self._longest, self._points
        first = self._quiet.size - n + int(ends[0]) + 1 - self._period_hops
        wave = windows(self._waves, points, first * HOP // 2, PERIOD_HOPS * HOP // 2)
        count = self._products_of_all
        if not self._quiet.all():
            quiet = windows(self._quiet, self._period_hops, first, PERIOD_HOPS).repeat(HOP // 2, axis=1)
            count = np.rint(_products(quiet, self._size)[:, : high + 2])
        acf = _products(wave, self._size)[:, : high + 2] / np.maximum(count, 0.15 * points)
        noise_share = np.minimum(np.square(noise) / (acf[:, 0] + TINY), 0.8)
        acf = acf / (acf[:, :1] + TINY)
        part = acf[:, low : high + 1]
        peak = (part >= acf[:, low - 1 : high]) & (part > acf[:, low + 1 : high + 2])
        height = np.where(peak, part, -1.0)
        best = height.max(axis=1)
        lag = (height >= FIRST_PEAK * best[:, None]).argmax(axis=1) + low
        before, top, after = acf[np.arange(ends.size), lag + AROUND]
        shift = 0.5 * (before - after) / np.minimum(before - 2.0 * top + after, -TINY)
        height = (top - 0.25 * (before - after) * shift) / (1.0 - noise_share)
        known = (best >= SLIGHT_HEIGHT) & (count[:, 0] >= 0.5 * points)
        period_s = (lag + shift) / self._wave_hz
        return list(zip(ends[known].tolist(), period_s[known].tolist(), height[known].tolist(), strict=True))

    def _phase(self, bank: Floats, ready: Ints, period_s: Floats, hop: Ints) -> Floats:
        """Phase (cycles) of the fundamental `look` before each of `ready`, by the filter nearest its rate.

        The filter lags by the better part of a second: that is why it is asked later, and turned back.
        """
        design = self._design
        rate = 1.0 / period_s
        nearest = np.rint((rate - design.bank_hz[0]) / (design.bank_hz[1] - design.bank_hz[0]))
        nearest = np.minimum(np.maximum(nearest, 0), len(BANK) - 1).astype(np.int64)
        detuned = np.interp(rate - design.bank_hz[nearest], design.detune_hz, design.detune_phase)
        back = rate * self.look / design.grid_hz
        band = nearest[hop]
        real, imaginary = bank[:, band, np.arange(ready.size)]
        turned = (BANK[band] * ready % design.repeat) / design.repeat
        return np.asarray(np.arctan2(imaginary, real) / (2 * np.pi) + turned - detuned[hop] - back[hop])

    def _look_for_candidates(self, ready: Ints, phase: Floats, known: Floats, hop: Ints) -> list[Candidate]:
        """Describe the slope's maxima and the rhythm's beats among the grid samples that are `ready` now."""
        u, wing = self._u, self._wing
        n = ready - (self.look + self._from)  # their place in `u`
        first, end = int(n[0]), int(n[-1]) + 1
        around = highest(np.concatenate((self._beyond, u, self._beyond)), 2 * wing + 1)
        seen = ((u == around) & (u > 0.0)).nonzero()[0]
        maxima = seen[(seen >= max(first, 1)) & (seen < end)]
        left, top, right = u[maxima + AROUND]
        shift = 0.5 * (left - right) / np.minimum(left - 2 * top + right, -TINY)
        shift = np.minimum(np.maximum(shift, -0.5), 0.5)
        height = top - 0.25 * (left - right) * shift

        k = maxima - first
        level, excess, *_ = known[:, hop[k]]
        relative = height / (level + TINY)
        weight = np.where(excess < SOUND, np.minimum(np.maximum(relative, 0.0), 1.2) ** 8, 0.0) + 1e-9
        spins = weight * np.exp(2j * np.pi * phase[k])
        if k.size:
            spins, self._spin = filtered(SLOWLY, spins, self._spin)
        expected = np.arctan2(spins.imag, spins.real) / (2 * np.pi)
        departs = phase[k] - expected

        # The rhythm's own beats: where the phase passes the expected one.
        deviation = np.empty(n.size + 1)
        deviation[0] = self._last_deviation
        expected = np.concatenate(([self._rhythm_phase], expected))
        deviation[1:] = phase - expected[maxima.searchsorted(n, side="right")]
        deviation[1:] -= np.rint(deviation[1:])
        before, after = deviation[:-1], deviation[1:]
        rhythm = ((before < 0.0) & (after >= 0.0) & (after - before < 0.5)).nonzero()[0]
        within = NEAR * known[3, hop[rhythm]] * self.grid_hz
        apart = np.abs(seen[seen < u.size - wing][:, None] - n[rhythm])
        rhythm = rhythm[(apart >= within).all(axis=0)]
        fraction = after[rhythm] / (after[rhythm] - before[rhythm])
        self._last_deviation, self._rhythm_phase = float(deviation[-1]), float(expected[-1])

        at = np.concatenate((maxima + self._from + shift, n[rhythm] + self._from - fraction))
        own = np.concatenate((k, rhythm))
        level, excess, noise, period, regular = known[:, hop[own]]
        height = np.concatenate((height, u[n[rhythm]])) / (level + TINY)
        departs = np.concatenate((departs - np.rint(departs), np.zeros(rhythm.size)))
        slope = [True] * k.size + [False] * rhythm.size
        columns = (at, height, departs, excess, noise, period, regular, ready[own])
        found = map(Candidate._make, zip(*(column.tolist() for column in columns), slope, strict=True))
        drop = max(0, end - 2 * wing - 1)
        self._u, self._from = u[drop:], self._from + drop
        return sorted(found, key=_ready)


_ready = attrgetter("ready")


def _products(rows: Floats, size: int) -> Floats:
    """Sums of the products of each row with itself shifted by 0, 1, 2... (zeros beyond it; `size` leaves room)."""
    return np.asarray(np.fft.irfft(np.square(np.abs(np.fft.rfft(rows, size))), size))


def _mean(values: Floats, axis: int) -> Floats:
    """As np.mean, without what it asks first."""
    return np.asarray(np.add.reduce(values, axis=axis) / values.shape[axis])


def _middles(values: Floats, axis: int) -> Floats:
    """The upper median of levels and of noise powers, the 40 % quantile of energies: (3, ..., hops) to (3, ...)."""
    ranked, hops = np.sort(values, axis=axis), values.shape[axis]
    return np.array((ranked[0, ..., hops // 2], ranked[1, ..., hops // 2], ranked[2, ..., int(0.4 * (hops - 1))]))
