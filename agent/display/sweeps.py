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
JITTER_S = 0.03
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
    """Reduces one stream's traces for screens; which samples become points does not depend on how they were cut.

    Above POINTS_PER_S each bucket of samples gives its smallest and its largest, in their order, so that no R-peak is
    lost to decimation (a point moves by at most one bucket, 8 ms, 0.2 mm on the sweep).

    Traces that follow each other (the next index, or no more than 30 ms off) stand on one even line: a block's own
    time only slews it, so that jitter never shows as a hole or a step. A hole, or a jump above 0.25 s (a restart),
    begins a new line. A block older than the line (filled in after an outage) keeps its own true time.
    """

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        ecg = stream.signal is Signal.ECG
        if ecg and stream.unit not in MILLIVOLTS:
            raise ValueError(f"stream {stream.name!r} is an ECG in {stream.unit!r}, not a voltage")
        self._scale = MILLIVOLTS[stream.unit] if ecg else 1.0
        self._fixed_q = ECG_QUANTUM_MV if ecg else None
        self._span = 0.0
        self._next_index = -1
        self._end_s = -math.inf
        self._rest: Floats = np.empty(0)

    def push(self, trace: Trace, t0_ns: int) -> Piece | None:
        """Take a trace, give what it completes; board times count from `t0_ns`."""
        fs, bucket = trace.fs_hz, self._bucket(trace.fs_hz)
        t = (trace.t_ns - t0_ns) / 1e9
        values = np.asarray(trace.values, dtype=np.float64)
        values = values[:, 0] if values.ndim > 1 else values
        if not values.size:
            return None
        off = t - self._end_s
        if off < -JUMP_S:
            return self._reduce(np.pad(values, (0, -values.size % bucket), mode="edge"), t, fs)
        follows = abs(off) <= JITTER_S or (trace.index == self._next_index and off <= JUMP_S)
        if not follows:
            self._rest = np.empty(0)
        start_s = self._end_s + SLEW * off if follows else t
        self._next_index = trace.index + values.size
        self._end_s = start_s + values.size / fs
        start_s -= self._rest.size / fs
        values = np.concatenate([self._rest, values])
        whole = values.size - values.size % bucket
        self._rest = values[whole:]
        return self._reduce(values[:whole], start_s, fs)

    @staticmethod
    def _bucket(fs: float) -> int:
        """Samples that give two points; 1 where the rate needs no reduction."""
        return 1 if fs <= POINTS_PER_S * 1.5 else 2 * round(fs / POINTS_PER_S)

    def _reduce(self, values: Floats, start_s: float, fs: float) -> Piece | None:
        """Return whole buckets of samples, the first at `start_s`, as points."""
        values = values * self._scale
        bucket = self._bucket(fs)
        if bucket > 1:
            rows = values.reshape(-1, bucket)
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
        first_s = start_s + (bucket / 4 / fs if bucket > 1 else 0.0)
        return Piece(self.stream.name, round(first_s, 5), fs if bucket == 1 else 2 * fs / bucket, q, y)

    def _quantum(self, values: Floats) -> float:
        """Return a power of two that cuts the recent swing into at least LEVELS levels."""
        finite = values[np.isfinite(values)]
        swing = float(np.ptp(finite)) if finite.size else 0.0
        self._span = max(swing, self._span * SPAN_DECAY)
        return 2.0 ** math.floor(math.log2(max(self._span, 1e-9) / LEVELS))
