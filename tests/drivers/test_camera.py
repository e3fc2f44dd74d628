"""The camera: on only while somebody looks, frames as it gave them but cleaned; recorded frames, PyAV where it is."""

import asyncio
import threading
import time
from pathlib import Path

import pytest

from agent.drivers.camera import CameraDriver, PyAvSource, RecordedSource
from agent.drivers.jpeg import FrameDecoder, cleaned
from agent.drivers.opening import open_driver
from agent.errors import InstrumentError, InstrumentReason
from agent.model import Instrument, InstrumentEvent, InstrumentState
from tests.peers.waiting import until

RECORDED = Path(__file__).parents[1] / "captures" / "camera.mjpeg"
FRAMES = [b"\xff\xd8" + piece for piece in RECORDED.read_bytes().split(b"\xff\xd8")[1:]]
LOOPBACK = sorted(Path("/dev").glob("video*"))


class Recorded:
    """A camera that gives recorded frames in turn, every 10 ms; counts how often it was switched on."""

    def __init__(self, frames=FRAMES, *, most=10**9, silent=None):
        self.frames_, self.most, self.silent = frames, most, silent
        self.opened = 0
        self.on = threading.Event()

    def __call__(self, path):
        self.path = path
        return self

    def frames(self):
        self.opened += 1
        self.on.set()
        try:
            for k in range(self.most):
                time.sleep(0.01)
                yield self.frames_[k % len(self.frames_)]
            if self.silent:
                self.silent.wait(10)
        finally:
            self.on.clear()


def scenario(source, body, path=RECORDED):
    """A driver at work beside `body(driver, items, task)`."""

    async def main():
        driver = CameraDriver(Instrument("camera", "c"), str(path), FrameDecoder("camera"), source=source, patience_s=0)
        items = []
        task = asyncio.create_task(driver.run(items.append))
        try:
            async with asyncio.timeout(20):
                return await body(driver, items, task)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    return asyncio.run(main())


def states(items):
    return [i.state for i in items if isinstance(i, InstrumentEvent) and i.state]


def test_it_is_off_until_somebody_looks_and_off_again_when_nobody_does():
    source = Recorded()

    async def body(driver, items, _):
        await asyncio.sleep(0.05)
        assert source.opened == 0
        driver.viewfinder.open()
        seen = []
        async for frame in driver.viewfinder.frames():
            seen.append(frame)
            if len(seen) == 6:
                break
        driver.viewfinder.close()
        await until(lambda: not source.on.is_set())
        assert driver.viewfinder.newest is None
        driver.viewfinder.open()
        await until(lambda: driver.viewfinder.newest is not None)
        driver.viewfinder.close()
        return [frame.jpeg for frame in seen], states(items)

    seen, said = scenario(source, body)
    assert set(seen) <= {cleaned(frame) for frame in FRAMES}
    assert source.opened == 2
    assert said[:3] == [InstrumentState.CONNECTING, InstrumentState.READY, InstrumentState.MEASURING]
    assert InstrumentState.READY in said[3:]


def test_two_who_look_share_one_camera():
    source = Recorded()

    async def body(driver, _items, _task):
        finder = driver.viewfinder
        finder.open()
        finder.open()
        await until(lambda: finder.newest is not None)
        finder.close()
        before = finder.newest
        await until(lambda: finder.newest is not before)
        return source.opened

    assert scenario(source, body) == 1


def test_damaged_frames_are_counted_and_never_shown():
    source = Recorded([FRAMES[0], FRAMES[0][:300], b"junk"])

    async def body(driver, _items, _task):
        driver.viewfinder.open()
        await until(lambda: driver.decoder.counters.damaged >= 4)
        return {driver.viewfinder.newest.jpeg}

    assert scenario(source, body) == {cleaned(FRAMES[0])}


@pytest.mark.parametrize("wrong", ["ended", "busy", "silent"])
def test_a_camera_that_goes_fails_or_falls_silent_is_said(wrong, monkeypatch):
    monkeypatch.setattr("agent.drivers.camera.PERIOD_S", -0.8)  # a limit of 0.2 s
    waiting = threading.Event()

    class Busy(Recorded):
        def frames(self):
            raise InstrumentError(InstrumentReason.BUSY, "in use")
            yield b""

    source = {"ended": Recorded(most=3), "busy": Busy(), "silent": Recorded(most=3, silent=waiting)}[wrong]
    reason = {"ended": InstrumentReason.LINK_LOST, "busy": InstrumentReason.BUSY, "silent": InstrumentReason.SILENT}

    async def body(driver, _items, task):
        driver.viewfinder.open()
        with pytest.raises(InstrumentError) as error:
            await task
        waiting.set()
        return error.value.reason

    assert scenario(source, body) is reason[wrong]


def test_an_absent_camera_is_not_found(tmp_path):
    async def body(_driver, _items, task):
        with pytest.raises(InstrumentError) as error:
            await task
        return error.value.reason

    assert scenario(Recorded(), body, tmp_path / "video0") is InstrumentReason.NOT_FOUND


def test_the_catalogue_opens_it():
    driver = open_driver("camera", "/dev/v4l/by-id/any")
    assert isinstance(driver, CameraDriver)
    assert driver.streams == ()


def test_a_recording_stands_in_for_a_camera(monkeypatch, tmp_path):
    monkeypatch.setattr("agent.drivers.camera.PERIOD_S", 0.0)
    frames = RecordedSource(str(RECORDED)).frames()
    assert [next(frames) for _ in range(8)] == FRAMES * 2
    with pytest.raises(InstrumentError):
        next(RecordedSource(str(tmp_path / "none")).frames())
    assert open_driver("camera", f"mjpeg:{RECORDED}")._source is RecordedSource


def test_frames_come_undecoded_out_of_pyav():
    pytest.importorskip("av", reason="besace[camera] is not installed")
    assert list(PyAvSource(str(RECORDED), "mjpeg").frames()) == FRAMES
    with pytest.raises(InstrumentError) as error:
        list(PyAvSource("/dev/none").frames())
    assert error.value.reason is InstrumentReason.CANNOT_OPEN


@pytest.mark.skipif(not LOOPBACK, reason="the kernel has no video device (v4l2loopback)")
def test_a_real_device_gives_whole_pictures():
    pytest.importorskip("av", reason="besace[camera] is not installed")
    for frame, _ in zip(PyAvSource(str(LOOPBACK[0])).frames(), range(5), strict=False):
        assert cleaned(frame)
