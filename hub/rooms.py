"""One room per bag: what came in, brought onto the hub's clock and through the bag's own chain, onto a Board."""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from agent.display.board import Board, LinkState, VisitState
from agent.display.views import card_of, spoken, view_of
from agent.display.words import Words
from agent.drivers.camera import Frame, Viewfinder
from agent.drivers.jpeg import JpegError, cleaned
from agent.dsp.chains import Chains
from agent.errors import WireError
from agent.model import (
    Analysis,
    FilePart,
    Gap,
    Instrument,
    InstrumentEvent,
    Reading,
    SampleBlock,
    Signal,
    Stream,
    Trace,
    Visit,
)
from agent.transport.files import WholeFile
from agent.transport.messages import AnalysisBody, Batch, Preview, VisitBody, VisitStep, Waveform
from agent.transport.records import Born, Read, RecordReader
from hub.page import same_code
from hub.receiver import Heard
from hub.treated import Treated
from hub.visit_files import VisitFiles

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Epoch:
    """What is needed to read one epoch's batches."""

    reader: RecordReader = field(default_factory=RecordReader)
    chains: Chains = field(default_factory=lambda: Chains(analyse=False))
    waiting: list[Heard] = field(default_factory=list)


CAMERA = "camera"  # the catalogue's key
WAITING = 64  # batches kept for a birth record that is still to come
PAST_NS = 120 * 1_000_000_000
EPOCHS_KEPT = 32  # of one bag; older ones are forgotten, so that a bag that restarts all day does not fill the hub


class Room:
    """One bag as the doctor sees it."""

    def __init__(
        self, device: str, *, words: Words, demo: bool, now_ns: Callable[[], int], who: Callable[[bytes], str]
    ) -> None:
        self.title = spoken(device)
        self.board = Board(words, demo=demo, bag=self.title, now_ns=now_ns, wall=self._wall, remote=True)
        self.board.link(LinkState.CONNECTED)
        self.board.beside = self._beside
        self._who = who
        self.visit: Visit | None = None
        self.files = VisitFiles()
        self.viewfinder = Viewfinder()
        self.watched = False
        self._now_ns = now_ns
        self._treated = Treated(self.board.treated)
        self._streams: dict[str, Stream] = {}
        self._epochs: dict[bytes, Epoch] = {}
        self._shift_ns: dict[bytes, int] = {}
        self._live: dict[bytes, None] = {}
        self._opened: tuple[bytes, int, int] = b"", 0, 0
        self._closed: dict[bytes, None] = {}

    def _wall(self, t_ns: int) -> datetime:
        """A time of the hub's boot clock as local time of day: the hub's clock is kept by its operator."""
        return datetime.fromtimestamp(time.time() - (self._now_ns() - t_ns) / 1e9).astimezone()

    def _beside(self) -> dict[str, Any]:
        """Who has the bag: its visit names the badge, the custody log the badge's label (it may come later)."""
        holder = self.visit.holder if self.visit is not None else None
        return {"holder": self._who(holder) or holder.hex() if holder is not None else ""}

    @property
    def open(self) -> bool:
        """Whether the visit goes on."""
        return self.visit is not None

    def documents(self) -> list[WholeFile]:
        """The files that came with the open visit."""
        return self.files.of(self.visit.id) if self.visit is not None else []

    async def watch(self, on: bool, /) -> None:
        """A doctor looks, or nobody does any more."""
        self.watched = on

    def hear(self, heard: Heard) -> None:
        """Show one batch that is on disk."""
        epoch = self._epochs.setdefault(heard.epoch, Epoch())
        _keep_newest(self._epochs)
        _keep_newest(self._shift_ns)
        _keep_newest(self._live)
        # The bag's boot clock on ours: the fastest message yet says best how far they are apart.
        boot = heard.header.boot_id
        if heard.live:
            self._live[boot] = None
        shift = self._now_ns() - heard.batch.t_us * 1000
        self._shift_ns[boot] = min(shift, self._shift_ns.get(boot, shift))
        epoch.waiting.append(heard)
        held, epoch.waiting = epoch.waiting[-WAITING:], []
        for one in sorted(held, key=lambda h: h.batch.t_us):
            try:
                items = epoch.reader.read(self._of_now(one))
            except WireError:
                epoch.waiting.append(one)
                continue
            self._show(one, epoch, items)

    def _of_now(self, heard: Heard) -> Batch:
        """A batch without its signals where these are long past: hours of them come in when a bag is back.

        Before a boot was heard live nobody knows how long past; what comes then is an outage filled in.
        """
        batch, boot = heard.batch, heard.header.boot_id
        if boot in self._live and self._now_ns() - batch.t_us * 1000 - self._shift_ns[boot] < PAST_NS:
            return batch
        kept = tuple(record for record in batch.records if not isinstance(record.body, Waveform | AnalysisBody))
        return replace(batch, records=kept)

    def _show(self, heard: Heard, epoch: Epoch, items: list[Read]) -> None:
        shift = self._shift_ns[heard.header.boot_id]
        for item in items:
            if isinstance(item, Born):
                epoch.chains.add([item.stream])
                self._streams[item.stream.name] = item.stream
                self.board.describe([item.stream], views={item.stream.name: view_of(item.chain)})
                self._show_tile(item.stream.instrument)
            elif isinstance(item, Instrument):
                self._show_tile(item.key)
                self.board.camera = self.board.camera or item.key == CAMERA
            elif isinstance(item, VisitBody):
                self._visit(heard, item)
            elif isinstance(item, SampleBlock):
                block = replace(item, t_ns=item.t_ns + shift)
                self.board.feed(block)  # the doctor hears the sound itself, not its trace
                stream = self._streams.get(block.stream)
                if self.watched and stream is not None and stream.signal is Signal.SOUND:
                    self._treated.push(stream, block)
                for shown in epoch.chains.push(block):
                    self.board.feed(shown)
            elif isinstance(item, FilePart):
                self.files.take(heard.batch.visit, replace(item, t_ns=item.t_ns + shift))
            elif isinstance(item, Reading):
                self.board.feed(item._replace(t_ns=item.t_ns + shift))
            elif isinstance(item, Trace | Analysis | InstrumentEvent | Gap):
                self.board.feed(replace(item, t_ns=item.t_ns + shift))
        self.board.heard()

    def _show_tile(self, instrument: str) -> None:
        card = card_of(instrument, self._streams.values())
        if card is not None:
            self.board.describe([], cards=[card])

    def _visit(self, heard: Heard, body: VisitBody) -> None:
        """Follow the newest visit: an outage filled in tells of older ones, their ends perhaps first."""
        visit = heard.batch.visit
        if visit is None:
            return
        chain, number, t_us = heard.header.chain, heard.header.number, heard.batch.t_us
        if body.step not in {VisitStep.OPEN, VisitStep.RESUME}:
            self._closed[visit] = None
            _keep_newest(self._closed)
            if self.visit is not None and visit == self.visit.id:
                self.board.visit(None, VisitState.SENT)
                self.visit = None
        elif visit not in self._closed and (chain != self._opened[0] or (number, t_us) >= self._opened[1:]):
            self._opened = chain, number, t_us
            self.visit = Visit(visit, body.code, t_us * 1000, body.holder)
            self.board.visit(self.visit, VisitState.VISIT)


def _keep_newest(kept: dict[bytes, Any]) -> None:
    """Forget what came first, beyond as many as are kept."""
    while len(kept) > EPOCHS_KEPT:
        del kept[next(iter(kept))]


class Rooms:
    """Every bag heard since the hub began; a visit is found by the code its nurse reads aloud."""

    def __init__(self, *, words: Words, now_ns: Callable[[], int], who: Callable[[bytes], str] = lambda _: "") -> None:
        self._words = words
        self._who = who
        self._now_ns = now_ns
        self.rooms: dict[str, Room] = {}
        self.failed = 0

    def hear(self, heard: Heard) -> None:
        """Pass a batch to its bag's room."""
        room = self.rooms.get(heard.device)
        if room is None:
            room = Room(heard.device, words=self._words, demo=heard.header.demo, now_ns=self._now_ns, who=self._who)
            self.rooms[heard.device] = room
        try:
            room.hear(heard)
        except Exception:  # showing must never stop receiving: what is on disk stays, the page goes stale and says so
            if not self.failed:
                log.exception("room=%s shown=0", heard.device)
            self.failed += 1

    def preview(self, device: str, picture: Preview) -> None:
        """Show a camera's picture to whoever looks at its visit."""
        room = self.rooms.get(device)
        if room is None or not room.viewfinder.wanted:
            return
        if room.visit is not None and room.visit.id == picture.visit:
            with suppress(JpegError):  # what a browser is given is a whole picture
                room.viewfinder.show(Frame(self._now_ns(), cleaned(picture.jpeg)))

    def find(self, code: str) -> Room | None:
        """The one open visit with this code; none when two bags happen to share it."""
        open_rooms = [(room.visit.code, room) for room in self.rooms.values() if room.visit is not None]
        if sum(known == code for known, _ in open_rooms) > 1:
            return None
        return same_code(open_rooms, code)

    def watched(self) -> set[str]:
        """The devices a doctor looks at."""
        return {device for device, room in self.rooms.items() if room.watched}
