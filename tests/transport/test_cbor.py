"""The strict CBOR subset: one value, one encoding; everything else is WireError and nothing but WireError."""

from io import BytesIO

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import WireError
from agent.transport.cbor import dumps, loads

INTS = st.integers(-(2**64), 2**64 - 1)
LEAVES = st.none() | st.booleans() | INTS | st.binary(max_size=40) | st.text(max_size=20)


def nested(depth):
    if not depth:
        return LEAVES
    inner = nested(depth - 1)
    return LEAVES | st.lists(inner, max_size=4) | st.dictionaries(INTS, inner, max_size=4)


VALUES = nested(4)


def read(data):
    return loads(data, max_bytes=1 << 20)


def refused(data, **limits):
    with pytest.raises(WireError):
        loads(data, **{"max_bytes": 1 << 20, **limits})


@pytest.mark.parametrize(
    ("value", "encoded"),  # RFC 8949 appendix A
    [
        (0, "00"), (23, "17"), (24, "1818"), (255, "18ff"), (256, "190100"), (65535, "19ffff"),
        (65536, "1a00010000"), (2**32 - 1, "1affffffff"), (2**32, "1b0000000100000000"),
        (18446744073709551615, "1bffffffffffffffff"), (-1, "20"), (-24, "37"), (-25, "3818"), (-1000, "3903e7"),
        (-18446744073709551616, "3bffffffffffffffff"), (False, "f4"), (True, "f5"), (None, "f6"),
        (b"", "40"), (b"\x01\x02\x03\x04", "4401020304"), ("", "60"), ("IETF", "6449455446"), ("ü", "62c3bc"),
        ([], "80"), ([1, 2, 3], "83010203"), ([1, [2, 3], [4, 5]], "8301820203820405"), ({}, "a0"),
        ({1: 2, 3: 4}, "a201020304"), ({-1: 0, 24: 0, 10: 0, 100: 0}, "a40a0018180018640020" + "00"),
    ],
)  # fmt: skip
def test_values_and_their_one_encoding(value, encoded):
    assert dumps(value) == bytes.fromhex(encoded)
    got = read(bytes.fromhex(encoded))
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(
    ("encoded", "why"),
    [
        ("", "nothing"),
        ("1817", "23 in two bytes"),
        ("1900ff", "255 in three bytes"),
        ("1a0000ffff", "65535 in five bytes"),
        ("1b00000000ffffffff", "2**32 - 1 in nine bytes"),
        ("38", "a head cut short"),
        ("1c", "reserved head"),
        ("5f42010243030405ff", "indefinite bytes"),
        ("7f657374726561646d696e67ff", "indefinite text"),
        ("9f018202039f0405ffff", "indefinite array"),
        ("bf01020304ff", "indefinite map"),
        ("ff", "a break alone"),
        ("f90000", "a half float"),
        ("fa47c35000", "a float"),
        ("fb3ff199999999999a", "a double"),
        ("f7", "undefined"),
        ("f0", "simple value 16"),
        ("f814", "false in two bytes"),
        ("c11a514b67b0", "tag 1, a time"),
        ("c249010000000000000000", "tag 2, a big integer"),
        ("c4821b000000e8d4a5100001", "tag 4, a decimal of 10**12 digits"),
        ("d81c80", "tag 28, a shared reference"),
        ("d823612e", "tag 35, a regular expression"),
        ("d9d9f700", "tag 55799, self-described"),
        ("a161610a", "a text key"),
        ("a1410a00", "a bytes key"),
        ("a1f500", "true as a key"),
        ("a180f6", "an array as a key"),
        ("a201020103", "a key twice"),
        ("a203040102", "keys out of order"),
        ("a220001818" + "00", "-1 before 24"),
        ("62c328", "text that is no UTF-8"),
        ("63eda080", "a lone surrogate"),
        ("0000", "two values"),
        ("8201", "an array cut short"),
        ("a101", "a map without its value"),
        ("5affffffff00", "4 GB of bytes announced"),
        ("9bffffffffffffffff00", "2**64 items announced"),
        ("bb7fffffffffffffff00", "2**63 pairs announced"),
    ],
)
def test_everything_else_is_refused(encoded, why):
    refused(bytes.fromhex(encoded))


def test_depth_is_counted_in_containers():
    assert read(b"\x81" * 8 + b"\x00") == [[[[[[[[0]]]]]]]]
    refused(b"\x81" * 9 + b"\x00")
    refused(b"\xa1\x00" * 9 + b"\x00")
    refused(b"\x81" * 100_000)
    assert loads(b"\x81\x00", max_bytes=2, max_depth=1) == [0]
    refused(b"\x81\x81\x00", max_depth=1)


def test_size_is_checked_first():
    assert loads(b"\x42ab", max_bytes=3) == b"ab"
    refused(b"\x42ab", max_bytes=2)


@pytest.mark.parametrize(
    "value", [1.5, 2**64, -(2**64) - 1, {"a": 1}, {True: 1}, {1, 2}, bytearray(b"x"), object(), [[[[[[[[[0]]]]]]]]]]
)
def test_what_cannot_be_said_is_a_value_error(value):
    with pytest.raises(ValueError):
        dumps(value)


@given(VALUES)
def test_any_value_comes_back_and_another_reader_agrees(value):
    data = dumps(value)
    assert read(data) == value
    assert cbor2.loads(data) == value


@given(VALUES, st.data())
def test_damage_is_refused_or_gives_another_one_encoding(value, data):
    encoded = bytearray(dumps(value))
    at = data.draw(st.integers(0, len(encoded) - 1))
    encoded[at] ^= 1 << data.draw(st.integers(0, 7))
    try:
        got = read(bytes(encoded))
    except WireError:
        return
    assert dumps(got) == encoded


@settings(max_examples=500)
@given(st.binary(max_size=60))
def test_hostile_bytes_raise_only_wire_error(data):
    try:
        got = read(data)
    except WireError:
        return
    assert dumps(got) == data
    assert cbor2.load(BytesIO(data)) == got
