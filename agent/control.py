"""The agent's control socket: how `besace status` and the other commands reach the running agent.

One JSON object a line each way: `{"do": "status"}` is answered `{"ok": true, ...}` or `{"ok": false, "why": "..."}`.
The socket lives in the runtime directory, which only the agent's own user may enter.
"""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from agent.errors import BesaceError, StateError

LONGEST_LINE = 4096
Verb = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


async def serve_control(path: Path, verbs: Mapping[str, Verb]) -> None:
    """Answer commands until cancelled."""

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(json.dumps(await _answer(line, verbs), ensure_ascii=False).encode() + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError):  # ValueError: a line longer than the limit
            pass
        finally:
            writer.close()

    unlistened = path.with_suffix(".new")  # a file that is bound and not listened at yet refuses whoever finds it
    sock = socket.socket(socket.AF_UNIX)
    try:
        unlistened.unlink(missing_ok=True)
        sock.bind(str(unlistened))
        server = await asyncio.start_unix_server(client, sock=sock, limit=LONGEST_LINE)
        unlistened.rename(path)
    except OSError as error:
        sock.close()
        raise StateError(f"cannot open the control socket {path}: {error}\nNext: ls -ld {path.parent}") from None
    async with server:
        try:
            await server.serve_forever()
        finally:
            path.unlink(missing_ok=True)


async def _answer(line: bytes, verbs: Mapping[str, Verb]) -> dict[str, Any]:
    try:
        asked = json.loads(line)
        verb = verbs[asked["do"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {"ok": False, "why": f"not understood; known: {', '.join(sorted(verbs))}"}
    try:
        return {"ok": True, **await verb(asked)}
    except BesaceError as error:
        return {"ok": False, "why": str(error)}


def ask(path: Path, what: Mapping[str, Any], *, timeout_s: float = 5.0) -> dict[str, Any]:
    """Ask the running agent one thing; StateError when none answers."""
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(timeout_s)
            sock.connect(str(path))
            with sock.makefile("rwb") as file:
                file.write(json.dumps(what).encode() + b"\n")
                file.flush()
                answer = json.loads(file.readline() or b"{}")
    except (OSError, ValueError) as error:
        raise StateError(f"no agent answers at {path}: {error}\nNext: systemctl status besace") from None
    if not isinstance(answer, dict):
        answer = {}
    if not answer.get("ok"):
        raise StateError(str(answer.get("why", "the agent gave no answer")))
    return answer
