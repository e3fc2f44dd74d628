"""The outbox: in order, on disk when it says so, one agent at a time, and nothing leaves but on a receipt."""

import asyncio
import sqlite3
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import StateError
from agent.outbox import Counts, Lock, Outbox, OutboxThread
from agent.transport.epoch import OutRow
from agent.transport.messages import EpochReceipt, PreviousEpoch

A, B = b"epochA", b"epochB"
EVERY_BYTE = bytes(range(256))


def row(epoch, seq, payload=None):
    return OutRow(epoch, seq, payload or bytes([seq % 256]))


def rows(epoch, *seqs):
    return [row(epoch, seq) for seq in seqs]


@pytest.fixture
def box(tmp_path):
    box = Outbox(tmp_path / "outbox.sqlite")
    yield box
    box.close()


class TestRows:
    def test_they_come_out_in_the_order_of_epochs_and_numbers(self, box):
        box.commit(rows(B, 0, 1))
        box.commit(rows(A, 0, 2, 1))
        assert box.unreceipted() == [(B, 0, 1), (A, 0, 2)]
        assert box.read(A, 0, 9, 1000) == rows(A, 0, 1, 2)

    def test_they_come_out_byte_for_byte(self, box):
        box.commit([row(A, 0, bytes(range(256)) * 400)])
        assert box.read(A, 0, 0, 1)[0].payload == bytes(range(256)) * 400

    def test_a_read_has_a_budget_but_gives_one_row_at_least(self, box):
        box.commit([row(A, seq, bytes(100)) for seq in range(10)])
        assert [r.seq for r in box.read(A, 2, 9, 350)] == [2, 3, 4]
        assert [r.seq for r in box.read(A, 2, 9, 1)] == [2]
        assert [r.seq for r in box.read(A, 2, 3, 10_000)] == [2, 3]
        assert box.read(b"nobody", 0, 9, 1000) == []

    def test_they_survive_the_process(self, tmp_path):
        path = tmp_path / "outbox.sqlite"
        box = Outbox(path)
        box.commit(rows(A, 0, 1, 2), keep={"visit": b"open"})
        box.close()
        again = Outbox(path)
        assert again.unreceipted() == [(A, 0, 2)]
        assert again.kept("visit") == b"open"
        assert again.counts() == Counts(3, 3)

    def test_a_commit_is_on_disk_when_it_returns(self, box):
        assert box._db.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
        assert box._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


class TestLayouts:
    def test_headers_of_before_the_version_of_the_wire_are_told_it(self, box, tmp_path):
        box.commit([row(A, 0, b"\0epochA" + EVERY_BYTE), row(A, 1, b"\1epochA0001row"), row(B, 0, b"\0epochBother")])
        box._db.execute("PRAGMA user_version = 0")
        box.close()
        again = Outbox(tmp_path / "outbox.sqlite")
        assert [r.payload for r in again.read(A, 0, 9, 999)] == [b"\0epochA\1" + EVERY_BYTE, b"\1epochA0001row"]
        assert again.read(B, 0, 0, 99)[0].payload == b"\0epochB\1other"

    def test_an_outbox_of_a_later_software_is_refused_with_what_to_do(self, box, tmp_path):
        box._db.execute("PRAGMA user_version = 2")
        with pytest.raises(StateError, match=r"outbox\.sqlite: it has layout 2, .*\nNext: install"):
            Outbox(tmp_path / "outbox.sqlite")


class TestReceipts:
    def test_they_ride_in_the_next_commit_and_take_what_they_name(self, box):
        box.commit(rows(A, 0, 1, 2, 3, 4, 5))
        box.commit(rows(A, 6), receipts=[EpochReceipt(A, 2, ((4, 4),))])
        assert box.unreceipted() == [(A, 0, 0), (A, 3, 3), (A, 5, 6)]

    def test_minus_one_names_nothing(self, box):
        box.commit(rows(A, 0, 1))
        box.commit(rows(B, 0), receipts=[EpochReceipt(B, -1, ()), EpochReceipt(A, -1, ())])
        assert box.counts().rows == 3

    def test_they_reach_no_other_epoch_and_an_unknown_one_changes_nothing(self, box):
        box.commit(rows(A, 0, 1) + rows(B, 0, 1))
        box.commit(receipts=[EpochReceipt(A, 2**32 - 1, ()), EpochReceipt(b"nobody", 2**32 - 1, ())])
        assert box.unreceipted() == [(A, 0, 0), (B, 0, 1)]

    def test_a_header_stays_with_its_epoch(self, box):
        """A hub that lost its database could not open the rows that are left without it."""
        box.commit(rows(A, 0, 1, 2))
        box.commit(rows(B, 0), receipts=[EpochReceipt(A, 1, ())])
        box.commit(done=[A])
        assert box.unreceipted() == [(A, 0, 0), (A, 2, 2), (B, 0, 0)]
        box.commit(receipts=[EpochReceipt(A, 2, ())], done=[A])
        assert box.unreceipted() == [(B, 0, 0)]

    def test_the_running_epoch_is_never_forgotten(self, box):
        box.commit(rows(A, 0, 1))
        box.commit(receipts=[EpochReceipt(A, 1, ())], done=[A])
        assert box.previous() == PreviousEpoch(A, 1)
        assert box.unreceipted() == [(A, 0, 0)]

    def test_epochs_that_are_done_take_no_place_for_ever(self, box):
        box._db.execute("PRAGMA synchronous = OFF")  # only for the speed of this test
        names = [n.to_bytes(6) for n in range(40)]
        for name in names:
            box.commit(rows(name, 0, 1))
            box.commit(receipts=[EpochReceipt(name, 1, ())], done=names)
        assert box._db.execute("SELECT count(*) FROM epochs").fetchone() == (1,)
        assert len(box._numbers) == 1


class TestEpochs:
    def test_the_previous_epoch_s_end_survives_its_rows(self, box):
        assert box.previous() is None
        box.commit(rows(A, 0))
        assert box.previous() == PreviousEpoch(A, 0)
        box.commit(rows(A, 1, 2, 3))
        box.commit(receipts=[EpochReceipt(A, 3, ())])
        assert box.previous() == PreviousEpoch(A, 3)

    def test_the_newest_is_the_one_begun_last(self, box):
        box.commit(rows(B, 0, 1))
        box.commit(rows(A, 0))
        box.commit(rows(B, 2))
        assert box.previous() == PreviousEpoch(A, 0)

    def test_numbers_only_rise_also_over_a_restart(self, tmp_path):
        path = tmp_path / "outbox.sqlite"
        box = Outbox(path)
        chain = box.chain()
        assert [box.next_number(), box.next_number()] == [1, 2]
        box.commit(rows(A, 0))
        box.commit(rows(B, 0))
        box.commit(done=[A])
        box.close()
        again = Outbox(path)
        assert again.next_number() == 3
        assert again.chain() == chain
        assert len(chain) == 8

    def test_another_outbox_has_another_name(self, tmp_path):
        assert Outbox(tmp_path / "a").chain() != Outbox(tmp_path / "b").chain()


def test_kept_values(box):
    assert box.kept("visit") is None
    box.commit(keep={"visit": b"1", "floor": b"2"})
    box.commit(keep={"visit": b"3"})
    assert (box.kept("visit"), box.kept("floor")) == (b"3", b"2")
    box.commit(keep={"visit": None, "never was": None})
    assert (box.kept("visit"), box.kept("floor")) == (None, b"2")


class TestRefusals:
    def test_a_commit_that_fails_changes_nothing(self, box):
        box.commit(rows(A, 0, 1))
        with pytest.raises(StateError):
            box.commit([*rows(A, 2), row(A, 1)], keep={"visit": b"x"})  # row 1 is there already
        assert box.unreceipted() == [(A, 0, 1)]
        assert box.kept("visit") is None
        assert box.previous() == PreviousEpoch(A, 1)

    def test_an_epoch_that_began_in_a_failed_commit_can_begin_again(self, box):
        with pytest.raises(StateError):
            box.commit([row(A, 0), row(A, 0)])
        box.commit(rows(A, 0))
        assert box.unreceipted() == [(A, 0, 0)]

    def test_on_a_full_disk_receipted_rows_still_leave_and_make_room(self, box):
        box.commit([row(A, seq, bytes(4000)) for seq in range(50)])
        pages = box._db.execute("PRAGMA page_count").fetchone()[0]
        box._db.execute(f"PRAGMA max_page_count = {pages}")
        big = [row(A, 50, bytes(9000))]
        with pytest.raises(StateError, match="full"):
            box.commit(big)
        with pytest.raises(StateError, match="full"):
            box.commit([row(A, 50, bytes(200_000))], receipts=[EpochReceipt(A, 9, ())])
        assert box.unreceipted() == [(A, 0, 0), (A, 10, 49)]
        box.commit(big)
        assert box.unreceipted() == [(A, 0, 0), (A, 10, 50)]

    def test_a_read_only_disk(self, box):
        box._db.execute("PRAGMA query_only = 1")
        with pytest.raises(StateError, match="cannot be written: attempt to write a readonly database\nNext: "):
            box.commit(rows(A, 0))

    def test_a_damaged_row_is_met_with_what_stands_before_it(self, tmp_path):
        path = tmp_path / "outbox.sqlite"
        box = Outbox(path)
        box.commit([row(A, seq, bytes(3000)) for seq in range(200)])
        box._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        box.close()
        data = bytearray(path.read_bytes())
        data[len(data) // 2 : len(data) // 2 + 8192] = b"\xa5" * 8192
        path.write_bytes(data)
        box = Outbox(path)
        seen, at = [], 0
        refused = 0
        while at < 200:
            try:
                found = box.read(A, at, 199, 10_000)
            except StateError:
                refused += 1
                at += 1
                continue
            if not found:
                break
            seen += [r.seq for r in found if r.payload == bytes(3000)]
            at = found[-1].seq + 1
        assert seen[:50] == list(range(50))
        assert refused
        box.close()

    def test_no_database(self, tmp_path):
        path = tmp_path / "outbox.sqlite"
        path.write_bytes(b"not a database, but long enough to look like one" * 100)
        with pytest.raises(StateError, match="cannot use the outbox .*\nNext: besace doctor"):
            Outbox(path)

    def test_a_folder_that_cannot_be_written(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(StateError, match="cannot write the state directory .*\nNext: ls -ld"):
            Lock(tmp_path / "file" / "state")


class TestLock:
    def test_a_second_agent_is_refused_and_told_who_is_there(self, tmp_path):
        script = f"""
import sys
from pathlib import Path
from agent.outbox import Lock
lock = Lock(Path({str(tmp_path)!r}))
print("held", flush=True)
sys.stdin.read()
"""
        with subprocess.Popen(
            [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as other:
            assert other.stdout.readline() == "held\n"
            with pytest.raises(
                StateError, match=rf"another agent \(process {other.pid}\).*\nNext: systemctl stop besace"
            ):
                Lock(tmp_path)
            other.kill()
            other.wait()
        Lock(tmp_path).release()  # a killed agent keeps nobody out

    def test_released_and_taken_again(self, tmp_path):
        Lock(tmp_path / "new").release()
        lock = Lock(tmp_path / "new")
        assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
        lock.release()


class TestThread:
    def test_calls_run_in_order_in_one_thread_beside_the_loop(self, tmp_path):
        box = OutboxThread(tmp_path / "outbox.sqlite")
        box.now(box.box.commit, rows(A, 0))

        async def main():
            await asyncio.gather(*(box.call(box.box.commit, rows(A, seq)) for seq in range(1, 20)))
            return await box.call(box.box.unreceipted)

        assert asyncio.run(main()) == [(A, 0, 19)]
        with pytest.raises(sqlite3.ProgrammingError):
            box.box._db.execute("SELECT 1")  # not from another thread
        box.close()

    def test_what_cannot_be_opened_is_said_at_once(self, tmp_path):
        with pytest.raises(StateError):
            OutboxThread(tmp_path / "missing" / "outbox.sqlite")


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([A, B]), st.integers(1, 12), st.integers(-1, 12), st.integers(0, 12), st.booleans()),
        max_size=12,
    )
)
def test_as_a_set_of_rows(tmp_path_factory, steps):
    """Any commits, receipts and restarts: on board is what came in less what was named."""
    path = tmp_path_factory.mktemp("box") / "outbox.sqlite"
    box = Outbox(path)
    box._db.execute("PRAGMA synchronous = OFF")  # only for the speed of this test
    model, next_seq = set(), {A: 0, B: 0}
    for epoch, n, upto, first, restart in steps:
        new = [(epoch, next_seq[epoch] + i) for i in range(n)]
        next_seq[epoch] += n
        box.commit([row(*r) for r in new], [EpochReceipt(epoch, upto, ((first, first + 2),))])
        gone = set(range(upto + 1)) | set(range(first, first + 3))
        model = {r for r in model | set(new) if r[0] != epoch or r[1] == 0 or r[1] not in gone}
        if restart:
            box.close()
            box = Outbox(path)
            box._db.execute("PRAGMA synchronous = OFF")
        assert {(e, s) for e, a, b in box.unreceipted() for s in range(a, b + 1)} == model
        assert {(e, r.seq) for e in (A, B) for r in box.read(e, 0, 999, 10**6)} == model
    box.close()
