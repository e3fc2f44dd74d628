"""Heart rate and S1/S2 times from sound, through the same mask the doctor may listen through.

Period: autocorrelation of compressed band envelopes of the masked sound. S1/S2: the sequence of envelope peaks,
alternately S1 and S2 at the intervals that period and its systole allow, that explains most of the envelope
(dynamic programming, after the duration-dependent models of Schmidt 2010 and Springer 2016, but over peaks).
"""

import numpy as np
from numpy.typing import NDArray

from agent.dsp.auscultation_features import FRAME, FRAMES_HZ, FS_HZ, HOP, WINDOW
from agent.dsp.auscultation_mask import Mask, mask_for
from agent.dsp.stream import as_samples, check_rate
from agent.dsp.trailing import windows
from agent.model import Floats, HeartSound, NoValue, Rate, StageEvent

BANDS_BINS = ((1, 3), (3, 6), (6, 10), (10, 16))  # 16-47, 47-94, 94-156 and 156-250 Hz
COMPRESSION = 0.5  # of power: amplitude
KEPT = 375  # frames of envelope: 6 s
FIRST = 160  # 2.6 s
EVERY = 32  # a decision every half second
RUN = FRAME + (EVERY - 1) * HOP  # samples of the frames in between
RATES = (38.0, 190.0)
SURE = 0.32  # autocorrelation at the period, of that at 0
AGREE = 0.08  # two estimates in a row within 8 %
SILENT = 1e-9  # band power


class HeartSounds:
    """Heart rate and S1/S2 from sound at 4 kHz, shape (n,), 1.0 = full scale.

    `push` gives the sounds found, in order, each once, decided twice a second and at most `delay_s` after they
    were heard; their time is the middle of the sound. `rate()` is the heart rate over the last 6 s, given from
    3.1 s on, or None with the reason: STARTING, UNSURE (no clear period, or two estimates in a row
    disagree), SILENT. When systole is as long as diastole (above about 110/min) S1 and S2 may be taken for each other.
    """

    _pending: Floats
    _start: int  # of the first sample not yet in a frame
    _bands: Floats

    def __init__(self, fs_hz: float = FS_HZ, mask: Mask | None = None) -> None:
        check_rate(fs_hz, FS_HZ, FS_HZ)
        self._mask = mask or mask_for("heart")
        self.reset()

    @property
    def delay_s(self) -> float:
        """How long after a sound it is given at the latest."""
        return (2 * EVERY + FRAME / HOP) / FRAMES_HZ

    def reset(self) -> None:
        """Forget everything; the next sample is index 0."""
        self._restart(0)

    def gap(self, n: int) -> None:
        """Skip `n` lost samples: the index advances, the rate is found anew."""
        self._restart(self._start + len(self._pending) - (FRAME - HOP) + n)

    def events(self) -> list[StageEvent]:
        """Nothing happens here that is no sound; what the microphone does is the denoiser's to say."""
        return []

    def rate(self) -> Rate:
        """Give the newest heart rate."""
        return self._rate

    def push(self, block: NDArray[np.float64], /) -> list[HeartSound]:
        """Take the next samples, give the heart sounds they complete."""
        x = as_samples(block)
        self._pending = np.concatenate([self._pending, np.where(np.isfinite(x), x, 0.0)])
        found: list[HeartSound] = []
        while len(self._pending) >= RUN:  # always the same frames at once: the cutting of the input cannot matter
            spectra = np.fft.rfft(windows(self._pending[:RUN], FRAME)[::HOP] * WINDOW)
            self._pending = self._pending[EVERY * HOP :]
            self._start += EVERY * HOP
            power = np.abs(spectra * self._mask.gains(spectra)) ** 2
            bands = [power[:, low:high].mean(axis=1) for low, high in BANDS_BINS]
            self._bands = np.concatenate([self._bands, np.stack(bands, axis=1)])[-KEPT:]
            if len(self._bands) >= FIRST:
                found += self._decide()
        return found

    def _restart(self, index: int) -> None:
        self._mask.reset()
        self._pending = np.zeros(FRAME - HOP)
        self._start = index
        self._bands = np.empty((0, len(BANDS_BINS)))
        self._period = 0.0
        self._rate = Rate(None, NoValue.STARTING)
        self._given_s = -1.0

    def _decide(self) -> list[HeartSound]:
        power = self._bands
        if power.max() < SILENT:
            self._rate = Rate(None, NoValue.SILENT)
            return []
        period, confidence = period_of(power**COMPRESSION)
        agreed = abs(period - self._period) < AGREE * period
        self._period = period
        if confidence < SURE or not agreed:
            self._rate = Rate(None, NoValue.UNSURE)
            return []
        self._rate = Rate(60 * FRAMES_HZ / period)
        return self._label((power.sum(axis=1)) ** COMPRESSION, period)

    def _label(self, envelope: Floats, period: float) -> list[HeartSound]:
        """Give the sounds of the last 6 s not given yet, but for the newest half second."""
        first_s = (self._start - len(envelope) * HOP - FRAME / 2 + HOP) / FS_HZ
        sounds = []
        for kind, at in sequence(envelope, period):
            time_s = first_s + at / FRAMES_HZ
            if time_s > self._given_s + 0.12 and at < len(envelope) - EVERY / 2:
                sounds.append(HeartSound(kind, time_s))
                self._given_s = time_s
        return sounds


def autocorrelation(envelopes: Floats) -> Floats:
    """Unbiased autocorrelation over lags, summed over bands, 1 at lag 0; envelopes (frames, bands)."""
    x = envelopes - envelopes.mean(axis=0)
    n = len(x)
    spectrum = np.abs(np.fft.rfft(x, 2 * n, axis=0)) ** 2
    r: Floats = np.fft.irfft(spectrum.sum(axis=1))[:n] / np.arange(n, 0, -1)
    r /= max(float(r[0]), 1e-30)
    return r


def period_of(envelopes: Floats) -> tuple[float, float]:
    """Period in frames, sub-frame, and how sure (0..1): the shortest lag nearly as good as the best."""
    r = autocorrelation(envelopes)
    low, high = int(60 * FRAMES_HZ / RATES[1]), min(int(60 * FRAMES_HZ / RATES[0]), int(0.6 * len(r)))
    lags = np.arange(low, high)
    peaks = lags[(r[low:high] >= r[low - 1 : high - 1]) & (r[low:high] > r[low + 1 : high + 1])]
    if not len(peaks) or r[peaks].max() <= 0:
        return 0.0, 0.0
    best = int(peaks[np.argmax(r[peaks])])
    best = int(peaks[r[peaks] > 0.85 * r[best]][0])
    bend = r[best - 1] - 2 * r[best] + r[best + 1]
    return best + 0.5 * float(r[best - 1] - r[best + 1]) / min(float(bend), -1e-12), float(r[best])


def sequence(envelope: Floats, period: float) -> list[tuple[str, float]]:
    """Kinds and places (frames) of the sounds along `envelope`."""
    e = envelope - np.median(envelope)
    e /= max(float(np.percentile(e, 97)), 1e-12)
    inner = e[1:-1]
    peaks = 1 + np.flatnonzero((inner >= e[:-2]) & (inner > e[2:]) & (inner > 0.1))
    if len(peaks) < 3:
        return []
    systole = systole_of(e, period)
    spread = 0.035 * FRAMES_HZ
    expected = np.array([systole, period - systole])  # S1 to S2, S2 to S1
    best = np.repeat(e[peaks][:, None], 2, axis=1)  # a sequence may start anywhere, with S1 (0) or S2 (1)
    came: dict[tuple[int, int], tuple[int, int]] = {}
    for j in range(1, len(peaks)):
        interval = peaks[j] - peaks[:j]
        for kind in (0, 1):
            before = 1 - kind
            misfit = (interval - expected[before]) / (spread * (1 if before == 0 else 2))
            score = best[:j, before] - 0.25 * misfit**2
            i = int(np.argmax(score))
            if score[i] > 0:
                best[j, kind] += score[i]
                came[j, kind] = (i, before)
    at: tuple[int, int] | None = tuple(int(v) for v in np.unravel_index(np.argmax(best), best.shape))  # type: ignore[assignment]
    found = []
    while at is not None:
        found.append((("S1", "S2")[at[1]], centre(e, int(peaks[at[0]]))))
        at = came.get(at)
    return found[::-1]


def systole_of(e: Floats, period: float) -> float:
    """Give the lag of S1 to S2: the envelope's best short lag, near what heart rate lets expect."""
    r = autocorrelation(e[:, None])
    lags = np.arange(int(0.16 * FRAMES_HZ), max(int(0.58 * period), int(0.16 * FRAMES_HZ) + 2))
    # Systole shortens with rate: about 0.42 - 0.0019 s per beat a minute of S1 to S2 (after Weissler 1968).
    usual = (0.42 - 0.0014 * 60 * FRAMES_HZ / period) * FRAMES_HZ
    usual = min(max(usual, 0.16 * FRAMES_HZ), 0.5 * period)
    return float(lags[np.argmax(r[lags] - 0.5 * ((lags - usual) / (0.08 * FRAMES_HZ)) ** 2 * 0.2)])


def centre(e: Floats, at: int) -> float:
    """Give the summit of the parabola through a peak and its neighbours."""
    bend = float(e[at - 1] - 2 * e[at] + e[at + 1])
    return at + (0.5 * float(e[at - 1] - e[at + 1]) / bend if bend < 0 else 0.0)
