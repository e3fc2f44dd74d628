"""Signal quality of an ECG lead: one number per second, 0 bad to 1 good, with the cause when it is bad.

That of a pleth is in pleth_quality.py.
"""

from collections import deque
from importlib import resources
from math import exp

import numpy as np
from numpy.typing import ArrayLike

from agent.dsp.filters import Floats, band_pass
from agent.dsp.lead_watch import LeadWatch
from agent.dsp.pleth_quality import PlethQuality
from agent.dsp.stream import as_samples, check_rate
from agent.model import Cause, Happening, Quality, StageEvent

__all__ = ["EcgQuality", "PlethQuality"]

BANDS_HZ = ((0.05, 1.0), (1.0, 5.0), (5.0, 20.0), (20.0, 45.0))  # baseline, T wave, QRS, muscle
SECONDS = 3  # the shape of the QRS band is judged over so many
EARLIER = 3  # seconds before that temper a verdict
OUT_OF_RANGE_MV = 1e4
N_FEATURES = 42
GOOD = 0.5
TINY = 1e-6


class EcgQuality:
    """Quality of one ECG lead: (n,) in mV, raw, at 100-2000 Hz; one Quality per second, when the second is complete.

    A logistic function of 14 logarithms of this second, their mean over the three before and their worst: the power
    of four bands against the size of the QRS, and how far the QRS stands out of its own band and of the muscle band.
    Neither gain nor polarity changes it. The table is made by training/ecg.py.

    A second without change is FLAT, one at the amplifier's limit SATURATED, one with numbers that are none
    NOT_FINITE: all three 0. Below 0.5 the cause is BASELINE when the baseline moves more than a QRS, else NOISE.
    """

    delay_s = 0.0

    def __init__(self, fs_hz: float) -> None:
        self.fs_hz = check_rate(fs_hz, 100.0, 2000.0)
        self._second = round(self.fs_hz)
        self._bands = [band_pass(self.fs_hz, *edges, order=1) for edges in BANDS_HZ]
        self._watch = LeadWatch(self.fs_hz, pacing=False)
        with (resources.files("agent.dsp") / "weights" / "ecg_quality.npz").open("rb") as file, np.load(file) as table:
            self._weights, self._bias = table["weights"].astype(np.float64), float(table["bias"])
        self.reset()

    def reset(self) -> None:
        """Forget everything; the next sample is index 0."""
        self._next = 0  # sample the open second begins at
        self._open: Floats = np.empty(0)
        self._restart()

    def gap(self, n: int) -> None:
        """Skip `n` lost samples; the second they cut is not judged."""
        self._next += self._open.size + n
        self._restart()

    def events(self) -> list[StageEvent]:
        """Nothing: the detector tells what happens to a lead."""
        return []

    def push(self, block: ArrayLike) -> list[Quality]:
        """Take samples; give the quality of each second they complete."""
        self._open = np.concatenate((self._open, as_samples(block)))
        out = []
        while len(self._open) >= self._second:
            out.append(self._judge(self._open[: self._second]))
            self._open = self._open[self._second :]
            self._next += self._second
        return out

    def _restart(self) -> None:
        self._open = np.empty(0)
        self._held = 0.0
        self._shape: deque[Floats] = deque(maxlen=SECONDS)
        self._earlier: deque[Floats] = deque(maxlen=EARLIER)
        for band in self._bands:
            band.restart()
        self._watch.restart()

    def _judge(self, x: Floats) -> Quality:
        known = np.abs(x) < OUT_OF_RANGE_MV
        if not known.all():
            x = _held(x, known, self._held)
        self._held = float(x[-1])
        still = self._watch.off or self._watch.saturated
        happened = {what for _, what in self._watch.push(x)}
        features = self.features(x)
        value = 1.0 / (1.0 + exp(-max(-30.0, float(features @ self._weights) + self._bias)))
        if not known.all():
            return Quality(self._next, 0.0, Cause.NOT_FINITE)
        if x.max() == x.min():
            return Quality(self._next, 0.0, Cause.FLAT)
        if Happening.SATURATED in happened or still or self._watch.off:
            return Quality(self._next, 0.0, Cause.SATURATED)
        if value >= GOOD:
            return Quality(self._next, value)
        return Quality(self._next, value, Cause.BASELINE if features[0] > 0.0 else Cause.NOISE)

    def features(self, x: Floats) -> Floats:
        """Return N_FEATURES logarithms of this second and those before."""
        bands = np.array([band.push(x) for band in self._bands])
        self._shape.append(bands[2:])
        qrs, fast = np.abs(np.concatenate(self._shape, axis=1))
        square = np.square(qrs)
        peaked = np.log(np.mean(square * square) / (np.mean(square) ** 2 + TINY**2) + 0.5)
        outside_qrs = np.log(np.quantile(qrs, (0.25, 0.5, 0.75, 0.9, 0.98)) + TINY)
        outside_fast = np.log(np.quantile(fast, (0.25, 0.5, 0.75, 0.98)) + TINY)
        size = outside_qrs[-1]
        power = np.log(np.sqrt(np.mean(np.square(bands), axis=1)) + TINY) - size
        reach = np.log((np.abs(bands[1]).max() + TINY, np.ptp(bands[0]) + TINY)) - size
        now = np.concatenate((power, [peaked], outside_qrs[:-1] - size, reach, outside_fast[:-1] - outside_fast[-1]))
        earlier = np.array(self._earlier or [now])
        self._earlier.append(now)
        return np.concatenate((now, earlier.mean(axis=0), np.maximum(earlier.max(axis=0), now)))


def _held(x: Floats, known: np.ndarray[tuple[int, ...], np.dtype[np.bool_]], before: float) -> Floats:
    """Return `x` with each unknown sample replaced by the last known one."""
    x = np.concatenate(([before], x))
    last = np.maximum.accumulate(np.where(np.concatenate(([True], known)), np.arange(len(x)), 0))
    return np.asarray(x[last][1:])
