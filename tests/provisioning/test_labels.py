"""Cards on paper: an independent reader gets every code back from the printed page."""

import dataclasses
import shutil
import subprocess
from xml.etree import ElementTree as ET

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from agent.badges import Badge, Role, make
from provisioning.labels import Card, bag_label, card_svg, matrix, sheet_pdf
from provisioning.pdf import Page, document

segno = pytest.importorskip("segno", reason="printing cards needs segno (the extra 'provision')")
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
LONGEST = Badge(Role.NURSE, b"\x01\x02\x03\x04\x05\x06", "Mme Lefèvre", 1_790_000_000, 0, 365)
CARDS = [
    Card(make(dataclasses.replace(LONGEST, id=bytes([n] * 6)), KEY), "Soignant", f"Mme Lefèvre {n}", "jusqu'au", "0a")
    for n in range(11)
]
NEEDED = {"pdftoppm": "poppler-utils", "zbarimg": "zbar-tools"}


def test_the_code_is_version_7_at_level_m():
    code = segno.make(CARDS[0].text, error="m", boost_error=False)
    assert code.designator == "7-M"
    assert code.mode == "alphanumeric"
    assert len(matrix(CARDS[0].text)) == 45


@pytest.mark.parametrize("tool", NEEDED)
def test_the_independent_reader_is_here(tool):
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed (apt install {NEEDED[tool]}): printed cards are not read back")


@pytest.mark.skipif(any(shutil.which(tool) is None for tool in NEEDED), reason="needs zbar-tools and poppler-utils")
def test_every_card_of_the_sheet_is_read_back_at_200_dpi(tmp_path):
    (tmp_path / "cards.pdf").write_bytes(sheet_pdf(CARDS))
    subprocess.run(["pdftoppm", "-r", "200", "-png", "cards.pdf", "page"], cwd=tmp_path, check=True)
    pages = sorted(path.name for path in tmp_path.glob("page-*.png"))
    assert len(pages) == 2  # ten on the first, one on the second
    read = subprocess.run(
        ["zbarimg", "--quiet", "--raw", "-Sdisable", "-Sqrcode.enable", *pages],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert sorted(read.stdout.splitlines()) == sorted(card.text for card in CARDS)


def test_the_pdf_says_the_names_in_french_letters():
    content = sheet_pdf(CARDS[:1])
    assert "Lefèvre".encode("cp1252") in content
    assert content.startswith(b"%PDF-1.4")


def test_the_svg_is_one_drawing_with_a_name_for_those_who_cannot_see_it():
    root = ET.fromstring(card_svg(dataclasses.replace(CARDS[0], name='<a "b">')))
    assert root.get("aria-label") == 'Soignant <a "b">'
    assert root.get("width") == "85.6mm"


def test_the_bags_label_is_short_upper_case_and_holds_no_secret():
    card = bag_label("sac-04", "cpts.example")
    assert card.text == "HTTPS://CPTS.EXAMPLE/S/SAC-04"
    assert segno.make(card.text, error="m", boost_error=False).version <= 3


@given(st.lists(st.text(max_size=30), max_size=4))
def test_any_text_makes_a_whole_pdf(texts):
    page = Page()
    for text in texts:
        page.text(10, 10, 12, text)
    data = document([page])
    xref = int(data.rsplit(b"startxref\n", 1)[1].split(b"\n")[0])
    assert data[xref:].startswith(b"xref\n")
    lines = data[xref : data.index(b"trailer", xref)].split(b"\n")[3:-1]
    assert len(lines) == 6
    for number, line in enumerate(lines, 1):
        assert data[int(line[:10]) :].startswith(b"%d 0 obj\n" % number)
