"""Composed shapes: how a dataclass, or one of several, stands in CBOR, and the strict way back; see shapes.py."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from agent.errors import WireError
from agent.transport.shapes import Int, Maybe, Shape


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
