"""The self-test: battery, disk, clock, way to the hub, backlog and instruments, and what they add up to.

Readers look at /sys and the file system; judges are pure. What cannot be known is a note with its reason, never a
guess. `Readiness` is the gate of a check-out, and what the light shows.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from agent.clock import Anchor, Source
from agent.model import InstrumentState

POWER_SUPPLY = Path("/sys/class/power_supply")
BATTERY_LEND_PCT = 60
BATTERY_UNFIT_PCT = 10
BATTERY_LOW_MIN = 30
DISK_UNFIT_BYTES = 64 << 20
DISK_LOW_BYTES = 512 << 20
BACKLOG_UNFIT_SHARE = 0.5
BACKLOG_NOTE_BYTES = 64 << 10  # the desk's own entries of a day without network are no visit left behind


class Part(Enum):
    """What is tested."""

    BATTERY = "battery"
    DISK = "disk"
    CLOCK = "clock"
    LINK = "link"
    BACKLOG = "backlog"
    INSTRUMENT = "instrument"


class Level(Enum):
    """What a finding means: nothing, a word, a second scan at check-out, or that the bag stays."""

    OK = 0
    NOTE = 1
    CONFIRM = 2
    UNFIT = 3


class Why(Enum):
    """What was found; each has a French sentence."""

    GOOD = "good"
    BATTERY_UNKNOWN = "battery_unknown"
    BATTERY_LOW = "battery_low"
    BATTERY_EMPTY = "battery_empty"
    BATTERY_SHORT = "battery_short"
    DISK_READ_ONLY = "disk_read_only"
    DISK_FULL = "disk_full"
    DISK_LOW = "disk_low"
    DISK_REFUSES = "disk_refuses"
    NO_CLOCK = "no_clock"
    NO_HUB = "no_hub"
    BACKLOG = "backlog"
    BACKLOG_HALF = "backlog_half"
    INSTRUMENT_FAILED = "instrument_failed"
    INSTRUMENT_NOT_SEEN = "instrument_not_seen"
    INSTRUMENT_BATTERY = "instrument_battery"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the self-test; `which` names the instrument or the number that counts."""

    part: Part
    level: Level
    why: Why = Why.GOOD
    which: str = ""


@dataclass(frozen=True, slots=True)
class Readiness:
    """The whole self-test."""

    findings: tuple[Finding, ...]

    @property
    def level(self) -> Level:
        """The worst finding's level."""
        return max((f.level for f in self.findings), key=lambda level: level.value, default=Level.OK)

    @property
    def unfit(self) -> bool:
        """Whether the bag must not leave."""
        return self.level is Level.UNFIT

    @property
    def confirm(self) -> bool:
        """Whether leaving wants a second scan."""
        return any(f.level is Level.CONFIRM for f in self.findings)

    def at(self, level: Level) -> tuple[Finding, ...]:
        """The findings of one level."""
        return tuple(f for f in self.findings if f.level is level)


# --- what is read --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Battery:
    """What the kernel's gauge says; `minutes` is None while it cannot tell."""

    percent: int
    charging: bool
    minutes: int | None = None


@dataclass(frozen=True, slots=True)
class Disk:
    """The file system that holds the state directory."""

    free_bytes: int
    read_only: bool


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def read_battery(root: Path = POWER_SUPPLY) -> Battery | None:
    """The first battery of the power supply class (a gauge on the power board); None when there is none."""
    for supply in sorted(root.glob("*")) if root.is_dir() else ():
        percent = _number(supply / "capacity")
        try:
            kind = (supply / "type").read_text().strip()
            status = (supply / "status").read_text().strip()
        except OSError:
            continue
        if kind != "Battery" or percent is None:
            continue
        seconds = _number(supply / "time_to_empty_now")
        energy, power = _number(supply / "energy_now"), _number(supply / "power_now")
        if seconds is None and energy is not None and power:
            seconds = 3600 * energy // abs(power)
        charging = status in {"Charging", "Full", "Not charging"}
        minutes = None if seconds is None or charging else seconds // 60
        return Battery(max(0, min(100, percent)), charging, minutes)
    return None


def read_disk(state_dir: Path) -> Disk:
    """Room and writability of the state directory's file system."""
    found = os.statvfs(state_dir)
    return Disk(found.f_bavail * found.f_frsize, bool(found.f_flag & os.ST_RDONLY))


# --- what it means ---------------------------------------------------------------------------------------------------


def judge_battery(battery: Battery | None) -> Finding:
    """At least 60 % to leave without a second scan; below 10 % the bag stays. Less than half an hour is said always."""
    if battery is None:
        return Finding(Part.BATTERY, Level.NOTE, Why.BATTERY_UNKNOWN)
    which = str(battery.percent)
    if battery.percent < BATTERY_UNFIT_PCT:
        return Finding(Part.BATTERY, Level.UNFIT, Why.BATTERY_EMPTY, which)
    if battery.minutes is not None and battery.minutes < BATTERY_LOW_MIN:
        return Finding(Part.BATTERY, Level.CONFIRM, Why.BATTERY_SHORT, str(battery.minutes))
    if battery.percent < BATTERY_LEND_PCT:
        return Finding(Part.BATTERY, Level.CONFIRM, Why.BATTERY_LOW, which)
    return Finding(Part.BATTERY, Level.OK, which=which)


def judge_disk(disk: Disk, write_error: str = "") -> Finding:
    """A card that cannot be written keeps the bag here; little room wants a second scan."""
    if disk.read_only:
        return Finding(Part.DISK, Level.UNFIT, Why.DISK_READ_ONLY)
    if write_error:
        return Finding(Part.DISK, Level.UNFIT, Why.DISK_REFUSES)
    mib = str(disk.free_bytes >> 20)
    if disk.free_bytes < DISK_UNFIT_BYTES:
        return Finding(Part.DISK, Level.UNFIT, Why.DISK_FULL, mib)
    if disk.free_bytes < DISK_LOW_BYTES:
        return Finding(Part.DISK, Level.CONFIRM, Why.DISK_LOW, mib)
    return Finding(Part.DISK, Level.OK, which=mib)


def judge_clock(anchor: Anchor | None) -> Finding:
    """A clock without anchor is flagged, never a reason to stay: the hub dates everything later."""
    if anchor is None or anchor.source is Source.FLOOR:
        return Finding(Part.CLOCK, Level.NOTE, Why.NO_CLOCK)
    return Finding(Part.CLOCK, Level.OK, which=anchor.source.value)


def judge_link(*, connected: bool) -> Finding:
    """No way to the hub is a note: everything works without it."""
    return Finding(Part.LINK, Level.OK) if connected else Finding(Part.LINK, Level.NOTE, Why.NO_HUB)


def judge_backlog(unsent_bytes: int, cap_bytes: int) -> Finding:
    """What is still on board wants a second scan; from half the room on the bag stays."""
    if unsent_bytes < min(BACKLOG_NOTE_BYTES, cap_bytes):
        return Finding(Part.BACKLOG, Level.OK)
    kib = str(-(-unsent_bytes // 1024))
    if unsent_bytes >= BACKLOG_UNFIT_SHARE * cap_bytes:
        return Finding(Part.BACKLOG, Level.UNFIT, Why.BACKLOG_HALF, kib)
    return Finding(Part.BACKLOG, Level.CONFIRM, Why.BACKLOG, kib)


def judge_instruments(
    states: Mapping[str, InstrumentState], essential: Mapping[str, bool], low_battery: Iterable[str] = ()
) -> list[Finding]:
    """One line per instrument of this bag (`essential` by its key).

    A failed essential instrument keeps the bag here. One that was not seen is a note: a cuff or a thermometer sleeps
    until it is used.
    """
    findings = []
    for key, needed in essential.items():
        state = states.get(key, InstrumentState.OFF)
        if state in {InstrumentState.FAILED, InstrumentState.SILENT}:
            level = Level.UNFIT if needed else Level.NOTE
            findings.append(Finding(Part.INSTRUMENT, level, Why.INSTRUMENT_FAILED, key))
        elif state in {InstrumentState.OFF, InstrumentState.CONNECTING}:
            findings.append(Finding(Part.INSTRUMENT, Level.NOTE, Why.INSTRUMENT_NOT_SEEN, key))
        else:
            findings.append(Finding(Part.INSTRUMENT, Level.OK, which=key))
    findings += [Finding(Part.INSTRUMENT, Level.NOTE, Why.INSTRUMENT_BATTERY, key) for key in low_battery]
    return findings
