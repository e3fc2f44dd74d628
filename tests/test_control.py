"""The control socket: one JSON object a line each way."""

import asyncio
import json
import socket
import threading

import pytest

from agent.control import ask, serve_control
from agent.errors import StateError
from tests.peers.waiting import until


async def status(_):
    return {"visit": "ready", "code": "é"}


async def refuse(_):
    raise StateError("end_visit is not possible while ready")


VERBS = {"status": status, "end_visit": refuse}


def serving(path, clients):
    """Serve in a loop, run `clients` in a thread beside it, give its result."""

    async def main():
        server = asyncio.create_task(serve_control(path, VERBS))
        await until(path.exists)
        try:
            return await asyncio.to_thread(clients)
        finally:
            server.cancel()
            await asyncio.gather(server, return_exceptions=True)

    return asyncio.run(main())


def raw(path, data):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(5)
        sock.connect(str(path))
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        with sock.makefile("rb") as file:
            return [json.loads(line) for line in file]


def test_asked_and_answered(tmp_path):
    path = tmp_path / "control.sock"
    assert serving(path, lambda: ask(path, {"do": "status"})) == {"ok": True, "visit": "ready", "code": "é"}
    assert not path.exists()


def test_the_file_is_there_only_once_it_is_listened_at(tmp_path, monkeypatch):
    """Who waits for it and connects is never refused, and what a killed agent left is replaced."""
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path.with_suffix(".new")))
    start, there = asyncio.start_unix_server, []

    async def watched(*args, **kwargs):
        server = await start(*args, **kwargs)
        there.append(path.exists())
        return server

    monkeypatch.setattr(asyncio, "start_unix_server", watched)
    assert serving(path, lambda: ask(path, {"do": "status"}))["ok"]
    assert there == [False]


def test_a_refusal_says_why(tmp_path):
    path = tmp_path / "control.sock"
    with pytest.raises(StateError, match="end_visit is not possible while ready"):
        serving(path, lambda: ask(path, {"do": "end_visit"}))


def test_one_connection_may_ask_often(tmp_path):
    path = tmp_path / "control.sock"
    answers = serving(path, lambda: raw(path, b'{"do": "status"}\n{"do": "end_visit"}\n'))
    assert [a["ok"] for a in answers] == [True, False]


@pytest.mark.parametrize(
    "line", [b"\n", b"nonsense\n", b"[]\n", b"3\n", b'{"do": 3}\n', b'{"do": []}\n', b'{"do": "wipe"}\n', b"\xff\n",
             b"[" * 4000 + b"\n"],
)  # fmt: skip
def test_what_is_not_understood_is_answered_and_changes_nothing(tmp_path, line):
    path = tmp_path / "control.sock"
    assert serving(path, lambda: raw(path, line + b'{"do": "status"}\n')) == [
        {"ok": False, "why": "not understood; known: end_visit, status"},
        {"ok": True, "visit": "ready", "code": "é"},
    ]


def test_an_endless_line_is_cut_off_and_others_are_served(tmp_path):
    path = tmp_path / "control.sock"

    def clients():
        try:
            assert raw(path, b"x" * 100_000) == []
        except ConnectionError:
            pass
        return ask(path, {"do": "status"})

    assert serving(path, clients)["ok"]


def test_a_socket_left_by_a_crash_is_replaced(tmp_path):
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))

    async def main():
        old = path.stat().st_ino
        server = asyncio.create_task(serve_control(path, VERBS))
        await until(lambda: path.stat().st_ino != old)
        try:
            return await asyncio.to_thread(ask, path, {"do": "status"})
        finally:
            server.cancel()
            await asyncio.gather(server, return_exceptions=True)

    assert asyncio.run(main())["ok"]


def test_no_agent(tmp_path):
    with pytest.raises(StateError, match="no agent answers at .*\nNext: systemctl status besace"):
        ask(tmp_path / "control.sock", {"do": "status"})


@pytest.mark.parametrize("said", [b"", b"nonsense\n", b"[1]\n", b"null\n"])
def test_an_answer_that_is_none(tmp_path, said):
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def answer():
            client, _ = server.accept()
            with client:
                client.recv(4096)
                client.sendall(said)

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(StateError):
            ask(path, {"do": "status"})
        thread.join()


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(StateError, match="cannot open the control socket .*\nNext: ls -ld"):
        asyncio.run(serve_control(tmp_path / "missing" / "control.sock", VERBS))
