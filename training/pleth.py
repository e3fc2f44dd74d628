"""Fit SHAPE of agent/dsp/pulse_features.py, the slope around a pulse: `python -m training.pleth [--folds 5]`.

Each candidate of the detector is a pulse or none by the ECG (BIDMC, ODC-By 1.0, and the scorer beside it in
../shared or $BESACE_DATA). A logistic regression, on top of what the path already knows of the candidate, says what
the slope at eight places around it adds, in proportion to the root of how unsure the wave is. With --folds the records
are split, and F1 is that of records the weights have not seen, beside that without them.
"""

import argparse
import sys
from dataclasses import dataclass, replace
from types import ModuleType

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from agent.dsp import pulse_features
from agent.dsp.pulse_features import SHAPE_S, Candidate, PulseFeatures
from agent.dsp.pulse_path import PathSettings, PulsePath
from agent.dsp.pulses import PulseDetector
from benchmarks.pleth import DATA, TOOLS

Floats = NDArray[np.float64]

# Disturbance, level, seed, and how much of the fit it is.
LESSONS = (
    ("clean", 0.0, 7, 1.0), ("lowperf", 0.6, 7, 0.5), ("lowperf", 0.6, 33, 0.5), ("lowperf", 0.3, 7, 0.5),
    ("periodic", 2.0, 7, 0.3), ("periodic", 1.0, 7, 0.3), ("motion", 1.0, 7, 0.2), ("gap", 0.2, 7, 0.3),
)  # fmt: skip
SHOWN = (("clean", 0.0, 21), ("lowperf", 0.6, 21), ("periodic", 2.0, 21))
DECAY = 3e-3
ONLY_HEIGHT = replace(PathSettings(), shape_weight=0.0)


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """Candidates of one disturbed record: what is fitted on (n, places + 1), what is known, and which are pulses."""

    record: int
    weight: float
    around: Floats
    known: Floats
    is_pulse: NDArray[np.bool_]


def lesson(scorer: ModuleType, record: dict[str, Floats], kind: str, level: float, seed: int, weight: float) -> Lesson:
    """Find the candidates of a record, with each place's height apart, and which of them the ECG says are pulses."""
    fs_hz, x = scorer.FS, disturbed(scorer, record, kind, level, seed)
    rows: list[list[Candidate]] = [PulseFeatures(fs_hz, only).push(x) for only in np.eye(SHAPE_S.size)]
    features = PulseFeatures(fs_hz)
    path = PulsePath(features.grid_hz, 0.0, features.look, ONLY_HEIGHT)
    weighed = [path.weigh(candidate) for candidate in rows[0]]
    kept = np.array([node is not None for node in weighed])
    unsure = np.sqrt([node.found.unsure for node in weighed if node is not None])
    around = np.array([[c.shape for c in row] for row in rows]).T[kept]
    at_s = (np.array([c.at for c in rows[0]])[kept] + 1.0) / features.grid_hz - features.delay_s
    tall = np.array([c.slope and c.height > 0.6 for c in rows[0]])[kept]
    lag_s = scorer.best_lag(at_s[tall], record["r"], record["ok"])
    is_pulse = np.zeros(at_s.size, bool)
    is_pulse[scorer.match(at_s - lag_s, record["r"], 0.15)[0]] = True
    judged = scorer.in_ok(at_s - lag_s, record["ok"])
    fitted = np.concatenate((around, np.ones((around.shape[0], 1))), axis=1) * unsure[:, None]
    known = np.array([node.evidence for node in weighed if node is not None])
    return Lesson(int(record["id"]), weight, fitted[judged], known[judged], is_pulse[judged])


def disturbed(scorer: ModuleType, record: dict[str, Floats], kind: str, level: float, seed: int) -> Floats:
    """Return the samples of a record, disturbed by the scorer."""
    if kind == "clean":
        return record["sig"]
    x: Floats = scorer.corrupt(record["sig"], scorer.FS, kind, level, 1000 * seed + record["id"])[0]
    return x


def fit(lessons: list[Lesson]) -> tuple[Floats, float]:
    """Return the weights of the places and the constant beside them."""
    around = np.concatenate([one.around for one in lessons])
    known = np.concatenate([one.known for one in lessons])
    is_pulse = np.concatenate([one.is_pulse for one in lessons])
    share = np.concatenate([np.full(one.known.size, one.weight) for one in lessons])
    share /= share.sum()
    table = np.concatenate((around, np.ones((known.size, 1))), axis=1)  # the last is a bias of the fit alone

    def loss(weights: Floats) -> tuple[float, Floats]:
        odds = table @ weights + known
        held = np.append(weights[:-1], 0.0)
        slope = table.T @ (share * (1.0 / (1.0 + np.exp(-odds)) - is_pulse)) + DECAY * held
        return float(share @ (np.logaddexp(0.0, odds) - is_pulse * odds) + 0.5 * DECAY * held @ held), slope

    found = minimize(loss, np.zeros(table.shape[1]), jac=True, method="L-BFGS-B").x
    return found[: SHAPE_S.size], float(found[SHAPE_S.size])


def f1(scorer: ModuleType, records: list[dict[str, Floats]], shown: tuple[str, float, int]) -> Floats:
    """Return right, wrong and missed pulses of the detector as it stands."""
    counts = np.zeros(3)
    for record in records:
        detector = PulseDetector(scorer.FS)
        pulses = detector.push(disturbed(scorer, record, *shown)) + detector.finish()
        found = scorer.beat_scores(np.array([p.time_s for p in pulses]), record)
        counts += found["tp"], found["fp"], found["fn"]
    return counts


def main() -> int:
    """Print the weights, and with --folds what they give on records they were not fitted on."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--folds", type=int, default=0)
    folds = arguments.parse_args().folds
    if not (DATA / "ppg" / "bidmc_dev.npz").exists() or not (TOOLS / "score_pleth.py").exists():
        print(f"needs ppg/bidmc_dev.npz in {DATA} and the scorers in {TOOLS}. Next: set BESACE_DATA", file=sys.stderr)
        return 2
    sys.path.insert(0, str(TOOLS))
    import score_pleth as scorer  # noqa: PLC0415 - found only now

    records = list(scorer.bidmc("dev"))
    lessons = [lesson(scorer, record, *settings) for record in records for settings in LESSONS]
    shape, bias = fit(lessons)
    print("SHAPE", np.round(shape, 3).tolist(), "shape_bias", round(bias, 2))
    counts = {shown: np.zeros((2, 3)) for shown in SHOWN}
    for k in range(folds):
        held = {int(record["id"]) for record in records[k::folds]}
        shape, bias = fit([one for one in lessons if one.record not in held])
        print(f"fold {k}: SHAPE", np.round(shape, 2).tolist(), "shape_bias", round(bias, 2))
        for shown in SHOWN:
            for row, weights in enumerate((np.zeros(SHAPE_S.size), shape)):
                pulse_features.SHAPE[:] = weights
                counts[shown][row] += f1(scorer, records[k::folds], shown)
    for shown, found in counts.items() if folds else ():
        without, with_ = 2 * found[:, 0] / (2 * found[:, 0] + found[:, 1] + found[:, 2])
        print(f"{shown[0]} {shown[1]:g}: F1 {without:.4f} without, {with_:.4f} with, of records not seen")
    return 0


if __name__ == "__main__":
    sys.exit(main())
