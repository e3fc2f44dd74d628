"""Peers' pulse detectors as plain functions; run by benchmarks/pleth.py with the peers' own Python.

    python pleth_peers.py TOOLS OUT.json

TOOLS holds score_pleth.py. Every peer gets the whole record at once, as it wants it; none streams.
"""

import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

Detect = Callable[[np.ndarray, float], np.ndarray]


def neurokit(x: np.ndarray, fs_hz: float) -> np.ndarray:
    import neurokit2 as nk

    cleaned = nk.ppg_clean(x, sampling_rate=fs_hz, method="elgendi")
    return np.asarray(nk.ppg_findpeaks(cleaned, sampling_rate=fs_hz, method="elgendi")["PPG_Peaks"]) / fs_hz


def biosppy(x: np.ndarray, fs_hz: float) -> np.ndarray:
    from biosppy.signals import ppg, tools

    filtered, _, _ = tools.filter_signal(
        signal=x, ftype="butter", band="bandpass", order=4, frequency=[1, 8], sampling_rate=fs_hz
    )
    return np.asarray(ppg.find_onsets_elgendi2013(signal=filtered, sampling_rate=fs_hz)["onsets"]) / fs_hz


def heartpy(x: np.ndarray, fs_hz: float) -> np.ndarray:
    import heartpy as hp

    filtered = hp.filter_signal(x, [0.7, 3.5], sample_rate=fs_hz, order=3, filtertype="bandpass")
    working, _ = hp.process(hp.scale_data(filtered), fs_hz)
    kept = [p for p, used in zip(working["peaklist"], working["binary_peaklist"], strict=True) if used]
    return np.array(kept) / fs_hz


def pyppg(x: np.ndarray, fs_hz: float) -> np.ndarray:
    import pandas as pd
    from dotmap import DotMap
    from pyPPG import PPG
    from pyPPG.fiducials import FpCollection
    from pyPPG.preproc import Preprocess

    setattr(np, "NaN", np.nan)  # noqa: B010 - numpy 2 dropped the name, pyPPG 1.0.73 uses it
    low_hz, high_hz, order = 0.5000001, 12, 4  # its own example's
    windows_ms = {"ppg": 50, "vpg": 10, "apg": 10, "jpg": 10}
    s = DotMap(
        v=x, fs=fs_hz, name="", filtering=True, fL=low_hz, fH=high_hz, order=order, sm_wins=windows_ms,
        correction=pd.DataFrame(),
    )  # fmt: skip
    s.ppg, s.vpg, s.apg, s.jpg = Preprocess(low_hz, high_hz, order, windows_ms).get_signals(s)
    peaks, _ = FpCollection(PPG(s)).get_peak_onset()
    return np.asarray(peaks) / fs_hz


PEERS: dict[str, Detect] = {
    "neurokit2 elgendi": neurokit,
    "biosppy elgendi": biosppy,
    "heartpy": heartpy,
    "pyPPG": pyppg,
}


def main() -> None:
    warnings.filterwarnings("ignore")
    sys.path.insert(0, sys.argv[1])
    import score_pleth as scorer

    results = {
        name: [scorer.run_detect(detect, "dev", stress) for stress in scorer.STRESS] for name, detect in PEERS.items()
    }
    Path(sys.argv[2]).write_text(json.dumps(results, default=float))


if __name__ == "__main__":
    main()
