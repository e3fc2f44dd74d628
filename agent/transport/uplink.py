"""The link to the hub over MQTT: the only importer of aiomqtt, and the loop that keeps rows flowing.

`connect` is one connection, for the bag and the hub alike: a fresh client each time, a random client id, MQTT 3.1.1.
`Uplink` sends live rows at once and backlog beside them within a budget, takes receipts and commands, and gives a
connection up as soon as it is no use. What it knows of aiomqtt 2.5: publish() may wait on a dead link until somebody
reads `messages` in the same task group; a Client is never used twice; an acknowledgement proves nothing, so rows go
at QoS 0 and the hub's receipt does the work.
"""

import asyncio
import logging
import os
import socket
import ssl
import struct
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agent import __version__
from agent.clock import Anchor
from agent.errors import HubError, StateError, WireError
from agent.outbox import OutboxThread
from agent.supervisor import Backoff, attempt, side_by_side
from agent.transport import seal, sequence, topics, wire
from agent.transport.delivery import RESEND_AFTER_S, Delivery
from agent.transport.epoch import Epoch, OutRow
from agent.transport.hubtime import HubTime
from agent.transport.messages import Command, EpochReceipt, Message, Preview, Receipt, State, TimeAnswer
from agent.transport.ranges import SeqSet
from agent.transport.window import Window

if TYPE_CHECKING:
    import aiomqtt

log = logging.getLogger(__name__)
_silent = logging.getLogger(f"{__name__}.mqtt")
_silent.setLevel(logging.CRITICAL)  # the library's errors reach us as exceptions; a flood must not fill the journal

KEEPALIVE_S = 5
TIMEOUT_S = 5.0
PING_ANSWERED_S = 2.5  # with the keepalive: a black hole is seen within 10 s
SILENCE_S = 30.0  # data outstanding and no receipt for so long: the connection is no use
WATCH_EVERY_S = 1.0
CLEAN_DISCONNECT_S = 1.0
MOST_QUEUED = 512  # messages that wait for us: more are a flood, and what is dropped of ours comes again
MOST_REFUSED = 1000  # on one connection: a broker that sends so much nonsense costs the loop its time
MOST_PACKET_BYTES = 1 << 20
_TCP_INFO_BYTES = 136
_TCP_INFO_SENT = 44  # tcpi_last_data_sent, in ms
_TCP_INFO_ACKED = 120  # tcpi_bytes_acked, then tcpi_bytes_received (linux/tcp.h)


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the broker is and how to speak to it."""

    host: str
    port: int
    tls: ssl.SSLContext | None


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker says for us when we are gone."""

    topic: str
    payload: bytes


@contextmanager
def _as_hub_error(where: str) -> Iterator[None]:
    """Map the library's errors, here and nowhere else."""
    import aiomqtt  # noqa: PLC0415 - not needed before the first connection, which is after READY

    try:
        yield
    except (aiomqtt.MqttError, OSError) as error:
        raise HubError(f"{where}: {error}") from None


class Link:
    """One live connection: publish and receive; HubError when it is lost."""

    def __init__(self, client: "aiomqtt.Client", where: str) -> None:
        self._client = client
        self._where = where

    async def publish(self, topic: str, payload: bytes, *, qos: int = 0, retain: bool = False) -> None:
        """Hand a message to the broker; at QoS 0 this returns when it is written to the socket."""
        with _as_hub_error(self._where):
            await self._client.publish(topic, payload, qos=qos, retain=retain, timeout=TIMEOUT_S)

    async def subscribe(self, topic: str, *, qos: int = 0) -> None:
        """Ask for a topic; HubError when the broker refuses it."""
        with _as_hub_error(self._where):
            granted = await self._client.subscribe(topic, qos=qos, timeout=TIMEOUT_S)
        if any(getattr(code, "value", code) >= 0x80 for code in granted):
            raise HubError(f"the broker refuses {topic}: its ACL does not know this certificate")

    def wire_bytes(self) -> tuple[int, int]:
        """Bytes (up, down) on this TCP connection so far, TLS and MQTT included, as the kernel counts them."""
        acked, received = struct.unpack_from("=QQ", self._tcp_info(), _TCP_INFO_ACKED)
        return int(acked), int(received)

    def check_pings(self) -> None:
        """Ping only when nothing came down for 5 s; HubError when that is not answered soon.

        paho 2.2 notes only what it could not send at once, and would ping every 5 s of a visit: it is told what the
        kernel sent. TCP's acknowledgements prove nothing: they may be a mobile network's, not the broker's.
        """
        (sent_ms,) = struct.unpack_from("=I", self._tcp_info(), _TCP_INFO_SENT)
        mqtt, now_s = self._client._client, time.monotonic()  # noqa: SLF001 - see _tcp_info
        mqtt._last_msg_out = max(mqtt._last_msg_out, now_s - sent_ms / 1000)  # noqa: SLF001
        if mqtt._ping_t and now_s - mqtt._ping_t > PING_ANSWERED_S:  # noqa: SLF001
            raise HubError(f"{self._where}: a ping without answer")

    def _tcp_info(self) -> bytes:
        sock: Any = self._client._client.socket()  # noqa: SLF001 - aiomqtt offers no way to its socket
        if sock is None:
            return bytes(_TCP_INFO_BYTES)
        return bytes(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES))

    def check_packet(self) -> None:
        """HubError while a packet is coming in that no message of ours can be."""
        announced = self._client._client._in_packet["remaining_length"]  # noqa: SLF001 - the library has no limit
        if announced > MOST_PACKET_BYTES:
            raise HubError(f"{self._where}: a packet of {announced} bytes")

    async def messages(self) -> AsyncIterator[tuple[str, bytes]]:
        """Everything that arrives, as (topic, payload)."""
        with _as_hub_error(self._where):
            async for message in self._client.messages:
                if isinstance(message.payload, bytes):
                    yield str(message.topic), message.payload


@asynccontextmanager
async def connect(broker: Broker, *, name: str, will: Will | None = None) -> AsyncIterator[Link]:
    """One connection as `<name>-<64 random bits>`, clean session; HubError when it cannot be made or is lost."""
    import aiomqtt  # noqa: PLC0415 - see _as_hub_error

    where = f"{broker.host}:{broker.port}"
    client = aiomqtt.Client(
        broker.host,
        broker.port,
        identifier=f"{name}-{os.urandom(8).hex()}",
        protocol=aiomqtt.ProtocolVersion.V311,
        tls_context=broker.tls,
        keepalive=KEEPALIVE_S,
        timeout=TIMEOUT_S,
        will=None if will is None else aiomqtt.Will(will.topic, will.payload, qos=1, retain=True),
        max_queued_incoming_messages=MOST_QUEUED,
        logger=_silent,
    )
    with _as_hub_error(where):
        async with client:
            yield Link(client, where)


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
        backoff = Backoff(first_s=0.5)
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
            if loop.time() - began > SILENCE_S:
                backoff.reset()
            await asyncio.sleep(backoff.next_s())

    async def _connection(self) -> None:
        """Serve one connection until it is lost."""
        self._session += 1
        epoch = self._epoch()
        async with self._connect_once(Will(self._state_topic, self._presence(epoch, online=False))) as link:
            while not self._live.empty():
                self._live.get_nowait()
            self._delivery.connected()
            self._time.connected()
            self._hub_here.clear()
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
        state = wire.encode(State(online=online, session=self._session, software=__version__))
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
                raise HubError(f"no receipt for {SILENCE_S:.0f} s: the hub is away, or lacks the key that we seal to")
            if self._delivery.resend(now_s):
                self._wake_backlog.set()


async def _wait(event: asyncio.Event, timeout_s: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()
