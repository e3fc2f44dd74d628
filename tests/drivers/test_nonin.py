"""Nonin: frames by hand from the OEM III specification (formats 2, 7, 13) and the 3150's BLE notifications."""

import random
from datetime import datetime

import numpy as np
import pytest
from driver_rig import cuts, fed, gaps_of, samples_of, whole
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.drivers.nonin import (
    SELECT_FORMAT_2,
    SELECT_FORMAT_7,
    SELECT_FORMAT_13,
    NoninDecoder,
    NoninSpotDecoder,
)
from agent.drivers.nonin3150 import OXIMETRY, PPG, Nonin3150Decoder
from agent.drivers.simulated import frames, gatt_values
from agent.model import InstrumentEvent, Kind, NoValue, Reading, ReadingQuality

PLETH = "n.pleth"

# STATUS PLETH16 FLOAT CHK: frames 1-3 of a packet, pulse rate 72, SpO2 98
DF7 = bytes.fromhex("81 12 34 00 c7  80 12 35 48 0f  80 12 36 62 2a")
# the same with pulse rate 200 (bit 7 stands in frame 1) and SpO2 91
DF7_FAST = bytes.fromhex("81 12 34 01 c8  80 12 35 48 0f  80 12 36 5b 23")
# no numbers: rate 511, SpO2 127, sensor disconnected
DF7_OFF = bytes.fromhex("c1 00 00 03 c4  c0 00 00 7f 3f  c0 00 00 7f 3f")
# 01 STATUS PLETH FLOAT CHK
DF2 = bytes.fromhex("01 81 40 00 c2  01 80 41 48 0a  01 80 42 62 25")


def numbers(decoder, data):
    items = fed(decoder, data)
    return {i.kind: (i.value, i.reason, i.flags) for i in items if isinstance(i, Reading)}


def test_format_7_by_hand():
    d = NoninDecoder("n")
    items = fed(d, DF7)
    assert samples_of(items, PLETH).tolist() == [0x1234, 0x1235, 0x1236]
    assert numbers(NoninDecoder("n"), DF7) == {Kind.SPO2: (98, None, ()), Kind.PULSE_RATE: (72, None, ())}
    assert d.streams[0].fs_hz == 75.0


def test_the_rates_upper_bits_come_from_frame_1():
    assert numbers(NoninDecoder("n"), DF7_FAST) == {Kind.SPO2: (91, None, ()), Kind.PULSE_RATE: (200, None, ())}


def test_missing_numbers():
    off = (None, NoValue.PROBE_OFF, ("sensor_disconnected",))
    assert numbers(NoninDecoder("n"), DF7_OFF) == {Kind.SPO2: off, Kind.PULSE_RATE: off}


def test_format_2_by_hand():
    d = NoninDecoder("n", wide=False)
    items = fed(d, DF2)
    assert samples_of(items, PLETH).tolist() == [0x40, 0x41, 0x42]
    assert numbers(NoninDecoder("n", wide=False), DF2)[Kind.SPO2] == (98, None, ())


def test_an_artefact_makes_a_number_questionable():
    frames = bytes.fromhex("a1 12 34 00 e7  a0 12 35 48 2f  a0 12 36 62 4a")
    items = fed(NoninDecoder("n"), frames)
    assert {(i.quality, i.flags) for i in items if isinstance(i, Reading)} == {
        (ReadingQuality.QUESTIONABLE, ("artefact",))
    }


def test_low_battery_is_said_once():
    packets = b"".join(packet(k, battery_low=True) for k in range(3))
    said = [i.what for i in fed(NoninDecoder("n"), packets) if isinstance(i, InstrumentEvent)]
    assert said == ["battery_low"]


@pytest.mark.parametrize(
    ("command", "text"),
    [(SELECT_FORMAT_2, "027002020203"), (SELECT_FORMAT_7, "027002020703"), (SELECT_FORMAT_13, "027002020d03")],
)
def test_format_selection(command, text):
    assert command.hex() == text


def packet(k, *, wide=True, battery_low=False):
    pleth = np.arange(25 * k + 1, 25 * k + 26) % (0x10000 if wide else 0x100)
    return frames.nonin(pleth, spo2=98, rate=72, wide=wide, battery_low=battery_low)


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("kind", ["corrupt", "delete", "noise"])
def test_damage_costs_no_undamaged_frame(wide, kind):
    rng = random.Random(11)
    data = b"".join(packet(k, wide=wide) for k in range(240))  # 6,000 frames
    damaged = set(range(2, 6000, 3))
    out = bytearray()
    for n in range(6000):
        b = bytearray(data[5 * n : 5 * n + 5])
        if n in damaged:
            match kind:
                case "corrupt":
                    b[rng.randrange(5)] ^= 1 << rng.randrange(8)
                case "delete":
                    at = rng.randrange(5)
                    del b[at : at + rng.randrange(1, 5)]
                case _:
                    b = bytearray(rng.randbytes(5))
        out += b
    d = NoninDecoder("n", wide=wide)
    items = fed(d, bytes(out))
    got = samples_of(items, PLETH).tolist()
    undamaged = [(n + 1) & (0xFFFF if wide else 0xFF) for n in range(6000) if n not in damaged]
    if wide:
        assert len(set(undamaged) - set(got)) <= 4
    assert len(undamaged) - 4 <= len(got) <= len(undamaged) + 20  # a wrong frame's sum is right 1 in 256 times
    assert len(got) + sum(n for _, n in gaps_of(items, PLETH)) == pytest.approx(6000, abs=4)


def test_the_sync_byte_may_stand_inside_a_frame():
    tricky = bytes.fromhex("01 81 01 01 84" + "01 80 01 01 83" * 19)
    d = NoninDecoder("n", wide=False)
    items = fed(d, tricky[2:])
    assert samples_of(items, PLETH).tolist() == [1] * 19


DIRTY = b"\x06" + packet(0) + b"\x01\x80" + packet(1)[:33] + packet(2) + b"\x00" * 5 + packet(3)


@given(cuts(len(DIRTY)))
@settings(max_examples=50, deadline=None)
def test_any_cutting_gives_the_same(places):
    one, other = NoninDecoder("n"), NoninDecoder("n")
    assert whole(fed(one, DIRTY), one.streams) == whole(fed(other, DIRTY, places), other.streams)


#                        head        length  20 26 03 09 14:20:05.00       status  rate  -  spo2 sum tail
SPOT = bytes.fromhex("00 02 00 0d  00 0e   14 1a 03 09 0e 14 05 00   02 00   00 48 00 62   0d 03")
MEMORY = bytes.fromhex("00 02 00 0d  00 0e   14 1a 03 09 0e 14 05 00   02 10   00 48 00 62   1d 03")
NOTHING = bytes.fromhex("00 02 00 0d  00 0e   14 1a 03 09 0e 14 05 00   01 00   01 ff 00 7f   e1 03")


def test_format_13_by_hand():
    readings = fed(NoninSpotDecoder("n"), SPOT)
    assert [(r.kind, r.number) for r in readings] == [(Kind.SPO2, 98.0), (Kind.PULSE_RATE, 72.0)]
    assert {(r.instrument_time, r.quality, r.flags, r.group) for r in readings} == {
        (datetime.fromisoformat("2026-03-09T14:20:05"), ReadingQuality.GOOD, (), 1)
    }


def test_a_reading_from_memory_says_so():
    assert {r.flags for r in fed(NoninSpotDecoder("n"), MEMORY)} == {("from_memory",)}


def test_format_13_without_a_measurement():
    assert {(r.value, r.reason) for r in fed(NoninSpotDecoder("n"), NOTHING)} == {(None, NoValue.POOR_SIGNAL)}


def test_format_13_with_a_wrong_sum_or_end_is_damage_and_the_next_one_counts():
    for at in (20, 21):
        wrong = bytearray(SPOT)
        wrong[at] ^= 0x10
        d = NoninSpotDecoder("n")
        assert len(fed(d, bytes(wrong) + SPOT)) == 2
        assert d.counters.damaged == 1


SPOTS = SPOT + b"\x06" + MEMORY[:9] + NOTHING + b"\x00\x02\x00\x0d\xff\xff" + SPOT


@given(cuts(len(SPOTS)))
@settings(max_examples=50, deadline=None)
def test_format_13_cut_anywhere(places):
    assert whole(fed(NoninSpotDecoder("n"), SPOTS), ()) == whole(fed(NoninSpotDecoder("n"), SPOTS, places), ())


def ppg(counter, first=1000):
    return gatt_values.nonin_pleth(first + np.arange(25), counter)


def test_3150_pleth_counts_its_losses():
    d = Nonin3150Decoder("n")
    items = [i for c in (65533, 65534, 1) for i in d.feed(PPG, ppg(c, 100 * (c & 7)), 10**9)]
    assert gaps_of(items, PLETH) == [(50, 50)]  # 65535 and 0 are missing
    assert len(samples_of(items, PLETH)) == 75
    assert samples_of(items, PLETH)[0] == 500


def test_3150_numerics_by_hand():
    #                      len status(SmartPoint, on finger) 2.9 V  PAI 12.34 %  counter  97 %  72/min
    items = Nonin3150Decoder("n").feed(OXIMETRY, bytes.fromhex("0a 14 1d 04d2 0007 61 0048"), 5)
    assert {(i.kind, i.number, i.quality) for i in items} == {
        (Kind.SPO2, 97.0, ReadingQuality.GOOD),
        (Kind.PULSE_RATE, 72.0, ReadingQuality.GOOD),
        (Kind.PERFUSION_INDEX, 12.34, ReadingQuality.GOOD),
    }


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0a 00 1d 0000 0007 7f 01ff", NoValue.PROBE_OFF),
        ("0a 18 1d 0000 0007 7f 01ff", NoValue.STARTING),
        ("0a 12 1d 0000 0007 7f 01ff", NoValue.POOR_SIGNAL),
    ],
)
def test_3150_missing_numbers(text, reason):
    items = Nonin3150Decoder("n").feed(OXIMETRY, bytes.fromhex(text), 5)
    assert {(i.kind, i.value, i.reason) for i in items} == {
        (Kind.SPO2, None, reason),
        (Kind.PULSE_RATE, None, reason),
    }


def test_3150_battery_is_said_once():
    d = Nonin3150Decoder("n")
    low = bytes.fromhex("0a 34 15 04d2 0007 61 0048")
    said = [(i.what, i.detail) for _ in range(3) for i in d.feed(OXIMETRY, low, 5) if isinstance(i, InstrumentEvent)]
    assert said == [("battery_low", "2.1 V")]


@given(st.sampled_from([PPG, OXIMETRY, "x"]), st.binary(max_size=60))
@settings(max_examples=100, deadline=None)
def test_3150_random_values_never_raise(channel, data):
    Nonin3150Decoder("n").feed(channel, data, 0)


@given(st.lists(st.binary(max_size=40), max_size=8))
@settings(max_examples=100, deadline=None)
def test_random_bytes_never_raise_and_never_pile_up(pieces):
    decoders = (NoninDecoder("n"), NoninDecoder("n", wide=False), NoninSpotDecoder("n"))
    for piece in pieces:
        for d in decoders:
            d.feed("serial", piece, 0)
    assert all(len(d._buffer) < 100 for d in decoders)
