"""Supervision: whatever happens inside one part, it starts again, and only its own cancellation ends it."""

import asyncio
import contextlib
import gc

import pytest

from agent.errors import InstrumentError, InstrumentReason
from agent.supervisor import GOOD_AFTER_S, Backoff, Counters, side_by_side, supervise
from tests.peers.waiting import until


class FakeTime:
    """A loop whose sleeps take no time: they move its clock."""

    def __init__(self, monkeypatch):
        self.now_s = 0.0
        self.slept = []
        self._really = asyncio.sleep
        monkeypatch.setattr("agent.supervisor.asyncio.sleep", self.sleep)

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.now_s += seconds
        await self._really(0)

    def time(self):
        return self.now_s


def run(part, *, turns, monkeypatch, on_failure=lambda _: None):
    """Supervise `part` until it has been started `turns` times; give counters and waits."""
    fake = FakeTime(monkeypatch)
    counters = Counters()

    async def main():
        asyncio.get_running_loop().time = fake.time
        backoff = Backoff(pick=lambda _, high: high)
        task = asyncio.create_task(
            supervise("part", part(fake), counters=counters, on_failure=on_failure, backoff=backoff)
        )
        while counters.starts < turns:
            await fake._really(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    return counters, fake.slept


def failing(error):
    def part(_):
        async def once():
            raise error

        return once

    return part


def test_a_crash_is_followed_by_another_start(monkeypatch):
    failures = []
    counters, slept = run(failing(KeyError("x")), turns=4, monkeypatch=monkeypatch, on_failure=failures.append)
    assert counters.starts == 4
    assert counters.failures >= 3
    assert counters.last_error == "'x'"
    assert len(failures) == counters.failures
    assert slept[:3] == [0.05, 0.1, 0.2]


def test_a_stray_cancelled_error_is_a_failure_not_an_end(monkeypatch):
    counters, _ = run(failing(asyncio.CancelledError()), turns=3, monkeypatch=monkeypatch)
    assert counters.last_error == "cancelled from inside"


def test_an_end_without_being_asked_is_a_failure(monkeypatch):
    def part(_):
        async def once():
            return None

        return once

    counters, _ = run(part, turns=3, monkeypatch=monkeypatch)
    assert counters.last_error == "ended without being asked"


def test_waits_double_up_to_half_a_minute(monkeypatch):
    _, slept = run(failing(ValueError()), turns=14, monkeypatch=monkeypatch)
    assert slept[9:13] == [25.6, 30.0, 30.0, 30.0]


def test_after_a_good_stretch_the_next_wait_is_short_again(monkeypatch):
    def part(fake):
        lasted = iter([0.0, 0.0, 0.0, GOOD_AFTER_S, 0.0, GOOD_AFTER_S - 1, 0.0, 0.0])

        async def once():
            fake.now_s += next(lasted)
            raise ValueError

        return once

    _, slept = run(part, turns=7, monkeypatch=monkeypatch)
    assert slept[:6] == [0.05, 0.1, 0.2, 0.05, 0.1, 0.2]


def test_who_is_told_may_fail_too(monkeypatch):
    def told(_):
        raise RuntimeError("the page is broken")

    counters, _ = run(failing(ValueError("v")), turns=3, monkeypatch=monkeypatch, on_failure=told)
    assert counters.last_error == "v"


def test_a_real_cancellation_ends_it_even_inside_the_part():
    async def main():
        ended = asyncio.Event()

        async def part():
            try:
                await asyncio.sleep(60)
            finally:
                ended.set()

        task = asyncio.create_task(supervise("part", part))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended.is_set()

    asyncio.run(main())


def test_a_cancellation_that_was_swallowed_is_sent_again(monkeypatch):
    """As asyncio.wait_for of Python 3.11 does when what it waits for is done in the same turn."""
    monkeypatch.setattr("agent.supervisor.END_AGAIN_S", 0.01)

    async def main():
        swallowed = []

        async def part():
            while len(swallowed) < 3:
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    swallowed.append(1)
            await asyncio.sleep(60)

        task = asyncio.create_task(supervise("part", part))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return len(swallowed)

    assert asyncio.run(main()) == 3


def test_a_stray_cancelled_error_after_a_failed_task_group(monkeypatch):
    """Python 3.11 leaves `cancelling()` raised after it: still no reason to end."""

    def part(_):
        async def once():
            async def fails():
                await asyncio.sleep(0)
                raise ValueError

            with contextlib.suppress(ExceptionGroup):
                async with asyncio.TaskGroup() as group:
                    group.create_task(fails())
            raise asyncio.CancelledError

        return once

    counters, _ = run(part, turns=4, monkeypatch=monkeypatch)
    assert counters.last_error == "cancelled from inside"


class TestSideBySide:
    def test_the_first_failure_ends_the_others_and_is_raised(self):
        ended = []

        async def waits():
            try:
                await asyncio.sleep(60)
            finally:
                ended.append(True)

        async def fails():
            await asyncio.sleep(0)
            raise ValueError("why")

        with pytest.raises(ValueError, match="why"):
            asyncio.run(side_by_side(waits(), fails(), waits()))
        assert ended == [True, True]

    def test_two_that_fail_at_once_leave_nothing_in_the_log(self, caplog):
        async def fails():
            raise ValueError("why")

        with pytest.raises(ValueError, match="why"):
            asyncio.run(side_by_side(fails(), fails()))
        gc.collect()
        assert caplog.text == ""

    def test_the_first_end_ends_the_others(self):
        async def ends():
            await asyncio.sleep(0)

        asyncio.run(side_by_side(ends(), asyncio.sleep(60)))

    def test_cancelled_from_inside_is_a_failure(self):
        async def stray():
            raise asyncio.CancelledError

        with pytest.raises(RuntimeError, match="cancelled from inside"):
            asyncio.run(side_by_side(stray(), asyncio.sleep(60)))


def test_neighbours_do_not_notice():
    async def main():
        ticks = 0

        async def crashing():
            raise InstrumentError(InstrumentReason.LINK_LOST)

        async def ticking():
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0)

        tasks = [asyncio.create_task(supervise(n, p)) for n, p in (("a", crashing), ("b", ticking))]
        await until(lambda: ticks > 100)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(main())


def test_the_jitter_is_full():
    picked = []
    backoff = Backoff(first_s=1.0, longest_s=4.0, pick=lambda low, high: picked.append((low, high)) or 0.0)
    for _ in range(4):
        backoff.next_s()
    backoff.reset()
    backoff.next_s()
    assert picked == [(0.0, 1.0), (0.0, 2.0), (0.0, 4.0), (0.0, 4.0), (0.0, 1.0)]


def test_what_is_foreseen_is_said_without_a_traceback(caplog, monkeypatch):
    error = InstrumentError(InstrumentReason.SILENT, "nothing for 2.0 s")
    run(failing(error), turns=5, monkeypatch=monkeypatch)
    said = [r for r in caplog.records if "failed=" in r.getMessage()]
    assert len(said) == 1  # the same failure again is no news
    assert said[0].exc_info is None
    caplog.clear()
    run(failing(ValueError("a fault of ours")), turns=2, monkeypatch=monkeypatch)
    assert [r.exc_info is not None for r in caplog.records if "failed=" in r.getMessage()] == [True]
