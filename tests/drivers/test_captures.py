"""Every capture in tests/captures plays back through its decoder and gives what its `# expect` lines say."""

from itertools import groupby
from pathlib import Path

import pytest

from agent.drivers.capture import CaptureError, Recording, instrument_of, replay
from agent.drivers.catalogue import CATALOGUE, decoder_for
from agent.model import Gap, InstrumentEvent, Reading, SampleBlock

CAPTURES = sorted((Path(__file__).parents[1] / "captures").glob("*.txt"))


def said(items, streams):
    """Items in the words of the `# expect` lines: readings and events in order, then each stream."""
    lines = []
    for item in items:
        if isinstance(item, Reading):
            number = "-" if item.value is None else f"{item.number:g}"
            word = item.reason.value if item.reason else item.unit.value
            lines.append(" ".join(("reading", item.kind.name, number, word, *item.flags)))
        elif isinstance(item, InstrumentEvent):
            lines.append(f"event {item.what} {item.detail}")
    for stream in streams:
        words = []
        for item in items:
            if isinstance(item, SampleBlock) and item.stream == stream.name:
                words += [str(v) for v in item.samples]
            elif isinstance(item, Gap) and item.stream == stream.name:
                words.append(f"gap:{item.n}")
        if words:
            runs = [(word, len(list(same))) for word, same in groupby(words)]
            lines.append(f"samples {stream.name} " + " ".join(w if n == 1 else f"{w}*{n}" for w, n in runs))
    return lines


def expected(text):
    """The `# expect` lines, runs of equal samples folded as `said` does."""
    lines = [line.removeprefix("# expect ") for line in text.splitlines() if line.startswith("# expect ")]
    folded = []
    for line in lines:
        kind, name, *rest = line.split()
        runs = [(word, len(list(same))) for word, same in groupby(rest)]
        samples = " ".join((kind, name, *(w if n == 1 else f"{w}*{n}" for w, n in runs)))
        folded.append(samples if kind == "samples" else line)
    return [x for x in folded if x[0] != "s"] + sorted(x for x in folded if x[0] == "s")


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_a_capture_gives_what_it_says(path):
    text = path.read_text()
    assert instrument_of(text.splitlines()) == path.stem
    decoder = decoder_for(CATALOGUE[path.stem])
    items = [item for items in replay(text.splitlines(), decoder) for item in items]
    lines = said(items, decoder.streams)
    assert [x for x in lines if x[0] != "s"] + sorted(x for x in lines if x[0] == "s") == expected(text)


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_recording_a_replay_gives_the_same_capture(path):
    original = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    written = []
    recording = Recording(decoder_for(CATALOGUE[path.stem]), path.stem, written.append)
    for _ in replay(original, recording):
        pass
    lines = "".join(written).splitlines()
    assert lines[:2] == ["# besace capture 1", f"# instrument: {path.stem}"]
    assert [line.split() for line in lines[2:]] == [line.split() for line in original]


@pytest.mark.parametrize("line", ["hello", "1.0 serial xyz", "x serial 00", "1.0 00"])
def test_a_line_that_is_no_capture_is_named(line):
    decoder = decoder_for(CATALOGUE["berry-bm1000"])
    with pytest.raises(CaptureError, match="line 2"):
        list(replay(["# besace capture 1", line], decoder))


def test_a_capture_must_name_its_instrument():
    with pytest.raises(CaptureError):
        instrument_of(["# besace capture 1"])
