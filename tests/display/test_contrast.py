"""WCAG AA from the style sheet itself: every pair of text and ground that the pages use is at least 4.5 to 1."""

import re

import pytest

from agent.display.web import ASSETS

CSS = ASSETS["page.css"].decode()
COLOURS = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", CSS))

ON_SURFACES = ("text", "muted", "old", "ecg", "pleth", "sound", "good", "todo", "bad")
PAIRS = [
    *((text, ground) for text in ON_SURFACES for ground in ("ground", "surface", "raised")),
    ("demo-text", "demo-ground"),
    ("go-text", "go-ground"),
    ("key-text", "key-ground"),
    ("muted", "key-ground"),
    ("ground", "text"),
    ("ground", "sound"),
]
LINES = [("line", "ground"), ("focus", "ground"), ("ecg", "grid"), ("ecg", "grid-strong")]


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_the_formula():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize(("text", "ground"), PAIRS)
def test_text(text, ground):
    assert contrast(COLOURS[text], COLOURS[ground]) >= 4.5


@pytest.mark.parametrize(("line", "ground"), LINES)
def test_lines_that_mean_something(line, ground):
    assert contrast(COLOURS[line], COLOURS[ground]) >= 3.0


def test_every_colour_of_text_is_one_of_those_checked():
    used = set(re.findall(r"(?<![a-z-])color: var\(--([a-z-]+)\)", CSS))
    assert used - {"ink"} <= {text for text, _ in PAIRS}
    assert not re.search(r"(?<![a-z-])color: #", CSS)
    assert not re.search(r"user-scalable|maximum-scale", ASSETS["nurse.html"].decode())
