"""A pleth and raw red/infrared light whose beats and oxygen saturation are known."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

UPSLOPE_S = 0.11  # from foot to steepest point


def beats(rate_per_min: float, seconds: float, *, vary: float = 0.02, seed: int = 0) -> np.ndarray:
    """Feet of a pulse train, s."""
    rng = np.random.default_rng(seed)
    period = 60.0 / rate_per_min
    n = int(seconds / period) + 2
    return 0.4 + np.cumsum(period * (1.0 + vary * rng.standard_normal(n)))


def wave(feet: np.ndarray, seconds: float, fs_hz: float, *, height: np.ndarray | float = 1.0) -> np.ndarray:
    """A pulse of height 1 after each foot: systolic peak, notch, diastolic wave."""
    t = np.arange(round(seconds * fs_hz)) / fs_hz
    y = np.zeros(t.size)
    heights = np.broadcast_to(height, feet.shape)
    widths = np.clip(np.diff(feet, append=feet[-1] + 0.8), 0.25, 1.0) / 0.8
    for foot, high, width in zip(feet, heights, np.sqrt(widths), strict=True):
        x = (t - foot) / width
        y += high * (np.exp(-0.5 * ((x - 0.2) / 0.075) ** 2) + 0.35 * np.exp(-0.5 * ((x - 0.45) / 0.1) ** 2))
    return y


@dataclass(frozen=True, slots=True, eq=False)
class Light:
    """Raw counts of one sensor, and what is true of them."""

    red: np.ndarray
    ir: np.ndarray
    ambient: np.ndarray
    feet: np.ndarray


def light(
    pct: float = 96.0, *, seconds: float = 30.0, fs_hz: float = 100.0, rate: float = 72.0, pi: float = 2.0,
    noise: float = 2.0, motion: float = 0.0, ambient: float = 2000.0, seed: int = 0,
) -> Light:  # fmt: skip
    """Beer and Lambert: light falls exponentially with what absorbs it; SpO2 = 110 - 25 R; motion is venous."""
    rng = np.random.default_rng(seed)
    feet = beats(rate, seconds, seed=seed)
    pulse = pi / 100.0 * wave(feet, seconds, fs_hz)
    t = np.arange(pulse.size) / fs_hz
    moved = motion * pi / 100.0 * np.interp(t, t[:: round(fs_hz / 5)], rng.standard_normal(t[:: round(fs_hz / 5)].size))
    arterial, venous = (110.0 - pct) / 25.0, (110.0 - pct + 25.0) / 25.0
    around = ambient * (1.0 + 0.2 * np.sin(2 * np.pi * 0.05 * t))

    def counts(level: float, absorbed: np.ndarray) -> np.ndarray:
        return np.round(level * np.exp(-absorbed) + around + noise * rng.standard_normal(t.size))

    return Light(
        red=counts(90_000.0, arterial * pulse + venous * moved),
        ir=counts(110_000.0, pulse + moved),
        ambient=np.round(around + noise * rng.standard_normal(t.size)),
        feet=feet[feet < seconds - 1.0],
    )


def blocks(n: int, cuts: list[int]) -> list[slice]:
    """The slices of n samples between the cuts, empty ones included."""
    edges = [0, *sorted(min(c, n) for c in cuts), n]
    return [slice(a, b) for a, b in pairwise(edges)]
