"""A card taken out at any moment of a visit: nothing of it can be read.

Markers are planted in everything that an instrument may say; then every file of the state directory, the write-ahead
log included, is searched for them at many moments, in each form in which they could stand there.
"""

import asyncio
import logging

import numpy as np
import pytest

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


@pytest.mark.parametrize("form", FORMS)
def test_negative_control_each_form_is_found(tmp_path, form):
    (tmp_path / "image").write_bytes(bytes(100) + FORMS[form] + bytes(100))
    assert ("image", form) in readable(tmp_path)


def test_negative_control_an_unsealed_batch_is_found(tmp_path):
    plain = wire.encode(Batch(1, bytes(16), (Record(1, 0, 0, Waveform(waveform.encode(SAMPLES))),)))
    (tmp_path / "outbox.sqlite").write_bytes(plain)
    assert readable(tmp_path) == {("outbox.sqlite", "samples, coded")}
