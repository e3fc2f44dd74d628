"""R-peak detectors, ours and the peers, side by side: `python -m benchmarks.ecg [--no-peers] [--channel 1]`.

On whatever MIT-BIH records lie in ../shared/data or in $BESACE_DATA, clean and with the Noise Stress Test's noises.
Makes a virtual environment of its own for the peers (build/peers-ecg) and writes docs/benchmarks/ecg.md with plots of
our three worst records. Ours streams: 10 s blocks for speed, 50 ms blocks for speed and latency, the same beats.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
import venv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.signal import resample_poly

from agent.dsp.heart_rate import HeartRate
from agent.dsp.qrs_decision import Network
from agent.dsp.quality import EcgQuality
from agent.dsp.rpeaks import RPeakDetector
from agent.model import Beat
from benchmarks import ecg_filters, ecg_monitor
from benchmarks.ecg_plots import plot_worst
from benchmarks.ecg_records import (
    FOLDS,
    NOISY_FROM_S,
    NOISY_TURN_S,
    Record,
    Score,
    folder,
    gain_for,
    names,
    noises,
    pooled,
    read,
    score,
    stated_gain,
    with_noise,
)

ROOT = Path(__file__).parent.parent
PEERS = ROOT / "build" / "peers-ecg"
PAGE = ROOT / "docs" / "benchmarks" / "ecg.md"
NOISY_RECORDS = ("118", "119")
NOISES = (("em", 12), ("em", 6), ("em", 0), ("ma", 6), ("ma", 0), ("bw", 0))
WRONG_BPM = 5.0
SETTLED_S = 10.0
OURS = "**besace (streaming)**"


@dataclass(slots=True, eq=False)
class Row:
    """What one detector found, per signal: clean records first, then the noisy ones."""

    found: list[np.ndarray]
    msps: float
    failed: int = 0
    late: list[int] | None = None  # beats flagged late; whoever has the whole record at once has none


def beats_of(mv: np.ndarray, fs_hz: float, network: Network | None = None) -> list[Beat]:
    detector, n = RPeakDetector(fs_hz, network=network), round(10 * fs_hz)
    return [beat for k in range(0, len(mv), n) for beat in detector.push(mv[k : k + n])] + detector.finish()


def detect(mv: np.ndarray, fs_hz: float) -> np.ndarray:
    return np.array([beat.index for beat in beats_of(mv, fs_hz)], np.int64)


def ours(signals: list[Record], networks: dict[str, Network] | None = None) -> Row:
    start = time.process_time()
    beats = [beats_of(one.mv, one.fs_hz, networks[one.name] if networks else None) for one in signals]
    msps = sum(len(s.mv) for s in signals) / (time.process_time() - start) / 1e6
    found = [np.array([beat.index for beat in one], np.int64) for one in beats]
    return Row(found, msps, late=[sum(beat.late for beat in one) for one in beats])


def held_out(wanted: set[str]) -> dict[int, dict[str, Network]]:
    """Return by number of folds, as `python -m training.ecg --folds 6` left them, fewest first: networks for records.

    Each record's network has not seen it. A set of folds that lacks a wanted record is left out.
    """
    folds: dict[int, dict[str, Network]] = {}
    for path in sorted(FOLDS.glob("*/*.npz")):
        with path.open("rb") as file:
            network = Network.read(file)
        folds.setdefault(int(path.parent.name), {}).update(dict.fromkeys(np.load(path)["records"].tolist(), network))
    return {n: folds[n] for n in sorted(folds) if folds[n].keys() >= wanted}


def peers(signals: list[Record]) -> dict[str, Row]:
    """Run every peer on the same signals in their own environment, made when absent."""
    python, wanted, stamp = PEERS / "bin" / "python", ROOT / "benchmarks" / "peers-ecg.txt", PEERS / "installed.txt"
    if not stamp.exists() or stamp.read_text() != wanted.read_text():
        venv.create(PEERS, with_pip=True)
        pip = [python, "-m", "pip", "--disable-pip-version-check", "-q", "install"]
        subprocess.run([*pip, "-r", wanted], check=True)
        stamp.write_text(wanted.read_text())
    with tempfile.TemporaryDirectory() as where:
        for k, one in enumerate(signals):
            np.save(Path(where) / f"{k}.npy", one.mv)
        (Path(where) / "rates.json").write_text(json.dumps([one.fs_hz for one in signals]))
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
        subprocess.run([python, ROOT / "benchmarks" / "ecg_peers.py", where], check=True, env=environment)
        results = json.loads((Path(where) / "found.json").read_text())
    samples = sum(len(one.mv) for one in signals)
    return {
        name: Row([np.array(f, np.int64) for f in r["found"]], samples / max(r["cpu_s"], 1e-9) / 1e6, r["failed"])
        for name, r in results.items()
    }


def disturbed(channel: int) -> dict[tuple[str, int], list[Record]]:
    """Return the noisy records by noise and ratio, with PhysioNet's own factors where it states them."""
    table, where = noises(), folder()
    chosen = [name for name in NOISY_RECORDS if name in names(where)] or names(where)[:2]
    out: dict[tuple[str, int], list[Record]] = {}
    for kind, snr_db in NOISES if table else ():
        for record in (read(where, name, channel) for name in chosen):
            stated = stated_gain(kind, record.name, snr_db) if channel == 0 else None
            gain = gain_for(record, table[kind], snr_db) if stated is None else stated
            out.setdefault((kind, snr_db), []).append(with_noise(record, table[kind], gain))
    return out


def comparison(rows: dict[str, Row], clean: list[Record], noisy: dict[tuple[str, int], list[Record]]) -> list[str]:
    """Return the table of all detectors."""
    head = ["detector", "F1", "without VF", "worst", *(f"{kind} {snr}" for kind, snr in noisy)]
    head += ["median ms", "p95 ms", "late %"]
    lines = [f"| {' | '.join([*head, 'Msps'])} |", "|---" * (len(head) + 1) + "|"]
    for name, row in rows.items():
        scores = [score(record, found) for record, found in zip(clean, row.found, strict=False)]
        quiet = [score(record, found, flutter=False) for record, found in zip(clean, row.found, strict=False)]
        worst = min(zip(scores, clean, strict=True), key=lambda one: one[0].f1)
        cells = [name, f"{pooled(scores).f1:.2f}", f"{pooled(quiet).f1:.2f}", f"{worst[0].f1:.2f} ({worst[1].name})"]
        at = len(clean)
        for records in noisy.values():
            part = [score(r, f, from_s=NOISY_FROM_S) for r, f in zip(records, row.found[at:], strict=False)]
            cells.append(f"{pooled(part).f1:.1f}")
            at += len(records)
        errors = np.abs(pooled(scores).errors_ms)
        cells += [f"{np.median(errors):.1f}", f"{np.percentile(errors, 95):.1f}"] if errors.size else ["", ""]
        beats = sum(len(found) for found in row.found[: len(clean)])
        cells.append(f"{100 * sum(row.late[: len(clean)]) / max(1, beats):.2f}" if row.late else "")
        lines.append(f"| {' | '.join([*cells, f'{row.msps:.2f}'])} |")
        if row.failed:
            lines.append(f"| ({name} failed on {row.failed} signals) |{' |' * len(head)}")
    return lines


@dataclass(slots=True, eq=False)
class Streamed:
    """How 50 ms blocks went."""

    same: bool
    waits_ms: np.ndarray
    late: int
    beats: int
    first_s: list[float]
    push_ms: np.ndarray
    msps: float


def streamed(clean: list[Record], whole: list[np.ndarray]) -> Streamed:
    """Feed every record in 50 ms blocks."""
    same, waits, late, beats, first, pushes, samples = True, [], 0, 0, [], [], 0
    for record, expected in zip(clean, whole, strict=True):
        detector, n, found = RPeakDetector(record.fs_hz), round(0.05 * record.fs_hz), []
        for k in range(0, len(record.mv), n):
            block = record.mv[k : k + n]
            start = time.thread_time_ns()
            new = detector.push(block)
            pushes.append(time.thread_time_ns() - start)
            for beat in new:
                if not found:
                    first.append((k + len(block)) / record.fs_hz)
                found.append(beat.index)
                late += beat.late
                if not beat.late:
                    waits.append((k + len(block)) / record.fs_hz - beat.time_s)
        found += [beat.index for beat in detector.finish()]
        beats += len(found)
        samples += len(record.mv)
        same = same and np.array_equal(found, expected)
    push_ms = np.array(pushes) / 1e6
    return Streamed(same, np.array(waits) * 1e3, late, beats, first, push_ms, samples / push_ms.sum() / 1e3)


def robustness(clean: list[Record], reference: Score) -> list[str]:
    """Return how F1 moves with gain, polarity and sampling rate."""
    lines = ["| change | F1 | difference |", "|---|---|---|"]
    for gain in (0.1, 0.3, 5.0, -1.0):
        result = pooled([score(r, detect(gain * r.mv, r.fs_hz)) for r in clean])
        label = "inverted" if gain < 0 else f"gain {gain:g}"
        lines.append(f"| {label} | {result.f1:.3f} | {result.f1 - reference.f1:+.3f} |")
    for fs_hz in (125, 250, 500, 1000):
        scores = []
        for r in clean:
            mv = resample_poly(r.mv - r.mv[0], fs_hz, int(r.fs_hz))
            scaled = Record(r.name, fs_hz, mv, np.rint(r.beats * fs_hz / r.fs_hz).astype(np.int64), ())
            scores.append(score(scaled, detect(mv, fs_hz)))
        result = pooled(scores)
        lines.append(f"| {fs_hz} Hz | {result.f1:.3f} | {result.f1 - reference.f1:+.3f} |")
    return lines


def rate_shown(records: list[Record], networks: dict[str, Network], *, noisy: bool) -> tuple[float, float]:
    """Return how much of the time a rate is shown, and how much of that it is off by over 5/min, per cent.

    True is what the same meter reads from the reference beats, taken when each is a quarter of a second old.
    """
    shown, wrong, total = 0, 0, 0
    for record in records:
        detector = RPeakDetector(record.fs_hz, network=networks.get(record.name))
        meter, n, next_beat = HeartRate(), round(record.fs_hz), 0
        for k in range(0, len(record.mv) - n + 1, n):
            detector.push(record.mv[k : k + n])
            now = (k + n) / record.fs_hz
            while next_beat < len(record.beats) and record.beats[next_beat] < k + n - 0.25 * record.fs_hz:
                meter.beat(record.beats[next_beat] / record.fs_hz)
                next_beat += 1
            if now < SETTLED_S or (noisy and not noise_is_on(now)):
                continue
            read_bpm, true_bpm = detector.rate().bpm, meter.rate(now).bpm
            total += 1
            shown += read_bpm is not None
            wrong += read_bpm is not None and (true_bpm is None or abs(read_bpm - true_bpm) > WRONG_BPM)
    return 100 * shown / max(1, total), 100 * wrong / max(1, shown)


def noise_is_on(now_s: float) -> bool:
    return now_s > NOISY_FROM_S + 2 and (now_s - NOISY_FROM_S - 1) // NOISY_TURN_S % 2 == 0


def quality_auc(clean: list[Record]) -> float:
    """Return how well a second of a clean record is told from one with em at 0 dB."""
    noise = noises()["em"]
    good, bad = [], []
    for record in clean:
        disturbed_mv = record.mv.copy()
        n = min(len(noise), len(record.mv))
        disturbed_mv[:n] += gain_for(record, noise, 0) * noise[:n]
        for mv, values in ((record.mv, good), (disturbed_mv, bad)):
            values += [q.value for q in EcgQuality(record.fs_hz).push(mv)[4:]]
    order = np.sort(bad)
    ranks = (np.searchsorted(order, good, "left") + np.searchsorted(order, good, "right")) / 2
    return float(ranks.mean() / len(bad))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--channel", type=int, default=0)
    given = parser.parse_args()
    clean = [read(folder(), name, given.channel) for name in names(folder())]
    if not clean:
        raise SystemExit(f"no MIT-BIH records in {folder()}. Next: BESACE_DATA=<folder> python -m benchmarks.ecg")
    noisy = disturbed(given.channel)
    signals = clean + [record for records in noisy.values() for record in records]
    held = held_out({one.name for one in signals})
    networks = held[max(held)] if held else {}
    rows = {OURS: ours(signals)}
    rows |= {f"besace, records held out, {n} folds": ours(signals, held[n]) for n in held}
    rows |= {} if given.no_peers else peers(signals)
    mine = rows[OURS]
    scores = [score(record, found) for record, found in zip(clean, mine.found, strict=False)]
    live = streamed(clean, mine.found[: len(clean)])
    lines = [
        "# R-peak detectors, ECG filters, ECG quality",
        "",
        (
            f"Written by `python -m benchmarks.ecg` on {len(clean)} records, channel {given.channel}; beats within "
            "150 ms (ANSI/AAMI EC57), nothing excluded unless said. Noise columns: F1 from 5:00 on, noise on in every "
            f"other 2 min, records {', '.join(sorted({r.name for rs in noisy.values() for r in rs}))}. Msps: million "
            "samples per CPU second over all signals; every peer gets the whole record at once, ours 10 s blocks."
        ),
        "",
        *comparison(rows, clean, noisy),
        "",
        (
            "The network was trained on the 24 MIT-BIH records of the data folder (training/ecg.py), so on those the "
            "first row flatters it. "
            + (
                "Rows of records held out are of networks trained without the record they are scored on: "
                + ", ".join(f"`--folds {n}` on {len(held[n]) - len(held[n]) // n} records" for n in held)
                + f" (`python -m training.ecg`); heart rates of records held out are those of {max(held)} folds, all "
                "else on this page is of the shipped one."
                if held
                else "`python -m training.ecg --folds 6` before this adds a row of networks that have not seen them."
            )
        ),
        "",
        "## Streaming in 50 ms blocks",
        "",
        f"- same beats as in 10 s blocks: {'yes' if live.same else 'NO'}",
        (
            f"- R-peak to emission, block included: median {np.median(live.waits_ms):.0f} ms, "
            f"p95 {np.percentile(live.waits_ms, 95):.0f} ms, p99 {np.percentile(live.waits_ms, 99):.0f} ms "
            f"(beats not flagged late); late {100 * live.late / live.beats:.2f} %; first beat after "
            f"{np.median(live.first_s):.1f} s, at most {max(live.first_s):.1f} s"
        ),
        (
            f"- {live.msps:.3f} Msps; a push takes p50 {np.percentile(live.push_ms, 50):.3f} ms, "
            f"p99 {np.percentile(live.push_ms, 99):.3f} ms (CPU time)"
        ),
        "",
        "## Gain, polarity, sampling rate",
        "",
        *robustness(clean, pooled(scores)),
        "",
        "## Quality and heart rate",
        "",
    ]
    if noisy:
        lines.append(f"- seconds of clean records against seconds with em at 0 dB: AUC {quality_auc(clean):.4f}")
    conditions = {"clean": clean} | {f"{kind} {snr} dB": rs for (kind, snr), rs in noisy.items()}
    for label, records in conditions.items():
        shown, wrong = rate_shown(records, {}, noisy=label != "clean")
        lines.append(f"- {label}: rate shown {shown:.1f} % of the time, wrong by over 5/min {wrong:.2f} % of that")
        if held:
            shown, wrong = rate_shown(records, networks, noisy=label != "clean")
            lines[-1] += f"; records held out: {shown:.1f} %, {wrong:.2f} %"
    lines += ["", "## Monitor tests", "", *ecg_monitor.report()]
    lines += ["", "## Filters", "", *ecg_filters.report(), "", "## Ours, by record", ""]
    lines += ["| record | F1 | without VF | missed | added | median ms | p95 ms |", "|---|---|---|---|---|---|---|"]
    for record, found, s in zip(clean, mine.found, scores, strict=False):
        errors = np.abs(s.errors_ms)
        lines.append(
            f"| {record.name} | {s.f1:.2f} | {score(record, found, flutter=False).f1:.2f} | {s.fn} | {s.fp} "
            f"| {np.median(errors):.1f} | {np.percentile(errors, 95):.1f} |"
        )
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    for picture in plot_worst(PAGE.parent, clean, mine.found[: len(clean)], scores):
        lines += ["", f"![{picture.stem}]({picture.name})"]
    PAGE.write_text("\n".join(lines) + "\n")
    print("\n".join(lines[:40]))


if __name__ == "__main__":
    main()
