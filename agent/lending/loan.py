"""The loan desk: from a scanned text to a ledger entry on disk, and what the person is told.

Joins the card's check, the table, the inventory and the ledger; holds no rule of its own. Gestures come one after
another. A move takes effect when its entry is stored: until then, and when the card refuses to write, the answer is
NOT_RECORDED and nothing has changed; what was asked is completed by itself once the card writes again.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agent import badges, custody, holding, ledger
from agent.badges import Badge, BadgeError, Revoked, Role, Utc
from agent.custody import Action, Event, Facts, Say, State, What
from agent.health import Readiness
from agent.holding import Act, Custody
from agent.lending import inventory, receipt
from agent.lending.inventory import Count, Part, Supply
from agent.lending.receipt import Moment
from agent.transport.identity import Identity

log = logging.getLogger(__name__)

WRITE_S = 5.0
TEST_EVERY_S = 60.0
REMIND_EVERY_S = 1800.0
CHARGER_S = 1800.0
REFUSALS_AN_HOUR = 60
NS = 1_000_000_000
_GESTURES = {
    Role.LOAN_POINT: Event.POINT,
    Role.NURSE: Event.NURSE,
    Role.TECHNICIAN: Event.TECHNICIAN,
    Role.PART: Event.PART,
}


class Bag(Protocol):
    """What the desk asks of the rest of the agent."""

    def now_ns(self) -> int:
        """Boot time."""

    def utc(self) -> Utc:
        """Between which UTC seconds now lies."""

    def no_earlier_than(self, utc_s: int) -> None:
        """A signed card or list says that it is at least this late (UTC seconds)."""

    def due_s(self, utc_s: int) -> int:
        """When a bag handed over at `utc_s` is due back (UTC seconds)."""

    def readiness(self) -> Readiness:
        """The self-test, now."""

    def in_visit(self) -> bool:
        """Whether a visit is open."""

    def seen_s(self) -> dict[str, float]:
        """How long ago each instrument last spoke, by its key."""

    def unreceipted(self) -> int:
        """Rows the hub has not yet said it has."""

    def charging(self) -> bool:
        """Whether the bag is on its charger."""

    async def store(self, entry: ledger.Entry) -> None:
        """Put the entry and its sealed row on disk in one transaction; return only when they are there."""

    async def do(self, action: Action) -> None:
        """Carry out what follows: a new epoch, an erasure."""


@dataclass(frozen=True, slots=True)
class Said:
    """What the person is told: the sentence and what fills it in. `row` None: nothing was to be done."""

    say: Say
    custody: Custody
    detail: str = ""
    to_count: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    moved: bool = False


@dataclass(slots=True)
class _Talk:
    """The conversation at the desk: lost with the power, on purpose."""

    state: State
    since_ns: int
    place: str = ""
    badge: bytes = b""
    part: str = ""
    count: Count | None = None


@dataclass(slots=True)
class _Last:
    """The last card read."""

    card: bytes = b""
    t_ns: int = -(10**18)
    times: dict[Event, int] = field(default_factory=dict)
    refusals: list[int] = field(default_factory=list)


class Loan:
    """One bag's loan desk."""

    def __init__(
        self,
        *,
        bag: Bag,
        identity: Identity,
        boot_id: bytes,
        entries: Sequence[bytes],
        keys: Mapping[bytes, Ed25519PublicKey],
        revoked: Revoked | None,
        parts: Sequence[Part],
        supplies: Sequence[Supply] = (),
    ) -> None:
        read = [ledger.read(data) for data in entries]
        self.custody = holding.replay(entry.act for entry in read)
        self.head = read[-1].head if read else ledger.genesis(identity.name)
        self._certified = next((e.act.blob for e in reversed(read) if e.act.what is What.IDENTITY), b"")
        self._bag = bag
        self._identity = identity
        self._boot_id = boot_id
        self._keys = keys
        self.revoked = revoked
        self._parts, self._supplies = tuple(parts), tuple(supplies)
        self._talk = _Talk(self.custody.state, bag.now_ns())
        self._last = _Last()
        self._writing: asyncio.Future[Said] | None = None
        self._lock = asyncio.Lock()
        self._last.times[Event.ON_CHARGER] = bag.now_ns()
        self.floor_s = 0

    @property
    def state(self) -> State:
        """Where the bag stands, conversations included."""
        return self._talk.state

    @property
    def count(self) -> Count | None:
        """The inventory under way."""
        return self._talk.count

    async def start(self) -> None:
        """Say who signs, before anything else: at the first start and after each renewal."""
        if self._certified == self._identity.certificate_der:
            return
        act = Act(What.IDENTITY, self._bag.now_ns() // 1000, self._utc_s(), blob=self._identity.certificate_der)
        await self._store(act)
        self._certified = self._identity.certificate_der

    def revocations(self, offered: Revoked) -> bool:
        """Take a newer list of revoked cards; False when it is not newer."""
        if not badges.newer(self.revoked, offered):
            return False
        self.revoked = offered
        self._learn(offered.issued_s)
        return True

    # --- gestures ------------------------------------------------------------------------------------------------

    async def scan(self, text: str) -> Said:
        """A card was read, by the scanner or by `besace scan`."""
        async with self._lock:
            now_ns = self._bag.now_ns()
            card = sha256(text.encode()).digest()
            elapsed_s = (now_ns - self._last.t_ns) / NS
            if custody.is_repeat(self.state, same_card=card == self._last.card, elapsed_s=elapsed_s):
                return self._said(Say.AGAIN)
            self._last.card, self._last.t_ns = card, now_ns
            self._last.times[Event.ON_CHARGER] = now_ns
            try:
                seen = badges.verify(text, self._keys, self._utc(), self.revoked)
            except BadgeError as error:
                return await self._refuse(error.reason.value, error.badge_id or b"")
            self._learn(seen.badge.issued_s)
            event = custody.SHEET.get(seen.badge.label) if seen.badge.role is Role.SHEET else _GESTURES[seen.badge.role]
            known = {part.tag for part in self._parts}
            if event is None or (event is Event.PART and seen.badge.label not in known):
                return await self._refuse("unknown", seen.badge.id)
            return await self._happen(event, seen.badge, undated="undated:" if seen.undated else "")

    async def press(self, event: Event, detail: str = "", *, due_s: int | None = None) -> Said:
        """A button on the page or a command: ALL_THERE, KEEP with a date, PROBLEM with part and serial, RETIRE.

        The same one again within ten seconds changes nothing, like a card.
        """
        async with self._lock:
            now_ns = self._bag.now_ns()
            pressed = sha256(f"{event.value} {detail} {due_s}".encode()).digest()
            elapsed_s = (now_ns - self._last.t_ns) / NS
            if custody.is_repeat(self.state, same_card=pressed == self._last.card, elapsed_s=elapsed_s):
                return self._said(Say.AGAIN)
            self._last.card, self._last.t_ns = pressed, now_ns
            return await self._happen(event, None, detail=detail, due_s=due_s)

    async def tick(self) -> Said | None:
        """Once a second: what time alone brings about; None when nothing."""
        async with self._lock:
            if self._talk.count is not None:
                self._talk.count = self._talk.count.see(self._bag.seen_s())
            event = self._due_event()
            if event is None:
                return None
            self._last.times[event] = self._bag.now_ns()
            return await self._happen(event, None)

    def _due_event(self) -> Event | None:
        now_ns = self._bag.now_ns()

        def every(event: Event, seconds: float) -> bool:
            return now_ns - self._last.times.get(event, -(10**18)) >= seconds * NS

        state = self.state
        if state in custody.PATIENCE_S and now_ns - self._talk.since_ns > custody.PATIENCE_S[state] * NS:
            return Event.TIMED_OUT
        if state is State.DRAINING and not self._bag.unreceipted():
            return Event.DRAINED
        if state is State.CHECKING and every(Event.TESTED, TEST_EVERY_S):
            return Event.TESTED
        if state is State.OUT:
            if not self._bag.charging():
                self._last.times[Event.ON_CHARGER] = now_ns
            due_s = self.custody.due_s
            if due_s is not None and self._utc().earliest_s > due_s and every(Event.OVERDUE, REMIND_EVERY_S):
                return Event.OVERDUE
            if every(Event.ON_CHARGER, CHARGER_S):
                return Event.ON_CHARGER
        return None

    # --- what follows --------------------------------------------------------------------------------------------

    async def _refuse(self, reason: str, badge_id: bytes) -> Said:
        log.info("card=refused reason=%s", reason)
        return await self._happen(Event.REFUSED, None, detail=reason, badge_id=badge_id)

    def _too_many_refusals(self) -> bool:
        """Whether this hour's refusals are enough: a passer-by shall not fill the ledger."""
        now_ns = self._bag.now_ns()
        recent = [t for t in self._last.refusals if now_ns - t < 3600 * NS]
        self._last.refusals = [*recent, now_ns][-REFUSALS_AN_HOUR - 1 :]
        return len(recent) >= REFUSALS_AN_HOUR

    async def _happen(
        self,
        event: Event,
        badge: Badge | None,
        *,
        detail: str = "",
        badge_id: bytes = b"",
        undated: str = "",
        due_s: int | None = None,
    ) -> Said:
        writing = self._writing is not None and not self._writing.done()
        if writing or self._certified != self._identity.certificate_der:  # nothing goes before who signs
            return self._said(Say.NOT_RECORDED)
        count = self._talk.count
        if count is not None:
            count = count.after(event, badge.label if badge else "", detail)
        readiness = self._bag.readiness()
        row = custody.find(self.state, event, self._facts(badge, count, readiness))
        if row is None:
            return self._said(Say.NOTHING)
        findings = receipt.findings(readiness)
        who = badge.id if badge else badge_id
        if row.record is None or (row.record is What.REFUSED and self._too_many_refusals()):
            return await self._move(row, badge, count, detail, findings)
        act = Act(
            row.record,
            self._bag.now_ns() // 1000,
            self._utc_s(),
            badge=who,
            label=badge.label if badge else "",
            place=self._place(row.record, badge),
            due_s=self._due(row.record, due_s),
            details=receipt.details(row, event, self._moment(badge, count, readiness, detail, undated)),
        )

        async def write() -> Said:
            await self._store(act)
            return await self._move(row, badge, count, detail, findings)

        self._writing = asyncio.ensure_future(write())
        done, _ = await asyncio.wait({self._writing}, timeout=WRITE_S)
        return self._writing.result() if done else self._said(Say.NOT_RECORDED)

    async def _store(self, act: Act) -> None:
        entry = ledger.draft(self.head, self._boot_id, act, self._identity.sign)
        await self._bag.store(entry)
        self.head = entry.head
        self.custody = holding.advance(self.custody, act)
        log.info("custody=%s state=%s entry=%d", act.what.value, self.custody.state.value, entry.number)

    async def _move(
        self, row: custody.Row, badge: Badge | None, count: Count | None, detail: str, findings: tuple[str, ...]
    ) -> Said:
        before, after = self._talk, row.after or self.custody.state
        if after is not before.state:
            self._last.times.pop(Event.TESTED, None)  # a bag that has just drained is tested at once
        if after in custody.DURABLE:
            self._talk = _Talk(after, self._bag.now_ns())
        else:
            self._talk = _Talk(
                after,
                self._bag.now_ns() if row.event is not Event.REFUSED else before.since_ns,
                place=badge.label if badge and row.event is Event.POINT else before.place,
                badge=badge.id if badge and row.event is Event.NURSE else before.badge,
                part=badge.label if badge and row.event is Event.PART else before.part,
                count=count,
            )
        for action in row.actions:
            if action is Action.COUNT:
                self._talk.count = inventory.begin(self._parts, self._bag.seen_s(), self._supplies)
            else:
                await self._bag.do(action)
        return self._said(row.say, detail, findings, moved=after is not before.state)

    def _facts(self, badge: Badge | None, count: Count | None, readiness: Readiness) -> Facts:
        return Facts(
            unfit=readiness.unfit,
            confirm=readiness.confirm,
            in_visit=self._bag.in_visit(),
            holder=badge is not None and badge.id == self.custody.badge,
            same_badge=badge is not None and badge.id == self._talk.badge,
            settled=count is not None and count.settled,
            defective=bool(self.custody.defects),
        )

    def _place(self, what: What, badge: Badge | None) -> str:
        if what is What.PLACED and badge is not None:
            return badge.label
        if what is What.RETURNED:
            return self._talk.place
        return self._talk.place or self.custody.place

    def _due(self, what: What, due_s: int | None) -> int | None:
        now_s = self._utc_s()
        if what is What.CHECK_OUT and now_s is not None:
            return self._bag.due_s(now_s)
        return self.custody.due_s if what is What.PASSED else due_s

    def _moment(
        self, badge: Badge | None, count: Count | None, readiness: Readiness, detail: str, undated: str
    ) -> Moment:
        old_list = badge is not None and (self.revoked is None or self.revoked.old(self._utc()))
        flags = (*((undated,) if undated else ()), *(("old_list:",) if old_list else ()))
        now_s = self._utc_s()
        day = None if now_s is None else datetime.fromtimestamp(now_s, UTC).date().isoformat()
        return Moment(self.custody, readiness, count, self._talk.part, detail, day, flags)

    def _learn(self, issued_s: int) -> None:
        """The authority's clock had reached this: the floor of ours, here and for whoever dates records."""
        if issued_s > self.floor_s:
            self.floor_s = issued_s
            self._bag.no_earlier_than(issued_s)

    def _utc(self) -> Utc:
        utc = self._bag.utc()
        earliest_s = max(utc.earliest_s, self.floor_s)
        return Utc(earliest_s, None if utc.latest_s is None else max(utc.latest_s, earliest_s))

    def _utc_s(self) -> int | None:
        utc = self._utc()
        return None if utc.latest_s is None else utc.earliest_s

    def _said(self, say: Say, detail: str = "", findings: tuple[str, ...] = (), *, moved: bool = False) -> Said:
        count = self._talk.count
        to_count = tuple(part.name for part in count.to_count) if count else ()
        return Said(say, self.custody, detail, to_count, findings, moved)
