"""Shapes, single and composed: each reads exactly what it writes, and says WireError to everything else."""

from dataclasses import dataclass
from enum import Enum

import pytest

from agent.errors import WireError
from agent.transport.composed import Bare, ByType, OneOf, Row, Short, Steps, Table, Tagged, Terse
from agent.transport.shapes import (
    SINT32,
    UINT8,
    Bool,
    Bytes,
    ByValue,
    Choice,
    Int,
    ListOf,
    Maybe,
    OrWhy,
    Percents,
    Range,
    Text,
)


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Code(Enum):
    ONE = 150021
    TWO = 149530


@dataclass(frozen=True)
class Pair:
    left: int
    right: int | None


@dataclass(frozen=True)
class Raw:
    data: bytes


@dataclass(frozen=True)
class Flagged:
    value: int | Colour
    flag: int = 7


ROW = Row(Pair, UINT8, Maybe(UINT8))
TAGGED_ROW = Row(Pair, UINT8, Maybe(UINT8), tag=4)
TABLE = Table(Pair, {"left": (1, UINT8), "right": (2, Maybe(UINT8))})
SHORT = Short(Row(Pair, UINT8, Maybe(UINT8)))
FLAGGED = Table(Flagged, {"value": (1, UINT8), "flag": (2, Maybe(UINT8))})
BY_TYPE = ByType({bytes: Bare(Raw, Bytes(1, 4)), dict: FLAGGED}, OneOf(TAGGED_ROW))
STEPS = Steps(ROW, SINT32, high=3)
TERSE = Terse(Flagged, {"value": OrWhy(UINT8, Choice(Colour.RED))}, {"flag": (1, UINT8)}, tag=3)


@pytest.mark.parametrize(
    ("shape", "value", "item"),
    [
        (Int(-2, 3), -2, -2), (Int(-2, 3), 3, 3), (SINT32, -(2**31), -(2**31)),
        (Bytes(0, 2), b"ab", b"ab"), (Text(2), "éé", "éé"), (Bool(), True, True), (Bool(), False, False),
        (Maybe(UINT8), None, None), (Maybe(UINT8), 7, 7),
        (ListOf(UINT8, 2), (1, 2), [1, 2]), (ListOf(UINT8, 2), (), []),
        (Choice(Colour.RED, Colour.BLUE), Colour.BLUE, 1), (ByValue(Code), Code.TWO, 149530),
        (ByValue(Colour), Colour.RED, "red"), (Range(), (3, 3), [3, 3]), (Range(), (0, 2**32 - 1), [0, 2**32 - 1]),
        (ROW, Pair(1, None), [1, None]), (TAGGED_ROW, Pair(1, 2), [4, 1, 2]),
        (TABLE, Pair(1, None), {1: 1}), (TABLE, Pair(1, 2), {1: 1, 2: 2}),
        (Tagged(9, TABLE), Pair(3, 4), [9, {1: 3, 2: 4}]),
        (BY_TYPE, Raw(b"x"), b"x"), (BY_TYPE, Pair(1, 2), [4, 1, 2]), (BY_TYPE, Flagged(3), {1: 3, 2: 7}),
        (ByValue(Code, 150000), Code.ONE, 21),
        (OrWhy(UINT8, Choice(Colour.RED, Colour.BLUE)), 9, 9),
        (OrWhy(UINT8, Choice(Colour.RED, Colour.BLUE)), Colour.BLUE, [1]),
        (STEPS, (), []), (STEPS, (Pair(5, None), Pair(5, 1), Pair(3, None)), [5, None, 0, 1, -2, None]),
        (Percents(1, 3), b"\0\x64", b"\0\x64"), (SHORT, Pair(1, None), 1), (SHORT, Pair(1, 2), [1, 2]),
        (TERSE, Flagged(5), [3, 5]), (TERSE, Flagged(Colour.RED, 8), [3, [0], {1: 8}]),
    ],
)  # fmt: skip
def test_there_and_back(shape, value, item):
    assert shape.encode(value) == item
    assert shape.decode(item) == value


@pytest.mark.parametrize(
    ("shape", "item"),
    [
        (Int(-2, 3), 4), (Int(-2, 3), -3), (Int(-2, 3), True), (Int(-2, 3), "1"), (Int(-2, 3), None), (Int(-2, 3), 1.0),
        (Bytes(1, 2), b""), (Bytes(1, 2), b"abc"), (Bytes(1, 2), "a"), (Text(2), "abc"), (Text(2), b"a"),
        (Bool(), 0), (Bool(), None), (Maybe(UINT8), 256),
        (ListOf(UINT8, 2), [1, 2, 3]), (ListOf(UINT8, 2), (1,)), (ListOf(UINT8, 2), [None]), (ListOf(UINT8, 2), {}),
        (Choice(Colour.RED, Colour.BLUE), 2), (Choice(Colour.RED, Colour.BLUE), -1), (Choice(Colour.RED), False),
        (Choice(Colour.RED), "red"), (ByValue(Code), 1), (ByValue(Code), True), (ByValue(Code), [150021]),
        (ByValue(Colour), "green"),
        (Range(), [4, 3]), (Range(), [-1, 3]), (Range(), [0, 2**32]), (Range(), [0]), (Range(), (0, 1)),
        (ROW, [1]), (ROW, [1, 2, 3]), (ROW, {1: 1}), (ROW, [None, 1]), (TAGGED_ROW, [5, 1, 2]), (TAGGED_ROW, [1, 2]),
        (TABLE, {}), (TABLE, {2: 1}), (TABLE, {1: 1, 3: 3}), (TABLE, {1: 1, 2: None}), (TABLE, [1]), (TABLE, {1: 256}),
        (Tagged(9, TABLE), [9]), (Tagged(9, TABLE), [9, {1: 1}, 0]), (Tagged(9, TABLE), {1: 1}),
        (BY_TYPE, b""), (BY_TYPE, b"12345"), (BY_TYPE, []), (BY_TYPE, [5]), (BY_TYPE, [True, 1, 2]), (BY_TYPE, None),
        (BY_TYPE, {}), (BY_TYPE, {1: 256}), (ByValue(Code, 150000), 150021), (ByValue(Code, 150000), "x"),
        (OrWhy(UINT8, Choice(Colour.RED)), [1]), (OrWhy(UINT8, Choice(Colour.RED)), []),
        (OrWhy(UINT8, Choice(Colour.RED)), [0, 0]), (OrWhy(UINT8, Choice(Colour.RED)), None),
        (STEPS, [5]), (STEPS, [5, None, 0]), (STEPS, [1, None] * 4), (STEPS, [200, None, 100, None]), (STEPS, None),
        (STEPS, [-1, None]), (STEPS, ["1", None]), (STEPS, [[1, None]]),
        (Percents(1, 3), b""), (Percents(1, 3), b"\x65"), (Percents(1, 3), [0]),
        (SHORT, [1]), (SHORT, [1, None]), (SHORT, []), (SHORT, None), (SHORT, [1, 2, 3]), (SHORT, 256),
        (TERSE, [3]), (TERSE, [3, 5, {}]), (TERSE, [3, 5, {1: 7}]), (TERSE, [3, 5, {2: 8}]),
        (TERSE, [3, 5, {1: 8}, 0]), (TERSE, [3, 5, None]), (TERSE, [3, 256]), (TERSE, {1: 3}),
    ],
)  # fmt: skip
def test_refused(shape, item):
    with pytest.raises(WireError):
        shape.decode(item)


@pytest.mark.parametrize(
    "shape",
    [Int(0, 9), Bytes(1, 3), Percents(1, 3), Text(8), Bool(), ListOf(Text(8)), Choice(*Colour), ByValue(Colour)],
)
@pytest.mark.parametrize("item", ["MARQUEUR-PATIENT", b"MARQUEUR-PATIENT", ["MARQUEUR-PATIENT"]])
def test_what_was_sent_is_not_quoted(shape, item):
    """The hub logs why it refuses a row: that may not say what stood in it."""
    with pytest.raises(WireError) as refused:
        shape.decode(item)
    assert "MARQ" not in str(refused.value)


@pytest.mark.parametrize(
    ("shape", "value"),
    [
        (Int(-2, 3), 4), (Bytes(1, 2), b""), (Bytes(1, 2), b"abc"), (ListOf(UINT8, 2), (1, 2, 3)), (Range(), (4, 3)),
        (Range(), (0, 2**32)), (ROW, Pair(256, None)), (Percents(1, 3), b"\x65"), (STEPS, (Pair(1, None),) * 4),
        (Steps(ROW, Int(0, 5)), (Pair(6, None),)),
    ],
)  # fmt: skip
def test_what_the_wire_cannot_carry_is_our_own_fault(shape, value):
    with pytest.raises(ValueError):
        shape.encode(value)


def test_a_text_too_long_or_not_unicode_is_made_to_fit():
    assert Text(4).encode("abcdef") == "abcd"
    assert Text(4).decode(Text(4).encode("a\udc80b")) == "a?b"
