"""Time without a clock: every record carries boot id and boot time; UTC comes later, from anchors.

`BootClock` never goes back and never steps: it is CLOCK_BOOTTIME, which counts suspend. An `Anchor` ties a boot
time to UTC with its uncertainty; the hub dates everything from anchors, retroactively. The floor is the earliest
UTC that can be true: nothing is ever dated before it.
"""

import time
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol

NS = 1_000_000_000
DRIFT_PPM = 50  # no crystal of a Raspberry Pi is further off; ours are within 20


class Clock(Protocol):
    """What reads the time: replaced by a hand-driven one in tests."""

    boot_id: bytes

    def now_ns(self) -> int:
        """CLOCK_BOOTTIME in nanoseconds."""

    def utc_us(self) -> int:
        """The system's idea of UTC in microseconds; believed only through an anchor."""


class BootClock:
    """The machine's own clock."""

    def __init__(self, boot_id_file: Path = Path("/proc/sys/kernel/random/boot_id")) -> None:
        self.boot_id = bytes.fromhex(boot_id_file.read_text().strip().replace("-", ""))

    def now_ns(self) -> int:
        """CLOCK_BOOTTIME in nanoseconds."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def utc_us(self) -> int:
        """CLOCK_REALTIME in microseconds."""
        return time.clock_gettime_ns(time.CLOCK_REALTIME) // 1000


class Source(Enum):
    """Where an anchor's UTC comes from, best first."""

    NTP = "ntp"
    HUB = "hub"
    RTC = "rtc"
    FLOOR = "floor"


VOUCHED = frozenset({Source.NTP, Source.HUB})  # the rest is a guess


@dataclass(frozen=True, slots=True)
class Anchor:
    """At boot time `t_ns`, UTC was `utc_us` give or take `uncertainty_us`."""

    t_ns: int
    utc_us: int
    uncertainty_us: int
    source: Source

    def utc_at(self, t_ns: int) -> int:
        """UTC in microseconds at another boot time of the same boot."""
        return self.utc_us + (t_ns - self.t_ns) // 1000

    def uncertainty_at(self, t_ns: int) -> int:
        """Microseconds that `utc_at` may be off by: the boot clock drifts."""
        return self.uncertainty_us + abs(t_ns - self.t_ns) * DRIFT_PPM // 1_000_000_000


NTP_UNSYNCHRONISED_US = 16_000_000  # the kernel's own ceiling for an unsynchronised clock (adjtimex maxerror)
SYNCHRONISED = Path("/run/systemd/timesync/synchronized")


def system_anchor(clock: Clock, *, floor_us: int, synchronised: Path = SYNCHRONISED) -> Anchor:
    """What the system clock is worth now: NTP when timesyncd says so, else RTC and wide, else the floor."""
    before = clock.now_ns()
    utc = clock.utc_us()
    t_ns = (before + clock.now_ns()) // 2
    if utc < floor_us:
        return Anchor(t_ns, floor_us, 2**53 - 1, Source.FLOOR)
    if synchronised.exists():
        return Anchor(t_ns, utc, 100_000, Source.NTP)
    return Anchor(t_ns, utc, NTP_UNSYNCHRONISED_US, Source.RTC)


class Timekeeper:
    """UTC as this boot knows it: the floor, the system's clock, and what the hub said.

    The floor rises with what NTP, the hub or a signed card vouched for, in the next boot too (the recorder keeps it as
    `kept_us`). Only the hub itself may take it back, down to `floor_us`, when an earlier word of its was wrong.
    """

    def __init__(self, clock: Clock, *, floor_us: int, kept_us: int = 0, synchronised: Path = SYNCHRONISED) -> None:
        self._clock = clock
        self._synchronised = synchronised
        self._hub: Anchor | None = None
        self._least_us = floor_us
        self.floor_us = max(floor_us, kept_us)

    def hear(self, anchor: Anchor) -> bool:
        """Take the hub's word; False when what it said before, aged, still says more."""
        if self._hub is not None and self._hub.uncertainty_at(anchor.t_ns) <= anchor.uncertainty_us:
            return False
        self._hub = anchor
        self.floor_us = max(self._least_us, anchor.utc_us - anchor.uncertainty_us)
        return True

    def at_least(self, utc_us: int) -> None:
        """It is no earlier than this: the authority has signed something then."""
        self.floor_us = max(self.floor_us, utc_us)

    def best(self) -> Anchor:
        """UTC now from the best source there is."""
        system = system_anchor(self._clock, floor_us=self.floor_us, synchronised=self._synchronised)
        if system.source is Source.NTP:
            self.floor_us = max(self.floor_us, system.utc_us - system.uncertainty_us)
        if system.source is Source.NTP or self._hub is None:
            return system
        now_ns = self._clock.now_ns()
        return Anchor(now_ns, self._hub.utc_at(now_ns), self._hub.uncertainty_at(now_ns), Source.HUB)
