"""Mixtures to train on: pools of clean sounds and noises, drawn, coloured, levelled and added anew each time."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from agent.dsp.auscultation_mask import MODES
from training.body_sounds import FS_HZ, Floats, Hearts, between, equalised, heart, lung
from training.room_noises import noise

CLIP_S = 8.0
EXAMPLE_S = 5.12  # 320 frames
RECORDED = {"heart": 0.5, "lung": 0.4}  # share of targets that are recordings, the others are synthetic
SHARES = (0.48, 0.4, 0.12)  # of the modes
SNR_DB = (-8.0, 18.0)
CLEANEST_DB = 45.0


@dataclass(frozen=True, slots=True)
class Lesson:
    """Which hearts are drawn, and which share of the mixtures is nearly clean: from `clean_db` on, to be left alone."""

    hearts: Hearts
    nearly_clean: float
    clean_db: float


@dataclass(frozen=True, slots=True)
class Pools:
    """Sounds of unit power at 4 kHz to draw from."""

    lesson: Lesson
    hearts: list[Floats]
    lungs: list[Floats]
    recorded_hearts: list[Floats]
    recorded_lungs: list[Floats]
    noises: list[Floats]


def make_pools(rng: Generator, recorded: tuple[list[Floats], list[Floats]], each: int, lesson: Lesson) -> Pools:
    """Synthesise `each` clips of every kind beside the recorded hearts and lungs; of these there may be none."""
    return Pools(
        lesson,
        [heart(rng, CLIP_S, lesson.hearts)[0] for _ in range(each)],
        [lung(rng, CLIP_S) for _ in range(each)],
        *recorded,
        [noise(rng, CLIP_S) for _ in range(2 * each)],
    )


def excerpt(rng: Generator, pool: list[Floats], depth_db: float) -> Floats:
    """Take a piece of one of `pool`, give it another colour and sometimes another speed."""
    n = int(EXAMPLE_S * FS_HZ)
    x = pool[rng.integers(len(pool))]
    speed = between(rng, 0.8, 1.25) if rng.random() < 0.5 else 1.0
    needed = int(n * speed) + 2
    if len(x) < needed:
        x = np.tile(x, needed // len(x) + 1)
    start = rng.integers(len(x) - needed + 1)
    x = x[start : start + needed]
    if speed != 1:
        x = np.interp(np.arange(n) * speed, np.arange(needed), x)
    x = equalised(rng, x[:n], depth_db)
    return x / (x.std() + 1e-9)


def body(rng: Generator, pools: Pools, kind: str) -> Floats:
    """Take a heart or a lung, recorded or synthetic."""
    real, made = (pools.recorded_hearts, pools.hearts) if kind == "heart" else (pools.recorded_lungs, pools.lungs)
    recorded = bool(real) and rng.random() < RECORDED[kind]
    return excerpt(rng, real if recorded else made, 3.0 if recorded else 1.0)


def sources(rng: Generator, pools: Pools) -> tuple[int, Floats, Floats]:
    """Give a mode's number, a clean sound and a noise, both of 5 s and unit power."""
    mode = int(rng.choice(len(MODES), p=SHARES))
    if MODES[mode] == "wide":
        clean = body(rng, pools, "heart") + between(rng, 0.1, 10) * body(rng, pools, "lung")
        clean /= clean.std()
    else:
        clean = body(rng, pools, MODES[mode])
    dirt = excerpt(rng, pools.noises, 1.5)
    if rng.random() < 0.2:  # it begins or ends while one listens
        turn = rng.integers(len(dirt))
        dirt[slice(turn) if rng.random() < 0.5 else slice(turn, None)] *= 10 ** (-rng.uniform(5, 40) / 20)
    return mode, clean, dirt / (dirt.std() + 1e-9)


def noise_gain(rng: Generator, lesson: Lesson) -> float:
    """Draw how loud the noise is against the clean sound; now and then there is hardly any."""
    snr_db = rng.uniform(*((lesson.clean_db, CLEANEST_DB) if rng.random() < lesson.nearly_clean else SNR_DB))
    return float(10 ** (-snr_db / 20))
