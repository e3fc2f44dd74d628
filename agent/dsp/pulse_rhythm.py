"""The period of a pleth and how regular it is: the autocorrelation of its slope over the last 7.5 s.

It is kept as products of each second with what was so much earlier, per lag: seven of these are added up at a time.
"""

from collections import deque
from functools import reduce
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agent.dsp.trailing import shifted

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

HOP: Final = 8  # grid samples whose statistics are kept together
PERIOD_HOPS: Final = 4  # the period is looked for this often,
PART: Final = PERIOD_HOPS * HOP // 2  # at every second grid sample of these
PERIOD_S: Final = 7.5
SHORTEST_S, LONGEST_S = 0.23, 2.15
FIRST_PEAK: Final = 0.7  # the first autocorrelation peak this high against the highest is the period
GOOD_HEIGHT: Final = 0.4
SLIGHT_HEIGHT: Final = 0.1
NOISE_MOST: Final = 0.8  # of the power: what noise takes from the height is put back, but no more than of this
AROUND: Final = np.array([[-1], [0], [1]])  # a maximum's place, and those beside it
TINY: Final = 1e-30


class PulseRhythm:
    """Period (s) and regularity (0..1, the height of the autocorrelation's peak without noise) of a slope."""

    def __init__(self, grid_hz: float) -> None:
        self._wave_hz = grid_hz / 2
        self._parts = round(PERIOD_S * grid_hz / (PERIOD_HOPS * HOP))
        self._shortest, self._longest = int(SHORTEST_S * self._wave_hz), int(LONGEST_S * self._wave_hz)
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.period_s, self.regular = 0.8, 0.5
        self.restart()

    def restart(self) -> None:
        """Begin anew at the next hop, keeping only what was found."""
        self._hops = 0
        # Every second grid sample that is in no part yet, and those before it: slope and 1, or twice 0 where too loud.
        self._waves: Floats = np.zeros((2, self._longest + 1))
        self._products: Floats = np.zeros((self._parts - 1, 2, self._longest + 2))  # of these, per part and lag
        self._periods: deque[float] = deque(maxlen=12)
        self._regulars: deque[float] = deque(maxlen=7)

    def push(self, slope: Floats, quiet: NDArray[np.bool_], noise: Floats) -> tuple[Floats, Floats]:
        """Return period and regularity (n,) at each hop of `slope` (n, HOP); loud hops are left out.

        `noise` (n,) is the root mean square of what of the slope is noise.
        """
        n = noise.size
        kept = quiet.repeat(HOP // 2)
        self._waves = np.concatenate((self._waves, (slope[:, ::2].ravel() * kept, kept)), axis=1)
        period, regular = np.full(n, self.period_s), np.full(n, self.regular)
        ends = np.arange((-self._hops - 1) % PERIOD_HOPS, n, PERIOD_HOPS)
        self._hops += n
        for end, candidate, height in self._find(ends, noise[ends]) if ends.size else []:
            if height > 0.0:
                self._regulars.append(min(height, 1.0))
                self.regular = sorted(self._regulars)[len(self._regulars) // 2]
            if height > GOOD_HEIGHT:
                self._periods.append(candidate)
                self.period_s = sorted(self._periods)[len(self._periods) // 2]
            period[end:], regular[end:] = self.period_s, self.regular
        return period, regular

    def _find(self, ends: Ints, noise: Floats) -> list[tuple[int, float, float]]:
        """Return hop, period and height of the autocorrelation's peak of the time that ends with the hops `ends`."""
        low, high, n = self._shortest, self._longest, ends.size
        slope, quiet = self._waves
        new = np.full((n, 2, high + 2), float(PART))
        new[:, 0] = _products(slope, n, high + 1)
        if not quiet.all():
            new[:, 1] = _products(quiet, n, high + 1)
        products = np.concatenate((self._products, new))
        self._waves, self._products = self._waves[:, n * PART :], products[n:]
        sums = reduce(np.add, shifted(products, self._parts))
        points = self._parts * PART
        acf = sums[:, 0] / np.maximum(sums[:, 1], 0.15 * points)
        part = acf[:, low : high + 1]
        peak = (part >= acf[:, low - 1 : high]) & (part > acf[:, low + 1 : high + 2])
        height = np.where(peak, part, -1.0)
        best = np.maximum.reduce(height, axis=1)
        lag = (height >= FIRST_PEAK * best[:, None]).argmax(axis=1) + low
        known = (best >= SLIGHT_HEIGHT * acf[:, 0] + TINY) & (sums[:, 1, 0] >= 0.5 * points)
        columns = known, ends, lag, *acf[np.arange(n), lag + AROUND], acf[:, 0], noise
        found = []
        for sure, end, at, before, top, after, power, noise_now in zip(*map(np.ndarray.tolist, columns), strict=True):
            if sure:
                shift = 0.5 * (before - after) / min(before - 2.0 * top + after, -TINY)
                top -= 0.25 * (before - after) * shift  # noqa: PLW2901 - the top of the parabola
                pulse_power = power - min(noise_now * noise_now, NOISE_MOST * power)
                found.append((end, (at + shift) / self._wave_hz, top / pulse_power))
        return found


def _products(wave: Floats, parts: int, lags: int) -> Floats:
    """Sums of the products of `wave` (lags + n) with itself 0, 1... `lags` earlier, per part of `n`: (parts, lags + 1).

    A view made by hand shows each part as it was so much earlier; `wave` is contiguous.
    """
    item = wave.itemsize
    earlier = np.ndarray((parts, lags + 1, PART), wave.dtype, wave, lags * item, (PART * item, -item, item))
    return np.asarray(np.einsum("pls,ps->pl", earlier, earlier[:, 0]))
