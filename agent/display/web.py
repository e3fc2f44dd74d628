"""What the two pages share: the guard before every request, the live stream, static files, and serving itself.

Imported only when a page is served (starlette and uvicorn cost 10 MB). A request that is not what these pages send
(another Host, another Origin, a body too large or not the expected JSON, an unknown path) gets a 4xx, is counted and
is logged at most once a minute; it changes nothing.
"""

import asyncio
import contextlib
import errno
import html
import ipaddress
import json
import logging
import re
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from importlib import resources
from typing import Any, cast

import uvicorn
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from agent.display.board import START, Board
from agent.display.words import Words
from agent.errors import StateError

log = logging.getLogger(__name__)

PERIOD_S = 0.2
SOUND_PERIOD_S = 0.04
MAX_BODY = 1024
MAX_PAGES = 16
LOG_EVERY_S = 60.0
OPEN, CLOSED = 400, 600
TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}
ASSETS = {
    path.name: path.read_bytes()
    for path in resources.files("agent.display").joinpath("static").iterdir()
    if path.is_file()
}
"""The whole of static/, by name: nothing else can be asked for."""


class Refusals:
    """Counts refused requests; one log line a minute at most."""

    def __init__(self) -> None:
        self.count = 0
        self._logged_at = -LOG_EVERY_S

    def add(self, what: str) -> None:
        """Count one; `what` is our own word for it, never the request's."""
        self.count += 1
        now = asyncio.get_running_loop().time()
        if now - self._logged_at >= LOG_EVERY_S:
            self._logged_at = now
            log.warning("page_refused=%d last=%s", self.count, what)


class Guard:
    """Stands before the application: only requests to our own name, from our own page, of a sane size, pass."""

    def __init__(self, app: ASGIApp, *, names: Iterable[str]) -> None:
        self._app = app
        self._names = {name.lower() for name in names}
        self.refusals = Refusals()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check one request, then hand it on."""
        if scope["type"] != "http":
            return
        status = 0

        async def dressed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                have = {key for key, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *((k.encode(), v.encode()) for k, v in HEADERS.items() if k.encode() not in have),
                ]
            await send(message)

        wrong = self._wrong(scope)
        if wrong is not None:
            status, what = wrong
            await Response(status_code=status)(scope, receive, dressed)
        else:
            await self._app(scope, receive, dressed)
            what = str(status)
        if OPEN <= status < CLOSED:
            self.refusals.add(what)

    def _wrong(self, scope: Scope) -> tuple[int, str] | None:
        headers: dict[bytes, bytes] = {}
        for key, value in scope["headers"]:
            if key in headers and key in {b"host", b"origin", b"content-length"}:
                return 400, "doubled_header"
            headers[key] = value
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if re.sub(r":\d+$", "", host) not in self._names:
            return 421, "host"  # a foreign name that resolves to us: DNS rebinding
        if scope["method"] == "POST":
            origin = headers.get(b"origin")
            if origin is not None and origin.decode("latin-1").lower() != f"http://{host}":
                return 403, "origin"
            if headers.get(b"sec-fetch-site", b"same-origin") not in {b"same-origin", b"none"}:
                return 403, "origin"
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > MAX_BODY or b"transfer-encoding" in headers:
            return 413, "length"
        return None


async def body(request: Request) -> bytes:
    """Return the request's body; 413 when it is longer than MAX_BODY."""
    data = b""
    async for part in request.stream():
        data += part
        if len(data) > MAX_BODY:
            raise HTTPException(413)
    return data


def _no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError("doubled key")
    return dict(pairs)


async def json_body(request: Request, shape: dict[str, type]) -> dict[str, Any]:
    """Return the JSON object with exactly the keys and types of `shape`; 4xx otherwise."""
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
        raise HTTPException(415)
    try:
        found = json.loads(await body(request), object_pairs_hook=_no_doubles)
    except (ValueError, RecursionError):
        raise HTTPException(400) from None
    if not isinstance(found, dict) or found.keys() != shape.keys():
        raise HTTPException(400)
    if any(type(found[key]) is not kind for key, kind in shape.items()):
        raise HTTPException(400)
    return found


def render(name: str, words: Words, **given: str) -> bytes:
    """Fill a page's `{{words.key}}` and `{{=given}}` places, escaped, and its `{{>fragment}}`; KeyError if unknown."""

    def fill(match: re.Match[str]) -> str:
        sort, key = match.groups()
        if sort == ">":
            return render(key, words, **given).decode()
        return html.escape(given[key] if sort == "=" else words(key))

    return re.sub(r"\{\{([=>]?)([a-z_.0-9]+)\}\}", fill, ASSETS[name].decode()).encode()


def document(title: str, main: str, *, style: str = "", reload_s: int = 0) -> bytes:
    """Return a page of plain HTML: `title` (escaped here) as its heading too, `main` as it is below it."""
    title = html.escape(title)
    reload = f'<meta http-equiv="refresh" content="{reload_s}">' if reload_s else ""
    return (
        f'<!doctype html><html lang="fr"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">{reload}'
        '<link rel="stylesheet" href="/static/page.css"><link rel="icon" href="/static/bag.svg" type="image/svg+xml">'
        f'</head><body><main class="{style}"><h1>{title}</h1>{main}</main></body></html>\n'
    ).encode()


def page(content: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return an HTML response."""
    return Response(content, status, headers, media_type="text/html; charset=utf-8")


async def static(request: Request) -> Response:
    """Serve one file of static/."""
    name = request.path_params["name"]
    kind = TYPES.get(name.rpartition(".")[2])
    if kind is None or name not in ASSETS:
        raise HTTPException(404)
    return Response(ASSETS[name], media_type=kind, headers={"cache-control": "no-cache"})


class Live:
    """The live streams of one application: a slow page misses old traces, too many pages are refused."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.pages = 0

    def response(
        self,
        board: Board,
        *,
        gone: Callable[[], bool] = lambda: False,
        watch: Callable[[bool], Any] | None = None,
    ) -> Response:
        """Return a page's server-sent events: a JSON array of the board's messages, five times a second.

        `gone` ends the stream for good (an event `closed`); `watch(True)` and `watch(False)`, both awaited, bracket it.
        """
        if self.pages >= MAX_PAGES:
            raise HTTPException(503)

        async def events() -> AsyncIterator[str]:
            self.pages += 1
            cursor = START
            try:
                if watch is not None:
                    await watch(True)  # noqa: FBT003
                yield "retry: 1000\n\n"
                while not self.stop.is_set():
                    if gone():
                        yield "event: closed\ndata: {}\n\n"
                        return
                    messages, cursor = board.messages(cursor)
                    yield f"data: {json.dumps(messages, separators=(',', ':'), ensure_ascii=False)}\n\n"
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self.stop.wait(), PERIOD_S)
            finally:
                self.pages -= 1
                if watch is not None:
                    await watch(False)  # noqa: FBT003

        return StreamingResponse(events(), media_type="text/event-stream", headers={"x-accel-buffering": "no"})

    def sound(self, board: Board, mode: str, *, gone: Callable[[], bool]) -> Response:
        """Return the stethoscope's live sound, "raw" or "treated": packets as sound.py describes them."""
        if self.pages >= MAX_PAGES:
            raise HTTPException(503)
        source = board.sounds[mode]

        async def packets() -> AsyncIterator[bytes]:
            self.pages += 1
            number = source.newest
            try:
                while not (self.stop.is_set() or gone()):
                    data, number = source.since(number)
                    if data:
                        yield data
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self.stop.wait(), SOUND_PERIOD_S)
            finally:
                self.pages -= 1

        return StreamingResponse(packets(), media_type="application/octet-stream")


class _Server(uvicorn.Server):
    """uvicorn inside somebody else's loop: takes no signal, says when it listens."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._say_started = started

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the process's signals alone."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, then say so."""
        await super().startup(sockets=sockets)
        self._say_started()


class _Protocol(H11Protocol):
    """HTTP as uvicorn speaks it; bytes that are no HTTP are counted (its own line for each is below log_level)."""

    def send_400_response(self, msg: str) -> None:
        """Answer what could not be parsed."""
        cast("Guard", self.config.app).refusals.add("malformed")
        super().send_400_response(msg)


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket on one address; StateError when it is a wildcard, public, foreign or busy."""
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        raise StateError(f'page address {host!r} is not an IP address; next: set [page] host = "127.0.0.1"') from None
    if address.is_unspecified:
        raise StateError(
            f"page address {host} would open on every network; next: name the bag's own Wi-Fi address or 127.0.0.1"
        )
    if address.is_global:
        raise StateError(f"page address {host} is on the Internet; next: name the bag's own Wi-Fi address or 127.0.0.1")
    sock = socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((str(address), port))
        sock.listen(32)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            why, then = (
                "another program listens there",
                f"find it with: ss -ltnp 'sport = :{port}', or choose another port",
            )
        elif error.errno == errno.EADDRNOTAVAIL:
            why, then = "this machine does not have that address", "name one that `ip address` lists"
        else:
            why, then = error.strerror or "refused", "choose a port above 1023"
        raise StateError(f"cannot serve a page on {host} port {port}: {why}; next: {then}") from error
    sock.setblocking(False)  # noqa: FBT003
    return sock


def url_of(sock: socket.socket) -> str:
    """Return the page's address."""
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


async def serve(
    app: ASGIApp,
    sock: socket.socket,
    *,
    live: Live,
    names: Iterable[str] = (),
    ready: Callable[[str], object] | None = None,
) -> None:
    """Serve `app` on a bound socket until cancelled; every stream then ends within a second. `ready` gets the address.

    Only requests that call us by the socket's address, localhost or one of `names` are answered.
    """
    host = sock.getsockname()[0]
    guard = Guard(app, names={host, f"[{host}]", "localhost", *names})
    config = uvicorn.Config(
        guard, log_config=None, log_level="error", access_log=False, lifespan="off", ws="none", http=_Protocol,
        loop="none", proxy_headers=False, server_header=False, date_header=False, timeout_keep_alive=5,
        timeout_graceful_shutdown=1, limit_concurrency=4 * MAX_PAGES, h11_max_incomplete_event_size=16384,
    )  # fmt: skip

    def started() -> None:
        if ready is not None:
            ready(url_of(sock))

    server = _Server(config, started)
    task = asyncio.create_task(server.serve(sockets=[sock]), name="page")
    try:
        await asyncio.shield(task)
    finally:
        live.stop.set()
        server.should_exit = True
        await task
        sock.close()
