# Ref: IEEE 11073-20601-2014, annex F.7 (FLOAT-Type) and F.8 (SFLOAT-Type); ISO/IEEE 11073-10101 names.
"""The decimal floats of health devices: exact mantissa and exponent, specials by name."""

from enum import Enum
from functools import lru_cache
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


@lru_cache(maxsize=4096)
def sfloat(raw: int) -> Decimal11073 | Special:
    """Decode a 16-bit SFLOAT: 4-bit exponent, 12-bit mantissa, both two's complement."""
    return SFLOAT_SPECIALS.get(raw) or Decimal11073((raw & 0xFFF ^ 0x800) - 0x800, (raw >> 12 ^ 0x8) - 0x8)


def float32(raw: int) -> Decimal11073 | Special:
    """Decode a 32-bit FLOAT: 8-bit exponent, 24-bit mantissa, both two's complement."""
    return FLOAT_SPECIALS.get(raw) or Decimal11073((raw & 0xFFFFFF ^ 0x800000) - 0x800000, (raw >> 24 ^ 0x80) - 0x80)
