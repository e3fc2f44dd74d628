"""The checker can fail: every way of losing, repeating or changing a sample is found in a run that was whole."""

import asyncio
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agent.demo.check import Produced, Stored, Stretch, Verdict, _check_stream, check, count_rows
from agent.demo.world import World
from agent.model import Kind, Unit
from agent.transport import wire
from agent.transport.messages import ReadingBody, Waveform

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A real run of some seconds, without pages."""
    folder = tmp_path_factory.mktemp("whole")

    async def run() -> None:
        world = World(folder)
        try:
            await world.start()
            await world.tell_agent("new_visit")
            await asyncio.sleep(4)
            while (await world.tell_agent("status"))["instruments"]["and-ua651ble"]["state"] != "ready":
                await asyncio.sleep(0.1)
            await world.tell_simulator("bp 128 76 93")
            await asyncio.sleep(2)
            await world.drain()
        finally:
            await world.stop()

    asyncio.run(run())
    return folder


@pytest.fixture
def run(whole, tmp_path) -> tuple[Path, Path, sqlite3.Connection]:
    """A copy of it that a test may spoil: simulator's log, hub's database, a connection to it."""
    database = tmp_path / "hub.sqlite"
    shutil.copy(whole / "hub" / "hub.sqlite", database)
    for more in ("-wal", "-shm"):
        if (whole / "hub" / f"hub.sqlite{more}").exists():
            shutil.copy(whole / "hub" / f"hub.sqlite{more}", f"{database}{more}")
    db = sqlite3.connect(database, isolation_level=None)
    yield whole / "sim" / "samples.log", database, db
    db.close()


def rows_with_sound(db) -> list[int]:
    """Sequence numbers of rows that carry samples, in the middle of the run."""
    found = []
    for seq, plaintext in db.execute("SELECT seq, plaintext FROM rows WHERE seq > 0 ORDER BY seq"):
        if any(isinstance(r.body, Waveform) and len(r.body.data) > 500 for r in wire.decode(plaintext).records):
            found.append(seq)
    return found[1:-2]


def judged(stretches, given, epochs):
    """How many samples of a second at 100 Hz are lost when the hub has these stretches of so many epochs."""
    stored = Stored(epochs=epochs, fs_hz={"p": 100.0})
    values = np.arange(500, dtype=np.int32)
    for epoch, first, last in stretches:
        stored.stretches["p"].append(Stretch(epoch, b"visit", values[first:last], 0))
    verdict = Verdict()
    logged = Produced(values, np.arange(500) < given, np.arange(500, dtype=np.int64))
    _check_stream(verdict, "p", logged, stored)
    return verdict.lost


@pytest.mark.parametrize(
    ("stretches", "given", "epochs", "lost"),
    [
        ([(0, 0, 300)], 304, 1, 4),  # nothing ended in between
        ([(0, 0, 300)], 304, 2, 0),  # the agent did, and the instrument was not heard again
        ([(0, 0, 300)], 450, 2, 50),  # a second of samples, and no more
        ([(0, 0, 100), (1, 100, 300)], 304, 2, 4),  # it ended before these
        ([(0, 0, 100), (1, 150, 300)], 300, 2, 0),
    ],
)
def test_a_restart_excuses_a_second(stretches, given, epochs, lost):
    assert judged(stretches, given, epochs) == lost


def test_the_whole_run_is_whole(run, whole):
    log, database, _ = run
    verdict, stored = check(log, database)
    assert (verdict.lost, verdict.stored_twice, verdict.changed, verdict.gaps_s) == (0, 0, 0, 0)
    assert verdict.samples_stored == verdict.samples_produced > 0
    assert stored.beats > 0
    rows = count_rows(whole / "bag" / "outbox.sqlite", database)
    assert rows.on_board == 0
    assert rows.committed > 4


def test_a_row_that_is_missing_is_lost(run):
    log, database, db = run
    db.execute("DELETE FROM rows WHERE seq = ?", (rows_with_sound(db)[0],))
    verdict, _ = check(log, database)
    assert verdict.lost > 1000


def test_a_tail_that_is_missing_is_lost(run):
    log, database, db = run
    db.execute("DELETE FROM rows WHERE seq >= ?", (rows_with_sound(db)[-1],))
    verdict, _ = check(log, database)
    assert verdict.lost > 1000


def test_a_sample_that_changed_is_found(run):
    log, database, db = run
    from agent.transport import waveform

    seq = rows_with_sound(db)[1]
    (plaintext,) = db.execute("SELECT plaintext FROM rows WHERE seq = ?", (seq,)).fetchone()
    batch = wire.decode(plaintext)
    records = list(batch.records)
    at = max(range(len(records)), key=lambda i: len(getattr(records[i].body, "data", b"")))
    samples = waveform.decode(records[at].body.data).copy()
    samples[len(samples) // 2] += 1
    records[at] = type(records[at])(
        records[at].stream, records[at].seq, records[at].dt_ms, Waveform(waveform.encode(samples))
    )
    spoilt = wire.encode(type(batch)(batch.t_ms, batch.visit, tuple(records)))
    db.execute("UPDATE rows SET plaintext = ? WHERE seq = ?", (spoilt, seq))
    verdict, _ = check(log, database)
    assert verdict.changed > 0
    assert verdict.lost > 0


def test_a_row_stored_again_under_another_number_is_found(run):
    log, database, db = run
    seq = rows_with_sound(db)[0]
    db.execute(
        "INSERT INTO rows SELECT device, epoch, seq + 100000, t_us, visit, plaintext, arrived_us, in_commit"
        " FROM rows WHERE seq = ?",
        (seq,),
    )
    verdict, _ = check(log, database)
    assert verdict.stored_twice > 1000


def test_a_reading_that_is_missing_is_lost(run):
    log, database, db = run
    spoil_pressures(db, lambda _: None)
    verdict, _ = check(log, database)
    assert verdict.readings_lost > 0
    assert verdict.lost > 0


@pytest.mark.parametrize(
    "changed",
    [{"value": 77}, {"exponent": 1}, {"unit": Unit.KG}, {"kind": Kind.PRESSURE_DIASTOLIC}, {"kind": Kind.SPO2}],
)
def test_a_reading_that_is_not_what_was_sent_is_lost(run, changed):
    log, database, db = run
    spoil_pressures(db, lambda body: replace(body, **changed))
    verdict, _ = check(log, database)
    assert verdict.readings_lost > 0


def spoil_pressures(db, spoil):
    """Rewrite each systolic pressure on the hub's disk; None leaves it out."""
    spoilt = 0
    for seq, plaintext in db.execute("SELECT seq, plaintext FROM rows WHERE seq > 0").fetchall():
        batch = wire.decode(plaintext)
        kept = []
        for record in batch.records:
            if isinstance(record.body, ReadingBody) and record.body.kind is Kind.PRESSURE_SYSTOLIC:
                spoilt += 1
                body = spoil(record.body)
                kept += [] if body is None else [replace(record, body=body)]
            else:
                kept.append(record)
        written = wire.encode(replace(batch, records=tuple(kept)))
        db.execute("UPDATE rows SET plaintext = ? WHERE seq = ?", (written, seq))
    assert spoilt > 0, "the run had no blood pressure to spoil"
