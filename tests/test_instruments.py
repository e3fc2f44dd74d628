"""Instruments: one that fails, blocks or is unknown never costs another a sample."""

import asyncio

import numpy as np
import pytest

from agent.config import InstrumentConfig, RadioConfig
from agent.drivers import opening
from agent.errors import InstrumentError, InstrumentReason
from agent.instruments import Instruments
from agent.model import Instrument, InstrumentEvent, InstrumentState, SampleBlock, Signal, Stream
from tests.peers.waiting import until


class Fake:
    """A driver that behaves as its key says."""

    def __init__(self, key: str) -> None:
        self.instrument = Instrument(key, key)
        self.streams = ()
        self.runs = 0

    async def run(self, sink) -> None:
        self.runs += 1
        key = self.instrument.key
        if key == "crashing":
            raise ZeroDivisionError
        if key == "unplugged":
            raise InstrumentError(InstrumentReason.LINK_LOST, "gone")
        if key == "cancelled":
            raise asyncio.CancelledError
        index = 0
        while True:
            burst = 100 if key == "flooding" else 1
            for _ in range(burst):
                sink(SampleBlock(key, index, 0, np.zeros(1, np.int32)))
                index += 1
            await asyncio.sleep(0.01)


def run_until(done, *keys: str) -> tuple[Instruments, list]:
    """Run instruments until `done(instruments, items)`, however slow the machine."""
    items, drivers = [], []
    to_open = [key for key in keys if key != "unknown"]

    async def main() -> Instruments:
        wanted = [InstrumentConfig(key, "") for key in keys]
        instruments = Instruments(wanted, RadioConfig(), sink=items.append, opened=drivers.append, now_ns=lambda: 7)
        task = asyncio.create_task(instruments.run())
        try:
            await until(lambda: len(drivers) == len(to_open) and done(instruments, items))
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return instruments

    instruments = asyncio.run(main())
    assert [driver.instrument.key for driver in drivers] == to_open
    return instruments, items


def indices(items: list, key: str) -> list[int]:
    return [item.index for item in items if isinstance(item, SampleBlock) and item.stream == key]


def events(items: list) -> list[InstrumentEvent]:
    return [item for item in items if isinstance(item, InstrumentEvent)]


def opened(instruments: Instruments, items: list) -> bool:
    return True


@pytest.fixture(autouse=True)
def fakes(monkeypatch):
    def open_driver(key, where, *, radio=None, wall=None):
        if key == "unknown":
            raise InstrumentError(InstrumentReason.NOT_FOUND, "no such key")
        return Fake(key)

    monkeypatch.setattr(opening, "open_driver", open_driver)


@pytest.mark.parametrize("bad", ["crashing", "unplugged", "cancelled", "flooding", "unknown"])
def test_a_bad_neighbour_costs_no_sample(bad):
    instruments, items = run_until(lambda _, items: len(indices(items, "steady")) >= 20, bad, "steady")
    assert indices(items, "steady") == list(range(len(indices(items, "steady"))))
    if bad != "flooding":
        assert instruments.status()[bad]["last_error"]


@pytest.mark.parametrize(
    ("bad", "why"), [("crashing", "unexpected"), ("unplugged", "link_lost"), ("unknown", "not_found")]
)
def test_a_failure_is_an_event_with_its_reason(bad, why):
    _, items = run_until(lambda _, items: events(items), bad)
    event = events(items)[0]
    assert (event.instrument, event.state, event.what, event.detail) == (bad, InstrumentState.FAILED, "failed", why)


def test_a_failing_instrument_is_tried_again():
    run_until(lambda instruments, _: instruments.status()["unplugged"]["starts"] >= 2, "unplugged")


def test_a_bag_without_instruments_goes_on():
    async def main():
        instruments = Instruments([], RadioConfig(), sink=print, opened=print, now_ns=lambda: 7)
        task = asyncio.create_task(instruments.run())
        await asyncio.sleep(0.05)
        assert not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())


def test_states_are_kept_for_whoever_comes_later():
    instruments, _ = run_until(opened, "steady")
    instruments.saw(InstrumentEvent("steady", 1, InstrumentState.MEASURING))
    instruments.saw(InstrumentEvent("steady", 2, None, "battery", "80"))
    assert instruments.states() == [InstrumentEvent("steady", 7, InstrumentState.MEASURING)]


def test_what_gives_without_pause_is_told_from_what_speaks_now_and_then():
    """A board's temperature every second is no event; a thermometer's is."""
    instruments, _ = run_until(opened, "steady", "board")
    instruments.drivers["board"].streams = (Stream("board.ecg", Signal.ECG, "board", 125.0, 1.0, "uV", "DI"),)
    assert [bool(instruments.streams(key)) for key in ("board", "steady", "unknown")] == [True, False, False]


def test_the_time_of_day_reaches_the_drivers_once_it_is_known(monkeypatch):
    given = []

    def open_driver(key, where, *, radio=None, wall=None):
        given.append(wall)
        return Fake(key)

    monkeypatch.setattr(opening, "open_driver", open_driver)
    known = []

    async def main():
        instruments = Instruments(
            [InstrumentConfig("a", "")], RadioConfig(), sink=lambda _: None, opened=lambda _: None, now_ns=lambda: 7,
            wall=lambda: known[-1] if known else None,
        )  # fmt: skip
        task = asyncio.create_task(instruments.run())
        await until(lambda: given)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())
    (wall,) = given
    assert wall() is None
    known.append("14:20")
    assert wall() == "14:20"


def test_what_each_says_of_its_own_battery_is_remembered():
    instruments = Instruments((), RadioConfig(), sink=lambda _item: None, opened=lambda _driver: None, now_ns=lambda: 7)

    def says(key, what, detail=""):
        instruments.saw(InstrumentEvent(key, 7, what=what, detail=detail))
        return instruments.low_batteries

    assert says("cuff", "battery", "19") == {"cuff"}
    assert says("oximeter", "battery_low") == {"cuff", "oximeter"}
    assert says("cuff", "battery", "20") == {"oximeter"}
    assert says("scale", "battery", "?") == {"oximeter"}
    assert instruments.serial("cuff") is None
