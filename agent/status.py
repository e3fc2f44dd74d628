"""What the agent can say of itself: counters since its start, memory, processor time."""

import os
import resource
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.model import Analysis, Gap, InstrumentEvent, Reading, SampleBlock, Scan


@dataclass(slots=True)
class Tally:
    """What was counted since the start, for `besace status`."""

    samples: dict[str, int] = field(default_factory=dict)
    latest: dict[str, float | None] = field(default_factory=dict)
    beats: int = 0
    readings: int = 0
    gaps: int = 0
    scans: int = 0

    def count(self, item: SampleBlock | Gap | Reading | InstrumentEvent | Scan) -> None:
        """Take note of something an instrument gave."""
        if isinstance(item, SampleBlock):
            self.samples[item.stream] = self.samples.get(item.stream, 0) + len(item.samples)
        elif isinstance(item, Reading):
            self.readings += 1
            self.latest[item.kind.name.lower()] = item.number
        elif isinstance(item, Gap):
            self.gaps += 1
        elif isinstance(item, Scan):
            self.scans += 1

    def analysed(self, found: Analysis, signal: str) -> None:
        """Take note of what the stages found."""
        self.beats += len(found.beats)
        if found.rate is not None:
            self.latest[f"{signal}_rate"] = found.rate.bpm

    def __iter__(self) -> Any:
        return iter((name, getattr(self, name)) for name in self.__slots__)


def since_exec_s() -> float:
    """Seconds since this process was started, as the kernel knows it."""
    started_ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started_ticks / os.sysconf("SC_CLK_TCK")


def resources() -> dict[str, float]:
    """Resident memory and processor time of this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "rss_mib": round(pages * resource.getpagesize() / 2**20, 1),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 3),
        "up_s": round(since_exec_s(), 3),
    }
