"""What the R-peak detector looks at: two bands of the ECG, their envelopes, and the candidates found in them.

Per sample, vectorised, with carried state::

    x (mV) → spikes out → low-pass 35 Hz                                     where R is
                        → band-pass 6-24 Hz → slope → square → low-pass → A   most of a QRS, some of a T wave
                        → band-pass 16-45 Hz → slope → square → low-pass → B  steep parts; little electrode motion

A candidate is a local maximum of envelope A over ±100 ms. Everything else is computed per candidate, all candidates
of a block at once: amplitudes against what came before, the envelopes' course around it, a patch of the wave.
All features are logarithms of ratios within the signal, so neither gain nor polarity changes them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent.dsp.filters import RunningFilter, SpikeFilter, band_slope, low_pass

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CONFIRM_S = 0.100  # a candidate is the highest of A this long before and after
MEMORY_S = 2.3  # how far back features look
UPWARD = 1.2  # preference of an upward deflection as R
FLOOR = 1e-3  # of the candidate's own peak: below this the background counts as silent (60 dB)
NARROWEST_S = 0.020  # after the 35 Hz low-pass: a pulse of 10 ms lasts 17-19 ms, a QRS of 40 ms 36 ms
SMALLEST_MV = 0.16  # peak to peak of the low-passed wave: a QRS of 0.15 mV on a silent line is not counted (EC13),
SILENT = -5.2  # silent: a quarter of the time below 0.55 % of the QRS; a real ECG is not, whatever the gain
LOUDEST = 10.0  # the background counts as at most so many times the candidate
LEAST_SLOPE_MV_PER_S = 0.02  # below it there is rounding noise only: a QRS of 0.05 mV has 0.5

_AROUND_S = (-0.30, -0.24, -0.20, -0.16, -0.12, -0.08, -0.04, 0.04, 0.07, 0.10)
_PAST_S = -0.16 - 0.04 * np.arange(50)
_PAST_RANKS = (2, 12, 25, 37, 45, 49)  # of 50 sorted values: 5, 25, 50, 75, 90 and 100 %
_QUARTER = 1
_PATCH_S = 0.01 * np.arange(-10, 11)
N_STATIC = 4 + 2 * len(_AROUND_S) + 2 * len(_PAST_RANKS)


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Candidates of one push, oldest first.

    `peak`: sample of the envelope's maximum; `r`: sample of the R-peak; `log_a`, `log_b`: natural logarithms of
    the envelopes' peaks (mV/s); `size_mv`: peak to peak of the low-passed wave around R;
    `features`: (n, N_STATIC); `patch`: (n, 21) unit-norm slope wave, 10 ms apart.
    """

    peak: Ints
    r: Ints
    log_a: Floats
    log_b: Floats
    size_mv: Floats
    features: Floats
    patch: Floats

    def only(self, keep: NDArray[np.bool_]) -> "Candidates | None":
        """Return the chosen ones, None when there are none."""
        if not keep.any():
            return None
        parts = (self.peak, self.r, self.log_a, self.log_b, self.size_mv, self.features, self.patch)
        return Candidates(*(part[keep] for part in parts))


class QrsFrontEnd:
    """Filters, envelopes and candidates of one lead. `delay_s`: from an R-peak to its candidate's confirmation."""

    def __init__(self, fs_hz: float) -> None:
        self.fs_hz = fs_hz
        self._spikes = SpikeFilter(fs_hz)
        self._wave = low_pass(fs_hz, 35.0)
        self._bands = (band_slope(fs_hz, 6.0, 24.0), band_slope(fs_hz, 16.0, 45.0))
        self._smooth: RunningFilter = low_pass(fs_hz, 5.0, 3)
        self.confirm = round(CONFIRM_S * fs_hz)
        self._memory = round(MEMORY_S * fs_hz)
        self._rows = np.zeros((4, 4 * self._memory))  # low-passed wave, slope wave A, envelopes A and B
        self._at = 0  # sample of column 0
        self._end = 0  # columns filled
        self._done = 0  # columns searched for candidates
        self._clear(0)
        self._delay_wave, self._delay_slope, self._delay_a = self._measure_delays()
        self.delay_s = (self._delay_a + self.confirm) / fs_hz
        around = self._samples(_AROUND_S)
        self._around, self._past = around, self._samples(_PAST_S)
        self._near = self._samples(0.01 * np.arange(-7, 3))
        self._patch = self._samples(_PATCH_S) - (self._delay_a - self._delay_slope)
        self._energy = np.arange(-round(0.045 * fs_hz), round(0.045 * fs_hz) + 1) - (self._delay_a - self._delay_slope)
        half = round(0.06 * fs_hz)
        self._search = np.arange(-half, half + 1) + (self._delay_wave - self._delay_slope)
        self._span = self._samples(0.01 * np.arange(-15, 11)) - (self._delay_a - self._delay_wave)

    def restart(self, index: int) -> None:
        """Forget the signal: the next sample is `index` and finds every filter at rest on it."""
        for stage in (self._spikes, self._wave, *self._bands, self._smooth):
            stage.restart()
        self._clear(index)

    def push(self, x: Floats) -> Candidates | None:
        """Take finite samples (n,) in mV; give the candidates they confirm, None when there is none."""
        n = len(x)
        if not n:
            return None
        if self._end + n > self._rows.shape[1]:
            self._make_room(n)
        if self._end + self._at == self._first:
            self._rows[0, : self._end] = x[0]
        x = self._spikes.push(x)
        new = slice(self._end, self._end + n)
        slope_a = self._bands[0].push(x)
        squares = np.empty((n, 2))
        np.multiply(slope_a, slope_a, out=squares[:, 0])
        np.square(self._bands[1].push(x), out=squares[:, 1])
        envelopes = self._smooth.push(squares)
        self._rows[0, new] = self._wave.push(x)
        self._rows[1, new] = slope_a
        self._rows[2:, new] = np.sqrt(np.maximum(envelopes.T, 0.0))
        self._end += n
        return self._candidates()

    def _clear(self, index: int) -> None:
        """Lay an unknown past before sample `index`: loud, so that no first bump is taken for a beat in a silence."""
        self._rows[:2, : self._memory] = 0.0
        self._rows[2:, : self._memory] = 1e9
        self._end = self._done = self._memory
        self._at = index - self._memory
        self._first = index

    def _make_room(self, n: int) -> None:
        """Move the past to the front, in a larger store when a block needs it."""
        keep = self._memory + self.confirm + 2
        first = max(0, self._end - keep)
        kept = self._rows[:, first : self._end].copy()
        width = max(self._rows.shape[1], keep + n)
        if width > self._rows.shape[1]:
            self._rows = np.zeros((4, width))
        self._rows[:, : kept.shape[1]] = kept
        self._at += first
        self._end -= first
        self._done -= first

    def _samples(self, seconds: object) -> Ints:
        return np.rint(np.asarray(seconds, np.float64) * self.fs_hz).astype(np.int64)

    def _measure_delays(self) -> tuple[int, int, int]:
        """Return the delays in samples of wave, slope and envelope A for a QRS: a triangle of 80 ms."""
        n = round(1.2 * self.fs_hz)
        t = (np.arange(n) - n // 3) / self.fs_hz
        self._bands[0].restart()
        x = np.maximum(0.0, 1.0 - np.abs(t) / 0.04)
        y = self._spikes.push(x)
        wave, slope = self._wave.push(y), self._bands[0].push(y)
        envelope = self._smooth.push(slope * slope)
        energy = slope * slope
        delays = (int(wave.argmax()), int(np.round(np.sum(np.arange(n) * energy) / energy.sum())), int(envelope.argmax()))
        for stage in (self._spikes, self._wave, self._bands[0], self._smooth):
            stage.restart()
        return delays[0] - n // 3, delays[1] - n // 3, delays[2] - n // 3

    def _candidates(self) -> Candidates | None:
        first, stop = self._done, self._end - self.confirm
        if stop <= first:
            return None
        self._done = stop
        a = self._rows[2]
        here = a[first:stop]
        peaks = np.flatnonzero((a[first - 1 : stop - 1] < here) & (here >= a[first + 1 : stop + 1]))
        if not peaks.size:
            return None
        peaks += first
        peaks = peaks[a[peaks] > LEAST_SLOPE_MV_PER_S]
        w = self.confirm
        window = a[peaks[:, None] + np.arange(-w, w + 1)]
        height = a[peaks]
        highest = (window[:, :w].max(axis=1, initial=0.0) < height) & (window[:, w:].max(axis=1, initial=0.0) <= height)
        peaks = peaks[highest]
        return self._describe(peaks, height[highest]) if peaks.size else None

    def _describe(self, peaks: Ints, height_a: Floats) -> Candidates | None:
        wave, slope, a, b = self._rows
        column = peaks[:, None]
        height_b = b[column + self._near].max(axis=1) + FLOOR * height_a
        log_a, log_b = np.log(height_a), np.log(height_b)
        r, wide = self._locate(column)
        span = wave[column + self._span]
        size = span.max(axis=1) - span.min(axis=1)
        age = np.minimum((peaks + self._at - self._first) / self.fs_hz, 2.0)
        parts = [np.array((log_b - log_a, np.log(size / height_a + 1e-5), np.log(wide), age)).T]
        for envelope, height in ((a, height_a), (b, height_b)):
            near = envelope[column + self._around]
            past = np.sort(envelope[column + self._past], axis=1)[:, _PAST_RANKS]
            ratios = np.concatenate((near, past), axis=1) / height[:, None]
            parts.append(np.log(np.minimum(ratios, LOUDEST) + FLOOR))
        features = np.concatenate(parts, axis=1)
        past = features[:, 4 + len(_AROUND_S) : 4 + len(_AROUND_S) + len(_PAST_RANKS)]
        quiet = past[:, _QUARTER] - np.maximum(past[:, -1], 0.0)
        keep = (wide > NARROWEST_S + 1.05 / self.fs_hz) & ((size > SMALLEST_MV) | ((quiet > SILENT) & (past[:, _QUARTER] < 1.0)))
        patch = slope[column + self._patch]
        patch = patch / (np.sqrt((patch * patch).sum(axis=1)) + 1e-12)[:, None]
        found = Candidates(peaks + self._at, r + self._at, log_a, log_b, size, features, patch)
        return found if keep.all() else found.only(keep)

    def _locate(self, column: Ints) -> tuple[Ints, Floats]:
        """Return the columns of R, and for how long (s) the deflection exceeds 15 % of it.

        R is the extremum of the low-passed wave within 60 ms of the slope's centre of energy, measured from the mean
        of the stretch's two ends; an upward one is preferred by a fifth, as annotators do.
        """
        energy = np.square(self._rows[1][column + self._energy]) + 1e-12
        centre = column + np.rint((energy @ self._energy) / energy.sum(axis=1)).astype(np.int64)[:, None]
        where = centre + self._search
        near = self._rows[0][where]
        off = near - (near[:, :1] + near[:, -1:]) / 2
        size = np.abs(off)
        wide = (size > 0.15 * size.max(axis=1, keepdims=True)).sum(axis=1) / self.fs_hz
        best = np.where(off > 0, UPWARD * off, size).argmax(axis=1)
        found: Ints = where[np.arange(len(best)), best] - self._delay_wave
        return found, np.maximum(wide, 1.0 / self.fs_hz)
