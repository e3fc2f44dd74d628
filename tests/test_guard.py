"""A driver that holds the event loop up, on real ports: it is thrown out, and the one beside it loses no sample."""

import asyncio
import contextlib
import os
import threading
import time
import tty
from functools import partial

import pytest

import agent.guard
from agent.drivers.opening import open_driver
from agent.drivers.serial_port import SerialDriver
from agent.errors import InstrumentError
from agent.guard import guard
from agent.model import Gap, Instrument, InstrumentState, SampleBlock
from agent.supervisor import Counters, supervise
from tests.peers.waiting import until

FRAME = bytes.fromhex("0afa140002f4010cfe400d0300e0930400520d0f6248507800000b")
FS_HZ = 125
ECG = "healthypi-4.ecg"


class Port:
    """A pseudo-terminal, written to as an instrument does: what the kernel does not take is lost."""

    def __init__(self):
        self.master, slave = os.openpty()
        tty.setraw(slave)
        self.path = os.ttyname(slave)
        self._held = slave
        os.set_blocking(self.master, False)
        self.said = 0
        self.quiet = threading.Event()

    def speak(self):
        began = time.monotonic()
        while not self.quiet.wait(max(0.0, began + self.said / FS_HZ - time.monotonic())):
            with contextlib.suppress(BlockingIOError):
                os.write(self.master, FRAME)
            self.said += 1

    def close(self):
        os.close(self.master)
        os.close(self._held)


def sleeps(seconds):
    time.sleep(seconds)


def computes(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


class Bad:
    """A decoder that does not come back."""

    streams = ()

    def __init__(self, hold, seconds):
        self._hold, self._seconds = hold, seconds

    def feed(self, _channel, _data, _t_ns):
        self._hold(self._seconds)
        return []

    def resume(self):
        pass


def beside(hold, seconds, *parts):
    """The good one's items, its port, what the bad one's supervisor counted, and how long the loop stood still."""
    good, bad = Port(), Port()
    counters, items, others = Counters(), [], []
    longest_s = 0.0

    async def turns():
        nonlocal longest_s
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.01)
            longest_s = max(longest_s, time.monotonic() - began)

    async def main():
        driver = open_driver("healthypi-4", good.path)
        other = SerialDriver(Instrument("other", "x"), bad.path, Bad(hold, seconds))
        running = [
            supervise("good", lambda: driver.run(items.append)),
            supervise("bad", lambda: other.run(others.append), counters=counters),
            turns(),
            *parts,
        ]
        tasks = [asyncio.create_task(part) for part in running]
        await until(
            lambda: all(InstrumentState.READY in (getattr(i, "state", None) for i in x) for x in (items, others))
        )
        good_one = threading.Thread(target=good.speak)
        good_one.start()
        await asyncio.sleep(0.3)
        os.write(bad.master, b"x")  # and now it hangs
        await asyncio.sleep(seconds if not parts else 2.0)
        good.quiet.set()
        await asyncio.to_thread(good_one.join)
        await (until(lambda: samples(items) >= good.said) if parts else asyncio.sleep(0.5))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(main())
    for port in (good, bad):
        port.close()
    return items, good, counters, longest_s


def samples(items):
    return sum(len(i.samples) for i in items if isinstance(i, SampleBlock) and i.stream == ECG)


@pytest.mark.slow
@pytest.mark.parametrize("hold", [sleeps, computes])
def test_a_driver_that_blocks_30_s_costs_the_others_no_sample(hold):
    items, good, counters, longest_s = beside(hold, 30.0, guard())
    assert samples(items) == good.said > 200
    assert not any(isinstance(item, Gap) for item in items)
    assert "held everything up at" in counters.last_error
    assert "serial_port.py" in counters.last_error
    assert counters.failures == 1
    assert longest_s > 0.5  # it did hold the loop


@pytest.mark.slow
def test_negative_control_without_a_guard_samples_are_lost():
    items, good, counters, _ = beside(sleeps, 6.0)
    assert samples(items) < good.said
    assert counters.failures == 0


def test_only_drivers_are_thrown_out(monkeypatch):
    """What the rest of the agent does is never cut in the middle, nor an import."""
    monkeypatch.setattr(agent.guard, "HELD_S", 0.05)
    monkeypatch.setattr(agent.guard, "AGAIN_S", 0.02)
    run = "def run(work):\n    work()\n"

    def as_module(name):
        space = {"__name__": name}
        exec(run, space)  # a function that says it is of that module
        return space["run"]

    async def held_by(*names, seconds=0.2):
        work = partial(time.sleep, seconds)
        for name in reversed(names):
            work = partial(as_module(name), work)
        task = asyncio.create_task(guard())
        await asyncio.sleep(0.01)
        try:
            work()
        finally:
            task.cancel()

    asyncio.run(held_by("agent.recorder"))
    asyncio.run(held_by("agent.drivers.berry", "agent.recorder"))
    asyncio.run(held_by("agent.drivers.opening", "importlib._bootstrap"))
    for names in (("agent.drivers.berry",), ("agent.app", "agent.drivers.berry", "numpy")):
        with pytest.raises(InstrumentError):
            asyncio.run(held_by(*names, seconds=30))
