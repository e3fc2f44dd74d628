"""The nurse's page, served by the agent itself on loopback or the bag's own Wi-Fi.

GET / and /static/*, GET /live (server-sent events), POST /visit/new and /visit/end with `{}`, POST /listen and
/silence with `{"on": true|false}`, and the loan desk's keys: POST /desk/all-there with `{}`, /desk/keep with
`{"nights": 1}`, /desk/problem with `{"which": "BP-1"}`, /desk/have with `{"which": "ELEC", "number": 12}`. An accepted
gesture answers `{"ok": true}`; what it did is seen in the live stream. A gesture that the bag refuses answers 409 and a
French sentence.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Protocol

from agent.errors import BesaceError, StateError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from agent.display.board import Board
    from agent.display.web import Live
    from agent.pictures import Pictures


Act = Callable[..., Awaitable[None]]


class Actions(Protocol):
    """What a finger on the page may do. Each returns when it is done; a BesaceError means it was refused."""

    async def new_visit(self) -> None:
        """Begin a visit with a new code."""

    async def end_visit(self) -> None:
        """End the visit."""

    async def set_listening(self, on: bool, /) -> None:
        """Open or close the microphone."""

    async def set_site(self, site: str, /) -> None:
        """Say where the stethoscope's bell lies."""


class DeskKeys(Protocol):
    """What a finger may do at the loan desk."""

    async def all_there(self) -> None:
        """«Tout y est»."""

    async def keep(self, nights: int, /) -> None:
        """«Garder» for so many nights."""

    async def have(self, which: str, number: int, /) -> None:
        """So many of a consumable are in the bag."""

    async def problem(self, which: str, /) -> None:
        """«Signaler un problème» with a part."""


async def serve_nurse(
    board: "Board",
    actions: Actions,
    *,
    silence: Act | None = None,
    desk: DeskKeys | None = None,
    camera: "Callable[[], Pictures | None]" = lambda: None,
    host: str,
    port: int,
    ready: Callable[[str], object] | None = None,
    names: Iterable[str] = (),
) -> None:
    """Serve the page until cancelled; `ready` gets its address once it listens, port 0 takes a free one.

    Raises StateError when the port is busy, the address is a wildcard or foreign, or starlette is not installed.
    `silence` keeps the buzzer still, or lets it sound again. `names` are host names, besides the address itself, that
    browsers may call the bag by.
    """
    try:
        from agent.display import web  # noqa: PLC0415 - 10 MB that a bag without a page never pays
    except ImportError as error:
        raise StateError(f"the page needs {error.name}, not installed; next: pip install 'besace[page]'") from error

    sock = web.bind(host, port)
    live = web.Live()
    await web.serve(nurse_app(board, actions, live, silence, desk, camera), sock, live=live, names=names, ready=ready)


def nurse_app(
    board: "Board",
    actions: Actions,
    live: "Live",
    silence: Act | None = None,
    desk: DeskKeys | None = None,
    camera: "Callable[[], Pictures | None]" = lambda: None,
) -> "ASGIApp":
    """Return the page's routes; a bag without a buzzer, or a loan desk, has none of their keys."""
    from starlette.applications import Starlette  # noqa: PLC0415
    from starlette.requests import Request  # noqa: PLC0415
    from starlette.responses import JSONResponse, Response  # noqa: PLC0415
    from starlette.routing import Route  # noqa: PLC0415

    from agent.display import web  # noqa: PLC0415
    from agent.display.camera_page import camera_routes  # noqa: PLC0415

    async def home(_: Request) -> Response:
        demo = "" if board.demo else "none"
        return web.page(web.render("nurse.html", board.words, bag=board.bag, demo=demo))

    async def stream(_: Request) -> Response:
        return live.response(board)

    def gesture(shape: dict[str, type], act: Act) -> Callable[[Request], Awaitable[Response]]:
        """A POST whose body has exactly this shape; its values, in order, are what the gesture is told."""

        async def endpoint(request: Request) -> Response:
            wanted = await web.json_body(request, shape)
            try:
                await act(*(wanted[name] for name in shape))
            except BesaceError:
                return JSONResponse({"ok": False, "text": board.words("page.refused")}, 409)
            return JSONResponse({"ok": True})

        return endpoint

    gestures: dict[str, tuple[dict[str, type], Act]] = {
        "/visit/new": ({}, actions.new_visit),
        "/visit/end": ({}, actions.end_visit),
        "/listen": ({"on": bool}, actions.set_listening),
        "/site": ({"site": str}, actions.set_site),
    }
    if silence is not None:
        gestures["/silence"] = ({"on": bool}, silence)
    if desk is not None:
        gestures |= {
            "/desk/all-there": ({}, desk.all_there),
            "/desk/keep": ({"nights": int}, desk.keep),
            "/desk/problem": ({"which": str}, desk.problem),
            "/desk/have": ({"which": str, "number": int}, desk.have),
        }
    return Starlette(
        routes=[
            Route("/", home),
            Route("/static/{name}", web.static),
            Route("/live", stream),
            *camera_routes(camera, board.words),
            *(Route(path, gesture(shape, act), methods=["POST"]) for path, (shape, act) in gestures.items()),
        ]
    )
