"""`make bench`: start-up, memory, processor and latency of the agent, measured on the demonstration.

    python -m benchmarks.agent [--seconds 30] [--starts 7]

READY is the agent's own figure: from exec (the kernel's start time of the process) to READY=1. Memory is the agent's
resident set once every instrument measures; the virtual radio's host (bumble), which a real bag does not carry, runs
in the same process, so it is measured with and without the Bluetooth instruments. Processor time is that of the
agent's process over a stretch in which every instrument measures. Latency is from the instant a sample was taken to
the end of the hub's commit (fsync included), over every sample stored; the batch interval is a part of it.
"""

import argparse
import asyncio
import os
import platform
import re
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from agent.demo.check import check
from agent.demo.world import World

REPORT = Path(__file__).parent.parent / "docs" / "benchmarks" / "agent.md"
SETTLE_S = 6.0
READY_S, RSS_MIB, CPU_PCT, P99_MS = 0.7, 130.0, 4.0, 150.0  # targets
BATCH_MS = 1000.0


async def _measure(folder: Path, seconds: float, *, radio: bool) -> dict[str, Any]:
    world = World(folder, radio=radio)
    try:
        await world.start()
        await world.tell_agent("new_visit")
        await asyncio.sleep(SETTLE_S)
        first, began = await world.tell_agent("status"), time.monotonic()
        await asyncio.sleep(seconds)
        last, lasted = await world.tell_agent("status"), time.monotonic() - began
        await world.drain()
    finally:
        await world.stop()
    verdict, stored = check(world.simulator_dir / "samples.log", world.hub_dir / "hub.sqlite")
    latencies = np.concatenate(stored.latencies_ms)
    return {
        "rss": last["rss_mib"],
        "cpu": 100 * (last["cpu_s"] - first["cpu_s"]) / lasted,
        "p50": float(np.percentile(latencies, 50)),
        "p99": float(np.percentile(latencies, 99)),
        "up": (last["wire_bytes_up"] - first["wire_bytes_up"]) / lasted,
        "down": (last["wire_bytes_down"] - first["wire_bytes_down"]) / lasted,
        "lost": verdict.lost,
        "twice": verdict.stored_twice,
        "latencies": latencies,
    }


async def _starts(folder: Path, times: int) -> list[float]:
    """Seconds from exec to READY, several times, the first (cold caches) left out."""
    world = World(folder, radio=False)
    ready = []
    try:
        await world.start()
        for _ in range(times):
            await world.agent.stop()
            await world.start_agent()
            found = re.findall(r"since_exec_s=([0-9.]+)", world.agent.log.read_text())
            ready.append(float(found[-1]))
            print(f"  READY after {ready[-1]:.3f} s", flush=True)
    finally:
        await world.stop()
    return ready


def _row(name: str, reached: str, target: str = "stated", *, met: bool | None = None) -> str:
    verdict = "" if met is None else "yes" if met else "**no**"
    return f"| {name} | {reached} | {target} | {verdict} |"


def _plot(latencies: np.ndarray, path: Path) -> None:
    """The distribution of sample-to-hub latency, as an SVG made of bars."""
    counts, edges = np.histogram(latencies, bins=60, range=(0, 1500))
    width, height = 640, 200
    bars = "".join(
        f'<rect x="{40 + i * 10}" y="{height - 30 - h:.1f}" width="9" height="{h:.1f}" fill="#2a9d63"/>'
        for i, h in enumerate(counts / max(1, counts.max()) * (height - 50))
    )
    ticks = "".join(
        f'<text x="{40 + i * 10}" y="{height - 12}" text-anchor="middle">{edges[i]:.0f}</text>'
        for i in range(0, 61, 10)
    )
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width + 40} {height}" font-family="sans-serif" '
        f'font-size="12"><rect width="100%" height="100%" fill="#fff"/>{bars}{ticks}'
        f'<text x="40" y="16">samples by sample-to-hub latency, ms (one batch a second)</text></svg>\n'
    )


def main() -> None:
    """Measure, print, write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--starts", type=int, default=7)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="besace-bench-") as folder:
        print("starting the agent several times …", flush=True)
        ready = asyncio.run(_starts(Path(folder) / "starts", args.starts))
        print(f"all instruments, {args.seconds:.0f} s …", flush=True)
        full = asyncio.run(_measure(Path(folder) / "full", args.seconds, radio=True))
        print(f"without the Bluetooth instruments and their virtual radio, {args.seconds:.0f} s …", flush=True)
        wired = asyncio.run(_measure(Path(folder) / "wired", args.seconds, radio=False))
    median = statistics.median(ready)
    lost, twice = full["lost"] + wired["lost"], full["twice"] + wired["twice"]
    rows = [
        _row(
            f"exec to READY, median of {len(ready)}",
            f"{median:.2f} s ({min(ready):.2f} to {max(ready):.2f})",
            "0.7 s",
            met=median <= READY_S,
        ),
        _row(
            "resident memory, without the virtual radio's host",
            f"{wired['rss']:.0f} MiB",
            f"{RSS_MIB:.0f} MiB",
            met=wired["rss"] <= RSS_MIB,
        ),
        _row("resident memory, with it", f"{full['rss']:.0f} MiB"),
        _row(
            "processor, all instruments, the virtual radio's host included",
            f"{full['cpu']:.1f} % of a core",
            f"{CPU_PCT:.0f} %",
            met=full["cpu"] <= CPU_PCT,
        ),
        _row("processor, without the Bluetooth instruments", f"{wired['cpu']:.1f} % of a core"),
        _row("sample to hub, p50", f"{full['p50']:.0f} ms"),
        _row(
            "sample to hub, p99",
            f"{full['p99']:.0f} ms",
            f"{P99_MS:.0f} ms + the batch interval of {BATCH_MS:.0f} ms",
            met=full["p99"] <= P99_MS + BATCH_MS,
        ),
        _row("on the wire, raw sound included", f"{full['up']:.0f} B/s up, {full['down']:.0f} B/s down"),
        _row("samples lost, stored twice", f"{lost}, {twice}", "0, 0", met=not lost and not twice),
    ]
    machine = f"{platform.machine()}, Python {platform.python_version()}, {os.cpu_count()} cores"
    lines = [
        "# The agent: start-up, memory, processor, latency",
        "",
        f"Made by `make bench` on {machine}. Timings are this machine's and noisy.",
        "",
        "| figure | reached | target | met |",
        "|---|---|---|---|",
        *rows,
        "",
        "![Sample-to-hub latency](agent-latency.svg)",
        "",
        "How each is measured stands at the top of `benchmarks/agent.py`.",
    ]
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text("\n".join(lines) + "\n")
    _plot(full["latencies"], REPORT.parent / "agent-latency.svg")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
