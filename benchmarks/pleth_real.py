"""Real red and infrared light of a fingertip in induced hypoxia: how the default curve fares."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import signal

from agent.dsp.calibration import CURVES

FS_HZ = 64.0
SETTLE = 32  # samples after the sensor's start
HEADER = 7
COHERENCE = 0.9


@dataclass(frozen=True, slots=True)
class OxiWear:
    """The default curve against the reference oximeter."""

    used: int
    total: int
    bias: float
    arms: float
    textbook_bias: float


def ratio(red: np.ndarray, ir: np.ndarray, ambient: np.ndarray) -> tuple[float, float]:
    """Ratio of ratios and coherence of one recording of 3 to 6 s: too short for the streaming gate."""
    log = np.log(np.stack((red, ir)) - ambient.mean())
    sos = signal.butter(2, [0.7, 4.0], btype="band", fs=FS_HZ, output="sos")
    band = signal.sosfiltfilt(sos, signal.detrend(log, axis=1), axis=1)
    covariance = np.cov(band)
    _, axes = np.linalg.eigh(covariance)
    return abs(axes[0, 1] / axes[1, 1]), covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])


def oxiwear(data: Path) -> OxiWear | None:
    """Return the figures, or None when the recordings are not there. Red is the second light, infrared the first."""
    files = sorted((data / "ppg" / "oxiwear").glob("*.csv"))
    pairs = []
    for file in files:
        rows = [line.split(",") for line in file.read_text().splitlines()[HEADER:]]
        table = np.array([[float(v) for v in row[5:8]] for row in rows if len(row) > 8 and row[5]])[SETTLE:]
        if len(table) < 2 * FS_HZ:
            continue
        r, coherence = ratio(table[:, 1], table[:, 0], table[:, 2])
        if coherence > COHERENCE:
            pairs.append((r, float(file.name.split("-")[1])))
    if not pairs:
        return None
    r, reference = np.array(pairs).T
    default = np.array([CURVES["default"](v) for v in r]) - reference
    textbook = np.array([CURVES["linear"](v) for v in r]) - reference
    return OxiWear(
        len(pairs), len(files), float(default.mean()), float(np.sqrt(np.mean(default**2))), float(textbook.mean())
    )
