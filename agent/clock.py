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


NTP_UNSYNCHRONISED_US = 16_000_000  # the kernel's own ceiling for an unsynchronised clock (adjtimex maxerror)


def system_anchor(
    clock: Clock, *, floor_us: int, synchronised: Path = Path("/run/systemd/timesync/synchronized")
) -> Anchor:
    """What the system clock is worth now: NTP when timesyncd says so, else RTC and wide, else the floor."""
    before = clock.now_ns()
    utc = clock.utc_us()
    t_ns = (before + clock.now_ns()) // 2
    if utc < floor_us:
        return Anchor(t_ns, floor_us, 2**53 - 1, Source.FLOOR)
    if synchronised.exists():
        return Anchor(t_ns, utc, 100_000, Source.NTP)
    return Anchor(t_ns, utc, NTP_UNSYNCHRONISED_US, Source.RTC)
