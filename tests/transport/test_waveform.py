"""The lossless waveform codec: every int32 input comes back bit for bit, hostile bytes raise WireError."""

import os
import tracemalloc
from pathlib import Path

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import WireError
from agent.transport.bits import pack_fields
from agent.transport.entropy import LARGEST, TABLES, _lengths, fields
from agent.transport.lpc import Filter
from agent.transport.waveform import MAX_SAMPLES, Predictor, decode, encode

INT32 = np.iinfo(np.int32)
DATA = Path(os.environ.get("BESACE_DATA", Path(__file__).parents[3] / "shared" / "data"))
RNG = np.random.default_rng(11)
T = np.arange(720) / 360


def beats(n=720, seed=0):
    """A pulse train in noise, near enough to an ECG."""
    rng = np.random.default_rng(seed)
    t = np.arange(n) / 360
    spikes = np.exp(-(((t % 0.8) - 0.3) ** 2) / 2e-4) * 300
    return np.rint(1024 + spikes + 40 * np.sin(2 * np.pi * 0.3 * t) + rng.normal(0, 3, n)).astype(np.int32)


def int32(x):
    return np.rint(np.asarray(x, np.float64)).astype(np.int64).astype(np.int32)


BEATS = Predictor.fit(beats(3600, seed=1))
PREDICTORS = st.builds(
    Predictor,
    st.builds(
        Filter,
        st.lists(st.integers(-(1 << 17) + 1, (1 << 17) - 1), max_size=31).map(tuple),
        st.integers(0, 15),
    ),
    st.integers(int(INT32.min), int(INT32.max)),
    st.integers(0, 63),
)
SMALL = hnp.arrays(np.int32, st.integers(0, 200), elements=st.integers(-60, 60))
ANY = hnp.arrays(np.int32, st.integers(0, 200))


@settings(max_examples=60)
@given(ANY | SMALL, st.none() | st.just(BEATS) | PREDICTORS)
def test_any_int32_comes_back(x, predictor):
    y = decode(encode(x, predictor), predictor)
    assert y.dtype == np.int32
    assert np.array_equal(x, y)


SHAPES = {
    "empty": [],
    "one sample": [-5],
    "two samples": [INT32.max, INT32.min],
    "silence": np.zeros(720),
    "constant": np.full(720, INT32.min),
    "extremes in turn": [INT32.min, INT32.max] * 100,
    "full-scale noise": RNG.integers(INT32.min, INT32.max, 720, endpoint=True),
    "white noise": RNG.normal(0, 30, 720),
    "sine": 1000 * np.sin(2 * np.pi * 1.013 * T),
    "loud sine": INT32.max * np.sin(2 * np.pi * 50 * T),
    "steps": np.repeat(RNG.integers(-2000, 2000, 16), 45),
    "square": 1000 * np.sign(np.sin(2 * np.pi * 3.01 * T)),
    "pattern": np.arange(720) % 9 // 5 * 1000,
    "impulse": INT32.max * (np.arange(720) == 300),
    "low zero bits": 4096 * RNG.integers(-60, 60, 720),
    "sign bit only": [0, INT32.min] * 60,
    "7-bit pleth": 63 + 60 * np.sin(2 * np.pi * 1.2 * np.arange(500) / 100) ** 3,
    "beats": beats(),
    "longest block": RNG.normal(0, 5, MAX_SAMPLES),
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("predictor", [None, BEATS], ids=["alone", "with predictor"])
def test_shapes_come_back(name, predictor):
    x = int32(SHAPES[name])
    assert np.array_equal(decode(encode(x, predictor), predictor), x)


SMALL_PREDICTOR = Predictor(Filter((66, -28, 9, -4), 6), 20, 7)


@pytest.mark.parametrize(
    ("x", "predictor", "mode", "block"),
    [
        (np.zeros(0, np.int32), None, 7, "3c000000"),
        (np.full(360, -3, np.int32), None, 7, "fc00b40680"),
        (np.array([10, 11, 13, 12, 12, 13, 15, 14], np.int32), None, 1, "a41454742d80"),
        (np.array([INT32.min, INT32.max, 0, 5], np.int32), None, 0, "802a0ffffffffeefffffffb100000000000000a0"),
        (np.arange(40, dtype=np.int32) ** 2, None, 3, "6c000a0000000000"),
        (
            np.arange(40, dtype=np.int32) % 7 * 9000, None, 5,
            "9612043f2c003a58c3fd0795f42be857a15d0af61b8ec000000000000000000000000000000000",
        ),
    ],
)  # fmt: skip
def test_bytes_are_those_of_every_machine(x, predictor, mode, block):
    # Integers only, and sums that floats hold exactly: a change of these bytes is a change of the wire.
    assert encode(x, predictor).hex() == block
    assert int(block[:2], 16) >> 2 & 7 == mode


def test_a_predictor_is_eight_bytes():
    assert SMALL_PREDICTOR.to_bytes().hex() == "1c64119989de9470"


def test_wrong_input_is_a_value_error():
    for x in (np.zeros(3), np.zeros((2, 2), np.int32), np.zeros(MAX_SAMPLES + 1, np.int32), [1, 2]):
        with pytest.raises(ValueError):
            encode(x)
    with pytest.raises(ValueError):
        Predictor.fit(np.zeros(31, np.int32))


# --- hostile bytes -------------------------------------------------------------------------------------------


@settings(max_examples=400)
@given(st.binary(max_size=120), st.none() | PREDICTORS)
def test_hostile_bytes_raise_only_wire_error(data, predictor):
    try:
        x = decode(data, predictor)
    except WireError:
        return
    assert x.dtype == np.int32
    assert x.size <= MAX_SAMPLES


DAMAGED = [
    encode(beats(360)),
    encode(beats(360), BEATS),
    *(encode(int32(SHAPES[k])) for k in ("sine", "low zero bits")),
]


@settings(max_examples=200)
@given(st.sampled_from(DAMAGED), st.data())
def test_damaged_blocks_raise_only_wire_error(block, data):
    damaged = bytearray(block)
    damaged[data.draw(st.integers(0, len(block) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    del damaged[data.draw(st.integers(1, len(block))) :]
    try:
        decode(bytes(damaged), BEATS)
    except WireError:
        return


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "nothing"),
        (b"\x00", "a head alone"),
        (bytes.fromhex("3c000001"), "unused bits that are not zero"),
        (bytes.fromhex("3d000000"), "the bit that must be zero"),
        (bytes.fromhex("1c800080"), "a constant block of 65,537 samples and more"),
        (encode(beats(360))[:-1], "a block cut short"),
        (encode(beats(360), BEATS), "a block without its predictor"),
        (bytes(4 * MAX_SAMPLES + 9), "more bytes than any block has"),
        (bytes.fromhex("0c") + bytes(4 * MAX_SAMPLES), "order 3 from zeros: residuals run out of samples"),
    ],
)
def test_what_is_no_block_is_refused(data, why):
    with pytest.raises(WireError):
        decode(data)


def test_an_escape_longer_than_any_residual_is_refused():
    values, widths = fields(np.array([[10**6]]), np.array([0]))
    code, width = int(values[0, 0]) >> 26, int(widths[0, 0]) - 26  # 6 bits say that 20 follow
    for length, follow in ((20, 20), (41, 41), (63, 63)):
        block = [(0, 6), (0, 6), (code, width), (length, 6), (0, follow)]
        unused = -sum(w for _, w in block) % 8
        data = pack_fields([(unused << 5, 8), *block])
        if length == 20:
            assert decode(data).size == 2
        else:
            with pytest.raises(WireError):
                decode(data)


def test_few_bytes_never_take_much_memory():
    hostile = [b"\x1c\x7f\xff\xff\xff\xff\xff\xff\xff\xff", b"\x18" + bytes(64), b"\x14" + b"\xff" * 64]
    hostile += [bytes((mode << 2,)) + bytes(512) for mode in range(8)]
    tracemalloc.start()
    for data in hostile:
        try:
            decode(data, BEATS)
        except WireError:
            continue
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


# --- what travels beside the blocks -----------------------------------------------------------------------------


@given(PREDICTORS)
def test_a_predictor_comes_back(predictor):
    assert Predictor.from_bytes(predictor.to_bytes()) == predictor


@settings(max_examples=200)
@given(st.binary(max_size=40))
def test_hostile_predictors_raise_only_wire_error(data):
    try:
        predictor = Predictor.from_bytes(data)
    except WireError:
        return
    assert predictor.to_bytes() == data


@pytest.mark.parametrize("x", [np.zeros(100), np.full(100, INT32.max), 7 * np.arange(100), [INT32.min, INT32.max] * 50])
def test_any_past_gives_a_predictor_that_can_be_used(x):
    predictor = Predictor.fit(int32(x))
    assert Predictor.from_bytes(predictor.to_bytes()) == predictor
    assert np.array_equal(decode(encode(int32(x), predictor), predictor), int32(x))


@settings(max_examples=40)
@given(hnp.arrays(np.int32, st.integers(32, 120)) | hnp.arrays(np.int32, 64, elements=st.integers(-2, 2)))
def test_no_past_is_too_odd_to_fit(x):
    predictor = Predictor.fit(x)
    assert Predictor.from_bytes(predictor.to_bytes()) == predictor


def test_a_block_names_what_predicted_it():
    modes = {name: encode(int32(x))[0] >> 2 & 7 for name, x in SHAPES.items()}
    assert modes["white noise"] == 0
    assert modes["steps"] == 1
    assert modes["loud sine"] == 5
    assert modes["full-scale noise"] == 6
    assert modes["silence"] == 7
    assert encode(beats(360), BEATS)[0] >> 2 & 7 == 4


# --- few bytes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("q", range(TABLES))
def test_codes_are_complete(q):
    lengths = _lengths(q)
    assert sum(1 << 12 - n for n in lengths) == 1 << 12
    assert max(lengths) <= 12


def test_residuals_fit_their_fields():
    assert LARGEST <= 1 << 40  # 12 bits of code, 6 of length, 40 of excess: 58, within the 64 - 7 a reader sees at once


def test_white_noise_costs_little_more_than_its_entropy():
    x = int32(np.random.default_rng(3).normal(0, 30, 3600))
    entropy = np.log2(30 * np.sqrt(2 * np.pi * np.e))
    assert 8 * len(encode(x)) / x.size < entropy + 0.14  # a code that follows the scale pays for following noise


def test_beats_cost_less_with_the_predictor_of_the_seconds_before():
    x = beats(3600, seed=5)
    blocks = [x[i : i + 360] for i in range(0, x.size, 360)]
    alone = sum(len(encode(b)) for b in blocks)
    predicted = sum(len(encode(b, BEATS)) for b in blocks) + len(BEATS.to_bytes())
    assert predicted < 0.99 * alone


def mitdb(name):
    path = DATA / "ecg" / "mitdb" / f"{name}.dat"
    if not path.exists():
        pytest.skip("the recordings are not here")
    raw = np.fromfile(path, np.uint8, 3 * 360 * 60).reshape(-1, 3).astype(np.int32)
    x = raw[:, 0] | (raw[:, 1] & 15) << 8
    return np.where(x > 2047, x - 4096, x).astype(np.int32)


@pytest.mark.parametrize(("name", "most"), [("101", 4.03), ("119", 4.12), ("201", 3.55)])
def test_recorded_ecg(name, most):
    # A guard against losing what docs/benchmarks/waveform.md states, not a target of its own.
    x = mitdb(name)
    spent, predictor = 0, None
    for start in range(0, x.size, 360):
        if start and start % 3600 == 0:
            predictor = Predictor.fit(x[start - 3600 : start])
            spent += len(predictor.to_bytes())
        block = encode(x[start : start + 360], predictor)
        assert np.array_equal(decode(block, predictor), x[start : start + 360])
        spent += len(block)
    assert 8 * spent / x.size < most
