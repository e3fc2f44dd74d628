"""Plots of the records a detector does worst on, as small SVG files written by hand."""

from pathlib import Path

import numpy as np

from benchmarks.ecg_records import TOLERANCE_S, Record, Score, match

SHOWN_S = 10.0
WIDTH, HEIGHT, MARGIN = 1000, 220, 24


def plot_worst(where: Path, records: list[Record], found: list[np.ndarray], scores: list[Score]) -> list[Path]:
    """Plot the ten seconds richest in errors of the three worst records; return the files."""
    order = sorted(range(len(records)), key=lambda k: scores[k].f1)[:3]
    out = []
    for rank, k in enumerate(order, 1):
        path = where / f"ecg-worst-{rank}.svg"
        path.write_text(_plot(records[k], found[k], scores[k]))
        out.append(path)
    return out


def _plot(record: Record, found: np.ndarray, score: Score) -> str:
    r, f = match(record.beats, found, TOLERANCE_S * record.fs_hz)
    missed, added = np.delete(record.beats, r), np.delete(found, f)
    wrong = np.sort(np.concatenate((missed, added)))
    n = round(SHOWN_S * record.fs_hz)
    begin = 0
    if wrong.size:
        counts = np.searchsorted(wrong, wrong + n) - np.arange(len(wrong))
        begin = max(0, min(int(wrong[counts.argmax()]) - round(0.5 * record.fs_hz), len(record.mv) - n))
    mv = record.mv[begin : begin + n]
    low, high = float(mv.min()), float(mv.max())
    scale = (HEIGHT - 3 * MARGIN) / max(high - low, 1e-6)

    def x(sample: float) -> float:
        return MARGIN + (sample - begin) / n * (WIDTH - 2 * MARGIN)

    step = max(1, n // 2000)
    points = " ".join(
        f"{x(begin + k):.1f},{HEIGHT - MARGIN - (mv[k] - low) * scale:.1f}" for k in range(0, len(mv), step)
    )
    marks = [
        f'<text x="{x(at):.1f}" y="{y}" fill="{colour}">{sign}</text>'
        for beats, sign, colour, y in (
            (record.beats, "|", "#888", 38),
            (found[f], "●", "#2a7", 52),
            (added, "▼", "#c30", 52),
            (missed, "○", "#c30", 52),
        )
        for at in beats[(beats >= begin) & (beats < begin + n)].tolist()
    ]
    title = (
        f"record {record.name}, from {begin / record.fs_hz / 60:.2f} min: F1 {score.f1:.2f}, "
        f"{score.fn} missed ○, {score.fp} added ▼, | reference"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="13" text-anchor="middle"><rect width="100%" height="100%" fill="#fff"/>'
        f'<text x="{MARGIN}" y="18" text-anchor="start">{title}</text>'
        f'<polyline points="{points}" fill="none" stroke="#124" stroke-width="1"/>{"".join(marks)}</svg>\n'
    )
