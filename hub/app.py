"""The reference hub's wiring: receiver, store, rooms, page."""

import asyncio
import logging
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from agent.display.words import Words
from agent.errors import ProvisioningError
from agent.outbox import Lock
from agent.transport.identity import client_context
from agent.transport.uplink import Broker, connect
from hub.keys import Keyring
from hub.receiver import Pending, Receiver
from hub.rooms import Rooms
from hub.service import Service
from hub.store import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class HubSettings:
    """Where the hub's parts are; `page_port` None means no page."""

    state_dir: Path
    broker_host: str
    broker_port: int
    server_name: str
    ca: Path
    certificate: Path
    key: Path
    sealing_key: Path
    page_host: str = "127.0.0.1"
    page_port: int | None = None


def _now_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def load_keyring(settings: HubSettings) -> Keyring:
    """Read the root and the hub's private sealing key."""
    try:
        root = x509.load_pem_x509_certificate(settings.ca.read_bytes())
        key = serialization.load_pem_private_key(settings.sealing_key.read_bytes(), None)
    except (OSError, ValueError) as error:
        raise ProvisioningError(f"cannot use the hub's keys: {error}\nNext: besace-provision init") from None
    if not isinstance(key, X25519PrivateKey):
        raise ProvisioningError(f"{settings.sealing_key} is no X25519 key\nNext: besace-provision init")
    return Keyring(root, key)


async def run(settings: HubSettings, *, page_ready: Callable[[str], object] | None = None) -> None:
    """Run the hub until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    lock = Lock(settings.state_dir)
    thread = ThreadPoolExecutor(1, thread_name_prefix="store")
    store = await loop.run_in_executor(thread, Store, settings.state_dir / "hub.sqlite")
    receiver = Receiver(load_keyring(settings), now_us=lambda: _now_ns() // 1000)
    await loop.run_in_executor(thread, receiver.restore, store)
    rooms = Rooms(words=Words.load(), now_ns=_now_ns)
    for heard in await loop.run_in_executor(thread, receiver.open_visits, store):
        rooms.hear(heard)
    tls = client_context(settings.ca, settings.certificate, settings.key, settings.server_name)

    def commit(pending: Pending) -> None:
        store.commit(pending.headers, pending.rows, pending.visits, pending.holes)
        store.ended(_now_ns() // 1000)

    service = Service(
        receiver,
        connect_once=lambda: connect(Broker(settings.broker_host, settings.broker_port, tls), name="hub"),
        commit=lambda pending: loop.run_in_executor(thread, commit, pending),
        heard=rooms.hear,
        watched=rooms.watched,
    )
    parts: list[asyncio.Task[Any]] = [loop.create_task(service.run(), name="receiver")]
    if settings.page_port is not None:
        from hub.page import serve_doctor  # noqa: PLC0415 - starlette only where there is a page

        page = serve_doctor(rooms, host=settings.page_host, port=settings.page_port, ready=page_ready)
        parts.append(loop.create_task(page, name="page"))
    stop = loop.create_task(stopping.wait(), name="stop")
    done: set[asyncio.Task[Any]]
    done, _ = await asyncio.wait([stop, *parts], return_when=asyncio.FIRST_COMPLETED)
    for part in parts:
        part.cancel()
    await asyncio.gather(*parts, return_exceptions=True)
    await loop.run_in_executor(thread, store.close)
    thread.shutdown()
    lock.release()
    for part in done - {stop}:
        part.result()
