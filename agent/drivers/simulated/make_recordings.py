"""Makes recordings/*.npz from public data: `python -m agent.drivers.simulated.make_recordings DATA`.

DATA (default $BESACE_DATA) holds ecg/mitdb, ppg/bidmc_dev.npz, pcg/physionet2016 and pcg/hls_cmds. Needs the
package soundfile, which nothing else here needs. What each recording is and may be used for: ATTRIBUTION.md.
"""

import argparse
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import signal

HERE = Path(__file__).parent / "recordings"
Floats = NDArray[np.float64]


def mitdb_lead1(data: Path, record: str, start_s: float, seconds: float) -> Floats:
    """Lead MLII of a MIT-BIH record in mV at 125 Hz (format 212, 200 counts/mV, zero at 1024, 360 Hz)."""
    raw = np.fromfile(data / "ecg" / "mitdb" / f"{record}.dat", np.uint8).reshape(-1, 3).astype(np.int32)
    counts = raw[:, 0] | (raw[:, 1] & 0x0F) << 8
    counts = np.where(counts >= 2048, counts - 4096, counts)
    piece = (counts[round(start_s * 360) : round((start_s + seconds) * 360)] - 1024) / 200
    return np.asarray(signal.resample_poly(piece, 25, 72))


def bidmc_pleth(data: Path, record: str, start_s: float, seconds: float) -> Floats:
    """A BIDMC pleth at 125 Hz, scaled to 0..1."""
    with np.load(data / "ppg" / "bidmc_dev.npz") as archive:
        pleth = np.asarray(archive[record], np.float64)
    piece = pleth[round(start_s * 125) : round((start_s + seconds) * 125)]
    return np.asarray((piece - piece.min()) / np.ptp(piece))


def sound(path: Path, start_s: float, seconds: float) -> tuple[int, Floats]:
    """A sound file's rate and samples, its loudest sample at half of full scale."""
    import soundfile  # type: ignore[import-not-found,import-untyped,unused-ignore]  # noqa: PLC0415

    samples, fs_hz = soundfile.read(path)
    piece = np.asarray(samples[round(start_s * fs_hz) : round((start_s + seconds) * fs_hz)], np.float64)
    return fs_hz, piece / np.abs(piece).max() / 2


def looped(x: Floats, fs_hz: float, seconds: tuple[float, float], match_s: float = 1.0, fade_s: float = 0.1) -> Floats:
    """Cut `x` where what follows the cut looks most like its beginning, and cross-fade, so that it can repeat."""
    n = round(match_s * fs_hz)
    first, last = round(seconds[0] * fs_hz), min(round(seconds[1] * fs_hz), len(x) - n)
    head = x[:n] - x[:n].mean()
    likeness = [float(np.corrcoef(head, x[cut : cut + n])[0, 1]) for cut in range(first, last)]
    cut = first + int(np.argmax(likeness))
    fade = round(fade_s * fs_hz)
    weight = np.linspace(0, 1, fade)
    loop = x[:cut].copy()
    loop[:fade] = weight * x[:fade] + (1 - weight) * x[cut : cut + fade]
    return loop


def main() -> None:
    """Write the recordings."""
    parser = argparse.ArgumentParser(description="make the simulator's recordings from public data")
    parser.add_argument("data", nargs="?", default=os.environ.get("BESACE_DATA"), help="default: $BESACE_DATA")
    data = Path(parser.parse_args().data)
    heart_hz, heart = sound(data / "pcg" / "physionet2016" / "a0072.flac", 2, 30)
    lung_hz, lung = sound(data / "pcg" / "hls_cmds" / "LS" / "F_N_LUA.flac", 0.5, 14)
    made = {
        "ecg": (125, looped(mitdb_lead1(data, "122", 60, 62), 125, (50, 60)) * 1000),  # uV
        "pleth": (125, looped(bidmc_pleth(data, "p10", 60, 62), 125, (50, 60)) * 20000),
        "heart": (heart_hz, looped(heart, heart_hz, (15, 25)) * 32767),
        "lung": (lung_hz, looped(lung, lung_hz, (6, 12)) * 32767),
    }
    HERE.mkdir(exist_ok=True)
    for name, (fs_hz, x) in made.items():
        np.savez_compressed(HERE / f"{name}.npz", fs_hz=np.int32(fs_hz), samples=np.round(x).astype(np.int16))


if __name__ == "__main__":
    main()
