"""Whether a pulse rate follows from the pulses of a window: right, or silent.

An interval is trusted when both its pulses are ordinary ones in an ordinary stretch. Where nothing disturbed the wave
lately, irregular intervals are a patient's own rhythm and count; but one pulse missed or told twice among even ones
does not move the rate. After a disturbance irregular intervals may as well be its traces: then only even ones count.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agent.model import NoValue, Rate

Floats = NDArray[np.float64]

MEMORY_S: Final = 20.0  # how long a disturbance is remembered
LEAST: Final = 3  # trusted intervals for a rate
SHARE: Final = 0.3  # of the window, trusted
LONGEST_S: Final = 2.2  # an interval longer than this lacks a pulse
LOUD, TOO_LOUD, FAINT = 3.0, 4.0, 0.25  # energy of the last second against the usual: disturbed, not trusted, gone
HIGHEST, LOWEST = 2.0, 0.1  # height against the usual
NOISY: Final = 0.5  # noise in which a low pulse may be an ordinary one
UNSURE: Final = 0.6  # noise above which only the rhythm speaks for a pulse,
IN_RHYTHM, REGULAR = 0.1, 0.7  # and then it must be this near its place, in a wave this regular
DISTURBED_S: Final = 4.0
# Noise has maxima too: their intervals spread this much, in a wave that repeats itself so little or is hidden in noise;
NOISE_SPREAD, NOISE_LIKE, HIDDEN_SPREAD = 0.25, 0.38, 0.11
ANY_SPREAD, ANY_SHAPE = 0.15, -0.2  # and the slope around them runs less like that of pulses
UNEVEN: Final = 0.08  # spread of the intervals against their mean
SKIPPED, SKIPS = 1.75, 0.5  # intervals this long against the median, at most this share of them
ODD, FEW_ODD = 0.35, 0.25  # off the median by this much; at most this share of a window may be left out,
LONG_ODD: Final = 1  # and of long ones so many: two pulses missing in 10 s may be a deficit, which must show


class Told(NamedTuple):
    """A pulse that was told, and what spoke for it (see pulse_path.Found)."""

    time_s: float
    height: float
    unsure: float
    phase: float
    regular: float
    excess: float
    shape: float


def rate_of(pulses: Sequence[Told], t0_s: float, t1_s: float) -> Rate:
    """Return the rate of the window [t0_s, t1_s) of `pulses`, which reach MEMORY_S further back."""
    table = np.array(
        [(p.time_s, p.height, p.unsure, abs(p.phase), p.regular, p.excess, p.shape) for p in pulses if p.time_s < t1_s]
    ).reshape(-1, len(Told._fields))
    inside = table[:, 0] >= t0_s
    if inside.sum() <= 1:
        return Rate(None, NoValue.NO_BEATS)
    time_s = table[:, 0]
    interval = np.diff(time_s)
    most = np.maximum(table[1:], table[:-1])
    least = np.minimum(table[1:], table[:-1])
    excess_most, excess_least = most[:, 5], least[:, 5]
    disturbed = (excess_most > LOUD) | (excess_most < FAINT) | (interval > LONGEST_S)
    ordinary = (
        (excess_most < TOO_LOUD)
        & (excess_least > FAINT)
        & (interval < LONGEST_S)
        & (most[:, 1] < HIGHEST)
        & ((least[:, 1] > LOWEST) | (most[:, 2] < NOISY))
        & ((most[:, 2] < UNSURE) | ((most[:, 3] < IN_RHYTHM) & (least[:, 4] > REGULAR)))
    )
    trusted = interval[ordinary & inside[:-1]]
    if trusted.size < LEAST or trusted.sum() < SHARE * (t1_s - t0_s):
        return Rate(None, NoValue.MOTION if disturbed[inside[:-1]].any() else NoValue.POOR_SIGNAL)
    recent = time_s[:-1] >= t0_s - MEMORY_S
    every = interval[inside[:-1]]
    spread = every.std() / every.mean()
    if _noise_like(table[inside], spread):
        return Rate(None, NoValue.POOR_SIGNAL)
    if np.mean(trusted > SKIPPED * np.median(trusted)) > SKIPS:
        return Rate(None, NoValue.UNSURE)
    if interval[disturbed & recent].sum() > DISTURBED_S:
        if trusted.std() > UNEVEN * trusted.mean():
            return Rate(None, NoValue.UNSURE)
    elif every.max() < LONGEST_S:
        return Rate(_without_odd(every))
    return Rate(60.0 * trusted.size / float(trusted.sum()))


def _noise_like(table: Floats, spread: float) -> bool:
    """Tell a window of noise alone by its pulses, a row each, and the `spread` of their intervals."""
    _, _, unsure, _, regular, _, shape = np.median(table, axis=0)
    return bool(
        (spread > HIDDEN_SPREAD and unsure > UNSURE)
        or (spread > NOISE_SPREAD and regular < NOISE_LIKE)
        or (spread > ANY_SPREAD and shape < ANY_SHAPE)
    )


def _without_odd(interval: Floats) -> float:
    """Rate of the intervals of a window, a few odd ones left out."""
    departs = interval / np.median(interval) - 1.0
    odd = np.abs(departs) >= ODD
    if odd.mean() <= FEW_ODD and np.sum(departs >= ODD) <= LONG_ODD:
        interval = interval[~odd]
    return 60.0 * interval.size / float(interval.sum())
