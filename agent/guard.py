"""A driver that holds the event loop is thrown out of it, before the kernel's buffers of the others run over.

A driver's code runs in the loop; where it waits without `await` (a port that hangs, a loop without end) nothing else
runs: no other instrument is read, nothing is stored. SIGALRM, put off for as long as the loop turns, comes then and
raises InstrumentError inside that driver. For its supervisor this is a failure like any other, and what the others'
ports kept meanwhile is read a moment later.

Only in a driver's own code: in what it calls of the rest of the agent half a change could be left behind. Not while
something is imported, which is slow on a Pi and happens once. Where nobody can be thrown out, and where C code does not
come back, systemd's watchdog starts the agent again.
"""

import asyncio
import signal
from types import FrameType

from agent.errors import InstrumentError, InstrumentReason

HELD_S = 0.9  # the kernel keeps 4 kB of a serial port, whatever the adapter: 1.2 s of HealthyPi, who says the most
AGAIN_S = 0.2  # a first alarm may be of a machine that slept; at the second the loop has had its turn


def _throw_out(frame: FrameType | None) -> None:
    """Raise when a driver is at work: when the innermost frame that is ours is one of its."""
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if name.startswith("agent.drivers."):
            where = f"{frame.f_code.co_filename}:{frame.f_lineno}"
            raise InstrumentError(InstrumentReason.UNEXPECTED, f"held everything up at {where}")
        if name.startswith(("agent.", "importlib")):
            return
        frame = frame.f_back


async def guard() -> None:
    """Watch over the loop that runs this, which must be the main thread's; until cancelled."""
    alarms = 0

    def alarm(_number: int, frame: FrameType | None) -> None:
        nonlocal alarms
        alarms += 1
        if alarms > 1:
            _throw_out(frame)

    usual = signal.signal(signal.SIGALRM, alarm)
    try:
        while True:
            alarms = 0
            signal.setitimer(signal.ITIMER_REAL, HELD_S, AGAIN_S)
            await asyncio.sleep(HELD_S / 3)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, usual)
