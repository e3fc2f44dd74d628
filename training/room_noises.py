"""Synthetic rooms at 4 kHz: voices, babble, machines, crockery, water, rubbing and handling of the chest piece."""

import numpy as np
from numpy.random import Generator
from scipy.signal import fftconvolve

from training.body_sounds import FS_HZ, Floats, add, band, between, coloured, equalised

# First to third formant of vowels (Hz), after Peterson and Barney 1952, men.
VOWELS = np.array(
    [
        (270, 2290, 3010),
        (390, 1990, 2550),
        (530, 1840, 2480),
        (660, 1720, 2410),
        (730, 1090, 2440),
        (570, 840, 2410),
        (440, 1020, 2240),
        (300, 870, 2240),
        (640, 1190, 2390),
        (490, 1350, 1690),
        (250, 1000, 2200),
    ],
    dtype=float,
)
CONTROL_HZ = 100


def voice(rng: Generator, n: int) -> Floats:
    """Give speech without words: syllables of gliding vowels, noisy consonants, intonation, pauses."""
    seconds = n / FS_HZ
    frames = int(seconds * CONTROL_HZ) + 2
    level, noise = np.zeros(frames), np.zeros(frames)
    formants = np.zeros((frames, 3))
    pitch = np.zeros(frames)
    tract = between(rng, 0.95, 1.3)
    f0 = between(rng, 85, 280)
    liveliness = rng.uniform(0.03, 0.18)
    at, before = 0, VOWELS[rng.integers(len(VOWELS))]
    singing = rng.random() < 0.08
    while at < frames:
        phrase = frames if singing else at + int(rng.uniform(0.6, 3.5) * CONTROL_HZ)
        drift = f0 * (1 + rng.normal(0, liveliness))
        while at < min(phrase, frames):
            length = int((between(rng, 0.25, 0.9) if singing else between(rng, 0.09, 0.3)) * CONTROL_HZ)
            gap = int(rng.uniform(0.0, 0.10) * CONTROL_HZ)
            target = VOWELS[rng.integers(len(VOWELS))]
            u = np.linspace(0, 1, length)
            stop = min(at + length, frames)
            part = slice(at, stop)
            rise = np.minimum(1, np.minimum(u, 1 - u) / rng.uniform(0.1, 0.35))
            level[part] = (rise * between(rng, 0.3, 1.0))[: stop - at]
            formants[part] = (before + (target - before) * np.minimum(1, 2 * u)[:, None])[: stop - at] * tract
            drift = drift * between(rng, 0.8, 1.25) if singing else drift * (1 - 0.03 * rng.random())
            pitch[part] = (drift * (1 + liveliness * np.sin(np.pi * u + rng.uniform(0, 3))))[: stop - at]
            at, before = stop, target
            if rng.random() < 0.6 and at + gap < frames:
                noise[at : at + gap] = between(rng, 0.05, 0.5)
            formants[at : at + gap] = before * tract
            at += gap
        at += int(rng.uniform(0.1, 1.2) * CONTROL_HZ)
    when, control = np.arange(n) / FS_HZ, np.arange(frames) / CONTROL_HZ
    pitch = np.where(pitch > 0, pitch, f0)
    angle = 2 * np.pi * np.cumsum(np.interp(when, control, pitch)) / FS_HZ
    formants = np.where(formants > 0, formants, 500.0)
    y = np.zeros(n)
    tilt = rng.uniform(0.8, 1.8)
    for k in range(1, int(2000 / pitch.min()) + 1):
        f = k * pitch
        response = sum(
            gain / (1 + ((f - formants[:, i]) / width) ** 2)
            for i, (gain, width) in enumerate([(1.0, 60.0), (0.6, 80.0), (0.3, 110.0)])
        )
        strength = level * (response + 0.03) * k ** (-tilt / 2) * (f < 1950)
        y += np.interp(when, control, strength) * np.sin(k * angle + rng.uniform(0, 2 * np.pi))
    y /= y.std() + 1e-9
    hiss = band(rng.standard_normal(n), between(rng, 400, 1500), 2000, 1)
    return y + rng.uniform(0, 1.0) * np.interp(when, control, noise) * hiss


def babble(rng: Generator, n: int) -> Floats:
    """Many voices at once."""
    return sum((voice(rng, n) * between(rng, 0.3, 1) for _ in range(rng.integers(3, 8))), np.zeros(n))


def steady(rng: Generator, n: int) -> Floats:
    """Noise of any colour, sometimes slowly rising and falling."""
    y = coloured(rng, n, rng.choice([0.0, 1.0, 2.0, rng.uniform(-0.5, 2.5)], p=[0.25, 0.3, 0.15, 0.3]))
    if rng.random() < 0.3:
        y = y * np.exp(rng.uniform(0, 0.8) * slow(rng, n, between(rng, 0.2, 3)))
    return y


def slow(rng: Generator, n: int, f_hz: float) -> Floats:
    """Give a random curve of unit power that changes about `f_hz` times a second."""
    knots = rng.standard_normal(int(n / FS_HZ * f_hz * 2) + 4)
    return np.interp(np.linspace(0, len(knots) - 1, n), np.arange(len(knots)), knots)


def hum(rng: Generator, n: int) -> Floats:
    """Mains, compressor or fan: harmonics, often odd ones, some coming and going, over a little air."""
    t = np.arange(n) / FS_HZ
    f0 = rng.choice([50.0, 60.0, 100.0, between(rng, 30, 250)])
    step = 2 if rng.random() < 0.4 else 1
    fading = rng.uniform(0, 0.7) if rng.random() < 0.5 else 0.0  # share of the harmonics
    y = np.zeros(n)
    for k in range(1, rng.integers(3, 20), step):
        if k * f0 < 1900:
            gain = between(rng, 0.1, 1) / k ** rng.uniform(-0.2, 1.2)
            there = np.clip(0.5 + 2 * slow(rng, n, between(rng, 0.2, 4)), 0, 1) if rng.random() < fading else 1.0
            y += gain * there * np.sin(2 * np.pi * k * f0 * t + rng.uniform(0, 6))
    return y / y.std() + between(rng, 0.1, 1.5) * coloured(rng, n, rng.uniform(0.5, 2))


def machine(rng: Generator, n: int) -> Floats:
    """A turning machine: whirring bands whose loudness follows the turns, with its knocks."""
    t = np.arange(n) / FS_HZ
    turns = between(rng, 0.6, 8) * (1 + 0.05 * slow(rng, n, 0.3))
    angle = 2 * np.pi * np.cumsum(turns) / FS_HZ
    y = np.zeros(n)
    for _ in range(rng.integers(2, 5)):
        low = between(rng, 40, 900)
        depth = rng.uniform(0, 0.9)
        y += band(rng.standard_normal(n), low, low * between(rng, 1.2, 4)) * (
            1 + depth * np.sin(rng.integers(1, 4) * angle + rng.uniform(0, 6))
        )
    f0 = between(rng, 60, 500)
    y += rng.uniform(0, 1) * y.std() * np.sin(2 * np.pi * f0 * t + 3 * np.sin(angle))
    return y


def vehicle(rng: Generator, n: int) -> Floats:
    """Road, rail or engine: a rumble that swells, a gliding tone with its harmonics, jolts."""
    y = band(coloured(rng, n, rng.uniform(0.5, 2.5)), between(rng, 15, 60), between(rng, 150, 1200), 1)
    y = y / y.std() * np.exp(rng.uniform(0, 0.8) * slow(rng, n, between(rng, 0.1, 3)))
    turns = between(rng, 20, 200) * 2 ** (rng.uniform(0, 0.4) * slow(rng, n, between(rng, 0.1, 0.5)))
    angle = 2 * np.pi * np.cumsum(turns) / FS_HZ
    strength = between(rng, 0.05, 1)
    for k in range(1, 10):
        if k * turns.max() < 1900:
            y += strength * rng.uniform(0, 1) / k ** rng.uniform(0, 1) * np.sin(k * angle + rng.uniform(0, 6))
    return y + rng.uniform(0, 0.7) * handling(rng, n)


def music(rng: Generator, n: int) -> Floats:
    """Notes, chords, sirens and alarms: harmonics that begin, glide and end."""
    y = np.zeros(n)
    gliding, tilt = 0.6 if rng.random() < 0.2 else 0.05, rng.uniform(0.3, 2)
    for _ in range(rng.integers(1, 5)):
        at = int(-rng.uniform(0, 1) * FS_HZ)
        while at < n:
            u = np.linspace(0, 1, int(between(rng, 0.08, 2.5) * FS_HZ))
            t = u * len(u) / FS_HZ
            f_hz = between(rng, 70, 1200) * 2 ** (gliding * rng.normal() * u) * (1 + 0.01 * np.sin(2 * np.pi * 5 * t))
            angle = 2 * np.pi * np.cumsum(f_hz) / FS_HZ
            tone = sum(
                (k**-tilt * np.sin(k * angle + rng.uniform(0, 6)) for k in range(1, 9) if k * f_hz.max() < 1950),
                np.zeros(len(u)),
            )
            envelope = np.minimum(1, u / rng.uniform(0.01, 0.3)) * (1 - u) ** rng.uniform(0.1, 2)
            add(y, at, tone * envelope * between(rng, 0.1, 1))
            at += int(len(u) * between(rng, 0.5, 2))
    return y / (y.std() + 1e-9) + between(rng, 0.02, 0.8) * coloured(rng, n, rng.uniform(0.5, 2))


def crockery(rng: Generator, n: int) -> Floats:
    """Clatter: struck things ring at a few damped frequencies, alone and in runs."""
    y = np.zeros(n)
    at = 0.0
    while at < n:
        modes = rng.integers(2, 7)
        t = np.arange(int(between(rng, 0.03, 0.5) * FS_HZ)) / FS_HZ
        piece = sum(
            rng.uniform(0.2, 1)
            * np.exp(-t / between(rng, 0.004, 0.12))
            * np.sin(2 * np.pi * between(rng, 120, 1950) * t)
            for _ in range(modes)
        )
        add(y, int(at), np.asarray(piece) * between(rng, 0.1, 2))
        at += (between(rng, 0.02, 0.2) if rng.random() < 0.6 else between(rng, 0.2, 1.5)) * FS_HZ
    return y / (y.std() + 1e-9) + between(rng, 0.02, 0.6) * coloured(rng, n, rng.uniform(0, 1.5))


def water(rng: Generator, n: int) -> Floats:
    """A running tap: bright noise that bubbles."""
    y = band(coloured(rng, n, rng.uniform(-0.5, 1)), between(rng, 60, 500), 2000, 1)
    return y * np.exp(rng.uniform(0.1, 0.6) * slow(rng, n, between(rng, 5, 30)))


def rubbing(rng: Generator, n: int) -> Floats:
    """Chest piece on skin or cloth: strokes made of many small slips, some creaking, and now and then a knock."""
    y = np.zeros(n)
    at = rng.uniform(0, 0.5) * FS_HZ
    pause_s = between(rng, 0.02, 0.9)
    while at < n:
        length = int(between(rng, 0.03, 0.6) * FS_HZ)
        slips = np.zeros(length)
        count = max(1, int(length / FS_HZ * between(rng, 40, 500)))
        places = rng.integers(0, length, count)
        if rng.random() < 0.25:  # it creaks: slips as regular as a tone
            places = np.arange(0, length, length / count).astype(int)[:count]
        np.add.at(slips, places, rng.standard_t(3, len(places)))
        slips += rng.uniform(0, 0.6) * rng.standard_normal(length)
        stroke = np.sin(np.pi * np.arange(length) / length) ** rng.uniform(0.5, 2)
        add(y, int(at), slips * stroke * between(rng, 0.2, 1))
        at += length * rng.uniform(0.5, 1) + rng.exponential(pause_s) * FS_HZ
    y = band(y, between(rng, 25, 100), between(rng, 400, 1800), rng.integers(1, 3))
    return y / (y.std() + 1e-9) + rng.uniform(0, 1.2) * handling(rng, n)


def handling(rng: Generator, n: int) -> Floats:
    """Knocks and clicks: damped low tones with a sharp or soft start."""
    y = np.zeros(n)
    for at in rng.integers(0, n, max(1, rng.poisson(n / FS_HZ * between(rng, 0.4, 3)))):
        t = np.arange(int(0.15 * FS_HZ)) / FS_HZ
        f, fall = between(rng, 30, 600), between(rng, 0.002, 0.025)
        start = np.minimum(1, t / between(rng, 0.0003, 0.006))
        add(
            y,
            int(at),
            between(rng, 0.2, 1.5) * start * np.exp(-t / fall) * np.sin(2 * np.pi * f * t + rng.uniform(0, 3)),
        )
    return y / (y.std() + 1e-9)


def bangs(rng: Generator, n: int) -> Floats:
    """Doors, coughs, typing, and steps or knocks as regular as a heart: short bursts of band noise."""
    y = np.zeros(n)
    at = rng.uniform(0, 1) * FS_HZ
    pace = between(rng, 0.25, 1.2) if rng.random() < 0.35 else 0.0
    while at < n:
        length = int(between(rng, 0.02, 0.7) * FS_HZ)
        low = between(rng, 25, 500)
        burst = band(rng.standard_normal(length + 200), low, low * between(rng, 1.5, 8))[200:]
        t = np.arange(length) / length
        add(
            y,
            int(at),
            burst * np.minimum(1, t / rng.uniform(0.02, 0.4)) * np.exp(-rng.uniform(1, 6) * t) * between(rng, 0.2, 2),
        )
        at += (pace * rng.uniform(0.93, 1.07) if pace else between(rng, 0.08, 1.5)) * FS_HZ
    return y / (y.std() + 1e-9) + between(rng, 0.03, 1) * coloured(rng, n, rng.uniform(0, 2))


KINDS = {
    voice: 0.18, babble: 0.09, steady: 0.21, hum: 0.06, music: 0.05, machine: 0.05, vehicle: 0.05, crockery: 0.035,
    water: 0.025, rubbing: 0.18, handling: 0.025, bangs: 0.045,
}  # fmt: skip
TOUCH = {rubbing, handling, steady, vehicle}  # heard by the chest piece directly, not through the air


def noise(rng: Generator, seconds: float) -> Floats:
    """Give some room for `seconds`, of unit power, as it leaks into a stethoscope."""
    n = int(seconds * FS_HZ)
    make, other = (list(KINDS)[i] for i in rng.choice(len(KINDS), 2, p=np.array(list(KINDS.values()))))
    y = make(rng, n)
    if rng.random() < 0.25:
        more = other(rng, n)
        y = y / (y.std() + 1e-9) + between(rng, 0.1, 1) * more / (more.std() + 1e-9)
    if make not in TOUCH and rng.random() < 0.4:
        length = between(rng, 0.05, 0.6)
        tail = rng.standard_normal(int(length * FS_HZ)) * np.exp(-5 * np.arange(int(length * FS_HZ)) / (length * FS_HZ))
        tail[0] += between(rng, 1, 10)
        y = fftconvolve(y, tail)[:n]
    if make not in TOUCH or rng.random() < 0.4:
        y = band(y, between(rng, 30, 120), between(rng, 350, 1900), 1)
    y = equalised(rng, y, 2.5)
    return y / (y.std() + 1e-9)
