"""Room on the card: what gives way when the outbox fills up, and the way out of a full disk.

A row of waveforms alone is bulk. From SOFT_SHARE of the cap on, the oldest bulk rows give way to whatever comes; where
none is left, new bulk rows are not taken. Readings, events and custody never give way: the rest of the cap is theirs.
What gave way is noted in the same transaction, until the hub's declaration of it is on board.

On a disk that others filled, SQLite cannot even delete: its log has to grow first. The ballast is a file that holds
room for that, thrown out when the disk is full and taken in again when it is not.
"""

import os
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from agent.transport.epoch import OutRow

CAP_BYTES = 2 << 30
BALLAST_BYTES = 4 << 20
CROWDED_SHARE = 0.25  # from here on waveforms go into rows of their own
SOFT_SHARE = 0.9
STEP_SHARE = 1 / 256  # given way at once, so that not every commit has to
ROW_BYTES = 64  # what a row takes besides its payload
SEQ_BITS = 32
SEQ_MASK = (1 << SEQ_BITS) - 1
SCHEMA = """
CREATE INDEX IF NOT EXISTS bulk_rows ON rows (place) WHERE bulk;
CREATE TABLE IF NOT EXISTS gave_way (
  epoch BLOB NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, PRIMARY KEY (epoch, first)) STRICT;
"""


@dataclass(frozen=True, slots=True)
class GaveWay:
    """Rows of an epoch that left the disk, or never came to it, although the hub had not said that it has them."""

    epoch: bytes
    first: int
    last: int


class Room:
    """The room of one outbox; works on its connection, inside its transactions."""

    def __init__(self, db: sqlite3.Connection, path: Path, *, cap_bytes: int, ballast_bytes: int) -> None:
        self._db = db
        self._ballast = path.with_name("ballast")
        self._ballast_bytes = ballast_bytes
        self._cap_bytes = cap_bytes
        self._page_bytes = int(db.execute("PRAGMA page_size").fetchone()[0])
        db.execute(f"PRAGMA max_page_count = {cap_bytes // self._page_bytes}")
        self.crowded = False
        self.take_ballast()

    def used_bytes(self) -> int:
        """What the outbox holds, free pages left out."""
        (pages,) = self._db.execute("PRAGMA page_count").fetchone()
        (free,) = self._db.execute("PRAGMA freelist_count").fetchone()
        return (int(pages) - int(free)) * self._page_bytes

    def make(self, rows: Sequence[OutRow], name: Callable[[int], bytes], *, least_bytes: int = 0) -> list[OutRow]:
        """Make room for rows, and give those that are taken; `name` gives an epoch by its number."""
        need = sum(len(row.payload) + ROW_BYTES for row in rows)
        used = self.used_bytes()
        self.crowded = used > CROWDED_SHARE * self._cap_bytes
        over = max(used + need - SOFT_SHARE * self._cap_bytes, least_bytes)
        if over <= 0 or self._give_way(over + STEP_SHARE * self._cap_bytes, name) >= over or least_bytes:
            return list(rows)
        self._note((row.epoch, row.seq) for row in rows if row.bulk)
        return [row for row in rows if not row.bulk]

    def _give_way(self, wanted_bytes: float, name: Callable[[int], bytes]) -> int:
        """Take the oldest bulk rows off the disk; give how many bytes that was."""
        freed, places = 0, []
        for place, size in self._db.execute("SELECT place, length(payload) FROM rows WHERE bulk ORDER BY place"):
            if freed >= wanted_bytes:
                break
            places.append(place)
            freed += size + ROW_BYTES
        self._db.executemany("DELETE FROM rows WHERE place = ?", ((place,) for place in places))
        self._note((name(place >> SEQ_BITS), place & SEQ_MASK) for place in places)
        return freed

    def wipe(self, name: Callable[[int], bytes]) -> None:
        """Take every row off the disk but the epochs' headers, noted as gone; inside a transaction."""
        places = [place for (place,) in self._db.execute("SELECT place FROM rows WHERE place & ?", (SEQ_MASK,))]
        self._db.execute("DELETE FROM rows WHERE place & ?", (SEQ_MASK,))
        self._note((name(place >> SEQ_BITS), place & SEQ_MASK) for place in sorted(places))

    def _note(self, gone: Iterable[tuple[bytes, int]]) -> None:
        spans: list[GaveWay] = []
        for epoch, seq in gone:
            if spans and spans[-1].epoch == epoch and spans[-1].last == seq - 1:
                spans[-1] = GaveWay(epoch, spans[-1].first, seq)
            else:
                spans.append(GaveWay(epoch, seq, seq))
        entries = [(span.epoch, span.first, span.last) for span in spans]
        self._db.executemany("INSERT OR REPLACE INTO gave_way VALUES (?, ?, ?)", entries)

    def gave_way(self) -> list[GaveWay]:
        """What gave way and is not declared yet."""
        return [GaveWay(*span) for span in self._db.execute("SELECT epoch, first, last FROM gave_way")]

    def declared(self, spans: Iterable[GaveWay]) -> None:
        """The rows that declare these go on board in this transaction."""
        entries = [(span.epoch, span.first, span.last) for span in spans]
        self._db.executemany("DELETE FROM gave_way WHERE epoch = ? AND first = ? AND last = ?", entries)

    def take_ballast(self) -> None:
        """Take the ballast in where there is room for four of it."""
        if not self._ballast_bytes or self._ballast.exists():
            return
        disk = os.statvfs(self._ballast.parent)
        if disk.f_bavail * disk.f_frsize < 4 * self._ballast_bytes:
            return
        with suppress(OSError), self._ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, self._ballast_bytes)

    def throw_ballast(self) -> None:
        """Throw it out: the disk is full."""
        with suppress(OSError):
            self._ballast.unlink(missing_ok=True)
