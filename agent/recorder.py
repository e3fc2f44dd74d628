"""From model objects to sealed rows on board and on their way: the one place where a batch becomes a row.

A cut takes everything since the last one, seals it as the epoch's next rows, offers them to the uplink at once and
commits them beside that; receipts ride in the same commit. Outside a visit samples and values are not taken at all,
and nothing that was taken before a visit ever joins it.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress

from agent import ledger
from agent.clock import Anchor, Clock, Source, Timekeeper
from agent.errors import StateError
from agent.model import (
    Analysis,
    ChainStage,
    FilePart,
    Gap,
    Instrument,
    InstrumentEvent,
    Reading,
    SampleBlock,
    Stream,
    Visit,
)
from agent.outbox import OutboxThread
from agent.room import GaveWay
from agent.software import software
from agent.transport.delivery import Delivery
from agent.transport.epoch import Epoch, OutRow
from agent.transport.identity import Identity
from agent.transport.messages import (
    CustodyBody,
    EpochReason,
    EpochReceipt,
    GaveWayBody,
    PreviousEpoch,
    VisitBody,
    VisitStep,
)
from agent.transport.records import RecordWriter

log = logging.getLogger(__name__)

Item = SampleBlock | Gap | Reading | InstrumentEvent | Analysis
VISIT_KEPT = "visit"
KEPT_BYTES = (16 + 8 + 16 + 4, 16 + 8 + 16 + 4 + 6)  # boot, time, visit, code; and the holder's badge
SEEN_KEPT = "visit_seen"
FLOOR_KEPT = "time_floor"
ACT_AGAIN_S = 1.0
EPOCH_NS = 12 * 3600 * 1_000_000_000
EPOCH_ROWS = 1 << 31
COMMIT_EVERY_S = 1.0
USUAL_COMMIT_S = 0.04
MOST_WAITING_BYTES = 32 << 20
NTP_LOOK_NS = 60 * 1_000_000_000
NTP_AGAIN_NS = 600 * 1_000_000_000


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
        self._chain = outbox.now(outbox.box.chain)
        kept = outbox.now(outbox.box.kept, FLOOR_KEPT)
        self.time = Timekeeper(clock, floor_us=identity.not_before_us, kept_us=int.from_bytes(kept or b""))
        self._looked_ns = self._ntp_told_ns = 0
        self._receipts: list[EpochReceipt] = []
        self._done: list[bytes] = []
        self._keep: dict[str, bytes | None] = {}
        self._uncommitted: list[OutRow] = []
        self._entries: list[ledger.Entry] = []
        self._declare: list[GaveWay] = []
        self._declared: list[GaveWay] = []
        self._committing = asyncio.Lock()
        self.commit_s = USUAL_COMMIT_S  # to be expected from when a cut is due until its rows are on the disk
        self.disk_error = ""
        self.too_old = 0
        self.visit: Visit | None = None
        self.offer: Callable[[OutRow], None] = lambda _row: None
        self.announce: Callable[[Epoch], None] = lambda _epoch: None
        self.committed: Callable[[], None] = lambda: None
        self.rows_committed = 0
        self.rows_given_way = 0
        self.urgent = asyncio.Event()
        self.epoch = self._begin(EpochReason.START, outbox.now(outbox.box.previous))
        rows = self._uncommitted
        try:
            gone = outbox.now(outbox.box.commit, rows)
        except StateError as error:  # a full disk must not keep a bag from sending what fills it
            self._failing(error)
        else:
            self._uncommitted = []
            self._delivery.committed(self.epoch.id, 0)
            self._gave_way(gone)  # and what the last process had no time to declare

    def _begin(self, reason: EpochReason, previous: PreviousEpoch | None) -> Epoch:
        self._began_ns = self._clock.now_ns()
        epoch = Epoch(
            self._identity,
            boot_id=self._clock.boot_id,
            t_us=self._began_ns // 1000,
            reason=reason,
            chain=self._chain,
            number=self._outbox.box.next_number(),
            previous=previous,
            demo=self._demo,
            software=software(),
        )
        self._uncommitted.append(epoch.header)
        self._writer = RecordWriter()
        self._describe(self._writer)
        self._anchor(self.time.best())
        log.info("epoch=%s number=%d reason=%s", epoch.id.hex(), epoch.number, reason.value)
        return epoch

    async def begin_epoch(self, reason: EpochReason) -> None:
        """Go on under a new key: what came before is the old epoch's, and is committed with the new one's header.

        The header is sent beside its commit, like any row. Should a power cut take both back, the next process's header
        names less of the old epoch, and of two claims the hub takes the least.
        """
        self._seal()
        self.epoch = self._begin(reason, PreviousEpoch(self.epoch.id, self.epoch.last))
        self.announce(self.epoch)
        await self._commit()

    async def act(self, entry: ledger.Entry) -> None:
        """Store a custody entry and its sealed row in one transaction; return when they are on disk.

        Its row is sent only from there (as backlog): a step that a power cut takes back was never told to anybody.
        Without a visit: the custody log knows none. A disk that refuses is tried again each second.
        """
        self._seal()
        now_ns = self._clock.now_ns()
        self._writer.bag(CustodyBody(entry.data), now_ns)
        self._uncommitted += [self.epoch.row(batch) for batch in self._writer.cut(now_ns, None)]
        self._entries.append(entry)
        await self._commit()
        while entry in self._entries:
            await asyncio.sleep(ACT_AGAIN_S)
            await self._commit()

    # --- what is taken ---------------------------------------------------------------------------------------

    def add(self, items: Iterable[Item]) -> None:
        """Take model objects of the open visit; without one they are shown, not stored.

        What was measured before the visit began (the last patient's, still on its way through a filter or a meter's
        memory) is counted and left out.
        """
        if self.visit is None:
            return
        for item in items:
            if item.t_ns < self.visit.t_ns:
                self.too_old += 1
            else:
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
        self._writer.bag(VisitBody(step, visit.code, visit.holder), self._clock.now_ns())
        kept = self._clock.boot_id + visit.t_ns.to_bytes(8) + visit.id + visit.code.encode() + (visit.holder or b"")
        self._keep[VISIT_KEPT] = kept
        self.urgent.set()

    async def close_visit(self) -> None:
        """Store the visit's end; what was taken before it is cut with it, what comes from now on is no part of it."""
        if self.visit is None:
            return
        self._writer.bag(VisitBody(VisitStep.CLOSE, self.visit.code, self.visit.holder), self._clock.now_ns())
        self._keep[VISIT_KEPT] = None
        self._seal()
        self.visit = None
        await self._commit()

    def kept_visit(self) -> tuple[Visit, int] | None:
        """The visit that was open when the last process of this boot ended, and the boot time it was last at work."""
        kept = self._outbox.now(self._outbox.box.kept, VISIT_KEPT)
        seen = self._outbox.now(self._outbox.box.kept, SEEN_KEPT)
        if kept is None or len(kept) not in KEPT_BYTES or kept[:16] != self._clock.boot_id:
            return None
        visit = Visit(kept[24:40], kept[40:44].decode(), int.from_bytes(kept[16:24]), kept[44:] or None)
        return visit, max(visit.t_ns, int.from_bytes(seen or b""))

    def hub_time(self, anchor: Anchor) -> None:
        """The hub said what time it is: stored when it says more than is known, in a visit or not."""
        if self.time.hear(anchor):
            self._anchor(anchor)

    def _look_at_ntp(self) -> None:
        """Store that timesyncd vouches for the clock, from when it first does and every ten minutes."""
        now_ns = self._looked_ns = self._clock.now_ns()
        anchor = self.time.best()
        if anchor.source is Source.NTP and now_ns - self._ntp_told_ns >= NTP_AGAIN_NS:
            self._anchor(anchor)

    def _anchor(self, anchor: Anchor) -> None:
        self._writer.add(anchor)
        self._keep[FLOOR_KEPT] = self.time.floor_us.to_bytes(8)
        if anchor.source is Source.NTP:
            self._ntp_told_ns = anchor.t_ns

    def receipted(self, receipt: EpochReceipt) -> None:
        """The hub has rows: they leave the disk with the next commit."""
        self._receipts.append(receipt)

    async def store_file(self, instrument: Instrument, parts: Iterable[FilePart]) -> None:
        """Store a file's pieces in rows of their own; they leave as backlog, behind everything that is live.

        StateError without a visit: a file belongs to a patient.
        """
        if self.visit is None:
            raise StateError("a file belongs to a visit, and none is open\nNext: besace visit new")
        self._seal()
        now_ns = self._clock.now_ns()
        self._writer.instrument(instrument, now_ns)
        for part in parts:
            self._writer.add(part)
        self._uncommitted += [self.epoch.row(batch) for batch in self._writer.cut(now_ns, self.visit.id)]
        await self._commit()

    async def mark(self) -> tuple[bytes, int]:
        """Store where the clock stands in a row of its own, now; the row's epoch and number."""
        self._seal()
        self._anchor(self.time.best())
        self._seal()
        row = self.epoch.id, self.epoch.last
        await self._commit()
        return row

    # --- rows --------------------------------------------------------------------------------------------------

    async def cut(self, *, patient: bool = False) -> None:
        """Seal what came since the last cut, offer it, commit it; commit receipts and kept values with it."""
        self._seal(patient=patient)
        await self._commit()

    def _seal(self, *, patient: bool = False) -> None:
        """Turn what was taken into rows, in one go: no item ever changes its visit while a commit is under way.

        `patient`: nobody looks, so what the stages found may wait for more of it.
        """
        visit = self.visit.id if self.visit is not None else None
        for span in self._declare:
            self._writer.bag(GaveWayBody(span.epoch, span.first, span.last), self._clock.now_ns())
        self._declared += self._declare
        self._declare = []
        apart = self._outbox.box.room.crowded or bool(self.disk_error)
        for batch in self._writer.cut(self._clock.now_ns(), visit, apart=apart, patient=patient):
            row = self.epoch.row(batch)
            self.offer(row)
            self._uncommitted.append(row)
            if self.visit is not None:
                self._keep[SEEN_KEPT] = self._clock.now_ns().to_bytes(8)

    async def _commit(self) -> None:
        """Put on disk what waits.

        What a failing disk refuses stays in memory and is tried again with the next commit, so live rows keep
        flowing; what the hub has of it meanwhile needs no disk any more.
        """
        async with self._committing:
            rows, receipts, keep, done = self._uncommitted, self._receipts, self._keep, self._done
            entries, declared = tuple(self._entries), self._declared
            if not rows and not receipts and not keep and not done:
                return
            self._uncommitted, self._receipts, self._keep, self._done, self._declared = [], [], {}, [], []
            try:
                gone = await self._outbox.call(self._outbox.box.commit, rows, receipts, keep, done, entries, declared)
            except StateError as error:
                self._declared = declared + self._declared
                waiting = [row for row in rows if row.seq == 0 or not self._delivery.is_receipted(row.epoch, row.seq)]
                self._uncommitted = self._spare(waiting + self._uncommitted)
                self._receipts = receipts + self._receipts
                self._keep = keep | self._keep
                self._done = done + self._done
                self._failing(error)
                return
            self._entries = self._entries[len(entries) :]
        self.disk_error = ""
        for row in rows:
            self._delivery.committed(row.epoch, row.seq)
        self._gave_way(gone)
        self.rows_committed += len(rows)
        self._done += self._delivery.forget_epochs(self.epoch.id)
        if rows:
            self.committed()

    def _spare(self, rows: list[OutRow]) -> list[OutRow]:
        """What memory may hold of what a failing disk refuses: the oldest waveforms give way here too."""
        over = sum(len(row.payload) for row in rows) - MOST_WAITING_BYTES
        kept = []
        for row in rows:
            if over > 0 and row.bulk:
                over -= len(row.payload)
                self._declare.append(GaveWay(row.epoch, row.seq, row.seq))
                self.rows_given_way += 1
            else:
                kept.append(row)
        return kept

    def _gave_way(self, gone: list[GaveWay]) -> None:
        """Rows are not on disk any more, or never came there: said to the hub with the next cut."""
        known = {*self._declare, *self._declared}
        for span in gone:
            if span not in known:
                self._delivery.gone(span.epoch, span.first, span.last)
                self.rows_given_way += span.last - span.first + 1
                self._declare.append(span)
        if gone:
            log.warning("outbox=crowded rows_given_way=%d", self.rows_given_way)

    def _failing(self, error: StateError) -> None:
        if str(error) != self.disk_error:
            log.error("outbox=failing error=%r waiting_rows=%d", str(error), len(self._uncommitted))
        self.disk_error = str(error)

    async def cut_every(
        self,
        interval_s: Callable[[], float],
        moment: Callable[[float], float] = lambda at_s: at_s,
        *,
        patient: Callable[[], bool] = lambda: False,
    ) -> None:
        """Cut at a pace, and at once for what is urgent; a new epoch when this one is old. Until cancelled.

        A doctor who looks is sent rows four times a second; they go to the disk together, so often that a power cut
        costs a second at most. `moment` gives the best time to cut near a time of the loop's clock; `patient` says that
        nobody looks.
        """
        loop = asyncio.get_running_loop()
        began_s = committed_s = loop.time()
        while True:
            due_s = moment(began_s + interval_s())
            with suppress(TimeoutError):  # from cut to cut, however long a commit takes: that much a power cut costs
                async with asyncio.timeout_at(due_s):
                    await self.urgent.wait()
            began_s = loop.time()
            due = self.urgent.is_set() or began_s + interval_s() + self.commit_s > committed_s + COMMIT_EVERY_S
            wait_for_more = patient() and not self.urgent.is_set()
            self.urgent.clear()
            if self._clock.now_ns() - self._looked_ns >= NTP_LOOK_NS:
                self._look_at_ntp()
            if self._clock.now_ns() - self._began_ns >= EPOCH_NS or self.epoch.last >= EPOCH_ROWS:
                await self.begin_epoch(EpochReason.AGE)
            elif due:
                committed_s = began_s
                await self.cut(patient=wait_for_more)
                took_s = loop.time() - min(began_s, due_s)
                self.commit_s = max(USUAL_COMMIT_S, 0.9 * self.commit_s, took_s)
            else:
                self._seal(patient=wait_for_more)
