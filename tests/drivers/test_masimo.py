"""Masimo ASCII 1: lines as the manual prints them."""

import pytest
from driver_rig import cuts, fed, whole
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.drivers.masimo import MasimoDecoder
from agent.model import Kind, NoValue, Reading, ReadingQuality

LINE = b"03/09/26 14:20:05 SN=0000070628 SPO2=098% BPM=097 PI=03.60% SPCO=--.-% SPMET=--.-% DESAT=-- PIDELTA=+-- ALARM=0000 EXC=000800\r\n"  # noqa: E501
NONE = b"03/09/26 14:20:06 SN=0000070628 SPO2=---% BPM=--- PI=--.--% DESAT=-- ALARM=0000 EXC=000020\r\n"


def numbers(data):
    return [(i.kind, i.number, i.reason, i.quality) for i in fed(MasimoDecoder("m"), data) if isinstance(i, Reading)]


def test_a_line():
    good = (None, ReadingQuality.GOOD)
    assert numbers(LINE) == [
        (Kind.SPO2, 98.0, *good),
        (Kind.PULSE_RATE, 97.0, *good),
        (Kind.PERFUSION_INDEX, 3.6, *good),
    ]


def test_dashes_are_no_value():
    none = (None, NoValue.PROBE_OFF, ReadingQuality.NONE)
    assert numbers(NONE) == [(Kind.SPO2, *none), (Kind.PULSE_RATE, *none), (Kind.PERFUSION_INDEX, *none)]


@pytest.mark.parametrize(
    ("exc", "word", "quality"),
    [
        ("000004", "low_perfusion", ReadingQuality.QUESTIONABLE),
        ("000400", "low_signal_iq", ReadingQuality.QUESTIONABLE),
        ("000008", "pulse_search", ReadingQuality.GOOD),
    ],
)
def test_exceptions(exc, word, quality):
    line = LINE.replace(b"000800", exc.encode())
    assert {(i.flags, i.quality) for i in fed(MasimoDecoder("m"), line)} == {((word,), quality)}


@pytest.mark.parametrize("line", [b"SPO2=098%\r\n", b"hello\r\n", b"SPO2=98.98.98 BPM=97\r\n", b"A" * 300 + b"\r\n"])
def test_other_lines_give_no_wrong_number(line):
    assert [n for _, n, _, _ in numbers(line) if n == 98.0] == []


DIRTY = b"half a line PI=1\r\n" + LINE + b"\xff\xfe" + NONE + LINE[:40] + b"\n" + LINE


@given(cuts(len(DIRTY)))
@settings(max_examples=50, deadline=None)
def test_any_cutting_gives_the_same(places):
    one, other = MasimoDecoder("m"), MasimoDecoder("m")
    assert whole(fed(one, DIRTY), ()) == whole(fed(other, DIRTY, places), ())
    assert one.counters.damaged == other.counters.damaged


@given(st.lists(st.one_of(st.binary(max_size=80), st.just(b"SPO2=1"), st.just(b"BPM=\n")), max_size=8))
@settings(max_examples=100, deadline=None)
def test_random_bytes_never_raise_and_never_pile_up(pieces):
    d = MasimoDecoder("m")
    for piece in pieces:
        d.feed("serial", piece, 0)
    assert len(d._line) <= 256
