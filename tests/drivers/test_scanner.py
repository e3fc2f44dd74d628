"""The badge scanner: which lines count."""

import pytest
from driver_rig import cuts, fed
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.drivers.scanner import LONGEST, ScannerDecoder
from agent.model import Scan

BADGE = b"BSC1:6BF+70790T9WJWG.FKY*4GO0.O1CV2 O5 N2FBBRW1*70HS8WY04AC*WIFN0AHCD8KD97TK0F90KECTHGWJC0FDC:5AIA%G7X"


def texts(data: bytes, places=()):
    return [i.text for i in fed(ScannerDecoder("s"), data, places) if isinstance(i, Scan)]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (BADGE + b"\r\n", [BADGE.decode()]),
        (BADGE + b"\n", [BADGE.decode()]),
        (BADGE + b"\r", [BADGE.decode()]),
        (BADGE, []),  # not ended yet
        (b"\r\n\r\n", []),
        (b"3400930000000\r\n", []),  # a box of medicine
        (b"bsc1:abc\r\n", []),
        (b"XBSC1:abc\r\n", []),
        (b"BSC1:ABC\x00DEF\r\n", []),
        (b"BSC1:AB\xe9\r\n", []),
        (b"BSC1:ONE\r\nBSC1:TWO\r\n", ["BSC1:ONE", "BSC1:TWO"]),
        (b"junk\r\nBSC1:ONE\r\n", ["BSC1:ONE"]),
    ],
)
def test_lines(data, expected):
    assert texts(data) == expected


def test_the_longest_line_and_one_more():
    assert texts(b"BSC1:" + b"A" * (LONGEST - 5) + b"\r\n") == ["BSC1:" + "A" * (LONGEST - 5)]
    assert texts(b"BSC1:" + b"A" * (LONGEST - 4) + b"\r\nBSC1:B\r\n") == ["BSC1:B"]


def test_an_endless_line_is_not_kept():
    d = ScannerDecoder("s")
    for _ in range(100):
        d.feed("serial", b"A" * 10_000, 0)
    assert len(d._line) <= LONGEST
    assert [i.text for i in d.feed("serial", b"\nBSC1:B\n", 0)] == ["BSC1:B"]


def test_the_same_badge_within_a_second_counts_once():
    d = ScannerDecoder("s")
    seen = [
        (t, item.text) for t in (0, 400, 900, 1_850, 3_000) for item in d.feed("serial", b"BSC1:A\r\n", t * 1_000_000)
    ]
    assert [t for t, _ in seen] == [0, 3_000]  # held in the beam it stays one scan
    assert [i.text for i in d.feed("serial", b"BSC1:B\r\n", 3_001_000_000)] == ["BSC1:B"]


DIRTY = b"xx\r\nBSC1:ONE\r\n\x00\x01BSC1:\n" + BADGE + b"\r\nBSC1:TWO\rBSC1:TH"


@given(cuts(len(DIRTY)))
@settings(max_examples=60, deadline=None)
def test_any_cutting_gives_the_same(places):
    assert texts(DIRTY) == texts(DIRTY, places)


@given(st.lists(st.binary(max_size=700), max_size=8))
@settings(max_examples=80, deadline=None)
def test_random_bytes_never_raise(pieces):
    d = ScannerDecoder("s")
    for piece in pieces:
        for item in d.feed("serial", piece, 0):
            assert item.text.startswith("BSC1:")
            assert len(item.text) <= LONGEST
