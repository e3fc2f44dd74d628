"""The one shape every streaming stage takes, and what they share.

A stage is built from keyword settings, keeps its state in arrays, and gives the same output for any cutting of
its input, empty blocks included. What is not a sample comes out of `events()`.
"""

from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agent.model import StageEvent

Out_co = TypeVar("Out_co", covariant=True)


class Stage(Protocol[Out_co]):
    """What every stage offers."""

    @property
    def delay_s(self) -> float:
        """How far the output lags the input, in seconds (measured by a test)."""

    def push(self, block: NDArray[np.float64], /) -> Out_co:
        """Take the next samples, give what they complete."""

    def gap(self, n: int) -> None:
        """Skip `n` lost samples: the index advances, filters restart without a transient."""

    def reset(self) -> None:
        """Forget everything; the next sample is index 0."""

    def events(self) -> list[StageEvent]:
        """Take what happened since the last call."""


def as_samples(block: ArrayLike, *, ndim: tuple[int, ...] = (1,)) -> NDArray[np.float64]:
    """Return `block` as float64; raise ValueError when its number of dimensions is not one of `ndim`."""
    x = np.asarray(block, dtype=np.float64)
    if x.ndim not in ndim:
        raise ValueError(f"a block has {' or '.join(map(str, ndim))} dimension(s), this one has {x.ndim}")
    return x


def check_rate(fs_hz: float, low: float, high: float) -> float:
    """Return `fs_hz` as a float; raise ValueError when it is not a finite rate within [low, high] Hz."""
    fs = float(fs_hz)
    if not low <= fs <= high:  # also refuses NaN
        raise ValueError(f"sampling rate {fs_hz!r} Hz is outside {low:g} to {high:g} Hz")
    return fs
