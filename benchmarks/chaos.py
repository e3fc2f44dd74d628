"""`make chaos`: agent, broker and hub are killed at random, for real, while a visit runs; then history is checked.

    python -m benchmarks.chaos [--kills 50] [--seed 1 …] [--keep DIR] [--report]

Each kill is SIGKILL to one of the three processes, at a random moment, started again after a random while; the broker
loses its store with it, as one without persistence does. At the end the bag is let drain, and two things must hold:

1. samples: what the simulated instruments logged is in the hub's database, each once and equal, or inside a declared
   gap or a restart of the agent (agent/demo/check.py);
2. rows: of every epoch that is over, every row up to the last that the bag had committed, by the signed word of the
   header that followed, is at the hub, each once; nothing but headers is left in the outbox.

Exit 0 when both hold, else 1.
"""

import argparse
import asyncio
import contextlib
import json
import random
import shutil
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from agent.demo.check import check
from agent.demo.world import World
from agent.errors import StateError
from agent.transport.epoch import read_header

REPORT = Path(__file__).parent.parent / "docs" / "benchmarks" / "chaos.md"
PARTS = ("agent", "broker", "hub")
DRAIN_S = 60.0
PAUSE_S = 0.15, 1.5


async def _storm(world: World, kills: int, rng: random.Random) -> Counter[str]:
    """Kill and revive until it is enough; parts may be down at the same time."""
    killed: Counter[str] = Counter()

    async def once(part: str) -> None:
        if part == "broker":
            await world.broker.kill()
            shutil.rmtree(world.folder / "nats" / "jetstream", ignore_errors=True)
        else:
            await world.part(part).kill()
        await asyncio.sleep(rng.uniform(0.0, 1.0))
        await world.revive(part)

    busy: dict[str, asyncio.Task[None]] = {}
    while killed.total() < kills:
        await asyncio.sleep(rng.uniform(*PAUSE_S))
        part = rng.choice(PARTS)
        if part in busy and not busy[part].done():
            continue
        if part in busy:
            busy[part].result()
        busy[part] = asyncio.create_task(once(part))
        killed[part] += 1
    await asyncio.gather(*busy.values())
    return killed


async def _run(world: World, kills: int, seed: int) -> Counter[str]:
    try:
        await world.start()
        await world.tell_agent("new_visit")
        await asyncio.sleep(2.0)
        killed = await _storm(world, kills, random.Random(seed))
        await asyncio.sleep(2.0)
        with contextlib.suppress(StateError):  # it may have ended since: what it holds is sent by the next
            await world.drain(DRAIN_S)
        return killed
    finally:
        await world.stop()


def check_rows(outbox: Path, hub: Path) -> dict[str, int]:
    """Hold the hub's rows against the bag's own signed word of what it had committed."""
    db = sqlite3.connect(f"file:{hub}?mode=ro", uri=True)
    have: dict[bytes, set[int]] = {}
    for epoch, seq in db.execute("SELECT epoch, seq FROM rows"):
        have.setdefault(epoch, set()).add(seq)
    ends: dict[bytes, int] = {}
    for (row,) in db.execute("SELECT header FROM epochs"):
        _, header = read_header(row)
        if header.previous is not None:
            before = header.previous
            ends[before.epoch] = min(before.committed, ends.get(before.epoch, before.committed))
    holes = db.execute("SELECT coalesce(sum(last - first + 1), 0) FROM holes").fetchone()[0]
    twice = db.execute("SELECT count(*) - count(DISTINCT epoch || seq) FROM rows").fetchone()[0]
    db.close()
    bag = sqlite3.connect(f"file:{outbox}?mode=ro", uri=True)
    left = bag.execute("SELECT count(*) FROM rows WHERE place & 0xffffffff").fetchone()[0]
    bag.close()
    return {
        "epochs": len(have),
        "rows": sum(map(len, have.values())),
        "rows_promised": sum(end + 1 for end in ends.values()),
        "rows_lost": sum(len(set(range(end + 1)) - have.get(epoch, set())) for epoch, end in ends.items()),
        "rows_twice": twice,
        "rows_left": left,
        "rows_declared_lost": holes,
    }


def judge(samples: Path, outbox: Path, hub: Path) -> dict[str, Any]:
    """What a storm left in the simulator's log, the bag and the hub: `ok` when nothing is lost, doubled or changed."""
    verdict, _ = check(samples, hub)
    rows = check_rows(outbox, hub)
    bad = verdict.lost, verdict.stored_twice, verdict.changed, rows["rows_lost"], rows["rows_twice"], rows["rows_left"]
    return {
        "ok": not any(bad),
        "samples_produced": verdict.samples_produced,
        "samples_stored": verdict.samples_stored,
        "samples_lost": verdict.lost,
        "samples_twice": verdict.stored_twice,
        "samples_changed": verdict.changed,
        "gaps_s": round(verdict.gaps_s, 2),
        **rows,
    }


def chaos(folder: Path, kills: int, seed: int) -> dict[str, Any]:
    """One storm in a folder; the outcome."""
    world = World(folder, seed=seed)
    began = time.monotonic()
    killed = asyncio.run(_run(world, kills, seed))
    return {
        "seed": seed,
        "seconds": round(time.monotonic() - began),
        "killed": dict(sorted(killed.items())),
        **judge(world.simulator_dir / "samples.log", world.state_dir / "outbox.sqlite", world.hub_dir / "hub.sqlite"),
    }


def _report(storms: list[dict[str, Any]]) -> None:
    """A column for each storm."""
    seeds = " ".join(str(found["seed"]) for found in storms)
    command = f"python -m benchmarks.chaos --kills {sum(storms[0]['killed'].values())} --seed {seeds} --report"
    rows = "\n".join(
        f"| {name.replace('_', ' ')} | {' | '.join(str(found[name]) for found in storms)} |" for name in storms[0]
    )
    columns = "| " * (len(storms) + 1) + "|"
    REPORT.write_text(f"# Killed at random\n\n`{command}`; what each line means: benchmarks/chaos.py.\n\n"
                      f"{columns}\n{columns.replace('|', '|---', len(storms) + 1)}\n{rows}\n")  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, nargs="+", default=[1], help="of several, one storm each")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave every file of the run in DIR")
    parser.add_argument("--report", action="store_true", help=f"write {REPORT.name}")
    args = parser.parse_args()
    storms = []
    for seed in args.seed:
        with contextlib.ExitStack() as stack:
            folder = (
                args.keep / str(seed)
                if args.keep
                else Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="besace-chaos-")))
            )
            storms.append(chaos(folder, args.kills, seed))
        print(json.dumps(storms[-1]), flush=True)
    if args.report:
        _report(storms)
    return 0 if all(found["ok"] for found in storms) else 1


if __name__ == "__main__":
    sys.exit(main())
