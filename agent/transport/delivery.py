"""What to send next: delivery as pure bookkeeping, apart from any network.

A row is on board once committed, and off board once the hub's receipt names it; in between it may be sent any number
of times, byte for byte the same. Sent rows count as settled for this connection only. They become backlog again on a
new connection, when the hub has a row that was sent later (the link keeps the order, so they were lost), and when
their receipt stays away for long.

An epoch's header is sent again on every connection for as long as rows of the epoch wait: without it a hub that lost
its database could not open them.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from agent.transport.messages import EpochReceipt
from agent.transport.ranges import SeqSet

RESEND_AFTER_S = 10.0
LONGEST_PATIENCE_S = 600.0


@dataclass(slots=True)
class _Rows:
    """One epoch's rows. `given` is the highest ever handed out, `overtaken` were sent again at once already."""

    on_board: SeqSet = field(default_factory=SeqSet)
    receipted: SeqSet = field(default_factory=SeqSet)
    settled: SeqSet = field(default_factory=SeqSet)
    overtaken: SeqSet = field(default_factory=SeqSet)
    given: int = -1
    patience_s: float = RESEND_AFTER_S

    def waiting(self) -> Iterable[tuple[int, int]]:
        """The ranges on board that the hub has not receipted."""
        return (gap for first, last in self.on_board for gap in self.receipted.missing(first, last))

    @property
    def drained(self) -> bool:
        """Whether the hub has everything on board."""
        return next(iter(self.waiting()), None) is None


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

    def gone(self, epoch: bytes, first: int, last: int) -> None:
        """Rows are not on board any more although nobody receipted them: they gave way to others."""
        rows = self._epochs.get(epoch)
        if rows is not None:
            rows.on_board.remove(first, last)
            self._sent = deque(e for e in self._sent if e[1] != epoch or e[2] < first or e[3] > last)

    def skip(self, epoch: bytes, seq: int) -> None:
        """A row cannot be read just now: it is tried again on the next connection."""
        self._rows(epoch).settled.add(seq)

    def connected(self) -> None:
        """A new connection: nothing sent before counts."""
        self._sent.clear()
        for rows in self._epochs.values():
            rows.settled = SeqSet(rows.receipted)
            rows.overtaken = SeqSet()
            rows.patience_s = RESEND_AFTER_S
            if not rows.drained:
                rows.settled.remove(0)

    def sent(self, epoch: bytes, first: int, last: int, now_s: float) -> None:
        """Rows went out on this connection."""
        rows = self._rows(epoch)
        rows.settled.add(first, last)
        rows.given = max(rows.given, last)
        self._sent.append((now_s, epoch, first, last))

    def receipted(self, receipt: EpochReceipt) -> EpochReceipt | None:
        """The hub has rows: give what of that was news. An epoch not on board, or rows never given, change nothing."""
        rows = self._epochs.get(receipt.epoch)
        if rows is None:
            return None
        # A hub that names rows it was never given is wrong about this bag, and must not make it delete them.
        most = max(rows.on_board.highest, rows.given)
        news = [
            gap
            for first, last in ((0, receipt.upto), *receipt.ranges)
            for gap in list(rows.receipted.missing(first, min(last, most)))
        ]
        for first, last in news:
            rows.receipted.add(first, last)
            rows.settled.add(first, last)
            self.receipted_rows += last - first + 1
        if news:
            self._send_overtaken(receipt.epoch, rows)
        return EpochReceipt(receipt.epoch, -1, tuple(news)) if news else None

    def _send_overtaken(self, epoch: bytes, rows: _Rows) -> None:
        """Make backlog again, once, what was sent before a row that the hub has and is not there itself."""
        own = [(first, last) for _, whose, first, last in self._sent if whose == epoch]
        while own and next(rows.receipted.missing(*own[-1]), None) is not None:
            own.pop()  # sent after everything that is answered: still on its way
        for first, last in own:
            for lost in list(rows.receipted.missing(first, last)):
                for again in list(rows.overtaken.missing(*lost)):
                    rows.settled.remove(*again)
                    rows.overtaken.add(*again)

    def is_receipted(self, epoch: bytes, seq: int) -> bool:
        """Whether the hub has this row."""
        rows = self._epochs.get(epoch)
        return rows is not None and seq in rows.receipted

    def is_answered(self, epoch: bytes, seq: int) -> bool:
        """Whether no receipt is awaited for a row: the hub has it, or it was lost and is to be sent again, or gone."""
        rows = self._epochs.get(epoch)
        return rows is None or seq in rows.receipted or seq not in rows.settled or seq not in rows.on_board

    def backlog(self) -> tuple[bytes, int, int] | None:
        """The oldest range on board that was not sent on this connection."""
        for epoch, rows in self._epochs.items():
            for first, last in rows.on_board:
                for gap in rows.settled.missing(first, last):
                    return epoch, *gap
        return None

    def unreceipted(self) -> int:
        """How many rows on board the hub has not receipted."""
        return sum(last - first + 1 for rows in self._epochs.values() for first, last in rows.waiting())

    def oldest_unanswered_s(self, now_s: float) -> float | None:
        """For how long the oldest row sent on this connection has gone without receipt; None when all are answered."""
        while self._sent:
            when, epoch, first, last = self._sent[0]
            rows = self._epochs.get(epoch)
            if rows is not None and next(rows.receipted.missing(first, last), None) is not None:
                return now_s - when
            self._sent.popleft()
        return None

    def resend(self, now_s: float) -> bool:
        """Make rows backlog again whose receipt stayed away too long; True when there were any.

        Each time doubles the patience with that epoch, so rows that the hub can never take (damaged on disk, sealed
        to a key it lost) cost little.
        """
        kept: deque[tuple[float, bytes, int, int]] = deque()
        late: set[bytes] = set()
        for entry in self._sent:
            when, epoch, first, last = entry
            rows = self._epochs.get(epoch)
            if rows is None:
                continue
            lost = list(rows.receipted.missing(first, last))
            if lost and now_s - when >= rows.patience_s:
                late.add(epoch)
                for a, b in lost:
                    rows.settled.remove(a, b)
            elif lost:
                kept.append(entry)
        self._sent = kept
        for epoch in late:
            self._epochs[epoch].patience_s = min(2 * self._epochs[epoch].patience_s, LONGEST_PATIENCE_S)
        return bool(late)

    def forget_epochs(self, running: bytes) -> list[bytes]:
        """Drop epochs that are wholly receipted, but not the running one, and name them."""
        done = [epoch for epoch, rows in self._epochs.items() if epoch != running and rows.drained]
        for epoch in done:
            del self._epochs[epoch]
        return done
