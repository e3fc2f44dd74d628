# Ref: McClellan, Parks, Rabiner 1973 (equiripple FIR): remez(191, [0, 1600, 2000, 8000], [1, 0], weight=[1, 8],
# fs=16000), rounded to Q15, centre tap adjusted so that the sum is exactly 2^15.
"""Decimation of sound from 16 kHz to 4 kHz in integers: the same samples on every machine, for every cutting.

Pass band to 1600 Hz within 0.01 dB, stop band from 2000 Hz at least 68 dB down. Output m is the window of 191 inputs
around input 4 m, on the grid of the source's own sample index; only windows fully inside received samples give an
output, so nothing depends on where a connection began.
"""

import numpy as np
from numpy.typing import NDArray

from agent.model import Samples

FACTOR = 4
# fmt: off
HALF_Q15 = (
    0, 2, 2, 2, 1, 0, -2, -3, -3, -1, 2, 4, 6, 4, 0, -5, -8, -8, -4, 3, 11, 14, 10, 1, -11, -19, -19, -10, 6, 22,
    29, 22, 3, -20, -37, -38, -19, 12, 41, 54, 42, 6, -37, -68, -68, -34, 21, 73, 95, 72, 10, -65, -116, -116, -57,
    37, 124, 159, 119, 15, -109, -193, -190, -92, 64, 206, 262, 193, 19, -186, -323, -315, -148, 115, 355, 447, 327,
    23, -337, -580, -567, -260, 234, 701, 898, 666, 26, -799, -1437, -1499, -732, 861, 2988, 5133, 6723, 7308,
)
# fmt: on
TAPS_Q15: NDArray[np.int64] = np.array(HALF_Q15 + HALF_Q15[-2::-1], np.int64)
TAPS = len(TAPS_Q15)
CENTRE = TAPS // 2
TAPS_F = TAPS_Q15.astype(np.float64)
ONE_Q15 = float(1 << 15)
ROUNDING = ONE_Q15 / 2


def decimate(samples: Samples, index: int = 0) -> tuple[int, Samples]:
    """Decimate int samples whose first has source index `index`; return the first output's grid number and outputs.

    Output m stands for source index 4 m, rounded half up from Q15. The sums are exact: they stay below 2^53, where
    float64 holds every integer, and its dot product is the fastest there is.
    """
    first = -(-(index + CENTRE) // FACTOR)
    start = first * FACTOR - CENTRE - index
    if len(samples) < start + TAPS:
        return first, np.empty(0, np.int32)
    x = samples[start:].astype(np.float64)
    n = (len(x) - TAPS) // FACTOR + 1
    windows = np.ndarray((n, TAPS), np.float64, x, strides=(FACTOR * x.itemsize, x.itemsize)).copy()
    return first, np.floor((windows @ TAPS_F + ROUNDING) / ONE_Q15).astype(np.int32)


class Decimator:
    """`decimate` for a stream that comes in pieces."""

    def __init__(self) -> None:
        self._kept: Samples = np.empty(0, np.int32)
        self._index = 0

    def push(self, index: int, samples: Samples) -> tuple[int, Samples]:
        """Take samples from source index `index` on; after a jump of the index the window fills anew."""
        if index != self._index + len(self._kept):
            self._kept, self._index = np.empty(0, np.int32), index
        joined = np.concatenate((self._kept, samples)).astype(np.int32, copy=False)
        first, out = decimate(joined, self._index)
        following = (first + len(out)) * FACTOR - CENTRE  # where the next output's window begins
        used = min(max(following - self._index, 0), len(joined))
        self._kept, self._index = joined[used:], self._index + used
        return first, out

    def reset(self) -> None:
        """Forget what was kept."""
        self._kept, self._index = np.empty(0, np.int32), 0
