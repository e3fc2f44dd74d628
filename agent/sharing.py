"""The camera's picture for a watching doctor: live, five times a second, stored nowhere.

A frame is shared while a visit is open, a doctor looks and the nurse has the preview open; without one of them nothing
leaves. What the link cannot carry in time is not sent at all.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from agent.drivers.base import Driver
from agent.model import Visit
from agent.pictures import Seeing
from agent.recorder import Recorder
from agent.transport.messages import Preview
from agent.transport.wire import PREVIEW_BYTES

if TYPE_CHECKING:
    from agent.drivers.camera import Frame

EVERY_NS = 190_000_000  # on a grid of its own: a little more than five a second, whatever the camera's pace


class Sharing:
    """Called with every frame the viewfinder shows."""

    def __init__(
        self,
        instrument: str,
        *,
        visit: Callable[[], Visit | None],
        watched: Callable[[], bool],
        show: Callable[[Preview], None],
    ) -> None:
        self._instrument = instrument
        self._visit = visit
        self._watched = watched
        self._show = show
        self._due_ns = 0
        self.too_big = 0

    def __call__(self, frame: "Frame") -> None:
        """Share this frame if it may be and is due."""
        visit = self._visit()
        if visit is None or not self._watched() or frame.t_ns < self._due_ns:
            return
        if len(frame.jpeg) > PREVIEW_BYTES:
            self.too_big += 1
            return
        self._due_ns = max(self._due_ns + EVERY_NS, frame.t_ns)
        self._show(Preview(frame.t_ns // 1000, visit.id, self._instrument, frame.jpeg))


def share(driver: Driver, recorder: Recorder, *, watched: Callable[[], bool], show: Callable[[Preview], None]) -> None:
    """Let a driver that is a camera's share what its viewfinder shows."""
    if isinstance(driver, Seeing):
        sharing = Sharing(driver.instrument.key, visit=lambda: recorder.visit, watched=watched, show=show)
        driver.viewfinder.shown = sharing
