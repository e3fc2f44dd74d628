"""What instruments give, on its way into the bag: one place that everything comes through, in the loop.

Samples go to the signals and the recorder, numbers and events to the page too, scans to the loan desk; what the signals
find comes back here and goes to the page, the recorder and the microphone.
"""

from collections.abc import Callable

from agent.clock import Clock
from agent.dating import OUTSIDE_NS, Dating
from agent.display.board import Board
from agent.display.views import card_of, view_of
from agent.drivers.base import Driver, Item
from agent.instruments import Instruments
from agent.model import (
    Analysis,
    ChainStage,
    Gap,
    InstrumentEvent,
    Kind,
    Reading,
    SampleBlock,
    Scan,
    Stream,
    Trace,
)
from agent.pictures import Pictures, pictures_of
from agent.recorder import Recorder
from agent.sharing import share
from agent.signals import Signals
from agent.status import Tally
from agent.transport.messages import Preview
from agent.visiting import Visiting

SPOT = {
    Kind.PRESSURE_SYSTOLIC, Kind.PRESSURE_DIASTOLIC, Kind.PRESSURE_MEAN, Kind.TEMPERATURE, Kind.GLUCOSE, Kind.WEIGHT,
}  # fmt: skip


class Intake:
    """Between the instruments and everything that wants to know what they say.

    Instruments and signals are made with its methods, and it needs both: `tie` joins it to all others once they are.
    """

    _recorder: Recorder
    _instruments: Instruments
    _signals: Signals
    _visiting: Visiting
    _scanned: Callable[[str], object]
    _spoke: Callable[[str], None]
    _watched: Callable[[], bool]
    _show: Callable[[Preview], None]

    def __init__(self, clock: Clock, board: Board) -> None:
        self._clock = clock
        self._board = board
        self._dating = Dating()
        self.tally = Tally()
        self.pictures: Pictures | None = None

    def tie(
        self,
        *,
        recorder: Recorder,
        instruments: Instruments,
        signals: Signals,
        visiting: Visiting,
        scanned: Callable[[str], object],
        spoke: Callable[[str], None],
        watched: Callable[[], bool],
        show: Callable[[Preview], None],
    ) -> None:
        """Before the first instrument speaks.

        `scanned` takes a card's text, `spoke` an instrument's key; `watched` says whether a doctor looks, `show` sends
        a picture to one.
        """
        self._recorder = recorder
        self._instruments = instruments
        self._signals = signals
        self._visiting = visiting
        self._scanned = scanned
        self._spoke = spoke
        self._watched = watched
        self._show = show

    def opened(self, driver: Driver) -> None:
        """An instrument is about to be tried: the hub and the page are told what it is."""
        self._recorder.instrument(driver.instrument)
        self.pictures = pictures_of(driver, self._recorder, self._clock.now_ns) or self.pictures
        self._board.camera = self.pictures is not None
        share(driver, self._recorder, watched=self._watched, show=self._show)
        for stream in driver.streams:
            self._recorder.stream(self._visiting.listening.placed(stream), ())
        card = card_of(driver.instrument.key, driver.streams)
        self._board.describe(map(self._visiting.listening.placed, driver.streams), cards=[card] if card else ())
        self._signals.add(driver.streams)

    def described(self, stream: Stream, stages: tuple[ChainStage, ...]) -> None:
        """A stream's stages became known: the hub and the page are told what the signal goes through."""
        stream = self._visiting.listening.placed(stream)
        self._recorder.stream(stream, stages)
        self._board.describe([stream], views={stream.name: view_of(stages)})

    def take(self, item: Item) -> None:
        """An instrument gave something."""
        if isinstance(item, SampleBlock) and not self._visiting.wants(item):
            return
        if isinstance(item, Scan):
            self.tally.count(item)
            self._scanned(item.text)
            return
        key = item.stream.partition(".")[0] if isinstance(item, SampleBlock | Gap) else item.instrument
        self._spoke(key)
        if isinstance(item, SampleBlock):
            self.tally.count(item)
            self._signals.take(item)
            self._recorder.add([item])
            return
        for kept in [item] if isinstance(item, Gap) else self._dating.take([item], self._since_ns()):
            self._said_by_instrument(kept)

    def _since_ns(self) -> int:
        """What was measured before this is another moment's: the visit's beginning, without one a while ago."""
        visit = self._recorder.visit
        return visit.t_ns if visit is not None else self._clock.now_ns() - OUTSIDE_NS

    def _said_by_instrument(self, item: Gap | Reading | InstrumentEvent) -> None:
        self.tally.count(item)
        self._board.feed(item)
        self._recorder.add([item])
        if isinstance(item, Reading):
            self._signals.read(item)
            if item.kind in SPOT and not self._instruments.streams(item.instrument):
                self._recorder.urgent.set()
        elif isinstance(item, InstrumentEvent):
            self._instruments.saw(item)

    def found(self, shown: Trace | Analysis) -> None:
        """The signals gave a trace, or found something."""
        self._board.feed(shown)
        if isinstance(shown, Analysis):
            self._recorder.add([shown])
            self._visiting.heard(shown)
            self.tally.analysed(shown, self._signals.signal(shown.stream).value)

    def visit_closes(self) -> None:
        """A picture that nobody has kept yet is nobody's any more."""
        if self.pictures is not None:
            self.pictures.reject()
