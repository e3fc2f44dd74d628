"""The light window and the buzzer: what a bag shows without a screen.

Three printed signs are lit from behind, ✓ green, ! amber, ✗ red, and the whole window white; form and place say as
much as the colour. A pattern is a list of steps, played over and over or once; the player is one task that sleeps
between steps. gpiozero is imported here alone, when pins are opened.
"""

import asyncio
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from agent.config import LightsConfig
from agent.errors import StateError


class Light(Enum):
    """What the window says."""

    OFF = "off"
    STARTING = "starting"
    READY = "ready"
    SENDING = "sending"
    KEEPING = "keeping"
    TODO = "todo"
    UNFIT = "unfit"
    SENT = "sent"
    IDENTIFY = "identify"


class Sound(Enum):
    """What the buzzer says."""

    CLICK = "click"
    RISING = "rising"
    LOW = "low"
    LONG_LOW = "long_low"
    FALLING = "falling"


@dataclass(frozen=True, slots=True)
class Lamps:
    """Brightness of each lamp, 0 to 1."""

    white: float = 0.0
    green: float = 0.0
    amber: float = 0.0
    red: float = 0.0


@dataclass(frozen=True, slots=True)
class Step:
    """Lamps for so many seconds."""

    seconds: float
    lamps: Lamps


@dataclass(frozen=True, slots=True)
class Pattern:
    """Steps, over and over unless `once`: then the last one stays."""

    steps: tuple[Step, ...]
    once: bool = False


DARK, GREEN, AMBER, RED = Lamps(), Lamps(green=1.0), Lamps(amber=1.0), Lamps(red=1.0)
_BLINK_S = 0.12
_BREATH = tuple(Step(0.1, Lamps(white=round(level / 10, 1))) for level in (*range(10), *range(10, 0, -1)))
_DOUBLE = (Step(_BLINK_S, GREEN), Step(_BLINK_S, DARK), Step(_BLINK_S, GREEN))

PATTERNS: dict[Light, Pattern] = {
    Light.OFF: Pattern((Step(0.0, DARK),), once=True),
    Light.STARTING: Pattern(_BREATH),
    Light.READY: Pattern((Step(_BLINK_S, GREEN), Step(2.0 - _BLINK_S, DARK))),
    Light.SENDING: Pattern((*_DOUBLE, Step(2.0 - 3 * _BLINK_S, DARK))),
    Light.KEEPING: Pattern((*_DOUBLE, Step(0.4, DARK), Step(_BLINK_S, AMBER), Step(1.6 - 4 * _BLINK_S, DARK))),
    Light.TODO: Pattern((Step(0.0, AMBER),), once=True),
    Light.UNFIT: Pattern((Step(0.0, RED),), once=True),
    Light.SENT: Pattern((Step(10.0, GREEN), Step(0.0, DARK)), once=True),
    Light.IDENTIFY: Pattern((Step(0.25, Lamps(white=1.0)), Step(0.25, DARK))),
}

TUNES: dict[Sound, tuple[tuple[float, float], ...]] = {
    Sound.CLICK: ((880.0, 0.03),),
    Sound.RISING: ((523.3, 0.15), (784.0, 0.25)),
    Sound.LOW: ((261.6, 0.2),),
    Sound.LONG_LOW: ((261.6, 1.0),),
    Sound.FALLING: ((784.0, 0.15), (523.3, 0.25)),
}
"""Notes as (hertz, seconds)."""

_ENTERING = {
    Light.STARTING: Sound.CLICK,
    Light.READY: Sound.RISING,
    Light.KEEPING: Sound.LOW,
    Light.TODO: Sound.LOW,
    Light.UNFIT: Sound.LONG_LOW,
    Light.SENT: Sound.FALLING,
}


def choose(*, started: bool, unfit: bool, to_do: bool, in_visit: bool, connected: bool, all_sent: bool) -> Light:
    """What the window says; the gravest first. `all_sent`: the visit has ended and the hub has everything."""
    if not started:
        return Light.STARTING
    if unfit:
        return Light.UNFIT
    if to_do:
        return Light.TODO
    if in_visit:
        return Light.SENDING if connected else Light.KEEPING
    if all_sent:
        return Light.SENT
    return Light.READY if connected else Light.TODO


def sound_of(before: Light, after: Light) -> Sound | None:
    """What a change sounds like: each once, the network's coming and going alike, ready once a start."""
    if before is after:
        return None
    if before is Light.KEEPING and after is Light.SENDING:
        return Sound.LOW
    if after is Light.READY and before is not Light.STARTING:
        return None
    return _ENTERING.get(after)


class Window(Protocol):
    """The lamps and the buzzer themselves."""

    def show(self, lamps: Lamps) -> None:
        """Light the lamps so."""

    def tone(self, hz: float | None) -> None:
        """Sound a note; None is silence."""

    def close(self) -> None:
        """Let the pins go."""


@dataclass(slots=True)
class Player:
    """Plays patterns and tunes on a window; `quiet` keeps the buzzer still (*Silence*)."""

    window: Window
    quiet: bool = False
    light: Light = Light.OFF
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _tunes: "asyncio.Queue[Sound]" = field(default_factory=asyncio.Queue)

    def show(self, light: Light, *, sounded: bool = False) -> None:
        """Say this from now on, with the change's sound unless something else has just sounded for it."""
        sound = None if sounded else sound_of(self.light, light)
        if light is not self.light:
            self.light = light
            self._changed.set()
        if sound is not None:
            self.play(sound)

    def play(self, sound: Sound) -> None:
        """Sound a tune after those already asked for."""
        if not self.quiet:
            self._tunes.put_nowait(sound)

    async def run(self) -> None:
        """Play until cancelled; then dark and silent."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._lamps(), name="lamps")
                group.create_task(self._buzzer(), name="buzzer")
        finally:
            self.window.show(DARK)
            self.window.tone(None)
            self.window.close()

    async def _lamps(self) -> None:
        while True:
            self._changed.clear()
            await self._pattern(PATTERNS[self.light])

    async def _pattern(self, pattern: Pattern) -> None:
        """Play one pattern until another is asked for."""
        while True:
            for step in pattern.steps:
                self.window.show(step.lamps)
                if pattern.once and step is pattern.steps[-1]:
                    await self._changed.wait()
                    return
                try:
                    async with asyncio.timeout(step.seconds):
                        await self._changed.wait()
                except TimeoutError:
                    continue
                return

    async def _buzzer(self) -> None:
        while True:
            sound = await self._tunes.get()
            try:
                for hz, seconds in TUNES[sound]:
                    self.window.tone(hz)
                    await asyncio.sleep(seconds)
            finally:
                self.window.tone(None)


class GpioWindow:
    """The window on the Pi's pins; white and buzzer on hardware PWM by default."""

    def __init__(self, pins: LightsConfig, factory: Any = None) -> None:
        try:
            import gpiozero  # noqa: PLC0415 - only on a bag that has a window
        except ImportError:
            raise StateError("the light window needs gpiozero\nNext: pip install 'besace[lights]'") from None
        try:
            self._white = gpiozero.PWMLED(pins.white, pin_factory=factory)
            self._lamps = [gpiozero.LED(pin, pin_factory=factory) for pin in (pins.green, pins.amber, pins.red)]
            self._buzzer = gpiozero.TonalBuzzer(pins.buzzer, octaves=2, pin_factory=factory)
        except (gpiozero.GPIOZeroError, OSError) as error:
            raise StateError(
                f"the light window's pins cannot be used: {error}\nNext: is besace in group gpio, lgpio installed?"
            ) from None

    def show(self, lamps: Lamps) -> None:
        """Light the lamps so."""
        self._white.value = lamps.white
        for lamp, level in zip(self._lamps, (lamps.green, lamps.amber, lamps.red), strict=True):
            lamp.value = level > 0

    def tone(self, hz: float | None) -> None:
        """Sound a note; None is silence."""
        if hz is None:
            self._buzzer.stop()
        else:
            self._buzzer.play(hz)

    def close(self) -> None:
        """Let the pins go."""
        for device in (self._white, *self._lamps, self._buzzer):
            device.close()
