"""From model objects to sealed rows on board and on their way: the one place where a batch becomes a row.

A cut takes everything since the last one, seals it as the epoch's next row, offers it to the uplink at once and
commits it beside that; receipts ride in the same commit. Outside a visit samples and values are not taken at all.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable

from agent.clock import Clock, system_anchor
from agent.errors import StateError
from agent.model import Analysis, ChainStage, Gap, Instrument, InstrumentEvent, Reading, SampleBlock, Stream, Visit
from agent.outbox import OutboxThread
from agent.transport.delivery import Delivery
from agent.transport.epoch import Epoch, OutRow
from agent.transport.identity import Identity
from agent.transport.messages import EpochReason, EpochReceipt, VisitBody, VisitStep
from agent.transport.records import RecordWriter

log = logging.getLogger(__name__)

Item = SampleBlock | Gap | Reading | InstrumentEvent | Analysis
VISIT_KEPT = "visit"


class Recorder:
    """Rows of this process: one epoch after another, each with its own writer."""

    def __init__(
        self,
        *,
        identity: Identity,
        clock: Clock,
        outbox: OutboxThread,
        delivery: Delivery,
        demo: bool,
        describe: Callable[[RecordWriter], None],
    ) -> None:
        self._identity = identity
        self._clock = clock
        self._outbox = outbox
        self._delivery = delivery
        self._demo = demo
        self._describe = describe
        self._receipts: list[EpochReceipt] = []
        self._keep: dict[str, bytes | None] = {}
        self._uncommitted: list[OutRow] = []
        self._committing = asyncio.Lock()
        self.disk_error = ""
        self.visit: Visit | None = None
        self.offer: Callable[[OutRow], None] = lambda _row: None
        self.committed: Callable[[], None] = lambda: None
        self.rows_committed = 0
        self.urgent = asyncio.Event()
        self.epoch = self._begin(EpochReason.START)
        self._outbox.now(self._outbox.box.commit, [self.epoch.header])
        self._delivery.committed(self.epoch.id, 0)

    def _begin(self, reason: EpochReason) -> Epoch:
        epoch = Epoch(
            self._identity,
            boot_id=self._clock.boot_id,
            t_us=self._clock.now_ns() // 1000,
            reason=reason,
            previous=self._outbox.now(self._outbox.box.previous),
            demo=self._demo,
        )
        self._writer = RecordWriter()
        self._describe(self._writer)
        self._writer.add(system_anchor(self._clock, floor_us=self._identity.not_before_us))
        log.info("epoch=%s reason=%s", epoch.id.hex(), reason.value)
        return epoch

    # --- what is taken ---------------------------------------------------------------------------------------

    def add(self, items: Iterable[Item]) -> None:
        """Take model objects of the open visit; without one they are shown, not stored."""
        if self.visit is None:
            return
        for item in items:
            self._writer.add(item)

    def instrument(self, instrument: Instrument) -> None:
        """An instrument said more of itself."""
        self._writer.instrument(instrument, self._clock.now_ns())

    def stream(self, stream: Stream, chain: Iterable[ChainStage]) -> None:
        """A stream's chain became known."""
        self._writer.stream(stream, chain, self._clock.now_ns())

    def open_visit(self, visit: Visit, *, resumed: bool) -> None:
        """Begin to store; the visit survives a restart."""
        self.visit = visit
        step = VisitStep.RESUME if resumed else VisitStep.OPEN
        self._writer.bag(VisitBody(step, visit.code), self._clock.now_ns())
        kept = self._clock.boot_id + visit.t_ns.to_bytes(8) + visit.id + visit.code.encode()
        self._keep[VISIT_KEPT] = kept
        self.urgent.set()

    async def close_visit(self) -> None:
        """Store the visit's end; what was taken before it is cut with it."""
        if self.visit is None:
            return
        self._writer.bag(VisitBody(VisitStep.CLOSE, self.visit.code), self._clock.now_ns())
        self._keep[VISIT_KEPT] = None
        await self.cut()
        self.visit = None

    def kept_visit(self) -> Visit | None:
        """The visit that was open when the last process of this boot ended."""
        kept = self._outbox.now(self._outbox.box.kept, VISIT_KEPT)
        if kept is None or len(kept) != 16 + 8 + 16 + 4 or kept[:16] != self._clock.boot_id:
            return None
        return Visit(kept[24:40], kept[40:].decode(), int.from_bytes(kept[16:24]))

    def receipted(self, receipt: EpochReceipt) -> None:
        """The hub has rows: they leave the disk with the next commit."""
        self._receipts.append(receipt)

    # --- rows --------------------------------------------------------------------------------------------------

    async def cut(self) -> None:
        """Seal what came since the last cut, offer it, commit it; commit receipts and kept values with it.

        What a failing disk refuses stays in memory and is tried again at the next cut, so live rows keep flowing.
        """
        visit = self.visit.id if self.visit is not None else None
        batch = self._writer.cut(self._clock.now_ns(), visit)
        if batch is not None:
            row = self.epoch.row(batch)
            self.offer(row)
            self._uncommitted.append(row)
        async with self._committing:
            rows, receipts, keep = self._uncommitted, self._receipts, self._keep
            if not rows and not receipts and not keep:
                return
            self._uncommitted, self._receipts, self._keep = [], [], {}
            try:
                await self._outbox.call(self._outbox.box.commit, rows, receipts, keep)
            except StateError as error:
                self._uncommitted = rows + self._uncommitted
                self._receipts = receipts + self._receipts
                self._keep = keep | self._keep
                if str(error) != self.disk_error:
                    log.error("outbox=failing error=%r waiting_rows=%d", str(error), len(self._uncommitted))
                self.disk_error = str(error)
                return
        self.disk_error = ""
        for row in rows:
            self._delivery.committed(row.epoch, row.seq)
        self.rows_committed += len(rows)
        self._delivery.forget_epochs(self.epoch.id)
        if rows:
            self.committed()

    async def cut_every(self, interval_s: Callable[[], float]) -> None:
        """Cut at a pace, and at once for what is urgent; until cancelled."""
        while True:
            try:
                async with asyncio.timeout(interval_s()):
                    await self.urgent.wait()
            except TimeoutError:
                pass
            self.urgent.clear()
            await self.cut()
