"""The light window: the table of experience, on gpiozero's mock pins."""

import asyncio
from itertools import product

import pytest

from agent.config import LightsConfig
from agent.display.leds import (
    AMBER,
    DARK,
    GREEN,
    PATTERNS,
    RED,
    TUNES,
    GpioWindow,
    Light,
    Player,
    Sound,
    choose,
    sound_of,
)

READY_FACTS = {
    "started": True, "unfit": False, "to_do": False, "in_visit": False, "connected": True, "all_sent": False,
}  # fmt: skip


def lit(light, lamps):
    return [step.seconds for step in PATTERNS[light].steps if step.lamps == lamps]


def test_a_steady_or_dark_light_is_not_ready():
    ready = PATTERNS[Light.READY]
    assert not ready.once
    assert sum(step.seconds for step in ready.steps) == pytest.approx(2.0)
    assert len(lit(Light.READY, GREEN)) == 1
    assert lit(Light.READY, GREEN)[0] < 0.3


def test_measuring_is_a_double_blink_and_keeping_adds_amber():
    assert len(lit(Light.SENDING, GREEN)) == 2
    assert (len(lit(Light.KEEPING, GREEN)), len(lit(Light.KEEPING, AMBER))) == (2, 1)


def test_what_is_steady():
    assert PATTERNS[Light.TODO].steps[-1].lamps == AMBER
    assert PATTERNS[Light.UNFIT].steps[-1].lamps == RED
    sent = PATTERNS[Light.SENT]
    assert [(s.seconds, s.lamps) for s in sent.steps] == [(10.0, GREEN), (0.0, DARK)]


def test_starting_breathes():
    levels = [step.lamps.white for step in PATTERNS[Light.STARTING].steps]
    assert max(abs(a - b) for a, b in zip(levels, levels[1:] + levels[:1], strict=True)) <= 0.1 + 1e-9
    assert (min(levels), max(levels)) == (0.0, 1.0)


def test_every_pattern_is_told_from_every_other_without_colour():
    """Which sign is lit when: no two lights share it even if all lamps were white."""
    shapes = {
        light: tuple((round(s.seconds, 3), s.lamps.white > 0, s.lamps.green > 0, s.lamps.amber > 0, s.lamps.red > 0)
                     for s in pattern.steps)
        for light, pattern in PATTERNS.items()
    }  # fmt: skip
    assert len(set(shapes.values())) == len(Light)


@pytest.mark.parametrize(
    ("facts", "light"),
    [
        ({}, Light.READY),
        ({"started": False, "unfit": True}, Light.STARTING),
        ({"unfit": True, "in_visit": True}, Light.UNFIT),
        ({"to_do": True}, Light.TODO),
        ({"in_visit": True}, Light.SENDING),
        ({"in_visit": True, "connected": False}, Light.KEEPING),
        ({"all_sent": True}, Light.SENT),
        ({"connected": False}, Light.TODO),
    ],
)
def test_choice(facts, light):
    assert choose(**(READY_FACTS | facts)) is light


def test_ready_is_never_shown_unless_it_is():
    for values in product((False, True), repeat=6):
        facts = dict(zip(READY_FACTS, values, strict=True))
        if choose(**facts) is Light.READY:
            assert facts["started"]
            assert facts["connected"]
            assert not facts["unfit"]


@pytest.mark.parametrize(
    ("before", "after", "sound"),
    [
        (Light.OFF, Light.STARTING, Sound.CLICK),
        (Light.STARTING, Light.READY, Sound.RISING),
        (Light.SENT, Light.READY, None),
        (Light.READY, Light.SENDING, None),
        (Light.SENDING, Light.KEEPING, Sound.LOW),
        (Light.KEEPING, Light.SENDING, Sound.LOW),
        (Light.READY, Light.TODO, Sound.LOW),
        (Light.READY, Light.UNFIT, Sound.LONG_LOW),
        (Light.UNFIT, Light.UNFIT, None),
        (Light.SENDING, Light.SENT, Sound.FALLING),
    ],
)
def test_sounds_of_changes(before, after, sound):
    assert sound_of(before, after) is sound


def test_rising_rises_and_falling_falls():
    rising, falling = ([hz for hz, _ in TUNES[sound]] for sound in (Sound.RISING, Sound.FALLING))
    assert rising == sorted(rising)
    assert falling == sorted(falling, reverse=True)
    assert TUNES[Sound.LONG_LOW][0][1] > TUNES[Sound.LOW][0][1]


class Seen:
    """A window that remembers."""

    def __init__(self):
        self.lamps, self.tones, self.closed = [], [], False

    def show(self, lamps):
        self.lamps.append(lamps)

    def tone(self, hz):
        self.tones.append(hz)

    def close(self):
        self.closed = True


def test_the_player_follows_and_leaves_the_window_dark():
    async def story():
        window = Seen()
        player = Player(window)
        task = asyncio.create_task(player.run())
        player.show(Light.UNFIT)
        await asyncio.sleep(0.02)
        assert window.lamps[-1] == RED
        player.show(Light.TODO)
        await asyncio.sleep(0.02)
        assert window.lamps[-1] == AMBER
        assert window.tones[0] == TUNES[Sound.LONG_LOW][0][0]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert (window.lamps[-1], window.tones[-1], window.closed) == (DARK, None, True)

    asyncio.run(story())


def test_silence_keeps_the_buzzer_still():
    async def story():
        window = Seen()
        player = Player(window, quiet=True)
        task = asyncio.create_task(player.run())
        player.show(Light.UNFIT)
        await asyncio.sleep(0.02)
        assert window.lamps[-1] == RED
        assert window.tones == []
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(story())


def test_on_the_pins():
    gpiozero = pytest.importorskip("gpiozero", reason="the light window needs gpiozero (the extra 'lights')")
    from gpiozero.pins.mock import MockFactory, MockPWMPin

    factory = MockFactory(pin_class=MockPWMPin)
    pins = LightsConfig()
    window = GpioWindow(pins, factory)
    window.show(GREEN)
    states = {name: factory.pin(getattr(pins, name)).state for name in ("white", "green", "amber", "red")}
    assert states == {"white": 0, "green": 1, "amber": 0, "red": 0}
    window.tone(TUNES[Sound.RISING][0][0])
    assert factory.pin(pins.buzzer).frequency == pytest.approx(523.3, abs=1)
    window.tone(None)
    assert factory.pin(pins.buzzer).frequency is None
    for tune in TUNES.values():
        for hz, _ in tune:
            window.tone(hz)
    window.close()
    assert gpiozero.LED(pins.green, pin_factory=factory)  # the pins are free again
