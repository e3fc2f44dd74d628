"""Stills and clips: kept ones go to the visit whole, rejected ones nowhere."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from agent.drivers.camera import Frame, Viewfinder
from agent.drivers.jpeg import cleaned
from agent.errors import StateError
from agent.model import Instrument, Media
from agent.pictures import FORGOTTEN_S, Pictures

RECORDED = (Path(__file__).parent / "captures" / "camera.mjpeg").read_bytes()
FRAMES = [cleaned(b"\xff\xd8" + piece) for piece in RECORDED.split(b"\xff\xd8")[1:]]
S = 1_000_000_000


class Bag:
    """A shutter, a hand-driven clock and what was stored."""

    def __init__(self):
        self.t_ns = 100 * S
        self.stored = []
        self.visit = True
        self.viewfinder = Viewfinder()
        self.pictures = Pictures(
            Instrument("camera", "c"), self.viewfinder, store=self.store, now_ns=lambda: self.t_ns
        )  # fmt: skip

    async def store(self, instrument, parts):
        if not self.visit:
            raise StateError("none is open")
        self.stored.append((instrument.key, parts[0].media, b"".join(part.data for part in parts)))

    def show(self, k, after_s=0.1):
        self.t_ns += round(after_s * S)
        self.viewfinder.show(Frame(self.t_ns, FRAMES[k % len(FRAMES)]))


def test_a_kept_still_goes_to_the_visit_as_it_was_seen():
    bag = Bag()
    bag.show(0)
    taken = bag.pictures.still()
    bag.show(1)  # the camera goes on
    digest = asyncio.run(bag.pictures.keep())
    assert bag.stored == [("camera", Media.JPEG, FRAMES[0])]
    assert taken.data == FRAMES[0]
    assert len(digest) == 64
    assert bag.pictures.waiting is None


def test_a_rejected_one_never_leaves():
    bag = Bag()
    bag.show(0)
    bag.pictures.still()
    bag.pictures.reject()
    assert bag.pictures.waiting is None
    with pytest.raises(StateError, match="no picture waits"):
        asyncio.run(bag.pictures.keep())
    assert bag.stored == []


def test_one_waits_at_a_time_and_nothing_is_taken_blind():
    bag = Bag()
    with pytest.raises(StateError, match="shows nothing"):
        bag.pictures.still()
    bag.show(0)
    bag.t_ns += 2 * S
    with pytest.raises(StateError, match="shows nothing"):
        bag.pictures.still()  # what was seen two seconds ago is not what is seen
    bag.show(1)
    bag.pictures.still()
    with pytest.raises(StateError, match="waits to be kept or rejected"):
        bag.pictures.still()


def test_nobody_judged_it_so_it_is_gone():
    bag = Bag()
    bag.show(0)
    bag.pictures.still()
    bag.t_ns += round((FORGOTTEN_S + 1) * S)
    assert bag.pictures.waiting is None


def test_without_a_visit_it_goes_on_waiting():
    bag = Bag()
    bag.visit = False
    bag.show(0)
    bag.pictures.still()
    with pytest.raises(StateError):
        asyncio.run(bag.pictures.keep())
    assert bag.pictures.waiting is not None


def clip_of(bag, frames, **settings):
    async def run():
        taking = asyncio.create_task(bag.pictures.clip(**settings))
        await asyncio.sleep(0)
        assert bag.viewfinder.wanted  # a clip keeps the camera on by itself
        for k in range(frames):
            bag.show(k)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        return await asyncio.wait_for(taking, 5)

    return asyncio.run(run())


def test_a_clip_is_every_frame_of_ten_seconds():
    bag = Bag()
    taken = clip_of(bag, 110)
    assert taken.media is Media.MOTION_JPEG
    assert taken.first == FRAMES[0]
    assert taken.data == b"".join(FRAMES[k % len(FRAMES)] for k in range(101))  # 0.0 s to 10.0 s
    assert not bag.viewfinder.wanted
    asyncio.run(bag.pictures.keep())
    assert bag.stored[0][2] == taken.data


def test_a_clip_never_becomes_longer_than_a_file_may_be(monkeypatch):
    monkeypatch.setattr("agent.pictures.LONGEST", 3000)
    taken = clip_of(Bag(), 20)
    assert 2000 < len(taken.data) <= 3000


def test_a_frame_longer_than_a_file_may_be_is_refused(monkeypatch):
    monkeypatch.setattr("agent.pictures.LONGEST", len(FRAMES[0]) - 1)
    bag = Bag()
    with pytest.raises(StateError, match="longer than a file may be"):
        clip_of(bag, 1)
    assert not bag.viewfinder.wanted
    bag.viewfinder.open()
    bag.show(0)
    with pytest.raises(StateError, match="longer than a file may be"):
        bag.pictures.still()
    assert bag.pictures.waiting is None


def test_a_bag_without_a_camera_imports_none_of_its_code():
    told = (
        "import sys, agent.app; print([m for m in sys.modules if m in {'agent.drivers.camera', 'agent.drivers.jpeg'}])"
    )
    assert subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True).stdout == "[]\n"
