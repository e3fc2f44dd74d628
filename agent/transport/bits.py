"""Runs of bits, most significant first: fields packed into bytes in one go, or read one after the other."""

import numpy as np
from numpy.typing import NDArray

from agent.errors import WireError

Ints = NDArray[np.int64]
Field = tuple[int, int]  # value, width in bits


def pack(values: Ints, widths: Ints) -> bytes:
    """Concatenate `values` (n,), each non-negative and within its of `widths` (n,) bits; zeros fill the last byte."""
    ends = np.cumsum(widths)
    shifts = np.repeat(ends, widths)
    shifts -= np.arange(1, shifts.size + 1)
    return np.packbits((np.repeat(values, widths) >> shifts & 1).astype(np.uint8)).tobytes()


def pack_fields(fields: list[Field]) -> bytes:
    """Concatenate a few fields of any width; zeros fill the last byte."""
    total = word = 0
    for value, width in fields:
        word = word << width | value
        total += width
    return (word << -total % 8).to_bytes((total + 7) // 8, "big")


def number(value: int) -> list[Field]:
    """Fields of any integer below 2**62 in magnitude: length (6 bits), then what stands below the leading one."""
    folded = fold(value)
    length = folded.bit_length()
    return [(length, 6), (folded - (1 << length - 1), length - 1)] if length else [(0, 6)]


def fold(value: int) -> int:
    """Map 0, -1, 1, -2, ... to 0, 1, 2, 3, ..."""
    return 2 * value if value >= 0 else -2 * value - 1


def unfold(value: int) -> int:
    """Undo `fold`."""
    return -(value + 1 >> 1) if value & 1 else value >> 1


class BitReader:
    """Reads fields of `data` from bit `at` to bit `end`; WireError when they would pass it."""

    def __init__(self, data: bytes, at: int = 0, end: int | None = None) -> None:
        self._data = data
        self.at = at
        self.end = 8 * len(data) if end is None else end

    def take(self, width: int) -> int:
        """Return the next `width` bits as a non-negative integer."""
        start, self.at = self.at, self.at + width
        if self.at > self.end:
            raise WireError("bits cut short")
        word = int.from_bytes(self._data[start >> 3 : self.at + 7 >> 3], "big")
        return word >> -self.at % 8 & (1 << width) - 1

    def number(self) -> int:
        """Undo `number`."""
        length = self.take(6)
        return unfold(1 << length - 1 | self.take(length - 1)) if length else 0
