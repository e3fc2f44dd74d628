"""What the bag shows without words: window and buzzer follow the self-test, the visit and the loan desk.

`light_of` is pure: the conditions of a moment give one light. `Signs` looks at them twice a second and has leds.Player
show it; a window that cannot be opened (no library, no pins) is tried again and costs nothing else.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from agent.config import LightsConfig
from agent.custody import Say, State
from agent.display.leds import GpioWindow, Light, Player, Sound, Window, choose
from agent.health import Level, Part, Readiness, Why
from agent.lending.tones import TONES, Tone

LOOK_EVERY_S = 0.5
IDENTIFY_S = 15.0

TO_DO = frozenset({Why.BATTERY_SHORT, Why.INSTRUMENT_FAILED, Why.DISK_LOW})
"""Findings that ask for a hand at any time; the others matter when the bag leaves."""
NOT_TO_LEND = frozenset({State.DEFECT, State.RETIRED})
ASKS = frozenset({State.NEW, State.RETURNING, State.DRAINING, State.CHECKING, State.SERVICE})
"""The desk wants something, or the bag must stay plugged in: a bag that is not lendable never blinks its tick."""

SOUNDS = {Tone.DONE: Sound.RISING, Tone.ASKED: Sound.CLICK, Tone.REFUSED: Sound.LOW, Tone.GRAVE: Sound.LONG_LOW}
"""What the desk's answers sound like."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """What the window depends on. `custody` None: a bag without a loan desk."""

    started: bool
    readiness: Readiness
    in_visit: bool
    connected: bool
    all_sent: bool
    custody: State | None = None


def light_of(now: Conditions) -> Light:
    """The light of a moment.

    In a visit nothing says «do not use»: what keeps a bag from leaving is then something to do, but for a card that
    keeps nothing.
    """
    unfit = now.readiness.at(Level.UNFIT)
    grave = [finding for finding in unfit if not now.in_visit or finding.part is Part.DISK]
    asked = any(finding.why in TO_DO for finding in now.readiness.findings) or len(grave) < len(unfit)
    return choose(
        started=now.started,
        unfit=bool(grave) or now.custody in NOT_TO_LEND,
        to_do=asked or now.custody in ASKS,
        in_visit=now.in_visit,
        connected=now.connected,
        all_sent=now.all_sent,
    )


class Signs:
    """The window at work: `quiet` («Silence») keeps its buzzer still until somebody wants it back."""

    def __init__(
        self,
        pins: LightsConfig,
        *,
        look: Callable[[], Conditions],
        window: Callable[[LightsConfig], Window] = GpioWindow,
    ) -> None:
        self._pins = pins
        self._open = window
        self._look = look
        self._player: Player | None = None
        self._identify_until_s = 0.0
        self._quiet = False

    @property
    def light(self) -> Light:
        """What the window says now; OFF while it is not open."""
        return self._player.light if self._player is not None else Light.OFF

    @property
    def quiet(self) -> bool:
        """Whether the buzzer is kept still."""
        return self._quiet

    @quiet.setter
    def quiet(self, on: bool) -> None:
        self._quiet = on
        if self._player is not None:
            self._player.quiet = on

    async def run(self) -> None:
        """Open the window and follow, until cancelled; StateError when it cannot be opened."""
        player = self._player = Player(self._open(self._pins), quiet=self._quiet)
        player.show(Light.STARTING)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(player.run(), name="window")
                group.create_task(self._follow(player), name="follow")
        finally:
            self._player = None

    async def _follow(self, player: Player) -> None:
        loop = asyncio.get_running_loop()
        custody = self._look().custody
        while True:
            now = self._look()
            identifying = loop.time() < self._identify_until_s
            light = Light.IDENTIFY if identifying else light_of(now)
            player.show(light, sounded=now.custody is not custody)  # the desk's answer had its own sound
            custody = now.custody
            await asyncio.sleep(LOOK_EVERY_S)

    def said(self, say: Say) -> None:
        """The desk answered: its sound."""
        if self._player is not None:
            self._player.play(SOUNDS[TONES[say]])

    def identify(self) -> None:
        """Blink for a while, so that somebody sees which bag this is."""
        self._identify_until_s = asyncio.get_running_loop().time() + IDENTIFY_S
