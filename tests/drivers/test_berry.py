"""Berry BM1000: BCI packets by hand."""

import random

import pytest
from driver_rig import cuts, fed, gaps_of, samples_of, whole
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.drivers.berry import BciDecoder
from agent.model import Kind, NoValue, Reading, ReadingQuality

GOOD = bytes.fromhex("88 3c 07 4b 62")  # strength 8, pleth 60, bar 7, 75/min, 98 %
FAST = bytes.fromhex("c8 3c 47 0c 5f")  # beep, bit 7 of the rate: 128 + 12 = 140/min, 95 %
SEARCHING = bytes.fromhex("80 00 60 7f 7f")  # searching, rate 255 and SpO2 127: none
NO_FINGER = bytes.fromhex("80 00 50 7f 7f")  # probe error
LONG = bytes.fromhex("90 05 41 7f 7f")  # searching too long, no value yet
ODD = bytes.fromhex("88 3c 07 10 20")  # 16/min, 32 %


def decoder() -> BciDecoder:
    return BciDecoder("berry-bm1000")


def numbers(data: bytes):
    return {i.kind: (i.value, i.reason, i.flags) for i in fed(decoder(), data) if isinstance(i, Reading)}


@pytest.mark.parametrize(
    ("data", "spo2", "rate"),
    [
        (GOOD, (98, None, ()), (75, None, ())),
        (FAST, (95, None, ()), (140, None, ())),
        (SEARCHING, (None, NoValue.STARTING, ("searching",)), (None, NoValue.STARTING, ("searching",))),
        (NO_FINGER, (None, NoValue.PROBE_OFF, ("probe_error",)), (None, NoValue.PROBE_OFF, ("probe_error",))),
        (LONG, (None, NoValue.POOR_SIGNAL, ("searching_long",)), (None, NoValue.POOR_SIGNAL, ("searching_long",))),
        (bytes.fromhex("a8 3c 07 4b 58"), (88, None, ("spo2_dropping",)), (75, None, ("spo2_dropping",))),
        (bytes.fromhex("88 3c 07 4b 7f"), (None, NoValue.INSTRUMENT, ()), (75, None, ())),
    ],
)
def test_packets_by_hand(data, spo2, rate):
    assert numbers(data) == {Kind.SPO2: spo2, Kind.PULSE_RATE: rate}


def test_pleth_is_seven_bits_at_100_hz():
    d = decoder()
    assert d.streams[0].fs_hz == 100.0
    assert samples_of(fed(d, GOOD + bytes.fromhex("88 7f 00 4b 62") + SEARCHING), "berry-bm1000.pleth").tolist() == [
        60,
        127,
        0,
    ]


def test_numbers_come_once_a_second_and_on_change():
    items = fed(decoder(), GOOD * 250 + FAST * 50)
    assert [i.value for i in items if isinstance(i, Reading) and i.kind is Kind.SPO2] == [98, 98, 98, 95]


def test_implausible_is_marked():
    d = decoder()
    readings = [i for i in fed(d, ODD) if isinstance(i, Reading)]
    assert {r.quality for r in readings} == {ReadingQuality.IMPLAUSIBLE}
    assert [r.value for r in readings] == [32, 16]


def packets(n: int) -> list[bytes]:
    return [bytes((0x88, k % 128, 7, 75, 98)) for k in range(n)]


@pytest.mark.parametrize("kind", ["sync bit lost", "sync bit gained", "delete"])
def test_damage_costs_no_undamaged_packet(kind):
    rng = random.Random(3)
    whole_packets = packets(6000)
    damaged = set(range(1, 6000, 3))  # apart: two cut neighbours can look like one whole packet
    out = bytearray()
    for k, packet in enumerate(whole_packets):
        b = bytearray(packet)
        if k in damaged:
            match kind:
                case "sync bit lost":
                    b[0] &= 0x7F
                case "sync bit gained":
                    b[rng.randrange(1, 5)] |= 0x80
                case _:
                    at = rng.randrange(5)
                    del b[at : at + rng.randrange(1, 5)]
        out += b
    d = decoder()
    items = fed(d, bytes(out))
    got = len(samples_of(items, "berry-bm1000.pleth"))
    assert got == 4000  # every undamaged packet and no damaged one
    assert sum(n for _, n in gaps_of(items, "berry-bm1000.pleth")) == d.counters.damaged == 2000


DIRTY = GOOD * 3 + b"\x11\x88" + FAST * 2 + SEARCHING[:3] + GOOD * 2 + b"\x80\x80" + NO_FINGER * 4


@given(cuts(len(DIRTY)))
@settings(max_examples=60, deadline=None)
def test_any_cutting_gives_the_same(places):
    one, other = decoder(), decoder()
    assert whole(fed(one, DIRTY), one.streams) == whole(fed(other, DIRTY, places), other.streams)
    assert one.counters == other.counters


@given(st.lists(st.binary(max_size=40), max_size=10))
@settings(max_examples=150, deadline=None)
def test_random_bytes_never_raise_and_never_pile_up(pieces):
    d = decoder()
    for piece in pieces:
        samples_of(d.feed("ble", piece, 0), "berry-bm1000.pleth")
    assert len(d._buffer) < 5
