"""What the waveform codec is measured on: recordings of the optional data folder, and generators.

The folder is $BESACE_DATA, or `shared/data` beside the project.
"""

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

DATA = Path(os.environ.get("BESACE_DATA", Path(__file__).parents[2] / "shared" / "data"))
INT32 = np.iinfo(np.int32)


@dataclass(frozen=True)
class Signal:
    """A signal, its rate and the length of its blocks."""

    group: str
    name: str
    fs_hz: float
    n: int
    samples: NDArray[np.int32]


def mitdb_names() -> list[str]:
    return sorted(path.stem for path in (DATA / "ecg" / "mitdb").glob("*.dat"))


def mitdb(name: str) -> NDArray[np.int32]:
    """First channel of a record in format 212: two 12-bit samples in three bytes."""
    raw = np.fromfile(DATA / "ecg" / "mitdb" / f"{name}.dat", np.uint8).reshape(-1, 3).astype(np.int32)
    x = raw[:, 0] | (raw[:, 1] & 15) << 8
    return np.where(x > 2047, x - 4096, x).astype(np.int32)


def recordings(seconds: int = 120) -> Iterator[Signal]:
    """At most `seconds` of every recording there is; 0: ECG whole, 120 s of the others."""
    for name in mitdb_names():
        yield Signal("ECG 360 Hz", name, 360, 360, mitdb(name)[: seconds * 360 or None])
    seconds = seconds or 120
    path = DATA / "ppg" / "smartcare_first_half.csv"
    if path.exists():
        with path.open() as file:
            rows = list(csv.DictReader(file))[: seconds * 100]
        for column in ("PLETH", "RED_ADC", "IR_ADC"):
            yield Signal("oximeter 100 Hz", column, 100, 100, np.array([int(r[column]) for r in rows], np.int32))
        seven = np.array([int(r["PLETH"]) for r in rows], np.float64)
        seven = np.rint((seven - seven.min()) / np.ptp(seven) * 127).astype(np.int32)
        yield Signal("oximeter 100 Hz", "PLETH in 7 bits", 100, 100, seven)
    path = DATA / "ppg" / "bidmc_dev.npz"
    if path.exists():
        with np.load(path) as file:
            for key in sorted(k for k in file if k.startswith("p"))[::5]:
                x = file[key][: seconds * 125].astype(np.float64)
                yield Signal("pleth 125 Hz, 10 bits", f"bidmc {key}", 125, 125, np.rint(x * 1023).astype(np.int32))
    for group, folder, n in (("heart 2 kHz", "physionet2016", 256), ("stethoscope 4 kHz", "hls_cmds", 512)):
        for path in sorted((DATA / "pcg" / folder).rglob("*.flac"))[::15]:
            yield sound(group, path, n, seconds)
    for path in sorted((DATA / "pcg" / "icbhi").glob("*.flac")):
        yield sound("lung 4 kHz and more", path, 512, seconds)


def sound(group: str, path: Path, n: int, seconds: int) -> Signal:
    import soundfile

    x, fs_hz = soundfile.read(path, dtype="int16", always_2d=True)
    return Signal(group, path.stem, fs_hz, n, x[: int(seconds * fs_hz), 0].astype(np.int32))


def generators(seconds: int = 20) -> Iterator[Signal]:
    """Signals made here; 360 Hz in 1 s blocks."""
    rng = np.random.default_rng(7)
    size = seconds * 360
    t = np.arange(size) / 360
    made = {
        "silence": np.zeros(size),
        "constant": np.full(size, -12_345),
        "white noise, sigma 1": rng.normal(0, 1, size),
        "white noise, sigma 30": rng.normal(0, 30, size),
        "white noise, sigma 3000": rng.normal(0, 3000, size),
        "uniform noise, 8 bits": rng.integers(-128, 128, size),
        "uniform noise, 16 bits": rng.integers(-(1 << 15), 1 << 15, size),
        "uniform noise, 32 bits": rng.integers(INT32.min, INT32.max, size, endpoint=True),
        "Laplace noise": rng.laplace(0, 20, size),
        "random walk": np.cumsum(rng.normal(0, 10, size)),
        "sine 1 Hz": 1000 * np.sin(2 * np.pi * 1.013 * t),
        "sine 50 Hz": 1000 * np.sin(2 * np.pi * 50.02 * t),
        "sine 163 Hz, 16 bits": 32_000 * np.sin(2 * np.pi * 163.1 * t),
        "sines 1, 17 and 50 Hz": sum(a * np.sin(2 * np.pi * f * t) for a, f in ((900, 1.1), (300, 17.3), (100, 50))),
        "sine 50 Hz in noise": 300 * np.sin(2 * np.pi * 50.02 * t) + rng.normal(0, 3, size),
        "chirp": 5000 * np.sin(2 * np.pi * (1 + t) * t),
        "ramp": 7 * np.arange(size),
        "sawtooth": np.arange(size) % 97 * 10,
        "triangle": np.abs(np.arange(size) % 200 - 100) * 8,
        "steps": np.repeat(rng.integers(-2000, 2000, size // 45), 45),
        "square 3 Hz": 1000 * np.sign(np.sin(2 * np.pi * 3.01 * t)),
        "square 40 Hz": 1000 * np.sign(np.sin(2 * np.pi * 40.03 * t)),
        "impulses": 30_000 * (np.arange(size) % 360 == 180),
        "impulse train": 500 * (np.arange(size) % 23 == 0),
        "alternating": 400 * (np.arange(size) % 2),
        "alternating extremes": np.where(np.arange(size) % 2, INT32.max, INT32.min),
        "one bit": rng.integers(0, 2, size),
        "rare ones": rng.random(size) < 0.02,
        "noise of 256 steps": 256 * rng.integers(-60, 60, size),
        "bursts": rng.normal(0, 2, size) + (t % 1 < 0.1) * rng.normal(0, 400, size),
    }
    for name, x in made.items():
        yield Signal("generators", name, 360, 360, np.rint(x).astype(np.int64).astype(np.int32))
