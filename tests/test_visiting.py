"""The visit at work, on a real recorder: begun, ended, resumed; the microphone's gestures reach hub and page."""

import asyncio
from dataclasses import dataclass, field

import pytest
from test_recorder import Bag

from agent.display.board import Board
from agent.display.words import Words
from agent.drivers.base import Item
from agent.errors import StateError
from agent.model import Analysis, HeartSound, Instrument, InstrumentEvent, InstrumentState, SampleBlock, Signal, Stream
from agent.transport.messages import VisitBody, VisitStep
from agent.visit import State
from agent.visiting import Visiting
from tests.peers.waiting import until

SOUND = Stream("scope.sound", Signal.SOUND, "scope", 4000.0, 1 / 32768, "1")
ECG = Stream("box.ecg", Signal.ECG, "box", 125.0, 1.0, "uV", "DI")
S = 1_000_000_000


@dataclass
class Driver:
    instrument: Instrument
    streams: tuple[Stream, ...]


@dataclass
class Instruments:
    """Two instruments that are there."""

    drivers: dict = field(
        default_factory=lambda: {
            "scope": Driver(Instrument("scope", "Stethoscope"), (SOUND,)),
            "box": Driver(Instrument("box", "ECG"), (ECG,)),
        }
    )

    def states(self) -> list[Item]:
        return [InstrumentEvent("scope", 0, InstrumentState.READY)]


class Signals:
    def signal(self, stream: str) -> Signal:
        return {s.name: s.signal for s in (SOUND, ECG)}[stream]


@dataclass
class Nurse:
    """Visits on a bag, and what was told."""

    bag: Bag
    demo: bool = False
    told: list = field(default_factory=list)

    def __post_init__(self):
        self.board = Board(Words.load(), demo=self.demo, bag="Sac 04", now_ns=self.bag.clock.now_ns)
        self.visits = Visiting(
            self.bag.recorder, clock=self.bag.clock, board=self.board, instruments=Instruments(), signals=Signals(),
            demo=self.demo, placed_anew=lambda s: self.told.append(self.visits.listening.placed(s)),
            holder=lambda: b"badge1", closing=lambda: self.told.append("closing"),
        )  # fmt: skip

    def does(self, *gestures):
        async def main():
            for gesture in gestures:
                await gesture

        asyncio.run(main())

    @property
    def shown(self):
        message = self.board.messages()[0][-1]
        return message["visit"]["state"], message["sound"]["listening"], message["sound"]["site"]


@pytest.fixture
def nurse(tmp_path):
    bag = Bag(tmp_path)
    yield Nurse(bag)
    if not bag.ended:
        bag.outbox.close()


def sound():
    return SampleBlock(SOUND.name, 0, 0, None)


def test_a_visit_has_a_code_and_its_holder_and_both_are_shown_and_stored(nurse):
    nurse.visits.resume_or_ready()
    assert (nurse.visits.state, nurse.visits.code) == (State.READY, None)
    nurse.does(nurse.visits.new_visit(), nurse.bag.recorder.cut())
    assert nurse.visits.state is State.VISIT
    assert len(nurse.visits.code) == 4
    assert nurse.bag.recorder.visit.holder == b"badge1"
    assert nurse.shown == ("visit", False, None)
    bodies = [record.body for batch in nurse.bag.batches() for record in batch.records]
    assert [b.step for b in bodies if isinstance(b, VisitBody)] == [VisitStep.OPEN]


def test_what_the_table_does_not_know_is_refused(nurse):
    nurse.visits.resume_or_ready()
    with pytest.raises(StateError, match="end_visit is not possible while ready"):
        nurse.does(nurse.visits.end_visit())
    with pytest.raises(StateError, match="only during a visit"):
        nurse.does(nurse.visits.set_listening(True))


def test_an_ended_visit_is_sent_once_the_hub_has_it(nurse):
    nurse.visits.resume_or_ready()
    nurse.does(nurse.visits.new_visit(), nurse.visits.end_visit())
    assert nurse.visits.state is State.CLOSING
    assert nurse.told == ["closing"]
    nurse.visits.drained()
    assert nurse.visits.state is State.SENT
    nurse.visits.drained()  # again: nothing happens
    nurse.visits.handed_over()
    assert nurse.visits.state is State.READY


@pytest.mark.parametrize(("away_s", "state"), [(299, State.VISIT), (301, State.READY)])
def test_after_a_restart_within_five_minutes_it_goes_on(nurse, away_s, state):
    nurse.visits.resume_or_ready()
    nurse.does(nurse.visits.new_visit(), nurse.bag.recorder.cut())
    code, bag = nurse.visits.code, nurse.bag.power_cut()
    bag.clock.t_ns += away_s * S
    after = Nurse(bag)
    after.visits.resume_or_ready()
    assert after.visits.state is state
    assert after.visits.code == (code if state is State.VISIT else None)
    bag.outbox.close()


def test_sound_is_wanted_only_while_the_microphone_is_open(nurse):
    nurse.visits.resume_or_ready()
    nurse.does(nurse.visits.new_visit())
    assert not nurse.visits.wants(sound())
    assert nurse.visits.wants(SampleBlock(ECG.name, 0, 0, None))
    nurse.does(nurse.visits.set_listening(True), nurse.visits.set_site("mitral"))
    assert nurse.visits.wants(sound())
    assert nurse.shown == ("visit", True, "mitral")
    assert [stream.lead for stream in nurse.told] == [None, "mitral"]  # the ECG was not told of
    nurse.does(nurse.visits.end_visit())
    assert not nurse.visits.wants(sound())
    assert nurse.shown == ("closing", False, None)


def test_an_unknown_place_is_refused(nurse):
    with pytest.raises(StateError, match="unknown site"):
        nurse.does(nurse.visits.set_site("knee"))


@pytest.mark.parametrize(("heart", "open_after"), [(True, True), (False, False)])
def test_the_microphone_closes_when_it_hears_no_heart(nurse, monkeypatch, heart, open_after):
    monkeypatch.setattr("agent.visiting.MICROPHONE_EVERY_S", 0.001)
    nurse.visits.resume_or_ready()

    async def main():
        await nurse.visits.new_visit()
        await nurse.visits.set_listening(True)
        nurse.bag.clock.t_ns += 100 * S
        nurse.visits.heard(Analysis(SOUND.name, 0, sounds=(HeartSound("S1", 1.0),) if heart else ()))
        nurse.bag.clock.t_ns += 30 * S
        task = asyncio.create_task(nurse.visits.close_microphone())
        await asyncio.sleep(0.05)
        await until(lambda: nurse.visits.listening.on is open_after)
        task.cancel()

    asyncio.run(main())
    assert nurse.visits.listening.on is open_after


def test_in_a_demonstration_the_microphone_is_open_from_the_beginning(tmp_path):
    nurse = Nurse(Bag(tmp_path), demo=True)
    nurse.visits.resume_or_ready()
    nurse.does(nurse.visits.new_visit())
    assert nurse.shown == ("visit", True, None)
    nurse.bag.outbox.close()
