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
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agent import __version__
from agent.errors import HubError, WireError
from agent.outbox import OutboxThread
from agent.supervisor import Backoff
from agent.transport import seal, topics, wire
from agent.transport.delivery import Delivery
from agent.transport.epoch import Epoch, OutRow
from agent.transport.messages import Command, EpochReceipt, Message, Receipt, State

if TYPE_CHECKING:
    import aiomqtt

log = logging.getLogger(__name__)

KEEPALIVE_S = 5
TIMEOUT_S = 5.0
SILENCE_S = 30.0  # data outstanding and no receipt for so long: the connection is no use
BACKLOG_BYTES = 128 * 1024  # one backlog message; NATS cuts a client off above 1 MB
BACKLOG_IN_FLIGHT = 512 * 1024  # so that live rows never wait behind much
CLEAN_DISCONNECT_S = 1.0
_TCP_INFO_BYTES = 136
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
        sock = self._client._client.socket()  # noqa: SLF001 - aiomqtt offers no way to its socket
        if sock is None:
            return 0, 0
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
        acked, received = struct.unpack_from("=QQ", info, _TCP_INFO_ACKED)
        return int(acked), int(received)

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
    wire_up: int = 0
    wire_down: int = 0


@dataclass(slots=True)
class Hooks:
    """What the rest of the agent does when the hub speaks."""

    receipt: Callable[[EpochReceipt], None]
    command: Callable[[Command], None]
    changed: Callable[[], None] = field(default=lambda: None)


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
    ) -> None:
        self._connect_once = connect_once
        self._device = device
        self._epoch = epoch
        self._delivery = delivery
        self._outbox = outbox
        self._hooks = hooks
        self._now_ns = now_ns
        self._live: asyncio.Queue[OutRow] = asyncio.Queue()
        self._wake_backlog = asyncio.Event()
        self._answered = asyncio.Event()
        self._session = 0
        self._hub_session = b""
        self._counted = 0, 0
        self.state = LinkState()

    def offer(self, row: OutRow) -> None:
        """Send a row live when connected; otherwise it is on board and comes as backlog."""
        if self.state.connected:
            self._live.put_nowait(row)

    def committed(self) -> None:
        """More may be on board than was sent."""
        self._wake_backlog.set()

    async def run(self) -> None:
        """Connect, keep rows flowing, connect again; until cancelled."""
        backoff = Backoff(first_s=0.5)
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                await self._connection()
            except HubError as error:
                if str(error) != self.state.last_error:
                    log.warning("link=down error=%r", str(error))
                self.state.last_error = str(error)
            finally:
                self.state.connected = False
                self._hooks.changed()
            if loop.time() - began > SILENCE_S:
                backoff.reset()
            await asyncio.sleep(backoff.next_s())

    async def _connection(self) -> None:
        """Serve one connection until it is lost."""
        self._session += 1
        epoch = self._epoch()
        topic = str(topics.Topic(self._device, topics.Up.STATE))
        gone = self._presence(epoch, online=False)
        async with self._connect_once(Will(topic, gone)) as link:
            while not self._live.empty():
                self._live.get_nowait()
            self._delivery.connected()
            self._counted = 0, 0
            await link.subscribe(topics.down_filter(self._device))
            await link.publish(topic, self._presence(epoch, online=True), qos=1, retain=True)
            self.state.connected = True
            self.state.connections += 1
            self.state.last_error = ""
            log.info("link=up session=%d", self._session)
            self._hooks.changed()
            self._wake_backlog.set()
            try:
                await _first_ends(
                    self._receive(link), self._send_live(link), self._send_backlog(link), self._watch_receipts(link)
                )
            finally:
                self._count(link)
                with suppress(Exception):  # a courtesy: the broker's will says the same a little later
                    async with asyncio.timeout(CLEAN_DISCONNECT_S):
                        await link.publish(topic, gone, qos=1, retain=True)

    def _presence(self, epoch: Epoch, *, online: bool) -> bytes:
        """Our state, behind the epoch's header: retained, so that a hub that comes later can open everything."""
        state = wire.encode(State(online=online, session=self._session, software=__version__))
        return _sequence_item(epoch.header.payload) + _sequence_item(epoch.state(state))

    async def _send(self, link: Link, name: topics.Up, rows: list[OutRow]) -> None:
        payload = rows[0].payload if name is topics.Up.LIVE else b"".join(_sequence_item(row.payload) for row in rows)
        await link.publish(str(topics.Topic(self._device, name)), payload)
        now_s = self._now_ns() / 1e9
        for row in rows:
            self._delivery.sent(row.epoch, row.seq, row.seq, now_s)

    async def _send_live(self, link: Link) -> None:
        while True:
            await self._send(link, topics.Up.LIVE, [await self._live.get()])

    async def _send_backlog(self, link: Link) -> None:
        in_flight = 0
        while True:
            self._wake_backlog.clear()
            due = self._delivery.backlog() if self._live.empty() else None
            if due is None:
                await _wait(self._wake_backlog, 1.0)
                continue
            rows = await self._outbox.call(self._outbox.box.read, *due, BACKLOG_BYTES)
            if not rows:
                # The row is being deleted by a commit under way, or was evicted: it is nothing to send.
                self._delivery.sent(*due, self._now_ns() / 1e9)
                continue
            await self._send(link, topics.Up.BACKLOG, rows)
            in_flight += sum(len(row.payload) for row in rows)
            if in_flight >= BACKLOG_IN_FLIGHT:
                self._answered.clear()
                await _wait(self._answered, 2.0)
                in_flight = 0

    async def _receive(self, link: Link) -> None:
        async for topic, payload in link.messages():
            parsed = topics.parse(topic)
            if parsed is None or parsed.device != self._device or not isinstance(parsed.name, topics.Down):
                self.state.refused += 1
                continue
            try:
                head, plaintext = self._epoch().down.open(payload)
                message = wire.decode(plaintext)
            except (seal.SealError, WireError) as error:
                self.state.refused += 1
                log.debug("down=refused why=%r", str(error))
                continue
            if head.session != self._hub_session:
                # Another hub process: what the one before it took and did not receipt is to be sent again.
                self._hub_session = head.session
                self._delivery.connected()
            self._believe(head.lane, message)

    def _believe(self, lane: seal.Lane, message: Message) -> None:
        if lane is seal.Lane.RECEIPT and isinstance(message, Receipt):
            for receipt in message.epochs:
                if self._delivery.receipted(receipt):
                    self._hooks.receipt(receipt)
            if self._delivery.oldest_unanswered_s(self._now_ns() / 1e9) == 0:
                self.state.receipted_until_ns = self._now_ns()
            self._answered.set()
            self._wake_backlog.set()
            self._hooks.changed()
        elif lane is seal.Lane.COMMAND and isinstance(message, Command):
            self._hooks.command(message)
        else:
            self.state.refused += 1

    def _count(self, link: Link) -> None:
        up, down = link.wire_bytes()
        self.state.wire_up += up - self._counted[0]
        self.state.wire_down += down - self._counted[1]
        self._counted = up, down

    async def _watch_receipts(self, link: Link) -> None:
        while True:
            await asyncio.sleep(1.0)
            self._count(link)
            now_s = self._now_ns() / 1e9
            if self._delivery.oldest_unanswered_s(now_s) > SILENCE_S:
                raise HubError(f"no receipt for {SILENCE_S:.0f} s: the hub is away or the link is dead")
            if self._delivery.resend(now_s):
                self._wake_backlog.set()


def _sequence_item(payload: bytes) -> bytes:
    """A row as one item of a CBOR sequence (RFC 8742): a byte string."""
    size = len(payload)
    head = bytes([0x59]) + size.to_bytes(2) if size < 1 << 16 else bytes([0x5A]) + size.to_bytes(4)
    return head + payload


def split_sequence(data: bytes) -> list[bytes]:
    """The rows of a backlog message; WireError when it is not a sequence of byte strings."""
    rows, at = [], 0
    while at < len(data):
        width = {0x59: 2, 0x5A: 4}.get(data[at], 0)
        size = int.from_bytes(data[at + 1 : at + 1 + width])
        at += 1 + width
        if not width or at + size > len(data) or not size:
            raise WireError("no sequence of rows")
        rows.append(data[at : at + size])
        at += size
    return rows


async def _wait(event: asyncio.Event, timeout_s: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()


async def _first_ends(*parts: Awaitable[None]) -> None:
    """Run parts side by side; when one ends or fails, end the others and raise what failed."""
    try:
        async with asyncio.TaskGroup() as group:
            for part in parts:
                group.create_task(_must_not_end(part))
    except* HubError as errors:
        raise errors.exceptions[0] from None


async def _must_not_end(part: Awaitable[None]) -> None:
    await part
    raise HubError("the connection ended")
