"""A day of a visit in minutes: does what the agent delivers with grow?

    python -m benchmarks.soak [--hours 24]

The agent's own recorder, stages, outbox and delivery, fed as fast as they take it: a second of ECG, pleth, respiration
and readings at a time, on a clock that goes with the samples; every four seconds a receipt, as a hub would give it; a
new epoch every 12 h. No network: a fast clock makes no connection faster. The outbox does not wait for its card.

Resident memory, open files and threads are noted every ten minutes of the fast clock; the slope is that of the last
three quarters. Exit 1 when memory grows by more than 64 KiB an hour, or files or threads at all.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np

from agent.demo.world import World
from agent.model import Visit
from agent.transport.messages import EpochReason, EpochReceipt
from benchmarks.wire import Bag

MOST_KIB_AN_HOUR = 64
NOTE_EVERY_S = 600
EPOCH_S = 12 * 3600
PAGE_KIB = os.sysconf("SC_PAGE_SIZE") / 1024


def taken() -> tuple[float, int, int]:
    """Resident memory in KiB, open files, threads."""
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_KIB
    return resident, len([*Path("/proc/self/fd").iterdir()]), threading.active_count()


async def soak(folder: Path, hours: float) -> np.ndarray:
    """What was taken, noted from time to time, of so many hours."""
    bag = Bag(World(folder / "world", radio=False), folder)
    bag.outbox.now(bag.outbox.box._db.execute, "PRAGMA synchronous = OFF")
    bag.recorder.open_visit(Visit(os.urandom(16), "0042", bag.clock.now_ns()), resumed=False)
    notes = []
    for second in range(1, round(hours * 3600) + 1):
        bag.clock.ahead_ns += 10**9
        now_ns = bag.clock.now_ns()
        bag.feed(now_ns, 1.0)
        bag.analyse()
        bag.read(now_ns)
        await bag.recorder.cut()
        if second % 4 == 0:
            epoch = bag.recorder.epoch
            news = bag.delivery.receipted(EpochReceipt(epoch.id, epoch.last, ()))
            assert news is not None
            bag.recorder.receipted(news)
        if second % EPOCH_S == 0:
            await bag.recorder.begin_epoch(EpochReason.AGE)
        if second % NOTE_EVERY_S == 0:
            notes.append(taken())
            print(f"{second / 3600:5.2f} h: {notes[-1][0]:.0f} KiB, {notes[-1][1]} files", flush=True)
    assert bag.delivery.unreceipted() < 10
    bag.close()
    return np.array(notes)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=24.0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="besace-soak-") as folder:
        notes = asyncio.run(soak(Path(folder), args.hours))
    late = notes[len(notes) // 4 :]
    hours = np.arange(len(late)) * NOTE_EVERY_S / 3600
    slope = float(np.polyfit(hours, late[:, 0], 1)[0])
    steady = bool((late[:, 1:] == late[0, 1:]).all())
    print(f"{slope:+.1f} KiB an hour over the last {hours[-1]:.1f} h; files and threads constant: {steady}")
    return 0 if slope <= MOST_KIB_AN_HOUR and steady else 1


if __name__ == "__main__":
    sys.exit(main())
