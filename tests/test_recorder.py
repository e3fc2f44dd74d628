"""The recorder: which batch an item joins, what is offered and committed, what a failing disk does."""

import asyncio
import dataclasses
import sqlite3
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pytest

from agent.clock import Anchor, Source
from agent.errors import StateError
from agent.model import (
    Analysis,
    Instrument,
    InstrumentEvent,
    Kind,
    Media,
    Rate,
    Reading,
    SampleBlock,
    Signal,
    Stream,
    Unit,
    Visit,
)
from agent.outbox import Outbox, OutboxThread
from agent.recorder import EPOCH_NS, USUAL_COMMIT_S, Recorder
from agent.transport import seal, wire
from agent.transport.delivery import Delivery
from agent.transport.epoch import open_header
from agent.transport.files import cut_file
from agent.transport.messages import (
    AnalysisBody,
    AnchorBody,
    EpochReason,
    EpochReceipt,
    FileBody,
    GaveWayBody,
    PreviousEpoch,
    ReadingBody,
    VisitBody,
    VisitStep,
    Waveform,
)
from agent.transport.records import RecordReader
from tests.peers.cpts import BAG, HandClock, authority, hub_key, identity
from tests.peers.waiting import until

INSTRUMENT = Instrument("berry-bm1000", "BM1000")
PLETH = Stream("berry-bm1000.pleth", Signal.PLETH, "berry-bm1000", 100.0, 1.0, "1")


def describe(writer):
    writer.instrument(INSTRUMENT, 0)
    writer.stream(PLETH, (), 0)


@dataclass
class Bag:
    """A recorder on a disk, and the hub's view of what it seals."""

    path: object
    clock: HandClock = field(default_factory=HandClock)
    offered: list = field(default_factory=list)
    ended: bool = False

    def __post_init__(self):
        self.outbox = OutboxThread(self.path / "outbox.sqlite")
        self.delivery = Delivery(self.outbox.now(self.outbox.box.unreceipted))
        self.recorder = Recorder(
            identity=identity(), clock=self.clock, outbox=self.outbox, delivery=self.delivery, demo=False,
            describe=describe,
        )  # fmt: skip
        self.recorder.offer = self.offered.append

    def on_board(self):
        return self.outbox.now(self.outbox.box.unreceipted)

    def header(self):
        return open_header(
            self.recorder.epoch.header.payload, device=BAG, root=authority().certificate, hub_key=hub_key()
        )

    def read(self, rows):
        """What the hub reads in rows of the running epoch: (visit, records) of each."""
        keys = seal.UpKeys(self.recorder.epoch.id, self.header().key, BAG)
        return [wire.decode(keys.open(row.payload)[1]) for row in rows]

    def batches(self):
        epoch = self.recorder.epoch.id
        return self.read(self.outbox.now(self.outbox.box.read, epoch, 1, 2**31, 10**9))

    def reading(self, value, ago_s=0.0):
        return Reading("berry-bm1000", Kind.SPO2, Unit.PERCENT, self.clock.t_ns - round(ago_s * 1e9), value)

    def block(self, index, n=10, ago_s=0.0):
        return SampleBlock(
            PLETH.name, index, self.clock.t_ns - round(ago_s * 1e9), np.arange(n, dtype=np.int32) + index
        )

    def visit(self, n=1):
        return Visit(bytes([n]) * 16, f"{n:04d}", self.clock.t_ns)

    def power_cut(self):
        """The process ends; the next one starts on the same disk."""
        self.outbox.close()
        self.ended = True
        return Bag(self.path, self.clock)


@contextmanager
def failing_disk(bag):
    """A disk that refuses every commit."""

    def refuse(*_):
        raise StateError("the outbox cannot be written: disk I/O error")

    usual, bag.outbox.box.commit = bag.outbox.box.commit, refuse
    try:
        yield
    finally:
        bag.outbox.box.commit = usual


@pytest.fixture
def bag(tmp_path):
    bag = Bag(tmp_path)
    yield bag
    if not bag.ended:
        bag.outbox.close()


def run(*steps):
    async def main():
        for step in steps:
            await step

    asyncio.run(main())


def bodies(batch, kind):
    return [r.body for r in batch.records if isinstance(r.body, kind)]


class TestEpochs:
    def test_a_process_begins_with_its_header_on_disk(self, bag):
        assert bag.on_board() == [(bag.recorder.epoch.id, 0, 0)]
        header = bag.header().header
        assert (header.number, header.reason, header.previous) == (1, EpochReason.START, None)
        assert header.boot_id == bag.clock.boot_id

    def test_the_next_one_names_the_last_row_committed(self, bag):
        run(bag.recorder.cut())
        first = bag.recorder.epoch.id
        again = bag.power_cut()
        header = again.header().header
        assert header.previous == PreviousEpoch(first, 1)
        assert (header.number, header.chain) == (2, bag.header().header.chain)
        again.outbox.close()

    def test_births_and_an_anchor_come_first_in_every_epoch(self, bag):
        async def main():
            await bag.recorder.cut()
            await bag.recorder.begin_epoch(EpochReason.CHECK_OUT)
            await bag.recorder.cut()

        asyncio.run(main())
        (batch,) = bag.batches()
        assert [r.stream for r in batch.records] == [1, 2, 0]
        assert bodies(batch, AnchorBody)

    def test_a_new_epoch_in_a_running_process_takes_over_without_a_hole(self, bag):
        old = bag.recorder.epoch
        bag.recorder.announce = bag.offered.append

        async def main():
            bag.recorder.open_visit(bag.visit(), resumed=False)
            bag.recorder.add([bag.reading(97)])
            await bag.recorder.begin_epoch(EpochReason.CHECK_OUT)
            bag.recorder.add([bag.reading(98)])
            await bag.recorder.cut()

        asyncio.run(main())
        last, announced, first = bag.offered
        assert (last.epoch, announced, first.epoch) == (old.id, bag.recorder.epoch, bag.recorder.epoch.id)
        assert bag.on_board() == [(old.id, 0, 1), (bag.recorder.epoch.id, 0, 1)]
        assert bag.header().header.previous == PreviousEpoch(old.id, 1)
        (batch,) = bag.batches()
        assert [b.value for b in bodies(batch, ReadingBody)] == [98]
        assert batch.visit == bytes([1]) * 16

    def test_an_epoch_ends_after_twelve_hours(self, bag):
        first = bag.recorder.epoch.id

        async def main():
            task = asyncio.create_task(bag.recorder.cut_every(lambda: 0.01))
            await asyncio.sleep(0.05)
            assert bag.recorder.epoch.id == first
            bag.clock.t_ns += EPOCH_NS
            await until(lambda: bag.recorder.epoch.id != first)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        asyncio.run(main())
        assert bag.header().header.reason is EpochReason.AGE
        assert bag.header().header.number == 2

    def test_many_cuts_a_second_are_one_commit_and_what_is_urgent_one_at_once(self, bag, monkeypatch):
        monkeypatch.setattr("agent.recorder.COMMIT_EVERY_S", 3600)
        usual, commits = bag.outbox.box.commit, []

        def commit(rows, *rest):
            commits.append([row.seq for row in rows])
            return usual(rows, *rest)

        bag.outbox.box.commit = commit

        async def main():
            task = asyncio.create_task(bag.recorder.cut_every(lambda: 0.01))
            bag.recorder.open_visit(bag.visit(), resumed=False)
            await until(lambda: bag.offered)
            for value in range(5):
                bag.recorder.add([bag.reading(value)])
                await until(lambda value=value: len(bag.offered) == 2 + value)
            bag.recorder.urgent.set()
            await until(lambda: len(commits) > 1)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        asyncio.run(main())
        assert commits == [[1], [2, 3, 4, 5, 6]]
        assert [row.seq for row in bag.offered] == [1, 2, 3, 4, 5, 6]

    def test_a_slow_commit_does_not_stretch_the_pace(self, bag, monkeypatch):
        """What a kill costs is what came since the last cut."""
        began_s, due_s = [], []
        usual, timeout_at = bag.recorder.cut, asyncio.timeout_at

        def noted(when_s):
            due_s.append(when_s)
            return timeout_at(when_s)

        async def slow(**how):
            began_s.append(asyncio.get_running_loop().time())
            await asyncio.sleep(0.02)
            await usual(**how)

        bag.recorder.cut = slow
        monkeypatch.setattr("agent.recorder.COMMIT_EVERY_S", 0.05)
        monkeypatch.setattr("agent.recorder.asyncio.timeout_at", noted)

        async def main():
            task = asyncio.create_task(bag.recorder.cut_every(lambda: 0.05))
            await until(lambda: len(began_s) > 4)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        asyncio.run(main())
        assert all(due <= began + 0.05 for began, due in zip(began_s, due_s[1:], strict=False))

    @pytest.mark.parametrize(("nobody_looks", "found"), [(True, 0), (False, 1)])
    def test_findings_wait_while_nobody_looks_and_a_visits_end_takes_them_along(
        self, bag, monkeypatch, nobody_looks, found
    ):
        monkeypatch.setattr("agent.recorder.COMMIT_EVERY_S", 0.01)

        async def main():
            bag.recorder.open_visit(bag.visit(), resumed=False)
            task = asyncio.create_task(bag.recorder.cut_every(lambda: 0.01, patient=lambda: nobody_looks))
            await until(bag.batches)  # that the visit was opened
            bag.recorder.add([Analysis(bag.block(0, 1).stream, bag.clock.t_ns, rate=Rate(72.0))])
            await asyncio.sleep(0.1)
            await until(lambda: sum(len(bodies(batch, AnalysisBody)) for batch in bag.batches()) == found)
            await bag.recorder.close_visit()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        asyncio.run(main())
        (batch,) = [batch for batch in bag.batches() if bodies(batch, AnalysisBody)]
        assert batch.visit == bag.visit().id

    def test_a_slow_disk_is_known_and_forgotten_slowly(self, bag, monkeypatch):
        monkeypatch.setattr("agent.recorder.COMMIT_EVERY_S", 0.01)
        usual, expected_s = bag.recorder._outbox.call, []

        async def slow(*what):
            monkeypatch.setattr(bag.recorder._outbox, "call", usual)
            await asyncio.sleep(0.1)
            return await usual(*what)

        def interval_s():
            bag.recorder.receipted(EpochReceipt(bag.recorder.epoch.id, 0, ()))  # something to commit
            expected_s.append(bag.recorder.commit_s)
            return 0.01

        async def main():
            monkeypatch.setattr(bag.recorder._outbox, "call", slow)
            task = asyncio.create_task(bag.recorder.cut_every(interval_s))
            await until(lambda: len(expected_s) > 20)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        asyncio.run(main())
        assert expected_s[0] == USUAL_COMMIT_S
        assert max(expected_s) >= 0.1
        assert all(later >= 0.9 * before - 1e-9 for before, later in pairwise(expected_s))


class TestTime:
    def anchors(self, bag):
        return [body for batch in bag.batches() for body in bodies(batch, AnchorBody)]

    def test_the_hub_s_word_is_stored_when_it_is_news_also_outside_a_visit(self, bag):
        utc_us = bag.clock.utc_us()
        heard = [Anchor(bag.clock.t_ns, utc_us, doubt_us, Source.HUB) for doubt_us in (30_000, 50_000, 5_000)]
        for anchor in heard:
            bag.recorder.hub_time(anchor)
        run(bag.recorder.cut())
        told = [(a.source, a.uncertainty_us) for a in self.anchors(bag) if a.source is Source.HUB]
        assert told == [(Source.HUB, 30_000), (Source.HUB, 5_000)]

    def test_the_next_boot_knows_that_this_time_has_been(self, bag):
        bag.recorder.hub_time(Anchor(bag.clock.t_ns, bag.clock.utc_us() + 10**15, 0, Source.HUB))
        run(bag.recorder.cut())
        again = bag.power_cut()
        assert again.recorder.time.best().source is Source.FLOOR
        assert again.recorder.time.floor_us == bag.clock.utc_us() + 10**15
        again.outbox.close()

    def test_that_ntp_vouches_is_stored_soon_and_every_ten_minutes(self, bag, tmp_path):
        bag.recorder.time._synchronised = tmp_path / "synchronized"
        bag.clock.utc += 10**15

        async def main():
            task = asyncio.create_task(bag.recorder.cut_every(lambda: 0.005))
            for _ in range(25):
                bag.clock.forward(60)
                await until(lambda: bag.recorder._looked_ns == bag.clock.t_ns)
                (tmp_path / "synchronized").touch()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await bag.recorder.cut()

        asyncio.run(main())
        told = [anchor.source for anchor in self.anchors(bag)]
        assert told == [Source.FLOOR, Source.NTP, Source.NTP, Source.NTP]


class TestVisits:
    def test_outside_a_visit_nothing_is_taken(self, bag):
        bag.recorder.add([bag.reading(97), bag.block(0)])
        run(bag.recorder.cut())
        (batch,) = bag.batches()
        assert not bodies(batch, (ReadingBody, Waveform))

    def test_every_batch_carries_its_visit(self, bag):
        async def main():
            await bag.recorder.cut()
            bag.recorder.open_visit(bag.visit(1), resumed=False)
            bag.recorder.add([bag.reading(97)])
            await bag.recorder.close_visit()
            bag.recorder.add([bag.reading(11)])
            bag.recorder.open_visit(bag.visit(2), resumed=False)
            bag.recorder.add([bag.reading(98)])
            await bag.recorder.cut()

        asyncio.run(main())
        _, first, second = bag.batches()
        assert (first.visit, second.visit) == (bytes([1]) * 16, bytes([2]) * 16)
        assert [b.value for b in bodies(first, ReadingBody)] == [97]
        assert [b.value for b in bodies(second, ReadingBody)] == [98]
        assert bodies(first, VisitBody) == [VisitBody(VisitStep.OPEN, "0001"), VisitBody(VisitStep.CLOSE, "0001")]

    def test_what_comes_while_a_visit_s_end_is_being_written_joins_no_visit(self, bag):
        """The next patient's batch must not hold what the last one's instruments still said."""

        async def main():
            bag.recorder.open_visit(bag.visit(1), resumed=False)
            closing = asyncio.create_task(bag.recorder.close_visit())
            await asyncio.sleep(0)  # the commit is under way
            bag.recorder.add([bag.reading(55), bag.block(0)])
            await closing
            bag.clock.forward(1)
            bag.recorder.open_visit(bag.visit(2), resumed=False)
            await bag.recorder.cut()

        asyncio.run(main())
        assert not [b for batch in bag.batches() for b in bodies(batch, (ReadingBody, Waveform))]

    def test_what_was_measured_before_the_visit_is_left_out_and_counted(self, bag):
        async def main():
            bag.recorder.open_visit(bag.visit(), resumed=False)
            bag.clock.forward(1)
            bag.recorder.add([bag.reading(90, ago_s=5), bag.block(0, ago_s=1.001), bag.reading(97, ago_s=0.5)])
            bag.recorder.add([InstrumentEvent("berry-bm1000", bag.clock.t_ns - 2_000_000_000)])
            await bag.recorder.cut()

        asyncio.run(main())
        (batch,) = bag.batches()
        assert [b.value for b in bodies(batch, ReadingBody)] == [97]
        assert not bodies(batch, Waveform)
        assert bag.recorder.too_old == 3

    def test_every_step_of_a_visit_names_the_badge_that_had_the_bag(self, bag):
        visit = dataclasses.replace(bag.visit(1), holder=b"nurse1")

        async def main():
            bag.recorder.open_visit(visit, resumed=False)
            await bag.recorder.cut()
            await bag.recorder.close_visit()

        asyncio.run(main())
        found = [body for batch in bag.batches() for body in bodies(batch, VisitBody)]
        assert found == [VisitBody(step, "0001", b"nurse1") for step in (VisitStep.OPEN, VisitStep.CLOSE)]

    @pytest.mark.parametrize("holder", [None, b"nurse1"])
    def test_an_open_visit_survives_a_restart_of_the_same_boot(self, bag, holder):
        visit = dataclasses.replace(bag.visit(7), holder=holder)

        async def main():
            bag.recorder.open_visit(visit, resumed=False)
            await bag.recorder.cut()
            bag.clock.forward(600)
            bag.recorder.add([bag.reading(97)])
            await bag.recorder.cut()

        asyncio.run(main())
        again = bag.power_cut()
        assert again.recorder.kept_visit() == (visit, bag.clock.now_ns())
        again.clock.boot_id = bytes(16)
        assert again.recorder.kept_visit() is None
        again.outbox.close()

    def test_a_long_visit_is_known_by_when_it_was_last_at_work(self, bag):
        async def main():
            bag.recorder.open_visit(bag.visit(), resumed=False)
            bag.clock.forward(1800)
            bag.recorder.add([bag.block(0)])
            await bag.recorder.cut()

        asyncio.run(main())
        visit, seen_ns = bag.recorder.kept_visit()
        assert seen_ns - visit.t_ns == 1800 * 10**9

    def test_a_closed_one_does_not(self, bag):
        async def main():
            bag.recorder.open_visit(bag.visit(), resumed=False)
            await bag.recorder.cut()
            await bag.recorder.close_visit()
            await bag.recorder.close_visit()

        asyncio.run(main())
        assert bag.recorder.kept_visit() is None
        again = bag.power_cut()
        assert again.recorder.kept_visit() is None
        again.outbox.close()


class TestRows:
    def test_a_cut_offers_and_commits_the_same_bytes(self, bag):
        async def main():
            bag.recorder.open_visit(bag.visit(), resumed=False)
            bag.recorder.add([bag.block(0), bag.block(10)])
            await bag.recorder.cut()

        asyncio.run(main())
        epoch = bag.recorder.epoch.id
        assert bag.outbox.now(bag.outbox.box.read, epoch, 1, 9, 10**6) == bag.offered
        reader = RecordReader()
        items = [item for batch in bag.read(bag.offered) for item in reader.read(batch)]
        (block,) = [item for item in items if isinstance(item, SampleBlock)]
        assert block.samples.tolist() == list(range(20))
        assert bag.delivery.unreceipted() == 2
        assert bag.recorder.rows_committed == 1

    def test_nothing_new_writes_nothing(self, bag):
        run(bag.recorder.cut(), bag.recorder.cut(), bag.recorder.cut())
        assert bag.recorder.rows_committed == 1

    def test_receipts_ride_in_the_next_cut(self, bag):
        epoch = bag.recorder.epoch.id

        async def main():
            await bag.recorder.cut()
            bag.recorder.receipted(EpochReceipt(epoch, -1, ((1, 1),)))
            assert len(bag.on_board()) == 1
            await bag.recorder.cut()

        asyncio.run(main())
        assert bag.on_board() == [(epoch, 0, 0)]

    def test_an_epoch_that_is_over_and_receipted_leaves_the_disk(self, bag):
        run(bag.recorder.cut())
        old = bag.recorder.epoch.id
        again = bag.power_cut()

        async def main():
            news = again.delivery.receipted(EpochReceipt(old, 1, ()))
            again.recorder.receipted(news)
            await again.recorder.cut()
            await again.recorder.cut()

        asyncio.run(main())
        assert [epoch for epoch, _, _ in again.on_board()] == [again.recorder.epoch.id]
        again.outbox.close()

    def test_urgent_rows_do_not_wait_for_the_pace(self, bag):
        async def main():
            task = asyncio.create_task(bag.recorder.cut_every(lambda: 60.0))
            await asyncio.sleep(0.01)
            bag.recorder.open_visit(bag.visit(), resumed=False)
            await until(lambda: bag.recorder.rows_committed)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        asyncio.run(main())
        assert bag.recorder.rows_committed == 1


class TestFailingDisk:
    def test_rows_still_go_live_and_are_committed_in_order_when_it_recovers(self, bag):
        async def main():
            bag.recorder.open_visit(bag.visit(), resumed=False)
            await bag.recorder.cut()
            with failing_disk(bag):
                for value in (1, 2, 3):
                    bag.recorder.add([bag.reading(value)])
                    await bag.recorder.cut()
            assert [row.seq for row in bag.offered] == [1, 2, 3, 4]
            assert "disk I/O error" in bag.recorder.disk_error
            assert bag.on_board() == [(bag.recorder.epoch.id, 0, 1)]
            await bag.recorder.cut()
            assert not bag.recorder.disk_error

        asyncio.run(main())
        assert bag.on_board() == [(bag.recorder.epoch.id, 0, 4)]
        assert [b.value for batch in bag.batches() for b in bodies(batch, ReadingBody)] == [1, 2, 3]

    def test_what_the_hub_has_meanwhile_is_kept_in_memory_no_longer(self, bag):
        epoch = bag.recorder.epoch.id

        async def main():
            with failing_disk(bag):
                for value in range(50):
                    bag.recorder.open_visit(bag.visit(value % 7), resumed=False)
                    await bag.recorder.cut()
                    row = bag.offered[-1]
                    bag.delivery.sent(row.epoch, row.seq, row.seq, 0.0)
                    bag.recorder.receipted(bag.delivery.receipted(EpochReceipt(epoch, row.seq, ())))
                assert len(bag.recorder._uncommitted) <= 2
            await bag.recorder.cut()

        asyncio.run(main())
        assert bag.on_board() == [(epoch, 0, 0)]

    def test_a_kept_value_that_changed_meanwhile_is_written_as_it_is_now(self, bag):
        async def main():
            with failing_disk(bag):
                bag.recorder.open_visit(bag.visit(1), resumed=False)
                await bag.recorder.cut()
                await bag.recorder.close_visit()
                bag.recorder.open_visit(bag.visit(2), resumed=False)
                await bag.recorder.cut()
            await bag.recorder.cut()

        asyncio.run(main())
        assert bag.recorder.kept_visit()[0] == bag.visit(2)

    def test_memory_holds_so_much_and_then_the_oldest_waveforms_give_way(self, bag, monkeypatch):
        monkeypatch.setattr("agent.recorder.MOST_WAITING_BYTES", 6000)

        async def main():
            bag.recorder.open_visit(bag.visit(), resumed=False)
            await bag.recorder.cut()
            with failing_disk(bag):
                for value in range(60):
                    bag.recorder.add([bag.block(100 * value, 100), bag.reading(value)])
                    await bag.recorder.cut()
                assert sum(len(row.payload) for row in bag.recorder._uncommitted) < 6000 + 500
            await bag.recorder.cut()
            await bag.recorder.cut()

        asyncio.run(main())
        assert bag.recorder.rows_given_way > 10
        batches = bag.batches()
        assert [b.value for batch in batches for b in bodies(batch, ReadingBody)] == list(range(60))
        said = {seq for batch in batches for b in bodies(batch, GaveWayBody) for seq in range(b.first, b.last + 1)}
        on_board = {seq for _, a, b in bag.on_board() for seq in range(a, b + 1)}
        assert said == set(range(bag.recorder.epoch.last + 1)) - on_board

    def test_an_agent_starts_on_a_full_disk_and_drains_it(self, bag, monkeypatch):
        async def fill():
            bag.recorder.open_visit(bag.visit(), resumed=False)
            for seq in range(60):
                bag.recorder.add([bag.block(100 * seq, 100)])
                await bag.recorder.cut()

        asyncio.run(fill())
        old = bag.recorder.epoch.id
        really = Outbox._transaction

        def full(box, rows, *rest, **more):
            """Not a page is free until rows have left."""
            if rows and box.counts().rows > 30:
                raise sqlite3.OperationalError("database or disk is full")
            really(box, rows, *rest, **more)

        monkeypatch.setattr(Outbox, "_transaction", full)
        again = bag.power_cut()
        assert "full" in again.recorder.disk_error

        async def drain():
            again.recorder.receipted(again.delivery.receipted(EpochReceipt(old, 50, ())))
            await again.recorder.cut()
            await again.recorder.cut()

        asyncio.run(drain())
        assert not again.recorder.disk_error
        assert again.on_board()[-1] == (again.recorder.epoch.id, 0, 1)
        again.outbox.close()


def test_a_mark_is_a_row_of_its_own_that_says_where_the_clock_stands(bag):
    async def marked():
        bag.recorder.open_visit(bag.visit(), resumed=False)
        bag.recorder.add([bag.reading(97)])
        assert await bag.recorder.mark() == (bag.recorder.epoch.id, bag.recorder.epoch.last)

    run(marked())
    *_, before, mark = bag.batches()
    assert bodies(before, ReadingBody)
    assert [type(record.body) for record in mark.records] == [AnchorBody]


def test_a_file_is_stored_at_once_and_leaves_as_backlog(bag):
    instrument = Instrument("imported-file", "a file")
    data = bytes(range(256)) * 1500  # six pieces, two rows

    async def stored():
        with pytest.raises(StateError, match="none is open"):
            await bag.recorder.store_file(instrument, [])
        bag.recorder.open_visit(bag.visit(), resumed=False)
        bag.recorder.add([bag.reading(97)])
        offered = len(bag.offered)
        await bag.recorder.store_file(instrument, cut_file(instrument.key, bag.clock.t_ns, Media.PDF, data))
        return len(bag.offered) - offered

    assert asyncio.run(stored()) == 1  # the reading's row is offered live, the file's are not
    *_, first, second = bag.batches()
    pieces = [body for batch in (first, second) for body in bodies(batch, FileBody)]
    assert {batch.visit for batch in (first, second)} == {bag.visit().id}
    assert b"".join(piece.data for piece in pieces) == data
