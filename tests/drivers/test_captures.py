"""Every capture in tests/captures plays back through its decoder and gives what its `# expect` lines say.

A missing one is recorded from the instrument itself where one is attached:
BESACE_ATTACHED="nonin-xpod=/dev/ttyUSB0" pytest tests/drivers/test_captures.py. Read the new file before committing it.
"""

import os
from pathlib import Path

import numpy as np
import pytest

from agent.commands.instruments import Target, record
from agent.config import RadioConfig
from agent.drivers.capture import CaptureError, Recording, difference, expected, instrument_of, outcome, replay
from agent.drivers.catalogue import CATALOGUE
from agent.drivers.opening import decoder_for
from agent.model import Gap, GapReason, SampleBlock, Signal, Stream

FOLDER = Path(__file__).parents[1] / "captures"
CAPTURES = sorted(FOLDER.glob("*.txt"))
ATTACHED = dict(one.split("=", 1) for one in os.environ.get("BESACE_ATTACHED", "").split() if "=" in one)
ATTACHED_S = 20.0


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_a_capture_gives_what_it_says(path):
    text = path.read_text()
    assert instrument_of(text.splitlines()) == path.stem
    decoder = decoder_for(CATALOGUE[path.stem])
    items = [item for items in replay(text.splitlines(), decoder) for item in items]
    assert expected(text.splitlines())
    assert difference(outcome(items, decoder.streams), expected(text.splitlines())) == []


def test_every_instrument_has_one():  # a camera's is camera.mjpeg, see test_camera.py
    assert {path.stem for path in FOLDER.iterdir()} == CATALOGUE.keys()


@pytest.mark.parametrize("key", sorted(CATALOGUE.keys() - {path.stem for path in FOLDER.iterdir()}))
def test_a_missing_capture_is_recorded_from_the_instrument(key):
    if key not in ATTACHED:
        pytest.skip(f"no capture, and no {key} attached (BESACE_ATTACHED)")
    assert record(Target(key, ATTACHED[key], RadioConfig()), FOLDER / f"{key}.txt", seconds=ATTACHED_S, talk=print)


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


PLETH = Stream("x.pleth", Signal.PLETH, "x", 75.0, 1.0, "1")


def samples(*values):
    return SampleBlock("x.pleth", 0, 0, np.array(values, np.int32))


def test_runs_are_folded_and_long_lines_told_by_their_checksum():
    gap = Gap("x.pleth", 5, 25, 0, GapReason.LINK)
    assert outcome([samples(7, 7, 7, 8), gap], [PLETH]) == ["samples x.pleth 7*3 8 gap:25"]
    (line,) = outcome([samples(*range(1000))], [PLETH])
    assert line == "samples x.pleth 1000 words crc32 cb874ebe"
    assert outcome([samples(*range(999), 998)], [PLETH]) != [line]


def test_expectations_may_be_folded_by_hand_and_streams_come_in_any_order():
    wanted = expected(["# expect samples a 1 1 2*2 2", "# expect reading SPO2 98 %", "# other"])
    assert wanted == ["samples a 1*2 2*3", "reading SPO2 98 %"]
    assert difference(["reading SPO2 98 %", "samples a 1*2 2*3"], wanted) == []
    assert difference(["reading SPO2 97 %", "samples a 1*2 2*3"], wanted)
    assert difference(["samples a 1*2 2*3"], wanted)


def test_readings_and_events_must_come_in_order():
    assert difference(["event a", "reading b"], ["reading b", "event a"])
