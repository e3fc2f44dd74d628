"""`make bench-wire`: what a visit costs on the air, on the card and in processor time, and how fast a backlog drains.

    python -m benchmarks.wire [--seconds 60]

The bag is the agent's own recorder, outbox and uplink in this process, fed in real time with simulated signals (ECG
130 Hz, pleth 100 Hz, respiration 62.5 Hz, two oximeter readings a second, what the stages found; then a stethoscope at
4 kHz on top), read and cut at the agent's own moments, an hour into the visit. Broker (NATS, TLS 1.3 with client
certificates) and hub are processes of their own.

Bytes are IP bytes of the one TCP connection, both ways, receipts and acknowledgements included: what the kernel counts
as payload plus 52 bytes of IPv4 and TCP header for each segment that it counts, sent or received. Handshakes are not in
them. Latency is from a row's cut to the end of the hub's commit. Written bytes are `/proc/self/io`'s.
"""

import argparse
import asyncio
import os
import platform
import sqlite3
import struct
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agent.clock import BootClock
from agent.config import PaceConfig
from agent.demo.world import BAG, World
from agent.drivers.base import READ_EVERY_S, just_after_read_s, unlost_s, until_read_s
from agent.model import Visit
from agent.outbox import OutboxThread
from agent.recorder import Recorder
from agent.signals import EVERY_S
from agent.transport import identity as identities
from agent.transport.delivery import Delivery
from agent.transport.link import Broker, connect
from agent.transport.uplink import Hooks, Uplink
from benchmarks.visit import OXIMETER, SOUND, VITALS, Instruments, readings

REPORT = Path(__file__).parent.parent / "docs" / "benchmarks" / "wire.md"
HEADERS = 20 + 32  # IPv4, and TCP with its time stamps
INTO_S = 3600.0  # samples are counted from the stream's beginning, and large numbers take more bytes
SETTLING_S = 15.0  # births, anchors and the first questions for the time are behind
STAGES_EVERY = round(EVERY_S / READ_EVERY_S)
PACE = PaceConfig()


class FutureClock(BootClock):
    """The boot clock of a bag that has been up for longer: hours of backlog are made in minutes."""

    ahead_ns = 0

    def now_ns(self) -> int:
        return super().now_ns() + self.ahead_ns


class Proxy:
    """Passes one connection's bytes on, so many a second at most each way."""

    def __init__(self, port: int, bytes_per_s: float) -> None:
        self._port, self._rate = port, bytes_per_s

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader, writer) -> None:
        there = await asyncio.open_connection("127.0.0.1", self._port)
        await asyncio.gather(self._pass(reader, there[1]), self._pass(there[0], writer), return_exceptions=True)

    async def _pass(self, reader, writer) -> None:
        free_s = time.monotonic()
        while data := await reader.read(8192):
            free_s = max(free_s, time.monotonic()) + len(data) / self._rate
            await asyncio.sleep(max(0.0, free_s - time.monotonic()))
            writer.write(data)
            await writer.drain()
        writer.close()


@dataclass
class Bag:
    """The agent's delivery, fed by hand."""

    world: World
    folder: Path
    sound: bool = False
    port: int | None = None
    since_s: float = 0.0

    def __post_init__(self) -> None:
        keys = self.world.folder / "keys"
        self.clock = FutureClock()
        self.outbox = OutboxThread(self.folder / "outbox.sqlite")
        self.delivery = Delivery(self.outbox.now(self.outbox.box.unreceipted))
        self.instruments = Instruments((*VITALS, SOUND) if self.sound else VITALS, since_s=self.since_s)
        self.recorder = Recorder(
            identity=identities.load(keys / f"{BAG}.pem", keys / f"{BAG}.key", keys / "hub-sealing.pub"),
            clock=self.clock, outbox=self.outbox, delivery=self.delivery, demo=True, describe=self._describe,
        )  # fmt: skip
        self.tls = identities.client_context(keys / "root.pem", keys / f"{BAG}.pem", keys / f"{BAG}.key", "hub")
        self.uplink = Uplink(
            self._connect, device=BAG, epoch=lambda: self.recorder.epoch, delivery=self.delivery, outbox=self.outbox,
            hooks=Hooks(self.recorder.receipted, lambda _: None, time=self.recorder.hub_time),
            now_ns=self.clock.now_ns,
        )  # fmt: skip
        self.recorder.offer, self.recorder.committed = self.uplink.offer, self.uplink.committed
        self.link = None

    def _connect(self, will):
        bag = self

        class Kept:
            async def __aenter__(self):
                self.inner = connect(
                    Broker("127.0.0.1", bag.port or bag.world._broker_port, bag.tls), name=BAG, will=will
                )
                bag.link = await self.inner.__aenter__()
                return bag.link

            async def __aexit__(self, *why):
                return await self.inner.__aexit__(*why)

        return Kept()

    def _describe(self, writer) -> None:
        now = self.clock.now_ns()
        writer.instrument(OXIMETER, now)
        for stream in self.instruments.streams:
            writer.stream(stream, (), now)

    def feed(self, t_ns: int, seconds: float, *, sound: bool = True) -> None:
        """What the instruments give in a stretch of time that ends at `t_ns`."""
        self.recorder.add(self.instruments.give(t_ns, seconds, sound=sound))

    def analyse(self) -> None:
        """What the stages find in what came since the last time."""
        self.recorder.add(self.instruments.found())

    def read(self, t_ns: int) -> None:
        self.recorder.add(readings(t_ns))

    async def live(self, seconds: float) -> None:
        """Feed in real time, as drivers do."""
        loop, last_ns = asyncio.get_running_loop(), self.clock.now_ns()
        for tick in range(round(seconds / READ_EVERY_S)):
            await asyncio.sleep(until_read_s(loop.time()))
            now = self.clock.now_ns()
            self.feed(now, (now - last_ns) / 1e9)
            last_ns = now
            if tick % STAGES_EVERY == STAGES_EVERY - 1:
                self.analyse()
                self.read(now)

    def cutting(self, watched: bool = False):
        """The recorder at work, at the agent's pace."""
        return self.recorder.cut_every(
            lambda: PACE.watched_s if watched else unlost_s(PACE.batch_s, self.recorder.commit_s),
            just_after_read_s,
            patient=lambda: not watched,
        )

    def ip_bytes(self) -> tuple[int, int, int]:
        """Bytes up and down on this connection, headers included, and its segments."""
        info = self.link._client._client.socket().getsockopt(6, 11, 144)
        acked, received, out, came = struct.unpack_from("=QQII", info, 120)
        return acked + HEADERS * out, received + HEADERS * came, out + came

    def close(self) -> None:
        self.outbox.close()


def _written() -> int:
    return int(Path("/proc/self/io").read_text().split("write_bytes: ")[1].split()[0])


def _latencies_ms(hub: Path, since_us: int) -> np.ndarray:
    db = sqlite3.connect(f"file:{hub}?mode=ro", uri=True)
    found = db.execute(
        "SELECT ended_us - t_us FROM rows JOIN commits ON no = in_commit"
        " WHERE seq > 0 AND t_us > ? AND ended_us NOT NULL",
        (since_us,),
    ).fetchall()
    db.close()
    return np.array([row[0] for row in found]) / 1000


async def visit(world: World, folder: Path, seconds: float, *, sound: bool) -> dict:
    """A visit in real time that nobody watches."""
    bag = Bag(world, folder, sound=sound, since_s=INTO_S)
    tasks = [asyncio.create_task(part) for part in (bag.uplink.run(), bag.cutting())]
    bag.recorder.open_visit(Visit(os.urandom(16), "0042", bag.clock.now_ns()), resumed=False)
    await bag.live(SETTLING_S)
    up, down, segments = bag.ip_bytes()
    written, cpu, rows, since_us = (
        _written(),
        time.process_time(),
        bag.recorder.rows_committed,
        bag.clock.now_ns() // 1000,
    )
    began = time.monotonic()
    await bag.live(seconds)
    lasted = time.monotonic() - began
    after = bag.ip_bytes()
    found = {
        "up": (after[0] - up) / lasted, "down": (after[1] - down) / lasted,
        "segments": (after[2] - segments) / lasted, "written": (_written() - written) / lasted,
        "cpu": 100 * (time.process_time() - cpu) / lasted, "rows": (bag.recorder.rows_committed - rows) / lasted,
        "connections": bag.uplink.state.connections,
    }  # fmt: skip
    await bag.recorder.close_visit()
    await asyncio.sleep(3)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    bag.close()
    latencies = _latencies_ms(world.hub_dir / "hub.sqlite", since_us)
    return found | {"p50": np.percentile(latencies, 50), "p99": np.percentile(latencies, 99)}


async def drain(world: World, folder: Path, hours: float, mbit_s: float) -> dict:
    """Hours offline, half an hour with the stethoscope, then a link of so many Mbit/s while the visit goes on."""
    bag = Bag(world, folder, sound=True)
    bag.outbox.now(bag.outbox.box._db.execute, "PRAGMA synchronous = OFF")  # only to fill it faster
    bag.recorder.open_visit(Visit(os.urandom(16), "0042", 0), resumed=False)
    made = round(hours * 3600)
    for second in range(made):
        bag.clock.ahead_ns += 1_000_000_000
        now_ns = bag.clock.now_ns()
        bag.feed(now_ns, 1.0, sound=second < made / 16)
        bag.read(now_ns)
        bag.instruments.unseen.clear()  # eight hours of stages would take minutes; beats are a twentieth of the bytes
        if second % 60 == 59:
            await bag.recorder.cut()
        else:
            bag.recorder._seal()
    await bag.recorder.cut()
    bag.outbox.now(bag.outbox.box._db.execute, "PRAGMA synchronous = FULL")
    size = bag.outbox.now(bag.outbox.box.counts)
    bag.port = await Proxy(world._broker_port, mbit_s * 125_000).start()
    since_us, began = bag.clock.now_ns() // 1000, time.monotonic()
    tasks = [asyncio.create_task(part) for part in (bag.uplink.run(), bag.cutting(watched=True), bag.live(600))]
    while not bag.delivery.receipted_rows or bag.delivery.unreceipted() > 20:
        await asyncio.sleep(0.1)
        if time.monotonic() - began > 300:
            break
    took = time.monotonic() - began
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(1.0)
    bag.close()
    latencies = _latencies_ms(world.hub_dir / "hub.sqlite", since_us + 1_000_000) + bag.clock.ahead_ns / 1e6
    return {
        "rows": size.rows, "megabytes": size.payload_bytes / 1e6, "seconds": took,
        "p50": np.percentile(latencies, 50), "p99": np.percentile(latencies, 99),
        "connections": bag.uplink.state.connections,
    }  # fmt: skip


def per_message(folder: Path, world: World) -> dict:
    """Microseconds of processor to turn a second into a sealed row, and to commit it."""
    bag = Bag(world, folder)
    bag.recorder.open_visit(Visit(bytes(16), "0042", 0), resumed=False)
    seal_s, n = 0.0, 500
    for _ in range(n):
        bag.feed(bag.clock.now_ns(), 1.0)
        began = time.process_time()
        bag.recorder._seal()
        seal_s += time.process_time() - began
    bytes_ = sum(len(row.payload) for row in bag.recorder._uncommitted) / n
    bag.close()
    return {"seal_us": 1e6 * seal_s / n, "row_bytes": bytes_}


async def measure(folder: Path, seconds: float) -> dict:
    world = World(folder / "world", radio=False)
    found = {}
    try:
        await asyncio.gather(world.broker.start(), world.hub.start())
        await asyncio.sleep(2)
        for name, sound in (("vitals", False), ("stethoscope", True)):
            (folder / name).mkdir()
            print(f"{name}, {seconds:.0f} s …", flush=True)
            found[name] = await visit(world, folder / name, seconds, sound=sound)
            print(found[name], flush=True)
        (folder / "drain").mkdir()
        print("eight hours of backlog over 10 Mbit/s …", flush=True)
        found["drain"] = await drain(world, folder / "drain", 8.0, 10.0)
        print(found["drain"], flush=True)
        (folder / "message").mkdir()
        found["message"] = per_message(folder / "message", world)
    finally:
        await world.stop()
    return found


def _kbit(run: dict) -> float:
    return 8 * (run["up"] + run["down"]) / 1000


def _plot(runs: list[tuple[str, float, float, float]], path: Path) -> None:
    """Bars of kbit/s, up and down, with what was asked as a line."""
    parts = []
    for i, (name, up, down, asked) in enumerate(runs):
        scale, y = 440 / max(asked, up + down), 30 + 60 * i
        parts.append(
            f'<text x="130" y="{y + 17}" text-anchor="end">{name}</text>'
            f'<rect x="140" y="{y}" width="{up * scale:.1f}" height="24" fill="#2a9d63"/>'
            f'<rect x="{140 + up * scale:.1f}" y="{y}" width="{down * scale:.1f}" height="24" fill="#7b8"/>'
            f'<path d="M{140 + asked * scale:.1f} {y - 5}v34" stroke="#c30"/>'
            f'<text x="{150 + (up + down) * scale:.1f}" y="{y + 40}" font-size="11">up {up:.2f}, down {down:.2f}, '
            f"asked {asked:g} kbit/s</text>"
        )
    path.write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 160" font-family="sans-serif" font-size="13">'
        f'<rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>\n'
    )


def _report(found: dict, seconds: float) -> str:
    vitals, sound, backlog, message = (found[name] for name in ("vitals", "stethoscope", "drain", "message"))

    def row(what: str, reached: str, asked: str = "", met: bool | None = None) -> str:
        return f"| {what} | {reached} | {asked} | {'' if met is None else 'yes' if met else '**no**'} |"

    lines = [
        "# The wire", "",
        f"Made by `python -m benchmarks.wire --seconds {seconds:.0f}` (a part of `make bench-wire`) on",
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, load",
        f"{os.getloadavg()[0]:.1f} at the end. How each is measured stands at the top of",
        "`benchmarks/wire.py`; codecs side by side: [waveform.md](waveform.md).", "",
        "![kbit/s](wire.svg)", "",
        "| figure | reached | asked | met |", "|---|---|---|---|",
        row("ECG 130 Hz, pleth 100 Hz, respiration 62.5 Hz, vitals; IP bytes both ways",
            f"{_kbit(vitals):.2f} kbit/s", "4.5 kbit/s", _kbit(vitals) <= 4.5),
        row("… up / down", f"{vitals['up']:.0f} / {vitals['down']:.0f} B/s in {vitals['segments']:.1f} segments/s"),
        row("… with a stethoscope at 4 kHz", f"{_kbit(sound):.2f} kbit/s", "34 kbit/s", _kbit(sound) <= 34),
        row("… up / down", f"{sound['up']:.0f} / {sound['down']:.0f} B/s in {sound['segments']:.1f} segments/s"),
        row("cut to the hub's disk, vitals, p50 / p99", f"{vitals['p50']:.0f} / {vitals['p99']:.0f} ms"),
        row("written to the card, vitals / with stethoscope",
            f"{vitals['written'] / 1000:.1f} / {sound['written'] / 1000:.1f} kB/s", "40 kB/s",
            max(vitals["written"], sound["written"]) <= 40_000),
        row(f"backlog of 8 h, 30 min of stethoscope ({backlog['rows']} rows, {backlog['megabytes']:.1f} MB), 10 Mbit/s",
            f"{backlog['seconds']:.0f} s", "60 s", backlog["seconds"] <= 60),
        row("… live rows meanwhile, cut to hub's disk, p50 / p99", f"{backlog['p50']:.0f} / {backlog['p99']:.0f} ms",
            "p99 300 ms", backlog["p99"] <= 300),
        row("processor for a second of vitals: codec, CBOR, seal",
            f"{message['seal_us']:.0f} µs for {message['row_bytes']:.0f} bytes"),
        row("processor of the whole bag side, stages and simulation included, vitals / with stethoscope",
            f"{vitals['cpu']:.1f} / {sound['cpu']:.1f} % of a core"),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="besace-wire-") as folder:
        found = asyncio.run(measure(Path(folder), args.seconds))
    text = _report(found, args.seconds)
    REPORT.write_text(text)
    runs = [("vitals", found["vitals"], 4.5), ("with stethoscope", found["stethoscope"], 34.0)]
    _plot(
        [(name, 8 * run["up"] / 1000, 8 * run["down"] / 1000, asked) for name, run, asked in runs],
        REPORT.with_suffix(".svg"),
    )
    print(text)


if __name__ == "__main__":
    main()
