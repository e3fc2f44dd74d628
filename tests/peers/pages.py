"""Servers under test, in a thread with a loop of its own; and the plainest HTTP client, which can misbehave."""

import asyncio
import contextlib
import http.client
import json
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any
from urllib.parse import urlsplit

Ready = Callable[[str], object]
Server = Callable[[Ready], Coroutine[Any, Any, Any]]


@contextlib.contextmanager
def serving(*servers: Server, beside: tuple[Callable[[], Coroutine[Any, Any, Any]], ...] = ()) -> Iterator[list[str]]:
    """Run servers until the block ends, then cancel them; yields their addresses. `beside` runs with them.

    Raises what a server raised before it was ready; a server that does not stop within 10 s is an AssertionError.
    """
    addresses: list[str | None] = [None] * len(servers)
    up, failed = threading.Event(), []
    loop = asyncio.new_event_loop()

    def ready(at: int) -> Ready:
        def told(url: str) -> None:
            addresses[at] = url
            if all(addresses):
                up.set()

        return told

    async def main() -> None:
        runs = [*(server(ready(at)) for at, server in enumerate(servers)), *(more() for more in beside)]
        tasks = [asyncio.create_task(run) for run in runs]
        try:
            await asyncio.gather(*tasks)
        finally:  # gather does not wait for the others when one is gone
            for one in tasks:
                if not one.cancelling():
                    one.cancel()
            await asyncio.wait(tasks)

    task = loop.create_task(main())

    def run() -> None:
        try:
            loop.run_until_complete(task)
        except asyncio.CancelledError:
            pass
        except Exception as error:  # noqa: BLE001 - raised again where the test waits
            failed.append(error)
        finally:
            up.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        assert up.wait(20), "the servers did not start"
        if failed:
            raise failed[0]
        yield [address for address in addresses if address is not None]
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(10)
        assert not thread.is_alive(), "the servers did not stop"
        assert not asyncio.all_tasks(loop), "a server left tasks behind"
        loop.close()


def ask(
    url: str, path: str, *, method: str = "GET", body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    """One request, exactly as told; `host` in `headers` replaces the true one."""
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=10)
    try:
        given = {k.lower(): v for k, v in (headers or {}).items()}
        connection.putrequest(method, path, skip_host="host" in given, skip_accept_encoding=True)
        if body is not None and "content-length" not in given:
            given["content-length"] = str(len(body))
        for key, value in given.items():
            connection.putheader(key, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def post(url: str, path: str, body: object, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    """POST JSON (or bytes as they are)."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    status, _, content = ask(
        url, path, method="POST", body=data, headers={"content-type": "application/json", **(headers or {})}
    )
    return status, content


@contextlib.contextmanager
def events(url: str, path: str = "/live", headers: dict[str, str] | None = None) -> Iterator[Iterator[Any]]:
    """The live stream: an iterator of what each `data:` line holds."""
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=10)
    connection.request("GET", path, headers=headers or {})
    answer = connection.getresponse()
    assert answer.status == 200, answer.status
    assert answer.getheader("content-type", "").startswith("text/event-stream")

    def lines() -> Iterator[Any]:
        while line := answer.readline():
            if line.startswith(b"data:"):
                yield json.loads(line[5:])

    try:
        yield lines()
    finally:
        answer.close()
        connection.close()
