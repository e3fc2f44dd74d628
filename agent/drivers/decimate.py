# Ref: McClellan, Parks, Rabiner 1973 (equiripple FIR): remez(191, [0, 1600, 2000, 8000], [1, 0], weight=[1, 8],
# fs=16000), rounded to Q15, centre tap adjusted so that the sum is exactly 2^15.
"""Sound brought to 4 kHz in integers: the same samples on every machine, for every cutting.

From 16 kHz by the equiripple filter above; from 48 and 44.1 kHz by windowed sincs (Kaiser 1974), rounded to Q18, one
per phase of the 4000/44100 ratio. Pass band to 1600 Hz within 0.01 dB, stop band from 2000 Hz at least 68 dB down.
Output m is the window of inputs around input time m / 4000 s, on the grid of the source's own sample index; only
windows fully inside received samples give an output, so nothing depends on where a connection began.
"""

import math
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray

from agent.model import Floats, Samples

Sound = NDArray[np.int16] | NDArray[np.int32]

INT16 = np.dtype("<i2")
OUT_HZ = 4000
RATES_HZ = (16_000, 48_000, 44_100)
CUT_HZ, TRANSITION_HZ, STOP_DB = 1800.0, 400.0, 72.0
# fmt: off
HALF_Q15 = (
    0, 2, 2, 2, 1, 0, -2, -3, -3, -1, 2, 4, 6, 4, 0, -5, -8, -8, -4, 3, 11, 14, 10, 1, -11, -19, -19, -10, 6, 22,
    29, 22, 3, -20, -37, -38, -19, 12, 41, 54, 42, 6, -37, -68, -68, -34, 21, 73, 95, 72, 10, -65, -116, -116, -57,
    37, 124, 159, 119, 15, -109, -193, -190, -92, 64, 206, 262, 193, 19, -186, -323, -315, -148, 115, 355, 447, 327,
    23, -337, -580, -567, -260, 234, 701, 898, 666, 26, -799, -1437, -1499, -732, 861, 2988, 5133, 6723, 7308,
)
# fmt: on
TAPS_Q15: NDArray[np.int64] = np.array(HALF_Q15 + HALF_Q15[-2::-1], np.int64)
BLOCK = 16  # outputs, at least, that one row of a product gives: fewer copies of inputs that windows share


@dataclass(frozen=True, slots=True, eq=False)
class Ratio:
    """`up` outputs for `down` inputs: phase p (a row of `taps`) weighs the window that is p / up before its centre."""

    up: int
    down: int
    taps: Floats  # whole numbers
    one: float  # what each row adds up to: a power of two
    centre: int = field(init=False)
    """Inputs before, and after, the middle of a window."""
    block: Floats = field(init=False)
    """(inputs, outputs) of a block that begins with phase 0: each column is an output's taps / one, at its window."""

    def __post_init__(self) -> None:
        outputs = -(-BLOCK // self.up) * self.up
        starts, phases = np.divmod(self.down * np.arange(outputs), self.up)
        width = self.taps.shape[1]
        block = np.zeros((int(starts[-1]) + width, outputs))
        for column, (start, phase) in enumerate(zip(starts, phases, strict=True)):
            block[start : start + width, column] = self.taps[phase] / self.one
        object.__setattr__(self, "centre", width // 2)
        object.__setattr__(self, "block", block)


@cache
def ratio(fs_hz: int) -> Ratio:
    """How to come from `fs_hz` to 4 kHz. Raises ValueError for a rate not in RATES_HZ."""
    if fs_hz not in RATES_HZ:
        raise ValueError(f"sound at {fs_hz} Hz is not supported; rates: {', '.join(map(str, RATES_HZ))}")
    shared = math.gcd(fs_hz, OUT_HZ)
    up, down = OUT_HZ // shared, fs_hz // shared
    if fs_hz == 16_000:
        return Ratio(up, down, TAPS_Q15[None].astype(np.float64), float(1 << 15))
    centre = math.ceil((STOP_DB - 8) / (2.285 * 2 * math.pi * TRANSITION_HZ / fs_hz) / 2)
    t = np.arange(-centre, centre + 1) - np.arange(up)[:, None] / up
    beta = 0.1102 * (STOP_DB - 8.7)
    window = np.i0(beta * np.sqrt(np.maximum(1 - (t / (centre + 1)) ** 2, 0)))
    taps = np.sinc(2 * CUT_HZ / fs_hz * t) * window
    one = float(1 << 18)
    taps = np.round(taps / taps.sum(axis=1, keepdims=True) * one)
    taps[:, centre] += one - taps.sum(axis=1)
    return Ratio(up, down, taps, one)


def decimate(samples: Sound, index: int = 0, by: Ratio | None = None) -> tuple[int, Samples]:
    """Bring int samples whose first has source index `index` to 4 kHz; return the first output's number and outputs.

    Rounded half up. The sums are exact: in units of 1 / one they stay below 2^53, where float64 holds every integer,
    and its matrix product is the fastest there is.
    """
    by = by or ratio(16_000)
    first = -(-(index + by.centre) * by.up // by.down)
    last = ((index + len(samples) - by.centre) * by.up - 1) // by.down
    if last < first:
        return first, np.empty(0, np.int32)
    inputs, outputs = by.block.shape
    begin = first - first % by.up
    rows = -(-(last + 1 - begin) // outputs)
    step = outputs * by.down // by.up
    skipped = begin * by.down // by.up - by.centre - index  # before the first block; of a block that is cut it is < 0
    missing = inputs + (rows - 1) * step + skipped - len(samples)
    x = np.ascontiguousarray(samples[skipped:] if skipped > 0 else samples)
    if skipped < 0 or missing > 0:
        x = np.concatenate((np.zeros(max(-skipped, 0), x.dtype), x, np.zeros(max(missing, 0), x.dtype)))
    windows = np.ndarray((rows, inputs), x.dtype, x, strides=(step * x.itemsize, x.itemsize))
    sums = windows.astype(np.float64) @ by.block
    sums += 0.5
    return first, np.floor(sums, sums).ravel()[first - begin : last + 1 - begin].astype(np.int32)


class Decimator:
    """`decimate` for a stream that comes in pieces of int16, little endian, at one of RATES_HZ."""

    _kept: bytes
    _index: int

    def __init__(self, fs_hz: int = 16_000) -> None:
        self._by = ratio(fs_hz)
        self.reset()

    def push(self, index: int, data: bytes) -> tuple[int, Samples]:
        """Take samples from source index `index` on; after a jump of the index the window fills anew."""
        if index != self._index + len(self._kept) // INT16.itemsize:
            self._kept, self._index = b"", index
        data = self._kept + data
        samples = np.frombuffer(data, INT16)
        first, out = decimate(samples, self._index, self._by)
        following = (first + len(out)) * self._by.down // self._by.up - self._by.centre  # where the next window begins
        used = min(max(following - self._index, 0), len(samples))
        self._kept, self._index = data[used * INT16.itemsize :], self._index + used
        return first, out

    def reset(self) -> None:
        """Forget what was kept."""
        self._kept, self._index = b"", 0
