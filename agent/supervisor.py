"""One supervised task per instrument: one crash never costs another a sample.

A bare TaskGroup is wrong here: one exception cancels the siblings, and a stray CancelledError ends a driver in
silence. `supervise` catches everything, believes a CancelledError only when its own task is being cancelled, waits
with full-jitter back-off between attempts, and starts over after a good stretch.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from agent.errors import InstrumentError

log = logging.getLogger(__name__)

FIRST_DELAY_S = 0.05
LONGEST_DELAY_S = 30.0
GOOD_AFTER_S = 30.0


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


async def supervise(
    name: str,
    run: Callable[[], Awaitable[None]],
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
        try:
            await run()
            failure: Exception = RuntimeError("ended without being asked")
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            failure = RuntimeError("cancelled from inside")
        except Exception as error:  # noqa: BLE001 - whatever it is, the neighbours go on
            failure = error
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
