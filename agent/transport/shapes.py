"""Shapes: how one Python value stands in CBOR, and the strict way back; composed.py makes dataclasses of them.

A shape's `encode` gives plain CBOR items; its `decode` takes what a peer sent and raises WireError for anything
that `encode` would not have given.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from agent.errors import WireError

INT64 = 2**63


class Shape(Protocol):
    """One value's form on the wire."""

    def encode(self, value: Any, /) -> object:
        """The plain CBOR item that stands for `value`."""

    def decode(self, item: object, /) -> Any:
        """The value that `item` stands for; WireError when it stands for none."""


@dataclass(frozen=True, slots=True)
class Int:
    """A whole number in a range, inclusive."""

    low: int
    high: int

    def encode(self, value: int) -> object:
        """The number itself; ValueError outside the range (our own fault, not a peer's)."""
        if not self.low <= value <= self.high:
            raise ValueError(f"{value} is outside {self.low}..{self.high}")
        return int(value)

    def decode(self, item: object) -> int:
        """The number; WireError when it is none or outside the range."""
        if type(item) is not int or not self.low <= item <= self.high:
            raise WireError(f"no whole number in {self.low}..{self.high}")
        return item


UINT8 = Int(0, 2**8 - 1)
UINT32 = Int(0, 2**32 - 1)
UINT = Int(0, INT64 - 1)
SINT = Int(-INT64, INT64 - 1)
SINT32 = Int(-(2**31), 2**31 - 1)


@dataclass(frozen=True, slots=True)
class Bytes:
    """A byte string of `low` to `high` bytes."""

    low: int
    high: int

    def encode(self, value: bytes) -> object:
        """The bytes themselves; ValueError when too short or too long."""
        if not self.low <= len(value) <= self.high:
            raise ValueError(f"{len(value)} bytes, not {self.low}..{self.high}")
        return bytes(value)

    def decode(self, item: object) -> bytes:
        """The bytes; WireError when too short or too long."""
        if not isinstance(item, bytes) or not self.low <= len(item) <= self.high:
            raise WireError(f"no byte string of {self.low}..{self.high}")
        return item


class Percents(Bytes):
    """Whole per cents, 0 to 100, a byte each."""

    def encode(self, value: bytes) -> object:
        """The bytes themselves; ValueError when one is above 100."""
        if max(value, default=0) > 100:
            raise ValueError("more than 100 per cent")
        return Bytes.encode(self, value)

    def decode(self, item: object) -> bytes:
        """The bytes; WireError when one is above 100."""
        value = Bytes.decode(self, item)
        if max(value, default=0) > 100:
            raise WireError("more than 100 per cent")
        return value


@dataclass(frozen=True, slots=True)
class Text:
    """A text of at most `high` characters."""

    high: int = 64

    def encode(self, value: str) -> object:
        """The text, cut to its longest length, in UTF-8: what an instrument says of itself may not stop a batch."""
        return value[: self.high].encode(errors="replace").decode()

    def decode(self, item: object) -> str:
        """The text; WireError when too long."""
        if not isinstance(item, str) or len(item) > self.high:
            raise WireError(f"no text of at most {self.high}")
        return item


class Bool:
    """True or false."""

    def encode(self, value: bool) -> object:
        """The truth value itself."""
        return bool(value)

    def decode(self, item: object) -> bool:
        """The truth value; WireError for anything else."""
        if not isinstance(item, bool):
            raise WireError("neither true nor false")
        return item


@dataclass(frozen=True, slots=True)
class Maybe:
    """A value or null."""

    inner: Shape

    def encode(self, value: Any) -> object:
        """Null for None."""
        return None if value is None else self.inner.encode(value)

    def decode(self, item: object) -> Any:
        """None for null."""
        return None if item is None else self.inner.decode(item)


@dataclass(frozen=True, slots=True)
class ListOf:
    """At most `high` values of one shape, as a tuple."""

    inner: Shape
    high: int = 4096

    def encode(self, value: tuple[Any, ...]) -> object:
        """A CBOR array; ValueError when too long."""
        if len(value) > self.high:
            raise ValueError(f"{len(value)} items, at most {self.high}")
        return [self.inner.encode(v) for v in value]

    def decode(self, item: object) -> tuple[Any, ...]:
        """A tuple; WireError when it is no array or too long."""
        if not isinstance(item, list) or len(item) > self.high:
            raise WireError(f"no array of at most {self.high}")
        return tuple(self.inner.decode(i) for i in item)


class Choice:
    """A member of a closed set, as its place in a list that only ever grows at its end."""

    def __init__(self, *members: Enum) -> None:
        self.members = members
        self._code = {member: code for code, member in enumerate(members)}

    def encode(self, value: Enum) -> object:
        """The member's code."""
        return self._code[value]

    def decode(self, item: object) -> Any:
        """The member; WireError for an unknown code."""
        if type(item) is not int or not 0 <= item < len(self.members):
            raise WireError(f"no code below {len(self.members)}")
        return self.members[item]


class ByValue:
    """A member of an Enum whose values are themselves the standard's codes; whole numbers less `base`."""

    def __init__(self, kind: type[Enum], base: int = 0) -> None:
        self.kind = kind
        self._base = base

    def encode(self, value: Enum) -> object:
        """The member's value."""
        return value.value - self._base if self._base else value.value

    def decode(self, item: object) -> Any:
        """The member; WireError for an unknown value."""
        if not isinstance(item, int if self._base else (int, str)) or isinstance(item, bool):
            raise WireError(f"no {self.kind.__name__}")
        try:
            return self.kind(item + self._base if isinstance(item, int) else item)
        except ValueError:
            raise WireError(f"no {self.kind.__name__}") from None


@dataclass(frozen=True, slots=True)
class OrWhy:
    """A whole number, or in an array of its own the member that says why there is none."""

    number: Int
    why: Choice

    def encode(self, value: int | Enum) -> object:
        """The number, or the array."""
        return [self.why.encode(value)] if isinstance(value, Enum) else self.number.encode(value)

    def decode(self, item: object) -> Any:
        """The number or the member; WireError for anything else."""
        if not isinstance(item, list):
            return self.number.decode(item)
        if len(item) != 1:
            raise WireError("no reason for no number")
        return self.why.decode(item[0])


class Range:
    """An inclusive range of row numbers as a pair."""

    def encode(self, value: tuple[int, int]) -> object:
        """The pair as an array; ValueError when it ends before it begins."""
        first, last = value
        if last < first:
            raise ValueError(f"the range {first}..{last} ends before it begins")
        return [UINT32.encode(first), UINT32.encode(last)]

    def decode(self, item: object) -> tuple[int, int]:
        """The pair; WireError when it ends before it begins."""
        if not isinstance(item, list) or len(item) != 2:
            raise WireError("no range")
        first, last = UINT32.decode(item[0]), UINT32.decode(item[1])
        if last < first:
            raise WireError("a range that ends before it begins")
        return first, last
