"""Whether the whole way to the hub works: one row of its own, and the hub's receipt for it."""

import asyncio
import time
from collections.abc import Callable

from agent.errors import StateError
from agent.recorder import Recorder
from agent.transport.delivery import Delivery

PROBE_S = 10.0
LOOK_S = 0.05


async def probe_hub(
    recorder: Recorder, delivery: Delivery, last_error: Callable[[], str], *, within_s: float = PROBE_S
) -> float:
    """Store one row that says where the clock stands and wait for its receipt: seconds it took, else StateError."""
    began_s = time.monotonic()
    epoch, seq = await recorder.mark()
    while not delivery.is_receipted(epoch, seq):  # receipts come by the uplink's own task
        if time.monotonic() - began_s > within_s:
            why = last_error() or "the broker answers, the hub does not"
            raise StateError(f"no receipt within {within_s:g} s: {why}")
        await asyncio.sleep(LOOK_S)
    return round(time.monotonic() - began_s, 3)
