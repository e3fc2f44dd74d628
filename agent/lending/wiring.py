"""The lending part of the wiring: self-test, loan desk, window; what each asks of the others, and their tasks.

Every bag tests itself; one that was enrolled with cards' keys has a desk; one whose configuration says so, a window.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from agent.clock import Clock
from agent.config import Config
from agent.control import Verb
from agent.custody import State
from agent.display.board import Board
from agent.errors import StateError
from agent.health import Battery, Readiness
from agent.instruments import Instruments
from agent.lending.backlog import Backlog
from agent.lending.selftest import SelfTest
from agent.outbox import OutboxThread
from agent.recorder import Recorder
from agent.supervisor import supervise
from agent.transport.delivery import Delivery
from agent.transport.identity import Identity
from agent.transport.messages import EpochReason
from agent.transport.uplink import LinkState
from agent.visit import State as VisitState

if TYPE_CHECKING:
    from agent.lending.desk import Desk
    from agent.lending.loan import Said
    from agent.lending.signs import Conditions, Signs

log = logging.getLogger(__name__)

CARDS = "cards.pem"
COUNT_EVERY_S = 5.0


class Lending:
    """What concerns the bag's lending, in one place; `desk` and `signs` are None where the bag has none."""

    def __init__(
        self,
        config: Config,
        *,
        clock: Clock,
        identity: Identity,
        outbox: OutboxThread,
        delivery: Delivery,
        recorder: Recorder,
        instruments: Instruments,
        board: Board,
        link: LinkState,
        visit: Callable[[], VisitState],
        handed_over: Callable[[], None],
    ) -> None:
        self._config, self._clock, self._identity = config, clock, identity
        self._outbox, self._delivery, self._recorder = outbox, delivery, recorder
        self._instruments, self._board, self._link, self._visit = instruments, board, link, visit
        self._handed_over = handed_over
        self._spoke_ns: dict[str, int] = {}
        self._backlog = Backlog()
        self._scans: asyncio.Queue[str] = asyncio.Queue(16)
        self._readiness = Readiness(())
        self._test = SelfTest(
            state_dir=config.bag.state_dir,
            time=recorder.time,
            essential={p.instrument: p.essential for p in config.part if p.instrument},
            connected=lambda: link.connected,
            unsent_bytes=lambda: self._backlog.unsent_bytes if delivery.unreceipted() else 0,
            disk_error=lambda: recorder.disk_error,
            states=lambda: {e.instrument: e.state for e in instruments.states() if e.state is not None},
            low_batteries=lambda: instruments.low_batteries,
            cap_bytes=config.bag.outbox_mb << 20,
        )
        self.desk = self._open_desk()
        self.signs = self._open_signs()
        board.beside = self._beside

    def _open_desk(self) -> "Desk | None":
        keys = self._config.hub.ca.parent
        if not (keys / CARDS).exists():
            return None
        from agent.lending.desk import Desk, Sources, Terms  # noqa: PLC0415 - only a bag with a desk pays for it
        from agent.lending.inventory import Part, Supply  # noqa: PLC0415

        bag = self._config.bag
        parts = tuple(Part(p.tag, p.name, p.essential, p.instrument or None) for p in self._config.part)
        supplies = tuple(Supply(c.tag, c.name, c.least, c.until) for c in self._config.consumable)
        sources = Sources(
            in_visit=lambda: self._recorder.visit is not None,
            unreceipted=self._delivery.unreceipted,
            seen_s=lambda: {key: (self._clock.now_ns() - t_ns) / 1e9 for key, t_ns in self._spoke_ns.items()},
            left_min=self._backlog.left_min,
            serial=self._instruments.serial,
            store=self._recorder.act,
            begin_epoch=self._begin_epoch,
            said=self._said,
            time=self._recorder.time,
        )
        return Desk(
            sources=sources,
            terms=Terms(bag.name, parts, supplies, self._config.loan.due, demo=bag.demo),
            test=self._test,
            clock=self._clock,
            identity=self._identity,
            keys=keys,
            entries=self._outbox.now(self._outbox.box.ledger),
        )

    def _open_signs(self) -> "Signs | None":
        if not self._config.lights.enabled:
            return None
        from agent.lending.signs import Conditions, Signs  # noqa: PLC0415 - only a bag with a window pays for it

        def look() -> "Conditions":
            return Conditions(
                started=bool(self._link.connections or self._link.last_error),
                readiness=self._readiness,
                in_visit=self._visit() is VisitState.VISIT,
                connected=self._link.connected,
                all_sent=self._visit() is VisitState.SENT,
                custody=self.desk.loan.state if self.desk is not None else None,
            )

        return Signs(self._config.lights, look=look)

    def tasks(self) -> dict[str, Coroutine[Any, Any, None]]:
        """What runs beside the agent's other parts, by name."""
        tasks: dict[str, Coroutine[Any, Any, None]] = {
            "backlog": self._count_backlog(),
            "self-test": supervise("self-test", lambda: self._test.watch(self._tested)),
        }
        if self.desk is not None:
            tasks |= {"desk": self.desk.run(), "scans": self._scan_all(self.desk)}
        if self.signs is not None:
            tasks["signs"] = supervise("signs", self.signs.run)
        return tasks

    @property
    def holder(self) -> bytes | None:
        """The badge that has the bag, for the visit that begins; None while nobody has it."""
        return (self.desk.loan.custody.badge or None) if self.desk is not None else None

    # --- what comes in ---------------------------------------------------------------------------------------------

    def spoke(self, instrument: str) -> None:
        """An instrument gave something: it is in the bag."""
        self._spoke_ns[instrument] = self._clock.now_ns()

    def scanned(self, text: str) -> None:
        """The scanner read a card; more than a person can hold before it are dropped."""
        if not self._scans.full():
            self._scans.put_nowait(text)

    def verbs(self) -> dict[str, Verb]:
        """What commands may ask: `scan` a card's text, `retire` the bag; StateError on a bag without a desk."""

        def desk() -> "Desk":
            if self.desk is None:
                raise StateError("this bag has no loan desk\nNext: besace-provision enrol")
            return self.desk

        async def scan(asked: dict[str, Any]) -> dict[str, Any]:
            said, sentence = await desk().scan(str(asked.get("text", "")))
            return {"say": said.say.value, "sentence": sentence, "custody": said.custody.state.value}

        async def retire(_: dict[str, Any]) -> dict[str, Any]:
            await desk().retire()
            return {"custody": State.RETIRED.value}

        return {"scan": scan, "retire": retire}

    async def silence(self, on: bool, /) -> None:
        """«Silence»; StateError on a bag without a buzzer."""
        if self.signs is None:
            raise StateError("this bag has no buzzer\nNext: set [lights] enabled = true")
        self.signs.quiet = on

    async def _scan_all(self, desk: "Desk") -> None:
        while True:
            await desk.scan(await self._scans.get())

    async def _count_backlog(self) -> None:
        while True:
            counts = await self._outbox.call(self._outbox.box.counts)
            self._backlog.count(self._clock.now_ns() / 1e9, counts.payload_bytes)
            await asyncio.sleep(COUNT_EVERY_S)

    async def _begin_epoch(self, reason: EpochReason) -> None:
        """The bag has another holder, or none: a new epoch, and the last visit is nobody's news any more."""
        await self._recorder.begin_epoch(reason)
        self._handed_over()

    # --- what goes out -----------------------------------------------------------------------------------------------

    def _said(self, said: "Said") -> None:
        """The desk answered: the sentence is on the page, with names; the log has none."""
        log.info("desk=%s", said.say.value)
        if self.signs is not None:
            self.signs.said(said.say)

    def _tested(self, readiness: Readiness, battery: Battery | None) -> None:
        self._readiness = readiness
        if battery is not None:
            self._board.battery(minutes=battery.minutes, percent=battery.percent)

    def _beside(self) -> dict[str, Any]:
        return {
            "desk": self.desk.view() if self.desk is not None else None,
            "quiet": self.signs.quiet if self.signs is not None else None,
        }

    def status(self) -> dict[str, Any]:
        """What `besace status` says of it."""
        return {
            "custody": self.desk.loan.state.value if self.desk else None,
            "desk": self.desk.sentence if self.desk else None,
            "light": self.signs.light.value if self.signs else None,
            "self_test": self._readiness.level.name.lower(),
        }
