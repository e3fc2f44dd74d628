"""A real NATS server as a test's broker, with certificates of the test's own community."""

import datetime as dt
import ssl
from collections.abc import Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from agent.transport.identity import client_context
from agent.transport.link import Broker, connect
from hub.nats import BrokerFiles, NatsServer, free_port, write_config, write_users
from provisioning.authority import certificate_pem, key_pem, write_private
from tests.peers.cpts import BAG, authority


class TestBroker:
    """One broker in a folder; `devices` may connect, and the hub."""

    __test__ = False

    def __init__(self, folder: Path, devices: Iterable[str] = (BAG,), host: str = "127.0.0.1") -> None:
        self.folder = folder
        self.devices = set(devices)
        self.root = folder / "root.pem"
        self.root.write_bytes(certificate_pem(authority().certificate))
        certificate, key = self.files("broker", server=["hub"])
        self.config = BrokerFiles(folder / "nats", certificate, key, self.root, host, free_port(), free_port())
        write_config(self.config, self.devices)
        self.server = NatsServer(self.config)

    def files(self, name: str, *, by="CPTS", server=None, age_days=0, days=90) -> tuple[Path, Path]:
        """A certificate and its key as files."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = dt.datetime.now(dt.UTC) - dt.timedelta(days=age_days)
        made = (
            authority(by).issue_client(name, key.public_key(), now=now, days=days)
            if server is None
            else authority(by).issue_server(name, key.public_key(), server, now=now, days=days)
        )
        at = self.folder / f"{name}-{made.serial_number:x}"
        at.with_suffix(".pem").write_bytes(certificate_pem(made))
        write_private(at.with_suffix(".key"), key_pem(key))
        return at.with_suffix(".pem"), at.with_suffix(".key")

    def tls(self, name: str, **how) -> ssl.SSLContext:
        return client_context(self.root, *self.files(name, **how), "hub")

    def address(self, tls: ssl.SSLContext | None) -> Broker:
        return Broker("127.0.0.1", self.config.port, tls)

    def link(self, name: str, will=None, **how):
        """A connection as `name`."""
        return connect(self.address(self.tls(name, **how)), name=name, will=will)

    def allow(self, devices: Iterable[str]) -> None:
        """Only these devices from now on."""
        write_users(self.config.folder, devices)
        self.server.reload()

    @asynccontextmanager
    async def running(self):
        await self.server.start()
        try:
            yield self
        finally:
            await self.server.kill()
