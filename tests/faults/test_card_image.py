"""A card taken out at any moment of a visit: nothing of it can be read.

Markers are planted in everything that an instrument may say; then every file of the state directory, the write-ahead
log included, is searched for them at many moments, in each form in which they could stand there. The same with the
whole agent as a process, which also leaves a log and has a folder for temporary files, and is aborted in the end.
"""

import asyncio
import logging
import resource
import signal
from pathlib import Path

import numpy as np
import pytest

from agent.control import ask
from agent.demo.world import World
from agent.demo.world import until as starting
from agent.drivers.simulated.samplelog import read_log
from agent.model import InstrumentEvent, Kind, Reading, SampleBlock, Unit
from agent.transport import waveform, wire
from agent.transport.messages import Batch, Record, Waveform
from tests.test_recorder import INSTRUMENT, PLETH, Bag

WORD = "MARQUEUR-PATIENT-7Q"
SAMPLES = np.array([31_415, -27_182, 16_180, -14_142, 17_320, -22_360], np.int32)
FORMS = {
    "text": WORD.encode(),
    "text, UTF-16": WORD.encode("utf-16-le"),
    "samples": SAMPLES.tobytes(),
    "samples, big-endian": SAMPLES.astype(">i4").tobytes(),
    "samples, 16 bits": SAMPLES.astype("<i2").tobytes(),
    "samples, coded": waveform.encode(SAMPLES),
}


def readable(folder):
    """What of it can be read in a folder's files."""
    contents = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert contents
    return {(name, form) for name, data in contents.items() for form, marker in FORMS.items() if marker in data}


def test_no_marker_is_readable_at_any_moment_of_a_visit(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    bag = Bag(tmp_path)
    moments = []

    async def main():
        bag.recorder.open_visit(bag.visit(), resumed=False)
        for second in range(40):
            bag.clock.forward(1)
            now = bag.clock.t_ns
            bag.recorder.add(
                [
                    SampleBlock(PLETH.name, 6 * second, now, SAMPLES),
                    Reading(INSTRUMENT.key, Kind.SPO2, Unit.PERCENT, now, 97, site=WORD, flags=(WORD,)),
                    InstrumentEvent(INSTRUMENT.key, now, what=WORD, detail=WORD),
                ]
            )
            moments.append(readable(tmp_path))
            await bag.recorder.cut()
            moments.append(readable(tmp_path))
        await bag.recorder.close_visit()

    asyncio.run(main())
    bag.outbox.now(bag.outbox.box._db.execute, "PRAGMA wal_checkpoint(TRUNCATE)")
    moments.append(readable(tmp_path))
    assert moments == [set()] * 81
    assert WORD not in caplog.text
    assert len(bag.batches()) >= 40
    bag.outbox.close()


PDF = b"%PDF-1.7\n(" + WORD.encode() + b")\ntrailer\n%%EOF\n"


@pytest.mark.slow
def test_the_whole_agent_with_its_log_and_temporary_files_aborted_in_a_visit(tmp_path, monkeypatch):
    """Out of its hub's reach, so that everything stays on the card; aborted as systemd's watchdog does it."""
    world = World(tmp_path / "world", radio=False)
    card, temporary = world.state_dir, tmp_path / "tmp"
    temporary.mkdir()
    world.agent.env = {"TMPDIR": str(temporary)}
    world.agent.log = card / "agent.log"
    card.mkdir()
    monkeypatch.chdir(temporary)  # where a core would fall
    moments = []

    def image():
        files = [path for place in (card, temporary) for path in place.rglob("*") if path.is_file()]
        moments.append({path: path.read_bytes() for path in files})

    async def visit():
        try:
            await world.simulator.start()
            await starting("the instruments", (world.simulator_dir / "ready").exists, world.simulator)
            world._write_config()
            await world.start_agent()
            await world.tell_agent("new_visit")
            for _ in range(8):
                await asyncio.sleep(0.5)
                image()
            (card / "import-1").write_bytes(PDF)
            await asyncio.to_thread(ask, world.control, {"do": "import", "file": "import-1"})
            image()
            await asyncio.sleep(1.0)
            world.agent.process.send_signal(signal.SIGABRT)
            await world.agent.process.wait()
            image()
        finally:
            await world.stop()

    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))  # LimitCORE=0
    asyncio.run(visit())
    assert "LimitCORE=0\n" in (Path(__file__).parents[2] / "systemd" / "besace.service").read_text()
    streams = [stream.values for stream in read_log(world.simulator_dir / "samples.log").values()]
    said = [values[at : at + 24] for values in streams for at in range(0, len(values) - 24, len(values) // 20)]
    markers = [stretch.astype(form).tobytes() for stretch in said for form in ("<i4", ">i4", "<i2")]
    assert len(markers) > 100
    assert all(card / "outbox.sqlite-wal" in files for files in moments)
    for path, data in {file for files in moments for file in files.items()}:
        assert not any(marker in data for marker in (*markers, WORD.encode())), path
    assert sum(map(len, moments[-1].values())) > 20_000


@pytest.mark.parametrize("form", FORMS)
def test_negative_control_each_form_is_found(tmp_path, form):
    (tmp_path / "image").write_bytes(bytes(100) + FORMS[form] + bytes(100))
    assert ("image", form) in readable(tmp_path)


def test_negative_control_an_unsealed_batch_is_found(tmp_path):
    plain = wire.encode(Batch(1, bytes(16), (Record(1, 0, 0, Waveform(waveform.encode(SAMPLES))),)))
    (tmp_path / "outbox.sqlite").write_bytes(plain)
    assert readable(tmp_path) == {("outbox.sqlite", "samples, coded")}
