"""HealthyPi v4: frames written by hand from the firmware's packet layout."""

import random

import numpy as np
import pytest
from driver_rig import cuts, fed, gaps_of, readings_of, samples_of, whole
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.drivers.healthypi import HealthyPi4Decoder
from agent.model import Gap, InstrumentEvent, Kind, NoValue, Reading, ReadingQuality, SampleBlock

#         header          ecg   resp  infrared    red         temp  rr spo2 hr  80 120 lead tail
FRAME = "0a fa 14 00 02  f4 01 0c fe 40 0d 03 00 e0 93 04 00 52 0d 0f 62 48   50 78 00   00 0b"
NO_NUMBERS = "0a fa 14 00 02  00 80 ff 7f ff ff 1f 00 00 00 e0 ff 00 00 00 00 00   50 78 00   00 0b"
LEAD_OFF = "0a fa 14 00 02  00 00 00 00 40 0d 03 00 e0 93 04 00 52 0d 0f 62 48   50 78 1f   00 0b"


def frame(text: str = FRAME) -> bytes:
    return bytes.fromhex(text)


def decoder() -> HealthyPi4Decoder:
    return HealthyPi4Decoder("healthypi-4")


def test_a_frame_has_27_bytes():
    assert len(frame()) == len(frame(NO_NUMBERS)) == len(frame(LEAD_OFF)) == 27


def test_a_frame_by_hand():
    items = decoder().feed("serial", frame(), 5_000_000_000)
    values = {i.stream: i.samples.tolist() for i in items if isinstance(i, SampleBlock)}
    assert values == {
        "healthypi-4.ecg": [500],
        "healthypi-4.respiration": [-500],
        "healthypi-4.infrared": [200_000],
        "healthypi-4.red": [300_000],
    }
    numbers = {i.kind: i.number for i in items if isinstance(i, Reading)}
    assert numbers == {
        Kind.TEMPERATURE: 34.1,
        Kind.SPO2: 98.0,
        Kind.HEART_RATE: 72.0,
        Kind.RESPIRATION_RATE: 15.0,
    }
    assert all(i.t_ns == 5_000_000_000 for i in items if isinstance(i, SampleBlock))


def test_the_constants_80_and_120_are_never_a_blood_pressure():
    items = fed(decoder(), frame() * 500)
    kinds = {i.kind for i in items if isinstance(i, Reading)}
    assert not kinds & {Kind.PRESSURE_SYSTOLIC, Kind.PRESSURE_DIASTOLIC, Kind.PRESSURE_MEAN}


def test_extremes_and_no_numbers():
    items = decoder().feed("serial", frame(NO_NUMBERS), 0)
    values = {i.stream.split(".")[1]: i.samples[0] for i in items if isinstance(i, SampleBlock)}
    assert values == {"ecg": -32768, "respiration": 32767, "infrared": 2**21 - 1, "red": -(2**21)}
    assert {(i.kind, i.value, i.reason) for i in items if isinstance(i, Reading)} == {
        (Kind.SPO2, None, NoValue.INSTRUMENT),
        (Kind.HEART_RATE, None, NoValue.NO_BEATS),
        (Kind.RESPIRATION_RATE, None, NoValue.NO_BEATS),
    }


def test_lead_off_is_said_once_and_takes_the_rate_away():
    d = decoder()
    items = fed(d, frame() + frame(LEAD_OFF) * 3 + frame())
    assert [(i.what, i.detail) for i in items if isinstance(i, InstrumentEvent)] == [
        ("lead_off", "0x1f"),
        ("lead_on", "0x00"),
    ]
    rates = [(i.value, i.reason) for i in items if isinstance(i, Reading) and i.kind is Kind.HEART_RATE]
    assert rates == [(72, None), (None, NoValue.LEAD_OFF), (72, None)]


def test_gains_follow_the_data_sheets():
    gains = {s.name.split(".")[1]: s.gain for s in decoder().streams}
    assert gains["ecg"] == pytest.approx(6.154, abs=0.001)
    assert gains["respiration"] == pytest.approx(0.0721, abs=0.0001)
    assert gains["infrared"] == gains["red"] == pytest.approx(0.572, abs=0.001)
    assert {s.fs_hz for s in decoder().streams} == {125.0}


def test_numbers_come_once_a_second_and_on_change():
    changed = bytearray(frame())
    changed[20] = 0x61
    items = fed(decoder(), frame() * 300 + bytes(changed) * 100)
    spo2 = [i.value for i in items if isinstance(i, Reading) and i.kind is Kind.SPO2]
    assert spo2 == [98, 98, 98, 97]
    assert len([i for i in items if isinstance(i, Reading) and i.kind is Kind.TEMPERATURE]) == 4


def test_an_implausible_value_is_marked_counted_and_kept():
    hot = bytearray(frame())
    hot[17:19] = (5000).to_bytes(2, "little")
    d = decoder()
    readings = [i for i in fed(d, bytes(hot)) if isinstance(i, Reading) and i.kind is Kind.TEMPERATURE]
    assert [(r.number, r.quality) for r in readings] == [(50.0, ReadingQuality.IMPLAUSIBLE)]
    assert d.counters.implausible == 1


def numbered(n: int, seed: int = 0) -> list[bytes]:
    """n frames whose ECG counts up and whose other payload is random (and may look like headers)."""
    rng = random.Random(seed)
    frames = []
    for k in range(n):
        f = bytearray(frame())
        f[5:7] = (k % 30000).to_bytes(2, "little")
        f[9:17] = rng.randbytes(8)
        frames.append(bytes(f))
    return frames


def test_starts_in_the_middle_of_a_frame_without_a_gap():
    d = decoder()
    items = fed(d, b"".join(numbered(5))[13:])
    assert samples_of(items, "healthypi-4.ecg").tolist() == [1, 2, 3, 4]
    assert gaps_of(items, "healthypi-4.ecg") == []
    assert d.counters.damaged == 0
    assert d.counters.skipped_bytes == 14


@pytest.mark.parametrize("kind", ["corrupt header", "corrupt tail", "delete", "insert", "swap for noise"])
def test_damage_costs_no_undamaged_frame(kind):
    """At most 1 undamaged frame lost per 1,000 damaged ones; here 2,000 of 6,000 are damaged."""
    rng = random.Random(7)
    frames = numbered(6000, seed=1)
    damaged = set(rng.sample(range(1, 6000), 2000))
    out = []
    for k, f in enumerate(frames):
        b = bytearray(f)
        if k in damaged:
            match kind:
                case "corrupt header":
                    b[rng.randrange(5)] ^= 1 << rng.randrange(8)
                case "corrupt tail":
                    b[25 + rng.randrange(2)] ^= 1 << rng.randrange(8)
                case "delete":
                    at = rng.randrange(27)
                    del b[at : at + rng.randrange(1, 27)]
                case "insert":
                    at = rng.randrange(5, 25)
                    b[at:at] = rng.randbytes(rng.randrange(1, 20))
                case _:
                    b = bytearray(rng.randbytes(27))
        out.append(bytes(b))
    d = decoder()
    got = set(samples_of(fed(d, b"".join(out)), "healthypi-4.ecg").tolist())
    undamaged = set(range(6000)) - damaged
    assert len(undamaged - got) <= 2
    assert d.counters.damaged >= 900  # neighbours may merge or, cut short, be counted as one


def test_a_corrupt_frame_is_a_gap_of_one_sample_on_every_stream():
    frames = numbered(10)
    frames[4] = b"\x00" + frames[4][1:]
    d = decoder()
    items = fed(d, b"".join(frames))
    for stream in d.streams:
        assert gaps_of(items, stream.name) == [(4, 1)]
    assert samples_of(items, "healthypi-4.ecg").tolist() == [0, 1, 2, 3, 5, 6, 7, 8, 9]


DIRTY = b"".join(numbered(6)) + b"\x0a\xfa\x14" + b"".join(numbered(3, 2)) + frame(LEAD_OFF) + bytes(40) + frame() * 2


@given(cuts(len(DIRTY)))
@settings(max_examples=60, deadline=None)
def test_any_cutting_gives_the_same(places):
    one, other = decoder(), decoder()
    assert whole(fed(one, DIRTY), one.streams) == whole(fed(other, DIRTY, places), other.streams)
    assert one.counters == other.counters


@given(st.lists(st.one_of(st.binary(max_size=60), st.just(frame()), st.just(b"\x0a\xfa\x14\x00\x02")), max_size=12))
@settings(max_examples=150, deadline=None)
def test_random_bytes_never_raise_and_never_pile_up(pieces):
    d = decoder()
    for k, piece in enumerate(pieces):
        d.feed("serial", piece, k * 10**8)
    assert len(d._buffer) < 27
    samples_of([], "")


def test_resume_opens_with_a_gap_of_the_time_that_passed():
    d = decoder()
    before = d.feed("serial", frame() * 10 + frame()[:11], 1_000_000_000)
    d.resume()
    after = d.feed("serial", frame() * 2, 3_000_000_000)
    gap = next(i for i in after if isinstance(i, Gap) and i.stream == "healthypi-4.ecg")
    assert (gap.index, gap.n) == (10, 248)  # 2 s, less the two samples that came
    block = next(i for i in after if isinstance(i, SampleBlock))
    assert block.index == 258
    assert block.t_ns == pytest.approx(3_000_000_000 - 8_000_000, abs=5_000_000)
    assert len(readings_of(before)) == 4


def test_blocks_are_contiguous_int32():
    block = next(i for i in fed(decoder(), frame() * 3) if isinstance(i, SampleBlock))
    assert block.samples.dtype == np.int32
    assert block.samples.flags.c_contiguous
