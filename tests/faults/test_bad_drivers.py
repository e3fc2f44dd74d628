"""Drivers that crash, wait, flood or are cancelled: the one beside them loses no sample.

Fake drivers under the real supervisor, into one recorder. The good one numbers its samples; the hub's view of what was
sealed must have them all, in order.
"""

import asyncio
from contextlib import suppress

import numpy as np
import pytest

from agent.errors import InstrumentError, InstrumentReason
from agent.model import Instrument, SampleBlock, Signal, Stream
from agent.supervisor import Backoff, supervise
from agent.transport.records import RecordReader
from tests.peers.waiting import until
from tests.test_recorder import PLETH, Bag

BLOCKS, EACH = 60, 10
OTHER = Stream("other.pleth", Signal.PLETH, "other", 100.0, 1.0, "1")


def describe_both(writer):
    for stream in (PLETH, OTHER):
        writer.instrument(Instrument(stream.instrument, "x"), 0)
        writer.stream(stream, (), 0)


async def crashes(_sink, _now_ns):
    await asyncio.sleep(0.002)
    raise InstrumentError(InstrumentReason.LINK_LOST)


async def breaks(_sink, _now_ns):
    await asyncio.sleep(0.002)
    raise ZeroDivisionError


async def waits(_sink, _now_ns):
    await asyncio.sleep(30)


async def floods(sink, now_ns):
    """A hundred times what its stream says, in one go after the other."""
    at = 0
    while True:
        sink(SampleBlock(OTHER.name, at, now_ns(), np.zeros(100 * EACH, np.int32)))
        at += 100 * EACH
        await asyncio.sleep(0)


async def is_cancelled(_sink, _now_ns):
    await asyncio.sleep(0.002)
    raise asyncio.CancelledError


def good(sink, now_ns, done):
    async def run():
        for n in range(BLOCKS):
            sink(SampleBlock(PLETH.name, n * EACH, now_ns(), np.arange(n * EACH, (n + 1) * EACH, dtype=np.int32)))
            await asyncio.sleep(0.002)
        done.set()
        await asyncio.sleep(60)

    return run


async def visit(bag, bad, together):
    """Both drivers at work until the good one is through; what it gave, as the hub reads it."""
    bag.recorder.open_visit(bag.visit(), resumed=False)

    def sink(block):
        bag.clock.forward(0.0001)
        bag.recorder.add([block])

    done = asyncio.Event()
    await together(good(sink, bag.clock.now_ns, done), lambda: bad(sink, bag.clock.now_ns), done)
    await bag.recorder.close_visit()


async def supervised(one, other, done):
    quick = [Backoff(pick=lambda _low, _high: 0.001) for _ in range(2)]
    parts = [supervise(str(n), run, backoff=quick[n]) for n, run in enumerate((one, other))]
    tasks = [asyncio.create_task(part) for part in parts]
    await until(done.is_set)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def in_a_bare_group(one, other, done):
    with suppress(Exception, ExceptionGroup):
        async with asyncio.timeout(2), asyncio.TaskGroup() as group:
            group.create_task(one())
            group.create_task(other())


def samples(bag):
    reader, found = RecordReader(), []
    for batch in bag.batches():
        for item in reader.read(batch):
            if isinstance(item, SampleBlock) and item.stream == PLETH.name:
                found += item.samples.tolist()
    return found


@pytest.mark.parametrize("bad", [crashes, breaks, waits, floods, is_cancelled])
def test_the_one_beside_it_loses_nothing(tmp_path, monkeypatch, bad):
    monkeypatch.setattr("tests.test_recorder.describe", describe_both)
    bag = Bag(tmp_path)
    asyncio.run(visit(bag, bad, supervised))
    assert samples(bag) == list(range(BLOCKS * EACH))
    bag.outbox.close()


def test_negative_control_without_supervision_a_crash_ends_both(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.test_recorder.describe", describe_both)
    bag = Bag(tmp_path)
    asyncio.run(visit(bag, crashes, in_a_bare_group))
    assert len(samples(bag)) < BLOCKS * EACH
    bag.outbox.close()
