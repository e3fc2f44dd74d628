"""Signals the QRS network learns from: MIT-BIH records turned, resampled and disturbed, and drawn rhythms.

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
from training.ecg_rhythms import draw, piece

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
WEIGHTS = {"regular": 4.0, "fast": 2.0, "vt": 4.0, "wide": 2.0, "standstill": 2.0}  # what monitors are tested with


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
    """Give every signal, record by record, then the drawn ones (ecg_rhythms.py)."""
    rng = np.random.default_rng(seed)
    half = {kind: noise[: len(noise) // 2] for kind, noise in noises().items()}
    for name in names(folder()):
        yield from _of_record(rng, half, read(folder(), name, 0), read(folder(), name, 1))
    for k in range(SYNTHETIC):
        yield _drawn(rng, half, k)


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
        total += gain_for(record, noise[kind], snr_db) * piece(rng, noise[kind], n)
    return np.where(on, total, 0.0)


def _drawn(rng: Generator, noise: dict[str, Floats], seed: int) -> Lesson:
    """Draw a minute of some rhythm."""
    kind, fs_hz, (mv, r_s) = draw(rng, noise, seed)
    return Lesson("synthetic", kind, fs_hz, mv, np.rint(r_s * fs_hz).astype(np.int64), WEIGHTS.get(kind, 1.0))
