"""Signals at work: loaded late, run in turns, started anew when a stage breaks; blocks wait meanwhile."""

import asyncio
import time

import numpy as np
import pytest

from agent.model import Analysis, Happening, Kind, Reading, SampleBlock, Signal, Stream, Trace, Unit
from agent.signals import LATE_S, Signals
from agent.supervisor import supervise
from tests.peers.waiting import until

ECG = Stream("box.ecg", Signal.ECG, "box", 125.0, 1.0, "uV", "DI")


def block(index: int, n: int = 125) -> SampleBlock:
    return SampleBlock("box.ecg", index, index * 8_000_000, np.arange(n, dtype=np.int32) % 7)


async def work(signals: Signals, so) -> None:
    task = asyncio.create_task(supervise("signals", signals.run, on_failure=signals.failed))
    await until(so)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_what_came_before_loading_is_worked_on_after_it():
    found, described = [], []
    signals = Signals(described=lambda stream, stages: described.append((stream.name, stages)), found=found.append)
    signals.add([ECG])
    assert signals.stages("box.ecg") == ()
    assert signals.signal("box.ecg") is Signal.ECG
    for index in range(0, 1000, 125):
        signals.take(block(index))

    asyncio.run(work(signals, lambda: found))

    assert [name for name, _ in described] == ["box.ecg"]
    assert signals.stages("box.ecg") == described[0][1]
    assert sum(x.values.size for x in found if isinstance(x, Trace)) > 800
    assert any(isinstance(x, Analysis) for x in found)


def test_a_stage_that_breaks_is_started_anew_and_the_stream_goes_on():
    found, broke = [], []

    def take(shown):
        if not broke:
            broke.append(True)
            raise ZeroDivisionError
        found.append(shown)

    signals = Signals(described=lambda *_: None, found=take)
    signals.add([ECG])
    signals.take(block(0))

    async def main():
        feeding = asyncio.create_task(feed())
        await work(signals, lambda: found)
        feeding.cancel()

    async def feed():
        index = 125
        while True:
            await asyncio.sleep(0.05)
            signals.take(block(index))
            index += 125

    asyncio.run(main())
    assert broke
    assert found


def test_an_instrument_s_own_pulse_rate_reaches_the_chains_once_they_are_loaded():
    """Heart 100/min in the ECG, 70/min in the oximeter's own words: the deficit is found."""
    found = []
    told = lambda found: any(  # noqa: E731
        e.kind is Happening.PULSE_DEFICIT for x in found if isinstance(x, Analysis) for e in x.events
    )
    signals = Signals(described=lambda *_: None, found=found.append)
    signals.add([ECG])
    spikes = (1000 * (np.arange(25 * 125) % 75 < 4)).astype(np.int32)

    def own(t_ns):
        signals.read(Reading("clip", Kind.SPO2, Unit.PERCENT, t_ns, 97))
        signals.read(Reading("clip", Kind.PULSE_RATE, Unit.PER_MIN, t_ns, 70))

    own(0)  # nothing to compare with yet

    async def main():
        feeding = asyncio.create_task(feed())
        await work(signals, lambda: told(found))
        feeding.cancel()

    async def feed():
        signals.take(SampleBlock("box.ecg", 0, 0, spikes[:125]))
        await until(lambda: found)
        for index in range(125, spikes.size, 125):
            own(8_000_000 * index)
            signals.take(SampleBlock("box.ecg", index, 8_000_000 * index, spikes[index : index + 125]))
            await asyncio.sleep(0.02)

    asyncio.run(main())
    assert told(found)


def test_turns_that_stop_coming_are_noticed(monkeypatch):
    signals = Signals(described=lambda *_: None, found=lambda _: None)
    assert not signals.late()
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + LATE_S + 1)
    assert signals.late()


def test_turns_come_once_a_second_and_four_times_while_somebody_looks(monkeypatch):
    """Counted in the sleeps asked for, not in time passed."""
    slept, looking = [], iter([False, True, False])

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            raise asyncio.CancelledError

    signals = Signals(described=lambda *_: None, found=lambda _: None, watched=lambda: next(looking))
    monkeypatch.setattr("agent.signals.asyncio.sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(signals.run())
    assert slept == [1.0, 0.25, 1.0]
