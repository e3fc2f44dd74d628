"""Both pages in a real browser: three waves that move, fingers, screens of three sizes, and a server that dies."""

import contextlib
import itertools
import json
import time

import pytest

from tests.display.preview import CODE, preview
from tests.peers.chromium import Chromium, Page, chromium
from tests.peers.waiting import wait_until

pytestmark = pytest.mark.browser

SLOTS = ("ecg", "pleth", "sound")
INK = """(() => Object.fromEntries(["ecg", "pleth", "sound"].map((slot) => {
  const canvas = document.querySelector(`.row[data-slot="${slot}"] .ink`);
  const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  const columns = [];
  for (let x = 0; x < canvas.width; x++) {
    let top = -1, bottom = -1;
    for (let y = 0; y < canvas.height; y++) if (pixels[4 * (y * canvas.width + x) + 3] > 128) {
      if (top < 0) top = y;
      bottom = y;
    }
    columns.push([top, bottom]);
  }
  return [slot, columns];
})))()"""


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def show():
    with preview() as found:
        yield found


def text(page: Page, selector: str) -> str:
    return page.run(f"document.querySelector({json.dumps(selector)}).innerText.trim()")


def enter(page: Page, url: str) -> None:
    page.open(url)
    page.run(f"document.getElementById('code').value = '{CODE}'")
    page.press("form button")
    page.until("!!document.querySelector('.row')")


def full(page: Page) -> None:
    """Wait until every sweep is drawn over its whole width but the erase bar."""
    page.until(f"Object.values({INK}).every((c) => c.filter(([top]) => top >= 0).length > 0.85 * c.length)")


def assert_three_waves_move(page: Page) -> None:
    full(page)
    first, second = page.run(INK), {}

    def moved() -> bool:
        second.update(page.run(INK))
        changed = {slot: sum(a != b for a, b in zip(first[slot], second[slot], strict=True)) for slot in SLOTS}
        return all(changed[slot] > 0.04 * len(second[slot]) for slot in SLOTS)

    wait_until(moved)
    for slot in SLOTS:
        drawn = [(top, bottom) for top, bottom in second[slot] if top >= 0]
        height = max(bottom for _, bottom in drawn) - min(top for top, _ in drawn)
        assert height > 30, f"{slot} is flat"
        # The erase bar: one empty stretch of 0.25 s, as a ring.
        empty = [top < 0 for top, _ in second[slot]]
        begins = sum(e and not empty[i - 1] for i, e in enumerate(empty))
        assert begins <= 2, f"{slot} has holes"


def test_the_nurse_sees_three_waves_move_and_the_numbers_beside_them(browser: Chromium, show):
    page = browser.page()
    page.size(1280, 800)
    page.open(show.nurse)
    assert_three_waves_move(page)
    assert text(page, "#code strong") == CODE
    assert text(page, ".demo") == "DÉMONSTRATION – aucun patient"
    assert text(page, '[data-id="hr"] .value') == "72/min"
    assert text(page, '[data-id="spo2"] .text') == "97"
    assert text(page, '[data-id="bp"] .text') == "128/76"
    assert "Ne pas interpréter le ST" in text(page, '[data-slot="ecg"] .sweep header')
    assert text(page, "#mic") == "Micro ouvert"
    assert page.errors == []
    page.close()


def test_an_ecg_is_drawn_at_ten_millimetres_to_the_millivolt_and_twenty_five_a_second(browser: Chromium, show):
    page = browser.page()
    page.size(1280, 800)
    page.open(show.nurse)
    full(page)
    columns = page.run(INK)["ecg"]
    mm = len(columns) / 150
    tops = [top for top, _ in columns if top >= 0]
    baseline = sorted(tops)[len(tops) // 2]
    peak_mv = (baseline - min(tops)) / (10 * mm)
    assert peak_mv == pytest.approx(1.15, abs=0.12)  # the preview's R wave, sampled at 125 Hz
    peaks = [x for x, (top, _) in enumerate(columns) if 0 <= top <= min(tops) + 0.3 * (baseline - min(tops))]
    beats = [x for i, x in enumerate(peaks) if i == 0 or x - peaks[i - 1] > 10 * mm]
    steps = [b - a for a, b in itertools.pairwise(beats)]
    assert sorted(steps)[len(steps) // 2] == pytest.approx(25 * mm * 60 / 72, abs=0.6 * mm)
    page.close()


def test_the_doctor_enters_the_code_sees_three_waves_and_hears_the_heart(browser: Chromium, show):
    page = browser.page()
    page.size(1280, 800)
    enter(page, show.doctor)
    page.until("document.getElementById('link').innerText.includes('En direct du sac')")
    page.press("#hear")
    page.until("document.getElementById('heard').innerText.startsWith('Son brut')")
    assert_three_waves_move(page)
    page.press("#treated")
    page.until("document.getElementById('heard').innerText.startsWith('Son traité')")
    page.press("#hear")
    assert text(page, "#heard") == ""
    assert page.errors == []
    page.press('[action="/leave"] button')
    page.until("!!document.getElementById('code') && !document.querySelector('.row')")
    page.close()


@pytest.mark.parametrize(
    ("width", "height", "touch"), [(1280, 800, False), (800, 1280, True), (390, 844, True), (320, 640, True)]
)
def test_every_screen_shows_all_of_it_with_targets_for_gloves(browser: Chromium, show, width, height, touch):
    page = browser.page()
    page.size(width, height, touch=touch)
    page.open(show.nurse)
    page.until("document.querySelectorAll('.tile').length >= 6 && document.querySelectorAll('.number').length >= 6")
    assert page.run("document.documentElement.scrollWidth") <= width
    sizes = page.run(
        "[...document.querySelectorAll('button')].filter((b) => b.offsetParent)"
        ".map((b) => [b.offsetWidth, b.offsetHeight])"
    )
    assert sizes
    assert all(w >= 57 and h >= 57 for w, h in sizes)  # 15 mm at 96 dpi
    cut = page.run(
        "[...document.querySelectorAll('.number, .tile, .bag p, .bag h1')].filter((e) => {"
        " const box = e.getBoundingClientRect(), frame = e.parentElement.getBoundingClientRect();"
        " const out = box.right > frame.right + 1 || box.bottom > frame.bottom + 1;"
        " return box.width && (out || e.scrollWidth > e.clientWidth + 1);"
        "}).map((e) => e.innerText)"
    )
    assert cut == []
    page.close()


def test_a_glove_cannot_end_a_visit_by_tapping_and_a_new_visit_wipes_the_values(browser: Chromium, show):
    page = browser.page()
    page.size(1280, 800)
    page.open(show.nurse)
    done = show.gestures.done
    page.until(
        "document.getElementById('end').offsetParent !== null && document.querySelectorAll('.number').length > 4"
    )
    for _ in range(2):
        page.press("#end", hold_s=0.1)
    assert text(page, "#said") == "Maintenez le bouton appuyé 2 secondes"
    assert "end" not in done
    page.press("#end", until="document.getElementById('begin').offsetParent !== null")
    assert done == ["end"]
    page.press("#begin")
    page.until("document.querySelector('#code strong').innerText === '4822'")
    assert text(page, '[data-id="temp"] .text') == "– –"
    assert text(page, '[data-id="temp"] .note') == "pas encore mesurée"
    page.press("#listen")
    page.until("document.getElementById('mic').offsetParent === null")
    assert done == ["end", "new", "listen False"]
    page.close()


def test_frozen_traces_stand_still_and_can_be_looked_back_at(browser: Chromium, show):
    page = browser.page()
    page.size(1280, 800)
    page.open(show.nurse)
    full(page)
    page.press("#freeze")
    page.until("document.getElementById('when').innerText.startsWith('Figé à ')")
    page.run("(async () => { for (let n = 0; n < 10; n++) await new Promise(requestAnimationFrame); })()")  # drawn
    still, when = page.run(INK), text(page, "#when")
    time.sleep(0.5)
    assert page.run(INK) == still
    page.press("#earlier")
    page.until(f"document.getElementById('when').innerText !== {json.dumps(when)}")
    wait_until(lambda: page.run(INK) != still)
    page.press("#later")
    wait_until(lambda: page.run(INK) == still)
    page.press("#freeze")
    assert_three_waves_move(page)
    page.close()


def longest_hole(columns: list[list[int]]) -> int:
    """Consecutive empty columns, the sweep taken as a ring."""
    longest = run = 0
    for top, _ in columns + columns:
        run = run + 1 if top < 0 else 0
        longest = max(longest, run)
    return longest


def test_what_an_outage_held_back_is_filled_in_at_its_true_time(browser: Chromium, show):
    page = browser.page()
    page.size(1280, 800)
    enter(page, show.doctor)
    full(page)
    second = len(page.run(INK)["ecg"]) / 6
    show.far.silent = True
    try:
        page.until(f"{INK}.ecg.filter(([top]) => top < 0).length > {1.8 * second}")
        assert longest_hole(page.run(INK)["ecg"]) > 1.5 * second
    finally:
        show.far.silent = False
    wait_until(lambda: longest_hole(page.run(INK)["ecg"]) < 0.4 * second)
    page.close()


def test_no_beat_is_said_on_both_pages_and_out_loud(browser: Chromium, show):
    page = browser.page()
    page.size(1280, 800)
    page.open(show.nurse)
    show.bag.asystole = True
    try:
        page.until("document.getElementById('notices').innerText.includes('Aucun battement détecté')")
        assert text(page, '[data-id="hr"] .text') == "– –"
        page.until("document.getElementById('status').textContent.includes('Aucun battement détecté')")
    finally:
        show.bag.asystole = False
    page.until("document.querySelector('[data-id=\"hr\"] .text').innerText === '72'")
    page.close()


def test_pieces_are_kept_once_and_in_order_however_they_arrive(browser: Chromium, show):
    page = browser.page()
    page.size(1280, 800)
    page.open(show.nurse)
    kept = page.run("""(async () => {
      const { Sweep } = await import("/static/sweep.js");
      const sweep = new Sweep(document.querySelector('.row[data-slot="pleth"] .trace'), "pleth", 60);
      const piece = (t, ...y) => sweep.add({ t, fs: 10, q: 0.5, y });
      piece(1.0, 0, 1, 2, 3);
      piece(1.4, 4, 5);
      piece(1.0, 0, 1, 2, 3); // a reconnection repeats what is there
      piece(1.2, 2, 3, 4, 5, 6); // and a little more
      piece(3.0, 20, null, 22);
      piece(1.7, 7, 8); // late
      piece(2.5, 15, 16, 17, 18, 19, 20); // late, up to what is there
      return sweep.chunks.flatMap(({ t, v }) => [...v].map((value, i) => [Math.round(10 * t + i), value]));
    })()""")
    points = dict(kept)
    assert [tenth for tenth, _ in kept] == sorted(points)
    expected = {10 + n: n / 2 for n in (*range(9), *range(15, 21), 22)}
    assert {tenth: value for tenth, value in points.items() if value is not None} == expected
    page.close()


def test_when_the_server_falls_silent_no_number_stays(browser: Chromium):
    pages: dict[str, Page] = {}
    with contextlib.ExitStack() as later:
        with preview() as show:
            for name, url in (("nurse", show.nurse), ("doctor", show.doctor)):
                page = browser.page()
                later.callback(page.close)
                page.size(1280, 800)
                enter(page, url) if name == "doctor" else page.open(url)
                page.until("document.querySelector('[data-id=\"hr\"] .text')?.innerText === '72'")
                pages[name] = page
        for name, sentence in (
            ("nurse", "Liaison avec le sac perdue"),
            ("doctor", "Liaison avec la plateforme perdue"),
        ):
            page = pages[name]
            page.until(f"document.getElementById('link').innerText.includes({json.dumps(sentence)})")
            numbers = page.run("[...document.querySelectorAll('.number .text')].map((e) => e.innerText)")
            assert len(numbers) >= 5
            assert set(numbers) == {"– –"}
            assert text(page, "#status") == sentence
