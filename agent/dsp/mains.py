"""Mains hum out of ECG leads, leaving the QRS alone."""

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from agent.dsp.filters import Floats, RunningFilter

Complexes = NDArray[np.complex128]

PERIODS = 2  # of the mains in a hop
FEWEST = 8  # samples in a hop, that the window can tell the hum from its mirror frequency
MEMORY_S = 1.0
LAG_S = 0.48  # between two phases from which the true frequency is read: unambiguous within ±1 Hz
SURE = 3.0  # times its own uncertainty: what hum must exceed to be subtracted whole


class MainsCanceller:
    """Subtracts the hum it foresees from (n, leads) in mV; no delay, all leads at once.

    Every 2 mains periods (8 samples at least) the hum's complex amplitude is measured over twice as long (Hann
    window) in a band of ±15 Hz. The medians of the measures of the last second, turned to a common time by the
    frequency read from their phases, foresee the next hop. A QRS is in 3 of 25 measures, so the median does not see
    it and nothing rings after it; a linear canceller (LMS) is a notch and must ring. Hum that does not exceed the
    measures' scatter is left in.

    Source: own; the frequency is that of Kay's lag estimator with a median in the mean's place.
    """

    def __init__(self, fs_hz: float, mains_hz: float) -> None:
        self.fs_hz, self.mains_hz = fs_hz, mains_hz
        self._hop = max(FEWEST, round(PERIODS * fs_hz / mains_hz))
        self._hops = round(MEMORY_S * fs_hz / self._hop)
        self._lag = round(LAG_S * fs_hz / self._hop)
        top = min(mains_hz + 15.0, 0.48 * fs_hz)
        self._band = RunningFilter(*signal.butter(1, (mains_hz - 15.0, top), "bandpass", fs=fs_hz))
        window = np.hanning(2 * self._hop + 2)[1:-1]
        self._window = window / window.sum() * 2
        self.restart(0)

    def restart(self, index: int) -> None:
        """The next sample is `index`; what was known of the hum no longer holds."""
        self._band.restart()
        self._start = index  # hops are counted from here
        self._seen = 0
        self._measures: Complexes | None = None
        self._open: Complexes | None = None
        self._known: tuple[Complexes, Floats] | None = None

    def push(self, x: Floats) -> Floats:
        """Return (n, leads) less the hum."""
        n, leads = x.shape
        if self._measures is None or self._open is None or self._known is None:
            self._measures = np.zeros((self._hops, leads), np.complex128)
            self._open = np.zeros((self._hop, leads), np.complex128)
            self._known = np.zeros((1, leads), np.complex128), np.zeros(1)
        at = self._seen + np.arange(n)
        turns = self._turns(at + self._start)
        waiting = np.concatenate((self._open, self._band.push(x) * np.exp(-2j * np.pi * turns)[:, None]))
        hops = len(waiting) // self._hop - 1
        hum, off = self._known
        if hops:
            windows = np.lib.stride_tricks.sliding_window_view(waiting, 2 * self._hop, axis=0)[:: self._hop]
            new = windows[:hops] @ self._window
            measures = np.concatenate((self._measures, new))
            new_hum, new_off = self._estimate(
                np.lib.stride_tricks.sliding_window_view(measures, self._hops, axis=0)[1:]
            )
            hum, off = np.concatenate((hum, new_hum)), np.concatenate((off, new_off))
            self._measures = measures[-self._hops :]
        self._open = waiting[hops * self._hop :]
        self._known = hum[-1:], off[-1:]
        hop = at // self._hop
        which = hop - hop[0] if n else hop
        # A measure's window is centred one hop before the hop it serves.
        since = (at - (hop - 1) * self._hop) / self.fs_hz
        phase = 2 * np.pi * (turns + off[which] * since)
        self._seen += n
        return np.asarray(x - (hum[which] * np.exp(1j * phase)[:, None]).real)

    def _turns(self, index: NDArray[np.int64]) -> Floats:
        """Return the nominal mains phase at samples, in turns modulo 1."""
        return np.asarray(np.mod(index * (self.mains_hz / self.fs_hz), 1.0))

    def _estimate(self, measures: Complexes) -> tuple[Complexes, Floats]:
        """Return hum (hops, leads) at each newest measure and its offset from the nominal frequency (hops,), Hz."""
        every_s = self._hop / self.fs_hz
        pairs = measures[..., self._lag :] * measures[..., : -self._lag].conj()
        beat = _median(pairs).sum(axis=1)
        off = np.angle(beat) / (2 * np.pi * self._lag * every_s)
        back = np.arange(self._hops) - (self._hops - 1)
        turned = measures * np.exp(-2j * np.pi * every_s * off[:, None] * back)[:, None, :]
        hum = _median(turned)
        scatter = np.median(np.abs(turned - hum[..., None]), axis=-1) * (SURE / np.sqrt(self._hops))
        size = np.abs(hum)
        trust = np.clip((size - scatter) / (scatter + 1e-12), 0.0, 1.0)
        response = signal.freqz(self._band.b, self._band.a, self.mains_hz + off, fs=self.fs_hz)[1]
        return hum * trust / response[:, None], off


def _median(z: Complexes) -> Complexes:
    """Median of the parts over the last axis."""
    return np.asarray(np.median(z.real, axis=-1) + 1j * np.median(z.imag, axis=-1))
