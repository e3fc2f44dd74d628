"""The brokers that are not one NATS: three of them in a cluster, and mosquitto.

Their configuration is what docs/operations.md tells an operator to write, word for word but for paths and addresses.
"""

import asyncio
import json
import os
import shutil
import socket
import ssl
import subprocess
import urllib.request
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent.transport.link import Broker
from hub.nats import BrokerFiles, NatsServer, die_with_parent, free_port, write_config
from tests.peers.broker import TestBroker
from tests.peers.cpts import BAG
from tests.peers.waiting import WITHIN_S

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"
MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")
NODES = 3
CLUSTER_NAME = "cluster.test"


def documented(begin: str) -> str:
    """The fenced block of operations.md that begins so."""
    (block,) = [part for part in OPERATIONS.read_text().split("```")[1::2] if part.split("\n", 1)[1].startswith(begin)]
    return block.split("\n", 1)[1]


class Mosquitto(TestBroker):
    """mosquitto with certificates, the CRL and the access list of the documentation."""

    def __init__(self, folder: Path, devices=(BAG,)) -> None:
        if MOSQUITTO is None:
            pytest.skip("mosquitto is not installed")
        super().__init__(folder, devices)
        here = folder / "mosquitto"
        here.mkdir()
        for name, source in (("authority.pem", self.root), ("broker.pem", self.config.certificate)):
            shutil.copy(source, here / name)
        shutil.copy(self.config.key, here / "broker.key")
        (here / "acl").write_text(documented("user hub"))
        (here / "acl").chmod(0o600)
        text = documented("persistence").replace("/etc/mosquitto/besace", str(here))
        text = text.replace("listener 8883", f"user root\nlistener {self.config.port} 127.0.0.1")
        (here / "mosquitto.conf").write_text(text.replace(f"crlfile {here}/crl.pem\n", ""))
        self.server = MosquittoServer(here, self.config.port)


class MosquittoServer:
    """Its process."""

    def __init__(self, folder: Path, port: int) -> None:
        self._folder, self._port = folder, port
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with (self._folder / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                MOSQUITTO, "-c", self._folder / "mosquitto.conf", stdout=log, stderr=log, preexec_fn=die_with_parent
            )
        await listening("127.0.0.1", self._port, lambda: self._process.returncode is None, self._folder / "log")

    async def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


async def listening(host, port, alive, log):
    """Wait until somebody listens; fail with the log when its process ends first."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            assert alive(), log.read_text()
            try:
                _, writer = await asyncio.open_connection(host, port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


class Cluster(TestBroker):
    """Three NATS servers, each on an address of its own, behind one name."""

    def __init__(self, folder: Path, devices=(BAG,)) -> None:
        super().__init__(folder, devices)
        if shutil.which("openssl") is None:
            pytest.skip("openssl is not installed: the nodes' certificates are made as the documentation says")
        make = documented("openssl req").replace("10.0.0.", "127.0.0.")
        subprocess.run(["sh", "-ec", make], cwd=folder, check=True, capture_output=True)
        routes, self._ask = free_port(), [free_port() for _ in range(NODES)]
        self.nodes = []
        for n in range(1, NODES + 1):
            files = BrokerFiles(
                folder / f"nats-{n}", self.config.certificate, self.config.key, self.root, f"127.0.0.{n}",
                self.config.port, free_port(),
            )  # fmt: skip
            config = write_config(files, self.devices)
            text = config.read_text().replace("server_name: hub", f"server_name: nats-{n}")
            cluster = (
                documented("cluster {").replace("10.0.0.1:6222\n", f"10.0.0.{n}:6222\n").replace("nats-1", f"nats-{n}")
            )
            cluster = cluster.replace("10.0.0.", "127.0.0.").replace(":6222", f":{routes}")
            for name in (f"nats-{n}.pem", f"nats-{n}.key", "nodes.pem"):
                cluster = cluster.replace(f" {name}", f' "{folder / name}"')
            config.write_text(f"{text}{cluster}http: 127.0.0.1:{self._ask[n - 1]}\n")
            self.nodes.append(NatsServer(files))
        self.first = 0
        self.server = self

    def address(self, tls: ssl.SSLContext | None) -> Broker:
        return Broker(CLUSTER_NAME, self.config.port, tls)

    async def start(self) -> None:
        for node in self.nodes:
            if not node.alive:
                await node.start()
        async with asyncio.timeout(WITHIN_S):
            while await self.leader() is None:
                await asyncio.sleep(0.1)

    async def leader(self) -> int | None:
        """The node that leads; None while they have chosen none."""

        def ask(port):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/jsz", timeout=2) as answer:
                return json.load(answer).get("meta_cluster", {}).get("leader")

        for node, port in zip(self.nodes, self._ask, strict=True):
            if node.alive:
                name = await asyncio.to_thread(ask, port)
                return int(name.removeprefix("nats-")) - 1 if name else None
        return None

    async def kill(self) -> None:
        """Kill the leader, to which everybody is connected."""
        await self.nodes[self.first].kill()

    @asynccontextmanager
    async def running(self):
        def resolve(host, port, *args, **kwargs):
            if host != CLUSTER_NAME:
                return really(host, port, *args, **kwargs)
            order = [self.first, *(n for n in range(NODES) if n != self.first)]
            return [found for n in order for found in really(f"127.0.0.{n + 1}", port, *args, **kwargs)]

        really = socket.getaddrinfo
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(socket, "getaddrinfo", resolve)
            try:
                await self.start()
                self.first = await self.leader()
                yield self
            finally:
                for node in self.nodes:
                    await node.kill()
