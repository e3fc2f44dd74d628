"""The loan desk at work in the agent: gives the desk what it asks of the bag, ticks it, and passes on what it says.

A bag has a desk when it was enrolled with cards' keys (`cards.pem` beside the pinned root). The list of revoked cards
is written by the renewal timer and taken when it changes.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agent import badges, health, ledger
from agent.badges import BadgeError, Revoked, Utc
from agent.clock import VOUCHED, Clock, Timekeeper
from agent.custody import Action, Say
from agent.display.desk import desk_words, tell
from agent.errors import ProvisioningError
from agent.inventory import Part
from agent.loan import Loan, Said
from agent.model import InstrumentState
from agent.transport.identity import Identity
from agent.transport.messages import EpochReason

log = logging.getLogger(__name__)

CARDS, REVOKED = "cards.pem", "revoked.cose"
LIST_EVERY_TICKS = 60


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the desk learns of the bag, and what it has done: one callable each, from the wiring."""

    in_visit: Callable[[], bool]
    connected: Callable[[], bool]
    unreceipted: Callable[[], int]
    unsent_bytes: Callable[[], int]
    disk_error: Callable[[], str]
    states: Callable[[], Mapping[str, InstrumentState]]
    seen_s: Callable[[], dict[str, float]]
    store: Callable[[ledger.Entry], Awaitable[None]]
    begin_epoch: Callable[[EpochReason], Awaitable[None]]
    said: Callable[[Said, str], None]
    time: Timekeeper


@dataclass(frozen=True, slots=True)
class Terms:
    """The bag's own terms: its name, its parts, the hour of return, the room for records, demonstration or not."""

    bag: str
    state_dir: Path
    parts: Sequence[Part] = ()
    due: str = "19:00"
    cap_bytes: int = 2 << 30
    demo: bool = False


class Desk:
    """One bag's desk, alive; implements loan.Bag."""

    def __init__(
        self, *, sources: Sources, terms: Terms, clock: Clock, identity: Identity, keys: Path, entries: Sequence[bytes]
    ) -> None:
        self._sources, self._terms, self._clock, self._identity = sources, terms, clock, identity
        self._keys = badges.key_ring(_card_keys(keys / CARDS))
        self._list = keys.parent / REVOKED
        self._words = desk_words()
        self.sentence = ""
        self.loan = Loan(
            bag=self, identity=identity, boot_id=clock.boot_id, entries=entries, keys=self._keys,
            revoked=self._read_list(), parts=terms.parts,
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
        names = {part.tag: part.name for part in self._terms.parts}
        names |= {part.instrument: part.name for part in self._terms.parts if part.instrument}
        self.sentence = tell(said, self._words, bag=self._terms.bag, names=names, local=_local)
        if said.say is not Say.NOTHING:
            self._sources.said(said, self.sentence)
        return self.sentence

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

    def due_s(self, utc_s: int) -> int:
        """The next time it is the hour of return here."""
        now = _local(utc_s)
        hour, minute = (int(part) for part in self._terms.due.split(":"))
        due = now.replace(hour=hour, minute=minute, second=0)
        return int((due if due > now else due + timedelta(days=1)).timestamp())

    def readiness(self) -> health.Readiness:
        """The self-test, now."""
        sources, essential = self._sources, {p.instrument: p.essential for p in self._terms.parts if p.instrument}
        try:
            disk = health.judge_disk(health.read_disk(self._terms.state_dir), sources.disk_error())
        except OSError as error:
            disk = health.judge_disk(health.Disk(0, read_only=False), str(error))
        anchor = self._sources.time.best()
        return health.Readiness(
            (
                health.judge_battery(health.read_battery()),
                disk,
                health.judge_clock(anchor),
                health.judge_link(connected=sources.connected()),
                health.judge_backlog(sources.unsent_bytes(), self._terms.cap_bytes),
                *health.judge_instruments(sources.states(), essential),
            )
        )

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
        """Whether the bag is on its charger; without a gauge nobody knows, and nobody is reminded."""
        battery = health.read_battery()
        return battery is not None and battery.charging

    async def store(self, entry: ledger.Entry) -> None:
        """Entry and sealed row, one transaction."""
        await self._sources.store(entry)

    async def do(self, action: Action) -> None:
        """A new epoch at check-out and at the end of a check-in; erasing is the technician's command."""
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


def _local(utc_s: int) -> datetime:
    return datetime.fromtimestamp(utc_s, UTC).astimezone()
