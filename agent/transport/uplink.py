"""The way to the hub: keeps rows flowing over one connection after the other.

Live rows go at once, backlog beside them within a budget; receipts and commands come back; a connection is given up as
soon as it is no use.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field

from agent.clock import Anchor
from agent.errors import HubError, StateError, WireError
from agent.outbox import OutboxThread
from agent.software import software
from agent.supervisor import Backoff, attempt, side_by_side
from agent.transport import seal, sequence, topics, wire
from agent.transport.delivery import RESEND_AFTER_S, Delivery
from agent.transport.epoch import Epoch, OutRow
from agent.transport.hubtime import HubTime
from agent.transport.link import Link, UnreachedError, Will
from agent.transport.messages import Command, EpochReceipt, Message, Preview, Receipt, State, TimeAnswer
from agent.transport.ranges import SeqSet
from agent.transport.window import Window

log = logging.getLogger(__name__)

UNREACHED_S = 1.5  # at most, from one try to the next, while nobody answers at the broker's address
SILENCE_S = 30.0  # data outstanding and no receipt for so long: the connection is no use
WATCH_EVERY_S = 0.5
CLEAN_DISCONNECT_S = 1.0
MOST_REFUSED = 1000  # on one connection: a broker that sends so much nonsense costs the loop its time


@dataclass(slots=True)
class LinkState:
    """What is known of the way to the hub; shown with its age, exported by status."""

    connected: bool = False
    receipted_until_ns: int = 0
    connections: int = 0
    last_error: str = ""
    refused: int = 0
    unreadable: int = 0
    wire_up: int = 0
    wire_down: int = 0


@dataclass(slots=True)
class Hooks:
    """What the rest of the agent does when the hub speaks. `receipt` is told each row once."""

    receipt: Callable[[EpochReceipt], None]
    command: Callable[[Command], None]
    changed: Callable[[], None] = field(default=lambda: None)
    time: Callable[[Anchor], None] = field(default=lambda _anchor: None)


class Uplink:
    """Keeps rows flowing to the hub for as long as the agent lives."""

    def __init__(
        self,
        connect_once: Callable[[Will], AbstractAsyncContextManager[Link]],
        *,
        device: str,
        epoch: Callable[[], Epoch],
        delivery: Delivery,
        outbox: OutboxThread,
        hooks: Hooks,
        now_ns: Callable[[], int],
        floor_us: int = 0,
    ) -> None:
        self._connect_once = connect_once
        self._device = device
        self._state_topic = str(topics.Topic(device, topics.Up.STATE))
        self._epoch = epoch
        self._delivery = delivery
        self._outbox = outbox
        self._hooks = hooks
        self._now_ns = now_ns
        self._live: asyncio.Queue[OutRow | Epoch | None] = asyncio.Queue()
        self._preview: Preview | None = None
        self._preview_due = asyncio.Event()
        self._wake_backlog = asyncio.Event()
        self._answered = asyncio.Event()
        self._hub_here = asyncio.Event()
        self._waiting_since_s = 0.0
        self._time = HubTime(floor_us=floor_us)
        self._session = 0
        self._hub_sessions: set[bytes] = set()
        self._counted = 0, 0
        self.state = LinkState()

    def offer(self, row: OutRow) -> None:
        """Send a row live when connected; otherwise it is on board and comes as backlog."""
        if self.state.connected:
            self._live.put_nowait(row)

    def show(self, preview: Preview) -> None:
        """Send a picture to be seen, when connected; while one is on its way only the newest waits."""
        if self.state.connected:
            self._preview = preview
            self._preview_due.set()

    def announce(self, epoch: Epoch) -> None:
        """A new epoch has begun: its header goes before any row of it, on the connection as it is."""
        if self.state.connected:
            self._live.put_nowait(epoch)

    def leave(self) -> None:
        """Say that nothing more comes, behind the rows that wait: the hub then receipts them at once."""
        if self.state.connected:
            self._live.put_nowait(None)

    def committed(self) -> None:
        """More may be on board than was sent."""
        self._wake_backlog.set()

    async def run(self) -> None:
        """Connect, keep rows flowing, connect again; until cancelled."""
        backoff, soon = Backoff(first_s=0.5), Backoff(first_s=0.5, longest_s=UNREACHED_S)
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            error = await attempt(self._connection())
            said = str(error or "the connection ended")
            if said != self.state.last_error and isinstance(error, HubError):
                log.warning("link=down error=%r", said)
            elif said != self.state.last_error:  # a fault of ours on the way to the hub must not end what is stored
                log.error("link=failed error=%r", said, exc_info=error)
            self.state.last_error = said
            self.state.connected = False
            self._hooks.changed()
            if self._hub_here.is_set() or loop.time() - began > SILENCE_S:  # the broker is good, if the hub is away
                backoff.reset()
            self._hub_here.clear()
            await asyncio.sleep((soon if isinstance(error, UnreachedError) else backoff).next_s())

    async def _connection(self) -> None:
        """Serve one connection until it is lost."""
        self._session += 1
        epoch = self._epoch()
        async with self._connect_once(Will(self._state_topic, self._presence(epoch, online=False))) as link:
            while not self._live.empty():
                self._live.get_nowait()
            self._delivery.connected()
            self._time.connected()
            self._hub_sessions.clear()
            self._waiting_since_s = self._now_s()
            self._counted = 0, 0
            await link.subscribe(topics.down_filter(self._device))
            await self._present(link, epoch)
            self.state.connected = True
            if self._epoch() is not epoch:  # it began while this connection did
                self.announce(self._epoch())
            del epoch  # the connection may outlive it: an old epoch's key goes when the next one begins
            self.state.connections += 1
            self.state.last_error = ""
            log.info("link=up session=%d", self._session)
            self._hooks.changed()
            self._wake_backlog.set()
            try:
                await side_by_side(
                    self._receive(link),
                    self._send_live(link),
                    self._send_backlog(link),
                    self._send_previews(link),
                    self._watch(link),
                )
            finally:
                self._count(link)
                with suppress(Exception):  # a courtesy: the broker's will says the same a little later
                    async with asyncio.timeout(CLEAN_DISCONNECT_S):
                        await self._say_gone(link)

    async def _present(self, link: Link, epoch: Epoch) -> None:
        """Say under an epoch that we are here, its header first."""
        self._delivery.sent(epoch.id, 0, 0, self._now_s())
        await link.publish(self._state_topic, self._presence(epoch, online=True), qos=1, retain=True)

    async def _say_gone(self, link: Link) -> None:
        await link.publish(self._state_topic, self._presence(self._epoch(), online=False), qos=1, retain=True)

    def _presence(self, epoch: Epoch, *, online: bool) -> bytes:
        """Our state, behind the epoch's header: retained, so that a hub that comes later can open everything."""
        state = wire.encode(State(online=online, session=self._session, software=software()))
        return sequence.join([epoch.header.payload, epoch.state(state)])

    async def _send(self, link: Link, name: topics.Up, rows: list[OutRow]) -> None:
        payload = rows[0].payload if name is topics.Up.LIVE else sequence.join(row.payload for row in rows)
        now_s = self._now_s()
        for row in rows:  # before the message goes, so that no receipt can come first
            self._delivery.sent(row.epoch, row.seq, row.seq, now_s)
        await link.publish(str(topics.Topic(self._device, name)), payload)

    def _now_s(self) -> float:
        return self._now_ns() / 1e9

    async def _send_live(self, link: Link) -> None:
        while True:
            item = await self._live.get()
            if isinstance(item, Epoch):
                await self._present(link, item)
            elif item is None:
                await self._say_gone(link)
            else:
                await self._send(link, topics.Up.LIVE, [item])

    async def _send_backlog(self, link: Link) -> None:
        """What is on board, once the hub has shown that it is there: a broker alone would only swallow it."""
        in_flight: deque[tuple[bytes, int, int, float]] = deque()  # each message's last row, its bytes, when it went
        window = Window()
        await self._hub_here.wait()
        while True:
            self._wake_backlog.clear()
            due = self._delivery.backlog() if self._live.empty() else None
            if due is None:
                await _wait(self._wake_backlog, 1.0)
                continue
            try:
                rows = await self._outbox.call(self._outbox.box.read, *due, window.size // 2)
            except StateError as error:
                self._delivery.skip(due[0], due[1])
                if not self.state.unreadable:
                    log.error("outbox=unreadable error=%r", str(error))
                self.state.unreadable += 1
                continue
            upto = rows[-1].seq if rows else due[2]
            for lost in SeqSet((row.seq, row.seq) for row in rows).missing(due[1], upto):
                self._delivery.gone(due[0], *lost)
            if not rows:
                continue
            self._answered.clear()  # before it goes, so that no receipt can come first
            await self._send(link, topics.Up.BACKLOG, rows)
            in_flight.append((rows[-1].epoch, rows[-1].seq, sum(len(row.payload) for row in rows), self._now_s()))
            while sum(size for _, _, size, _ in in_flight) >= window.size:
                await _wait(self._answered, RESEND_AFTER_S)
                if not self._answered.is_set():
                    in_flight.clear()
                    window.silent(self._now_s())
                self._answered.clear()
                while in_flight and self._delivery.is_answered(*in_flight[0][:2]):
                    epoch, seq, _, sent_s = in_flight.popleft()
                    if self._delivery.is_receipted(epoch, seq):
                        window.answered(sent_s, self._now_s())

    async def _receive(self, link: Link) -> None:
        refused = 0
        async for topic, payload in link.messages():
            try:
                parsed = topics.parse(topic)
                if parsed is None or parsed.device != self._device or not isinstance(parsed.name, topics.Down):
                    raise seal.SealError("not for us")  # noqa: TRY301 - the same end as one that does not open
                head, plaintext = self._epoch().down.open(payload)
                self._believe(head, wire.decode(plaintext))
            except (seal.SealError, WireError) as error:
                refused += 1
                self.state.refused += 1
                log.debug("down=refused why=%r", str(error))
                if refused >= MOST_REFUSED:
                    raise HubError("the broker sends what is not the hub's") from None

    def _believe(self, head: seal.Head, message: Message) -> None:
        """Act on what the hub says: opened under this epoch's key, so nobody else said it."""
        if head.session not in self._hub_sessions:
            if self._hub_sessions:
                # Another hub process: what the one before it took and did not receipt is to be sent again.
                self._delivery.connected()
            self._hub_sessions.add(head.session)
        self._hub_here.set()
        if head.lane is seal.Lane.RECEIPT and isinstance(message, Receipt):
            self._waiting_since_s = self._now_s()
            for receipt in message.epochs:
                news = self._delivery.receipted(receipt)
                if news is not None:
                    self._hooks.receipt(news)
            if self._delivery.oldest_unanswered_s(self._now_s()) is None:
                self.state.receipted_until_ns = self._now_ns()
            self._answered.set()
            self._wake_backlog.set()
            self._hooks.changed()
        elif head.lane is seal.Lane.COMMAND and isinstance(message, Command):
            self._hooks.command(message)
        elif head.lane is seal.Lane.TIME_ANSWER and isinstance(message, TimeAnswer):
            anchor = self._time.answered(message, self._now_ns())
            if anchor is not None:
                self._hooks.time(anchor)
        else:
            raise WireError("a message on another's lane")

    async def _send_previews(self, link: Link) -> None:
        """The newest picture, one at a time: what a slow link cannot carry is never sent."""
        topic = str(topics.Topic(self._device, topics.Up.PREVIEW))
        while True:
            await self._preview_due.wait()
            self._preview_due.clear()
            preview, self._preview = self._preview, None
            if preview is not None:
                await link.publish(topic, self._epoch().preview(wire.encode(preview)))

    def _count(self, link: Link) -> None:
        up, down = link.wire_bytes()
        self.state.wire_up += up - self._counted[0]
        self.state.wire_down += down - self._counted[1]
        self._counted = up, down

    async def _watch(self, link: Link) -> None:
        """Give the connection up when it is no use: no receipts, or nonsense. Ask the hub for the time meanwhile."""
        while True:
            await asyncio.sleep(WATCH_EVERY_S)
            self._count(link)
            link.check_pings()
            link.check_packet()
            ask = self._time.due(self._now_ns()) if self._hub_here.is_set() else None
            if ask is not None:
                topic = str(topics.Topic(self._device, topics.Up.TIME))
                await link.publish(topic, self._epoch().ask(wire.encode(ask)))
            now_s = self._now_s()
            if self._delivery.oldest_unanswered_s(now_s) is None and self._delivery.backlog() is None:
                self._waiting_since_s = now_s
            if now_s - self._waiting_since_s > SILENCE_S:
                why = "the hub is away, older than this bag, or lacks the key that we seal to"
                raise HubError(f"no receipt for {SILENCE_S:.0f} s: {why}")
            if self._delivery.resend(now_s):
                self._wake_backlog.set()


async def _wait(event: asyncio.Event, timeout_s: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()
