"""The visit at work: begun, resumed, ended by gestures; its microphone opened and closed.

`visit.py` is the table of what may happen, `listening.py` the microphone's rules; here they meet record and board.
"""

import asyncio
import secrets
from collections.abc import Callable

from agent.clock import Clock
from agent.display.board import Board, VisitState
from agent.errors import StateError
from agent.instruments import Instruments
from agent.listening import Listening
from agent.model import Analysis, SampleBlock, Signal, Stream, Visit
from agent.recorder import Recorder
from agent.signals import Signals
from agent.visit import Action, Event, State, VisitMachine

RESUME_WITHIN_S = 300.0
MICROPHONE_EVERY_S = 5.0


class Visiting:
    """One bag's visits, one after the other.

    `placed_anew` hears of a sound stream whose place changed, `closing` of a visit that is about to be closed; `holder`
    is the badge of whoever has the bag.
    """

    def __init__(
        self,
        recorder: Recorder,
        *,
        clock: Clock,
        board: Board,
        instruments: Instruments,
        signals: Signals,
        demo: bool,
        placed_anew: Callable[[Stream], None],
        holder: Callable[[], bytes | None],
        closing: Callable[[], None],
    ) -> None:
        self.listening = Listening()
        self._machine = VisitMachine()
        self._recorder = recorder
        self._clock = clock
        self._board = board
        self._instruments = instruments
        self._signals = signals
        self._demo = demo
        self._placed_anew = placed_anew
        self._holder = holder
        self._closing = closing

    @property
    def state(self) -> State:
        """Where the bag stands between two patients."""
        return self._machine.state

    @property
    def code(self) -> str | None:
        """The open visit's."""
        return self._recorder.visit.code if self._recorder.visit else None

    # --- what begins and ends it ----------------------------------------------------------------------------------

    def resume_or_ready(self) -> None:
        """After a restart within five minutes the open visit goes on by itself."""
        kept = self._recorder.kept_visit()
        if kept is not None and self._clock.now_ns() - kept[1] < RESUME_WITHIN_S * 1e9:
            self._machine.on(Event.RESUMED)
            self._listen_in_demo()
            self._recorder.open_visit(kept[0], resumed=True)
        else:
            self._machine.on(Event.STARTED)
        self._show()

    async def new_visit(self) -> None:
        """*Nouvelle visite*: a new random id and code; an open visit is closed first."""
        await self._on(Event.NEW_VISIT)

    async def end_visit(self) -> None:
        """*Terminer*."""
        await self._on(Event.END_VISIT)

    async def _on(self, event: Event) -> None:
        actions = self._machine.on(event)
        if actions is None:
            raise StateError(f"{event.value} is not possible while {self.state.value}")
        for action in actions:
            if action is Action.CLOSE:
                self.listening.close()
                self._closing()
                await self._recorder.close_visit()
            elif action is Action.OPEN:
                code = f"{secrets.randbelow(10_000):04d}"
                visit = Visit(secrets.token_bytes(16), code, self._clock.now_ns(), self._holder())
                self._recorder.open_visit(visit, resumed=False)
                self._recorder.add(self._instruments.states())  # what each announced before there was a visit
                self._listen_in_demo()
        self._show()

    def drained(self) -> None:
        """The hub has everything."""
        if self.state is State.CLOSING and self._machine.on(Event.DRAINED) is not None:
            self._show()

    def handed_over(self) -> None:
        """The bag has another holder."""
        if self._machine.on(Event.HANDED_OVER) is not None:
            self._show()

    def _show(self) -> None:
        self._board.visit(self._recorder.visit, VisitState(self.state.value))
        self._board.listening(self.listening.on, self.listening.site)

    # --- the microphone -------------------------------------------------------------------------------------------

    async def set_listening(self, on: bool, /) -> None:
        """*Écoute*: sound is taken only while it is on, and only in a visit."""
        if on and self.state is not State.VISIT:
            raise StateError("sound is taken only during a visit")
        if on:
            self.listening.open(self._clock.now_ns())
        else:
            self.listening.close()
        self._show_sound()

    async def set_site(self, site: str, /) -> None:
        """Where the bell lies: the hub and the page are told with the stream."""
        try:
            self.listening.at(site, self._clock.now_ns())
        except ValueError as error:
            raise StateError(str(error)) from error
        self._show_sound()

    def wants(self, block: SampleBlock) -> bool:
        """Sound is taken only while «Écoute» is on; everything else always."""
        return self.listening.on or self._signals.signal(block.stream) is not Signal.SOUND

    def heard(self, found: Analysis) -> None:
        """What the signal processing found may keep the microphone open."""
        self.listening.heard(found, self._clock.now_ns())

    async def close_microphone(self) -> None:
        """An open microphone that hears no body closes. Until cancelled."""
        while True:
            await asyncio.sleep(MICROPHONE_EVERY_S)
            if self.listening.due(self._clock.now_ns()):
                await self.set_listening(False)

    def _listen_in_demo(self) -> None:
        if self._demo:
            self.listening.open(self._clock.now_ns())

    def _show_sound(self) -> None:
        for driver in self._instruments.drivers.values():
            for stream in driver.streams:
                if stream.signal is Signal.SOUND:
                    self._placed_anew(stream)
        self._board.listening(self.listening.on, self.listening.site)
