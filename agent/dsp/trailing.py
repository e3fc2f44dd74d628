"""Statistics over the last so many values, at each of the newest ones."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def windows(values: Floats, length: int, first: int = 0) -> Floats:
    """View `length` neighbours of `values` (..., m) from `first` on: (..., places, length).

    `values` is contiguous.
    """
    places = values.shape[-1] - first - length + 1
    item = values.itemsize
    shape, strides = (*values.shape[:-1], places, length), (*values.strides[:-1], item, item)
    # Made by hand: numpy's own helpers take longer than what is done with it.
    return np.ndarray(shape, values.dtype, values, first * item, strides)


def trailing(values: Floats, n: int, length: int, reduce: Callable[..., Floats]) -> Floats:
    """Reduce the last `length` of `values` (..., m) (fewer at the start) up to each of the `n` newest: (..., n).

    `values` is contiguous; `reduce` takes an array and `axis`.
    """
    before = values.shape[-1] - n + 1  # values up to and with the first of the newest
    short = min(n, max(0, length - before))
    # The copy gives each window's sum the same rounding, however many there are.
    full = [reduce(windows(values, length, before + short - length).copy(), axis=-1)] if short < n else []
    if not short:
        return full[0]
    few = [reduce(values[..., : before + k], axis=-1)[..., None] for k in range(short)]
    return np.concatenate(few + full, axis=-1)


def shifted(values: Floats, length: int) -> list[Floats]:
    """View `values` (length - 1 + n, ...) from 0, 1... length - 1 on: what each of the n looks back on."""
    n = len(values) - length + 1
    return [values[k : k + n] for k in range(length)]


def highest(values: Floats, length: int) -> Floats:
    """The largest of each `length` neighbours in `values` (m,), contiguous: (m - length + 1,)."""
    return np.asarray(np.maximum.reduce(windows(values, length).T, axis=0))


def quantile(values: Floats, share: float, axis: int) -> Floats:
    """The quantile below which `share` lies, by partition: several times faster than np.quantile on short windows."""
    k = int(share * (values.shape[axis] - 1))
    return np.asarray(np.partition(values, k, axis=axis).take(k, axis=axis))
