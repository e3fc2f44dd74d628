"""Contec 9-byte packets: from a public capture of a CMS50D+, and by hand."""

import random

import pytest
from driver_rig import cuts, fed, gaps_of, samples_of, whole
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.drivers.contec import KEEP_ALIVE, START, ContecDecoder
from agent.drivers.contec import whole as top_bits
from agent.model import Kind, NoValue, Reading

PLETH = "c.pleth"
# Three packets as a CMS50D+ sent them (headrotor/contec_data, stream_data.py): pulse rate 65, SpO2 97
CAPTURE = bytes.fromhex("01 e0 85 b3 96 c1 e1 ff ff  01 e0 85 b0 96 c1 e1 ff ff  01 e0 85 ae 95 c1 e1 ff ff")
FAST = bytes.fromhex("01 e8 85 b3 96 8c df ff ff")  # bit 3 of byte 1: 128 + 12 = 140/min, 95 %
NO_FINGER = bytes.fromhex("01 e1 80 80 90 80 80 ff ff")  # bit 7 of the status
SEARCHING = bytes.fromhex("01 ea 80 80 90 ff ff ff ff")  # bit 7 of the pleth; rate 255, SpO2 127
REPLY = bytes.fromhex("0c 80")  # to a command


def numbers(data):
    return {i.kind: (i.value, i.reason) for i in fed(ContecDecoder("c"), data) if isinstance(i, Reading)}


def test_a_capture():
    items = fed(ContecDecoder("c"), REPLY + CAPTURE)
    assert samples_of(items, PLETH).tolist() == [0x33, 0x30, 0x2E]
    assert numbers(CAPTURE) == {Kind.SPO2: (97, None), Kind.PULSE_RATE: (65, None)}


def test_a_rate_above_127_needs_bit_3_of_byte_1():
    assert numbers(FAST) == {Kind.SPO2: (95, None), Kind.PULSE_RATE: (140, None)}
    assert top_bits(FAST) == [5, 0x33, 0x16, 140, 95]


@pytest.mark.parametrize(("data", "reason"), [(NO_FINGER, NoValue.PROBE_OFF), (SEARCHING, NoValue.STARTING)])
def test_no_numbers(data, reason):
    assert numbers(data) == {Kind.SPO2: (None, reason), Kind.PULSE_RATE: (None, reason)}


def test_commands():
    assert START.hex() == "7d81a1808080808080"
    assert KEEP_ALIVE.hex() == "7d81af808080808080"


@pytest.mark.parametrize("kind", ["corrupt", "delete"])
def test_damage_costs_no_undamaged_packet(kind):
    rng = random.Random(5)
    out = bytearray()
    for n in range(3000):
        b = bytearray(bytes((0x01, 0xE0, 0x85, 0x80 | n % 128, 0x96, 0xC1, 0xE1, 0xFF, 0xFF)))
        if n % 3 == 1:
            if kind == "corrupt":
                b[rng.randrange(9)] ^= 0x80
            else:
                at = rng.randrange(9)
                del b[at : at + rng.randrange(1, 9)]
        out += b
    d = ContecDecoder("c")
    items = fed(d, bytes(out))
    assert samples_of(items, PLETH).tolist() == [n % 128 for n in range(3000) if n % 3 != 1]
    assert sum(n for _, n in gaps_of(items, PLETH)) == 1000


DIRTY = REPLY + CAPTURE + b"\x01\x80" + FAST * 2 + NO_FINGER[:5] + SEARCHING + CAPTURE


@given(cuts(len(DIRTY)))
@settings(max_examples=50, deadline=None)
def test_any_cutting_gives_the_same(places):
    one, other = ContecDecoder("c"), ContecDecoder("c")
    assert whole(fed(one, DIRTY), one.streams) == whole(fed(other, DIRTY, places), other.streams)


@given(st.lists(st.binary(max_size=40), max_size=8))
@settings(max_examples=100, deadline=None)
def test_random_bytes_never_raise_and_never_pile_up(pieces):
    d = ContecDecoder("c")
    for piece in pieces:
        d.feed("serial", piece, 0)
    assert len(d._buffer) < 9
