"""What every instrument's decoder and driver offers.

A decoder is pure: bytes and their arrival time in, model objects out. A driver is the coroutine that owns a
transport (serial port, radio link, sound card), feeds a decoder and hands what comes out to its sink.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import NoReturn, Protocol, runtime_checkable

from agent.errors import InstrumentError, InstrumentReason
from agent.model import Gap, Instrument, InstrumentEvent, InstrumentState, Reading, SampleBlock, Scan, Stream

Item = SampleBlock | Gap | Reading | InstrumentEvent | Scan
Sink = Callable[[Item], None]
NowNs = Callable[[], int]
WallClock = Callable[[], datetime | None]

SILENCE_S = 1.8  # and 0.2 s to notice it and let go of the link: two periods and 2 s in all
READ_EVERY_S = 0.132  # seven of them, and then a commit, are just under a second
AFTER_READ_S = 0.02  # by then what was read is decoded
EARLY_S = 0.01  # a moment that is missed by less counts as met: timers are not exact
OWN_STALL_S = 0.2  # an event loop later than this cannot tell whether the instrument was silent


def boot_ns() -> int:
    """Nanoseconds since boot, suspend included: the clock of every `t_ns`."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def until_read_s(now_s: float) -> float:
    """Seconds from `now_s` (the loop's time) to the next moment at which every transport that can wait is read.

    What instruments send meanwhile is kept by the kernel; waking the processor once for all of them, and not once for
    each, is most of what reading costs.
    """
    left_s = READ_EVERY_S - now_s % READ_EVERY_S
    return left_s if left_s > READ_EVERY_S / 10 else left_s + READ_EVERY_S  # a timer may be a little early


def just_after_read_s(at_s: float) -> float:
    """The loop's last time up to `at_s` at which what has come was just read: the moment to send it."""
    return (at_s - AFTER_READ_S + EARLY_S) // READ_EVERY_S * READ_EVERY_S + AFTER_READ_S


def unlost_s(most_s: float, commit_s: float) -> float:
    """From one moment to send to the next, so that a power cut takes no more than `most_s` of samples with it.

    It takes what came since the last reading that was sent, until what was read after it is on the disk.
    """
    return max(most_s - AFTER_READ_S - 2 * EARLY_S - commit_s, READ_EVERY_S)


def no_wall_clock() -> datetime | None:
    """A bag that does not know the time of day sets no instrument's clock."""
    return None


def silence_limit_s(period_s: float) -> float:
    """How long an instrument that speaks every `period_s` may be silent before its link counts as dead."""
    return 2 * period_s + SILENCE_S


@dataclass(slots=True)
class DecoderCounters:
    """What a decoder saw: exported, logged at most once a minute, never fatal."""

    frames: int = 0
    damaged: int = 0
    skipped_bytes: int = 0
    implausible: int = 0


class Decoder(Protocol):
    """A pure decoder of one instrument's protocol."""

    counters: DecoderCounters

    @property
    def streams(self) -> tuple[Stream, ...]:
        """The waveform streams this instrument gives, as its birth record describes them."""

    def feed(self, channel: str, data: bytes, t_ns: int) -> list[Item]:
        """Take bytes that arrived on `channel` at `t_ns`; never raises on their content."""

    def resume(self) -> None:
        """A new link follows a lost one: forget the cut frame, let the next samples open with a Gap."""


@runtime_checkable
class Asking(Protocol):
    """A decoder whose instrument must be asked."""

    def commands(self) -> tuple[tuple[str, bytes], ...]:
        """Channel and bytes of each command to write now: once connected, and after whatever was fed."""


class Driver(Protocol):
    """An instrument at work: runs until cancelled; raises InstrumentError when its link is gone."""

    instrument: Instrument

    @property
    def streams(self) -> tuple[Stream, ...]:
        """The waveform streams this driver will give."""

    async def run(self, sink: Sink) -> None:
        """Connect, then hand everything to `sink` until the link is lost or the task is cancelled."""


class Announcer:
    """What drivers of every transport share: hands items on, says state changes once, notices silence.

    `period_s`: how often the instrument speaks; None when it may be silent for ever.
    """

    def __init__(self, key: str, sink: Sink, now_ns: NowNs = boot_ns, *, period_s: float | None = None) -> None:
        self._key = key
        self._sink = sink
        self._period_s = period_s
        self._now_ns = now_ns
        self._state: InstrumentState | None = None
        self._heard_s = 0.0

    def state(self, state: InstrumentState) -> None:
        """Say a state that differs from the last one."""
        if state is not self._state:
            self._state = state
            self._sink(InstrumentEvent(self._key, self._now_ns(), state))

    def ready(self) -> None:
        """Say READY, unless values came first: what is measuring does not fall back."""
        if self._state is not InstrumentState.MEASURING:
            self.state(InstrumentState.READY)

    def event(self, what: str, detail: str) -> None:
        """Say something that is neither state nor value."""
        self._sink(InstrumentEvent(self._key, self._now_ns(), what=what, detail=detail))

    def items(self, items: Iterable[Item]) -> None:
        """Hand on what a decoder gave; samples, or readings of one that speaks by itself, mean MEASURING."""
        for item in items:
            self._heard_s = asyncio.get_running_loop().time()
            if isinstance(item, SampleBlock) or (self._period_s is not None and isinstance(item, Reading)):
                self.state(InstrumentState.MEASURING)
            self._sink(item)

    async def watch(self, ended: asyncio.Future[str]) -> NoReturn:
        """Raise InstrumentError once `ended` says why the link is gone, or after too long a silence.

        An exception in `ended` (a decoder or sink that failed in a callback) is raised as it is.
        """
        loop = asyncio.get_running_loop()
        self._heard_s = loop.time()
        limit_s = silence_limit_s(self._period_s) if self._period_s is not None else None
        left_s, asked_s = limit_s, loop.time()
        while not (await asyncio.wait((ended,), timeout=left_s))[0]:
            if limit_s is not None and left_s is not None:
                now_s = loop.time()
                if now_s - asked_s - left_s > OWN_STALL_S:
                    self._heard_s = now_s
                left_s, asked_s = self._heard_s + limit_s - now_s, now_s
                if left_s <= 0:
                    self.state(InstrumentState.SILENT)
                    raise InstrumentError(InstrumentReason.SILENT, f"nothing for {limit_s:.1f} s")
        raise InstrumentError(InstrumentReason.LINK_LOST, ended.result())
