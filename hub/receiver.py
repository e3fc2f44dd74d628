"""Receives what bags send: open, decode strictly, commit, and only then receipt.

`Receiver` is the protocol, apart from any network: `take(topic, payload)` queues what can be believed,
`commit()` puts it on disk and moves it into `have`, `receipts()` says what each bag may now delete. `serve` runs it
over MQTT. What cannot be believed is counted, logged once a minute at most, and changes nothing.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace

from agent.errors import HubError, WireError
from agent.supervisor import Backoff
from agent.transport import seal, topics, wire
from agent.transport.messages import (
    Batch,
    Command,
    EpochHeader,
    EpochReceipt,
    InstrumentBirth,
    Order,
    Receipt,
    State,
    StreamBirth,
    VisitBody,
    VisitStep,
)
from agent.transport.ranges import SeqSet
from agent.transport.uplink import Link, split_sequence
from hub.keys import Keyring, OpenEpoch
from hub.store import Arrived, Hole, Store, VisitChange

log = logging.getLogger(__name__)

RECEIPT_EVERY_S = 1.0
RECEIPT_WATCHED_S = 0.25
WATCH_AGAIN_S = 5.0  # a watch order is repeated: a bag forgets it when it stops coming
EPOCHS_TOLD = 32  # newest epochs whose watermark a bag is told when it connects
LOG_EVERY_S = 60.0


_LASTING = (StreamBirth, InstrumentBirth, VisitBody)


@dataclass(frozen=True, slots=True)
class Heard:
    """A batch that is on the hub's disk, for whoever shows it."""

    device: str
    epoch: bytes
    header: EpochHeader
    batch: Batch


@dataclass(slots=True)
class Pending:
    """What waits for the next commit."""

    headers: list[Arrived] = field(default_factory=list)
    rows: list[Arrived] = field(default_factory=list)
    visits: list[VisitChange] = field(default_factory=list)
    holes: list[Hole] = field(default_factory=list)
    heard: list[Heard] = field(default_factory=list)
    keys: set[tuple[str, bytes, int]] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.keys)


class Receiver:
    """What the hub believes and has, for every device; pure but for the store it is given."""

    def __init__(self, keyring: Keyring, *, now_us: Callable[[], int]) -> None:
        self._keyring = keyring
        self._now_us = now_us
        self.have: dict[str, dict[bytes, SeqSet]] = {}
        self.refused: Counter[str] = Counter()
        self.online: dict[str, bool] = {}
        self._pending = Pending()
        self._dirty: dict[str, set[bytes]] = {}
        self._logged_s = float("-inf")

    def restore(self, store: Store) -> None:
        """Admit again every epoch on disk."""
        for device, header in store.headers():
            try:
                epoch = self._keyring.admit(device, header).opened.header.epoch
            except (seal.SealError, WireError) as error:
                self._refuse("stored header", device, error)
                continue
            self.have.setdefault(device, {})[epoch] = store.have(device, epoch)

    def open_visits(self, store: Store) -> list[Heard]:
        """What a page needs of the visits that were open when this hub began: births and steps, no samples."""
        heard = []
        for device in {visit.device for visit in store.open_visits()}:
            for epoch in list(self.have.get(device, {}))[-EPOCHS_TOLD:]:
                entry = self._keyring.find(device, epoch)
                for _, plaintext in store.plaintexts(device, epoch) if entry else ():
                    batch = wire.decode(plaintext)
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
                for row in split_sequence(payload):
                    self._row(parsed.device, row)
        except (seal.SealError, WireError) as error:
            self._refuse(parsed.name.value, parsed.device, error)

    def _refuse(self, what: str, device: str, error: Exception | None) -> None:
        self.refused[what] += 1
        now_s = time.monotonic()
        if now_s - self._logged_s >= LOG_EVERY_S:
            self._logged_s = now_s
            log.warning("refused=%s from=%s why=%r total=%d", what, device, str(error), self.refused.total())

    def _state(self, device: str, payload: bytes) -> None:
        """The epoch's header, then the bag's state sealed under it: retained by the broker, so the first to be read."""
        header, sealed = _pair(split_sequence(payload))
        self._header(device, header)
        epoch = self._keyring.find(device, seal.head_of(header).epoch)
        if epoch is None:
            raise seal.SealError("a state of another epoch than its header")
        head, plaintext = epoch.up.open(sealed)
        message = wire.decode(plaintext)
        if head.lane is not seal.Lane.STATE or not isinstance(message, State):
            raise seal.SealError("no state")
        if epoch is self._keyring.newest(device):
            self.online[device] = message.online
            self.tell_all(device)

    def _row(self, device: str, payload: bytes) -> None:
        head = seal.head_of(payload)
        if head.lane is seal.Lane.HEADER:
            self._header(device, payload)
            return
        epoch = self._keyring.find(device, head.epoch)
        if epoch is None:
            raise seal.SealError("a row of an epoch whose header has not come")  # it will be sent again
        head, plaintext = epoch.up.open(payload)
        if head.lane is not seal.Lane.ROW:
            raise seal.SealError("no row")
        if not self._news(device, head.epoch, head.counter):
            return
        t_us, visit = None, None
        try:
            batch = wire.decode(plaintext)
            if not isinstance(batch, Batch):
                raise WireError("no batch")  # noqa: TRY301 - the same end as a batch that does not decode
            t_us, visit = batch.t_us, batch.visit
            self._pending.visits += _visits(device, batch, demo=epoch.opened.header.demo)
            self._pending.heard.append(Heard(device, head.epoch, epoch.opened.header, batch))
        except WireError as error:
            # Authentic but not understood: kept for a newer hub and receipted, or the bag would send it for ever.
            self._refuse("row not understood", device, error)
        self._pending.rows.append(Arrived(device, head.epoch, head.counter, t_us, visit, plaintext, self._now_us()))

    def _header(self, device: str, payload: bytes) -> None:
        epoch = self._keyring.admit(device, payload)
        header = epoch.opened.header
        if not self._news(device, header.epoch, 0):
            return
        self._pending.headers.append(Arrived(device, header.epoch, 0, header.t_us, None, payload, self._now_us()))
        previous = header.previous
        if previous is not None and previous.epoch in self.have.get(device, {}):
            have = self.have[device][previous.epoch]
            self._pending.holes += [
                Hole(device, previous.epoch, first, last)
                for first, last in have.missing(previous.committed + 1, have.highest)
            ]

    def _news(self, device: str, epoch: bytes, seq: int) -> bool:
        """Whether a row is neither on disk nor waiting; one on disk is receipted again."""
        have = self.have.setdefault(device, {}).setdefault(epoch, SeqSet())
        if seq in have:
            self._dirty.setdefault(device, set()).add(epoch)
            return False
        if (device, epoch, seq) in self._pending.keys:
            return False
        self._pending.keys.add((device, epoch, seq))
        return True

    def collect(self) -> Pending:
        """Take what waits, for one commit."""
        pending, self._pending = self._pending, Pending()
        return pending

    def committed(self, pending: Pending) -> None:
        """It is on disk: only now may it be receipted."""
        for device, epoch, seq in pending.keys:
            self.have[device][epoch].add(seq)
            self._dirty.setdefault(device, set()).add(epoch)

    def tell_all(self, device: str) -> None:
        """Tell a bag its watermarks again: it has just connected, or this hub has."""
        newest = list(self.have.get(device, {}))[-EPOCHS_TOLD:]
        self._dirty.setdefault(device, set()).update(newest)

    def receipts(self, only: Iterable[str] | None = None) -> list[tuple[str, bytes]]:
        """The sealed receipts that are due, as (topic, payload), under each device's newest epoch."""
        due = []
        for device in list(self._dirty if only is None else only):
            newest = self._keyring.newest(device)
            epochs = self._dirty.pop(device, None)
            if newest is None or not epochs:
                continue
            told = tuple(_receipt(epoch, self.have[device][epoch]) for epoch in sorted(epochs))
            payload = newest.down.seal(seal.Lane.RECEIPT, wire.encode(Receipt(told)))
            due.append((str(topics.Topic(device, topics.Down.RECEIPT)), payload))
        return due

    def order(self, device: str, order: Order, number: int) -> tuple[str, bytes] | None:
        """A sealed command to one bag; None when the bag has never been heard."""
        newest: OpenEpoch | None = self._keyring.newest(device)
        if newest is None:
            return None
        payload = newest.down.seal(seal.Lane.COMMAND, wire.encode(Command(number, order)))
        return str(topics.Topic(device, topics.Down.COMMAND)), payload


def _pair(rows: list[bytes]) -> tuple[bytes, bytes]:
    if len(rows) != 2:
        raise WireError("no header with its state")
    return rows[0], rows[1]


def _receipt(epoch: bytes, have: SeqSet) -> EpochReceipt:
    beyond = [(first, last) for first, last in have if first > 0]
    return EpochReceipt(epoch, have.upto, tuple(beyond[:256]))


def _visits(device: str, batch: Batch, *, demo: bool) -> list[VisitChange]:
    if batch.visit is None:
        return []
    return [
        VisitChange(device, batch.visit, record.body.code, record.body.step in {VisitStep.OPEN, VisitStep.RESUME}, demo)
        for record in batch.records
        if isinstance(record.body, VisitBody)
    ]


class Service:
    """A receiver at work over MQTT, with its store in a thread of its own."""

    def __init__(
        self,
        receiver: Receiver,
        *,
        connect_once: Callable[[], AbstractAsyncContextManager[Link]],
        commit: Callable[[Pending], Awaitable[object]],
        heard: Callable[[Heard], None],
        watched: Callable[[], set[str]],
    ) -> None:
        self._receiver = receiver
        self._connect_once = connect_once
        self._commit = commit
        self._heard = heard
        self._watched = watched
        self._arrived = asyncio.Event()
        self.connected = asyncio.Event()

    async def run(self) -> None:
        """Serve until cancelled, through any number of connections."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._commit_loop(), name="commit")
            group.create_task(self._connect_loop(), name="connect")

    async def _connect_loop(self) -> None:
        backoff = Backoff(first_s=0.2, longest_s=5.0)
        while True:
            try:
                async with self._connect_once() as link:
                    await link.subscribe(topics.UP_FILTER, qos=0)
                    log.info("broker=up")
                    backoff.reset()
                    for device in self._receiver.have:
                        self._receiver.tell_all(device)
                    self.connected.set()
                    try:
                        async with asyncio.TaskGroup() as group:
                            group.create_task(self._speak(link), name="speak")
                            group.create_task(self._listen(link), name="listen")
                    except* HubError as errors:
                        raise errors.exceptions[0] from None
            except HubError as error:
                log.warning("broker=down error=%r", str(error))
            self.connected.clear()
            await asyncio.sleep(backoff.next_s())

    async def _listen(self, link: Link) -> None:
        async for topic, payload in link.messages():
            self._receiver.take(topic, payload)
            self._arrived.set()
        raise HubError("the broker closed the connection")

    async def _commit_loop(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while pending := self._receiver.collect():
                await self._commit(pending)
                self._receiver.committed(pending)
                for heard in pending.heard:
                    self._heard(heard)

    async def _speak(self, link: Link) -> None:
        """Receipts, at a pace; watch orders, repeated while a doctor looks."""
        loop = asyncio.get_running_loop()
        last_s = watch_s = 0.0
        number = 0
        orders: dict[str, Order] = {}
        while True:
            await asyncio.sleep(RECEIPT_WATCHED_S / 2)
            watched, now_s = self._watched(), loop.time()
            wanted = dict.fromkeys(orders, Order.UNWATCH) | dict.fromkeys(watched, Order.WATCH)
            again = now_s - watch_s >= WATCH_AGAIN_S
            for device, order in wanted.items():
                if order is not orders.get(device) or (again and order is Order.WATCH):
                    number += 1
                    if (command := self._receiver.order(device, order, number)) is not None:
                        await link.publish(*command)
                        orders[device] = order
            watch_s = now_s if again else watch_s
            everyone = now_s - last_s >= RECEIPT_EVERY_S
            last_s = now_s if everyone else last_s
            for receipt in self._receiver.receipts(None if everyone else watched):
                await link.publish(*receipt)
