"""Runs the peers' R-peak detectors in their own environment: `python ecg_peers.py FOLDER`.

FOLDER holds signals as <n>.npy (mV) and rates.json; written there: found.json, each detector's beats per signal, the
CPU seconds it took and how many signals it failed on.
"""

import contextlib
import io
import json
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

Detector = Callable[[np.ndarray, float], np.ndarray]


def detectors() -> dict[str, Detector]:
    import biosppy.signals.ecg as biosppy
    import neurokit2
    import sleepecg
    import wfdb.processing
    from fast_qrs_detector import qrs_detector

    def neurokit(method: str) -> Detector:
        def run(x: np.ndarray, fs: float) -> np.ndarray:
            clean = neurokit2.ecg_clean(x, sampling_rate=int(fs), method=method)
            return neurokit2.ecg_findpeaks(clean, sampling_rate=int(fs), method=method)["ECG_R_Peaks"]

        return run

    return {
        "sleepecg (C)": sleepecg.detect_heartbeats,
        "neurokit default": neurokit("neurokit"),
        "neurokit pantompkins": neurokit("pantompkins1985"),
        "neurokit kalidas": neurokit("kalidas2017"),
        "wfdb xqrs": lambda x, fs: wfdb.processing.xqrs_detect(x, fs, verbose=False),
        "fast-qrs": qrs_detector,
        "biosppy hamilton": lambda x, fs: biosppy.hamilton_segmenter(x, sampling_rate=fs)["rpeaks"],
    }


def main(folder: Path) -> None:
    warnings.simplefilter("ignore")
    rates = json.loads((folder / "rates.json").read_text())
    out = {}
    for name, detect in detectors().items():
        found, took, failed = [], 0.0, 0
        for k, fs in enumerate(rates):
            x = np.load(folder / f"{k}.npy")
            start = time.process_time()
            try:
                with contextlib.redirect_stdout(io.StringIO()):
                    beats = np.asarray(detect(x, fs), np.float64).astype(np.int64).tolist()
            except Exception:  # noqa: BLE001 - a peer that fails has found nothing
                beats, failed = [], failed + 1
            took += time.process_time() - start
            found.append(beats)
        out[name] = {"found": found, "cpu_s": took, "failed": failed}
        print(f"{name}: {took:.0f} s", flush=True)
    (folder / "found.json").write_text(json.dumps(out))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
