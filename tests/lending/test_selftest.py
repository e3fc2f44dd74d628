"""The self-test at work: asked now, or watched; each change of what is wrong is logged once."""

import asyncio
import logging
from dataclasses import replace

from loan_desk import IDENTITY, HandClock

from agent import health
from agent.clock import Timekeeper
from agent.health import Battery, Level, Why
from agent.lending.selftest import SelfTest
from agent.model import InstrumentState
from tests.peers.waiting import until


def make_test(folder, **changes):
    usual = SelfTest(
        state_dir=folder, cap_bytes=1 << 30,
        time=Timekeeper(HandClock(), floor_us=IDENTITY.not_before_us), essential={"cuff": True},
        connected=lambda: True, unsent_bytes=lambda: 0, disk_error=lambda: "",
        states=lambda: {"cuff": InstrumentState.READY}, low_batteries=lambda: {"cuff"},
    )  # fmt: skip
    return replace(usual, **changes)


def test_every_part_is_tested(tmp_path, monkeypatch):
    monkeypatch.setattr(health, "read_battery", lambda: Battery(80, charging=True))
    readiness = make_test(tmp_path).now()
    assert {finding.part for finding in readiness.findings} == set(health.Part)
    assert [f.why for f in readiness.at(Level.NOTE) if f.part is health.Part.INSTRUMENT] == [Why.INSTRUMENT_BATTERY]
    assert make_test(tmp_path).charging()


def test_a_folder_that_cannot_be_read_is_a_disk_that_refuses(tmp_path):
    readiness = make_test(tmp_path / "gone").now()
    assert Why.DISK_REFUSES in {finding.why for finding in readiness.at(Level.UNFIT)}


def test_without_a_gauge_nobody_is_charging(tmp_path, monkeypatch):
    monkeypatch.setattr(health, "read_battery", lambda: None)
    assert not make_test(tmp_path).charging()


def test_what_is_wrong_is_logged_when_it_changes_and_told_each_time(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("agent.lending.selftest.EVERY_S", 0.01)
    monkeypatch.setattr(health, "read_battery", lambda: Battery(80, charging=False))
    states, told = {"cuff": InstrumentState.READY}, []

    async def story():
        watching = asyncio.create_task(
            make_test(tmp_path, states=lambda: states).watch(lambda *found: told.append(found))
        )
        for state in (InstrumentState.READY, InstrumentState.FAILED, InstrumentState.FAILED, InstrumentState.READY):
            states["cuff"], known = state, len(told) + 1
            await until(lambda known=known: len(told) > known)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)

    with caplog.at_level(logging.INFO, logger="agent.lending.selftest"):
        asyncio.run(story())
    said = [record.getMessage() for record in caplog.records if "instrument_failed" in record.getMessage()]
    assert len(said) == 1
    assert len(told) > 5
    assert {battery for _, battery in told} == {Battery(80, charging=False)}
    assert {readiness.unfit for readiness, _ in told} == {True, False}
