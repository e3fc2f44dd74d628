"""The doctor's page: asks for the visit's code, then shows the visit live.

A reference for one machine: it serves on loopback only; in production an authenticated identity (Pro Santé Connect)
stands in front of it. The code names a visit, it authenticates nobody; its entry is rate-limited all the same.

GET / asks for the code or shows the visit of this session; POST /code enters it (an HTML form); POST /leave forgets
the session; GET /live streams (server-sent events, as the nurse's page does); GET /sound?mode=raw|treated streams the
stethoscope; GET /camera is the camera, live; GET /files lists the files that came with the visit, GET /files/<sha256>
is one; GET /garde is the coordinator's table of bags, which knows no visit; GET /static/*.
"""

import hmac
import ipaddress
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar
from urllib.parse import parse_qs

from agent.display.words import Words, age
from agent.errors import StateError
from hub.attempts import Attempts

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp

    from agent.display.board import Board
    from agent.display.web import Live
    from agent.drivers.camera import Viewfinder
    from agent.transport.files import WholeFile

SESSION_S = 4 * 3600.0
MAX_SESSIONS = 256
COOKIE = "besace_visit"
Found = TypeVar("Found")


class RoomView(Protocol):
    """One open visit as the doctor sees it."""

    @property
    def board(self) -> "Board":
        """What is shown; built with remote=True."""

    @property
    def title(self) -> str:
        """The visit's name on the page, for instance the bag's."""

    @property
    def open(self) -> bool:
        """False once the visit is over for good: its sessions end."""

    def documents(self) -> "Sequence[WholeFile]":
        """The files that came with the visit, in order of time."""

    @property
    def viewfinder(self) -> "Viewfinder":
        """The newest picture of the visit's camera."""

    async def watch(self, on: bool, /) -> None:
        """Be told that a first page opened, or the last one closed: the bag then sends more often, or less."""


class Directory(Protocol):
    """The open visits."""

    def find(self, code: str) -> RoomView | None:
        """Return the open visit of this code; compare with `same_code`."""


def same_code(rooms: Iterable[tuple[str, Found]], code: str) -> Found | None:
    """Return the room of `code`; takes the same time whether and wherever it is found."""
    found: Found | None = None
    for known, room in rooms:
        if hmac.compare_digest(known.encode(), code.encode()):
            found = room
    return found


@dataclass(slots=True)
class _Session:
    room: RoomView
    until_s: float


class Sessions:
    """Who has entered which visit, by a random token; forgotten after SESSION_S, when left, or when the visit ends."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._open: dict[str, _Session] = {}
        self._watching: dict[int, int] = {}

    def begin(self, room: RoomView) -> str:
        """Return a new token; the oldest session gives way when there are too many."""
        while len(self._open) >= MAX_SESSIONS:
            del self._open[next(iter(self._open))]
        token = secrets.token_urlsafe(32)
        self._open[token] = _Session(room, self._now_s() + SESSION_S)
        return token

    def room(self, token: str | None) -> RoomView | None:
        """Return the room of a living session."""
        session = self._open.get(token or "")
        if session is None:
            return None
        if not session.room.open or self._now_s() > session.until_s:
            del self._open[token or ""]
            return None
        return session.room

    def end(self, token: str | None) -> None:
        """Forget a session."""
        self._open.pop(token or "", None)

    async def watch(self, room: RoomView, on: bool) -> None:
        """Count the pages on a room; tell it about the first and the last."""
        before = self._watching.get(id(room), 0)
        after = before + (1 if on else -1)
        if after:
            self._watching[id(room)] = after
        else:
            self._watching.pop(id(room), None)
        if not before or not after:
            await room.watch(on)


def _entered(form: bytes) -> str | None:
    """Return the four digits of a submitted form, None when it holds anything else."""
    try:
        fields = parse_qs(form.decode("ascii"), strict_parsing=True, max_num_fields=1)
    except ValueError:
        return None
    digits = re.sub(r"\s", "", fields.get("code", [""])[0])
    return digits if re.fullmatch(r"[0-9]{4}", digits, re.ASCII) else None


async def serve_doctor(
    directory: Directory,
    *,
    host: str,
    port: int,
    attempts: Attempts | None = None,
    demo: bool = False,
    custody: Callable[[], bytes] | None = None,
    ready: Callable[[str], object] | None = None,
) -> None:
    """Serve the page until cancelled; `ready` gets its address once it listens, port 0 takes a free one.

    Raises StateError for any address but loopback, for a busy port, and when starlette is not installed.
    """
    loopback = host == "localhost"
    if not loopback:
        try:
            loopback = ipaddress.ip_address(host).is_loopback
        except ValueError:
            loopback = False
    if not loopback:
        raise StateError(
            f"the doctor's page refuses to open on {host}: nothing here authenticates the doctor; "
            "next: use 127.0.0.1 and put an authenticating proxy in front of it"
        )
    try:
        from agent.display import web  # noqa: PLC0415 - the page is an optional extra
    except ImportError as error:
        raise StateError(f"the page needs {error.name}, not installed; next: pip install 'besace[page]'") from error

    sock = web.bind(host, port)
    live = web.Live()
    app = doctor_app(directory, live, attempts=attempts or Attempts(time.monotonic), demo=demo, custody=custody)
    await web.serve(app, sock, live=live, ready=ready)


def doctor_app(
    directory: Directory,
    live: "Live",
    *,
    attempts: Attempts,
    demo: bool = False,
    custody: Callable[[], bytes] | None = None,
) -> "ASGIApp":
    """Return the page's routes."""
    from starlette.applications import Starlette  # noqa: PLC0415
    from starlette.exceptions import HTTPException  # noqa: PLC0415
    from starlette.requests import Request  # noqa: PLC0415
    from starlette.responses import RedirectResponse, Response  # noqa: PLC0415
    from starlette.routing import Route  # noqa: PLC0415

    from agent.display import web  # noqa: PLC0415
    from hub.camera_page import camera_routes  # noqa: PLC0415
    from hub.files_page import file_routes  # noqa: PLC0415

    words = Words.load()
    sessions = Sessions(time.monotonic)

    def ask(problem: str = "", status: int = 200, headers: dict[str, str] | None = None) -> Response:
        content = web.render("code.html", words, problem=problem, demo="" if demo else "none")
        return web.page(content, status, headers)

    async def home(request: Request) -> Response:
        room = sessions.room(request.cookies.get(COOKIE))
        if room is None:
            return ask()
        given = {"title": room.title, "bag": room.board.bag, "demo": "" if room.board.demo else "none"}
        return web.page(web.render("doctor.html", words, **given))

    async def code(request: Request) -> Response:
        client = request.client.host if request.client else ""
        digits = _entered(await web.body(request))
        if digits is None:
            return ask(words("page.code_wrong"), 400)
        wait = attempts.wait_s(client)
        if wait > 0:
            seconds = int(wait) + 1
            return ask(words("page.code_wait", age=age(seconds)), 429, {"retry-after": str(seconds)})
        room = directory.find(digits)
        if room is None or not room.open:
            attempts.missed(client)
            return ask(words("page.code_unknown"), 403)
        attempts.hit(client)
        sessions.end(request.cookies.get(COOKIE))
        answer = RedirectResponse("/", 303)
        answer.set_cookie(COOKIE, sessions.begin(room), max_age=int(SESSION_S), httponly=True, samesite="strict")
        return answer

    async def leave(request: Request) -> Response:
        sessions.end(request.cookies.get(COOKIE))
        answer = RedirectResponse("/", 303)
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return answer

    def entered(request: Request) -> tuple[RoomView, Callable[[], bool]]:
        """Return the session's room, and what tells that it is over; 401 without a session."""
        token = request.cookies.get(COOKIE)
        room = sessions.room(token)
        if room is None:
            raise HTTPException(401)
        return room, lambda: sessions.room(token) is None

    async def stream(request: Request) -> Response:
        room, gone = entered(request)
        return live.response(room.board, gone=gone, watch=partial(sessions.watch, room))

    async def sound(request: Request) -> Response:
        room, gone = entered(request)
        mode = request.query_params.get("mode", "raw")
        if mode not in room.board.sounds:
            raise HTTPException(400)
        return live.sound(room.board, mode, gone=gone)

    return Starlette(
        routes=[
            Route("/", home),
            Route("/static/{name}", web.static),
            Route("/code", code, methods=["POST"]),
            Route("/leave", leave, methods=["POST"]),
            Route("/live", stream),
            Route("/sound", sound),
            *file_routes(lambda request: entered(request)[0], words),
            *camera_routes(entered, sessions.watch, words),
            *([Route("/garde", _garde(custody))] if custody is not None else []),
        ]
    )


def _garde(custody: Callable[[], bytes]) -> "Callable[[Request], Awaitable[Response]]":
    """The coordinator's table."""
    from agent.display import web  # noqa: PLC0415

    async def held(_: "Request") -> "Response":
        return web.page(custody())

    return held
