"""Cameras (otoscope, dermatoscope, wound): UVC over V4L2 through PyAV, whose only importer this is.

A camera is off until somebody wants to see; then its motion-JPEG frames come as it gives them, undecoded, from a thread
of their own. `Viewfinder` has the newest one, cleaned (jpeg.py), for as long as it is wanted.
"""

import asyncio
import itertools
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from agent.drivers.base import Announcer, NowNs, Sink, boot_ns, silence_limit_s
from agent.drivers.jpeg import FrameDecoder
from agent.errors import InstrumentError, InstrumentReason
from agent.model import Instrument, InstrumentState, Stream

SIZE = "1280x720"
FRAMES_PER_S = 10
PERIOD_S = 1 / FRAMES_PER_S
POLL_S = 0.5
SOI = b"\xff\xd8"
RECORDED = "mjpeg:"


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture: when it arrived, the JPEG."""

    t_ns: int
    jpeg: bytes


class FrameSource(Protocol):
    """Where JPEG frames come from; used by one thread."""

    def frames(self) -> Iterator[bytes]:
        """Open, then give frame after frame; InstrumentError when it cannot be opened or is gone."""


class PyAvSource:
    """A V4L2 device's motion JPEG at about FRAMES_PER_S; with another `form` any source that FFmpeg reads."""

    def __init__(self, path: str, form: str = "v4l2") -> None:
        self._path = path
        self._form = form

    def frames(self) -> Iterator[bytes]:
        """Undecoded frames, as the camera coded them."""
        try:
            import av  # noqa: PLC0415 - 0.2 s and 23 MiB that only a bag with a camera pays, while it looks
        except ImportError as error:
            raise InstrumentError(InstrumentReason.CANNOT_OPEN, "a camera needs besace[camera]") from error
        wanted = {"input_format": "mjpeg", "video_size": SIZE, "framerate": str(FRAMES_PER_S)}
        options = wanted if self._form == "v4l2" else {}
        try:
            with av.open(self._path, format=self._form, options=options) as container:
                for packet in container.demux(video=0):
                    if packet.size:
                        yield bytes(packet)
        except (av.error.FFmpegError, OSError, IndexError) as error:
            reason = InstrumentReason.BUSY if getattr(error, "errno", 0) == 16 else InstrumentReason.CANNOT_OPEN
            raise InstrumentError(reason, f"{self._path}: {error}") from error


class RecordedSource:
    """Frames of a motion-JPEG file, over and over at FRAMES_PER_S: a camera for demonstration and tests."""

    def __init__(self, path: str) -> None:
        self._path = path

    def frames(self) -> Iterator[bytes]:
        """What the file holds, cut where each picture begins."""
        try:
            _, *pieces = Path(self._path).read_bytes().split(SOI)
        except OSError as error:
            raise InstrumentError(InstrumentReason.CANNOT_OPEN, f"{self._path}: {error}") from error
        for piece in itertools.cycle(pieces):
            time.sleep(PERIOD_S)
            yield SOI + piece


class Viewfinder:
    """The newest frame of a camera, while somebody wants it: `open` and `close` count, the camera is on between."""

    def __init__(self) -> None:
        self._wanted = 0
        self._changed = asyncio.Event()
        self._news: asyncio.Future[None] | None = None
        self.newest: Frame | None = None
        self.shown: Callable[[Frame], None] = lambda _frame: None

    @property
    def wanted(self) -> bool:
        """Whether anybody looks."""
        return self._wanted > 0

    def open(self) -> None:
        """Somebody looks."""
        self._wanted += 1
        self._changed.set()

    def close(self) -> None:
        """They look away; the last one switches the camera off, and what was seen is forgotten."""
        self._wanted = max(0, self._wanted - 1)
        if not self._wanted:
            self.newest = None
            self._changed.set()

    async def until_wanted(self) -> None:
        """Wait until somebody looks."""
        while not self._wanted:
            self._changed.clear()
            await self._changed.wait()

    async def until_unwanted(self) -> None:
        """Wait until nobody looks."""
        while self._wanted:
            self._changed.clear()
            await self._changed.wait()

    def show(self, frame: Frame) -> None:
        """A new frame came."""
        self.newest = frame
        self.shown(frame)
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    async def after(self, last: Frame | None) -> Frame:
        """The newest frame, waiting for one that is not `last`."""
        while self.newest is None or self.newest is last:
            if self._news is None or self._news.done():
                self._news = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._news)
        return self.newest

    async def frames(self) -> AsyncIterator[Frame]:
        """Every new frame, as long as one keeps asking; who is slow misses some."""
        last: Frame | None = None
        while True:
            last = await self.after(last)
            yield last


class CameraDriver:
    """Runs the camera while its viewfinder is open; between, only looks whether the device is there."""

    def __init__(
        self,
        instrument: Instrument,
        path: str,
        decoder: FrameDecoder,
        *,
        source: Callable[[str], FrameSource] = PyAvSource,
        now_ns: NowNs = boot_ns,
        patience_s: float = 30.0,
    ) -> None:
        self.instrument = instrument
        self.viewfinder = Viewfinder()
        self.decoder = decoder
        self._path = path
        self._source = source
        self._now_ns = now_ns
        self._patience_s = patience_s

    @property
    def streams(self) -> tuple[Stream, ...]:
        """None: pictures are no samples."""
        return self.decoder.streams

    async def run(self, sink: Sink) -> None:
        """Wait for the device, then for somebody to look; give its frames to the viewfinder until nobody does."""
        announcer = Announcer(self.instrument.key, sink, self._now_ns)
        announcer.state(InstrumentState.CONNECTING)
        for _ in range(max(1, round(self._patience_s / POLL_S))):
            if Path(self._path).exists():
                break
            await asyncio.sleep(POLL_S)
        else:
            raise InstrumentError(InstrumentReason.NOT_FOUND, f"{self._path} is absent")
        while True:
            announcer.state(InstrumentState.READY)
            await self.viewfinder.until_wanted()
            announcer.state(InstrumentState.MEASURING)
            await self._look()

    async def _look(self) -> None:
        """One stretch of looking; InstrumentError when the camera ends, fails or falls silent."""
        loop = asyncio.get_running_loop()
        stop = threading.Event()
        ended: asyncio.Future[None] = loop.create_future()
        heard_s = loop.time()
        self.decoder.resume()

        def took(data: bytes) -> None:
            nonlocal heard_s
            heard_s = loop.time()
            self.decoder.feed("frame", data, self._now_ns())
            if self.decoder.newest is not None:
                self.viewfinder.show(Frame(self._now_ns(), self.decoder.newest))

        def end(error: Exception | None) -> None:
            if not ended.done():
                ended.set_exception(error or InstrumentError(InstrumentReason.LINK_LOST, f"{self._path} ended"))

        def read() -> None:
            error: Exception | None = None
            try:
                for data in self._source(self._path).frames():
                    if stop.is_set():
                        break
                    loop.call_soon_threadsafe(took, data)
            except Exception as failed:  # noqa: BLE001 (a thread's error is nobody's: run() shall raise it)
                error = failed
            with suppress(RuntimeError):  # the loop is gone
                loop.call_soon_threadsafe(end, error)

        threading.Thread(target=read, name=f"{self.instrument.key} frames", daemon=True).start()
        unwanted = asyncio.ensure_future(self.viewfinder.until_unwanted())
        limit_s = silence_limit_s(PERIOD_S)
        try:
            while not unwanted.done():
                left_s = heard_s + limit_s - loop.time()
                if left_s <= 0:
                    raise InstrumentError(InstrumentReason.SILENT, f"no frame for {limit_s:.1f} s")
                await asyncio.wait((unwanted, ended), timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
                if ended.done():
                    ended.result()
        finally:
            stop.set()
            unwanted.cancel()
            ended.cancel()
            await asyncio.gather(unwanted, return_exceptions=True)
