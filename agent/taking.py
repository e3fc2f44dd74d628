"""The agent takes a file into the open visit."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from agent.errors import StateError
from agent.importing import IMPORTED, of_this_visit, read_document, taken_from
from agent.recorder import Recorder
from agent.transport.files import cut_file


async def take_import(
    asked: dict[str, Any],
    *,
    folder: Path,
    recorder: Recorder,
    now_ns: Callable[[], int],
    wall: Callable[[int], datetime | None],
) -> dict[str, Any]:
    """Store the file that `besace import` left in `folder`; what it is, and its hash. StateError says why not."""
    visit = recorder.visit
    data = await asyncio.to_thread(taken_from, folder, str(asked.get("file", "")))
    document = await asyncio.to_thread(read_document, data)  # a recording of some seconds takes 60 ms to read
    if visit is None or recorder.visit is not visit:
        raise StateError("a file belongs to a visit, and none is open\nNext: besace visit new")
    if not asked.get("anyway"):
        of_this_visit(document, opened=wall(visit.t_ns), now=wall(now_ns()))
    parts = cut_file(IMPORTED.key, now_ns(), document.media, document.data)
    await recorder.store_file(IMPORTED, parts)
    return {"said": document.said, "sha256": parts[0].digest.hex()}
