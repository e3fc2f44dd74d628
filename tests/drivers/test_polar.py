"""Polar H10: PMD frames by hand."""

import numpy as np
import pytest
from driver_rig import gaps_of, samples_of
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.drivers.polar import CONTROL, DATA, START_ECG, PolarDecoder, signed24
from agent.drivers.simulated.gatt_values import polar_ecg
from agent.model import InstrumentEvent

ECG = "polar-h10.ecg"
#  ECG | 599616000000000000 + 73/130 s: 2019-01-01T00:00:00.56 | frame type | 1, -1, 8388607, -8388608, 1000 uV
FRAME = bytes.fromhex("00 00 00 00 00 00 00 00 00 00  010000 ffffff ffff7f 000080 e80300")


def frame(own_s: float, values) -> bytes:
    return polar_ecg(round(own_s * 1e9), np.array(values))


def decoder():
    return PolarDecoder("polar-h10")


def test_samples_are_signed_24_bit_microvolts():
    d = decoder()
    items = d.feed(DATA, FRAME, 10**9)
    assert samples_of(items, ECG).tolist() == [1, -1, 8388607, -8388608, 1000]
    (stream,) = d.streams
    assert (stream.fs_hz, stream.gain, stream.unit, stream.lead, stream.mdc) == (
        130.0, 1.0, "uV", "dérivation non standard", 131072,
    )  # fmt: skip


def test_the_straps_own_clock_is_said_at_the_start():
    items = decoder().feed(DATA, frame(599_616_000.5, [0] * 73), 10**9)
    assert [(i.what, i.detail) for i in items if isinstance(i, InstrumentEvent)] == [
        ("clock", "2019-01-01T00:00:00.500000")
    ]


def test_what_the_straps_clock_says_is_missing_is_a_gap():
    d = decoder()
    items = [i for k in (1, 2, 4) for i in d.feed(DATA, frame(1000 + k * 73 / 130.06, [k] * 73), k * 561_000_000)]
    assert gaps_of(items, ECG) == [(146, 73)]
    assert samples_of(items, ECG).tolist() == [1] * 73 + [2] * 73 + [4] * 73


def test_a_true_rate_of_130_06_hz_makes_no_gaps():
    d = decoder()
    items = [
        i for k in range(200) for i in d.feed(DATA, frame(1000 + k * 73 / 130.06, [0] * 73), 10**9 + k * 561_279_000)
    ]
    assert gaps_of(items, ECG) == []


def test_a_long_hole_is_counted_in_the_straps_true_rate():
    """50 s at 130.06 Hz are 6503 samples; the nominal 130 Hz would make 6500 of them, for ever three out of place."""
    d = decoder()
    frames = [*range(60), *range(60 + 89, 60 + 89 + 10)]  # 89 frames of 73 = 6497 samples are missing
    items = [i for k in frames for i in d.feed(DATA, frame(1000 + k * 73 / 130.06, [k % 7] * 73), k * 561_279_000)]
    assert gaps_of(items, ECG) == [(60 * 73, 89 * 73)]


def test_the_true_rate_and_drift_are_said():
    d = decoder()
    items = [i for k in range(240) for i in d.feed(DATA, frame(1000 + k * 73 / 130.06, [0] * 73), k * 561_279_000)]
    (drift,) = [i.detail for i in items if isinstance(i, InstrumentEvent) and i.what == "clock_drift"]
    assert drift.startswith("rate_hz=130.060 drift_ppm=")


def test_a_clock_that_fell_back_makes_no_gap():
    d = decoder()
    items = [i for s in (800_000_000, 599_616_000) for i in d.feed(DATA, frame(s, [0] * 73), 10**9)]
    assert gaps_of(items, ECG) == []


def test_the_start_command():
    assert START_ECG.hex() == "0200000182000101" + "0e00"


@pytest.mark.parametrize(
    ("answer", "said"),
    [("f0 02 00 00 00", []), ("f0 02 00 06 00", []), ("f0 02 00 0a 00", ["refused"]), ("0f 05", [])],
)
def test_answers_of_the_control_point(answer, said):
    assert [i.what for i in decoder().feed(CONTROL, bytes.fromhex(answer), 0)] == said


@pytest.mark.parametrize("data", ["", "00" * 9, "00" * 10, "02" + FRAME.hex()[2:], FRAME.hex()[:-2]])
def test_other_frames_are_damage(data):
    d = decoder()
    assert d.feed(DATA, bytes.fromhex(data), 0) == []
    assert d.counters.damaged == 1


@given(st.binary(max_size=40))
@settings(max_examples=150, deadline=None)
def test_random_values_never_raise(data):
    d = decoder()
    d.feed(DATA, data, 0)
    d.feed(DATA, b"\x00" + data, 0)
    d.feed(CONTROL, data, 0)


@given(st.lists(st.integers(-(2**23), 2**23 - 1), max_size=50))
def test_signed_24_bit(values):
    assert signed24(b"\xff" + b"".join(v.to_bytes(3, "little", signed=True) for v in values), 1).tolist() == values
