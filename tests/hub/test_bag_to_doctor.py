"""What the bag's chains find, by the way it really goes: records, sealed rows, the hub's disk, the doctor's page."""

import numpy as np
import pytest

from agent.display.board import Board
from agent.display.views import card_of, view_of
from agent.display.words import Words
from agent.dsp.chains import Chains, describe
from agent.model import (
    Analysis,
    Happening,
    Instrument,
    InstrumentEvent,
    InstrumentState,
    SampleBlock,
    Signal,
    Stream,
    Visit,
)
from agent.transport import wire
from agent.transport.messages import Batch, VisitBody, VisitStep
from agent.transport.records import RecordReader, RecordWriter
from hub.receiver import Receiver
from hub.rooms import Rooms
from hub.store import Store
from tests.dsp.synthetic_pleth import beats, light, wave
from tests.peers.cpts import BAG, Bags, keyring

S = 10**9
FS = 125.0
BEGIN_S = 5000
VISIT = Visit(bytes(16), "0042", BEGIN_S * S)
BOX = Instrument("box", "HealthyPi v4")
ECG = Stream("box.ecg", Signal.ECG, "box", FS, 2.0, "uV", "DI")
RED = Stream("box.red", Signal.RED, "box", FS, 0.572, "uV", resolution_bits=22)
INFRARED = Stream("box.infrared", Signal.INFRARED, "box", FS, 0.572, "uV", resolution_bits=22)
DEFICIT = "FC et FP ne concordent pas : vérifiez les électrodes et le capteur"


def board(*, remote=False, at_s=0):
    return Board(Words.load(), demo=False, bag="Sac 04", now_ns=lambda: at_s * S, remote=remote)


class Way:
    """A bag with these streams, and a hub: what one finds the other stores and shows."""

    def __init__(self, folder, streams, seconds):
        self.streams = streams
        self.end_s = BEGIN_S + seconds
        self.nurse = board(at_s=self.end_s)
        self.store = Store(folder / "hub.sqlite")
        self.hub = Receiver(keyring(), now_us=lambda: 9)
        self.rooms = Rooms(words=Words.load(), now_ns=lambda: self.end_s * S)
        self.epoch = Bags().epoch()
        self.chains = Chains(streams)
        self.writer = RecordWriter()
        self.writer.instrument(BOX, VISIT.t_ns)
        self.nurse.visit(VISIT, "visit")
        for stream in streams:
            stages = describe(stream)
            self.writer.stream(stream, stages, VISIT.t_ns)
            self.nurse.describe([stream], views={stream.name: view_of(stages)})
        self.nurse.describe([], cards=[card_of(BOX.key, streams)])
        self.nurse.feed(InstrumentEvent(BOX.key, VISIT.t_ns, InstrumentState.MEASURING))
        self.writer.add(InstrumentEvent(BOX.key, VISIT.t_ns, InstrumentState.MEASURING))
        self.writer.bag(VisitBody(VisitStep.OPEN, VISIT.code), VISIT.t_ns)
        self.hub.take(f"besace/v1/{BAG}/up/live", self.epoch.header.payload)

    def measure(self, samples):
        """A second of every stream at a time."""
        n = round(FS)
        for second in range(len(samples[0]) // n):
            part = slice(second * n, (second + 1) * n)
            t_ns = (BEGIN_S + second) * S
            blocks = [
                SampleBlock(s.name, part.start, t_ns, x[part]) for s, x in zip(self.streams, samples, strict=True)
            ]
            for block in blocks:
                self.writer.add(block)
            for shown in self.chains.push_all(blocks):
                self.nurse.feed(shown)
                if isinstance(shown, Analysis):
                    self.writer.add(shown)
            for batch in self.writer.cut(t_ns + S, VISIT.id):
                self.hub.take(f"besace/v1/{BAG}/up/live", self.epoch.row(batch).payload)
        pending = self.hub.collect()
        self.store.commit(pending.headers, pending.rows, pending.visits, pending.holes)
        self.hub.committed(pending)
        for heard in pending.heard:
            self.rooms.hear(heard)
        assert self.rooms.failed == 0

    def stored(self):
        """Every analysis on the hub's disk."""
        reader, found = RecordReader(), []
        for _, plaintext in self.store.plaintexts(BAG, self.epoch.id):
            batch = wire.decode(plaintext)
            assert isinstance(batch, Batch)
            found += [item for item in reader.read(batch) if isinstance(item, Analysis)]
        return found

    def pages(self):
        """The newest picture on the nurse's and on the doctor's page."""
        return [b.messages()[0][-1] for b in (self.nurse, self.rooms.rooms[BAG].board)]


@pytest.fixture
def way(tmp_path):
    made = []

    def make(streams, seconds):
        made.append(Way(tmp_path, streams, seconds))
        return made[-1]

    yield make
    for one in made:
        one.store.close()


def number(picture, name):
    return next(n for n in picture["numbers"] if n["id"] == name)


def ecg(rate, seconds):
    t = np.arange(round(seconds * FS)) / FS
    spikes = np.exp(-((((t * rate / 60) % 1 - 0.5) * 60 / rate / 0.015) ** 2))
    return np.round(500 * spikes + np.random.default_rng(1).normal(0, 3, t.size)).astype(np.int32)


def infrared(rate, seconds):
    return np.round(90_000 - 900 * wave(beats(rate, seconds), seconds, FS)).astype(np.int32)


@pytest.mark.parametrize(("pulse", "notices"), [(76, [DEFICIT]), (99, [])])
def test_a_pulse_deficit_is_on_the_hub_s_disk_and_on_both_pages(way, pulse, notices):
    bag = way([ECG, INFRARED], 25)
    bag.measure([ecg(100, 25), infrared(pulse, 25)])
    events = [e for a in bag.stored() for e in a.events if e.kind is Happening.PULSE_DEFICIT]
    assert bool(events) == bool(notices)
    assert all(10 * FS < e.index <= 25 * FS for e in events)
    for picture in bag.pages():
        assert [n["text"] for n in picture["notices"]] == notices
        assert int(number(picture, "hr")["text"]) == pytest.approx(100, abs=2)
        assert int(number(picture, "pr")["text"]) == pytest.approx(pulse, abs=2)


def test_a_saturation_without_a_validated_curve_is_stored_and_shown_by_neither_page(way):
    bag = way([RED, INFRARED], 20)
    lights = light(96.0, seconds=20.0, fs_hz=FS, ambient=0.0)
    bag.measure([lights.red.astype(np.int32), lights.ir.astype(np.int32)])
    assert [a.spo2.pct for a in bag.stored() if a.spo2 and a.spo2.pct is not None]
    for picture in bag.pages():
        shown = number(picture, "spo2")
        assert (shown["text"], shown["reason"]) == ("– –", "Capteur non étalonné")


def exchanged(red, ir):
    return ir, red


def saturated(red, ir):
    return red, np.full(ir.size, 2**21 - 1)


def clipped(red, ir):
    return red, np.minimum(ir, np.quantile(ir, 0.6))


def disconnected(red, ir):
    return np.zeros(red.size), np.zeros(ir.size)


def lamp(red, ir):
    """The same flicker in both, and no finger."""
    flicker = 600.0 * np.sin(2 * np.pi * 1.7 * np.arange(red.size) / FS)
    noise = np.random.default_rng(4).normal(0, 1, (2, red.size))
    return 90_000 + flicker + noise[0], 90_000 + flicker + noise[1]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda red, ir: (red, ir), ""),
        (exchanged, "Rouge et infrarouge inversés : changez de capteur"),
        (saturated, "Signal saturé : vérifiez la pose"),
        (clipped, "Signal saturé : vérifiez la pose"),
        (disconnected, "Capteur débranché : rebranchez-le"),
        (lamp, "Trop de lumière : couvrez le capteur"),
    ],
)
def test_what_is_wrong_with_a_raw_sensor_is_named_on_both_pages(way, wrong, said):
    bag = way([RED, INFRARED], 20)
    lights = light(96.0, seconds=20.0, fs_hz=FS, ambient=0.0)
    bag.measure([x.astype(np.int32) for x in wrong(lights.red, lights.ir)])
    for picture in bag.pages():
        (tile,) = picture["tiles"]
        assert tile["text"] == (said or "doigt en place")
        assert tile["mark"] == ("todo" if said else "ok")
