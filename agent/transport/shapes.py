"""Shapes: how one Python value stands in CBOR, and the strict way back. wire.py is written with them.

A shape's `encode` gives plain CBOR items; its `decode` takes what a peer sent and raises WireError for anything
that `encode` would not have given.
"""

from collections.abc import Mapping
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
            raise WireError(f"{item!r:.40} is no {self.kind.__name__}")
        try:
            return self.kind(item + self._base if isinstance(item, int) else item)
        except ValueError:
            raise WireError(f"{item!r:.40} is no {self.kind.__name__}") from None


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


class Row:
    """A dataclass as an array: one shape a field, in order; `tag` first where given."""

    def __init__(self, kind: type[Any], *shapes: Shape, tag: int | None = None) -> None:
        self.kind = kind
        self.tag = tag
        self._fields = list(zip((f.name for f in fields(kind)), shapes, strict=True))
        self.width = len(shapes)

    def encode(self, value: Any) -> list[Any]:
        """A CBOR array."""
        row = [shape.encode(getattr(value, name)) for name, shape in self._fields]
        return row if self.tag is None else [self.tag, *row]

    def decode(self, item: object) -> Any:
        """The dataclass; WireError when the array has another length or any field is wrong."""
        head = 0 if self.tag is None else 1
        if not isinstance(item, list) or len(item) != len(self._fields) + head or (head and item[0] != self.tag):
            raise WireError(f"no {self.kind.__name__}")
        return self.kind(*(shape.decode(i) for (_, shape), i in zip(self._fields, item[head:], strict=True)))


class Short:
    """A row of which all but the first field may be null, and which then is that field alone."""

    def __init__(self, row: Row) -> None:
        self._row = row

    def encode(self, value: Any) -> object:
        """The first field's item, or a CBOR array."""
        first, *rest = self._row.encode(value)
        return [first, *rest] if any(item is not None for item in rest) else first

    def decode(self, item: object) -> Any:
        """The dataclass; WireError for a row of nulls behind the first field, too."""
        if not isinstance(item, list):
            return self._row.decode([item] + [None] * (self._row.width - 1))
        if all(inner is None for inner in item[1:]):
            raise WireError("null where a field is left out")
        return self._row.decode(item)


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


class Steps:
    """Rows one behind the other in one array; one field, at place `at`, counts from the row before, at first from 0."""

    def __init__(self, row: Row, step: Int, *, at: int = 0, high: int = 4096) -> None:
        self._row, self._step, self._at, self._high = row, step, at, high

    def encode(self, value: tuple[Any, ...]) -> object:
        """A CBOR array; ValueError when there are too many rows, or a step is too long."""
        if len(value) > self._high:
            raise ValueError(f"{len(value)} rows, at most {self._high}")
        items, last = [], 0
        for one in value:
            row = self._row.encode(one)
            row[self._at], last = self._step.encode(row[self._at] - last), row[self._at]
            items += row
        return items

    def decode(self, item: object) -> tuple[Any, ...]:
        """A tuple; WireError when it is no array, too long, or the last row is broken off."""
        width = self._row.width
        if not isinstance(item, list) or len(item) > self._high * width or len(item) % width:
            raise WireError(f"no array of at most {self._high} rows")
        rows, last = [], 0
        for at in range(0, len(item), width):
            row = item[at : at + width]
            last = row[self._at] = last + self._step.decode(row[self._at])
            rows.append(self._row.decode(row))
        return tuple(rows)


class Terse:
    """A dataclass as a tagged array: fields without a default in order, then a map of those that are not as usual."""

    def __init__(
        self, kind: type[Any], shapes: Mapping[str, Shape], rarer: Mapping[str, tuple[int, Shape]], *, tag: int
    ) -> None:
        self.kind, self.tag, self._shapes, self._rarer = kind, tag, shapes, rarer
        self._usual = {f.name: f.default for f in fields(kind) if f.name in rarer}
        self._names = {key: name for name, (key, _) in rarer.items()}

    def encode(self, value: Any) -> object:
        """The array; without the map when all is as usual."""
        rarer = {
            key: shape.encode(getattr(value, name))
            for name, (key, shape) in self._rarer.items()
            if getattr(value, name) != self._usual[name]
        }
        row = [self.tag, *(shape.encode(getattr(value, name)) for name, shape in self._shapes.items())]
        return [*row, rarer] if rarer else row

    def decode(self, item: object) -> Any:
        """The dataclass; WireError on an unknown, missing or wrong field, and on one that says what is usual."""
        n = 1 + len(self._shapes)
        if not isinstance(item, list) or len(item) not in {n, n + 1}:
            raise WireError(f"no {self.kind.__name__}")
        rarer = item[n] if len(item) > n else {}
        if not isinstance(rarer, dict) or not rarer.keys() <= self._names.keys() or (len(item) > n and not rarer):
            raise WireError(f"no {self.kind.__name__}")
        values = {
            name: shape.decode(inner) for (name, shape), inner in zip(self._shapes.items(), item[1:], strict=False)
        }
        for key, inner in rarer.items():
            name = self._names[key]
            values[name] = self._rarer[name][1].decode(inner)
            if values[name] == self._usual[name]:
                raise WireError("what is usual is left out")
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

    def __init__(self, *rows: Row | Tagged | Terse) -> None:
        self._by_tag = {row.tag: row for row in rows}
        self._by_kind = {row.kind: row for row in rows}
        self.kinds = set(self._by_kind)

    def encode(self, value: Any) -> object:
        """The tagged array."""
        return self._by_kind[type(value)].encode(value)

    def decode(self, item: object) -> Any:
        """The dataclass the tag names; WireError for an unknown tag."""
        if not isinstance(item, list) or not item or type(item[0]) is not int or item[0] not in self._by_tag:
            raise WireError("no known kind")
        return self._by_tag[item[0]].decode(item)


class Bare:
    """A dataclass of one field as that field alone."""

    def __init__(self, kind: type[Any], shape: Shape) -> None:
        self.kind, self._shape, self._name = kind, shape, fields(kind)[0].name

    def encode(self, value: Any) -> object:
        """The field's item."""
        return self._shape.encode(getattr(value, self._name))

    def decode(self, item: object) -> Any:
        """The dataclass around the field."""
        return self.kind(self._shape.decode(item))


class ByType:
    """What is frequent is known by its CBOR type and stands bare; everything rarer is tagged."""

    def __init__(self, frequent: Mapping[type, Bare | Table], rarer: OneOf) -> None:
        self._frequent, self._rarer = frequent, rarer
        self._by_kind: dict[type, Shape] = {shape.kind: shape for shape in frequent.values()}
        self.kinds = {*self._by_kind, *rarer.kinds}

    def encode(self, value: Any) -> object:
        """The item of its kind."""
        return self._by_kind.get(type(value), self._rarer).encode(value)

    def decode(self, item: object) -> Any:
        """The dataclass that the item's type, or its tag, names."""
        shape: Shape = self._frequent.get(type(item), self._rarer)
        return shape.decode(item)
