"""Contec over BLE: frames by hand from public readers' notes."""

import pytest
from driver_rig import cuts, fed, readings_of
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.drivers.contec_ble import NOTIFY, START, WRITE, ContecBleDecoder
from agent.model import Kind, NoValue, Reading, ReadingQuality

MEASURED = bytes.fromhex("eb01053e627f0010")  # 62 a minute, 98 %
FAST = bytes.fromhex("eb01070c617f005f")  # 140 a minute (0c and the flags' bit 1), 97 %
NO_FINGER = bytes.fromhex("eb01057f7f7f006e")
WAVE = bytes.fromhex("eb000040103b")
REPLY = bytes.fromhex("f070")


def decoder():
    return ContecBleDecoder("contec-ble")


def numbers(items):
    return [(i.kind, i.number, i.reason) for i in items if isinstance(i, Reading)]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (MEASURED, [(Kind.SPO2, 98, None), (Kind.PULSE_RATE, 62, None)]),
        (FAST, [(Kind.SPO2, 97, None), (Kind.PULSE_RATE, 140, None)]),
        (NO_FINGER, [(Kind.SPO2, None, NoValue.PROBE_OFF), (Kind.PULSE_RATE, None, NoValue.PROBE_OFF)]),
        (bytes.fromhex("eb010500627f0052"), [(Kind.SPO2, 98, None), (Kind.PULSE_RATE, None, NoValue.POOR_SIGNAL)]),
        (bytes.fromhex("eb01053e007f002e"), [(Kind.SPO2, None, NoValue.POOR_SIGNAL), (Kind.PULSE_RATE, 62, None)]),
        (WAVE, []),
        (REPLY, []),
    ],
)
def test_a_frame(data, expected):
    assert numbers(decoder().feed(NOTIFY, data, 10**9)) == expected


def test_an_implausible_value_is_marked():
    (spo2, _) = decoder().feed(NOTIFY, bytes.fromhex("eb01053e147f0042"), 0)  # 20 %
    assert (spo2.number, spo2.quality) == (20, ReadingQuality.IMPLAUSIBLE)


@given(cuts(5 * 8 + 6 + 2))
@settings(max_examples=100, deadline=None)
def test_any_cutting_gives_the_same(places):
    data = MEASURED + REPLY + FAST + WAVE + NO_FINGER + MEASURED + FAST
    assert readings_of(fed(decoder(), data, places, NOTIFY)) == readings_of(fed(decoder(), data, (), NOTIFY))


@pytest.mark.parametrize("place", range(8 * len(FAST)))
def test_a_flipped_bit_costs_one_frame_and_never_its_neighbours(place):
    damaged = bytearray(FAST)
    damaged[place // 8] ^= 1 << place % 8
    d = decoder()
    items = d.feed(NOTIFY, MEASURED + bytes(damaged) + MEASURED, 0)
    found = [number for _, number, _ in numbers(items)]
    assert found[:2] == found[-2:] == [98, 62]
    assert len(found) == 4


def test_a_cut_frame_does_not_outlive_its_link():
    d = decoder()
    d.feed(NOTIFY, MEASURED[:5], 0)
    d.resume()
    assert len(d.feed(NOTIFY, MEASURED, 0)) == 2


@given(st.lists(st.binary(max_size=30), max_size=10))
@settings(max_examples=200, deadline=None)
def test_random_bytes_never_raise_and_never_pile_up(pieces):
    d = decoder()
    for piece in pieces:
        d.feed(NOTIFY, piece, 0)
        d.feed("2a19", piece, 0)
    assert len(d._buffer) < 8


def test_the_start_command_carries_its_own_sum():
    assert START[-1] == sum(START[:-1]) & 0x7F
    assert (WRITE, NOTIFY) == ("ff01", "ff02")
