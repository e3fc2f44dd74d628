"""The files of the visit that a doctor has entered: a list, and each file to keep."""

from collections.abc import Callable, Sequence
from html import escape
from typing import Protocol

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from agent.display import web
from agent.display.words import Words
from agent.transport.files import WholeFile
from hub.visit_files import name_of


class Filed(Protocol):
    """A visit as far as its files go."""

    @property
    def title(self) -> str:
        """The visit's name on the page."""

    def documents(self) -> Sequence[WholeFile]:
        """The files that came with the visit, in order of time."""


def file_routes(entered: Callable[[Request], Filed], words: Words) -> list[Route]:
    """GET /files and GET /files/<sha256>; `entered` gives the session's visit or raises 401."""

    async def listed(request: Request) -> Response:
        return web.page(document(entered(request), words))

    async def one(request: Request) -> Response:
        digest = request.path_params["digest"]
        found = next((file for file in entered(request).documents() if file.digest.hex() == digest), None)
        if found is None:
            raise HTTPException(404)
        # To be kept, not shown: what an instrument's maker wrote is never run by this page.
        headers = {"content-disposition": f'attachment; filename="{name_of(found)}"'}
        return Response(found.data, media_type=found.media.value, headers=headers)

    return [Route("/files", listed), Route("/files/{digest}", one)]


def document(visit: Filed, words: Words) -> bytes:
    """The list as a page."""
    lines = [_line(file, words) for file in visit.documents()] or [f"<li>{escape(words('page.files_none'))}</li>"]
    main = f'<ul>{"".join(lines)}</ul><p><a href="/">{escape(words("page.files_back"))}</a></p>'
    return web.document(f"{words('page.files')} : {visit.title}", main)


def _line(file: WholeFile, words: Words) -> str:
    name = escape(words(f"media.{file.media.name.lower()}"))
    return f'<li><a href="/files/{file.digest.hex()}">{name}</a> {-(-len(file.data) // 1024)} ko</li>'
