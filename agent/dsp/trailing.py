"""Statistics over the last so many values, at each of the newest ones."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def trailing(values: Floats, n: int, length: int, reduce: Callable[..., Floats]) -> Floats:
    """Reduce the last `length` of `values` (..., m) (fewer at the start) up to each of the `n` newest: (..., n).

    `values` is contiguous; `reduce` takes an array and `axis`.
    """
    before = values.shape[-1] - n + 1  # values up to and with the first of the newest
    short = min(n, max(0, length - before))
    out = np.empty((*values.shape[:-1], n))
    for k in range(short):
        out[..., k] = reduce(values[..., : before + k], axis=-1)
    if short < n:
        # A view made by hand: numpy's own helpers take longer than what is done with it.
        shape, skipped = (*values.shape[:-1], n - short, length), before + short - length
        windows = np.ndarray(shape, values.dtype, values, skipped * values.itemsize, (*values.strides, values.itemsize))
        # The copy gives each window's sum the same rounding, however many there are.
        out[..., short:] = reduce(windows.copy(), axis=-1)
    return out


def highest(values: Floats, length: int) -> Floats:
    """The largest of each `length` neighbours in `values` (m,), contiguous: (m - length + 1,)."""
    item = values.itemsize
    neighbours = np.ndarray((length, values.size - length + 1), values.dtype, values, strides=(item, item))
    return np.asarray(np.maximum.reduce(neighbours, axis=0))


def quantile(values: Floats, share: float, axis: int) -> Floats:
    """The quantile below which `share` lies, by partition: several times faster than np.quantile on short windows."""
    k = int(share * (values.shape[axis] - 1))
    return np.asarray(np.partition(values, k, axis=axis).take(k, axis=axis))
