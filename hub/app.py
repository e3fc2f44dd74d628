"""The reference hub's wiring: receiver, store, rooms, page."""

import asyncio
import logging
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from agent.display.words import Words
from agent.errors import ProvisioningError
from agent.outbox import Lock
from agent.transport.hubkeys import load_private
from agent.transport.identity import Identity, client_context
from agent.transport.link import Broker, connect
from hub.custody import CustodyView
from hub.keys import Keyring
from hub.receiver import Heard, Pending, Receiver
from hub.rooms import Rooms
from hub.service import Service
from hub.store import Store

log = logging.getLogger(__name__)

HEADS_EVERY_S = 5.0


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


def _now_s() -> int:
    return int(time.time())


def _now_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def load_keyring(settings: HubSettings) -> Keyring:
    """Read the issuing certificate (the first of the file) and the hub's private sealing keys, old ones beside it."""
    path = settings.sealing_key
    try:
        root = x509.load_pem_x509_certificate(settings.ca.read_bytes())
        old = sorted(path.parent.glob(f"{path.stem}-*{path.suffix}"))
        newest, *older = (load_private(file.read_bytes()) for file in (path, *old))
    except (OSError, ValueError) as error:
        raise ProvisioningError(f"cannot use the hub's keys: {error}\nNext: besace-provision init") from None
    return Keyring(root, newest, *older)


def load_custody(settings: HubSettings, keyring: Keyring, store: Store) -> CustodyView:
    """Who has which bag, as far as it is on disk."""
    view = CustodyView(x509.load_pem_x509_certificates(settings.ca.read_bytes()), now_s=_now_s)
    for device, known in keyring.devices.items():
        for epoch in known.epochs.values():
            view.epoch(device, epoch.opened.header, 0)
    for device, entry, arrived_s in store.custody():
        view.hear(device, entry, arrived_s)
    return view


async def leave_heads(view: CustodyView, settings: HubSettings) -> None:
    """Countersign the bags' custody logs and leave that for the enrolment server."""
    certificate = x509.load_pem_x509_certificate(settings.certificate.read_bytes())
    key = serialization.load_pem_private_key(settings.key.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    hub = Identity(certificate, key, X25519PrivateKey.generate().public_key())
    while True:
        view.write_heads(settings.state_dir / "heads", certificate, hub.sign)
        await asyncio.sleep(HEADS_EVERY_S)


async def run(settings: HubSettings, *, page_ready: Callable[[str], object] | None = None) -> None:
    """Run the hub until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    lock = Lock(settings.state_dir)
    thread = ThreadPoolExecutor(1, thread_name_prefix="store")
    store = await loop.run_in_executor(thread, Store, settings.state_dir / "hub.sqlite")
    keyring = load_keyring(settings)
    receiver = Receiver(keyring, now_us=lambda: _now_ns() // 1000)
    await loop.run_in_executor(thread, receiver.restore, store)
    custody = await loop.run_in_executor(thread, load_custody, settings, keyring, store)
    rooms = Rooms(words=Words.load(), now_ns=_now_ns, who=custody.who)
    for heard in await loop.run_in_executor(thread, receiver.open_visits, store):
        rooms.hear(heard)
    tls = client_context(settings.ca, settings.certificate, settings.key, settings.server_name)

    def commit(pending: Pending) -> None:
        entries = [(heard.device, entry, _now_s()) for heard in pending.heard for entry in heard.entries]
        batches = [(heard.device, heard.header.boot_id, heard.batch) for heard in pending.heard]
        store.commit(pending.headers, pending.rows, pending.visits, pending.holes, entries, batches)
        store.ended(_now_ns() // 1000)

    receiver.preview = rooms.preview

    def hear(heard: Heard) -> None:
        rooms.hear(heard)
        custody.epoch(heard.device, heard.header, _now_s())
        for entry in heard.entries:
            custody.hear(heard.device, entry, _now_s())

    service = Service(
        receiver,
        connect_once=lambda: connect(Broker(settings.broker_host, settings.broker_port, tls), name="hub"),
        commit=lambda pending: loop.run_in_executor(thread, commit, pending),
        heard=hear,
        watched=rooms.watched,
    )
    parts: list[asyncio.Task[Any]] = [
        loop.create_task(service.run(), name="receiver"),
        loop.create_task(leave_heads(custody, settings), name="heads"),
    ]
    if settings.page_port is not None:
        from hub.custody_page import document  # noqa: PLC0415
        from hub.page import serve_doctor  # noqa: PLC0415 - starlette only where there is a page

        def held() -> bytes:
            return document(custody.rows(), lambda utc_s: datetime.fromtimestamp(utc_s).astimezone())

        page = serve_doctor(rooms, host=settings.page_host, port=settings.page_port, custody=held, ready=page_ready)
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
