"""What the R-peak detector looks at: two bands of the ECG, their envelopes, and the candidates found in them.

Per sample, vectorised, with carried state::

    x (mV) → pacing spikes out → band-pass 6-24 Hz → slope → square → low-pass → A   most of a QRS, some of a T wave
                               → band-pass 16-45 Hz → slope → square → low-pass → B  steep parts; less electrode motion

A candidate is a local maximum of envelope A over ±100 ms. Everything else is computed per candidate, all candidates
of a block at once: R, amplitudes against what came before, the envelopes' course around it, a patch of the wave.
All features are logarithms of ratios within the signal, so neither gain nor polarity changes them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent.dsp.filters import Floats, SpikeFilter, band_slope, low_pass

Ints = NDArray[np.int64]

CONFIRM_S = 0.100  # a candidate is the highest of A this long before and after
MEMORY_S = 2.3  # how far back features look
UPWARD = 1.2  # preference of an upward deflection as R
WAVE_HZ = 35.0  # R is sought in the wave below it
NARROWEST_S = 0.0125  # area by height below 35 Hz, half a sample more: a pulse of 10 ms has 11-16 ms, a QRS 17 and more
SMALLEST_MV = 0.16  # peak to peak: a QRS of 0.15 mV on a silent line is not counted (EC13),
SILENT = -5.2  # silent: a quarter of the time below 0.55 % of the QRS; a real ECG is not, whatever the gain
LEAST_SLOPE_MV_PER_S = 0.02  # below it there is rounding noise only: a QRS of 0.05 mV has 0.5
FLOOR, LOUDEST = 1e-3, 10.0  # the background counts as at least and at most so many times the candidate

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
    the envelopes' peaks (mV/s); `features`: (n, N_STATIC); `patch`: (n, 21) unit-norm slope wave, 10 ms apart.
    """

    peak: Ints
    r: Ints
    log_a: Floats
    log_b: Floats
    features: Floats
    patch: Floats

    def only(self, keep: NDArray[np.bool_]) -> "Candidates | None":
        """Return the chosen ones, None when there are none."""
        if not keep.any():
            return None
        return Candidates(
            self.peak[keep],
            self.r[keep],
            self.log_a[keep],
            self.log_b[keep],
            self.features[keep],
            self.patch[keep],
        )


class QrsFrontEnd:
    """Filters, envelopes and candidates of one lead. `delay_s`: from an R-peak to its candidate's confirmation."""

    def __init__(self, fs_hz: float) -> None:
        self.fs_hz = fs_hz
        self.confirm = round(CONFIRM_S * fs_hz)
        self._spikes = SpikeFilter(fs_hz)
        self._bands = (band_slope(fs_hz, 6.0, 24.0), band_slope(fs_hz, 16.0, 45.0))
        self._smooth = low_pass(fs_hz, 5.0, 3)
        self._memory = round(MEMORY_S * fs_hz)
        self._rows = np.zeros((4, 4 * self._memory))  # wave, its slope in band A, mean square slopes in A and B
        self._lay_out(*self._measure_delays())
        self.restart(0)

    def restart(self, index: int) -> None:
        """Forget the signal: the next sample is `index` and finds every filter at rest on it.

        The past is unknown, and counts as loud, so that no first bump is taken for a beat in a silence.
        """
        for stage in (self._spikes, *self._bands, self._smooth):
            stage.restart()
        self._rows[:2, : self._memory] = 0.0
        self._rows[2:, : self._memory] = 1e12
        self._end = self._done = self._memory  # columns filled, and searched for candidates
        self._at = index - self._memory  # sample of column 0
        self._first = index

    def push(self, x: Floats) -> Candidates | None:
        """Take finite samples (n,) in mV; give the candidates they confirm, None when there is none."""
        n = len(x)
        if not n:
            return None
        if self._end + n > self._rows.shape[1]:
            self._make_room(n)
        if self._end + self._at == self._first:
            self._rows[0, : self._end] = x[0]
        new = slice(self._end, self._end + n)
        self._end += n
        x = self._spikes.push(x)
        slope = self._bands[0].push(x)
        squares = np.empty((n, 2))
        np.square(slope, out=squares[:, 0])
        np.square(self._bands[1].push(x), out=squares[:, 1])
        self._rows[0, new] = x
        self._rows[1, new] = slope
        self._rows[2:, new] = self._smooth.push(squares).T
        return self._candidates()

    def _make_room(self, n: int) -> None:
        """Move the past to the front, in a larger store when a block needs it."""
        first = max(0, self._end - self._memory - self.confirm - 2)
        kept = self._rows[:, first : self._end].copy()
        width = max(self._rows.shape[1], kept.shape[1] + n)
        if width > self._rows.shape[1]:
            self._rows = np.zeros((4, width))
        self._rows[:, : kept.shape[1]] = kept
        self._at += first
        self._end -= first
        self._done -= first

    def _measure_delays(self) -> tuple[int, int]:
        """Return the delays in samples of slope wave and envelope A for a QRS, a triangle of 80 ms."""
        n = round(1.2 * self.fs_hz)
        at = np.arange(n) - n // 3
        x = np.maximum(0.0, 1.0 - np.abs(at) / (0.04 * self.fs_hz))
        energy = np.square(self._bands[0].push(self._spikes.push(x)))
        envelope = self._smooth.push(energy)
        return int(np.rint(energy @ at / energy.sum())), int(at[envelope.argmax()])

    def _lay_out(self, delay_slope: int, delay_a: int) -> None:
        """Prepare where, from a candidate's column, each feature is read."""
        fs = self.fs_hz

        def columns(seconds: object) -> Ints:
            return np.rint(np.asarray(seconds, np.float64) * fs).astype(np.int64)

        self.delay_s = (delay_a + self.confirm) / fs
        self._window = np.arange(-self.confirm, self.confirm + 1)
        self._around, self._past = columns(_AROUND_S), columns(_PAST_S)
        self._near = columns(0.01 * np.arange(-7, 3))
        self._patch = columns(_PATCH_S) - (delay_a - delay_slope)
        slope_to_wave = self._spikes.delay - delay_slope
        reach = round(0.045 * fs)
        self._energy = np.arange(-reach, reach + 1) - (delay_a - delay_slope)
        sigma = np.sqrt(np.log(2.0)) / (2 * np.pi * WAVE_HZ) * fs  # of the Gaussian that is 3 dB down at 35 Hz
        tail, half = int(np.ceil(3 * sigma)), round(0.06 * fs)
        self._search = np.arange(-half - tail, half + tail + 1) + slope_to_wave
        taps = np.exp(-0.5 * (np.arange(-tail, tail + 1) / sigma) ** 2)
        self._blur = np.zeros((len(self._search), 2 * half + 1))
        for k in range(2 * half + 1):
            self._blur[k : k + len(taps), k] = taps / taps.sum()
        self._half = half
        self._span = columns(0.01 * np.arange(-15, 11)) - (delay_a - self._spikes.delay)

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
        peaks = peaks[a.take(peaks) > LEAST_SLOPE_MV_PER_S**2]
        window = a.take(peaks[:, None] + self._window)
        peaks = peaks[window.argmax(axis=1) == self.confirm]
        return self._describe(peaks) if peaks.size else None

    def _describe(self, peaks: Ints) -> Candidates | None:
        _, slope, a, b = self._rows
        column = peaks[:, None]
        height_a = a.take(peaks)
        height_b = np.maximum(b.take(column + self._near).max(axis=1), FLOOR**2 * height_a)
        log_a, log_b = 0.5 * np.log(height_a), 0.5 * np.log(height_b)
        r, wide, area, size = self._locate(column)
        age = np.minimum((peaks + self._at - self._first) / self.fs_hz, 2.0)
        parts = [np.array((log_b - log_a, np.log(size + 1e-9) - log_a, np.log(wide), age)).T]
        around, before = column + self._around, column + self._past
        for envelope, height in ((a, height_a), (b, height_b)):
            past = np.sort(envelope.take(before), axis=1)[:, _PAST_RANKS]
            ratios = np.concatenate((envelope.take(around), past), axis=1) / height[:, None]
            parts.append(0.5 * np.log(np.clip(ratios, FLOOR**2, LOUDEST**2)))
        features = np.concatenate(parts, axis=1)
        past = features[:, 4 + len(_AROUND_S) : 4 + len(_AROUND_S) + len(_PAST_RANKS)]
        quiet = past[:, _QUARTER] - np.maximum(past[:, -1], 0.0)
        counted = (size > SMALLEST_MV) | ((quiet > SILENT) & (past[:, _QUARTER] < 1.0))
        keep = counted & (area > NARROWEST_S + 0.5 / self.fs_hz)
        patch = slope.take(column + self._patch)
        patch = patch / (np.sqrt((patch * patch).sum(axis=1)) + 1e-12)[:, None]
        found = Candidates(peaks + self._at, r + self._at, log_a, log_b, features, patch)
        return found if keep.all() else found.only(keep)

    def _locate(self, column: Ints) -> tuple[Ints, Floats, Floats, Floats]:
        """Return the columns of R; how long (s) its deflection exceeds 15 % of it; its area by height; its size (mV).

        R is the extremum of the wave below 35 Hz within 60 ms of the slope's centre of energy, measured from the
        mean of the stretch's two ends; an upward one is preferred by a fifth, as annotators do.
        """
        wave, slope = self._rows[:2]
        energy = np.square(slope.take(column + self._energy)) + 1e-12
        moment = (energy * self._energy).sum(axis=1)
        centre = column + np.rint(moment / energy.sum(axis=1)).astype(np.int64)[:, None]
        # A matrix product's last bits depend on how many candidates came at once: rounded off, as R must not.
        near = np.round(wave.take(centre + self._search) @ self._blur, 9)
        off = near - (near[:, :1] + near[:, -1:]) / 2
        height = np.abs(off)
        highest = height.max(axis=1)
        counted = height > 0.15 * highest[:, None]
        wide = counted.sum(axis=1) / self.fs_hz
        area = np.where(counted, height, 0.0).sum(axis=1) / (highest + 1e-12) / self.fs_hz
        best = np.where(off > 0, UPWARD * off, height).argmax(axis=1)
        r = centre[:, 0] + best + (self._search[0] + len(self._search) // 2 - self._half - self._spikes.delay)
        around = np.concatenate((near, wave.take(column + self._span)), axis=1)
        return r, np.maximum(wide, 1.0 / self.fs_hz), area, around.max(axis=1) - around.min(axis=1)
