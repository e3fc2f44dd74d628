"""Values whose flags say which fields are there: every combination, every truncation."""

import struct
from datetime import datetime
from itertools import product

import pytest

from agent.drivers.gatt.fields import MOMENT, Layout, TruncatedError, moment

LAYOUT = Layout("BH", (0x02, "HB"), (0x10, "b"))


@pytest.mark.parametrize(("pair", "byte"), product((False, True), repeat=2))
@pytest.mark.parametrize("other", [0x00, 0x01, 0xED & ~0x12])  # bits that stand for no field
def test_what_the_flags_leave_out_is_none(pair, byte, other):
    flags = other | (0x02 if pair else 0) | (0x10 if byte else 0)
    data = struct.pack("<BH", flags, 500) + (b"\x34\x12\x56" if pair else b"") + (b"\xff" if byte else b"")
    assert LAYOUT.read(data + b"rest") == (
        flags,
        500,
        *((0x1234, 0x56) if pair else (None, None)),
        -1 if byte else None,
    )
    assert LAYOUT.rest(data + b"rest") == b"rest"
    for end in range(len(data)):
        with pytest.raises(TruncatedError):
            LAYOUT.read(data[:end])


def test_moments():
    assert len(MOMENT) == 6
    assert moment(2026, 3, 9, 14, 20, 5) == (datetime.fromisoformat("2026-03-09T14:20:05"), ())
    assert moment(None, None, None, None, None, None) == (None, ())
    assert moment(0, 3, 9, 14, 20, 5) == (None, ("time_unknown",))
    assert moment(2026, 2, 30, 0, 0, 0) == (None, ("time_unknown",))
