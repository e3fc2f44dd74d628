"""11073 floats: literal vectors from the standard's text and from published measurements."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.drivers.ieee11073 import Decimal11073, Special, float32, sfloat

SFLOATS = [
    (0x0072, 114, 0, 114.0),
    (0x0000, 0, 0, 0.0),
    (0xF16C, 364, -1, 36.4),  # exponent -1
    (0xE00A, 10, -2, 0.1),
    (0x10FF, 255, 1, 2550.0),
    (0x0FFF, -1, 0, -1.0),
    (0xFFFF, -1, -1, -0.1),
    (0x77FD, 2045, 7, 20450000000.0),  # the largest
    (0x8803, -2045, -8, -0.00002045),  # the most negative mantissa that is a number
    (0xB07E, 126, -5, 0.00126),  # a glucose concentration, kg/L
    (0xF7FF, 2047, -1, 204.7),  # NaN's mantissa with an exponent is a number
]
FLOATS = [
    (0xFF00016C, 364, -1, 36.4),  # the Health Thermometer Profile's example
    (0xFE000E42, 3650, -2, 36.5),
    (0x00000025, 37, 0, 37.0),
    (0xFFFFFF9C, -100, -1, -10.0),
    (0x02000001, 1, 2, 100.0),
    (0xFD018A88, 101000, -3, 101.0),
    (0x7F7FFFFD, 8388605, 127, 8388605e127),
    (0x80000001, 1, -128, 1e-128),
]


@pytest.mark.parametrize(("raw", "mantissa", "exponent", "number"), SFLOATS)
def test_sfloat(raw, mantissa, exponent, number):
    assert sfloat(raw) == Decimal11073(mantissa, exponent)
    assert float(sfloat(raw)) == number


@pytest.mark.parametrize(("raw", "mantissa", "exponent", "number"), FLOATS)
def test_float(raw, mantissa, exponent, number):
    assert float32(raw) == Decimal11073(mantissa, exponent)
    assert float(float32(raw)) == number


@pytest.mark.parametrize(
    ("short", "long", "special"),
    [
        (0x07FF, 0x007FFFFF, Special.NAN),
        (0x0800, 0x00800000, Special.NRES),
        (0x07FE, 0x007FFFFE, Special.POSITIVE_INFINITY),
        (0x0802, 0x00800002, Special.NEGATIVE_INFINITY),
        (0x0801, 0x00800001, Special.RESERVED),
    ],
)
def test_specials(short, long, special):
    assert sfloat(short) is special
    assert float32(long) is special


@given(st.integers(0, 0xFFFF))
def test_every_sfloat_is_a_special_or_its_own_decimal(raw):
    number = sfloat(raw)
    if isinstance(number, Decimal11073):
        assert float(number) == float(f"{number.mantissa}e{number.exponent}")


def test_divides_where_multiplying_would_show_noise():
    assert repr(363 * 10**-1) == "36.300000000000004"  # what the rule is for
    assert repr(float(float32(0xFF00016B))) == "36.3"
