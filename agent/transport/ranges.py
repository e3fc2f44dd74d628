"""Sets of sequence numbers as sorted ranges: dense in practice, so a few pairs stand for hours of rows."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator


class SeqSet:
    """A set of non-negative integers kept as disjoint, non-adjacent inclusive ranges."""

    __slots__ = ("_first", "_last")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._first: list[int] = []
        self._last: list[int] = []
        for first, last in ranges:
            self.add(first, last)

    def add(self, first: int, last: int | None = None) -> None:
        """Add `first` to `last` inclusive."""
        last = first if last is None else last
        if last < first:
            return
        low = bisect_left(self._last, first - 1)
        high = bisect_right(self._first, last + 1)
        if low < high:
            first = min(first, self._first[low])
            last = max(last, self._last[high - 1])
        self._first[low:high] = [first]
        self._last[low:high] = [last]

    def remove(self, first: int, last: int | None = None) -> None:
        """Remove `first` to `last` inclusive."""
        last = first if last is None else last
        low = bisect_left(self._last, first)
        high = bisect_right(self._first, last)
        if low >= high or last < first:
            return
        ends = (self._first[low], first - 1), (last + 1, self._last[high - 1])
        left = [(a, b) for a, b in ends if a <= b]
        self._first[low:high] = [a for a, _ in left]
        self._last[low:high] = [b for _, b in left]

    def __contains__(self, seq: int) -> bool:
        at = bisect_left(self._last, seq)
        return at < len(self._last) and self._first[at] <= seq

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """The ranges, in order."""
        return iter(zip(self._first, self._last, strict=True))

    def __len__(self) -> int:
        """How many numbers are in the set."""
        return sum(last - first + 1 for first, last in self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SeqSet) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"SeqSet({list(self)})"

    @property
    def upto(self) -> int:
        """The highest n with every number 0..n in the set; -1 when 0 is missing."""
        return self._last[0] if self._first and self._first[0] == 0 else -1

    @property
    def highest(self) -> int:
        """The highest number in the set; -1 when empty."""
        return self._last[-1] if self._last else -1

    def missing(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """The ranges within `first`..`last` that are not in the set."""
        at = bisect_left(self._last, first)
        while first <= last:
            if at == len(self._first) or self._first[at] > last:
                yield first, last
                return
            if self._first[at] > first:
                yield first, self._first[at] - 1
            first = self._last[at] + 1
            at += 1
