"""Traces made small enough to send to a screen: points a pixel can show, times on one even line."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from agent.model import Floats, Signal, Stream, Trace

POINTS_PER_S = 250.0
"""A 6 s sweep of 1500 px has 250 px/s; nothing sent beyond that could be seen."""
ECG_QUANTUM_MV = 0.005
"""At 10 mm/mV, 0.05 mm: under half a pixel on any screen."""
LEVELS = 512
JUMP_S = 0.25
SLEW = 0.05
SPAN_DECAY = 0.98
MILLIVOLTS: Mapping[str, float] = {"V": 1e3, "mV": 1.0, "uV": 1e-3, "nV": 1e-6}
"""UCUM voltages an ECG stream may be in."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive points: the i-th is `y[i] * q` at `t + i / fs` seconds of the board's time; None is no sample."""

    stream: str
    t: float
    fs: float
    q: float
    y: list[int | None]

    def followed_by(self, other: "Piece") -> bool:
        """Whether `other` continues this piece without a hole, in the same quanta."""
        end = self.t + len(self.y) / self.fs
        same = (self.stream, self.fs, self.q) == (other.stream, other.fs, other.q)
        return same and abs(other.t - end) < 0.5 / self.fs


class Sweep:
    """Reduces one stream's traces for screens; its output does not depend on how the traces were cut.

    Above POINTS_PER_S each bucket of samples gives its smallest and its largest, in their order, so that no R-peak is
    lost to decimation (a point moves by at most one bucket, 8 ms, 0.2 mm on the sweep). The sample's index is the
    clock within a stream: a block's own time only slews the line slowly, unless it jumps by more than 0.25 s (a
    restart). A block older than the line (filled in after an outage) keeps its own true time.
    """

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        ecg = stream.signal is Signal.ECG
        if ecg and stream.unit not in MILLIVOLTS:
            raise ValueError(f"stream {stream.name!r} is an ECG in {stream.unit!r}, not a voltage")
        self._scale = MILLIVOLTS[stream.unit] if ecg else 1.0
        self._fixed_q = ECG_QUANTUM_MV if ecg else None
        self._span = 0.0
        self._anchor_s = 0.0
        self._last_s = -math.inf
        self._next = -1
        self._rest: Floats = np.empty(0)

    def push(self, trace: Trace, t0_ns: int) -> Piece | None:
        """Take a trace, give what it completes; board times count from `t0_ns`."""
        fs = trace.fs_hz
        t = (trace.t_ns - t0_ns) / 1e9
        values = np.asarray(trace.values, dtype=np.float64)
        values = values[:, 0] if values.ndim > 1 else values
        if not values.size:
            return None
        if t < self._last_s - JUMP_S:
            return self._piece(values * self._scale, trace.index, fs, t - trace.index / fs)
        self._steer(t - trace.index / fs)
        self._last_s = t + values.size / fs
        start = trace.index
        if start == self._next and self._rest.size:
            start -= self._rest.size
            values = np.concatenate([self._rest, values])
        self._next = trace.index + trace.values.shape[0]
        whole = self._next - self._next % self._bucket(fs)
        self._rest = values[max(0, whole - start) :]
        return self._piece(values[: max(0, whole - start)] * self._scale, start, fs, self._anchor_s)

    def _steer(self, anchor_s: float) -> None:
        error = anchor_s - self._anchor_s
        self._anchor_s += error if self._next < 0 or abs(error) > JUMP_S else SLEW * error

    @staticmethod
    def _bucket(fs: float) -> int:
        """Samples that give two points; 1 where the rate needs no reduction."""
        return 1 if fs <= POINTS_PER_S * 1.5 else 2 * round(fs / POINTS_PER_S)

    def _piece(self, values: Floats, index: int, fs: float, anchor_s: float) -> Piece | None:
        bucket = self._bucket(fs)
        if bucket > 1:
            ahead = -index % bucket
            values, index = values[ahead:], index + ahead
            rows = values[: values.size - values.size % bucket].reshape(-1, bucket)
            if not rows.size:
                return None
            ends = np.sort(np.stack([rows.argmin(1), rows.argmax(1)], 1), 1)
            values = np.take_along_axis(rows, ends, 1).ravel()
        if not values.size:
            return None
        q = self._fixed_q or self._quantum(values)
        finite = np.isfinite(values)
        levels = np.rint(np.where(finite, values, 0.0) / q).astype(np.int64)
        y: list[int | None] = levels.tolist()
        if not finite.all():
            y = [level if ok else None for level, ok in zip(y, finite.tolist(), strict=True)]
        first = anchor_s + index / fs + (bucket / 4 / fs if bucket > 1 else 0.0)
        return Piece(self.stream.name, round(first, 5), fs if bucket == 1 else 2 * fs / bucket, q, y)

    def _quantum(self, values: Floats) -> float:
        """Return a power of two that cuts the recent swing into at least LEVELS levels."""
        finite = values[np.isfinite(values)]
        swing = float(np.ptp(finite)) if finite.size else 0.0
        self._span = max(swing, self._span * SPAN_DECAY)
        return 2.0 ** math.floor(math.log2(max(self._span, 1e-9) / LEVELS))
