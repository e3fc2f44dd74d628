"""A bag's room at the hub: what the doctor may look at, whatever order an outage is filled in."""

import asyncio
import dataclasses
from pathlib import Path

import numpy as np
import pytest

from agent.display.words import Words
from agent.drivers.jpeg import cleaned
from agent.model import Gap, GapReason, Instrument, Kind, Reading, SampleBlock, Signal, Stream, Unit
from agent.transport.messages import Batch, Preview, Record, VisitBody, VisitStep, Waveform
from agent.transport.records import RecordWriter
from hub.receiver import Heard
from hub.rooms import EPOCHS_KEPT, WAITING, Rooms
from tests.peers.cpts import BAG, HEADER

PLETH = Stream("berry-bm1000.pleth", Signal.PLETH, "berry-bm1000", 100.0, 1.0, "1")
S = 1_000_000_000
CAMERA = (Path(__file__).parents[1] / "captures" / "camera.mjpeg").read_bytes()


@pytest.fixture
def rooms():
    return Rooms(words=Words.load(), now_ns=lambda: 10_000 * S)


class Bag:
    """Batches as a bag's recorder makes them."""

    def __init__(self, rooms, device=BAG, number=1, chain=b"outbox-1"):
        self.rooms, self.device = rooms, device
        self.header = dataclasses.replace(
            HEADER, device=device, number=number, chain=chain, epoch=chain[:4] + number.to_bytes(2), demo=False
        )
        self.writer = RecordWriter()
        self.writer.instrument(Instrument("berry-bm1000", "BM1000"), 0)
        self.writer.stream(PLETH, (), 0)

    def heard(self, batch):
        return Heard(self.device, self.header.epoch, self.header, batch)

    def batches(self, t_s, visit, *what):
        for item in what:
            if isinstance(item, VisitBody):
                self.writer.bag(item, t_s * S)
            else:
                self.writer.add(item)
        return [self.heard(batch) for batch in self.writer.cut(t_s * S, visit)]

    def say(self, t_s, visit, *what):
        for heard in self.batches(t_s, visit, *what):
            self.rooms.hear(heard)

    def open(self, t_s, n, step=VisitStep.OPEN):
        self.say(t_s, bytes([n]) * 16, VisitBody(step, f"{n:04d}"))

    def close(self, t_s, n, step=VisitStep.CLOSE):
        self.say(t_s, bytes([n]) * 16, VisitBody(step, f"{n:04d}"))


def code(rooms, device=BAG):
    visit = rooms.rooms[device].visit
    return None if visit is None else visit.code


class TestVisits:
    def test_a_visit_is_its_holder_s_by_badge_and_by_label_once_the_log_has_it(self):
        labels = {}
        rooms = Rooms(words=Words.load(), now_ns=lambda: 10_000 * S, who=lambda badge: labels.get(badge, ""))
        bag = Bag(rooms)

        def shown():
            return rooms.rooms[BAG].board.messages()[0][-1]["holder"]

        bag.say(1, bytes([1]) * 16, VisitBody(VisitStep.OPEN, "0001", b"nurse1"))
        assert shown() == b"nurse1".hex()
        labels[b"nurse1"] = "Mme D."
        assert shown() == "Mme D."
        bag.close(2, 1)
        assert shown() == ""
        bag.open(3, 2)
        assert shown() == ""  # nobody's bag

    def test_a_room_is_found_by_the_code_while_the_visit_is_open(self, rooms):
        bag = Bag(rooms)
        assert rooms.find("0001") is None
        bag.open(1, 1)
        assert rooms.find("0001") is rooms.rooms[BAG]
        assert rooms.find("0002") is None
        bag.close(2, 1)
        assert rooms.find("0001") is None

    @pytest.mark.parametrize("step", [VisitStep.CLOSE, VisitStep.VOID])
    def test_both_ways_to_end(self, rooms, step):
        bag = Bag(rooms)
        bag.open(1, 1)
        bag.close(2, 1, step)
        assert not rooms.rooms[BAG].open

    def test_a_code_that_two_bags_share_opens_neither(self, rooms):
        Bag(rooms).open(1, 1)
        Bag(rooms, "sac-05").open(1, 1)
        assert rooms.find("0001") is None

    def test_an_older_visit_that_comes_late_does_not_take_the_open_one_s_place(self, rooms):
        """The nurse was offline at the first patient's; the backlog comes while she is at the second's."""
        bag = Bag(rooms)
        bag.open(5000, 2)
        bag.open(100, 1)
        assert code(rooms) == "0002"
        bag.close(900, 1)
        assert code(rooms) == "0002"

    def test_also_from_an_earlier_boot(self, rooms):
        Bag(rooms, number=4).open(10, 2)
        Bag(rooms, number=3).open(90_000, 1)
        assert code(rooms) == "0002"

    def test_an_end_that_comes_before_its_beginning(self, rooms):
        bag = Bag(rooms)
        bag.close(900, 1)
        bag.open(100, 1)
        assert code(rooms) is None

    def test_a_restart_resumes_it(self, rooms):
        Bag(rooms, number=1).open(100, 1)
        Bag(rooms, number=2).open(200, 1, VisitStep.RESUME)
        assert code(rooms) == "0001"

    def test_a_bag_with_a_new_outbox_is_believed(self, rooms):
        Bag(rooms, number=9).open(100, 1)
        Bag(rooms, number=1, chain=b"outbox-2").open(5, 2)
        assert code(rooms) == "0002"

    def test_a_step_without_a_visit_says_nothing(self, rooms):
        Bag(rooms).say(1, None, VisitBody(VisitStep.OPEN, "0001"))
        assert code(rooms) is None


class TestShowing:
    def numbers(self, rooms):
        messages, _ = rooms.rooms[BAG].board.messages()
        return str(messages[-1]["numbers"])  # not the time of day, which may hold any digits

    def test_a_reading_is_shown(self, rooms):
        bag = Bag(rooms)
        bag.open(1, 1)
        bag.say(2, bytes([1]) * 16, Reading("berry-bm1000", Kind.SPO2, Unit.PERCENT, 2 * S, 97))
        assert rooms.failed == 0
        assert "97" in self.numbers(rooms)

    def test_a_batch_that_comes_before_its_births_waits_for_them(self, rooms):
        bag = Bag(rooms)
        (births,) = bag.batches(1, None)
        bag.say(2, bytes(16), Reading("berry-bm1000", Kind.SPO2, Unit.PERCENT, 2 * S, 93))
        assert "93" not in self.numbers(rooms)
        rooms.hear(births)
        assert "93" in self.numbers(rooms)

    def test_only_so_many_wait(self, rooms):
        bag = Bag(rooms)
        bag.batches(1, None)
        for t in range(5 * WAITING):
            bag.say(2 + t, bytes(16), Reading("berry-bm1000", Kind.SPO2, Unit.PERCENT, (2 + t) * S, 93))
        (epoch,) = rooms.rooms[BAG]._epochs.values()
        assert len(epoch.waiting) <= WAITING

    def test_epochs_are_not_kept_for_ever(self, rooms):
        for number in range(1, 4 * EPOCHS_KEPT):
            Bag(rooms, number=number).open(number, 1)
        room = rooms.rooms[BAG]
        assert len(room._epochs) == EPOCHS_KEPT
        assert code(rooms) == "0001"

    @pytest.mark.parametrize(
        "hostile",
        [
            Gap(PLETH.name, 2**62, 2**40, 2 * S, GapReason.LINK),
            SampleBlock(PLETH.name, 2**62, 2 * S, np.zeros(50, np.int32)),
            SampleBlock(PLETH.name, 0, 2 * S, np.full(50, 2**31 - 1, np.int32)),
            Reading("berry-bm1000", Kind.SPO2, Unit.PERCENT, 2 * S, 2**62, 20),
            Reading("berry-bm1000", Kind.SPO2, Unit.MMHG, 2 * S, -5),
        ],
    )
    def test_a_hostile_bag_spoils_no_other_s_room(self, rooms, hostile):
        bag, other = Bag(rooms), Bag(rooms, "sac-05")
        bag.open(1, 1)
        bag.say(2, bytes([1]) * 16, SampleBlock(PLETH.name, 0, 2 * S, np.zeros(50, np.int32)), hostile)
        bag.say(3, bytes([1]) * 16, SampleBlock(PLETH.name, 50, 3 * S, np.zeros(50, np.int32)))
        other.open(1, 2)
        assert rooms.find("0002") is rooms.rooms["sac-05"]

    def test_bytes_that_are_no_waveform(self, rooms):
        bag = Bag(rooms)
        bag.open(1, 1)
        rooms.hear(bag.heard(Batch(2_000_000, bytes(16), (Record(2, 0, 0, Waveform(b"\xff")),))))
        assert rooms.find("0001") is not None


def test_who_is_watched(rooms):
    Bag(rooms).open(1, 1)
    asyncio.run(rooms.rooms[BAG].watch(True))
    assert rooms.watched() == {BAG}
    asyncio.run(rooms.rooms[BAG].watch(False))
    assert rooms.watched() == set()


def test_a_cameras_picture_is_shown_in_its_visit_to_whoever_looks(rooms):
    jpeg = cleaned(b"\xff\xd8" + CAMERA.split(b"\xff\xd8")[1])
    bag = Bag(rooms)
    bag.open(1, 1)
    room = rooms.rooms[BAG]
    rooms.preview(BAG, Preview(5, bytes([1]) * 16, "camera", jpeg))
    assert room.viewfinder.newest is None  # nobody looks
    room.viewfinder.open()
    for device, visit, data in ((BAG, 2, jpeg), ("sac-99", 1, jpeg), (BAG, 1, b"<script>")):
        rooms.preview(device, Preview(5, bytes([visit]) * 16, "camera", data))
    assert room.viewfinder.newest is None
    rooms.preview(BAG, Preview(5, bytes([1]) * 16, "camera", jpeg))
    assert room.viewfinder.newest.jpeg == jpeg


class TestBacklog:
    """Hours of signals come in when a bag is back: they are on disk, nobody looks at them here."""

    def chained(self, rooms, monkeypatch, *said):
        """The first index of each block of signals that went through the bag's chain."""
        bag, pushed = Bag(rooms), []
        bag.say(1, None)
        chains = rooms.rooms[BAG]._epochs[bag.header.epoch].chains
        monkeypatch.setattr(chains, "push", lambda block: pushed.append(block.index) or [])
        for t_s, live in said:
            block = SampleBlock(PLETH.name, t_s, t_s * S, np.arange(100, dtype=np.int32))
            for heard in bag.batches(t_s, bytes(16), block):
                rooms.hear(dataclasses.replace(heard, live=live))
        return pushed

    def test_what_is_long_past_is_not_worked_on_what_an_outage_left_out_is(self, rooms, monkeypatch):
        said = [(9_000, True), (8_990, False), (8_000, False), (3_000, False), (9_001, True)]
        assert self.chained(rooms, monkeypatch, *said) == [9_000, 8_990, 9_001]
