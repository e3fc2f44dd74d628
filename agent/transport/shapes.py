"""Shapes: how one Python value stands in CBOR, and the strict way back. wire.py is written with them.

A shape's `encode` gives plain CBOR items; its `decode` takes what a peer sent and raises WireError for anything
that `encode` would not have given.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
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
            raise WireError(f"{item!r:.40} is no whole number in {self.low}..{self.high}")
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
            raise WireError(f"{item!r:.40} is no byte string of {self.low}..{self.high}")
        return item


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
            raise WireError(f"{item!r:.40} is no text of at most {self.high}")
        return item


class Bool:
    """True or false."""

    def encode(self, value: bool) -> object:
        """The truth value itself."""
        return bool(value)

    def decode(self, item: object) -> bool:
        """The truth value; WireError for anything else."""
        if not isinstance(item, bool):
            raise WireError(f"{item!r:.40} is neither true nor false")
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
            raise WireError(f"{item!r:.40} is no code below {len(self.members)}")
        return self.members[item]


class ByValue:
    """A member of an Enum whose values are themselves the standard's codes."""

    def __init__(self, kind: type[Enum]) -> None:
        self.kind = kind

    def encode(self, value: Enum) -> object:
        """The member's value."""
        return value.value

    def decode(self, item: object) -> Any:
        """The member; WireError for an unknown value."""
        if not isinstance(item, (int, str)) or isinstance(item, bool):
            raise WireError(f"{item!r:.40} is no {self.kind.__name__}")
        try:
            return self.kind(item)
        except ValueError:
            raise WireError(f"{item!r:.40} is no {self.kind.__name__}") from None


class Row:
    """A dataclass as an array: one shape a field, in order; `tag` first where given."""

    def __init__(self, kind: type[Any], *shapes: Shape, tag: int | None = None) -> None:
        self.kind = kind
        self.tag = tag
        self._fields = list(zip((f.name for f in fields(kind)), shapes, strict=True))

    def encode(self, value: Any) -> object:
        """A CBOR array."""
        row = [shape.encode(getattr(value, name)) for name, shape in self._fields]
        return row if self.tag is None else [self.tag, *row]

    def decode(self, item: object) -> Any:
        """The dataclass; WireError when the array has another length or any field is wrong."""
        head = 0 if self.tag is None else 1
        if not isinstance(item, list) or len(item) != len(self._fields) + head or (head and item[0] != self.tag):
            raise WireError(f"no {self.kind.__name__}")
        return self.kind(*(shape.decode(i) for (_, shape), i in zip(self._fields, item[head:], strict=True)))


class Table:
    """A dataclass as a map with integer keys: null fields are left out."""

    def __init__(self, kind: type[Any], shapes: Mapping[str, tuple[int, Shape]]) -> None:
        self.kind = kind
        self._by_key = {key: (name, shape) for name, (key, shape) in shapes.items()}
        optional = {name for name, (_, shape) in shapes.items() if isinstance(shape, Maybe)}
        self._required = {key for name, (key, _) in shapes.items() if name not in optional}
        self._optional = optional

    def encode(self, value: Any) -> object:
        """A CBOR map."""
        named = ((key, shape.encode(getattr(value, name))) for key, (name, shape) in self._by_key.items())
        return {key: item for key, item in named if item is not None}

    def decode(self, item: object) -> Any:
        """The dataclass; WireError on an unknown, missing or wrong field."""
        if not isinstance(item, dict) or not self._required <= item.keys() <= self._by_key.keys():
            raise WireError(f"no {self.kind.__name__}")
        values = dict.fromkeys(self._optional)
        for key, inner in item.items():
            name, shape = self._by_key[key]
            if inner is None:
                raise WireError("null where a field is left out")
            values[name] = shape.decode(inner)
        return self.kind(**values)


class Tagged:
    """A table as the one field of a tagged row: `[tag, {...}]`."""

    def __init__(self, tag: int, table: Table) -> None:
        self.tag, self.kind, self._table = tag, table.kind, table

    def encode(self, value: Any) -> object:
        """The tagged array."""
        return [self.tag, self._table.encode(value)]

    def decode(self, item: object) -> Any:
        """The dataclass; WireError when there is more or less than a tag and a map."""
        if not isinstance(item, list) or len(item) != 2:
            raise WireError(f"no {self.kind.__name__}")
        return self._table.decode(item[1])


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


class OneOf:
    """Tagged rows: the array's first item says which dataclass it is."""

    def __init__(self, *rows: Row | Tagged) -> None:
        self._by_tag = {row.tag: row for row in rows}
        self._by_kind = {row.kind: row for row in rows}

    def encode(self, value: Any) -> object:
        """The tagged array."""
        return self._by_kind[type(value)].encode(value)

    def decode(self, item: object) -> Any:
        """The dataclass the tag names; WireError for an unknown tag."""
        if not isinstance(item, list) or not item or type(item[0]) is not int or item[0] not in self._by_tag:
            raise WireError("no known kind")
        return self._by_tag[item[0]].decode(item)


class Either:
    """A byte string or something else: waveforms stand bare, everything rarer is tagged."""

    def __init__(self, wrap: Callable[[bytes], Any], kind: type[Any], raw: Bytes, other: Shape) -> None:
        self._wrap, self._kind, self._raw, self._other = wrap, kind, raw, other

    def encode(self, value: Any) -> object:
        """Bytes for the bare kind."""
        return self._raw.encode(value.data) if isinstance(value, self._kind) else self._other.encode(value)

    def decode(self, item: object) -> Any:
        """The bare kind for bytes."""
        return self._wrap(self._raw.decode(item)) if isinstance(item, bytes) else self._other.decode(item)
