"""Who has which bag, for the coordinator: from the custody entries bags send, each checked as it comes.

Entries arrive sealed like any record, in any order. They are kept as they are (`keep` rides in the hub's own commit,
before the receipt), checked with the bag's own chain, and added up as on the bag. Two entries, or two epochs, under
one number mean two bags with one identity or a card put back: both are named, none is overwritten. Nothing here
knows a visit.
"""

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography import x509

from agent.custody import State, What
from agent.errors import WireError
from agent.holding import Custody, advance
from agent.ledger import Chain, Head, LedgerError, Sign, countersign, read
from agent.transport.messages import Batch, CustodyBody, EpochHeader
from provisioning.authority import write_private

SCHEMA = """
CREATE TABLE IF NOT EXISTS custody (
  device TEXT NOT NULL, number INTEGER NOT NULL, hash BLOB NOT NULL, entry BLOB NOT NULL, arrived_s INTEGER NOT NULL,
  PRIMARY KEY (device, number, hash)) STRICT;
"""
SILENT_S = 86_400
TWO_BAGS = "two bags with one identity, or a card put back"
TWO_LEDGERS = "two ledgers"


def entries_of(batch: Batch) -> tuple[bytes, ...]:
    """The custody entries in a batch."""
    return tuple(record.body.entry for record in batch.records if isinstance(record.body, CustodyBody))


def keep(db: sqlite3.Connection, device: str, entry: bytes, arrived_s: int) -> None:
    """Store an entry inside the caller's open transaction; one that is there already stays as it is."""
    try:
        number = read(entry).number
    except WireError:
        return  # counted by the receiver as a row; nothing a ledger could use
    db.execute(
        "INSERT OR IGNORE INTO custody VALUES (?, ?, ?, ?, ?)",
        (device, number, sha256(entry).digest(), entry, arrived_s),
    )


def stored(db: sqlite3.Connection) -> Iterable[tuple[str, bytes, int]]:
    """Every entry as (device, entry, when it came), as they came."""
    return db.execute("SELECT device, entry, arrived_s FROM custody ORDER BY rowid")


@dataclass(frozen=True, slots=True)
class Side:
    """One of two claims: the start of a hash or boot id that tells it apart, when it was heard, what it says.

    `entry` is the number in the custody log, None for an epoch; `label` the badge that entry names.
    """

    mark: str
    heard_s: int
    entry: int | None = None
    label: str = ""


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two claims to one bag: what contradicts what."""

    what: str
    sides: tuple[Side, Side]


@dataclass(slots=True)
class _Bag:
    chain: Chain
    custody: Custody = field(default_factory=Custody)
    waiting: dict[int, bytes] = field(default_factory=dict)
    sides: dict[int, Side] = field(default_factory=dict)
    epochs: dict[tuple[bytes, int], tuple[bytes, Side]] = field(default_factory=dict)
    outboxes: dict[bytes, tuple[int, Side]] = field(default_factory=dict)  # highest epoch each, newest last
    conflicts: dict[Conflict, None] = field(default_factory=dict)
    damaged: str = ""
    heard_s: int = 0
    told: int = -1


class CustodyView:
    """Every bag's custody, as far as its ledger has come and is whole."""

    def __init__(self, authority: Sequence[x509.Certificate], *, now_s: Callable[[], int]) -> None:
        self._authority = authority
        self._now_s = now_s
        self._bags: dict[str, _Bag] = {}
        self._labels: dict[bytes, str] = {}

    def _bag(self, device: str) -> _Bag:
        return self._bags.setdefault(device, _Bag(Chain(device, self._authority)))

    def epoch(self, device: str, header: EpochHeader, arrived_s: int) -> None:
        """A bag began an epoch.

        An outbox numbers its epochs once each and ends when a bag is erased: two epochs under one number, or an
        outbox that begins epochs again after another has, are two bags, or one whose card was put back.
        """
        bag = self._bag(device)
        bag.heard_s = max(bag.heard_s, arrived_s)
        side = Side(header.boot_id.hex()[:8], arrived_s)
        known, name = bag.epochs.setdefault((header.chain, header.number), (header.epoch, side))
        if known != header.epoch:
            bag.conflicts[Conflict(TWO_BAGS, (name, side))] = None
        highest = bag.outboxes.get(header.chain)
        if highest is not None and header.number > highest[0] and next(reversed(bag.outboxes)) != header.chain:
            bag.conflicts[Conflict(TWO_BAGS, (next(reversed(bag.outboxes.values()))[1], side))] = None
        if highest is None or header.number > highest[0]:
            bag.outboxes.pop(header.chain, None)
            bag.outboxes[header.chain] = (header.number, side)

    def hear(self, device: str, entry: bytes, arrived_s: int) -> None:
        """A custody entry came; again, late or out of order is all the same."""
        bag = self._bag(device)
        bag.heard_s = max(bag.heard_s, arrived_s)
        try:
            found = read(entry)
        except WireError as error:
            bag.damaged = f"an entry cannot be read: {error}"
            return
        number = found.number
        side = Side(sha256(entry).hexdigest()[:16], arrived_s, number, found.act.label)
        known = bag.sides.setdefault(number, side)
        if known.mark != side.mark:
            # The same claim may come again later: it was heard first when it was heard first.
            if not any(side.mark in {s.mark for s in c.sides} for c in bag.conflicts):
                bag.conflicts[Conflict(TWO_LEDGERS, (known, side))] = None
            return
        if number > bag.chain.head.number:
            bag.waiting[number] = entry
        self._advance(bag)

    def _advance(self, bag: _Bag) -> None:
        while (entry := bag.waiting.pop(bag.chain.head.number + 1, None)) is not None:
            try:
                act = bag.chain.push(entry).act
            except LedgerError as error:
                bag.damaged = error.why
                return
            bag.custody = advance(bag.custody, act)
            if act.what in {What.CHECK_OUT, What.PASSED}:
                self._labels[act.badge] = act.label

    def who(self, badge: bytes) -> str:
        """The label on a badge that took a bag out, as a whole ledger says; "" when none does yet."""
        return self._labels.get(badge, "")

    def head(self, device: str) -> Head | None:
        """How far a bag's ledger is here and whole."""
        bag = self._bags.get(device)
        return bag.chain.head if bag is not None and bag.chain.head.number >= 0 else None

    def countersigned(self, device: str, certificate: x509.Certificate, sign: Sign) -> bytes | None:
        """The hub's signed word on that head, for the bag to keep."""
        head = self.head(device)
        return None if head is None else countersign(device, head, self._now_s(), certificate, sign)

    def write_heads(self, folder: Path, certificate: x509.Certificate, sign: Sign) -> None:
        """Leave each bag's countersigned head where the enrolment server finds it, when the ledger has grown."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for device, bag in self._bags.items():
            number = bag.chain.head.number
            if number > bag.told and (word := self.countersigned(device, certificate, sign)) is not None:
                write_private(folder / f"{device}.head", word)
                bag.told = number

    def rows(self) -> list[dict[str, Any]]:
        """One JSON-ready row a bag, conflicts and overdue bags first."""
        rows = [self._row(device, bag) for device, bag in self._bags.items()]
        return sorted(rows, key=lambda row: (not row["conflicts"], not row["overdue"], row["bag"]))

    def _row(self, device: str, bag: _Bag) -> dict[str, Any]:
        held, now_s = bag.custody, self._now_s()
        return {
            "bag": device,
            "state": held.state.value,
            "lendable": held.state is State.HOME and not bag.conflicts,
            "place": held.place,
            "holder": held.label if held.state is State.OUT else "",
            "since_s": held.since_s,
            "due_s": held.due_s,
            "overdue": held.state is State.OUT and held.due_s is not None and now_s > held.due_s,
            "defects": list(held.defects),
            "notes": list(held.notes),
            "problems": list(held.problems),
            "heard_s": bag.heard_s,
            "silent": now_s - bag.heard_s > SILENT_S,
            "entries": bag.chain.head.number + 1,
            "missing_before": min(bag.waiting, default=None),
            "damaged": bag.damaged,
            "conflicts": [{"what": c.what, "sides": [asdict(side) for side in c.sides]} for c in bag.conflicts],
        }
