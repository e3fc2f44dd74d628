"""Waiting for what a test asks itself: a time that is enough on a quiet machine is too short on a loaded one."""

import asyncio
import time
from collections.abc import Callable

WITHIN_S = 60.0


async def until(condition: Callable[[], object], within_s: float = WITHIN_S) -> None:
    """Let the loop run until something is so; TimeoutError when it never is."""
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.005)


def wait_until(condition: Callable[[], object], within_s: float = WITHIN_S) -> None:
    """The same where no loop runs, or another thread's does."""
    end = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.02)
