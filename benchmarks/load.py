"""`make bench-load`: how many bags one broker and one hub carry, by bags that speak the real wire.

    python -m benchmarks.load [--bags 7,100,200,…] [--seconds 20] [--report]

Each bag has a certificate, a connection (TLS 1.3, MQTT) and an epoch of its own; it seals a row of a visit each second
(ECG 130 Hz, pleth 100 Hz, respiration 62.5 Hz, oximeter readings, what the stages found), and believes receipts only
when they open. Unlike in reality they share the signals, computed before, and the processor: broker, hub and all bags
run on this machine. They have no outbox: what a bag's card does is no part of this.

The hub runs twice: whole, and as a receiver alone, without the doctor's page and its signal processing, that only
opens, checks, decodes, commits and receipts.

A number of bags is carried when every row is receipted, no connection is lost, and the 99th percentile from a row's cut
to the hub's commit is below a second. Processor time is each process's own, whatever else the machine does meanwhile.
"""

import argparse
import asyncio
import os
import platform
import sqlite3
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric import ec

from agent.demo.world import Child
from agent.dsp.chains import describe
from agent.errors import HubError, WireError
from agent.transport import hubkeys, seal, sequence, topics, wire
from agent.transport.delivery import Delivery
from agent.transport.epoch import Epoch
from agent.transport.identity import Identity, client_context
from agent.transport.link import Broker, Link, connect
from agent.transport.messages import Batch, EpochReason, Receipt, State, VisitBody, VisitStep
from agent.transport.records import RecordWriter
from benchmarks.visit import OXIMETER, VITALS, Instruments, readings
from hub.app import HubSettings, load_keyring
from hub.nats import BrokerFiles, NatsServer, free_port, write_config
from hub.receiver import Pending, Receiver
from hub.service import Service
from hub.store import Store
from provisioning.authority import Authority, certificate_pem, key_pem, write_private

REPORT = Path(__file__).parent.parent / "docs" / "benchmarks" / "load.md"
TICKS = os.sysconf("SC_CLK_TCK")
SETTLE_S = 5.0
DRAIN_S = 15.0
P99_MS = 1000.0


def now_us() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000


def visit_of(seconds: int) -> list[Batch]:
    """The batches of a visit, one a second, from its first."""
    instruments, writer, made = Instruments(VITALS), RecordWriter(), []
    writer.instrument(OXIMETER, 0)
    writer.bag(VisitBody(VisitStep.OPEN, "0042"), 0)
    for stream in VITALS:
        writer.stream(stream, describe(stream), 0)
    for second in range(1, seconds + 1):
        t_ns = second * 10**9
        for item in (*instruments.give(t_ns, 1.0), *instruments.found(), *readings(t_ns)):
            writer.add(item)
        made += writer.cut(t_ns, bytes(16))
    return made


class Site:
    """An authority, a broker and a hub in a folder; any number of bags."""

    def __init__(self, folder: Path, bags: int, *, host: str = "127.0.0.1") -> None:
        self.folder = folder
        self.authority = Authority.new("Besace load")
        self.names = [f"sac-{n:05d}" for n in range(bags)]
        self.root = folder / "root.pem"
        self.root.write_bytes(certificate_pem(self.authority.certificate))
        sealing = hubkeys.generate()
        write_private(folder / "sealing.key", hubkeys.private_pem(sealing))
        self.hub_key = hubkeys.load_public(hubkeys.public_pem(sealing.public_key()))
        key = ec.generate_private_key(ec.SECP256R1())
        server = self.authority.issue_server("broker", key.public_key(), ["hub"])
        (folder / "broker.pem").write_bytes(certificate_pem(server))
        write_private(folder / "broker.key", key_pem(key))
        self.files = BrokerFiles(
            folder / "nats", folder / "broker.pem", folder / "broker.key", self.root, host, free_port(),
            free_port(),
        )  # fmt: skip
        write_config(self.files, self.names)
        self.broker = NatsServer(self.files)
        self.identity("hub")
        self.hub_dir = folder / "hub"

    def identity(self, name: str) -> Identity:
        """A certificate and key, also as files."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self.authority.issue_client(name, key.public_key())
        (self.folder / f"{name}.pem").write_bytes(certificate_pem(certificate))
        write_private(self.folder / f"{name}.key", key_pem(key))
        return Identity(certificate, key, self.hub_key)

    def address(self, name: str, host: str = "127.0.0.1") -> Broker:
        tls = client_context(self.root, self.folder / f"{name}.pem", self.folder / f"{name}.key", "hub")
        return Broker(host, self.files.port, tls)

    def hub(self, *, whole: bool) -> Child:
        """The hub's process, whole or only its receiver."""
        python = [sys.executable, "-m"]
        if not whole:
            command = [*python, "benchmarks.load", "--receiver", str(self.folder), str(self.files.port)]
        else:
            command = [
                *python, "hub", "run", "--state-dir", str(self.hub_dir), "--broker", f"127.0.0.1:{self.files.port}",
                "--ca", str(self.root), "--cert", str(self.folder / "hub.pem"), "--key", str(self.folder / "hub.key"),
                "--sealing-key", str(self.folder / "sealing.key"),
            ]  # fmt: skip
        return Child("the hub", command, self.folder / "hub.log")


async def receive(folder: Path, port: int) -> None:
    """The hub without rooms: as hub/app.py wires it, but nobody listens to what is heard."""
    (folder / "hub").mkdir()
    settings = HubSettings(
        folder / "hub", "127.0.0.1", port, "hub", folder / "root.pem", folder / "hub.pem", folder / "hub.key",
        folder / "sealing.key",
    )  # fmt: skip
    loop = asyncio.get_running_loop()
    thread = ThreadPoolExecutor(1)
    store = await loop.run_in_executor(thread, Store, folder / "hub" / "hub.sqlite")
    receiver = Receiver(load_keyring(settings), now_us=now_us)
    tls = client_context(settings.ca, settings.certificate, settings.key, settings.server_name)

    def commit(pending: Pending) -> None:
        batches = [(heard.device, heard.header.boot_id, heard.batch) for heard in pending.heard]
        store.commit(pending.headers, pending.rows, pending.visits, pending.holes, (), batches)
        store.ended(now_us())

    await Service(
        receiver,
        connect_once=lambda: connect(Broker("127.0.0.1", port, tls), name="hub"),
        commit=lambda pending: loop.run_in_executor(thread, commit, pending),
        heard=lambda _heard: None,
        watched=set,
    ).run()


@dataclass
class Bag:
    """A bag as the broker and the hub see it."""

    site: Site
    name: str
    content: list[Batch]
    delivery: Delivery = field(default_factory=Delivery)
    rows: int = 0
    lost_connections: int = 0

    def __post_init__(self) -> None:
        self.epoch = Epoch(
            self.site.identity(self.name), boot_id=os.urandom(16), t_us=now_us(), reason=EpochReason.START,
            chain=os.urandom(8), number=1, previous=None, demo=True,
        )  # fmt: skip
        self.delivery.committed(self.epoch.id, 0)
        self._over, self._drained = False, asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Send a row a second until told to stop, then wait for the last receipts."""
        try:
            async with connect(self.site.address(self.name), name=self.name) as link:
                await link.subscribe(topics.down_filter(self.name))
                state = self.epoch.state(wire.encode(State(online=True, session=1, software="load")))
                self.delivery.sent(self.epoch.id, 0, 0, 0.0)
                await self._publish(link, topics.Up.STATE, sequence.join([self.epoch.header.payload, state]), qos=1)
                hearing = asyncio.create_task(self._hear(link))
                try:
                    await self._send(link, stop)
                    self._over = True
                    if self.delivery.unreceipted():
                        await asyncio.wait_for(self._drained.wait(), DRAIN_S)
                finally:
                    hearing.cancel()
                    await asyncio.gather(hearing, return_exceptions=True)
        except (HubError, TimeoutError):
            self.lost_connections += 1

    async def _publish(self, link: Link, name: topics.Up, payload: bytes, *, qos: int = 0) -> None:
        await link.publish(str(topics.Topic(self.name, name)), payload, qos=qos, retain=qos > 0)

    async def _send(self, link: Link, stop: asyncio.Event) -> None:
        due_s, visit = time.monotonic(), os.urandom(16)
        for batch in self.content:
            due_s += 1.0
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            if stop.is_set():
                return
            row = self.epoch.row(replace(batch, t_ms=now_us() // 1000, visit=visit))
            self.delivery.committed(row.epoch, row.seq)
            self.delivery.sent(row.epoch, row.seq, row.seq, 0.0)
            self.rows += 1
            await self._publish(link, topics.Up.LIVE, row.payload)

    async def _hear(self, link: Link) -> None:
        async for _, payload in link.messages():
            try:
                message = wire.decode(self.epoch.down.open(payload)[1])
            except (seal.SealError, WireError):
                continue
            if isinstance(message, Receipt):
                for receipt in message.epochs:
                    self.delivery.receipted(receipt)
                if self._over and not self.delivery.unreceipted():
                    self._drained.set()


def spent_s(pid: int) -> float:
    """Processor time of a process so far."""
    return sum(map(int, Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13])) / TICKS


def latencies_ms(hub: Path, since_us: int, until_us: int) -> np.ndarray:
    """From cut to the end of the commit, of every row cut in between."""
    db = sqlite3.connect(f"file:{hub}?mode=ro", uri=True)
    found = db.execute(
        "SELECT ended_us - t_us FROM rows JOIN commits ON no = in_commit WHERE seq > 0 AND t_us BETWEEN ? AND ?",
        (since_us, until_us),
    ).fetchall()
    db.close()
    return np.array([row[0] for row in found if row[0] is not None]) / 1000


async def carry(folder: Path, bags: int, seconds: float, content: list[Batch], *, whole: bool) -> dict[str, Any]:
    """So many bags for so long."""
    site = Site(folder, bags)
    hub = site.hub(whole=whole)
    every = [Bag(site, name, content) for name in site.names]
    await asyncio.gather(site.broker.start(), hub.start())
    stop = asyncio.Event()
    try:
        await asyncio.sleep(SETTLE_S)
        running = []
        for bag in every:
            running.append(asyncio.create_task(bag.run(stop)))
            await asyncio.sleep(max(0.01, 1.0 / bags))
        await asyncio.sleep(SETTLE_S)
        pids = {
            "broker": int((folder / "nats" / "nats.pid").read_text()),
            "hub": hub.process.pid,
            "all bags": os.getpid(),
        }
        before, since_us, began_s = {name: spent_s(pid) for name, pid in pids.items()}, now_us(), time.monotonic()
        await asyncio.sleep(seconds)
        lasted_s = time.monotonic() - began_s
        used = {name: 100 * (spent_s(pid) - before[name]) / lasted_s for name, pid in pids.items()}
        until_us = now_us()
        stop.set()
        await asyncio.gather(*running)
        latencies = latencies_ms(site.hub_dir / "hub.sqlite", since_us, until_us)
    finally:
        await hub.stop()
        await site.broker.stop()
    unreceipted = sum(bag.delivery.unreceipted() for bag in every)
    lost = sum(bag.lost_connections for bag in every)
    p50, p99 = map(float, np.percentile(latencies, [50, 99]))
    return {
        "hub is": "whole" if whole else "receiver", "bags": bags, **used, "rows_s": len(latencies) / lasted_s,
        "p50": p50, "p99": p99, "unreceipted": unreceipted, "lost_connections": lost,
        "carried": not unreceipted and not lost and p99 < P99_MS,
    }  # fmt: skip


def _report(runs: list[dict[str, Any]], seconds: float) -> str:
    rows = "\n".join(
        f"| {run['hub is']} | {run['bags']} | {run['rows_s']:.0f} | {run['broker']:.1f} % | {run['hub']:.0f} % |"
        f" {run['all bags']:.0f} % | {run['p50']:.0f} | {run['p99']:.0f} | {'yes' if run['carried'] else '**no**'} |"
        for run in runs
    )
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    return f"""# How many bags

Made by `make bench-load` ({seconds:.0f} s each) on {machine}, load {os.getloadavg()[0]:.1f}
when it ended. What a bag is here, and when a number of them is carried: `benchmarks/load.py`. Broker, hub and bags
share these cores, and what else runs there. Percentages are of one core.

| hub | bags in a visit | rows a second | broker | hub | the bags | p50, ms | p99, ms | carried |
|---|---|---|---|---|---|---|---|---|
{rows}
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bags", default="7,100,200,250,300,400,500,600", help="how many, one after the other")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--report", action="store_true", help=f"write {REPORT.name}")
    parser.add_argument("--receiver", nargs=2, metavar=("DIR", "PORT"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.receiver:
        asyncio.run(receive(Path(args.receiver[0]), int(args.receiver[1])))
        return 0
    runs = []
    content = visit_of(round(args.seconds + 2 * SETTLE_S + 30))
    for whole in (True, False):
        for bags in map(int, args.bags.split(",")):
            with tempfile.TemporaryDirectory(prefix="besace-load-") as folder:
                runs.append(asyncio.run(carry(Path(folder), bags, args.seconds, content, whole=whole)))
            print(runs[-1], flush=True)
            if not runs[-1]["carried"]:
                break
    if args.report:
        REPORT.write_text(_report(runs, args.seconds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
