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
    outputs: int = field(init=False)
    """Outputs of a block, which begins with phase 0."""
    step: int = field(init=False)
    """Inputs from one block to the next."""
    block: Floats = field(init=False)
    """(inputs of a block + 1, outputs): each column is an output's taps / one, at its window.

    The last row is for an input that is always 1: the half to which sums are cut off to be rounded.
    """

    def __post_init__(self) -> None:
        outputs = -(-BLOCK // self.up) * self.up
        starts, phases = np.divmod(self.down * np.arange(outputs), self.up)
        width = self.taps.shape[1]
        block = np.zeros((int(starts[-1]) + width + 1, outputs))
        for column, (start, phase) in enumerate(zip(starts, phases, strict=True)):
            block[start : start + width, column] = self.taps[phase] / self.one
        block[-1] = 0.5
        object.__setattr__(self, "centre", width // 2)
        object.__setattr__(self, "outputs", outputs)
        object.__setattr__(self, "step", outputs * self.down // self.up)
        object.__setattr__(self, "block", block)

    def output_from(self, index: int) -> int:
        """The number of the first output that is not before source index `index`."""
        return -(-index * self.up // self.down)


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


def decimate(samples: Sound, index: int = 0, fs_hz: int = 16_000) -> tuple[int, Samples]:
    """Bring samples of 16 bits, the first with source index `index`, to 4 kHz, as `Decimator.push` does."""
    return Decimator(fs_hz).push(index, samples.astype(INT16).tobytes())


class Decimator:
    """Takes a stream at one of RATES_HZ in pieces of int16, little endian; gives outputs rounded half up.

    The sums are exact: in units of 1 / one they stay below 2^53, where float64 holds every integer, and its matrix
    product is the fastest there is. Each row of it is a block of outputs, and what is kept begins where a block does.
    Outputs whose window is not full are worked out with their block, but not given.
    """

    _index: int  # the source's, of the next sample
    _next: int  # number of the next output
    _first: int  # number of the output, of phase 0, with whose window the samples kept begin
    _kept: int  # samples kept

    def __init__(self, fs_hz: int = 16_000) -> None:
        self._by = ratio(fs_hz)
        self._bytes = memoryview(b"")
        self._make_room(1)
        self.reset()

    def reset(self) -> None:
        """Forget what was kept."""
        self._begin(0)

    def push(self, index: int, data: bytes) -> tuple[int, Samples]:
        """Take samples from source index `index` on; after a jump of the index the window fills anew.

        Returns the number of the first output, and the outputs that are complete: (n,) int32.
        """
        if index != self._index:
            self._begin(index)
        by, size = self._by, INT16.itemsize
        kept = self._kept + len(data) // size
        if kept > self._room:
            self._make_room(kept // by.step + 1)
        self._bytes[self._kept * size : kept * size] = data
        self._index += kept - self._kept
        self._kept = kept
        first, following = self._next, by.output_from(self._index - by.centre)
        if following <= first:
            return first, np.empty(0, np.int32)
        blocks = -((self._first - following) // by.outputs)
        self._inputs[:blocks, :-1] = self._windows[:blocks]
        sums = np.dot(self._inputs[:blocks], by.block, self._sums[:blocks])
        out = np.floor(sums, sums).ravel()[first - self._first : following - self._first].astype(np.int32)
        self._next = following
        self._keep_from(following - following % by.up)
        return first, out

    def _keep_from(self, first: int) -> None:
        """Forget what only outputs before `first`, of phase 0, needed."""
        begin, end = (first - self._first) * self._by.down // self._by.up, self._kept
        self._kept, self._first = end - begin, first
        self._bytes[: self._kept * INT16.itemsize] = self._bytes[begin * INT16.itemsize : end * INT16.itemsize]

    def _begin(self, index: int) -> None:
        """Nothing is known of the time before sample `index`: the first output is the first whose window is after it.

        The block it stands in begins before; those samples only meet outputs that are not given.
        """
        by = self._by
        self._index = index
        self._next = by.output_from(index + by.centre)
        self._first = (self._next // by.up - 1) * by.up
        self._kept = index + by.centre - self._first * by.down // by.up

    def _make_room(self, blocks: int) -> None:
        """For the samples of so many blocks; their windows overlap in them."""
        by = self._by
        inputs = len(by.block) - 1
        self._room = blocks * by.step
        samples = np.zeros(self._room + inputs, INT16)
        memory = samples.data.cast("B")
        memory[: len(self._bytes)] = self._bytes
        self._bytes = memory
        self._windows = np.ndarray((blocks, inputs), INT16, samples, strides=(by.step * INT16.itemsize, INT16.itemsize))
        self._inputs = np.ones((blocks, inputs + 1))
        self._sums = np.empty((blocks, by.outputs))
