"""Heart rate and S1/S2 times from sound: envelope, its period, and the shorter pause being systole."""

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt, sosfilt_zi

from agent.dsp.stream import as_samples, check_rate
from agent.model import Floats, HeartSound, NoValue, Rate, StageEvent

FS_HZ = 4000.0
STEP = 40  # envelope samples are 10 ms apart
ENVELOPE_HZ = FS_HZ / STEP
WINDOW_S = 6.0
FIRST_S = 3.0
EVERY = 50  # rate and sounds are decided twice a second
RATES = (40.0, 200.0)


class HeartSounds:
    """Heart rate and S1/S2 from sound at 4 kHz, shape (n,), 1.0 = full scale.

    `push` gives the sounds found, decided twice a second and at most `delay_s` after they were heard; `rate` the
    heart rate, or None with the reason.
    """

    def __init__(self, fs_hz: float = FS_HZ) -> None:
        check_rate(fs_hz, FS_HZ, FS_HZ)
        self._sos = butter(2, [25, 150], "bandpass", fs=FS_HZ, output="sos")
        self.reset()

    @property
    def delay_s(self) -> float:
        """How long after a sound it is given at the latest."""
        return 1.0

    def reset(self) -> None:
        """Forget everything; the next sample is index 0."""
        self._index = 0
        self._state = np.zeros_like(sosfilt_zi(self._sos))
        self._pending = np.zeros(0)
        self._envelope = np.zeros(0)
        self._rate = Rate(None, NoValue.STARTING)
        self._last_s = -1.0

    def gap(self, n: int) -> None:
        """Skip `n` lost samples: the index advances, the rate is found anew."""
        index = self._index + len(self._pending) + n
        self.reset()
        self._index = index

    def events(self) -> list[StageEvent]:
        """Nothing happens here that is no sound; what the microphone does is the denoiser's to say."""
        return []

    def rate(self) -> Rate:
        """Give the newest heart rate."""
        return self._rate

    def push(self, block: NDArray[np.float64], /) -> list[HeartSound]:
        """Take the next samples, give the heart sounds they complete."""
        self._pending = np.concatenate([self._pending, as_samples(block)])
        found: list[HeartSound] = []
        while len(self._pending) >= STEP * EVERY:
            taken, self._pending = np.split(self._pending, [STEP * EVERY])
            self._index += len(taken)
            y, self._state = sosfilt(self._sos, np.nan_to_num(taken, posinf=0.0, neginf=0.0), zi=self._state)
            power = np.sqrt((y.reshape(-1, STEP) ** 2).mean(axis=1))
            self._envelope = np.concatenate([self._envelope, power])[-int(WINDOW_S * ENVELOPE_HZ) :]
            if len(self._envelope) >= FIRST_S * ENVELOPE_HZ:
                found += self._decide()
        return found

    def _decide(self) -> list[HeartSound]:
        e = np.convolve(np.sqrt(self._envelope), np.hanning(9) / 4, "same")
        period = _period(e)
        if period is None:
            self._rate = Rate(None, NoValue.UNSURE)
            return []
        self._rate = Rate(60 * ENVELOPE_HZ / period)
        start_s = self._index / FS_HZ - len(e) / ENVELOPE_HZ
        peaks = _peaks(e, int(0.14 * ENVELOPE_HZ))
        sounds = []
        for before, at, after in zip(peaks[:-2], peaks[1:-1], peaks[2:], strict=True):
            time_s = start_s + (at + 0.5) / ENVELOPE_HZ
            if time_s > self._last_s + 0.1 and at < len(e) - EVERY:
                sounds.append(HeartSound("S1" if after - at < at - before else "S2", time_s))
        if sounds:
            self._last_s = sounds[-1].time_s
        return sounds


def _period(e: Floats) -> float | None:
    """Lag of the envelope's best autocorrelation peak within RATES, in envelope samples; None when weak."""
    x = e - e.mean()
    n = len(x)
    r = np.correlate(x, x, "full")[n - 1 :] / np.arange(n, 0, -1)
    low, high = int(60 * ENVELOPE_HZ / RATES[1]), min(int(60 * ENVELOPE_HZ / RATES[0]), n // 2)
    peaks = [k for k in range(low, high) if r[k] >= r[k - 1] and r[k] > r[k + 1]]
    if not peaks or r[0] <= 0:
        return None
    best = max(peaks, key=lambda k: float(r[k]))
    best = next(k for k in peaks if r[k] > 0.85 * r[best])
    return float(best) if r[best] > 0.4 * r[0] else None


def _peaks(e: Floats, apart: int) -> list[int]:
    """Maxima over +-`apart` samples that stand out of the envelope."""
    padded = np.pad(e, apart)
    highest = np.lib.stride_tricks.sliding_window_view(padded, 2 * apart + 1).max(axis=1)
    return [int(k) for k in np.flatnonzero((e == highest) & (e > 0.25 * np.percentile(e, 97)))]
