"""Statistics over the last so many values, at each of the newest ones."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def windows(values: Floats, length: int, first: int = 0, step: int = 1) -> Floats:
    """View `length` neighbours of `values` (..., m) from `first` on, and from every `step` on: (..., places, length).

    `values` is contiguous.
    """
    places = (values.shape[-1] - first - length) // step + 1
    item = values.itemsize
    shape, strides = (*values.shape[:-1], places, length), (*values.strides[:-1], step * item, item)
    # Made by hand: numpy's own helpers take longer than what is done with it.
    return np.ndarray(shape, values.dtype, values, first * item, strides)


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
        # The copy gives each window's sum the same rounding, however many there are.
        out[..., short:] = reduce(windows(values, length, before + short - length).copy(), axis=-1)
    return out


def highest(values: Floats, length: int) -> Floats:
    """The largest of each `length` neighbours in `values` (m,), contiguous: (m - length + 1,)."""
    return np.asarray(np.maximum.reduce(windows(values, length).T, axis=0))


def quantile(values: Floats, share: float, axis: int) -> Floats:
    """The quantile below which `share` lies, by partition: several times faster than np.quantile on short windows."""
    k = int(share * (values.shape[axis] - 1))
    return np.asarray(np.partition(values, k, axis=axis).take(k, axis=axis))
