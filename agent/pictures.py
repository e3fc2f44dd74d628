"""Stills and clips: taken on a press, looked at, then kept or rejected. What is rejected never leaves the bag's memory.

One picture at a time waits for its judgement; it is in memory alone, and gone when the visit ends or nobody judges it.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from agent.drivers.base import Driver
from agent.errors import StateError
from agent.model import FilePart, Instrument, Media
from agent.recorder import Recorder
from agent.transport.files import LONGEST, cut_file

if TYPE_CHECKING:
    from agent.drivers.camera import Frame, Viewfinder

CLIP_S = 10.0
FORGOTTEN_S = 120.0
STALE_S = 1.0

Store = Callable[[Instrument, list[FilePart]], Awaitable[None]]


@runtime_checkable
class Seeing(Protocol):
    """A driver that is a camera's. Known by its viewfinder, so that a bag without a camera imports none of its code."""

    instrument: Instrument
    viewfinder: "Viewfinder"


@dataclass(frozen=True, slots=True, eq=False)
class Taken:
    """What waits for a judgement: one frame, or a clip's frames one behind the other (motion JPEG)."""

    t_ns: int
    media: Media
    data: bytes
    first: bytes
    """The frame to judge it by."""


class Pictures:
    """The shutter of one camera."""

    def __init__(
        self, instrument: Instrument, viewfinder: "Viewfinder", *, store: Store, now_ns: Callable[[], int]
    ) -> None:
        self._instrument = instrument
        self.viewfinder = viewfinder
        self._store = store
        self._now_ns = now_ns
        self._waiting: Taken | None = None

    @property
    def waiting(self) -> Taken | None:
        """What is still to be judged; forgotten after FORGOTTEN_S."""
        if self._waiting is not None and self._now_ns() - self._waiting.t_ns > FORGOTTEN_S * 1e9:
            self._waiting = None
        return self._waiting

    def still(self) -> Taken:
        """Take the frame that is seen now; StateError when none is, or another picture waits."""
        self._free()
        frame = self.viewfinder.newest
        if frame is None or self._now_ns() - frame.t_ns > STALE_S * 1e9:
            raise StateError("the camera shows nothing\nNext: open the preview and wait for the picture")
        _check_length(frame)
        self._waiting = Taken(frame.t_ns, Media.JPEG, frame.jpeg, frame.jpeg)
        return self._waiting

    async def clip(self, seconds: float = CLIP_S) -> Taken:
        """Take every frame for so long (shorter when it would become longer than a file may be)."""
        self._free()
        kept: list[bytes] = []
        size, began_ns, last_ns = 0, 0, 0
        self.viewfinder.open()
        try:
            async for frame in self.viewfinder.frames():
                _check_length(frame)
                began_ns = began_ns or frame.t_ns
                if frame.t_ns - began_ns > seconds * 1e9 or size + len(frame.jpeg) > LONGEST:
                    break
                kept.append(frame.jpeg)
                size += len(frame.jpeg)
                last_ns = frame.t_ns
        finally:
            self.viewfinder.close()
        self._free()
        self._waiting = Taken(last_ns, Media.MOTION_JPEG, b"".join(kept), kept[0])
        return self._waiting

    def _free(self) -> None:
        if self.waiting is not None:
            raise StateError("a picture waits to be kept or rejected\nNext: keep it or reject it")

    async def keep(self) -> str:
        """Give what waits to the visit; its hash. StateError when nothing waits, or without a visit (it waits on)."""
        taken = self.waiting
        if taken is None:
            raise StateError("no picture waits\nNext: take one")
        parts = cut_file(self._instrument.key, taken.t_ns, taken.media, taken.data)
        await self._store(self._instrument, parts)
        self._waiting = None
        return parts[0].digest.hex()

    def reject(self) -> None:
        """Forget what waits; harmless when nothing does."""
        self._waiting = None


def pictures_of(driver: Driver, recorder: Recorder, now_ns: Callable[[], int]) -> Pictures | None:
    """The shutter of a driver that is a camera's."""
    if not isinstance(driver, Seeing):
        return None
    return Pictures(driver.instrument, driver.viewfinder, store=recorder.store_file, now_ns=now_ns)


def _check_length(frame: "Frame") -> None:
    if len(frame.jpeg) > LONGEST:
        raise StateError(f"a picture of {len(frame.jpeg)} bytes is longer than a file may be\nNext: a smaller picture")
