"""Recursive filters with carried state: the same output for any cutting of the input."""

from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal
from scipy.signal._sigtools import _linear_filter  # lfilter's loop; what is around it costs 6 µs a call
from scipy.signal._sosfilt import _sosfilt  # and sosfilt's: 50 µs

Floats = NDArray[np.float64]
Kind = Literal["lowpass", "highpass", "bandpass"]


def filtered(
    ba: tuple[Floats, Floats], x: NDArray[Any], state: NDArray[Any], axis: int = -1
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Filter one axis of `x` with numerator and denominator; as `scipy.signal.lfilter` with `zi`."""
    b, a = ba
    y, state = _linear_filter(b, a, x, axis, state)
    return y, state


def filtered_sections(sos: Floats, x: Floats, state: Floats) -> tuple[Floats, Floats]:
    """Filter the rows of `x` (rows, n) with second-order sections; `state` is (rows, sections, 2)."""
    y, state = x.copy(), state.copy()
    _sosfilt(sos, y, state)
    return y, state


class RunningFilter:
    """One rational filter over the first axis of (n,) or (n, leads), its state carried from push to push.

    It starts (and restarts) in the steady state of its first sample, so a constant gives no transient. The direct
    form is `scipy.signal.lfilter`'s: sample by sample in a fixed order, so cuts change nothing, not even a last bit.
    Orders here are at most 4, for which this form is exact enough from 100 to 2000 Hz.
    """

    def __init__(self, b: Any, a: Any) -> None:
        self.b: Floats = np.atleast_1d(np.asarray(b, np.float64))
        self.a: Floats = np.atleast_1d(np.asarray(a, np.float64))
        self._steady: Floats = signal.lfilter_zi(self.b, self.a)
        self._state: Floats | None = None

    def push(self, x: Floats) -> Floats:
        """Filter the next samples; same shape out."""
        if not len(x):
            return x
        if self._state is None:
            self._state = np.multiply.outer(self._steady, x[0])
        y: Floats
        y, self._state = _linear_filter(self.b, self.a, x, 0, self._state)
        return y

    def delay_s(self, fs_hz: float, at_hz: float) -> float:
        """Return the group delay near a frequency, in seconds."""
        return float(signal.group_delay((self.b, self.a), [at_hz], fs=fs_hz)[1][0] / fs_hz)

    def restart(self) -> None:
        """Start again from the steady state of the next sample."""
        self._state = None


@cache  # a design takes a millisecond or two, and every lead and patient wants the same few
def _butter(order: int, edges_hz: float | tuple[float, float], kind: Kind, fs_hz: float) -> tuple[Floats, Floats]:
    b, a = signal.butter(order, edges_hz, kind, fs=fs_hz)
    return b, a


@cache
def _bessel(order: int, cut_hz: float, fs_hz: float) -> tuple[Floats, Floats]:
    b, a = signal.bessel(order, cut_hz, fs=fs_hz, norm="mag")
    return b, a


def low_pass(fs_hz: float, cut_hz: float, order: int = 2, design: str = "bessel") -> RunningFilter:
    """Return a low-pass; "bessel" (its cut normed at -3 dB) keeps shapes, "butter" cuts steeper."""
    cut = min(cut_hz, 0.45 * fs_hz)
    if design == "bessel":
        return RunningFilter(*_bessel(order, cut, fs_hz))
    return RunningFilter(*_butter(order, cut, "lowpass", fs_hz))


def half_band(cut: float) -> RunningFilter:
    """Return the symmetric 3-tap low-pass 3 dB down at `cut` times the sampling rate: one sample late, no ringing."""
    side = (1 - np.sqrt(0.5)) / (2 - 2 * np.cos(2 * np.pi * cut))
    return RunningFilter((side, 1 - 2 * side, side), (1.0, 0.0, 0.0))


def high_pass(fs_hz: float, cut_hz: float, order: int = 1) -> RunningFilter:
    """Return a Butterworth high-pass; of first order it has the shortest memory for its edge."""
    return RunningFilter(*_butter(order, cut_hz, "highpass", fs_hz))


def band_pass(fs_hz: float, low_hz: float, high_hz: float, order: int = 2) -> RunningFilter:
    """Return a Butterworth band-pass."""
    return RunningFilter(*_butter(order, (low_hz, min(high_hz, 0.45 * fs_hz)), "bandpass", fs_hz))


def band_slope(fs_hz: float, low_hz: float, high_hz: float) -> RunningFilter:
    """Return a Butterworth band-pass of order 2 and derivative (per second): what rises steeply."""
    band = band_pass(fs_hz, low_hz, high_hz)
    return RunningFilter(np.convolve(band.b, (fs_hz, -fs_hz)), np.append(band.a, 0.0))


class SpikeFilter:
    """Running median over 2k + 1 samples: pacing pulses up to 2 ms are gone, whichever samples they fall on.

    k is a sample more than such a pulse fills, but the window stays within 20 ms (3 samples at least) for the
    QRS' sake. Delay: k samples. It starts as if the first sample had always been there.
    """

    def __init__(self, fs_hz: float, widest_s: float = 0.002) -> None:
        self.delay = max(1, min(int(np.ceil(widest_s * fs_hz)) + 1, int(0.010 * fs_hz)))
        self._last: Floats | None = None

    def push(self, x: Floats) -> Floats:
        """Return as many samples as came, `delay` samples late."""
        if not len(x):
            return x
        k = self.delay
        past = np.repeat(x[:1], 2 * k) if self._last is None else self._last
        y = np.concatenate((past, x))
        self._last = y[-2 * k :]
        if k == 1:
            return _median_of_3(y[:-2], y[1:-1], y[2:])
        if k == 2:
            low, high = np.minimum(y[1:], y[:-1]), np.maximum(y[1:], y[:-1])
            return _median_of_3(np.maximum(low[:-3], low[3:]), y[2:-2], np.minimum(high[:-3], high[3:]))
        return np.asarray(ndimage.median_filter(y, 2 * k + 1)[k:-k])

    def restart(self) -> None:
        """Start again from the next sample."""
        self._last = None


def _median_of_3(a: Floats, b: Floats, c: Floats) -> Floats:
    low, high = np.minimum(a, b), np.maximum(a, b)
    np.minimum(high, c, out=high)
    return np.asarray(np.maximum(low, high, out=low))
