"""The nurse's page on the wire: what it serves, what it lets a finger do, and what it refuses."""

import contextlib
import logging
import socket
import threading
import time
from contextlib import closing

import pytest

from agent.display import web
from agent.display.page import serve_nurse
from agent.errors import HubError, StateError
from tests.display.preview import Gestures, Patient, new_board
from tests.peers.pages import ask, events, post, serving


class Nurse:
    """A page of its own on a free port."""

    def __init__(self) -> None:
        self.patient = Patient(new_board())
        self.patient.begin()
        self.gestures = Gestures(self.patient.board)
        self.url = ""

    async def serve(self, ready):
        page, names = self.gestures, ["sac-04.local"]
        await serve_nurse(
            self.patient.board, page, silence=page.silence, host="127.0.0.1", port=0, names=names, ready=ready
        )


@pytest.fixture(scope="module")
def nurse():
    page = Nurse()
    with serving(page.serve, beside=(page.patient.live,)) as (page.url,):
        yield page


def test_the_page_and_its_parts(nurse):
    status, headers, body = ask(nurse.url, "/")
    assert status == 200
    assert b'<html lang="fr">' in body
    assert "Sac 04" in body.decode()
    assert "{{" not in body.decode()
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    for name in web.ASSETS:
        expected = 404 if name.endswith(".html") else 200
        assert ask(nurse.url, f"/static/{name}")[0] == expected


def test_the_banner_is_there_in_a_demonstration_only(nurse):
    assert b'<p class="demo ">' in ask(nurse.url, "/")[2]
    board = new_board(demo=False)

    async def serve(ready):
        await serve_nurse(board, Gestures(board), host="127.0.0.1", port=0, ready=ready)

    with serving(serve) as (url,):
        assert b'<p class="demo none">' in ask(url, "/")[2]


def test_live_begins_with_birth_and_goes_on_with_waves_and_vitals(nurse):
    with events(nurse.url) as stream:
        first = next(stream)
        assert first[0]["kind"] == "birth"
        assert first[0]["demo"] is True
        assert set(first[0]["streams"]) == {"ecg", "pleth", "sound"}
        kinds = [{m["kind"] for m in next(stream)} for _ in range(5)]
        assert {"wave", "vitals"} in kinds
        assert not any("birth" in k for k in kinds)


def test_gestures_reach_the_bag(nurse):
    done = nurse.gestures.done
    done.clear()
    assert post(nurse.url, "/visit/new", {}) == (200, b'{"ok":true}')
    assert post(nurse.url, "/listen", {"on": True})[0] == 200
    assert post(nurse.url, "/site", {"site": "mitral"})[0] == 200
    assert post(nurse.url, "/site", {"site": 3})[0] == 400
    assert post(nurse.url, "/listen", {"on": False})[0] == 200
    assert post(nurse.url, "/visit/end", {})[0] == 200
    assert post(nurse.url, "/silence", {"on": True})[0] == 200
    assert done == ["new", "listen True", "at mitral", "listen False", "end", "silence True"]


class Keys:
    """The loan desk's keys, remembered."""

    def __init__(self) -> None:
        self.done: list[object] = []

    async def all_there(self) -> None:
        self.done.append("all there")

    async def have(self, which: str, number: int, /) -> None:
        self.done.append((which, number))

    async def keep(self, nights: int, /) -> None:
        self.done.append(nights)

    async def problem(self, which: str, /) -> None:
        if which == "NOBODY-S":
            raise StateError("no such part")
        self.done.append(which)


def test_the_loan_desk_s_keys(nurse):
    board, keys = new_board(), Keys()

    async def serve(ready):
        await serve_nurse(board, Gestures(board), desk=keys, host="127.0.0.1", port=0, ready=ready)

    with serving(serve) as (url,):
        assert post(url, "/desk/all-there", {})[0] == 200
        assert post(url, "/desk/keep", {"nights": 2})[0] == 200
        assert post(url, "/desk/problem", {"which": "BP-1"})[0] == 200
        assert post(url, "/desk/have", {"which": "ELEC", "number": 12})[0] == 200
        assert post(url, "/desk/problem", {"which": "NOBODY-S"})[0] == 409
        for path, wrong in (("keep", {}), ("keep", {"nights": "1"}), ("keep", {"nights": True}), ("problem", {})):
            assert post(url, f"/desk/{path}", wrong)[0] == 400
        assert post(url, "/desk/keep", {"nights": 1}, {"origin": "http://evil.example"})[0] == 403
    assert keys.done == ["all there", 2, "BP-1", ("ELEC", 12)]
    assert post(nurse.url, "/desk/all-there", {})[0] == 404  # a bag without a desk


def test_a_gesture_the_bag_refuses_says_so():
    class Refusing(Gestures):
        async def new_visit(self):
            raise HubError("not now")

    board = new_board()

    async def serve(ready):
        await serve_nurse(board, Refusing(board), host="127.0.0.1", port=0, ready=ready)

    with serving(serve) as (url,):
        status, body = post(url, "/visit/new", {})
    assert status == 409
    assert "Geste refusé" in body.decode()
    assert "not now" not in body.decode()


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/visit/new", b"", 400),
        ("/visit/new", b"null", 400),
        ("/visit/new", b"[]", 400),
        ("/visit/new", b'{"x":1}', 400),
        ("/visit/new", b"{", 400),
        ("/visit/new", b"\xff\xfe", 400),
        ("/visit/new", b"[" * 1000, 400),
        ("/listen", b"{}", 400),
        ("/listen", b'{"on":1}', 400),
        ("/listen", b'{"on":"true"}', 400),
        ("/listen", b'{"on":true,"on":false}', 400),
        ("/listen", b'{"on":true,"off":true}', 400),
        ("/visit/end", b" " * 2000, 413),
        ("/nowhere", b"{}", 404),
    ],
)
def test_a_body_that_is_not_the_page_s_changes_nothing(nurse, path, body, status):
    nurse.gestures.done.clear()
    assert post(nurse.url, path, body)[0] == status
    assert nurse.gestures.done == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 421),
        ({"host": "evil.example:80"}, 421),
        ({"host": "127.0.0.1.evil.example"}, 421),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "https://127.0.0.1"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"content-type": "text/plain"}, 415),
        ({"content-length": "x"}, 413),
        ({"content-length": "99999"}, 413),
        ({"transfer-encoding": "chunked"}, 413),
    ],
)
def test_a_request_from_elsewhere_changes_nothing(nurse, headers, status):
    nurse.gestures.done.clear()
    try:
        found = post(nurse.url, "/visit/new", b"" if "transfer-encoding" in headers else b"{}", headers)[0]
    except ConnectionResetError:  # h11 answers and closes with our body unread: the kernel may say so first
        found = 400
    assert found in ({status, 400} if "content-length" in headers else {status})  # h11 refuses a bad length itself
    assert nurse.gestures.done == []


def test_our_own_names_are_accepted(nurse):
    host = nurse.url.removeprefix("http://").rstrip("/")
    port = host.rpartition(":")[2]
    for name in (host, f"localhost:{port}", f"SAC-04.local:{port}", "sac-04.local"):
        assert ask(nurse.url, "/", headers={"host": name})[0] == 200
    assert post(nurse.url, "/listen", {"on": False}, {"origin": f"http://{host}"})[0] == 200
    assert ask(nurse.url, "/visit/new")[0] == 405


@pytest.mark.parametrize("path", ["/static/../page.py", "/static/..%2fpage.py", "/static/nurse.html", "/static/", "//"])
def test_nothing_but_the_static_files_can_be_had(nurse, path):
    assert ask(nurse.url, path)[0] == 404


def test_bytes_that_are_no_http_are_dropped_and_logged_once_a_minute(caplog):
    page = Nurse()
    with caplog.at_level(logging.WARNING), serving(page.serve) as (url,):
        for _ in range(20):
            with closing(socket.create_connection(url.removeprefix("http://").rstrip("/").split(":"))) as raw:
                raw.sendall(b"\x16\x03\x01\x00\xa5" * 20 + b"\r\n\r\n")
                raw.settimeout(5)
                raw.recv(1000)
        assert ask(url, "/")[0] == 200
    assert [record.getMessage() for record in caplog.records] == ["page_refused=1 last=malformed"]


def test_refusals_are_logged_at_most_once_a_minute_and_quote_nothing(caplog):
    page = Nurse()
    with caplog.at_level(logging.WARNING), serving(page.serve) as (url,):
        for _ in range(30):
            assert ask(url, "/secret-name", headers={"host": "evil.example"})[0] == 421
    assert [record.getMessage() for record in caplog.records] == ["page_refused=1 last=host"]


def test_a_page_that_does_not_read_holds_nothing_up(nurse):
    host, port = nurse.url.removeprefix("http://").rstrip("/").split(":")
    with closing(socket.create_connection((host, int(port)))) as lazy:
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        lazy.sendall(f"GET /live HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        with events(nurse.url) as stream:
            assert sum(m["kind"] == "wave" for _ in range(6) for m in next(stream)) > 5


def test_too_many_pages_are_refused_and_leave_room_when_they_go(nurse, monkeypatch):
    monkeypatch.setattr(web, "MAX_PAGES", 1)
    with events(nurse.url) as stream:
        next(stream)
        assert ask(nurse.url, "/live")[0] == 503
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            with events(nurse.url) as stream:
                assert next(stream)[0]["kind"] == "birth"
                return
        except AssertionError:
            time.sleep(0.1)
    pytest.fail("the place was never given back")


def test_a_busy_port_says_what_why_and_what_next(nurse):
    port = int(nurse.url.rstrip("/").rpartition(":")[2])
    board = new_board()

    async def serve(ready):
        await serve_nurse(board, Gestures(board), host="127.0.0.1", port=port, ready=ready)

    with (
        pytest.raises(StateError, match=rf"port {port}: another program listens there; next: .*ss -ltnp"),
        serving(serve),
    ):
        pass


@pytest.mark.parametrize(
    ("host", "why"),
    [
        ("0.0.0.0", "every network"),
        ("::", "every network"),
        ("192.0.2.7", "does not have"),
        ("8.8.8.8", "on the Internet"),
        ("2001:4860:4860::8888", "on the Internet"),
        ("bag", "not an IP address"),
    ],
)
def test_an_address_that_will_not_do(host, why):
    board = new_board()

    async def serve(ready):
        await serve_nurse(board, Gestures(board), host=host, port=0, ready=ready)

    with pytest.raises(StateError, match=f"{why}.*; next: "), serving(serve):
        pass


def test_it_stops_though_a_page_is_open_and_leaves_no_thread():
    page = Nurse()
    before = threading.active_count()
    with contextlib.ExitStack() as later, serving(page.serve) as (url,):
        next(later.enter_context(events(url)))
    assert threading.active_count() <= before
    with pytest.raises(ConnectionRefusedError):
        ask(url, "/")


def test_without_starlette_the_error_says_how_to_get_it(monkeypatch):
    import builtins

    real = builtins.__import__

    def missing(name, *args, **kwargs):
        if name == "agent.display" and args and "web" in (args[2] or ()):
            raise ModuleNotFoundError("No module named 'starlette'", name="starlette")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    board = new_board()
    with pytest.raises(StateError, match=r"needs starlette, not installed; next: pip install 'besace\[page\]'"):
        serve_nurse(board, Gestures(board), host="127.0.0.1", port=0).send(None)
