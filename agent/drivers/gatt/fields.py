# Ref: Bluetooth SIG, GATT Specification Supplement v9: 3.70 Date Time; field types in 2.2.
"""Reading the fields of a characteristic's value."""

import itertools
import struct
from datetime import datetime
from operator import itemgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

MOMENT = "HBBBBB"  # a Date Time


class TruncatedError(Exception):
    """The value ends before the fields that its flags promise."""


class Layout:
    """A value that begins with a byte of flags, some of whose bits say which fields follow. Little endian.

    `always`: the fields that are always there, flags first, a letter of `struct` each (two or more); `optional`: flag
    bit and letters of the others, in the order of the specification. What each set of flags means is worked out once.
    """

    def __init__(self, always: str, *optional: tuple[int, str]) -> None:
        self._mask = sum(bit for bit, _ in optional)
        self._by_flags: dict[int, tuple[struct.Struct, Callable[[tuple[Any, ...]], tuple[Any, ...]] | None]] = {}
        groups = [always, *(letters for _, letters in optional)]
        for there in itertools.product((False, True), repeat=len(optional)):
            present = [True, *there]
            form = struct.Struct("<" + "".join(itertools.compress(groups, present)))
            at = itertools.count()
            places = [
                next(at) if is_in else -1 for letters, is_in in zip(groups, present, strict=True) for _ in letters
            ]
            flags = sum(bit for (bit, _), is_in in zip(optional, there, strict=True) if is_in)
            self._by_flags[flags] = form, None if all(there) else itemgetter(*places)

    def read(self, data: bytes) -> tuple[Any, ...]:
        """Every field in order, None for one that is not there; TruncatedError when the value ends before."""
        try:
            form, pick = self._by_flags[data[0] & self._mask]
            there = form.unpack_from(data)
        except (IndexError, struct.error):
            raise TruncatedError from None
        return there if pick is None else pick((*there, None))

    def rest(self, data: bytes) -> bytes:
        """What follows the fields."""
        return data[self._by_flags[data[0] & self._mask][0].size :]


def moment(year: int | None, *parts: Any) -> tuple[datetime | None, tuple[str, ...]]:
    """An optional Date Time, in the instrument's own local time, and a word for one that is there but says nothing.

    A part that is 0 (unknown) or impossible makes it so: it may be of any day.
    """
    if year is None:
        return None, ()
    try:
        return datetime(year, *parts), ()  # noqa: DTZ001
    except ValueError:
        return None, ("time_unknown",)
