"""Train the QRS network and the ECG quality: `python -m training.ecg [--folds 6]`, fixed seed, numpy only.

The network is taught on the detector's own candidates in the detector's own context: first the decisions are those
of the reference, then twice the network's own, so that it learns to live with its errors (dataset aggregation, Ross
2011). With --folds the records are split, and every figure printed is of records the network has not seen (its table
stays in build/ecg-folds for benchmarks/ecg.py); the shipped tables are trained on all. Data: MIT-BIH Arrhythmia
and Noise Stress Test Databases (ODC-By 1.0).
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agent.dsp.qrs_decision import N_DYNAMIC, Decision, Network
from agent.dsp.qrs_features import N_STATIC, Candidates, QrsFrontEnd
from agent.dsp.quality import EcgQuality
from agent.model import Beat
from benchmarks.ecg_records import FOLDS, TOLERANCE_S, Score, folder, gain_for, match, names, noises, pooled, read
from training.ecg_signals import Lesson, lessons

Floats = NDArray[np.float64]
Table = dict[str, Floats]
WEIGHTS = Path(__file__).parent.parent / "agent" / "dsp" / "weights"
SEED = 1
MEMBERS, HIDDEN = 4, 24  # networks taught side by side from different beginnings, whose mean is what counts
EPOCHS = (3, 5, 16)  # after the reference's decisions, then after the network's own
BATCH, RATE, DECAY, JITTER = 4096, 4e-3, 1e-5, 0.08
SURE = 4.0  # log odds the reference is given
NOTHING_LEARNT = Network(
    {"hidden": np.zeros((N_STATIC + N_DYNAMIC, 1)), "bias": np.zeros(1), "out": np.zeros(1), "out_bias": np.zeros(())}
)


@dataclass(slots=True, eq=False)
class Case:
    """A lesson's candidates, and which of them are the beats."""

    lesson: Lesson
    found: Candidates
    is_beat: NDArray[np.bool_]


class Watched(Decision):
    """A decision that keeps what it weighed."""

    def __init__(self, fs_hz: float, network: Network) -> None:
        super().__init__(fs_hz, network)
        self.index: list[int] = []
        self.features: list[Floats] = []

    def _odds(self, i: int) -> float:
        self.index.append(i)
        self.features.append(self._features.copy())
        return super()._odds(i)


class Told(Watched):
    """Decides as the reference beats say."""

    def __init__(self, fs_hz: float, is_beat: NDArray[np.bool_]) -> None:
        super().__init__(fs_hz, NOTHING_LEARNT)
        self._is_beat = is_beat

    def _odds(self, i: int) -> float:
        super()._odds(i)
        return SURE if self._is_beat[i] else -SURE


def candidates(fs_hz: float, mv: Floats) -> Candidates | None:
    """Return every candidate of a signal."""
    front = QrsFrontEnd(fs_hz)
    parts = []
    for block in (*np.array_split(mv, max(1, len(mv) // round(10 * fs_hz))), None):
        found = front.finish() if block is None else front.push(block)
        candidates = front.describe(found) if found else None
        parts += [candidates] if candidates else []
    if not parts:
        return None
    return Candidates(*(np.concatenate([getattr(p, name) for p in parts]) for name in Candidates.__slots__))


def cases(seed: int) -> list[Case]:
    """Find the candidates of every lesson and pair them with its beats."""
    out = []
    for lesson in lessons(seed):
        found = candidates(lesson.fs_hz, lesson.mv)
        if found is not None:
            is_beat = np.zeros(len(found.r), bool)
            is_beat[match(lesson.beats, found.r, TOLERANCE_S * lesson.fs_hz)[1]] = True
            out.append(Case(lesson, found, is_beat))
    return out


def weighed(case: Case, network: Network | None) -> tuple[Floats, NDArray[np.bool_]]:
    """Run the detector over a case; return the features of each decision and the right answers."""
    decision = Watched(case.lesson.fs_hz, network) if network else Told(case.lesson.fs_hz, case.is_beat)
    decision.decide(case.found)
    return np.array(decision.features).reshape(-1, N_STATIC + N_DYNAMIC), case.is_beat[decision.index]


def train(pupils: list[Case]) -> Table:
    """Return the table of a network taught on cases."""
    table: Table | None = None
    rounds: list[tuple[Floats, ...]] = []
    for epochs in EPOCHS:
        network = Network(table) if table else None
        parts = [(*weighed(case, network), case.lesson.weight) for case in pupils]
        x = np.concatenate([p[0] for p in parts]).astype(np.float32)
        y = np.concatenate([p[1] for p in parts]).astype(np.float32)
        w = np.concatenate([np.full(len(p[1]), p[2], np.float32) for p in parts])
        rounds = [*rounds[-1:], (x, y, w)]
        taught = [np.concatenate(part) for part in zip(*rounds, strict=True)]
        table = fit(*taught, epochs)
    assert table is not None
    return table


def fit(x: Floats, y: Floats, w: Floats, epochs: int) -> Table:
    """Minimise each member's weighted cross-entropy with Adam and a cosine rate.

    Return the table of the one network that gives the members' mean log odds, with scaling folded in.
    """
    rng = np.random.default_rng(SEED)
    mean, scale = x.mean(axis=0), x.std(axis=0) + np.float32(1e-3)
    x = (x - mean) / scale
    n, width = x.shape
    units = MEMBERS * HIDDEN
    mine = np.repeat(np.eye(MEMBERS, dtype=np.float32), HIDDEN, axis=0)  # (units, members): whose unit it is
    parameters = [
        rng.normal(0, 1 / np.sqrt(width), (width, units)).astype(np.float32),
        np.zeros(units, np.float32),
        rng.normal(0, 1 / np.sqrt(HIDDEN), units).astype(np.float32),
        np.zeros(MEMBERS, np.float32),
    ]
    jitter = rng.standard_normal((8, BATCH, width), dtype=np.float32) * np.float32(JITTER)
    first, second = ([np.zeros_like(p) for p in parameters] for _ in range(2))
    steps = epochs * (n // BATCH)
    for step in range(steps):
        if step % (n // BATCH) == 0:
            order = rng.permutation(n)
        pick = order[step % (n // BATCH) * BATCH :][:BATCH]
        batch = x[pick] + jitter[step % 8]
        hidden = np.tanh(batch @ parameters[0] + parameters[1])
        out = parameters[2][:, None] * mine
        odds = np.clip(hidden @ out + parameters[3], -30, 30)
        error = (1 / (1 + np.exp(-odds)) - y[pick, None]) * (w[pick, None] / BATCH)
        back = (error @ out.T) * (1 - hidden * hidden)
        gradients = (
            batch.T @ back + DECAY * parameters[0],
            back.sum(axis=0),
            ((hidden.T @ error) * mine).sum(axis=1) + DECAY * parameters[2],
            error.sum(axis=0),
        )
        rate = RATE * 0.5 * (1 + np.cos(np.pi * (step + 1) / steps))
        for k, gradient in enumerate(gradients):
            first[k] = 0.9 * first[k] + 0.1 * gradient
            second[k] = 0.999 * second[k] + 0.001 * gradient * gradient
            move = first[k] / (1 - 0.9 ** (step + 1)) / (np.sqrt(second[k] / (1 - 0.999 ** (step + 1))) + 1e-8)
            parameters[k] = parameters[k] - np.float32(rate) * move.astype(np.float32)
    hidden_weights = (parameters[0] / scale[:, None]).astype(np.float64)
    return {
        "hidden": hidden_weights,
        "bias": parameters[1] - mean.astype(np.float64) @ hidden_weights,
        "out": parameters[2].astype(np.float64) / MEMBERS,
        "out_bias": parameters[3].astype(np.float64).mean(),
    }


def graded(network: Network, held_out: list[Case]) -> dict[str, list[tuple[str, Score]]]:
    """Score a network on cases, by kind."""
    out: dict[str, list[tuple[str, Score]]] = {}
    for case in held_out:
        lesson = case.lesson
        decision = Decision(lesson.fs_hz, network)
        told = decision.decide(case.found) + decision.settle()
        r = np.array([one.index for one in told if isinstance(one, Beat)], np.int64)
        pairs = len(match(lesson.beats, r, TOLERANCE_S * lesson.fs_hz)[0])
        result = Score(pairs, len(r) - pairs, len(lesson.beats) - pairs, np.empty(0))
        out.setdefault(lesson.kind, []).append((lesson.group, result))
    return out


def cross_validate(everything: list[Case], folds: int) -> None:
    """Print F1 by kind over records no network has seen; keep the networks for benchmarks/ecg.py."""
    records = sorted({case.lesson.group for case in everything} - {"synthetic"})
    order = np.random.default_rng(SEED).permutation(records).tolist()
    grades: dict[str, list[tuple[str, Score]]] = {}
    for k in range(folds):
        out = set(order[k::folds])
        table = train([case for case in everything if case.lesson.group not in out])
        write(FOLDS / f"{folds}" / f"{k}.npz", table, records=np.array(sorted(out)))
        network = Network(table)
        for kind, scores in graded(network, [case for case in everything if case.lesson.group in out]).items():
            grades.setdefault(kind, []).extend(scores)
    for kind, scores in sorted(grades.items()):
        total = pooled([s for _, s in scores])
        worst = ", ".join(f"{name} {s.f1:.1f}" for name, s in sorted(scores, key=lambda one: one[1].f1)[:3])
        print(f"{kind:16} F1 {total.f1:.2f} (fp {total.fp}, fn {total.fn}); worst {worst}")


def write(path: Path, table: Table, **more: NDArray[np.str_]) -> None:
    """Write a table as float32."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **{name: np.float32(part) for name, part in table.items()}, **more)


def quality_table(folds: int) -> Table:
    """Fit the quality's logistic function: clean seconds against seconds at 0 dB of em or ma; print held-out AUC."""
    noise = noises()
    seconds: dict[str, list[tuple[str, Floats]]] = {"clean": [], "em": [], "ma": []}
    for name in names(folder()):
        record = read(folder(), name)
        mv = record.mv[: len(record.mv) // 2]
        seconds["clean"].append((name, _quality_features(record.fs_hz, mv)))
        for kind in ("em", "ma"):
            disturbed = mv + gain_for(record, noise[kind], 0) * noise[kind][: len(mv)]
            seconds[kind].append((name, _quality_features(record.fs_hz, disturbed)))

    def sample(include: set[str]) -> tuple[Floats, Floats, Floats]:
        chosen = [(x, kind == "clean") for kind, rows in seconds.items() for name, x in rows if name in include]
        good = np.concatenate([np.full(len(x), float(clean)) for x, clean in chosen])
        return np.concatenate([x for x, _ in chosen]), good, np.where(good, 1.0, 0.5)

    records = names(folder())
    held: dict[str, list[Floats]] = {kind: [] for kind in seconds}
    for k in range(folds):
        table = logistic(*sample(set(records) - set(records[k::folds])))
        for kind, rows in seconds.items():
            held[kind] += [x @ table["weights"] + table["bias"] for name, x in rows if name in records[k::folds]]
    for kind in ("em", "ma") if folds else ():
        print(f"quality, clean against {kind} 0 dB: AUC {auc(*(np.concatenate(held[k]) for k in ('clean', kind))):.4f}")
    return logistic(*sample(set(records)))


def _quality_features(fs_hz: float, mv: Floats) -> Floats:
    stage = EcgQuality(fs_hz)
    n = round(fs_hz)
    return np.array([stage.features(mv[k : k + n]) for k in range(0, len(mv) - n + 1, n)])


def logistic(x: Floats, y: Floats, w: Floats) -> Table:
    """Fit a logistic function by Newton's method with a small ridge."""
    mean, scale, w = x.mean(axis=0), x.std(axis=0) + 1e-6, w / w.mean()
    z = np.concatenate(((x - mean) / scale, np.ones((len(x), 1))), axis=1)
    b = np.zeros(z.shape[1])
    ridge = np.append(np.full(len(b) - 1, 1e-3), 1e-9)
    for _ in range(30):
        p = 1 / (1 + np.exp(-z @ b))
        gradient = z.T @ (w * (p - y)) / len(y) + ridge * b
        b -= np.linalg.solve((z * (w * p * (1 - p))[:, None]).T @ z / len(y) + np.diag(ridge), gradient)
    weights = b[:-1] / scale
    return {"weights": weights.astype(np.float32), "bias": np.float32(b[-1] - mean @ weights)}


def auc(good: Floats, bad: Floats) -> float:
    """Return the chance that a good value exceeds a bad one."""
    order = np.sort(bad)
    below = np.searchsorted(order, good, "left") + np.searchsorted(order, good, "right")
    return float(below.mean() / 2 / len(bad))


def main() -> None:
    """Train on everything and write both tables; cross-validate on demand."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folds", type=int, default=0, help="cross-validate over so many groups of records too")
    folds = parser.parse_args().folds
    start = time.monotonic()
    write(WEIGHTS / "ecg_quality.npz", quality_table(folds))
    everything = cases(SEED)
    print(f"{len(everything)} signals, {sum(len(c.found.r) for c in everything)} candidates")
    write(WEIGHTS / "qrs.npz", train(everything))
    if folds:
        cross_validate(everything, folds)
    print(f"done in {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
