"""The loan desk on the nurse's page in a real browser: cards are scanned, fingers press, the ledger has it."""

import asyncio
import json
import time

import pytest
from loan_desk import COLLEAGUE, LABELS, NURSE, POINT, SHEET, DeskBag

from agent.custody import State
from agent.display.page import serve_nurse
from tests.display.preview import Gestures, new_board
from tests.peers.chromium import Chromium, Page, chromium
from tests.peers.pages import serving

pytestmark = pytest.mark.browser


class Lent:
    """A bag that Mme D. has, its page, and a scanner in the test's hand."""

    def __init__(self, folder) -> None:
        self._folder = folder
        self.board = new_board()
        self.gestures = Gestures(self.board)
        self.quiet = False

    async def serve(self, ready) -> None:
        self._loop = asyncio.get_running_loop()
        self.bag = await DeskBag(self._folder).lent()
        self.board.beside = lambda: {"desk": self.bag.desk.view(), "quiet": self.quiet}
        await serve_nurse(
            self.board,
            self.gestures,
            silence=self.gestures.silence,
            desk=self.bag.desk,
            host="127.0.0.1",
            port=0,
            ready=ready,
        )

    def scan(self, text: str) -> str:
        return asyncio.run_coroutine_threadsafe(self.bag.scan(text), self._loop).result(10)

    @property
    def state(self) -> State:
        return self.bag.desk.loan.state


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture
def lent(tmp_path):
    bag = Lent(tmp_path)
    with serving(bag.serve) as (bag.url,):
        yield bag


def said(page: Page, words: str) -> None:
    page.until(f"document.getElementById('desk-said').innerText.includes({json.dumps(words)})")


def visible(page: Page) -> list[str]:
    return page.run("[...document.querySelectorAll('.desk-keys button')].filter((b) => !b.hidden).map((b) => b.id)")


def lines(page: Page, place: str) -> list[str]:
    return page.run(
        f"[...document.querySelectorAll('#{place} li')].map((e) => e.innerText.replace(/\\s+/g, ' ').trim())"
    )


def test_a_bag_is_passed_on_kept_and_brought_back(browser: Chromium, lent):
    page = browser.page()
    page.size(1280, 800)
    page.open(lent.url)
    said(page, "Sac 04 remis à Mme D.")
    assert visible(page) == ["keep", "problem"]
    lent.scan(NURSE)
    said(page, "Passation : scannez l'autre badge")
    page.until("document.getElementById('status').innerText.includes('Passation')")  # a screen reader hears it
    lent.scan(COLLEAGUE)
    said(page, "Sac 04 passé à M. K.")

    page.press("#keep")
    page.until("document.getElementById('keep-choice').open")
    assert page.run("document.querySelectorAll('#keep-choice .choices button').length") == 3
    page.press("#keep-choice .choices button:nth-child(2)")
    said(page, "Gardé : retour prévu")
    page.until("!document.getElementById('keep-choice').open")

    lent.bag.seen = {"oximeter": 5.0, "cuff": 7200.0}
    lent.scan(POINT)
    said(page, "Retour : à compter : tensiomètre, otoscope")
    assert visible(page) == ["all-there", "problem"]
    parts = lines(page, "parts")
    assert parts[0] == "oxymètre vu"
    assert parts[1].startswith("tensiomètre vu à ")
    assert parts[2] == "otoscope à compter"
    lent.scan(LABELS["BP-1"])
    page.until("document.querySelector('#parts li:nth-child(2) .state').innerText === 'compté'")
    page.press("#supplies li:nth-child(1) button:nth-of-type(2)")
    page.until("document.querySelector('#supplies output').innerText === '10'")
    page.press("#supplies li:nth-child(1) button:nth-of-type(1)")
    page.until("document.querySelector('#supplies output').innerText === '9'")
    assert "à compléter : au moins 10" in lines(page, "supplies")[0]
    page.size(320, 640, touch=True)
    assert page.run("document.documentElement.scrollWidth") <= 320  # nothing to scroll sideways on the smallest phone
    page.size(1280, 800)
    page.press("#all-there")
    said(page, "Scannez «Désinfecté» pour finir")
    assert lines(page, "parts") == ["oxymètre vu", "tensiomètre compté", "otoscope compté"]
    assert lines(page, "condition")[:2] == ["complet oui", "désinfecté non"]
    lent.scan(SHEET["DESINFECTE"])
    said(page, "Retour enregistré. Laissez branché : envoi en cours. À compléter : électrodes")
    page.until("document.getElementById('return').hidden")
    assert lent.state is State.DRAINING
    assert page.errors == []
    page.close()


def test_a_problem_is_reported_with_two_presses_and_can_be_cancelled(browser: Chromium, lent):
    lent.bag.serials["cuff"] = "5200123"
    page = browser.page()
    page.size(390, 844, touch=True)
    page.open(lent.url)
    said(page, "Sac 04 remis")
    lent.bag.clock.t_s += 20
    page.press("#problem")
    page.press("#problem-choice .cancel")
    page.until("!document.getElementById('problem-choice').open")
    page.press("#problem")
    assert page.run("[...document.querySelectorAll('#problem-choice .choices button')].map((b) => b.innerText)") == [
        "oxymètre", "tensiomètre", "otoscope", "le sac lui-même",
    ]  # fmt: skip
    small = page.run(
        "[...document.querySelectorAll('#problem-choice button, .desk-keys button')]"
        ".filter((b) => b.offsetParent).map((b) => b.getBoundingClientRect()).filter((b) => b.height < 57).length"
    )
    assert small == 0  # 15 mm for a gloved finger
    page.press("#problem-choice .choices button:nth-child(2)")
    said(page, "Problème noté : tensiomètre (n° 5200123)")
    assert lent.bag.desk.loan.custody.problems == ("BP-1#5200123",)
    assert page.errors == []
    page.close()


def test_silence_is_a_key_where_there_is_a_buzzer(browser: Chromium, lent):
    page = browser.page()
    page.size(1280, 800)
    page.open(lent.url)
    said(page, "Sac 04")
    page.press("#quiet")
    end = time.monotonic() + 10
    while "silence True" not in lent.gestures.done and time.monotonic() < end:
        time.sleep(0.02)
    lent.quiet = True
    page.until("document.getElementById('quiet').getAttribute('aria-pressed') === 'true'")
    lent.quiet = None
    page.until("document.getElementById('quiet').hidden")
    assert lent.gestures.done == ["silence True"]
    page.close()


def test_in_a_visit_the_sweeps_have_the_room_and_an_answer_is_still_shown(browser: Chromium, lent):
    page = browser.page()
    page.size(1280, 800)
    page.open(lent.url)
    said(page, "Sac 04")
    page.press("#begin")  # in reach though the desk stands above the sweeps
    page.until("!document.getElementById('end').hidden")
    assert visible(page) == []
    assert not page.run("document.getElementById('quiet').hidden")
    assert not page.run("document.getElementById('desk').hidden")  # handed over a moment ago
    lent.bag.clock.t_s += 25
    page.until("document.getElementById('desk').hidden")
    lent.scan("BSC1:JUNK")
    said(page, "Refusé : ce code n'est pas un badge Besace")
    assert not page.run("document.getElementById('desk').hidden")
    page.close()
