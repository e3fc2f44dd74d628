"""The camera on the nurse's page: what it sees, a press for a still or a clip, then keep or reject.

GET /camera, GET /camera/live (motion JPEG; while a page shows it the camera is on), GET /camera/taken (what waits for a
judgement), and POST /camera/still, /clip, /keep, /reject from its forms. Works without a script.
"""

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
    from agent.pictures import Pictures

BOUNDARY = "besace-frame"


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
        kind = f"multipart/x-mixed-replace; boundary={BOUNDARY}"
        return StreamingResponse(_parts(shutter()), media_type=kind)

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


async def _parts(pictures: "Pictures") -> AsyncIterator[bytes]:
    """Every new frame, until the browser goes away."""
    finder = pictures.viewfinder
    finder.open()
    try:
        async for frame in finder.frames():
            head = f"--{BOUNDARY}\r\ncontent-type: image/jpeg\r\ncontent-length: {len(frame.jpeg)}\r\n\r\n"
            yield head.encode() + frame.jpeg + b"\r\n"
    finally:
        finder.close()


def document(pictures: "Pictures | None", words: Words, *, said: str = "") -> bytes:
    """The page: the camera, or what waits."""
    title = escape(words("page.camera"))
    if pictures is None:
        body = f"<p>{escape(words('page.camera_none'))}</p>"
    elif pictures.waiting is not None:
        body = (
            f'<p><img src="/camera/taken?{pictures.waiting.t_ns}" alt=""></p>'
            f"<p>{escape(words('page.camera_judge'))}</p>" + _key("keep", words) + _key("reject", words)
        )
    else:
        body = f'<p><img src="/camera/live" alt="{escape(words("page.camera_live"))}"></p>'
        body += _key("still", words) + _key("clip", words)
    told = {"kept": "page.camera_kept", "refused": "page.refused"}.get(said)
    status = f'<p role="status">{escape(words(told))}</p>' if told else ""
    return (
        f'<!doctype html><html lang="fr"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="stylesheet" href="/static/page.css"></head><body><main class="camera">'
        f"<h1>{title}</h1>{status}{body}"
        f'<p><a href="/">{escape(words("page.camera_back"))}</a></p></main></body></html>\n'
    ).encode()


def _key(name: str, words: Words) -> str:
    return f'<form method="post" action="/camera/{name}"><button>{escape(words(f"page.camera_{name}"))}</button></form>'
