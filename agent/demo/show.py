"""What `besace demo` does: start the world, show it live, end it in order, say whether anything was lost."""

import asyncio
import contextlib
import json
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from agent.demo.check import Rows, Stored, Verdict, check, count_rows
from agent.demo.world import World
from agent.errors import ConfigError, StateError

SHOW_EVERY_S = 0.5
QUIET_EVERY_S = 5.0
KILLABLE = ("agent", "broker", "hub")
SUMMED = ("wire_bytes_up", "wire_bytes_down", "cpu_s")
DELIVERING = {"healthypi-4", "stethoscope", "berry-bm1000", "and-ua651ble", "and-ut201ble"}


def demo(
    *,
    headless: bool,
    seconds: float | None,
    as_json: bool,
    seed: int,
    page_port: int,
    keep: Path | None,
    kill: Sequence[str] = (),
) -> int:
    """Run the demonstration; 0 when nothing was lost and every instrument delivered, else 1."""
    kills = _kills(kill)
    if not headless:
        for port in (page_port, page_port + 1):
            _check_port(port)
    with _folder(keep) as folder:
        world = World(
            folder,
            seed=seed,
            nurse_port=None if headless else page_port,
            doctor_port=None if headless else page_port + 1,
        )
        outcome = asyncio.run(_run(world, seconds, kills, talk=not as_json, live=not headless))
    if as_json:
        print(json.dumps(outcome, ensure_ascii=False))  # noqa: T201
    else:
        _say(f"lost {outcome['lost']}, stored twice {outcome['stored_twice']}, in gaps {outcome['gaps_s']} s")
        if outcome["did_not_deliver"]:
            _say(f"gave nothing: {', '.join(outcome['did_not_deliver'])}")
    # Who ends a demonstration by hand may do so before every instrument has spoken.
    whole = outcome["ok"] or (seconds is None and not outcome["lost"] and not outcome["stored_twice"])
    return 0 if whole else 1


def _kills(wanted: Sequence[str]) -> list[tuple[float, str]]:
    """Read `agent@8`: who is killed, and at which second."""
    kills = []
    for text in wanted:
        part, _, at = text.partition("@")
        if part not in KILLABLE or not at.replace(".", "", 1).isdigit():
            raise ConfigError(f"--kill {text!r} is not PART@SECOND with PART one of {', '.join(KILLABLE)}")
        kills.append((float(at), part))
    return sorted(kills)


def _check_port(port: int) -> None:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError as error:
            raise StateError(
                f"port {port} of this machine is taken: {error.strerror}\n"
                f"Next: besace demo --page-port {port + 10}, or end what uses it (ss -ltnp)"
            ) from None


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


async def _run(
    world: World, seconds: float | None, kills: list[tuple[float, str]], *, talk: bool, live: bool
) -> dict[str, Any]:
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
        show = _Show(world, kills, talk=talk)
        await show.run(stopping, seconds)
        if talk:
            _say("\nending: the last samples are on their way to the hub …")
        status = await world.drain()
        lasted_s = time.monotonic() - show.began_s
    finally:
        await world.stop()
    verdict, stored = check(world.simulator_dir / "samples.log", world.hub_dir / "hub.sqlite")
    rows = count_rows(world.state_dir / "outbox.sqlite", world.hub_dir / "hub.sqlite")
    return _outcome(show.total(status), rows, verdict, stored, lasted_s) | {"killed": show.killed}


class _Show:
    """The live status, and what systemd is on a bag: whatever dies is started again."""

    def __init__(self, world: World, kills: list[tuple[float, str]], *, talk: bool) -> None:
        self._world = world
        self._kills = kills
        self._talk = talk
        self._rewrite = sys.stderr.isatty()
        self._shown_s = 0.0
        self._last: dict[str, Any] = {}
        self._before: dict[str, float] = dict.fromkeys(SUMMED, 0.0)
        self.began_s = time.monotonic()
        self.killed: list[str] = []

    async def run(self, stopping: asyncio.Event, seconds: float | None) -> None:
        """Show, kill on time, revive, until it is time to end."""
        while not stopping.is_set() and (seconds is None or time.monotonic() - self.began_s < seconds):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SHOW_EVERY_S):
                    await stopping.wait()
            if self._kills and time.monotonic() - self.began_s >= self._kills[0][0]:
                part = self._kills.pop(0)[1]
                await self._world.part(part).kill()
            await self._revive()
            if self._world.agent.alive:
                with contextlib.suppress(StateError):  # it died while it was asked: the next turn revives it
                    self._last = await self._world.tell_agent("status")
                    self._show()

    async def _revive(self) -> None:
        if not self._world.simulator.alive:
            raise StateError(
                f"the simulator ended: {self._world.simulator.last_words()}\nNext: see its log with --keep DIR"
            )
        for part in KILLABLE:
            if self._world.part(part).alive:
                continue
            if self._talk:
                _say(f"\n{part} ended; starting it again")
            self.killed.append(part)
            if part == "agent":
                self._before = {name: self._before[name] + self._last.get(name, 0.0) for name in SUMMED}
                self._last = {}
            await self._world.revive(part)

    def _show(self) -> None:
        if not self._talk or not (self._rewrite or time.monotonic() - self._shown_s > QUIET_EVERY_S):
            return
        self._shown_s = time.monotonic()
        line = _line(self._last, self._shown_s - self.began_s)
        sys.stderr.write(f"\r{line}\033[K" if self._rewrite else line + "\n")
        sys.stderr.flush()

    def total(self, status: dict[str, Any]) -> dict[str, Any]:
        """The last status, with what earlier processes counted added where it adds up."""
        return status | {name: status[name] + self._before[name] for name in SUMMED}


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


def _outcome(status: dict[str, Any], rows: Rows, verdict: Verdict, stored: Stored, lasted_s: float) -> dict[str, Any]:
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
        "records_committed": rows.committed,
        "records_receipted": rows.committed - rows.on_board,
        "lost": found.pop("lost"),
        "stored_twice": found.pop("stored_twice"),
        "gaps_s": round(found.pop("gaps_s"), 3),
        "unreceipted_at_exit": rows.on_board,
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
