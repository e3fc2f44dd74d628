"""SpO2 from raw red and infrared. First plain version: the interface is final, the algorithm is not."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import signal

from agent.dsp.stream import as_samples, check_rate
from agent.model import NoValue, Spo2, StageEvent


@dataclass(frozen=True, slots=True)
class Curve:
    """A calibration curve: SpO2 in % as a polynomial of the ratio of ratios (highest power first)."""

    name: str
    coefficients: tuple[float, ...]
    validated: bool
    source: str

    def __call__(self, ratio: float) -> float:
        """SpO2 in % of a ratio of ratios."""
        return float(np.polyval(self.coefficients, ratio))


CURVES: dict[str, Curve] = {
    c.name: c
    for c in (
        Curve("default", (-25.0, 106.0), validated=False, source="research only"),
        Curve("linear", (-25.0, 110.0), validated=False, source="the textbook line: reads high"),
        Curve("quad", (-45.060, 30.354, 94.845), validated=False, source="Maxim Integrated, MAX30102 example"),
    )
}


class Oximeter:
    """SpO2 from red and infrared samples of one raw sensor: one Spo2 a second."""

    def __init__(self, fs_hz: float, curve: Curve | str = "default") -> None:
        self.fs_hz = check_rate(fs_hz, 25.0, 1000.0)
        self.curve = CURVES[curve] if isinstance(curve, str) else curve
        self._sos = signal.butter(2, [0.5, 5.0], btype="band", fs=self.fs_hz, output="sos")
        self._hop = round(self.fs_hz)
        self.reset()

    @property
    def delay_s(self) -> float:
        """Half the window a value rests on."""
        return 2.0

    def push(self, red: ArrayLike, ir: ArrayLike, ambient: ArrayLike | None = None) -> list[Spo2]:
        """Take samples (all of one length), give the values they complete."""
        r, i = as_samples(red), as_samples(ir)
        a = np.zeros(r.size) if ambient is None else as_samples(ambient)
        if not r.size == i.size == a.size:
            raise ValueError("red, infrared and ambient have different lengths")
        if not r.size:
            return []
        both = np.log(np.maximum(np.nan_to_num(np.stack((r - a, i - a)), nan=1.0), 1.0))
        if self._first is None:
            self._first = both[:, :1].copy()
        y, self._z = signal.sosfilt(self._sos, both - self._first, zi=self._z)
        self._y = np.concatenate((self._y, y), axis=1)
        out = []
        while self._y.shape[1] - self._done >= self._hop:
            self._done += self._hop
            self._n += self._hop
            out.append(self._judge(self._y[:, max(0, self._done - 4 * self._hop) : self._done]))
            if self._done > 5 * self._hop:
                self._y = self._y[:, self._hop :]
                self._done -= self._hop
        return out

    def _judge(self, part: NDArray[np.float64]) -> Spo2:
        time_s = self._n / self.fs_hz
        if part.shape[1] < 4 * self._hop:
            return Spo2(time_s, None, NoValue.STARTING)
        c = np.cov(part)
        if c[0, 1] <= 0.9 * np.sqrt(c[0, 0] * c[1, 1]):
            return Spo2(time_s, None, NoValue.POOR_SIGNAL)
        _, v = np.linalg.eigh(c)
        pct = self.curve(float(v[0, 1] / v[1, 1]))
        return Spo2(time_s, min(pct, 100.0)) if pct > 40.0 else Spo2(time_s, None, NoValue.UNSURE)

    def gap(self, n: int) -> None:
        """Skip `n` lost samples."""
        kept = self._n + self._y.shape[1] - self._done + n
        self.reset()
        self._n = kept

    def reset(self) -> None:
        """Forget everything."""
        self._n = 0
        self._done = 0
        self._first: NDArray[np.float64] | None = None
        self._y: NDArray[np.float64] = np.zeros((2, 0))
        self._z: NDArray[np.float64] = np.zeros((self._sos.shape[0], 2, 2))

    def events(self) -> list[StageEvent]:
        """Take what happened since the last call."""
        return []
