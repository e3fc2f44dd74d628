"""Signals the QRS network learns from: MIT-BIH records turned, resampled and disturbed, and synthetic rhythms.

Everything random is drawn from one seed. Noise is taken from the first half of the Noise Stress Test's recordings
only, so that a test may use the second.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.signal import butter, resample_poly, sosfilt

from benchmarks.ecg_records import Record, folder, gain_for, names, noises, read
from tests.dsp import synthetic_ecg as synthetic
from training.body_sounds import between

Floats = NDArray[np.float64]
FS_HZ = 360.0
TURN_S = 75  # noise is on for so long, then off
NOISY = (
    (("em",), 12), (("em",), 6), (("em",), 0), (("ma",), 6), (("ma",), 0),
    (("bw",), 0), (("bw",), 3), (("bw",), 6), (("em", "ma"), 6),
)  # fmt: skip
MIXES = (("em",), ("ma",), ("bw",), ("em", "ma"), ("bw", "em"), ("bw", "ma"))
RESAMPLED = ((125.0, 25, 72, 900), (500.0, 25, 18, 400), (250.0, 25, 36, 600))  # rate, up, down, seconds
TURNED, TURNED_NOISY, OTHER_FRONT_END, WITH_P = 4, 3, 0.3, 0.4
PLAYED_HZ = (300.0, 360.0, 430.0)  # turned leads are also played slower and faster
SYNTHETIC = 850
RHYTHMS = (
    *("regular",) * 4, "fast", *("vt",) * 3, "pairs", *("none",) * 2, "stop", *("standstill",) * 3, "step", "tall p",
    *("vf",) * 2, *("wave",) * 3,
)  # fmt: skip
# A fast rhythm taken for fibrillation is worse than the reverse.
WEIGHTS = {"vt": 3.0, "vf": 0.4, "wave": 2.0, "standstill": 2.0}


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """A signal with its reference beats; `group` is the record it comes from, for splits by record."""

    group: str
    kind: str
    fs_hz: float
    mv: Floats
    beats: NDArray[np.int64]
    weight: float


def lessons(seed: int) -> Iterator[Lesson]:
    """Give every signal, record by record, then the synthetic ones."""
    rng = np.random.default_rng(seed)
    half = {kind: noise[: len(noise) // 2] for kind, noise in noises().items()}
    for name in names(folder()):
        yield from _of_record(rng, half, read(folder(), name, 0), read(folder(), name, 1))
    for k in range(SYNTHETIC):
        yield _synthetic(rng, half, k)


def _of_record(rng: Generator, noise: dict[str, Floats], first: Record, second: Record) -> Iterator[Lesson]:
    """Give both leads, clean and in each noise; the first resampled; turned leads between the two."""
    for channel, record in enumerate((first, second)):
        n = len(record.mv) // (1 + channel)
        yield Lesson(first.name, "clean", FS_HZ, record.mv[:n], record.beats[record.beats < n], 1.0)
        for kinds, snr_db in NOISY:
            mv, beats = _excerpt(rng, record, 600 // (1 + channel))
            mv = mv + _disturbance(rng, noise, record, kinds, snr_db, len(mv))
            yield Lesson(
                first.name,
                f"{'+'.join(kinds)} {snr_db} dB",
                FS_HZ,
                mv,
                beats,
                0.6 if snr_db == 0 and kinds != ("bw",) else 1.0,
            )
    for fs_hz, up, down, seconds in RESAMPLED:
        mv, beats = _excerpt(rng, first, seconds)
        mv = resample_poly(mv - mv[0], up, down)
        yield Lesson(first.name, f"{fs_hz:g} Hz", fs_hz, mv, (beats * fs_hz / FS_HZ).astype(np.int64), 0.6)
    for k in range(TURNED + TURNED_NOISY):
        angle, ratio = rng.uniform(0, 2 * np.pi), np.exp(rng.normal(0, 0.3))
        one, other = (r.mv - np.median(r.mv) for r in (first, second))
        turned = Record(first.name, FS_HZ, np.cos(angle) * one + ratio * np.sin(angle) * other, first.beats, ())
        mv, beats = _excerpt(rng, turned, 700)
        if rng.random() < WITH_P:
            mv += _p_waves(rng, mv, beats)
        played_hz = float(rng.choice(PLAYED_HZ))
        if rng.random() < OTHER_FRONT_END:
            mv = _front_end(rng, mv)
        if k < TURNED:
            yield Lesson(first.name, "turned", played_hz, mv, beats, 1.0)
        else:
            kinds, snr_db = MIXES[rng.integers(len(MIXES))], float(rng.choice([0, 3, 6, 12]))
            mv = mv + _disturbance(rng, noise, turned, kinds, snr_db, len(mv))
            yield Lesson(first.name, "turned, noisy", played_hz, mv, beats, 0.6)


def _p_waves(rng: Generator, mv: Floats, beats: NDArray[np.int64]) -> Floats:
    """Draw a tall P wave before every beat that is not early, as few records have them."""
    inside = beats[(beats > 90) & (beats < len(mv) - 18)]
    size = np.median([np.ptp(mv[r - 18 : r + 18]) for r in inside]) if inside.size else 0.0
    rr = np.diff(inside, prepend=-1000)
    width, before, height = rng.uniform(0.06, 0.12) * FS_HZ, rng.uniform(0.12, 0.24) * FS_HZ, rng.uniform(0.1, 0.5)
    half = int(width / 2)
    wave = np.cos(np.pi * np.arange(-half, half + 1) / width) ** rng.uniform(1, 2)
    out = np.zeros(len(mv))
    for r in inside[rr > 0.8 * np.median(rr)]:
        middle = int(r - before + rng.normal(0, 2))
        if middle - half >= 0:
            out[middle - half : middle + half + 1] = wave
    return out * height * size * rng.choice([-1, 1])


def _front_end(rng: Generator, mv: Floats) -> Floats:
    """Return a signal as a device of a narrower band records it: high-pass 0.05-1 Hz, low-pass 35-60 Hz."""
    high = butter(1, np.exp(rng.uniform(np.log(0.05), 0.0)), "highpass", fs=FS_HZ, output="sos")
    low = butter(2, rng.uniform(35, 60), fs=FS_HZ, output="sos")
    return np.asarray(sosfilt(low, sosfilt(high, mv - mv[0])))


def _excerpt(rng: Generator, record: Record, seconds: int) -> tuple[Floats, NDArray[np.int64]]:
    n = min(int(seconds * FS_HZ), len(record.mv))
    start = int(rng.integers(len(record.mv) - n + 1))
    inside = (record.beats >= start) & (record.beats < start + n)
    return record.mv[start : start + n].copy(), record.beats[inside] - start


def _disturbance(
    rng: Generator, noise: dict[str, Floats], record: Record, kinds: tuple[str, ...], snr_db: float, n: int
) -> Floats:
    on = (np.arange(n) // int(TURN_S * FS_HZ)) % 2 == 1
    total = np.zeros(n)
    for kind in kinds:
        total += gain_for(record, noise[kind], snr_db) * _piece(rng, noise[kind], n)
    return np.where(on, total, 0.0)


def _piece(rng: Generator, noise: Floats, n: int) -> Floats:
    """Return `n` samples from a random place on, round and round, of either sign."""
    return noise[(rng.integers(len(noise)) + np.arange(n)) % len(noise)] * rng.choice([-1, 1])


def _synthetic(rng: Generator, noise: dict[str, Floats], seed: int) -> Lesson:
    """Draw one minute of a rhythm that records have little of, or of no rhythm at all."""
    fs_hz, duration_s = float(rng.choice([125, 250, 360, 500, 1000])), 60.0
    kind = str(rng.choice(RHYTHMS))
    size = float(np.exp(rng.uniform(np.log(0.4), np.log(5))))
    grain = float(rng.choice([0, 0, 0.002, 0.01, 0.03])) * size
    shape = str(rng.choice(["triangle", "qrs"]))
    if kind == "none":
        mv = _no_rhythm(rng, noise, fs_hz, duration_s) + grain / size * rng.standard_normal(round(fs_hz * duration_s))
        return Lesson("synthetic", kind, fs_hz, mv, np.empty(0, np.int64), 1.0)
    settings: dict[str, object] = {"amplitude_mv": size, "noise_mv": grain, "seed": seed, "t_mv": 0.2 * size}
    if kind == "regular":
        rate = rng.uniform(30, 160)
        r = synthetic.regular(rate, duration_s, rng.uniform(0.3, 1))
        r = r + rng.normal(0, 0.01, len(r)) * (rng.random() < 0.5)
        tall = min(1.4, 0.3 + 1.1 * (rate < 125))
        settings |= {"width_s": rng.uniform(0.04, 0.13), "t_mv": max(0.0, rng.uniform(-0.3, tall)) * size}
        settings |= {"shape": shape, "p_mv": 0.15 * size * (rate < 140) * (rng.random() < 0.6)}
    elif kind == "fast":
        rate = rng.uniform(160, 305)
        r = synthetic.regular(rate, duration_s)
        settings |= {"width_s": rng.uniform(0.04, 0.09), "t_mv": 0.15 * size * (rate < 240), "shape": shape}
    elif kind == "vt":
        before = synthetic.regular(80, 20)
        r = np.concatenate([before, np.arange(20.2, duration_s - 0.3, 60 / rng.uniform(150, 230))])
        wide = np.arange(len(r)) >= len(before)
        settings |= {"amplitude_mv": np.where(wide, size * between(rng, 0.3, 2.5) * rng.choice([-1, 1]), size)}
        settings |= {"width_s": np.where(wide, rng.uniform(0.11, 0.16), 0.08), "t_mv": rng.uniform(0, 0.2)}
    elif kind == "pairs":
        intervals = [(0.5, 1.0), (0.6, 1.4), (0.35, 0.65), (0.5, 0.83), (0.55, 0.95)][rng.integers(5)]
        r = synthetic.alternating(intervals, duration_s)
        odd = np.arange(len(r)) % 2 == 1
        settings |= {"amplitude_mv": np.where(odd, size * rng.uniform(0.7, 1.6) * rng.choice([-1, 1]), size)}
        settings |= {"width_s": np.where(odd, rng.uniform(0.1, 0.17), 0.08), "t_mv": 0.25 * size * rng.choice([-1, 1])}
    elif kind == "tall p":
        r = synthetic.regular(rng.uniform(40, 120), duration_s)
        r = r + rng.normal(0, 0.02, len(r))
        settings |= {"width_s": rng.uniform(0.06, 0.12), "t_mv": rng.uniform(-0.6, 1) * size, "shape": shape}
        settings |= {"p_mv": rng.uniform(0.2, 0.7) * size}
    elif kind in {"vf", "wave", "stop", "standstill"}:
        r = synthetic.regular(rng.uniform(50, 120), 20)
        settings |= {"p_mv": size * rng.uniform(0.05, 0.25)} if kind == "standstill" else {}
    else:
        after = np.arange(30.2, duration_s - 0.3, 60 / rng.choice([30, 40, 120, 150.0]))
        r = np.concatenate([synthetic.regular(80, 30), after])
        settings |= {"t_mv": 0.25 * size, "p_mv": 0.1 * size}
    mv = synthetic.ecg(fs_hz, duration_s, r, **settings)
    if kind == "stop":
        still = synthetic.clock(fs_hz, duration_s) > r[-1] + 0.45
        nothing = _no_rhythm(rng, noise, fs_hz, duration_s)
        mv = np.where(still, nothing + grain * rng.standard_normal(len(mv)), mv)
    if kind == "standstill":  # the atria beat on, the ventricles do not
        t = synthetic.clock(fs_hz, duration_s)
        for at in np.arange(r[-1] + rng.uniform(0.45, 1.2), duration_s, 60 / rng.uniform(40, 110)):
            mv = mv + settings["p_mv"] * synthetic.half_sine(t, at, rng.uniform(0.08, 0.12))
    if kind == "wave":
        wave, at = _steady_wave(rng, fs_hz, duration_s, 20.2)
        mv, r = mv + size * wave, np.concatenate((r, at))
    if kind == "vf":
        mv = mv + size * _fibrillation(rng, fs_hz, duration_s, 20.0)
    if kind in {"regular", "step"} and rng.random() < 0.25:
        height, width = rng.uniform(2, 300) * rng.choice([-1, 1]), rng.uniform(0.0001, 0.002)
        mv = mv + synthetic.pace_pulses(fs_hz, duration_s, np.maximum(r - 0.06, 0), height, width)
    return Lesson("synthetic", kind, fs_hz, mv, np.rint(r * fs_hz).astype(np.int64), WEIGHTS.get(kind, 1.0))


def _no_rhythm(rng: Generator, noise: dict[str, Floats], fs_hz: float, duration_s: float) -> Floats:
    """Draw what is no beat: mains, pacing pulses alone, noise alone, an amplifier's noise or nothing.

    Not P waves alone: without a QRS before them they are the same as wide QRS complexes of a low gain.
    """
    t = synthetic.clock(fs_hz, duration_s)
    which = rng.integers(5)
    if which == 0:
        hum_hz, size = rng.choice([50, 60, fs_hz / 2]), np.exp(rng.uniform(np.log(0.05), np.log(5)))
        return rng.choice([0.1, size]) * np.cos(2 * np.pi * hum_hz * t + rng.choice([0, rng.uniform(0, 6)]))
    if which == 1:
        at, height = synthetic.regular(rng.uniform(50, 100), duration_s), rng.uniform(2, 700) * rng.choice([-1, 1])
        return synthetic.pace_pulses(fs_hz, duration_s, at, height, rng.uniform(0.0001, 0.002))
    if which == 2:
        piece = _piece(rng, noise[str(rng.choice(["em", "ma"]))], int(duration_s * FS_HZ))
        return resample_poly(piece, int(fs_hz), int(FS_HZ))[: len(t)]
    return rng.choice([0.0, 0.005, 0.02, 0.05]) * rng.standard_normal(len(t))


def _steady_wave(rng: Generator, fs_hz: float, duration_s: float, from_s: float) -> tuple[Floats, Floats]:
    """Draw ventricular tachycardia without a base line, and its beats: where each wave is steepest."""
    t = synthetic.clock(fs_hz, duration_s)
    period_s = 60 / rng.uniform(150, 240)
    second, third, *shifts = rng.uniform(0, 0.4), rng.uniform(0, 0.2), *rng.uniform(0, 2 * np.pi, 2)

    def wave(at: Floats) -> Floats:
        phase = 2 * np.pi * (at - from_s) / period_s
        return np.cos(phase) + second * np.cos(2 * phase + shifts[0]) + third * np.cos(3 * phase + shifts[1])

    once = np.arange(from_s, from_s + period_s, 0.001)
    steepest = once[np.abs(np.gradient(wave(once))).argmax()]
    beats = np.arange(steepest, duration_s - 0.3, period_s)
    return np.where(t > from_s, between(rng, 0.2, 3) * wave(t), 0.0), beats


def _fibrillation(rng: Generator, fs_hz: float, duration_s: float, from_s: float) -> Floats:
    """Draw a wave of 2.8-6.5 Hz, steady as in ventricular flutter or of wandering frequency and size: fibrillation."""
    t = synthetic.clock(fs_hz, duration_s)
    n = int(duration_s * 20) + 40
    unrest = rng.choice([0.15, 1.0])

    def wander(width: int) -> Floats:
        steps = np.convolve(rng.normal(size=n), np.ones(width) / np.sqrt(width), "same")
        return unrest * np.interp(t, np.arange(n) / 20, steps)

    lowest = 4.2 if unrest < 1 else 2.8  # slower steady waves are ventricular tachycardia, and counted
    phase = 2 * np.pi * np.cumsum(rng.uniform(lowest, 6.5) + wander(20)) / fs_hz
    wave = np.sin(phase) + rng.uniform(0, 0.3) * np.sin(2 * phase + 1) + rng.uniform(0, 0.1) * np.sin(3 * phase)
    return np.where(t > from_s, rng.uniform(0.3, 2) * np.exp(0.35 * wander(30)) * wave, 0.0)
