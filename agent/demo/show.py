"""What `besace demo` does: start the world, show it live, end it in order, say whether anything was lost."""

import asyncio
import contextlib
import json
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from agent.demo.check import Stored, Verdict, check
from agent.demo.world import World
from agent.errors import StateError

SHOW_EVERY_S = 0.5
DELIVERING = {"healthypi-4", "stethoscope", "berry-bm1000", "and-ua651ble", "and-ut201ble"}


def demo(*, headless: bool, seconds: float | None, as_json: bool, seed: int, page_port: int, keep: Path | None) -> int:
    """Run the demonstration; 0 when nothing was lost and every instrument delivered, else 1."""
    with _folder(keep) as folder:
        world = World(
            folder,
            seed=seed,
            nurse_port=None if headless else page_port,
            doctor_port=None if headless else page_port + 1,
        )
        outcome = asyncio.run(_run(world, seconds, talk=not as_json, live=not headless))
    if as_json:
        print(json.dumps(outcome, ensure_ascii=False))  # noqa: T201
    else:
        _say(f"lost {outcome['lost']}, stored twice {outcome['stored_twice']}, in gaps {outcome['gaps_s']} s")
    return 0 if outcome["ok"] else 1


@contextlib.contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="besace-demo-") as folder:
            yield Path(folder)
        return
    try:
        keep.mkdir(parents=True, exist_ok=True)
        used = any(keep.iterdir())
    except OSError as error:
        raise StateError(f"cannot write {keep}: {error.strerror}\nNext: choose a folder of yours for --keep") from None
    if used:
        raise StateError(f"{keep} is not empty: a run would mix with an older one\nNext: give --keep a new folder")
    yield keep


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201


async def _run(world: World, seconds: float | None, *, talk: bool, live: bool) -> dict[str, Any]:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    try:
        if talk:
            _say("starting the instruments, the broker, the hub and the bag …")
        await world.start()
        code = (await world.tell_agent("new_visit"))["code"]
        if talk and live:
            _say(f"nurse's page   http://127.0.0.1:{world.nurse_port}/")
            _say(f"doctor's page  http://127.0.0.1:{world.doctor_port}/   code of the visit: {code}")
            _say("Ctrl-C ends the demonstration")
        began = time.monotonic()
        await _show(world, stopping, seconds, talk=talk)
        lasted_s = time.monotonic() - began
        if talk:
            _say("\nending: the last samples are on their way to the hub …")
        status = await world.drain()
        await world.stop()
    finally:
        await world.stop()
    verdict, stored = check(world.simulator_dir / "samples.log", world.hub_dir / "hub.sqlite")
    return _outcome(status, verdict, stored, lasted_s)


async def _show(world: World, stopping: asyncio.Event, seconds: float | None, *, talk: bool) -> None:
    """Live status, one line rewritten in place where there is a terminal, until it is time."""
    began = time.monotonic()
    rewrite = sys.stderr.isatty()
    shown_s = 0.0
    while not stopping.is_set() and (seconds is None or time.monotonic() - began < seconds):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SHOW_EVERY_S):
                await stopping.wait()
        for child in (world.agent, world.hub, world.simulator):
            if not child.alive:
                raise StateError(
                    f"{child.name} ended: {child.last_words()}\nNext: run with --keep DIR and read its log"
                )
        if talk and (rewrite or time.monotonic() - shown_s > 5):
            shown_s = time.monotonic()
            line = _line(await world.tell_agent("status"), shown_s - began)
            print(f"\r{line}\033[K" if rewrite else line, end="" if rewrite else "\n", file=sys.stderr, flush=True)  # noqa: T201


def _line(status: dict[str, Any], lasted_s: float) -> str:
    latest = status["latest"]

    def number(name: str) -> str:
        value = latest.get(name)
        return "--" if value is None else f"{value:.0f}"

    return (
        f"{lasted_s:5.0f} s  visit {status['code'] or '-'}  HR {number('ecg_rate')}  PR {number('pulse_rate')}  "
        f"SpO2 {number('spo2')}  rows {status['records_committed']} kept, {status['records_receipted']} at the hub  "
        f"{'connected' if status['connected'] else 'NO NETWORK'}"
    )


def _outcome(status: dict[str, Any], verdict: Verdict, stored: Stored, lasted_s: float) -> dict[str, Any]:
    latencies = np.concatenate(stored.latencies_ms) if stored.latencies_ms else np.zeros(0)
    delivered = {name.rsplit(".", 1)[0] for name, one in verdict.streams.items() if one["stored"]}
    delivered |= {reading.instrument for reading in stored.readings}
    missing = sorted(DELIVERING - delivered)
    found = asdict(verdict)
    return {
        "ok": verdict.lost == 0 and verdict.stored_twice == 0 and not missing,
        "seconds": round(lasted_s, 1),
        "samples_produced": found.pop("samples_produced"),
        "samples_stored": found.pop("samples_stored"),
        "records_committed": status["records_committed"],
        "records_receipted": status["records_receipted"],
        "lost": found.pop("lost"),
        "stored_twice": found.pop("stored_twice"),
        "gaps_s": round(found.pop("gaps_s"), 3),
        "unreceipted_at_exit": status["unreceipted"],
        "beats": stored.beats,
        "heart_rate": stored.latest.get("rate healthypi-4.ecg"),
        "pulse_rate": stored.latest.get("pulse_rate"),
        "spo2": stored.latest.get("spo2"),
        "latency_p50_ms": round(float(np.percentile(latencies, 50)), 1) if len(latencies) else None,
        "latency_p99_ms": round(float(np.percentile(latencies, 99)), 1) if len(latencies) else None,
        "wire_bytes_per_s": round(status["wire_bytes_up"] / lasted_s),
        "wire_bytes_down_per_s": round(status["wire_bytes_down"] / lasted_s),
        "instruments": {key: part["state"] for key, part in status["instruments"].items()},
        "did_not_deliver": missing,
        "agent_rss_mib": status["rss_mib"],
        "agent_cpu_s": status["cpu_s"],
        **found,
    }
