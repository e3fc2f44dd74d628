"""One connection to the broker, for the bag and the hub alike: the only importer of aiomqtt.

A fresh client each time, a random client id, MQTT 3.1.1. What is known of aiomqtt 2.5: publish() may wait on a dead
link until somebody reads `messages` in the same task group; a Client is never used twice; an acknowledgement proves
nothing, so rows go at QoS 0 and the hub's receipt does the work.
"""

import logging
import os
import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent.errors import HubError

if TYPE_CHECKING:
    import aiomqtt

_silent = logging.getLogger(f"{__name__}.mqtt")
_silent.setLevel(logging.CRITICAL)  # the library's errors reach us as exceptions; a flood must not fill the journal

KEEPALIVE_S = 6
TIMEOUT_S = 5.0
PING_ANSWERED_S = 2.0  # with the keepalive: a black hole is seen within 10 s
MOST_QUEUED = 512  # messages that wait for us: more are a flood, and what is dropped of ours comes again
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


class UnreachedError(HubError):
    """Nobody answers at that address, or there is no way to it: to ask again soon is a burden on nobody."""


@contextmanager
def _as_hub_error(where: str) -> Iterator[None]:
    """Map the library's errors, here and nowhere else."""
    import aiomqtt  # noqa: PLC0415 - not needed before the first connection, which is after READY

    try:
        yield
    except (aiomqtt.MqttError, OSError) as error:
        unreached = _unreached(error.__context__)  # what the library's own error stands for
        raise (UnreachedError if unreached else HubError)(f"{where}: {error}") from None


def _unreached(error: BaseException | None) -> bool:
    """Whether not even a TCP connection came about: a broker that is there, but slow or unwilling, is not meant."""
    reached = isinstance(error, ssl.SSLError | ConnectionResetError | BrokenPipeError) or "handshake" in str(error)
    return isinstance(error, OSError) and not reached


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
        """Ping only when nothing came down for 6 s; HubError when that is not answered soon.

        paho 2.2 notes only what it could not send at once, and would ping every 6 s of a visit: it is told what the
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
