"""Recordings whose licences allow shipping weights trained on them; everything else is for evaluation only.

- physionet2016: Liu et al., "An open access database for the evaluation of heart sound algorithms",
  Physiol. Meas. 37 (2016) 2181; PhysioNet/CinC Challenge 2016; Open Data Commons Attribution License 1.0.
- hls_cmds: Torabi, Shirani and Reilly, "Heart and Lung Sounds Dataset Recorded from a Clinical Manikin using
  Digital Stethoscope (HLS-CMDS)", IEEE Data Descriptions 2025, doi:10.17632/8972jxbpmp.3; CC BY 4.0.
"""

from pathlib import Path

import numpy as np
from scipy.signal import butter, resample_poly, sosfiltfilt

from training.body_sounds import FS_HZ, Floats

HELD_OUT = {"HS/M_MSM_A", "LS/F_N_LLA"}  # used by the benchmark
QUIETEST_DB = -17.0  # between heart beats, against the beats: noisier recordings are no targets
HIGH_PASS_HZ = 20.0


def load(path: Path) -> Floats:
    """Read a recording at 4 kHz, unit power, without what lies below 20 Hz."""
    import soundfile  # noqa: PLC0415 - only training reads sound files

    x, fs = soundfile.read(path, dtype="float64", always_2d=True)
    x = x[:, 0] - x[:, 0].mean()
    if fs != FS_HZ:
        common = int(np.gcd(fs, FS_HZ))
        x = resample_poly(x, FS_HZ // common, fs // common)
    y: Floats = sosfiltfilt(butter(2, HIGH_PASS_HZ, "highpass", fs=FS_HZ, output="sos"), x)
    return y / (y.std() + 1e-12)


def pauses_db(x: Floats) -> float:
    """How quiet the quietest tenth of 30-ms pieces is against the loudest twentieth."""
    n = int(0.03 * FS_HZ)
    level = np.sqrt((x[: len(x) // n * n].reshape(-1, n) ** 2).mean(axis=1))
    return float(20 * np.log10(np.percentile(level, 10) / np.percentile(level, 95) + 1e-9))


def same(a: Floats, b: Floats) -> bool:
    """Whether two recordings hold the same sound, wherever it starts: a copy of a held-out one must not train."""
    n = 1 << int(np.ceil(np.log2(len(a) + len(b))))
    product = np.fft.irfft(np.fft.rfft(a, n) * np.conj(np.fft.rfft(b, n)), n)
    return float(np.abs(product).max()) > 0.6 * float(np.linalg.norm(a) * np.linalg.norm(b))


def shippable(root: Path) -> tuple[list[Floats], list[Floats]]:
    """Give heart and lung recordings below `root` (its folders physionet2016 and hls_cmds), held-out ones left out."""
    manikin = root / "hls_cmds"
    held = [load(manikin / f"{name}.flac") for name in sorted(HELD_OUT)]

    def free(paths: list[Path]) -> list[Floats]:
        sounds = [load(p) for p in paths if f"{p.parent.name}/{p.stem}" not in HELD_OUT]
        return [x for x in sounds if not any(same(x, h) for h in held)]

    clinical = [load(p) for p in sorted((root / "physionet2016").glob("*.flac"))]
    hearts = [x for x in clinical if pauses_db(x) < QUIETEST_DB]
    hearts += free(sorted(manikin.glob("HS/*.flac")) + sorted(manikin.glob("Mix/H*.flac")))
    lungs = free(sorted(manikin.glob("LS/*.flac")) + sorted(manikin.glob("Mix/L*.flac")))
    return hearts, lungs
