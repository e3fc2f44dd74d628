"""The outbox: sealed rows on disk until the hub's own receipt says it has them.

SQLite, WAL, synchronous=FULL. A row's place is `epoch number << 32 | sequence`, one integer key, so rows come out in
order and a cumulative receipt is one range delete. Deletes ride in the next commit. The epoch's last committed
sequence is written in the same transaction as its rows; an epoch's header (row 0) stays for as long as the epoch has
rows or runs. One thread owns the connection: fsync never runs in the loop. Pages are small: a commit writes each page
that it touches twice, so a second of waveforms costs half of what it does with pages of 4 kB.

Every method raises StateError, and nothing else, when the disk refuses.
"""

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from agent import layout, ledger
from agent.errors import StateError
from agent.room import BALLAST_BYTES, CAP_BYTES, SCHEMA, SEQ_BITS, SEQ_MASK, GaveWay, Room
from agent.transport.epoch import OutRow
from agent.transport.messages import EpochReceipt, PreviousEpoch

T = TypeVar("T")
CHAIN_BYTES = 8
_CHAIN = "chain"
_PAGE_BYTES = 1024
_SCHEMA = """
CREATE TABLE IF NOT EXISTS rows
  (place INTEGER PRIMARY KEY, payload BLOB NOT NULL, bulk INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS epochs
  (no INTEGER PRIMARY KEY, epoch BLOB NOT NULL UNIQUE, committed INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS kept (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
"""  # and the custody log, ledger.SCHEMA
_STEPS = (  # from each layout to the next
    # 0 to 1: headers say the version of the wire, which was 1
    """UPDATE rows SET payload = CAST(substr(payload, 1, 7) || x'01' || substr(payload, 8) AS BLOB)
       WHERE NOT place & 0xffffffff""",
)


class Lock:
    """One agent per state directory: an flock held for the process's life."""

    def __init__(self, state_dir: Path) -> None:
        try:
            state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = (state_dir / "lock").open("a+")
        except OSError as error:
            raise StateError(
                f"cannot write the state directory {state_dir}: {error.strerror}\n"
                f"Next: ls -ld {state_dir}; it must belong to the user that runs besace (or set bag.state_dir)"
            ) from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.seek(0)
            holder = self._file.read().strip() or "unknown"
            self._file.close()
            raise StateError(
                f"another agent (process {holder}) already uses {state_dir}: two would mix two outboxes\n"
                "Next: systemctl stop besace, or give this one another bag.state_dir"
            ) from None
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()

    def release(self) -> None:
        """Let another agent in."""
        self._file.close()


@dataclass(frozen=True, slots=True)
class Counts:
    """What is on board: rows and their bytes."""

    rows: int
    payload_bytes: int


class Outbox:
    """The database itself; every method runs in the one thread that made it."""

    def __init__(self, path: Path, *, cap_bytes: int = CAP_BYTES, ballast_bytes: int = BALLAST_BYTES) -> None:
        try:
            self._db = sqlite3.connect(path, isolation_level=None)
            self._db.execute(f"PRAGMA page_size={_PAGE_BYTES}")
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            layout.prepare(self._db, _SCHEMA + SCHEMA + ledger.SCHEMA, _STEPS)
            self.room = Room(self._db, path, cap_bytes=cap_bytes, ballast_bytes=ballast_bytes)
            self._db.execute("INSERT OR IGNORE INTO kept VALUES (?, ?)", (_CHAIN, os.urandom(CHAIN_BYTES)))
            self._numbers = self._read_numbers()
        except StateError as error:
            self._db.close()
            raise StateError(f"cannot use the outbox {path}: {error}") from None
        except sqlite3.Error as error:
            raise StateError(
                f"cannot use the outbox {path}: {error}\n"
                "Next: besace doctor; a damaged outbox is set aside by hand, never erased"
            ) from None
        self._begun = max(self._numbers.values(), default=0)

    def close(self) -> None:
        """Close the database; what was committed stays."""
        self._db.close()

    @contextmanager
    def _said(self, what: str) -> Iterator[None]:
        """Turn the library's errors into ours."""
        try:
            yield
        except sqlite3.Error as error:
            raise StateError(f"the outbox cannot be {what}: {error}\nNext: besace doctor") from None

    def _read_numbers(self) -> dict[bytes, int]:
        return dict(self._db.execute("SELECT epoch, no FROM epochs"))

    def chain(self) -> bytes:
        """Eight random bytes that name this outbox for as long as it exists."""
        return self.kept(_CHAIN) or b""

    def next_number(self) -> int:
        """A number for the next epoch, above that of every epoch begun here; in memory, for any thread."""
        self._begun += 1
        return self._begun

    def previous(self) -> PreviousEpoch | None:
        """The newest epoch ever begun here and its last committed row."""
        with self._said("read"):
            found = self._db.execute("SELECT epoch, committed FROM epochs ORDER BY no DESC LIMIT 1").fetchone()
        return PreviousEpoch(*found) if found else None

    def commit(
        self,
        rows: Sequence[OutRow] = (),
        receipts: Sequence[EpochReceipt] = (),
        keep: Mapping[str, bytes | None] | None = None,
        done: Sequence[bytes] = (),
        entries: Sequence[ledger.Entry] = (),
        declared: Sequence[GaveWay] = (),
    ) -> list[GaveWay]:
        """One transaction: rows and custody entries in, receipted rows out, small values kept, done epochs forgotten.

        Gives everything that gave way to them and that no row on board declares yet. StateError when the disk refuses:
        then nothing of it happened, but receipted rows leave all the same where they can, and on a full disk the oldest
        waveforms, since nothing new comes in before something went out.
        """
        with self._said("written"):
            try:
                self._transaction(rows, receipts, keep or {}, done, entries, declared)
            except sqlite3.Error as error:
                full = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
                if not rows or not (receipts or done or full):
                    raise
                self._relieve(rows if full else (), receipts, done)
                if not full:
                    raise
                self._transaction(rows, receipts, keep or {}, done, entries, declared)
            self.room.take_ballast()
            return self.room.gave_way()

    def _relieve(self, rows: Sequence[OutRow], receipts: Sequence[EpochReceipt], done: Sequence[bytes]) -> None:
        """Let out what may go, so that rows can come in; whatever fails here, the caller tells of its own failure."""
        if rows:
            self.room.throw_ballast()
        with suppress(sqlite3.Error):
            self._transaction((), receipts, {}, done, (), (), least_bytes=sum(2 * len(row.payload) for row in rows))
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _transaction(
        self,
        rows: Sequence[OutRow],
        receipts: Sequence[EpochReceipt],
        keep: Mapping[str, bytes | None],
        done: Sequence[bytes],
        entries: Sequence[ledger.Entry],
        declared: Sequence[GaveWay],
        *,
        least_bytes: int = 0,
    ) -> None:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for entry in entries:
                ledger.append(self._db, entry)
            for receipt in receipts:
                self._forget(receipt)
            for row in self.room.make(rows, self._names().__getitem__, least_bytes=least_bytes):
                number = self._number(row.epoch)
                if not _has(receipts, row):
                    place = number << SEQ_BITS | row.seq
                    self._db.execute("INSERT INTO rows VALUES (?, ?, ?)", (place, row.payload, row.bulk))
                self._db.execute("UPDATE epochs SET committed = max(committed, ?) WHERE no = ?", (row.seq, number))
            self.room.declared(declared)
            for epoch in done:
                self._forget_epoch(epoch)
            for name, value in keep.items():
                if value is None:
                    self._db.execute("DELETE FROM kept WHERE name = ?", (name,))
                else:
                    self._db.execute("INSERT OR REPLACE INTO kept VALUES (?, ?)", (name, value))
            self._db.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                self._numbers = self._read_numbers()
            raise

    def _names(self) -> dict[int, bytes]:
        return {number: epoch for epoch, number in self._numbers.items()}

    def _number(self, epoch: bytes) -> int:
        number = self._numbers.get(epoch)
        if number is None:
            cursor = self._db.execute("INSERT INTO epochs (epoch, committed) VALUES (?, -1)", (epoch,))
            number = self._numbers[epoch] = int(cursor.lastrowid or 0)
        return number

    def _forget(self, receipt: EpochReceipt) -> None:
        number = self._numbers.get(receipt.epoch)
        if number is None:
            return
        for first, last in ((0, receipt.upto), *receipt.ranges):
            place = number << SEQ_BITS
            self._db.execute("DELETE FROM rows WHERE place BETWEEN ? AND ?", (place | max(first, 1), place + last))

    def _forget_epoch(self, epoch: bytes) -> None:
        """Forget an epoch that is over and has no rows but its header; the newest stays, to be named by the next."""
        number = self._numbers.get(epoch, 0)
        place = number << SEQ_BITS
        rest = self._db.execute("SELECT 1 FROM rows WHERE place BETWEEN ? AND ?", (place | 1, place | SEQ_MASK))
        if not number or number == max(self._numbers.values()) or rest.fetchone():
            return
        self._db.execute("DELETE FROM rows WHERE place = ?", (place,))
        self._db.execute("DELETE FROM epochs WHERE no = ?", (number,))
        del self._numbers[epoch]

    def wipe(self) -> None:
        """Erase every row the hub does not have, and the open visit's mark; what the rows held is nowhere in the file.

        Custody log, headers and numbers stay: the next process tells the hub which rows will never come.
        """
        with self._said("erased"):
            self._db.execute("PRAGMA secure_delete = ON")
            self._db.execute("BEGIN IMMEDIATE")
            self.room.wipe(self._names().__getitem__)
            self._db.execute("DELETE FROM kept WHERE name IN ('visit', 'visit_seen')")
            self._db.execute("COMMIT")
            self._db.execute("VACUUM")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def unreceipted(self) -> list[tuple[bytes, int, int]]:
        """The rows on board as (epoch, first, last) ranges, oldest epoch first."""
        epochs = self._names()
        found: list[tuple[bytes, int, int]] = []
        with self._said("read"):
            for (place,) in self._db.execute("SELECT place FROM rows ORDER BY place"):
                epoch, seq = epochs[place >> SEQ_BITS], place & SEQ_MASK
                if found and found[-1][0] == epoch and found[-1][2] == seq - 1:
                    found[-1] = (epoch, found[-1][1], seq)
                else:
                    found.append((epoch, seq, seq))
        return found

    def read(self, epoch: bytes, first: int, last: int, max_bytes: int) -> list[OutRow]:
        """Rows `first`..`last` of an epoch, in order, up to `max_bytes` but at least one.

        Rows in front of one that cannot be read are given; StateError when the first cannot be read.
        """
        number = self._numbers.get(epoch)
        if number is None:
            return []
        place = number << SEQ_BITS
        rows: list[OutRow] = []
        size = 0
        wanted = (place | first, place | last)
        try:
            with self._said("read"):
                for at, payload in self._db.execute(
                    "SELECT place, payload FROM rows WHERE place BETWEEN ? AND ? ORDER BY place", wanted
                ):
                    size += len(payload)
                    if rows and size > max_bytes:
                        break
                    rows.append(OutRow(epoch, at & SEQ_MASK, payload))
        except StateError:
            if not rows:
                raise
        return rows

    def ledger(self) -> list[bytes]:
        """The custody log, from its first entry."""
        with self._said("read"):
            return ledger.stored(self._db)

    def kept(self, name: str) -> bytes | None:
        """A small value that survives a power loss."""
        with self._said("read"):
            found = self._db.execute("SELECT value FROM kept WHERE name = ?", (name,)).fetchone()
        return found[0] if found else None

    def counts(self) -> Counts:
        """How much is on board."""
        with self._said("read"):
            rows, size = self._db.execute("SELECT count(*), coalesce(sum(length(payload)), 0) FROM rows").fetchone()
        return Counts(rows, size)


def _has(receipts: Sequence[EpochReceipt], row: OutRow) -> bool:
    """Whether the hub has a row already, which then needs no disk here; a header stays."""
    return row.seq > 0 and any(
        receipt.epoch == row.epoch
        and (row.seq <= receipt.upto or any(first <= row.seq <= last for first, last in receipt.ranges))
        for receipt in receipts
    )


class OutboxThread:
    """The outbox as the loop sees it: every call runs in its one thread, in order."""

    def __init__(self, path: Path, *, cap_bytes: int = CAP_BYTES) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="outbox")
        try:
            self.box: Outbox = self._executor.submit(partial(Outbox, path, cap_bytes=cap_bytes)).result()
        except BaseException:
            self._executor.shutdown()
            raise

    def now(self, method: Callable[..., T], *args: Any) -> T:
        """Call a method of the outbox and wait, before the loop runs."""
        return self._executor.submit(method, *args).result()

    async def call(self, method: Callable[..., T], *args: Any) -> T:
        """Call a method of the outbox without blocking the loop."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, method, *args)

    def close(self) -> None:
        """Finish what was asked, then close."""
        self._executor.submit(self.box.close).result()
        self._executor.shutdown()
