"""The camera on the nurse's page: what it sees, a press for a still or a clip, then keep or reject.

GET /camera, GET /camera/live (motion JPEG; while a page shows it the camera is on), GET /camera/taken (what waits for a
judgement), and POST /camera/still, /clip, /keep, /reject from its forms. Works without a script.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from html import escape
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from agent.display import web
from agent.display.words import Words
from agent.errors import BesaceError

if TYPE_CHECKING:
    from agent.drivers.camera import Frame, Viewfinder
    from agent.pictures import Pictures

BOUNDARY = "besace-frame"
KIND = f"multipart/x-mixed-replace; boundary={BOUNDARY}"
STALE_S = 2.0
GREY = bytes.fromhex(
    "ffd8ffdb0043000804040404040505050505050606060606060606060606060607070708080807070706060707080808080909090808080809"
    "090a0a0a0c0c0b0b0e0e0e111114ffc4004c000101000000000000000000000000000000060101000000000000000000000000000000011001"
    "0000000000000000000000000000000011010100000000000000000000000000000021ffc00011080010001003012200021100031100ffda00"
    "0c03010002110311003f009f00515fffd9"
)
"""A grey square of 16 x 16 pixels."""


def camera_routes(camera: "Callable[[], Pictures | None]", words: Words) -> list[Route]:
    """The routes; `camera` gives the bag's shutter, None while there is none."""

    def shutter() -> "Pictures":
        found = camera()
        if found is None:
            raise HTTPException(404)
        return found

    async def page(request: Request) -> Response:
        return web.page(document(camera(), words, said=request.query_params.get("said", "")))

    async def live(_: Request) -> Response:
        return StreamingResponse(parts(shutter().viewfinder), media_type=KIND)

    async def taken(_: Request) -> Response:
        waiting = shutter().waiting
        if waiting is None:
            raise HTTPException(404)
        return Response(waiting.first, media_type="image/jpeg")

    def press(act: "Callable[[Pictures], Awaitable[str]]") -> Callable[[Request], Awaitable[Response]]:
        async def pressed(_: Request) -> Response:
            try:
                said = await act(shutter())
            except BesaceError:
                said = "refused"
            return RedirectResponse(f"/camera?said={said}" if said else "/camera", 303)

        return pressed

    async def still(pictures: "Pictures") -> str:
        pictures.still()
        return ""

    async def clip(pictures: "Pictures") -> str:
        await pictures.clip()
        return ""

    async def keep(pictures: "Pictures") -> str:
        await pictures.keep()
        return "kept"

    async def reject(pictures: "Pictures") -> str:
        pictures.reject()
        return ""

    presses = {"still": still, "clip": clip, "keep": keep, "reject": reject}
    return [
        Route("/camera", page),
        Route("/camera/live", live),
        Route("/camera/taken", taken),
        *(Route(f"/camera/{name}", press(act), methods=["POST"]) for name, act in presses.items()),
    ]


async def parts(finder: "Viewfinder", gone: Callable[[], bool] = lambda: False) -> AsyncIterator[bytes]:
    """Every new frame, until the browser goes away or `gone`; grey after STALE_S without one: no old picture stands."""
    last: Frame | None = None
    finder.open()
    try:
        while not gone():
            try:
                async with asyncio.timeout(STALE_S):
                    last = await finder.after(last)
                jpeg = last.jpeg
            except TimeoutError:
                jpeg = GREY
            head = f"--{BOUNDARY}\r\ncontent-type: image/jpeg\r\ncontent-length: {len(jpeg)}\r\n\r\n"
            yield head.encode() + jpeg + b"\r\n"
    finally:
        finder.close()


def document(pictures: "Pictures | None", words: Words, *, said: str = "") -> bytes:
    """The page: the camera, or what waits."""
    back = _key("", "back", words, method="get")
    if pictures is None:
        body = f"<p>{escape(words('page.camera_none'))}</p><nav>{back}</nav>"
    elif pictures.waiting is not None:
        body = picture(f"/camera/taken?{pictures.waiting.t_ns}", "") + (
            f"<p>{escape(words('page.camera_judge'))}</p>"
            f"<nav>{_key('camera/keep', 'keep', words, style='go')}{_key('camera/reject', 'reject', words)}{back}</nav>"
        )
    else:
        body = picture("/camera/live", words("page.camera_live")) + (
            f"<nav>{_key('camera/still', 'still', words, style='go')}{_key('camera/clip', 'clip', words)}{back}</nav>"
        )
    told = {"kept": "page.camera_kept", "refused": "page.refused"}.get(said)
    status = f'<p role="status">{escape(words(told))}</p>' if told else ""
    return web.document(words("page.camera"), status + body, style="camera")


def picture(where: str, alt: str) -> str:
    """The picture, as large as the page has room for."""
    return f'<p class="picture"><img src="{where}" alt="{escape(alt)}"></p>'


def _key(where: str, name: str, words: Words, *, method: str = "post", style: str = "") -> str:
    button = f'<button class="{style}">{escape(words(f"page.camera_{name}"))}</button>'
    return f'<form class="{style}" method="{method}" action="/{where}">{button}</form>'
