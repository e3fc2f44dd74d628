"""The hub's database: every row once, on disk before its receipt.

SQLite, WAL, synchronous=FULL; a row's key is (device, epoch, seq), so a row that comes twice is stored once.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from agent import layout
from agent.errors import StateError
from agent.transport.messages import Batch
from agent.transport.ranges import SeqSet
from hub import custody, dating

_SCHEMA = """
CREATE TABLE IF NOT EXISTS epochs (
  no INTEGER PRIMARY KEY, device TEXT NOT NULL, epoch BLOB NOT NULL, header BLOB NOT NULL,
  UNIQUE (device, epoch)) STRICT;
CREATE TABLE IF NOT EXISTS rows (
  device TEXT NOT NULL, epoch BLOB NOT NULL, seq INTEGER NOT NULL, t_us INTEGER, visit BLOB,
  plaintext BLOB NOT NULL, arrived_us INTEGER NOT NULL, in_commit INTEGER NOT NULL,
  PRIMARY KEY (device, epoch, seq)) STRICT;
CREATE TABLE IF NOT EXISTS holes (
  device TEXT NOT NULL, epoch BLOB NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
  PRIMARY KEY (device, epoch, first)) STRICT;
CREATE TABLE IF NOT EXISTS visits (
  device TEXT NOT NULL, visit BLOB NOT NULL, code TEXT NOT NULL, open INTEGER NOT NULL, demo INTEGER NOT NULL,
  PRIMARY KEY (device, visit)) STRICT;
CREATE TABLE IF NOT EXISTS commits (no INTEGER PRIMARY KEY, ended_us INTEGER) STRICT;
"""
_STEPS = (  # from each layout to the next
    # 0 to 1: headers say the version of the wire, which was 1
    """UPDATE epochs SET header = CAST(substr(header, 1, 7) || x'01' || substr(header, 8) AS BLOB);
       UPDATE rows SET plaintext = CAST(substr(plaintext, 1, 7) || x'01' || substr(plaintext, 8) AS BLOB)
       WHERE seq = 0""",
)


@dataclass(frozen=True, slots=True)
class Arrived:
    """A row to store: opened, and decoded where it could be (`t_us` is None where not: kept for a newer hub)."""

    device: str
    epoch: bytes
    seq: int
    t_us: int | None
    visit: bytes | None
    plaintext: bytes
    arrived_us: int


@dataclass(frozen=True, slots=True)
class VisitChange:
    """A visit opened or closed."""

    device: str
    visit: bytes
    code: str
    open: bool
    demo: bool


@dataclass(frozen=True, slots=True)
class Holes:
    """All rows of an epoch that will never come, as ranges: on no disk when the bag ended, or on a full one."""

    device: str
    epoch: bytes
    ranges: tuple[tuple[int, int], ...]


class Store:
    """The database; every method runs in the one thread that made it."""

    def __init__(self, path: Path) -> None:
        try:
            self._db = sqlite3.connect(path, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            layout.prepare(self._db, _SCHEMA + custody.SCHEMA + dating.SCHEMA, _STEPS)
        except StateError as error:
            self._db.close()
            raise StateError(f"cannot use the hub's database {path}: {error}") from None
        except sqlite3.Error as error:
            raise StateError(
                f"cannot use the hub's database {path}: {error}\nNext: check its folder and disk"
            ) from None
        self._commit_no = self._db.execute("SELECT coalesce(max(no), 0) FROM commits").fetchone()[0]
        self._ended_us: int | None = None

    def close(self) -> None:
        """Close the database, noting when the last commit ended."""
        with suppress(sqlite3.Error):  # it only tells how long a commit took
            self._note_end()
        self._db.close()

    def commit(
        self,
        headers: Iterable[Arrived] = (),
        rows: Iterable[Arrived] = (),
        visits: Iterable[VisitChange] = (),
        holes: Iterable[Holes] = (),
        entries: Iterable[tuple[str, bytes, int]] = (),
        batches: Iterable[tuple[str, bytes, Batch]] = (),
    ) -> int:
        """Store everything in one transaction; give how many rows were news. StateError when the disk refuses.

        `batches` are (device, boot id, batch): what they say of the time is kept apart, to date everything of a boot.
        """
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._note_end()
            self._commit_no += 1
            self._db.execute("INSERT INTO commits VALUES (?, NULL)", (self._commit_no,))
            news = 0
            for header in headers:
                self._db.execute(
                    "INSERT OR IGNORE INTO epochs (device, epoch, header) VALUES (?, ?, ?)",
                    (header.device, header.epoch, header.plaintext),
                )
                news += self._insert(header)
            for row in rows:
                news += self._insert(row)
            for visit in visits:
                self._db.execute(
                    "INSERT INTO visits VALUES (?, ?, ?, ?, ?)"
                    " ON CONFLICT DO UPDATE SET open = min(open, excluded.open)",
                    (visit.device, visit.visit, visit.code, visit.open, visit.demo),
                )
            for hole in holes:
                self._db.execute("DELETE FROM holes WHERE device = ? AND epoch = ?", (hole.device, hole.epoch))
                self._db.executemany(
                    "INSERT INTO holes VALUES (?, ?, ?, ?)", [(hole.device, hole.epoch, *r) for r in hole.ranges]
                )
            for device, entry, arrived_s in entries:
                custody.keep(self._db, device, entry, arrived_s)
            for device, boot_id, batch in batches:
                dating.keep(self._db, device, boot_id, batch)
            self._db.execute("COMMIT")
        except BaseException as error:
            with suppress(sqlite3.Error):
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise StateError(f"the hub's database cannot be written: {error}\nNext: check its disk") from None
            raise
        return news

    def ended(self, now_us: int) -> None:
        """Note when the last commit was on disk; written with the next one."""
        self._ended_us = now_us

    def _note_end(self) -> None:
        if self._ended_us is not None:
            self._db.execute("UPDATE commits SET ended_us = ? WHERE no = ?", (self._ended_us, self._commit_no))
            self._ended_us = None

    def _insert(self, row: Arrived) -> int:
        cursor = self._db.execute(
            "INSERT OR IGNORE INTO rows VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (row.device, row.epoch, row.seq, row.t_us, row.visit, row.plaintext, row.arrived_us, self._commit_no),
        )
        return cursor.rowcount

    def custody(self) -> list[tuple[str, bytes, int]]:
        """Every custody entry as (device, entry, UTC second of arrival)."""
        return list(custody.stored(self._db))

    def dating(self, device: str, boot_id: bytes) -> dating.Dating:
        """What dates the boot times of one boot of a bag."""
        return dating.stored(self._db, device, boot_id)

    def visit_ends(self) -> Iterator[tuple[str, bytes, bytes, bytes]]:
        """The (device, visit, header, plaintext) of the first and last row of every visit in every epoch, in order."""
        yield from self._db.execute(
            "SELECT r.device, r.visit, e.header, r.plaintext FROM rows r"
            " JOIN (SELECT device, epoch, visit, min(seq) AS first, max(seq) AS last FROM rows"
            "       WHERE visit IS NOT NULL GROUP BY device, epoch, visit) v"
            " ON r.device = v.device AND r.epoch = v.epoch AND r.seq IN (v.first, v.last)"
            " JOIN epochs e ON e.device = r.device AND e.epoch = r.epoch ORDER BY r.t_us"
        )

    def headers(self) -> Iterator[tuple[str, bytes]]:
        """Every epoch's (device, header row), oldest first."""
        yield from self._db.execute("SELECT device, header FROM epochs ORDER BY no")

    def have(self, device: str, epoch: bytes) -> SeqSet:
        """The rows of an epoch that are on disk."""
        found = SeqSet()
        for (seq,) in self._db.execute(
            "SELECT seq FROM rows WHERE device = ? AND epoch = ? ORDER BY seq", (device, epoch)
        ):
            found.add(seq)
        return found

    def open_visits(self) -> list[VisitChange]:
        """Visits that were opened and not closed."""
        found = self._db.execute("SELECT device, visit, code, open, demo FROM visits WHERE open")
        return [
            VisitChange(device, visit, code, bool(is_open), bool(demo)) for device, visit, code, is_open, demo in found
        ]

    def visit_codes(self, device: str) -> list[tuple[bytes, str]]:
        """Every visit of a bag with its code."""
        return list(self._db.execute("SELECT visit, code FROM visits WHERE device = ?", (device,)))

    def visit_rows(self, device: str, visit: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The (epoch, plaintext) of every row of a visit, each epoch's in order."""
        yield from self._db.execute(
            "SELECT epoch, plaintext FROM rows WHERE device = ? AND visit = ? AND seq > 0 ORDER BY epoch, seq",
            (device, visit),
        )

    def holes(self, device: str, epoch: bytes) -> list[tuple[int, int]]:
        """The rows of an epoch that will never come, as ranges."""
        return list(
            self._db.execute(
                "SELECT first, last FROM holes WHERE device = ? AND epoch = ? ORDER BY first", (device, epoch)
            )
        )

    def all_holes(self) -> list[tuple[str, bytes, int, int]]:
        """Every (device, epoch, first, last) that will never come."""
        return list(self._db.execute("SELECT device, epoch, first, last FROM holes"))

    def plaintexts(self, device: str, epoch: bytes) -> Iterator[tuple[int, bytes]]:
        """An epoch's (seq, plaintext) in order, its header (seq 0) left out."""
        yield from self._db.execute(
            "SELECT seq, plaintext FROM rows WHERE device = ? AND epoch = ? AND seq > 0 ORDER BY seq", (device, epoch)
        )
