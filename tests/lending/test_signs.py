"""What the bag shows without words: one light for each moment, the desk's sounds, and a window that follows."""

import asyncio

import pytest

from agent.config import LightsConfig
from agent.custody import Say, State
from agent.display.leds import AMBER, DARK, GREEN, RED, TUNES, Light, Sound
from agent.errors import StateError
from agent.health import Finding, Level, Part, Readiness, Why
from agent.lending.signs import Conditions, Signs, light_of
from tests.peers.waiting import until

GOOD = Readiness(())
FAILED = Readiness((Finding(Part.INSTRUMENT, Level.UNFIT, Why.INSTRUMENT_FAILED, "cuff"),))
EMPTY = Readiness((Finding(Part.BATTERY, Level.UNFIT, Why.BATTERY_EMPTY, "7"),))
SHORT = Readiness((Finding(Part.BATTERY, Level.CONFIRM, Why.BATTERY_SHORT, "25"),))
LOW = Readiness((Finding(Part.BATTERY, Level.CONFIRM, Why.BATTERY_LOW, "45"),))
READ_ONLY = Readiness((Finding(Part.DISK, Level.UNFIT, Why.DISK_READ_ONLY),))


def conditions(**changes):
    usual = {
        "started": True, "readiness": GOOD, "in_visit": False, "connected": True, "all_sent": False,
        "custody": State.OUT,
    }  # fmt: skip
    return Conditions(**(usual | changes))


@pytest.mark.parametrize(
    ("changes", "light"),
    [
        ({}, Light.READY),
        ({"custody": None}, Light.READY),
        ({"started": False}, Light.STARTING),
        ({"connected": False}, Light.TODO),
        ({"in_visit": True}, Light.SENDING),
        ({"in_visit": True, "connected": False}, Light.KEEPING),
        ({"all_sent": True}, Light.SENT),
        ({"readiness": LOW}, Light.READY),
        ({"readiness": SHORT}, Light.TODO),
        ({"readiness": SHORT, "in_visit": True}, Light.TODO),
        ({"readiness": FAILED}, Light.UNFIT),
        ({"readiness": FAILED, "in_visit": True}, Light.TODO),  # never «do not use» in the middle of a visit …
        ({"readiness": EMPTY, "in_visit": True}, Light.TODO),
        ({"readiness": READ_ONLY, "in_visit": True}, Light.UNFIT),  # … but when nothing is kept
        ({"custody": State.HOME}, Light.READY),
        ({"custody": State.HOME, "readiness": EMPTY}, Light.UNFIT),
        ({"custody": State.DEFECT}, Light.UNFIT),
        ({"custody": State.RETIRED}, Light.UNFIT),
        *(({"custody": s}, Light.TODO) for s in (State.NEW, State.RETURNING, State.DRAINING, State.CHECKING)),
    ],
)
def test_the_light_of_a_moment(changes, light):
    assert light_of(conditions(**changes)) is light


class Seen:
    """A window that remembers."""

    def __init__(self):
        self.lamps, self.tones = [], []

    def show(self, lamps):
        self.lamps.append(lamps)

    def tone(self, hz):
        self.tones.append(hz)

    def close(self):
        self.tones.append("closed")

    def heard(self):
        return [hz for hz in self.tones if isinstance(hz, float)]


def notes(sound):
    return [hz for hz, _ in TUNES[sound]]


async def settled(so):
    """Wait until something is so; and a little more for what must not follow."""
    await until(so)
    await asyncio.sleep(0.03)


def follow(story, monkeypatch, **changes):
    monkeypatch.setattr("agent.lending.signs.LOOK_EVERY_S", 0.01)
    monkeypatch.setattr("agent.display.leds.TUNES", {s: tuple((hz, 0.0) for hz, _ in t) for s, t in TUNES.items()})
    window, now = Seen(), [conditions(**changes)]
    signs = Signs(LightsConfig(enabled=True), look=lambda: now[0], window=lambda _pins: window)

    async def main():
        task = asyncio.create_task(signs.run())
        await settled(lambda: GREEN in window.lamps)
        await story(signs, window, lambda **new: now.__setitem__(0, conditions(**new)))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert (window.lamps[-1], window.tones[-1]) == (DARK, "closed")
        assert signs.light is Light.OFF

    asyncio.run(main())


def test_the_window_follows_and_each_answer_of_the_desk_sounds_once(monkeypatch):
    async def story(signs, window, become):
        await settled(lambda: len(window.heard()) == 3)
        assert window.heard() == notes(Sound.CLICK) + notes(Sound.RISING)
        del window.tones[:]
        signs.said(Say.RETURNED)
        become(custody=State.DRAINING)
        await settled(lambda: window.lamps[-1] == AMBER)
        await settled(lambda: len(window.heard()) == 2)
        assert window.heard() == notes(Sound.RISING)  # not the amber light's own note on top
        assert signs.light is Light.TODO
        become(custody=State.DRAINING, connected=False)
        signs.said(Say.BAD_CARD)
        await settled(lambda: len(window.heard()) > 2)
        assert window.heard() == notes(Sound.RISING) + notes(Sound.LOW)

    follow(story, monkeypatch)


def test_silence_lasts_until_the_buzzer_is_wanted_back(monkeypatch):
    async def story(signs, window, become):
        await settled(lambda: len(window.heard()) == 3)
        signs.quiet = True
        del window.tones[:]
        signs.said(Say.UNFIT)
        become(readiness=FAILED)
        await settled(lambda: window.lamps[-1] == RED)
        assert window.heard() == []
        signs.quiet = False
        signs.said(Say.UNFIT)
        await settled(window.heard)
        assert window.heard() == notes(Sound.LONG_LOW)

    follow(story, monkeypatch)


def test_a_bag_that_is_asked_for_blinks_for_a_while(monkeypatch):
    monkeypatch.setattr("agent.lending.signs.IDENTIFY_S", 0.1)

    async def story(signs, window, _become):
        signs.identify()
        await settled(lambda: window.lamps[-1].white == 1.0)
        await settled(lambda: signs.light is Light.READY)

    follow(story, monkeypatch)


def test_a_window_that_cannot_be_opened_is_said_and_nothing_else_stops():
    def missing(_pins):
        raise StateError("no pins")

    signs = Signs(LightsConfig(enabled=True), look=conditions, window=missing)
    with pytest.raises(StateError):
        asyncio.run(signs.run())
    signs.said(Say.UNFIT)
    signs.quiet = True
    assert signs.quiet
