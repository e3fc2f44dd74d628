"""The camera on the nurse's page: preview, press, keep or reject, from forms alone."""

import asyncio
import contextlib
import http.client
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from agent.display.camera_page import document
from agent.display.page import serve_nurse
from agent.display.words import Words
from agent.drivers.camera import Frame, Viewfinder
from agent.drivers.jpeg import cleaned
from agent.model import Instrument
from agent.pictures import Pictures
from tests.display.preview import Gestures, new_board
from tests.peers.pages import ask, serving

RECORDED = (Path(__file__).parents[1] / "captures" / "camera.mjpeg").read_bytes()
FRAMES = [cleaned(b"\xff\xd8" + piece) for piece in RECORDED.split(b"\xff\xd8")[1:]]


class Bag:
    """A bag with a camera that shows recorded frames while somebody looks."""

    def __init__(self):
        self.t_ns = 10**9
        self.stored = []
        self.viewfinder = None
        self.pictures = None

    async def serve(self, ready):
        self.viewfinder = Viewfinder()
        self.pictures = Pictures(
            Instrument("camera", "c"), self.viewfinder, store=self.store, now_ns=lambda: self.t_ns
        )  # fmt: skip
        board = new_board()
        show = asyncio.create_task(self.show())
        try:
            await serve_nurse(
                board, Gestures(board), camera=lambda: self.pictures, host="127.0.0.1", port=0, ready=ready
            )
        finally:
            show.cancel()

    async def show(self):
        for k in range(10**6):
            await asyncio.sleep(0.01)
            self.t_ns += 100_000_000
            if self.viewfinder.wanted:
                self.viewfinder.show(Frame(self.t_ns, FRAMES[k % len(FRAMES)]))

    async def store(self, _instrument, parts):
        self.stored.append(b"".join(part.data for part in parts))


@pytest.fixture
def bag():
    one = Bag()
    with serving(one.serve) as (one.url,):
        yield one


@contextlib.contextmanager
def looking(bag):
    """A browser that shows the preview; gives what it has read so far."""
    where = urlsplit(bag.url)
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=10)
    connection.request("GET", "/camera/live")
    answer = connection.getresponse()
    assert answer.headers["content-type"] == "multipart/x-mixed-replace; boundary=besace-frame"
    try:
        yield answer
    finally:
        connection.close()


def press(bag, name):
    status, headers, _ = ask(bag.url, f"/camera/{name}", method="POST")
    assert status == 303
    return headers["location"]


def test_the_preview_is_live_and_the_camera_off_when_nobody_looks(bag):
    assert "/camera/live" in ask(bag.url, "/camera")[2].decode()
    assert not bag.viewfinder.wanted
    with looking(bag) as stream:
        data = stream.read(6000)
        assert any(frame in data for frame in FRAMES)
        assert bag.viewfinder.wanted
    for _ in range(200):
        if not bag.viewfinder.wanted:
            break
        ask(bag.url, "/camera")
    assert not bag.viewfinder.wanted


def test_a_still_is_judged_then_kept(bag):
    with looking(bag) as stream:
        stream.read(1500)
        assert press(bag, "still") == "/camera"
    page = ask(bag.url, "/camera")[2].decode()
    assert "Garder cette image" in page
    taken = ask(bag.url, "/camera/taken?1")[2]
    assert taken in FRAMES
    assert press(bag, "keep") == "/camera?said=kept"
    assert bag.stored == [taken]
    assert "Image gardée" in ask(bag.url, "/camera?said=kept")[2].decode()


def test_a_rejected_one_is_gone(bag):
    with looking(bag) as stream:
        stream.read(1500)
        press(bag, "still")
    press(bag, "reject")
    assert ask(bag.url, "/camera/taken")[0] == 404
    assert press(bag, "keep") == "/camera?said=refused"
    assert bag.stored == []


def test_a_press_without_a_picture_is_refused(bag):
    assert press(bag, "still") == "/camera?said=refused"
    assert "Geste refusé" in ask(bag.url, "/camera?said=refused")[2].decode()


def test_a_bag_without_a_camera_says_so():
    words = Words.load()
    assert "Pas de caméra" in document(None, words).decode()
    assert "<script" not in document(None, words, said="<script>").decode()
