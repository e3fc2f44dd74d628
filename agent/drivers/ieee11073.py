# Ref: IEEE 11073-20601-2014, annex F.7 (FLOAT-Type) and F.8 (SFLOAT-Type); ISO/IEEE 11073-10101 names.
"""The decimal floats of health devices: exact mantissa and exponent, specials by name."""

from enum import Enum
from typing import NamedTuple


class Special(Enum):
    """What an 11073 float can say instead of a number."""

    NAN = "nan"
    NRES = "not_at_this_resolution"
    POSITIVE_INFINITY = "+infinity"
    NEGATIVE_INFINITY = "-infinity"
    RESERVED = "reserved"


class Decimal11073(NamedTuple):
    """Exactly `mantissa * 10**exponent`."""

    mantissa: int
    exponent: int

    def __float__(self) -> float:
        """The nearest float: divided, never multiplied, by a power of ten, so that 364e-1 is 36.4."""
        if self.exponent < 0:
            return float(self.mantissa / 10**-self.exponent)
        return float(self.mantissa * 10**self.exponent)


SFLOAT_SPECIALS = {
    0x07FF: Special.NAN,
    0x0800: Special.NRES,
    0x07FE: Special.POSITIVE_INFINITY,
    0x0802: Special.NEGATIVE_INFINITY,
    0x0801: Special.RESERVED,
}
FLOAT_SPECIALS = {
    0x007FFFFF: Special.NAN,
    0x00800000: Special.NRES,
    0x007FFFFE: Special.POSITIVE_INFINITY,
    0x00800002: Special.NEGATIVE_INFINITY,
    0x00800001: Special.RESERVED,
}


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value


def sfloat(raw: int) -> Decimal11073 | Special:
    """Decode a 16-bit SFLOAT: 4-bit exponent, 12-bit mantissa, both two's complement."""
    special = SFLOAT_SPECIALS.get(raw)
    return special or Decimal11073(_signed(raw & 0xFFF, 12), _signed(raw >> 12, 4))


def float32(raw: int) -> Decimal11073 | Special:
    """Decode a 32-bit FLOAT: 8-bit exponent, 24-bit mantissa, both two's complement."""
    special = FLOAT_SPECIALS.get(raw)
    return special or Decimal11073(_signed(raw & 0xFFFFFF, 24), _signed(raw >> 24, 8))
