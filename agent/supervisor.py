"""One supervised task per instrument: one crash never costs another a sample.

A bare TaskGroup is wrong here: one exception cancels the siblings, and a stray CancelledError ends a driver in
silence. `supervise` runs each attempt in a task of its own, so that whatever is raised inside, a CancelledError too,
is that attempt's failure; it waits with full-jitter back-off between attempts, and starts over after a good stretch.

`Task.cancelling()` would not tell a stray CancelledError from a real one: in Python 3.11 a TaskGroup that failed
leaves it raised. Nor is one `cancel()` enough to end a task there: `asyncio.wait_for` swallows it when what it waits
for is done in the same turn. Hence `end`, which asks until it is over.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from agent.errors import InstrumentError

log = logging.getLogger(__name__)

FIRST_DELAY_S = 0.05
LONGEST_DELAY_S = 30.0
GOOD_AFTER_S = 30.0
END_AGAIN_S = 1.0


@dataclass(slots=True)
class Counters:
    """What a supervised part went through; exported by status."""

    starts: int = 0
    failures: int = 0
    last_error: str = ""
    progress: int = 0


@dataclass(slots=True)
class Backoff:
    """Full-jitter exponential back-off: a random delay below a doubling ceiling."""

    first_s: float = FIRST_DELAY_S
    longest_s: float = LONGEST_DELAY_S
    pick: Callable[[float, float], float] = random.uniform
    _ceiling_s: float = field(default=0.0, init=False)

    def next_s(self) -> float:
        """The delay to wait now."""
        self._ceiling_s = min(self.longest_s, max(self.first_s, 2 * self._ceiling_s))
        return self.pick(0.0, self._ceiling_s)

    def reset(self) -> None:
        """After a good stretch the next failure waits little again."""
        self._ceiling_s = 0.0


async def end(*tasks: asyncio.Task[None]) -> None:
    """Cancel tasks, again and again until they are over, also while being cancelled."""
    cancelled: asyncio.CancelledError | None = None
    while running := [task for task in tasks if not task.done()]:
        for task in running:
            task.cancel()
        try:
            await asyncio.wait(running, timeout=END_AGAIN_S)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


async def attempt(part: Coroutine[Any, Any, None]) -> Exception | None:
    """Run a part to its end in a task of its own; give what it failed with. Cancelled, it ends the part first."""
    task = asyncio.get_running_loop().create_task(part)
    try:
        await asyncio.wait({task})
    finally:
        await end(task)
    if task.cancelled():
        return RuntimeError("cancelled from inside")
    failure = task.exception()
    if failure is None or isinstance(failure, Exception):
        return failure
    raise failure


async def side_by_side(*parts: Coroutine[Any, Any, None]) -> None:
    """Run parts until the first of them ends, end the others, and raise what it failed with."""
    tasks = [asyncio.get_running_loop().create_task(part) for part in parts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await end(*tasks)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # looked at: else the log gets it as "never retrieved" when two fail at once
    for task in done:
        if task.cancelled():
            raise RuntimeError("cancelled from inside")
        task.result()


async def supervise(
    name: str,
    run: Callable[[], Coroutine[Any, Any, None]],
    *,
    counters: Counters | None = None,
    on_failure: Callable[[Exception], None] = lambda _: None,
    backoff: Backoff | None = None,
) -> None:
    """Run `run` for ever, again after each failure, until this task itself is cancelled."""
    counters = counters if counters is not None else Counters()
    backoff = backoff if backoff is not None else Backoff()
    loop = asyncio.get_running_loop()
    while True:
        counters.starts += 1
        began = loop.time()
        failure = await attempt(run()) or RuntimeError("ended without being asked")
        if loop.time() - began >= GOOD_AFTER_S:
            backoff.reset()
        said = str(failure) or type(failure).__name__
        if said != counters.last_error:
            # An InstrumentError is foreseen (cable, radio); anything else is a fault of ours and keeps its traceback.
            foreseen = isinstance(failure, InstrumentError)
            log.warning("part=%s failed=%r", name, said, exc_info=None if foreseen else failure)
        counters.failures += 1
        counters.last_error = said
        try:
            on_failure(failure)
        except Exception:  # who is told of a failure must not be another one
            log.exception("part=%s on_failure=failed", name)
        await asyncio.sleep(backoff.next_s())
