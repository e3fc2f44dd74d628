"""What the R-peak detector looks at: two bands of the ECG, their envelopes, and the candidates found in them.

Per sample, vectorised, with carried state::

    x (mV) → pacing spikes out → band-pass 6-24 Hz → slope → square → low-pass → A   most of a QRS, some of a T wave
                               → band-pass 16-45 Hz → slope → square → low-pass → B  steep parts; less electrode motion

A candidate is a local maximum of envelope A over ±100 ms. Everything else is computed per candidate and only for those
asked for, together: R, amplitudes against what came before, the envelopes' course around it, a patch of the wave.
All features are logarithms of ratios within the signal, so neither gain nor polarity changes them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent.dsp.filters import Floats, SpikeFilter, band_slope, low_pass
from agent.dsp.trailing import windows

Ints = NDArray[np.int64]

CONFIRM_S = 0.100  # a candidate is the highest of A this long before and after
WAKE_S, WAKE = 0.6, 0.05  # so long after the start a candidate has this share of A's peak since: a step there rings
MEMORY_S = 2.3  # how far back features look
UPWARD = 1.2  # preference of an upward deflection as R
WAVE_HZ = 35.0  # R is sought in the wave below it
NARROWEST_S = 0.0125  # area by height below 35 Hz, half a sample more: a pulse of 10 ms has 11-16 ms, a QRS 17 and more
SMALLEST_MV = 0.16  # peak to peak: a QRS of 0.15 mV on a silent line is not counted (EC13),
SILENT = -5.2  # silent: a quarter of the time below 0.55 % of the QRS; a real ECG is not, whatever the gain
LEAST_SLOPE_MV_PER_S = 0.02  # below it there is rounding noise only: a QRS of 0.05 mV has 0.5
TO_PICOVOLTS = 1e9
FLOOR, LOUDEST = 1e-3, 10.0  # the background counts as at least and at most so many times the candidate

_AROUND_S = (-0.30, -0.24, -0.20, -0.16, -0.12, -0.08, -0.04, 0.04, 0.07, 0.10)
_PAST_S = -0.16 - 0.04 * np.arange(50)
_PAST_RANKS = (2, 12, 25, 37, 45, 49)  # of 50 sorted values: 5, 25, 50, 75, 90 and 100 %
_SHOWN = np.array((*range(len(_AROUND_S)), *(len(_AROUND_S) + rank for rank in _PAST_RANKS)))
SIZE = 1  # places among the features
QUARTER_PAST, MEDIAN_PAST, _LOUDEST_PAST = (4 + len(_AROUND_S) + k for k in (1, 2, 5))
_PATCH_S = 0.01 * np.arange(-10, 11)
_COURSE = len(_AROUND_S) + len(_PAST_S)
N_STATIC = 4 + 2 * len(_AROUND_S) + 2 * len(_PAST_RANKS)


@dataclass(frozen=True, slots=True, eq=False)
class Peaks:
    """Candidates of one push before a closer look, oldest first.

    `peak`: sample of the envelope's maximum; `height`: (2, n) peaks of both envelopes (mV²/s²); `log_a`, `log_b`:
    half their natural logarithms.
    """

    peak: Ints
    height: Floats
    log_a: Floats
    log_b: Floats

    def after(self, n: int) -> "Peaks":
        """Return all but the first `n`."""
        return Peaks(self.peak[n:], self.height[:, n:], self.log_a[n:], self.log_b[n:]) if n else self


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
        self._smooth = (low_pass(fs_hz, 5.0, 3), low_pass(fs_hz, 5.0, 3))
        self._memory = round(MEMORY_S * fs_hz)
        self._wake = round(WAKE_S * fs_hz)
        self._rows = np.zeros((4, 4 * self._memory))  # wave, its slope in band A, mean square slopes in A and B
        self._lay_out(*self._measure_delays())
        self._where = self._reads[:, 0] * self._rows.shape[1] + self._reads[:, 1]
        self.restart(0)

    def restart(self, index: int) -> None:
        """Forget the signal: the next sample is `index` and finds every filter at rest on it.

        The past is unknown, and counts as loud, so that no first bump is taken for a beat in a silence.
        """
        for stage in (self._spikes, *self._bands, *self._smooth):
            stage.restart()
        self._rows[:2, : self._memory] = 0.0
        self._rows[2:, : self._memory] = 1e12
        self._end = self._done = self._memory  # columns filled, and searched for candidates
        self._at = index - self._memory  # sample of column 0
        self._first = index

    def push(self, x: Floats) -> Peaks | None:
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
        steep = self._bands[1].push(x)
        self._rows[0, new] = x
        self._rows[1, new] = slope
        self._rows[2, new] = self._smooth[0].push(np.square(slope, out=slope))
        self._rows[3, new] = self._smooth[1].push(np.square(steep, out=steep))
        return self._peaks()

    def finish(self) -> Peaks | None:
        """Give what is still to be confirmed, as if the signal ran backwards from here: that is no step."""
        first = max(0, self._end - round(self.delay_s * self.fs_hz) - self.confirm)
        return self.push(self._rows[0, first : self._end][::-1].copy())

    def _make_room(self, n: int) -> None:
        """Move the past to the front, in a larger store when a block needs it."""
        first = max(0, self._end - self._memory - self.confirm - 2)
        kept = self._rows[:, first : self._end]
        width = max(self._rows.shape[1], kept.shape[1] + n)
        if width > self._rows.shape[1]:
            self._rows = np.zeros((4, width))
            self._where = self._reads[:, 0] * width + self._reads[:, 1]
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
        envelope = self._smooth[0].push(energy)
        return int(np.rint(energy @ at / energy.sum())), int(at[envelope.argmax()])

    def _lay_out(self, delay_slope: int, delay_a: int) -> None:
        """Prepare where, from a candidate's column, each feature is read."""
        fs = self.fs_hz

        def columns(seconds: object) -> Ints:
            return np.rint(np.asarray(seconds, np.float64) * fs).astype(np.int64)

        self.delay_s = (delay_a + self.confirm) / fs
        self._near = columns(0.01 * np.arange(-7, 3))
        slope_to_wave = self._spikes.delay - delay_slope
        reach = round(0.045 * fs)
        energy = np.arange(-reach, reach + 1) - (delay_a - delay_slope)
        self._lever = np.stack((energy, np.ones(len(energy))), axis=1)  # first moment and sum in one product
        sigma = np.sqrt(np.log(2.0)) / (2 * np.pi * WAVE_HZ) * fs  # of the Gaussian that is 3 dB down at 35 Hz
        tail, half = int(np.ceil(3 * sigma)), round(0.06 * fs)
        self._search = np.arange(-half - tail, half + tail + 1) + slope_to_wave
        taps = np.exp(-0.5 * (np.arange(-tail, tail + 1) / sigma) ** 2)
        self._blur = np.zeros((len(self._search), 2 * half + 1))
        for k in range(2 * half + 1):
            self._blur[k : k + len(taps), k] = taps / taps.sum() * TO_PICOVOLTS
        self._log_widths = np.log(np.maximum(np.arange(2 * half + 2), 1) / fs)
        self._narrowest = NARROWEST_S * fs + 0.5
        self._to_r = slope_to_wave - half - self._spikes.delay
        course = columns((*_AROUND_S, *_PAST_S))
        patch = columns(_PATCH_S) - (delay_a - delay_slope)
        span = columns(0.01 * np.arange(-15, 11)) - (delay_a - self._spikes.delay)
        parts = ((2, course), (3, course), (1, energy), (1, patch), (0, span))  # row, columns
        self._cuts = np.cumsum([len(part) for _, part in parts])[1:-1].tolist()
        self._reads = np.array([(row, column) for row, part in parts for column in part.tolist()])

    def _peaks(self) -> Peaks | None:
        first, stop = self._done, self._end - self.confirm
        if stop <= first:
            return None
        self._done = stop
        a = self._rows[2]
        rises = a[first : stop + 1] > a[first - 1 : stop]
        peaks = (rises[:-1] > rises[1:]).nonzero()[0]
        if not peaks.size:
            return None
        around = windows(a, 2 * self.confirm + 1, first - self.confirm)[peaks]
        highest_here = around.argmax(axis=1) == self.confirm
        highest_here &= around[:, self.confirm] > LEAST_SLOPE_MV_PER_S**2
        peaks = peaks[highest_here] + first
        start = self._first - self._at
        if peaks.size and peaks[0] < start + self._wake:
            begun = max(start, 0)
            highest = np.maximum.accumulate(a[begun : peaks[-1] + 1])[peaks - begun]
            peaks = peaks[(a.take(peaks) > WAKE**2 * highest) | (peaks >= start + self._wake)]
        if not peaks.size:
            return None
        height = np.empty((2, len(peaks)))
        a.take(peaks, out=height[0])
        np.maximum.reduce(self._rows[3].take(peaks[:, None] + self._near), axis=1, out=height[1])
        np.maximum(height[1], FLOOR**2 * height[0], out=height[1])
        log_a, log_b = 0.5 * np.log(height)
        return Peaks(peaks + self._at, height, log_a, log_b)

    def describe(self, found: Peaks) -> Candidates | None:
        """Look closer at candidates of the latest push; None when none is large and wide enough to be a QRS."""
        n, peaks, log_a = len(found.peak), found.peak - self._at, found.log_a
        if not n:
            return None
        column = peaks[:, None]
        seen = self._rows.take(column + self._where)
        to_energy, to_patch, to_span = self._cuts
        courses = seen[:, :to_energy].reshape(n, 2, _COURSE)
        energy, patch, span = seen[:, to_energy:to_patch], seen[:, to_patch:to_span], seen[:, to_span:]
        r, log_wide, wide_enough, size = self._locate(column, energy, span)

        courses[:, :, len(_AROUND_S) :].sort(axis=2)
        ratios = courses.take(_SHOWN, axis=2)
        ratios /= found.height.T[:, :, None]
        np.maximum(ratios, FLOOR**2, out=ratios)
        np.minimum(ratios, LOUDEST**2, out=ratios)
        features = np.empty((n, N_STATIC))
        np.subtract(found.log_b, log_a, out=features[:, 0])
        np.subtract(np.log(size + 1e-9), log_a, out=features[:, SIZE])
        features[:, 2] = log_wide
        np.minimum((found.peak - self._first) / self.fs_hz, 2.0, out=features[:, 3])
        np.multiply(np.log(ratios, out=ratios).reshape(n, -1), 0.5, out=features[:, 4:])

        counted = size > SMALLEST_MV
        if not counted.all():
            quarter, loudest = features[:, QUARTER_PAST], features[:, _LOUDEST_PAST]
            counted |= (quarter - np.maximum(loudest, 0.0) > SILENT) & (quarter < 1.0)
        counted &= wide_enough
        patch = patch / np.sqrt(np.einsum("ij,ij->i", patch, patch) + 1e-24)[:, None]
        candidates = Candidates(found.peak, r, log_a, found.log_b, features, patch)
        return candidates if counted.all() else candidates.only(counted)

    def _locate(self, column: Ints, energy: Floats, span: Floats) -> tuple[Ints, Floats, NDArray[np.bool_], Floats]:
        """Return the samples of R; log of how long (s) it exceeds 15 % of itself; if it is no pulse; its size (mV).

        R is the extremum of the wave below 35 Hz within 60 ms of the slope's centre of energy, measured from the
        mean of the stretch's two ends; an upward one is preferred by a fifth, as annotators do.
        """
        energy *= energy
        energy += 1e-12
        # A matrix product's last bits depend on how many candidates came at once: rounded off, as R must not.
        moment = energy @ self._lever
        centre = column + np.rint(moment[:, :1] / moment[:, 1:]).astype(np.int64)
        near = self._rows[0].take(centre + self._search) @ self._blur
        np.rint(near, out=near)
        off = near - 0.5 * (near[:, :1] + near[:, -1:])
        height = np.abs(off)
        highest = np.maximum.reduce(height, axis=1)
        np.maximum(off * UPWARD, height, out=off)
        r = off.argmax(axis=1) + centre[:, 0] + (self._to_r + self._at)
        above = height > 0.15 * highest[:, None]
        log_wide = self._log_widths.take(np.add.reduce(above, axis=1))
        height *= above
        wide_enough = np.add.reduce(height, axis=1) > self._narrowest * (highest + 1.0)
        near /= TO_PICOVOLTS
        wave = np.concatenate((near, span), axis=1)
        return r, log_wide, wide_enough, np.maximum.reduce(wave, axis=1) - np.minimum.reduce(wave, axis=1)
