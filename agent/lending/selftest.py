"""The self-test at work: asks the bag what health.py judges, each time a check-out, the window or the page wants it."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from agent import health
from agent.clock import Timekeeper
from agent.health import Battery, Level, Part, Readiness
from agent.model import InstrumentState

log = logging.getLogger(__name__)

EVERY_S = 10.0


@dataclass(frozen=True, slots=True)
class SelfTest:
    """Where each answer comes from; `essential` says of each instrument of this bag whether it must work."""

    state_dir: Path
    time: Timekeeper
    cap_bytes: int
    essential: Mapping[str, bool]
    connected: Callable[[], bool]
    unsent_bytes: Callable[[], int]
    disk_error: Callable[[], str]
    states: Callable[[], Mapping[str, InstrumentState]]
    low_batteries: Callable[[], Iterable[str]]

    def now(self) -> Readiness:
        """Every finding, now: a few reads of /sys, under a millisecond."""
        return self._judge(self.battery())

    def _judge(self, battery: Battery | None) -> Readiness:
        try:
            disk = health.judge_disk(health.read_disk(self.state_dir), self.disk_error())
        except OSError as error:
            disk = health.judge_disk(health.Disk(0, read_only=False), str(error))
        return Readiness(
            (
                health.judge_battery(battery),
                disk,
                health.judge_clock(self.time.best()),
                health.judge_link(connected=self.connected()),
                health.judge_backlog(self.unsent_bytes(), self.cap_bytes),
                *health.judge_instruments(self.states(), self.essential, self.low_batteries()),
            )
        )

    def battery(self) -> Battery | None:
        """The bag's own gauge; None where there is none."""
        return health.read_battery()

    def charging(self) -> bool:
        """Whether the bag is on its charger; without a gauge nobody knows, and nobody is reminded."""
        battery = self.battery()
        return battery is not None and battery.charging

    async def watch(self, told: Callable[[Readiness, Battery | None], None]) -> None:
        """Test every ten seconds until cancelled; what is wrong is logged when it changes."""
        before = ""
        while True:
            battery = self.battery()
            readiness = self._judge(battery)
            told(readiness, battery)
            wrong = readiness.at(Level.UNFIT) + readiness.at(Level.CONFIRM)
            said = ",".join(f"{f.why.value}:{f.which}" for f in wrong if f.part is not Part.BACKLOG)
            if said != before:
                log.info("self_test=%s findings=%s", readiness.level.name.lower(), said or "none")
            before = said
            await asyncio.sleep(EVERY_S)
