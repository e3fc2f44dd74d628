"""Receives what bags send: open, decode strictly, commit, and only then receipt.

`Receiver` is the protocol, apart from any network: `take(topic, payload)` queues what can be believed,
`collect()` gives it to be put on disk, `committed()` moves it into `have`, `receipts()` says what each bag may now
delete; service.py runs it over MQTT. What cannot be believed is counted, logged once a minute at most, and changes
nothing.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from agent.errors import WireError
from agent.transport import seal, sequence, topics, wire
from agent.transport.messages import (
    AnalysisBody,
    Batch,
    Command,
    EpochHeader,
    EpochReceipt,
    EventBody,
    GapBody,
    InstrumentBirth,
    Order,
    Preview,
    ReadingBody,
    Receipt,
    State,
    StreamBirth,
    TimeAnswer,
    TimeAsk,
    VisitBody,
    VisitStep,
    Waveform,
)
from agent.transport.ranges import SeqSet
from hub.custody import entries_of
from hub.keys import Keyring, OpenEpoch
from hub.missing import Missing
from hub.store import Arrived, Holes, Store, VisitChange

log = logging.getLogger(__name__)

T = TypeVar("T")

EPOCHS_TOLD = 32  # newest epochs whose watermark a bag is told when it connects, and epochs in one receipt
RANGES_TOLD = 128
MOST_PENDING_BYTES = 64 << 20  # above it rows are refused, and the bags send them again
LOG_EVERY_S = 60.0
NEVER = -1, False, 0

# A bag that sends only these waits for no receipt: it keeps them a few seconds longer, and two packets less go down.
_FLOWING = Waveform | AnalysisBody | ReadingBody | EventBody | GapBody
_LASTING = (StreamBirth, InstrumentBirth, VisitBody)


@dataclass(frozen=True, slots=True)
class Heard:
    """A batch that is on the hub's disk, for whoever shows it.

    `live`: it came as soon as it was made; `entries`: of the custody log.
    """

    device: str
    epoch: bytes
    header: EpochHeader
    batch: Batch
    live: bool = True
    entries: tuple[bytes, ...] = ()


@dataclass(slots=True)
class Pending:
    """What waits for the next commit."""

    headers: list[Arrived] = field(default_factory=list)
    rows: list[Arrived] = field(default_factory=list)
    visits: list[VisitChange] = field(default_factory=list)
    holes: list[Holes] = field(default_factory=list)
    heard: list[Heard] = field(default_factory=list)
    keys: set[tuple[str, bytes, int]] = field(default_factory=set)
    given_up: set[tuple[str, bytes]] = field(default_factory=set)
    prompt: set[str] = field(default_factory=set)
    size: int = 0

    def __bool__(self) -> bool:
        return bool(self.keys)


def system_utc() -> int:
    """The hub's own clock, which its operator keeps."""
    return time.time_ns() // 1000


class Receiver:
    """What the hub believes and has, for every device; pure but for the store it is given."""

    def __init__(self, keyring: Keyring, *, now_us: Callable[[], int], utc_us: Callable[[], int] = system_utc) -> None:
        self._keyring = keyring
        self._now_us = now_us
        self._utc_us = utc_us
        self._asked: dict[str, tuple[int, int]] = {}
        self.have: dict[str, dict[bytes, SeqSet]] = {}
        self.refused: Counter[str] = Counter()
        self.online: dict[str, bool] = {}
        self._presence: dict[tuple[str, bytes], tuple[int, bool, int]] = {}
        self._missing = Missing()
        self._previewed: dict[tuple[str, bytes], int] = {}
        self.preview: Callable[[str, Preview], None] = lambda _device, _preview: None
        self._pending = Pending()
        self._in_commit: set[tuple[str, bytes, int]] = set()
        self._dirty: dict[str, set[bytes]] = {}
        self.prompt: set[str] = set()  # bags that wait for their receipt
        self._logged_s = float("-inf")

    def restore(self, store: Store) -> None:
        """Admit again every epoch on disk, and know again what will never come."""
        for hole in store.all_holes():
            self._missing.never(*hole)
        for device, header in store.headers():
            try:
                admitted = self._keyring.admit(device, header).opened.header
            except (seal.SealError, WireError) as error:
                self._refuse("stored header", device, error)
                continue
            self.have.setdefault(device, {})[admitted.epoch] = store.have(device, admitted.epoch)
            self._missing.ended(admitted)

    def open_visits(self, store: Store) -> list[Heard]:
        """What a page needs of the visits that were open when this hub began: births and steps, no samples."""
        heard = []
        for device in {visit.device for visit in store.open_visits()}:
            for epoch in list(self.have.get(device, {}))[-EPOCHS_TOLD:]:
                entry = self._keyring.find(device, epoch)
                for _, plaintext in store.plaintexts(device, epoch) if entry else ():
                    try:
                        batch = wire.decode(plaintext)
                    except WireError:  # kept for a newer hub
                        continue
                    if not isinstance(batch, Batch) or entry is None:
                        continue
                    kept = tuple(r for r in batch.records if isinstance(r.body, _LASTING))
                    heard.append(Heard(device, epoch, entry.opened.header, replace(batch, records=kept)))
        return heard

    def take(self, topic: str, payload: bytes) -> None:
        """Take one message as it came; never raises on its content."""
        parsed = topics.parse(topic)
        if parsed is None or not isinstance(parsed.name, topics.Up):
            self._refuse("topic", topic[:64], None)
            return
        try:
            if parsed.name is topics.Up.STATE:
                self._state(parsed.device, payload)
            elif parsed.name is topics.Up.LIVE:
                self._row(parsed.device, payload)
            elif parsed.name is topics.Up.BACKLOG:
                for row in sequence.split(payload):
                    self._one_of_many(parsed.device, row)
                self._pending.prompt.add(parsed.device)
            elif parsed.name is topics.Up.PREVIEW:
                self._preview(parsed.device, payload)
            else:
                self._ask(parsed.device, payload)
        except (seal.SealError, WireError) as error:
            self._refuse(parsed.name.value, parsed.device, error)

    def _one_of_many(self, device: str, payload: bytes) -> None:
        """A damaged row must not take those behind it along."""
        try:
            self._row(device, payload, live=False)
        except (seal.SealError, WireError) as error:
            self._refuse(topics.Up.BACKLOG.value, device, error)

    def _refuse(self, what: str, device: str, error: Exception | None) -> None:
        what = "version" if isinstance(error, seal.VersionError) else what
        self.refused[what] += 1
        now_s = time.monotonic()
        if now_s - self._logged_s >= LOG_EVERY_S:
            self._logged_s = now_s
            log.warning("refused=%s from=%s why=%r total=%d", what, device, str(error), self.refused.total())

    def _state(self, device: str, payload: bytes) -> None:
        """The epoch's header, then the bag's state sealed under it: retained by the broker, so the first to be read."""
        header, sealed = _pair(sequence.split(payload))
        self._header(device, header)
        if seal.head_of(header).epoch != seal.head_of(sealed).epoch:
            raise seal.SealError("a state of another epoch than its header")
        epoch, head, message = self._said(device, sealed, seal.Lane.STATE, State)
        self._pending.prompt.add(device)  # who comes wants to know where it stands, who goes waits for nothing else
        # A process counts its connections, and each ends once: a will that comes late, or a replay, is older news. The
        # epoch may change on the way; the will is still the one that the connection began with.
        news = message.session, not message.online, epoch.opened.header.number
        spoken_to = [other.opened.header.epoch for other in self._keyring.listening(device)]
        same = [other for other in spoken_to if self._keyring.same_process(device, other, head.epoch)]
        if news <= max(self._presence.get((device, other), NEVER) for other in (head.epoch, *same)):
            self.tell_all(device)
            return
        self._presence[device, head.epoch] = news
        if message.online:
            self._keyring.present(device, head.epoch)
        if same or message.online:
            self.online[device] = message.online
            self.tell_all(device)

    def _row(self, device: str, payload: bytes, *, live: bool = True) -> None:
        head = seal.head_of(payload)
        if head.lane is seal.Lane.HEADER:
            self._header(device, payload)
            return
        epoch = self._keyring.find(device, head.epoch)
        if epoch is None or not self._comes_or_has(device, head.epoch, 0):
            raise seal.SealError("a row of an epoch whose header has not come")  # it will be sent again
        head, plaintext = epoch.up.open(payload)
        if head.lane is not seal.Lane.ROW:
            raise seal.SealError("no row")
        if not self._news(device, head.epoch, head.counter, len(payload)):
            return
        t_us, visit = None, None
        try:
            batch = wire.decode(plaintext)
            if not isinstance(batch, Batch):
                raise WireError("no batch")  # noqa: TRY301 - the same end as a batch that does not decode
            t_us, visit = batch.t_us, batch.visit
            self._pending.visits += _visits(device, batch, demo=epoch.opened.header.demo)
            self._pending.given_up |= self._missing.gave_way(device, batch)
            if not all(isinstance(record.body, _FLOWING) for record in batch.records):
                self._pending.prompt.add(device)
            self._pending.heard.append(Heard(device, head.epoch, epoch.opened.header, batch, live, entries_of(batch)))
        except WireError as error:
            # Authentic but not understood: kept for a newer hub and receipted, or the bag would send it for ever.
            self._refuse("row not understood", device, error)
        self._pending.rows.append(Arrived(device, head.epoch, head.counter, t_us, visit, plaintext, self._now_us()))

    def _said(self, device: str, sealed: bytes, lane: seal.Lane, kind: type[T]) -> tuple[OpenEpoch, seal.Head, T]:
        """Open what is no row: by the epoch it names, on the one lane of its kind."""
        epoch = self._keyring.find(device, seal.head_of(sealed).epoch)
        if epoch is None:
            raise seal.SealError("a message of an epoch whose header has not come")
        head, plaintext = epoch.up.open(sealed)
        message = wire.decode(plaintext)
        if head.lane is not lane or not isinstance(message, kind):
            raise seal.SealError("another lane's message")
        return epoch, head, message

    def _ask(self, device: str, payload: bytes) -> None:
        """A bag asks for the time; of several questions the last is answered."""
        _, _, message = self._said(device, payload, seal.Lane.TIME_ASK, TimeAsk)
        self._asked[device] = message.asked_us, self._utc_us()

    def _preview(self, device: str, payload: bytes) -> None:
        """A picture to be seen now: only of the epoch the bag speaks under, and each only once."""
        epoch, head, message = self._said(device, payload, seal.Lane.PREVIEW, Preview)
        if epoch not in self._keyring.listening(device):
            raise seal.SealError("a picture of another epoch")
        if head.counter <= self._previewed.get((device, head.epoch), 0):
            raise seal.SealError("an old picture")
        self._previewed = {key: n for key, n in self._previewed.items() if key[0] != device}
        self._previewed[device, head.epoch] = head.counter
        self.preview(device, message)

    def answers(self) -> list[tuple[str, bytes]]:
        """The time, to each bag that asked, as (topic, payload); to be sent at once."""
        asked, self._asked = self._asked, {}
        return [
            (str(topics.Topic(device, topics.Down.TIME)), payload)
            for device, (asked_us, arrived_us) in asked.items()
            for payload in self._say(device, seal.Lane.TIME_ANSWER, TimeAnswer(asked_us, arrived_us, self._utc_us()))
        ]

    def _header(self, device: str, payload: bytes) -> None:
        epoch = self._keyring.admit(device, payload)
        header = epoch.opened.header
        if not self._news(device, header.epoch, 0, len(payload)):
            return
        self._pending.headers.append(Arrived(device, header.epoch, 0, header.t_us, None, payload, self._now_us()))
        self._missing.ended(header)
        self.tell_all(device)  # what was said under the epoch before it may not have been heard

    def _comes_or_has(self, device: str, epoch: bytes, seq: int) -> bool:
        """Whether a row is on disk or on its way there."""
        key = device, epoch, seq
        if key in self._pending.keys or key in self._in_commit:
            return True
        return seq in self.have.get(device, {}).get(epoch, ())

    def _news(self, device: str, epoch: bytes, seq: int, size: int) -> bool:
        """Whether a row is neither on disk nor waiting; one on disk is receipted again."""
        have = self.have.setdefault(device, {}).setdefault(epoch, SeqSet())
        if seq in have:
            self._dirty.setdefault(device, set()).add(epoch)
            self.prompt.add(device)
            return False
        if self._comes_or_has(device, epoch, seq):
            return False
        if self._pending.size + size > MOST_PENDING_BYTES:
            raise WireError("this hub's disk does not keep up")
        self._pending.keys.add((device, epoch, seq))
        self._pending.size += size
        return True

    def collect(self) -> Pending:
        """Take what waits, for one commit, with the holes of the epochs that are over as they then stand."""
        pending, self._pending = self._pending, Pending()
        self._in_commit = pending.keys
        touched = {(device, epoch) for device, epoch, _ in pending.keys} | pending.given_up
        for arrived in pending.headers:
            header = self._keyring.find(arrived.device, arrived.epoch)
            if header is not None and header.opened.header.previous is not None:
                touched.add((arrived.device, header.opened.header.previous.epoch))
        for device, epoch in self._missing.known(touched):
            then = SeqSet(self.have.get(device, {}).get(epoch, ()))
            for _, _, seq in (key for key in pending.keys if key[:2] == (device, epoch)):
                then.add(seq)
            pending.holes.append(Holes(device, epoch, self._missing.of((device, epoch), then)))
        return pending

    def committed(self, pending: Pending) -> None:
        """It is on disk: only now may it be receipted."""
        self._in_commit = set()
        self.prompt |= pending.prompt
        for device, epoch, seq in pending.keys:
            self.have[device][epoch].add(seq)
            self._dirty.setdefault(device, set()).add(epoch)

    def dropped(self, pending: Pending) -> None:
        """The disk refused it: it was never here, and comes again since nobody receipts it.

        But headers are tried again: a bag sends them first, and what follows is worth nothing without them.
        """
        self._in_commit = set()
        self.refused["commit"] += len(pending.keys)
        self._pending.headers += pending.headers
        self._pending.keys |= {(header.device, header.epoch, 0) for header in pending.headers}

    def tell_all(self, device: str) -> None:
        """Tell a bag its watermarks again: it has just connected, or this hub has."""
        on_disk = [epoch for epoch, have in self.have.get(device, {}).items() if have]
        self._dirty.setdefault(device, set()).update(on_disk[-EPOCHS_TOLD:])
        self.prompt.add(device)

    def waiting(self) -> set[str]:
        """Bags that have something on this disk which they were not told of."""
        return set(self._dirty)

    def receipts(self, only: Iterable[str] | None = None) -> list[tuple[str, bytes]]:
        """The sealed receipts that are due, as (topic, payload), under the epoch each device listens to."""
        due = []
        for device in list(self._dirty if only is None else only):
            self.prompt.discard(device)
            epochs = sorted(self._dirty.pop(device, ()))
            topic = str(topics.Topic(device, topics.Down.RECEIPT))
            for at in range(0, len(epochs), EPOCHS_TOLD):
                told = tuple(_receipt(epoch, self.have[device][epoch]) for epoch in epochs[at : at + EPOCHS_TOLD])
                due += [(topic, payload) for payload in self._say(device, seal.Lane.RECEIPT, Receipt(told))]
        return due

    def order(self, device: str, order: Order, number: int) -> list[tuple[str, bytes]]:
        """A sealed command to one bag; nothing when the bag has never been heard."""
        topic = str(topics.Topic(device, topics.Down.COMMAND))
        return [(topic, payload) for payload in self._say(device, seal.Lane.COMMAND, Command(number, order))]

    def _say(self, device: str, lane: seal.Lane, message: Receipt | Command | TimeAnswer) -> list[bytes]:
        plaintext = wire.encode(message)
        return [epoch.down.seal(lane, plaintext) for epoch in self._keyring.listening(device)]


def _pair(rows: list[bytes]) -> tuple[bytes, bytes]:
    if len(rows) != 2:
        raise WireError("no header with its state")
    return rows[0], rows[1]


def _receipt(epoch: bytes, have: SeqSet) -> EpochReceipt:
    beyond = [(first, last) for first, last in have if first > 0]
    return EpochReceipt(epoch, have.upto, tuple(beyond[:RANGES_TOLD]))


def _visits(device: str, batch: Batch, *, demo: bool) -> list[VisitChange]:
    if batch.visit is None:
        return []
    return [
        VisitChange(device, batch.visit, record.body.code, record.body.step in {VisitStep.OPEN, VisitStep.RESUME}, demo)
        for record in batch.records
        if isinstance(record.body, VisitBody)
    ]
