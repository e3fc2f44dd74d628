"""The doctor's page on the wire: the code, the session, what a wrong one gets, and who is told that a doctor looks."""

import http.client
import re
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest

from agent.display.camera_page import GREY
from agent.drivers.camera import Viewfinder
from agent.errors import StateError
from agent.model import Media
from agent.transport.files import Assembly, cut_file
from hub.attempts import Attempts
from hub.page import SESSION_S, Sessions, same_code, serve_doctor
from tests.display.preview import CODE, Patient, Room, new_board
from tests.display.test_sound import unpack
from tests.peers.pages import ask, events, serving

FORM = {"content-type": "application/x-www-form-urlencoded"}


@dataclass
class Hub:
    """A hub with one open visit; `later` moves the clock of the rate limit."""

    patient: Patient = field(default_factory=lambda: Patient(new_board(remote=True)))
    later: float = 0.0
    url: str = ""

    def __post_init__(self) -> None:
        self.patient.begin()
        self.room = Room(self.patient.board)

    def find(self, code: str) -> Room | None:
        return same_code([(CODE, self.room)], code)

    async def serve(self, ready):
        attempts = Attempts(lambda: time.monotonic() + self.later)
        await serve_doctor(self, host="127.0.0.1", port=0, attempts=attempts, ready=ready)

    def enter(self, code: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        return ask(self.url, "/code", method="POST", body=f"code={code}".encode(), headers={**FORM, **headers})

    def session(self) -> dict[str, str]:
        """The headers of a doctor who has entered the visit."""
        self.later += 3600
        status, headers, _ = self.enter(CODE)
        assert status == 303, status
        return {"cookie": headers["set-cookie"].split(";")[0]}


@pytest.fixture
def hub():
    page = Hub()
    with serving(page.serve, beside=(page.patient.live,)) as (page.url,):
        yield page


def test_without_the_code_there_is_a_form_and_nothing_else(hub):
    status, _, body = ask(hub.url, "/")
    assert status == 200
    assert "Code de la visite" in body.decode()
    assert hub.room.title not in body.decode()
    for path in ("/live", "/sound?mode=raw"):
        assert ask(hub.url, path)[0] == 401
        assert ask(hub.url, path, headers={"cookie": "besace_visit=AAAA"})[0] == 401


def test_the_code_opens_the_visit(hub):
    status, headers, _ = hub.enter("48+21")  # as read aloud
    assert (status, headers["location"]) == (303, "/")
    cookie = headers["set-cookie"]
    assert re.search(r"besace_visit=[A-Za-z0-9_-]{43};", cookie)
    for part in ("HttpOnly", "SameSite=strict", "Max-Age=14400", "Path=/"):
        assert part in cookie
    session = {"cookie": cookie.split(";")[0]}
    assert "Sac 04" in ask(hub.url, "/", headers=session)[2].decode()
    with events(hub.url, headers=session) as stream:
        birth, *_, vitals = next(stream)
        assert (birth["kind"], birth["code"]) == ("birth", None)
        assert vitals["link"]["text"] == "En direct du sac"


@pytest.mark.parametrize(
    "body",
    ["", "code=", "code=48211", "code=abcd", "code=%D9%A4%D9%A8%D9%A2%D9%A1", "code=4821&code=1111", "x=4821", "\xff"],
)
def test_what_is_no_code_costs_no_try_and_opens_nothing(hub, body):
    for _ in range(8):
        status, headers, answer = ask(hub.url, "/code", method="POST", body=body.encode("latin-1"), headers=FORM)
        assert status == 400
        assert "set-cookie" not in headers
        assert "quatre chiffres" in answer.decode()
    assert hub.enter(CODE)[0] == 303


def test_guessing_is_slowed_down_and_the_right_code_waits_too(hub):
    statuses = [hub.enter(f"{n:04}")[0] for n in range(10)]
    assert statuses == [403, 403, 403, 429, 429, 429, 429, 429, 429, 429]
    status, headers, body = hub.enter(CODE)
    assert status == 429
    assert int(headers["retry-after"]) >= 1
    assert "Trop d&#x27;essais" in body.decode()
    hub.later += 60
    assert hub.enter(CODE)[0] == 303


def test_a_code_entered_from_another_site_is_refused(hub):
    assert hub.enter(CODE, origin="http://evil.example")[0] == 403
    assert hub.enter(CODE, host="evil.example")[0] == 421
    assert ask(hub.url, "/code", method="POST", body=b"code=" + b"4" * 5000, headers=FORM)[0] == 413


def test_leaving_forgets_the_session(hub):
    session = hub.session()
    assert ask(hub.url, "/leave", method="POST", headers=session)[0] == 303
    assert ask(hub.url, "/live", headers=session)[0] == 401


def test_a_visit_that_ends_closes_its_pages(hub):
    session = hub.session()
    with events(hub.url, headers=session) as stream:
        next(stream)
        hub.room.open = False
        assert list(stream)[-1] == {}  # event: closed, then the stream's end
    assert ask(hub.url, "/live", headers=session)[0] == 401
    hub.later += 3600
    assert hub.enter(CODE)[0] == 403


def test_the_bag_is_told_of_the_first_doctor_and_of_the_last(hub):
    session = hub.session()
    with events(hub.url, headers=session) as one:
        next(one)
        with events(hub.url, headers=session) as two:
            next(two)
    end = time.monotonic() + 10
    while hub.room.watched != [True, False] and time.monotonic() < end:
        time.sleep(0.05)
    assert hub.room.watched == [True, False]


@pytest.mark.parametrize("mode", ["raw", "treated"])
def test_the_stethoscope_can_be_heard(hub, mode):
    import http.client

    session = hub.session()
    host = hub.url.removeprefix("http://").rstrip("/")
    connection = http.client.HTTPConnection(host, timeout=10)
    connection.request("GET", f"/sound?mode={mode}", headers=session)
    answer = connection.getresponse()
    data = b""
    while len(data) < 4000:
        data += answer.read1(4000)
    connection.close()
    whole = data[: 16 + 2 * int.from_bytes(data[12:16], "little")]
    ((_, fs, samples),) = unpack(whole)
    assert fs == 4000
    assert len(samples) >= 100
    assert ask(hub.url, "/sound?mode=loud", headers=session)[0] == 400


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.10", "hub.example", ""])
def test_it_opens_on_loopback_only(host):
    page = Hub()

    async def serve(ready):
        await serve_doctor(page, host=host, port=0, ready=ready)

    with pytest.raises(StateError, match=r"refuses to open .* next: use 127\.0\.0\.1"), serving(serve):
        pass


def test_the_comparison_takes_every_room():
    rooms = [(f"{n:04}", n) for n in range(50)]
    assert same_code(rooms, "0017") == 17
    assert same_code(rooms, "9999") is None
    assert same_code([], "0017") is None


def test_sessions_end_by_themselves():
    clock = [0.0]
    sessions = Sessions(lambda: clock[0])
    room = Room(new_board(remote=True))
    first = sessions.begin(room)
    assert sessions.room(first) is room
    clock[0] = SESSION_S + 1
    assert sessions.room(first) is None
    tokens = [sessions.begin(room) for _ in range(300)]
    assert len(set(tokens)) == 300
    assert sessions.room(tokens[0]) is None  # the oldest gave way
    assert sessions.room(tokens[-1]) is room
    assert sessions.room(None) is None


def test_the_visits_files_are_for_who_entered_it(hub):
    whole = Assembly().take(cut_file("imported-file", 5, Media.PDF, b"%PDF-1.7 %%EOF")[0])
    hub.room.files = [whole]
    link = f"/files/{whole.digest.hex()}"
    for path in ("/files", link):
        assert ask(hub.url, path)[0] == 401
    session = hub.session()
    assert link in ask(hub.url, "/files", headers=session)[2].decode()
    status, headers, body = ask(hub.url, link, headers=session)
    assert (status, headers["content-type"], body) == (200, "application/pdf", b"%PDF-1.7 %%EOF")
    assert headers["content-disposition"].startswith('attachment; filename="imported-file-')
    assert ask(hub.url, f"/files/{'0' * 64}", headers=session)[0] == 404


def test_the_camera_is_live_for_who_entered_and_grey_when_nothing_comes(hub, monkeypatch):
    monkeypatch.setattr("agent.display.camera_page.STALE_S", 0.1)
    for path in ("/camera", "/camera/live"):
        assert ask(hub.url, path)[0] == 401
    hub.room.viewfinder = Viewfinder()
    session = hub.session()
    assert "/camera/live" in ask(hub.url, "/camera", headers=session)[2].decode()
    where = urlsplit(hub.url)
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=10)
    connection.request("GET", "/camera/live", headers=session)
    answer = connection.getresponse()
    assert GREY in answer.read(700)
    assert hub.room.watched[-1] is True
    connection.close()
