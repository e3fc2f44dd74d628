"""The nurse's page, served by the agent itself on loopback or the bag's own Wi-Fi.

GET / and /static/*, GET /live (server-sent events), POST /visit/new and /visit/end with `{}`, POST /listen with
`{"on": true|false}`. An accepted gesture answers `{"ok": true}`; what it did is seen in the live stream. A gesture
that the bag refuses answers 409 and a French sentence.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol

from agent.errors import BesaceError, StateError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from agent.display.board import Board
    from agent.display.web import Live


class Actions(Protocol):
    """What a finger on the page may do. Each returns when it is done; a BesaceError means it was refused."""

    async def new_visit(self) -> None:
        """Begin a visit with a new code."""

    async def end_visit(self) -> None:
        """End the visit."""

    async def set_listening(self, on: bool, /) -> None:
        """Open or close the microphone."""


async def serve_nurse(
    board: "Board",
    actions: Actions,
    *,
    host: str,
    port: int,
    ready: Callable[[str], object] | None = None,
    names: Iterable[str] = (),
) -> None:
    """Serve the page until cancelled; `ready` gets its address once it listens, port 0 takes a free one.

    Raises StateError when the port is busy, the address is a wildcard or foreign, or starlette is not installed.
    `names` are host names, besides the address itself, that browsers may call the bag by.
    """
    try:
        from agent.display import web  # noqa: PLC0415 - 10 MB that a bag without a page never pays
    except ImportError as error:
        raise StateError(f"the page needs {error.name}, not installed; next: pip install 'besace[page]'") from error

    sock = web.bind(host, port)
    live = web.Live()
    await web.serve(nurse_app(board, actions, live), sock, live=live, names=names, ready=ready)


def nurse_app(board: "Board", actions: Actions, live: "Live") -> "ASGIApp":
    """Return the page's routes."""
    from starlette.applications import Starlette  # noqa: PLC0415
    from starlette.requests import Request  # noqa: PLC0415
    from starlette.responses import JSONResponse, Response  # noqa: PLC0415
    from starlette.routing import Route  # noqa: PLC0415

    from agent.display import web  # noqa: PLC0415

    async def home(_: Request) -> Response:
        demo = "" if board.demo else "none"
        return web.page(web.render("nurse.html", board.words, bag=board.bag, demo=demo))

    async def stream(_: Request) -> Response:
        return live.response(board)

    async def done(gesture: Any) -> Response:
        try:
            await gesture
        except BesaceError:
            return JSONResponse({"ok": False, "text": board.words("page.refused")}, 409)
        return JSONResponse({"ok": True})

    async def new_visit(request: Request) -> Response:
        await web.json_body(request, {})
        return await done(actions.new_visit())

    async def end_visit(request: Request) -> Response:
        await web.json_body(request, {})
        return await done(actions.end_visit())

    async def listen(request: Request) -> Response:
        wanted = await web.json_body(request, {"on": bool})
        return await done(actions.set_listening(wanted["on"]))

    return Starlette(
        routes=[
            Route("/", home),
            Route("/static/{name}", web.static),
            Route("/live", stream),
            Route("/visit/new", new_visit, methods=["POST"]),
            Route("/visit/end", end_visit, methods=["POST"]),
            Route("/listen", listen, methods=["POST"]),
        ]
    )
