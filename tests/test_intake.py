"""Where everything that instruments give goes, on recorder and board as they are and ears that only note."""

import asyncio
from datetime import datetime
from types import SimpleNamespace

import numpy as np
import pytest
from test_recorder import Bag

from agent.display.board import Board
from agent.display.words import Words
from agent.intake import Intake
from agent.listening import Listening
from agent.model import (
    Analysis,
    Beat,
    Gap,
    GapReason,
    Instrument,
    InstrumentEvent,
    InstrumentState,
    Kind,
    Rate,
    Reading,
    SampleBlock,
    Scan,
    Signal,
    Stream,
    Unit,
)
from agent.transport.messages import AnalysisBody, ReadingBody, Waveform

SOUND = Stream("scope.sound", Signal.SOUND, "scope", 4000.0, 1 / 32768, "1")
ECG = Stream("box.ecg", Signal.ECG, "box", 125.0, 0.001, "mV", "DI")


class Place:
    """An intake, and who was told what."""

    def __init__(self, folder):
        self.bag = Bag(folder)
        self.told = []
        self.listening = Listening()
        board = Board(Words.load(), demo=False, bag="Sac 04", now_ns=self.bag.clock.now_ns)
        self.intake = Intake(self.bag.clock, board)
        self.intake.tie(
            recorder=self.bag.recorder,
            instruments=SimpleNamespace(streams=lambda key: (ECG,) if key == "box" else (), saw=self.note("saw")),
            signals=SimpleNamespace(
                take=self.note("signal"), read=self.note("read"), add=self.note("streams"), signal=lambda _: Signal.ECG
            ),
            visiting=SimpleNamespace(
                listening=self.listening, heard=self.note("heard"),
                wants=lambda block: self.listening.on or block.stream != SOUND.name,
            ),
            scanned=self.note("scanned"), spoke=self.note("spoke"), watched=bool, show=self.note("shown"),
        )  # fmt: skip
        for key, streams in (("box", (ECG,)), ("ear", ()), ("cuff", ())):
            self.intake.opened(SimpleNamespace(instrument=Instrument(key, key), streams=streams))
        self.bag.recorder.open_visit(self.bag.visit(), resumed=False)

    def note(self, name):
        return lambda what: self.told.append((name, what))

    def names(self):
        return [name for name, _ in self.told]

    async def stored(self, kind):
        await self.bag.recorder.cut()
        return [r.body for b in self.bag.batches() for r in b.records if isinstance(r.body, kind)]


@pytest.fixture
def place(tmp_path):
    place = Place(tmp_path)
    place.told.clear()
    yield place
    place.bag.outbox.close()


def block(stream):
    return SampleBlock(stream.name, 0, 3_600_000_000_000, np.arange(5, dtype=np.int32))


def test_samples_go_to_the_signals_and_the_record(place):
    place.intake.take(block(ECG))
    assert place.names() == ["spoke", "signal"]
    assert place.told[0] == ("spoke", "box")
    assert len(asyncio.run(place.stored(Waveform))) == 1
    assert place.intake.tally.samples == {"box.ecg": 5}


def test_sound_that_nobody_opened_the_microphone_for_goes_nowhere(place):
    place.intake.take(block(SOUND))
    assert place.told == []
    assert place.intake.tally.samples == {}


def test_a_card_goes_to_the_desk_alone(place):
    place.intake.take(Scan(1, "BSC1:X"))
    assert place.told == [("scanned", "BSC1:X")]


def test_a_spot_value_is_sent_at_once_and_a_running_one_with_the_next_batch(place):
    now = place.bag.clock.t_ns
    place.bag.recorder.urgent.clear()
    place.intake.take(Reading("box", Kind.TEMPERATURE, Unit.DEGC, now, 371, -1))  # a board's own, each second
    assert not place.bag.recorder.urgent.is_set()
    place.intake.take(Reading("ear", Kind.TEMPERATURE, Unit.DEGC, now, 371, -1))
    assert place.bag.recorder.urgent.is_set()
    assert place.names() == ["spoke", "read"] * 2
    assert len(asyncio.run(place.stored(ReadingBody))) == 2


def test_a_value_of_another_moment_does_not_join_the_visit(place):
    own = datetime.fromisoformat("2026-01-01T00:00:00")
    stored = Reading("cuff", Kind.GLUCOSE, Unit.MG_PER_DL, place.bag.clock.t_ns, 99, instrument_time=own)
    place.intake.take(InstrumentEvent("cuff", 1, what="from_memory"))
    place.intake.take(stored)
    assert asyncio.run(place.stored(ReadingBody)) == []
    assert place.intake.tally.readings == 0


def test_an_instrument_s_state_and_a_gap(place):
    place.intake.take(InstrumentEvent("box", 1, InstrumentState.MEASURING))
    place.intake.take(Gap(ECG.name, 5, 10, 1, GapReason.LINK))
    assert place.names() == ["spoke", "saw", "spoke"]
    assert place.intake.tally.gaps == 1


def test_what_the_signals_find_is_recorded_and_may_keep_the_microphone_open(place):
    found = Analysis(ECG.name, place.bag.clock.t_ns, beats=(Beat(3, 0.024),), rate=Rate(72.0))
    place.intake.take(block(ECG))
    place.told.clear()
    place.intake.found(found)
    assert place.told == [("heard", found)]
    assert len(asyncio.run(place.stored(AnalysisBody))) == 1
    assert place.intake.tally.latest == {"ecg_rate": 72.0}


def test_a_picture_nobody_kept_is_gone_with_the_visit(place):
    place.intake.visit_closes()  # a bag without a camera
    place.intake.pictures = SimpleNamespace(reject=lambda: place.told.append(("rejected", None)))
    place.intake.visit_closes()
    assert place.names() == ["rejected"]
