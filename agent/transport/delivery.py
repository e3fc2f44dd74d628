"""What to send next: delivery as pure bookkeeping, apart from any network.

A row is on board once committed, and off board once the hub's receipt names it; in between it may be sent any number
of times, byte for byte the same. Sent rows count as settled for this connection only: a new connection, or a receipt
that stays away too long, makes them backlog again.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from agent.transport.messages import EpochReceipt
from agent.transport.ranges import SeqSet

RESEND_AFTER_S = 10.0


@dataclass(slots=True)
class _Rows:
    """One epoch's rows."""

    on_board: SeqSet = field(default_factory=SeqSet)
    receipted: SeqSet = field(default_factory=SeqSet)
    settled: SeqSet = field(default_factory=SeqSet)


class Delivery:
    """Which rows are on board, receipted, and sent on this connection."""

    def __init__(self, on_board: Iterable[tuple[bytes, int, int]] = ()) -> None:
        self._epochs: dict[bytes, _Rows] = {}
        self._sent: deque[tuple[float, bytes, int, int]] = deque()
        self.receipted_rows = 0
        for epoch, first, last in on_board:
            self._rows(epoch).on_board.add(first, last)

    def _rows(self, epoch: bytes) -> _Rows:
        return self._epochs.setdefault(epoch, _Rows())

    def committed(self, epoch: bytes, seq: int) -> None:
        """A row is on board."""
        self._rows(epoch).on_board.add(seq)

    def connected(self) -> None:
        """A new connection: nothing sent before counts."""
        self._sent.clear()
        for rows in self._epochs.values():
            rows.settled = SeqSet(rows.receipted)

    def sent(self, epoch: bytes, first: int, last: int, now_s: float) -> None:
        """Rows went out on this connection."""
        self._rows(epoch).settled.add(first, last)
        self._sent.append((now_s, epoch, first, last))

    def receipted(self, receipt: EpochReceipt) -> int:
        """The hub has rows; give how many of them were news. An epoch not on board changes nothing."""
        rows = self._epochs.get(receipt.epoch)
        if rows is None:
            return 0
        before = len(rows.receipted)
        for first, last in ((0, receipt.upto), *receipt.ranges):
            # Only what was given away can be receipted: a hub that names more is wrong about this bag.
            bounded = min(last, max(rows.on_board.highest, rows.settled.highest))
            rows.receipted.add(first, bounded)
            rows.settled.add(first, bounded)
        news = len(rows.receipted) - before
        self.receipted_rows += news
        return news

    def is_receipted(self, epoch: bytes, seq: int) -> bool:
        """Whether the hub has this row."""
        rows = self._epochs.get(epoch)
        return rows is not None and seq in rows.receipted

    def backlog(self) -> tuple[bytes, int, int] | None:
        """The oldest range on board that was not sent on this connection."""
        for epoch, rows in self._epochs.items():
            for first, last in rows.on_board:
                for gap in rows.settled.missing(first, last):
                    return epoch, *gap
        return None

    def unreceipted(self) -> int:
        """How many rows on board the hub has not receipted."""
        return sum(
            last - first + 1
            for rows in self._epochs.values()
            for a, b in rows.on_board
            for first, last in rows.receipted.missing(a, b)
        )

    def oldest_unanswered_s(self, now_s: float) -> float:
        """For how long the oldest row sent on this connection has gone without receipt; 0 when all are answered."""
        while self._sent:
            when, epoch, first, last = self._sent[0]
            rows = self._epochs.get(epoch)
            if rows is not None and next(rows.receipted.missing(first, last), None) is not None:
                return now_s - when
            self._sent.popleft()
        return 0.0

    def resend(self, now_s: float) -> bool:
        """Make rows backlog again whose receipt stayed away too long; True when there were any."""
        if self.oldest_unanswered_s(now_s) < RESEND_AFTER_S:
            return False
        recent = [entry for entry in self._sent if now_s - entry[0] < RESEND_AFTER_S]
        self.connected()
        for when, epoch, first, last in recent:
            self.sent(epoch, first, last, when)
        return True

    def forget_epochs(self, running: bytes) -> None:
        """Drop epochs that are wholly receipted, but not the running one."""
        done = [
            epoch
            for epoch, rows in self._epochs.items()
            if epoch != running and all(next(rows.receipted.missing(a, b), None) is None for a, b in rows.on_board)
        ]
        for epoch in done:
            del self._epochs[epoch]
