"""The loan desk at work in the agent: gives the desk what it asks of the bag, ticks it, and passes on what it says.

A bag has a desk when it was enrolled with cards' keys (`cards.pem` beside the pinned root). The list of revoked cards
is written by the renewal timer and taken when it changes.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agent import badges, custody, health, ledger
from agent.badges import BadgeError, Revoked, Utc
from agent.clock import VOUCHED, Clock, Timekeeper
from agent.custody import Action, Event, Say, State
from agent.errors import ProvisioningError, StateError
from agent.holding import SERIAL
from agent.lending import inventory, receipt
from agent.lending.inventory import Part, Supply
from agent.lending.loan import Loan, Said
from agent.lending.selftest import SelfTest
from agent.lending.sentences import (
    KEYS,
    NIGHTS,
    condition_rows,
    desk_words,
    inventory_rows,
    standing,
    supply_rows,
    tell,
)
from agent.lending.tones import TONES
from agent.transport.identity import Identity
from agent.transport.messages import EpochReason

log = logging.getLogger(__name__)

CARDS, REVOKED = "cards.pem", "revoked.cose"
LIST_EVERY_TICKS = 60
ANSWER_S = 20.0
LONGEST_DETAIL = 64
MOST_OF_ONE = 999


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the desk learns of the bag, and what it has done: one callable each, from the wiring."""

    in_visit: Callable[[], bool]
    unreceipted: Callable[[], int]
    seen_s: Callable[[], dict[str, float]]
    store: Callable[[ledger.Entry], Awaitable[None]]
    begin_epoch: Callable[[EpochReason], Awaitable[None]]
    left_min: Callable[[], int | None]
    serial: Callable[[str], str | None]
    said: Callable[[Said], None]
    time: Timekeeper


@dataclass(frozen=True, slots=True)
class Terms:
    """The bag's own terms: its name, its parts, the hour of return, demonstration or not."""

    bag: str
    parts: Sequence[Part] = ()
    supplies: Sequence[Supply] = ()
    due: str = "19:00"
    demo: bool = False


class Desk:
    """One bag's desk, alive; implements loan.Bag."""

    def __init__(
        self,
        *,
        sources: Sources,
        terms: Terms,
        test: SelfTest,
        clock: Clock,
        identity: Identity,
        keys: Path,
        entries: Sequence[bytes],
    ) -> None:
        self._sources, self._terms, self._test = sources, terms, test
        self._clock, self._identity = clock, identity
        self._keys = badges.key_ring(_card_keys(keys / CARDS))
        self._list = keys.parent / REVOKED
        self._words = desk_words()
        self._names = {part.instrument: part.name for part in terms.parts if part.instrument}
        self._names |= {part.tag: part.name for part in terms.parts}
        self._names |= {supply.tag: supply.name for supply in terms.supplies}
        self.sentence = ""
        self._told: tuple[int, Said | None] = (-(10**18), None)
        self.loan = Loan(
            bag=self, identity=identity, boot_id=clock.boot_id, entries=entries, keys=self._keys,
            revoked=self._read_list(), parts=terms.parts, supplies=terms.supplies,
        )  # fmt: skip

    async def run(self) -> None:
        """Tick once a second until cancelled; a new list of revoked cards is taken within a minute."""
        await self.loan.start()
        ticks = 0
        while True:
            await asyncio.sleep(1.0)
            ticks += 1
            if not ticks % LIST_EVERY_TICKS and (offered := self._read_list()) is not None:
                self.loan.revocations(offered)
            if (said := await self.loan.tick()) is not None:
                self._tell(said)

    async def scan(self, text: str) -> tuple[Said, str]:
        """A card was read; what the person is told."""
        said = await self.loan.scan(text)
        return said, self._tell(said)

    def _tell(self, said: Said) -> str:
        self.sentence = self._sentence(said)
        if said.say is not Say.NOTHING:
            self._told = self._clock.now_ns(), said
            self._sources.said(said)
        return self.sentence

    # --- the nurse's page ----------------------------------------------------------------------------------------

    def view(self) -> dict[str, Any]:
        """The desk as the page shows it: the last answer for a while, then what holds; inventory; keys; choices."""
        loan, (told_ns, said) = self.loan, self._told
        talking = loan.state in custody.PATIENCE_S
        if said is None or not (talking or self._clock.now_ns() - told_ns < ANSWER_S * 1e9):
            fresh, said = False, standing(loan.custody, receipt.findings(self.readiness(), health.Level.UNFIT))
        else:
            fresh = True
        count, now = loan.count, self.utc()
        now_s = None if now.latest_s is None else now.earliest_s
        seen_s = self.seen_s()
        return {
            "fresh": fresh,
            "mark": TONES[said.say].value,
            "text": self._sentence(said),
            "keys": [event.value for event in KEYS.get(loan.state, (Event.PROBLEM,))],
            "parts": inventory_rows(count, seen_s, self._words, now_s=now_s, local=_local) if count else [],
            "condition": condition_rows(count, self._words) if count else [],
            "supplies": supply_rows(count, self._words, _day(now_s)) if count else [],
            "nights": [self._night(nights) for nights in range(1, NIGHTS + 1)],
            "problems": [{"which": part.tag, "text": part.name} for part in self._terms.parts]
            + [{"which": inventory.BAG, "text": self._words("desk_key.whole_bag")}],
        }

    def _sentence(self, said: Said) -> str:
        left_min = self._sources.left_min()
        return tell(said, self._words, bag=self._terms.bag, names=self._names, local=_local, left_min=left_min)

    def _night(self, nights: int) -> dict[str, Any]:
        due_s = self.keep_until_s(nights)
        due = _local(due_s).strftime("%d/%m, %H:%M") if due_s is not None else self._terms.due
        word = "keep_night" if nights == 1 else "keep_nights"
        return {"nights": nights, "text": self._words(f"desk_key.{word}", nights=nights, due=due)}

    def keep_until_s(self, nights: int) -> int | None:
        """The hour of return so many days from today (UTC seconds); None while the clock has no anchor."""
        utc = self.utc()
        if utc.latest_s is None:
            return None
        return int((self._due_on(_local(utc.earliest_s)) + timedelta(days=nights)).timestamp())

    def _due_on(self, day: datetime) -> datetime:
        hour, minute = (int(part) for part in self._terms.due.split(":"))
        return day.replace(hour=hour, minute=minute, second=0)

    async def all_there(self) -> None:
        """«Tout y est»."""
        await self._press(Event.ALL_THERE)

    async def keep(self, nights: int, /) -> None:
        """«Garder»: the bag stays with its holder for so many nights; StateError for more than the page offers."""
        if not 1 <= nights <= NIGHTS:
            raise StateError(f"a bag is kept for 1 to {NIGHTS} nights")
        await self._press(Event.KEEP, due_s=self.keep_until_s(nights))

    async def have(self, which: str, number: int, /) -> None:
        """So many of a consumable are in the bag; StateError for one that this bag does not have."""
        if which not in {supply.tag for supply in self._terms.supplies} or not 0 <= number <= MOST_OF_ONE:
            raise StateError("no such consumable, or no such number of it")
        await self._press(Event.CONSUMABLES, f"{which}={number}")

    async def problem(self, which: str, /) -> None:
        """«Signaler un problème»: with a part, or with the bag; its instrument's serial number is kept with it."""
        part = next((part for part in self._terms.parts if part.tag == which), None)
        if part is None and which != inventory.BAG:
            raise StateError("no such part in this bag")
        serial = self._sources.serial(part.instrument) if part and part.instrument else None
        await self._press(Event.PROBLEM, f"{which}{SERIAL}{serial}"[:LONGEST_DETAIL] if serial else which)

    async def retire(self) -> None:
        """The end of this bag's life, recorded; the technician's command erases it once the hub has the record."""
        if self.in_visit():
            raise StateError("a visit is open\nNext: end it, then retire again")
        if self.loan.state is not State.RETIRED:
            self._tell(await self.loan.press(Event.RETIRE))
        if self.loan.state is not State.RETIRED:
            raise StateError(
                f"a bag that is {self.loan.state.value} cannot be retired\nNext: check it in, let it send, then again"
            )

    async def _press(self, event: Event, detail: str = "", *, due_s: int | None = None) -> None:
        """A key of the page; StateError when the page does not show it now."""
        if event not in KEYS.get(self.loan.state, (Event.PROBLEM,)):
            raise StateError(f"{event.value} is not possible while {self.loan.state.value}")
        self._tell(await self.loan.press(event, detail, due_s=due_s))

    def _read_list(self) -> Revoked | None:
        try:
            return badges.read_list(self._list.read_bytes(), self._keys)
        except (OSError, BadgeError):
            return None

    # --- what loan.Bag asks ------------------------------------------------------------------------------------

    def now_ns(self) -> int:
        """Boot time."""
        return self._clock.now_ns()

    def utc(self) -> Utc:
        """Vouched for by NTP or the hub, else only a floor: an unsynchronised clock may be wrong by years."""
        anchor = self._sources.time.best()
        if anchor.source not in VOUCHED and not self._terms.demo:
            return Utc(self._sources.time.floor_us // 1_000_000)
        now_s, margin_s = anchor.utc_us // 1_000_000, 1
        return Utc(now_s - margin_s, now_s + margin_s)

    def no_earlier_than(self, utc_s: int) -> None:
        """Raise the clock's floor, in the next boot too."""
        self._sources.time.at_least(utc_s * 1_000_000)

    def due_s(self, utc_s: int) -> int:
        """The next time it is the hour of return here."""
        now = _local(utc_s)
        due = self._due_on(now)
        return int((due if due > now else due + timedelta(days=1)).timestamp())

    def readiness(self) -> health.Readiness:
        """The self-test, now."""
        return self._test.now()

    def in_visit(self) -> bool:
        """Whether a visit is open."""
        return self._sources.in_visit()

    def seen_s(self) -> dict[str, float]:
        """How long ago each instrument last spoke."""
        return self._sources.seen_s()

    def unreceipted(self) -> int:
        """Rows the hub has not yet said it has."""
        return self._sources.unreceipted()

    def charging(self) -> bool:
        """Whether the bag is on its charger."""
        return self._test.charging()

    async def store(self, entry: ledger.Entry) -> None:
        """Entry and sealed row, one transaction."""
        await self._sources.store(entry)

    async def do(self, action: Action) -> None:
        """A new epoch at check-out and at the end of a check-in."""
        if action is Action.EPOCH_OUT:
            await self._sources.begin_epoch(EpochReason.CHECK_OUT)
        elif action is Action.EPOCH_IN:
            await self._sources.begin_epoch(EpochReason.CHECK_IN)


def _card_keys(path: Path) -> list[Ed25519PublicKey]:
    """The public keys of cards; ProvisioningError when the file is missing or holds anything else."""
    try:
        return badges.read_keys(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ProvisioningError(f"no keys of cards in {path}: {error}\nNext: besace-provision enrol again") from None


def _day(utc_s: int | None) -> str | None:
    return _local(utc_s).date().isoformat() if utc_s is not None else None


def _local(utc_s: int) -> datetime:
    return datetime.fromtimestamp(utc_s, UTC).astimezone()
