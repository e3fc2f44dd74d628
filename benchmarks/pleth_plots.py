"""The two plots of docs/benchmarks/pleth.md, as small SVG files written by hand."""

from pathlib import Path
from typing import Any

import numpy as np

from agent.dsp.pleth import PlethSmoother

WIDTH, HEIGHT, MARGIN = 900, 320, 44
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00")
SHOWN_S = (20.0, 24.0)
NOISE = 0.05
WORST = 16.0  # per minute: the axis ends here


def _page(body: list[str], title: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="13"><title>{title}</title><rect width="100%" height="100%" fill="white"/>{"".join(body)}</svg>\n'
    )


def _text(x: float, y: float, text: str, colour: str = "black", anchor: str = "start") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" fill="{colour}" text-anchor="{anchor}">{text}</text>'


def plot_smoothing(path: Path, clean: np.ndarray, fs_hz: float) -> None:
    """Draw a noisy pleth, and what ours makes of it put back by its stated delay."""
    low, high = np.quantile(clean, [0.02, 0.98])
    noisy = clean + NOISE * (high - low) * np.random.default_rng(3).standard_normal(clean.size)
    smoother = PlethSmoother(fs_hz)
    smooth = smoother.push(noisy)
    t = np.arange(clean.size) / fs_hz
    body = []
    shown = (t >= SHOWN_S[0]) & (t <= SHOWN_S[1])
    bottom, top = noisy[shown].min(), noisy[shown].max()
    for k, (name, y, late_s, colour, wide) in enumerate(
        (
            ("with 5 % noise", noisy, 0.0, "#bbbbbb", 1.0),
            ("smoothed, delay removed", smooth, smoother.delay_s, COLOURS[0], 2.0),
            ("as recorded", clean, 0.0, COLOURS[1], 1.0),
        )
    ):
        x = MARGIN + (t - late_s - SHOWN_S[0]) / (SHOWN_S[1] - SHOWN_S[0]) * (WIDTH - 2 * MARGIN)
        v = HEIGHT - MARGIN - (y - bottom) / (top - bottom) * (HEIGHT - 2 * MARGIN)
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x[shown], v[shown], strict=True))
        body.append(f'<polyline fill="none" stroke="{colour}" stroke-width="{wide}" points="{points}"/>')
        body.append(_text(MARGIN + 190 * k, 20, name, colour))
    body.append(_text(WIDTH / 2, HEIGHT - 12, f"{SHOWN_S[1] - SHOWN_S[0]:g} s of a pleth", anchor="middle"))
    path.write_text(_page(body, "Smoothing"))


def plot_coverage(path: Path, rates: dict[str, list[dict[str, Any]]]) -> None:
    """Draw the rate's mean absolute error against the share of windows it was given in, one dot a disturbance."""
    body = [
        f'<rect x="{MARGIN}" y="30" width="{WIDTH - 2 * MARGIN}" height="{HEIGHT - 74}" fill="none" stroke="#888"/>'
    ]
    bottom = HEIGHT - MARGIN
    for share in (0.25, 0.5, 0.75, 1.0):
        x = MARGIN + share * (WIDTH - 2 * MARGIN)
        body.append(_text(x, bottom + 16, f"{100 * share:.0f} %", anchor="middle"))
    body += [
        _text(MARGIN - 6, bottom - error / WORST * (bottom - 30) + 4, f"{error:g}", anchor="end")
        for error in (1.0, 5.0, 10.0, 15.0)
    ]
    for k, (name, rows) in enumerate(rates.items()):
        colour = COLOURS[k % len(COLOURS)]
        body.append(_text(MARGIN + 190 * k, 20, name.strip("*"), colour))
        for row in rows:
            if row.get("cover"):
                x = MARGIN + row["cover"] * (WIDTH - 2 * MARGIN)
                y = bottom - min(row["mae"], WORST) / WORST * (bottom - 30)
                body.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{colour}" fill-opacity="0.7"/>')
    body.append(
        _text(WIDTH / 2, HEIGHT - 10, "windows with a rate; up: mean absolute error per minute", anchor="middle")
    )
    path.write_text(_page(body, "Coverage against error"))
