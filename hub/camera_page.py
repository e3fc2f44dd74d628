"""The camera of the visit that a doctor has entered, live: what the nurse sees while the preview is open there."""

from collections.abc import AsyncIterator, Awaitable, Callable
from html import escape
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from agent.display import web
from agent.display.camera_page import KIND, parts, picture
from agent.display.words import Words
from agent.drivers.camera import Viewfinder


class Seen(Protocol):
    """A visit as far as its camera goes."""

    @property
    def title(self) -> str:
        """The visit's name on the page."""

    @property
    def viewfinder(self) -> Viewfinder:
        """The newest picture that came."""


Entered = Callable[[Request], tuple[Any, Callable[[], bool]]]
Watch = Callable[[Any, bool], Awaitable[None]]


def camera_routes(entered: Entered, watch: Watch, words: Words) -> list[Route]:
    """GET /camera and GET /camera/live; `entered` gives the visit and what tells that the session is over, or a 401.

    While a page shows the camera the bag is told that a doctor looks, as the main page does.
    """

    async def page(request: Request) -> Response:
        visit, _ = entered(request)
        return web.page(document(visit, words))

    async def live(request: Request) -> Response:
        visit, gone = entered(request)

        async def watched() -> AsyncIterator[bytes]:
            await watch(visit, True)  # noqa: FBT003
            try:
                async for part in parts(visit.viewfinder, gone):
                    yield part
            finally:
                await watch(visit, False)  # noqa: FBT003

        return StreamingResponse(watched(), media_type=KIND)

    return [Route("/camera", page), Route("/camera/live", live)]


def document(visit: Seen, words: Words) -> bytes:
    """The page: one picture that renews itself; grey means that none comes."""
    main = (
        f"{picture('/camera/live', words('page.camera_live'))}<p>{escape(words('page.camera_doctor'))}</p>"
        f'<p><a href="/">{escape(words("page.files_back"))}</a></p>'
    )
    return web.document(f"{words('page.camera')} : {visit.title}", main, style="camera")
