"""A custody entry and its sealed row: one commit, sent only from disk, alone in a batch without a visit."""

import asyncio
import shutil
from pathlib import Path

import pytest
from test_recorder import Bag, failing_disk

from agent import ledger
from agent.custody import What
from agent.holding import Act
from agent.outbox import Outbox
from agent.transport.messages import CustodyBody, EpochReason
from tests.peers.cpts import BAG, authority, identity


def story(bag):
    """Drafts of entries as the desk makes them, one after another."""
    head = ledger.genesis(BAG)
    acts = (
        Act(What.IDENTITY, 1, 1, blob=identity().certificate_der),
        Act(What.PLACED, 2, 2, place="Pharmacie"),
        Act(What.CHECK_OUT, 3, 3, b"nurse1", "Mme D."),
    )
    for act in acts:
        entry = ledger.draft(head, bag.clock.boot_id, act, identity().sign)
        head = entry.head
        yield entry


@pytest.fixture
def bag(tmp_path):
    bag = Bag(tmp_path)
    yield bag
    if not bag.ended:
        bag.outbox.close()


def custody_rows(bag):
    return [
        (batch.visit, record.body.entry)
        for batch in bag.batches()
        for record in batch.records
        if isinstance(record.body, CustodyBody)
    ]


def test_entry_and_row_are_committed_together_and_offered_to_nobody(bag):
    entries = list(story(bag))
    bag.recorder.open_visit(bag.visit(), resumed=False)

    async def act():
        for entry in entries:
            await bag.recorder.act(entry)

    asyncio.run(act())
    stored = bag.outbox.now(bag.outbox.box.ledger)
    assert stored == [entry.data for entry in entries]
    assert custody_rows(bag) == [(None, entry) for entry in stored]  # the custody log knows no visit
    offered = [r for batch in bag.read(bag.offered) for r in batch.records if isinstance(r.body, CustodyBody)]
    assert offered == []
    ledger.verify_ledger(stored, BAG, [authority().certificate])


def test_a_disk_that_refuses_keeps_both_waiting_and_the_act_unfinished(bag, monkeypatch):
    monkeypatch.setattr("agent.recorder.ACT_AGAIN_S", 0.01)
    entry = next(story(bag))

    async def act():
        with failing_disk(bag):
            task = asyncio.ensure_future(bag.recorder.act(entry))
            await asyncio.sleep(0.05)
            assert not task.done()
            assert await bag.outbox.call(bag.outbox.box.ledger) == []
        await task

    asyncio.run(act())
    assert bag.outbox.now(bag.outbox.box.ledger) == [entry.data]
    assert [data for _, data in custody_rows(bag)] == [entry.data]


def test_an_image_of_the_disk_at_every_statement_has_both_or_neither(bag, tmp_path):
    images = []

    def snapshot(_statement):
        image = tmp_path / f"image{len(images)}"
        image.mkdir()
        for file in tmp_path.glob("outbox.sqlite*"):
            if not file.name.endswith("-shm"):
                shutil.copy(file, image / file.name)
        images.append(image)

    async def act():
        await bag.outbox.call(bag.outbox.box._db.set_trace_callback, snapshot)
        for entry in story(bag):
            await bag.recorder.act(entry)
            await bag.recorder.begin_epoch(EpochReason.CHECK_OUT)
        await bag.outbox.call(bag.outbox.box._db.set_trace_callback, None)

    asyncio.run(act())
    bag.outbox.close()
    bag.ended = True
    lengths = set()
    for image in images:
        box = Outbox(Path(image) / "outbox.sqlite")
        entries = box.ledger()
        rows = box._db.execute("SELECT count(*) FROM rows WHERE place & 4294967295 > 0").fetchone()[0]
        box.close()
        ledger.verify_ledger(entries, BAG, [authority().certificate])
        # Each entry comes with a row of its own; rows of births and anchors come beside it, never without it.
        assert (rows > 0) == (len(entries) > 0)
        assert rows >= len(entries)
        lengths.add(len(entries))
    assert lengths == {0, 1, 2, 3}
