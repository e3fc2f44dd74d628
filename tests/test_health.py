"""The self-test: what is read from /sys, what each finding means, and what they add up to."""

import os

import pytest

from agent.clock import Anchor, Source
from agent.health import (
    Battery,
    Disk,
    Finding,
    Level,
    Part,
    Readiness,
    Why,
    judge_backlog,
    judge_battery,
    judge_clock,
    judge_disk,
    judge_instruments,
    judge_link,
    read_battery,
    read_disk,
)
from agent.lending.sentences import desk_words
from agent.model import InstrumentState

GB = 1 << 30


def write_gauge(root, name="bq27441", **files):
    folder = root / name
    folder.mkdir(parents=True)
    for file, text in ({"type": "Battery", "status": "Discharging", "capacity": "80"} | files).items():
        (folder / file).write_text(f"{text}\n")
    return root


@pytest.mark.parametrize(
    ("files", "battery"),
    [
        ({}, Battery(80, charging=False)),
        ({"time_to_empty_now": "5400"}, Battery(80, charging=False, minutes=90)),
        ({"energy_now": "20000000", "power_now": "-5000000"}, Battery(80, charging=False, minutes=240)),
        ({"energy_now": "20000000", "power_now": "0"}, Battery(80, charging=False)),
        ({"status": "Charging", "time_to_empty_now": "5400"}, Battery(80, charging=True)),
        ({"status": "Full", "capacity": "101"}, Battery(100, charging=True)),
        ({"capacity": "lots"}, None),
        ({"type": "Mains"}, None),
    ],
)
def test_reading_the_gauge(tmp_path, files, battery):
    assert read_battery(write_gauge(tmp_path, **files)) == battery


def test_the_battery_is_found_beside_the_mains_and_may_be_absent(tmp_path):
    assert read_battery(tmp_path / "nowhere") is None
    write_gauge(tmp_path, "ac", type="Mains")
    (tmp_path / "broken").mkdir()
    assert read_battery(tmp_path) is None
    write_gauge(tmp_path, "zz-battery")
    assert read_battery(tmp_path) == Battery(80, charging=False)


def test_reading_the_disk(tmp_path, monkeypatch):
    disk = read_disk(tmp_path)
    assert disk.free_bytes > 0
    assert not disk.read_only
    real = os.statvfs(tmp_path)

    class ReadOnly:
        f_bavail, f_frsize, f_flag = real.f_bavail, real.f_frsize, real.f_flag | os.ST_RDONLY

    monkeypatch.setattr(os, "statvfs", lambda _path: ReadOnly)
    assert read_disk(tmp_path).read_only


def anchor(source):
    return Anchor(0, 0, 0, source)


@pytest.mark.parametrize(
    ("finding", "level", "why"),
    [
        (judge_battery(None), Level.NOTE, Why.BATTERY_UNKNOWN),
        (judge_battery(Battery(60, charging=False)), Level.OK, Why.GOOD),
        (judge_battery(Battery(59, charging=True)), Level.CONFIRM, Why.BATTERY_LOW),
        (judge_battery(Battery(10, charging=False)), Level.CONFIRM, Why.BATTERY_LOW),
        (judge_battery(Battery(9, charging=False)), Level.UNFIT, Why.BATTERY_EMPTY),
        (judge_battery(Battery(70, charging=False, minutes=30)), Level.OK, Why.GOOD),
        (judge_battery(Battery(70, charging=False, minutes=29)), Level.CONFIRM, Why.BATTERY_SHORT),
        (judge_disk(Disk(GB, read_only=False)), Level.OK, Why.GOOD),
        (judge_disk(Disk(GB, read_only=True)), Level.UNFIT, Why.DISK_READ_ONLY),
        (judge_disk(Disk(GB, read_only=False), "EIO"), Level.UNFIT, Why.DISK_REFUSES),
        (judge_disk(Disk(1 << 20, read_only=False)), Level.UNFIT, Why.DISK_FULL),
        (judge_disk(Disk(100 << 20, read_only=False)), Level.CONFIRM, Why.DISK_LOW),
        (judge_clock(None), Level.NOTE, Why.NO_CLOCK),
        (judge_clock(anchor(Source.FLOOR)), Level.NOTE, Why.NO_CLOCK),
        (judge_clock(anchor(Source.RTC)), Level.OK, Why.GOOD),
        (judge_link(connected=True), Level.OK, Why.GOOD),
        (judge_link(connected=False), Level.NOTE, Why.NO_HUB),
        (judge_backlog(0, 100), Level.OK, Why.GOOD),
        (judge_backlog((64 << 10) - 1, GB), Level.OK, Why.GOOD),
        (judge_backlog(64 << 10, GB), Level.CONFIRM, Why.BACKLOG),
        (judge_backlog(GB // 2 - 1, GB), Level.CONFIRM, Why.BACKLOG),
        (judge_backlog(GB // 2, GB), Level.UNFIT, Why.BACKLOG_HALF),
        (judge_backlog(100, 100), Level.UNFIT, Why.BACKLOG_HALF),
    ],
)
def test_judgements(finding, level, why):
    assert (finding.level, finding.why) == (level, why)


def test_instruments_against_the_inventory():
    states = {
        "cuff": InstrumentState.OFF, "oximeter": InstrumentState.FAILED, "ecg": InstrumentState.FAILED,
        "scanner": InstrumentState.READY, "stethoscope": InstrumentState.MEASURING,
    }  # fmt: skip
    essential = dict.fromkeys(states, True) | {"ecg": False, "otoscope": False}
    found = {f.which: (f.level, f.why) for f in judge_instruments(states, essential)}
    assert found == {
        "cuff": (Level.NOTE, Why.INSTRUMENT_NOT_SEEN),
        "oximeter": (Level.UNFIT, Why.INSTRUMENT_FAILED),
        "ecg": (Level.NOTE, Why.INSTRUMENT_FAILED),
        "scanner": (Level.OK, Why.GOOD),
        "stethoscope": (Level.OK, Why.GOOD),
        "otoscope": (Level.NOTE, Why.INSTRUMENT_NOT_SEEN),
    }
    assert judge_instruments({}, {}, ["cuff"]) == [Finding(Part.INSTRUMENT, Level.NOTE, Why.INSTRUMENT_BATTERY, "cuff")]


def test_what_they_add_up_to():
    ok, note = Finding(Part.LINK, Level.OK), Finding(Part.CLOCK, Level.NOTE, Why.NO_CLOCK)
    low, broken = Finding(Part.BATTERY, Level.CONFIRM), Finding(Part.DISK, Level.UNFIT)
    assert Readiness(()).level is Level.OK
    for findings, unfit, confirm in [
        ((ok, note), False, False), ((note, low), False, True), ((low, broken, ok), True, True),
    ]:  # fmt: skip
        readiness = Readiness(findings)
        assert (readiness.unfit, readiness.confirm) == (unfit, confirm)
    assert Readiness((low, note)).at(Level.NOTE) == (note,)


@pytest.mark.parametrize("why", Why)
def test_every_finding_has_a_french_sentence(why):
    assert f"health.{why.value}" in desk_words()
