"""How soon a bag notices that its network is gone, and how soon it is back: a part of `make bench-wire`.

    python -m benchmarks.reconnect [--bags 12] [--cycles 8] [--report]

Bags with the agent's own outbox and uplink, a row a second each, before a real broker and hub. Again and again, for
random times (seeded; between 1 and 60 s, short ones more often),

- the broker is killed, loses its store, and is started again;
- the network is a black hole, where nothing comes back, not even an error (packets by hand, in a network namespace:
  needs root and /dev/net/tun).

`seen`: from the hole's beginning until the bag says that it is offline, where it does before the hole ends. `again`:
from the moment at which the broker listens, or packets pass, until the bag is connected, and until it has a receipt of
the hub's; for those that had lost their connection.
"""

import argparse
import asyncio
import math
import os
import platform
import random
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np

from agent.clock import BootClock
from agent.outbox import OutboxThread
from agent.transport.delivery import Delivery
from agent.transport.epoch import Epoch
from agent.transport.link import connect
from agent.transport.messages import Batch, EpochReason, EpochReceipt, EventBody, Record
from agent.transport.uplink import Hooks, Uplink
from benchmarks.load import Site, now_us
from tests.peers.network import FAR, Network
from tests.peers.waiting import until

REPORT = Path(__file__).parent.parent / "docs" / "benchmarks" / "reconnect.md"
SHORTEST_S, LONGEST_S = 1.0, 60.0
SETTLE_S = 6.0
PATIENCE_S = 90.0
SEEN_S, AGAIN_S = 10.0, 3.0  # what is asked


class Bag:
    """A row a second, an outbox, the agent's uplink."""

    def __init__(self, site: Site, name: str, host: str) -> None:
        self.outbox = OutboxThread(site.folder / f"{name}.sqlite")
        self.delivery = Delivery()
        self.receipts: list[EpochReceipt] = []
        self.receipted_s = 0.0
        self.epoch = Epoch(
            site.identity(name), boot_id=os.urandom(16), t_us=now_us(), reason=EpochReason.START, chain=os.urandom(8),
            number=1, previous=None, demo=True,
        )  # fmt: skip
        address = site.address(name, host)
        self.uplink = Uplink(
            lambda will: connect(address, name=name, will=will), device=name, epoch=lambda: self.epoch,
            delivery=self.delivery, outbox=self.outbox, hooks=Hooks(self._receipted, lambda _command: None),
            now_ns=BootClock().now_ns,
        )  # fmt: skip

    def _receipted(self, receipt: EpochReceipt) -> None:
        self.receipts.append(receipt)
        self.receipted_s = time.monotonic()

    async def rows(self) -> None:
        await self._commit(self.epoch.header)
        while True:
            await asyncio.sleep(1.0)
            row = self.epoch.row(Batch(now_us() // 1000, None, (Record(0, 0, 0, EventBody(None, "", "")),)))
            self.uplink.offer(row)
            await self._commit(row)

    async def _commit(self, row) -> None:
        receipts, self.receipts = self.receipts, []
        await self.outbox.call(self.outbox.box.commit, [row], receipts)
        self.delivery.committed(row.epoch, row.seq)
        self.uplink.committed()

    @property
    def connected(self) -> bool:
        return self.uplink.state.connected


async def once(bag: Bag, outage: Callable[[], float | None], began_s: float, found: dict[str, list[float]]) -> None:
    """One bag through one outage; `outage` gives when it ended."""
    while bag.connected:
        ended_s = outage()
        if ended_s is not None and bag.receipted_s > ended_s:
            return  # too short to be noticed
        await asyncio.sleep(0.01)
    if outage() is None:
        found["seen"].append(time.monotonic() - began_s)
    await until(lambda: bag.connected and outage() is not None, PATIENCE_S)
    ended_s = outage()
    assert ended_s is not None
    found["connected"].append(max(0.0, time.monotonic() - ended_s))
    await until(lambda: bag.receipted_s >= ended_s, PATIENCE_S)
    found["receipt"].append(bag.receipted_s - ended_s)


async def cycles(
    site: Site, host: str, number: int, begin: Callable[[], Awaitable[None]], end: Callable[[], Awaitable[None]]
) -> dict[str, list[float]]:
    """All bags of a site through so many outages."""
    found: dict[str, list[float]] = {"seen": [], "connected": [], "receipt": []}
    rng = random.Random(number)
    hub, every = site.hub(whole=False), [Bag(site, name, host) for name in site.names]
    await asyncio.gather(site.broker.start(), hub.start())
    tasks = [asyncio.create_task(part) for bag in every for part in (bag.uplink.run(), bag.rows())]
    try:
        for _ in range(number):
            await until(lambda: all(bag.connected and bag.delivery.unreceipted() < 8 for bag in every), PATIENCE_S)
            await asyncio.sleep(SETTLE_S + rng.random())
            ended_s: list[float] = []
            began_s = time.monotonic()
            await begin()
            waiting = [
                asyncio.create_task(once(bag, lambda: ended_s[0] if ended_s else None, began_s, found))  # noqa: B023
                for bag in every
            ]
            await asyncio.sleep(math.exp(rng.uniform(math.log(SHORTEST_S), math.log(LONGEST_S))))
            await end()
            ended_s.append(time.monotonic())
            await asyncio.gather(*waiting)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await hub.stop()
        await site.broker.stop()
        for bag in every:
            bag.outbox.close()
    return found


def killed(folder: Path, bags: int, number: int) -> dict[str, list[float]]:
    site = Site(folder, bags)

    async def kill() -> None:
        await site.broker.kill()
        shutil.rmtree(folder / "nats" / "jetstream", ignore_errors=True)

    return asyncio.run(cycles(site, "127.0.0.1", number, kill, site.broker.start))


def swallowed(folder: Path, bags: int, number: int) -> dict[str, list[float]]:
    network, found = Network(bits_per_s=10e6, delay_s=0.03), {}

    async def through() -> dict[str, list[float]]:
        site = Site(folder, bags, host="0.0.0.0")
        network.port = site.files.port

        async def turn() -> None:
            network.hole = not network.hole

        return await cycles(site, FAR, number, turn, turn)

    network.run(lambda: found.update(asyncio.run(through())))
    return found


def _row(what: str, values: list[float], asked_s: float | None = None) -> str:
    p50, p95, most = (*np.percentile(values, [50, 95]), max(values))
    met = "" if asked_s is None else f"p95 {asked_s:.0f} s | {'yes' if p95 <= asked_s else '**no**'}"
    return f"| {what} | {len(values)} | {p50:.2f} | {p95:.2f} | {most:.2f} | {met or ' |'} |"


def _report(broker: dict[str, list[float]], hole: dict[str, list[float]], bags: int, number: int) -> str:
    rows = [
        _row("broker killed: connected again", broker["connected"], AGAIN_S),
        _row("… a receipt of the hub's", broker["receipt"]),
        _row("black hole: seen", hole["seen"], SEEN_S),
        _row("… connected again", hole["connected"], AGAIN_S),
        _row("… a receipt of the hub's", hole["receipt"]),
    ]
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    return "\n".join([
        "# Gone and back", "",
        f"Made by `python -m benchmarks.reconnect --bags {bags} --cycles {number} --report` on {machine}, load",
        f"{os.getloadavg()[0]:.1f} when it ended. What each line means: `benchmarks/reconnect.py`. Seconds.", "",
        "| | bags times outages | p50 | p95 | most | asked | met |", "|---|---|---|---|---|---|---|", *rows, "",
    ])  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bags", type=int, default=12)
    parser.add_argument("--cycles", type=int, default=8)
    parser.add_argument("--report", action="store_true", help=f"write {REPORT.name}")
    args = parser.parse_args()
    found = []
    for fault in (killed, swallowed):
        with tempfile.TemporaryDirectory(prefix="besace-reconnect-") as folder:
            found.append(fault(Path(folder), args.bags, args.cycles))
    text = _report(*found, args.bags, args.cycles)
    if args.report:
        REPORT.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
