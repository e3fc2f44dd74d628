# Ref: Bluetooth SIG, GATT Specification Supplement v9: Date Time (0x2A08), Current Time (0x2A2B).
"""An instrument's own clock: reading it, and the bytes that set it."""

import struct
from datetime import datetime

from agent.drivers.gatt.fields import MOMENT, moment

DATE_TIME = "2a08"
CURRENT_TIME = "2a2b"
MANUAL_UPDATE = 0x01
VALUE = struct.Struct("<" + MOMENT)


def read_clock(data: bytes) -> datetime | None:
    """The local time a value of 2A08 or 2A2B begins with; None when unknown."""
    return moment(*VALUE.unpack_from(data))[0] if len(data) >= VALUE.size else None


def clock_value(channel: str, when: datetime) -> bytes:
    """The value that sets characteristic `channel` to the local time `when`."""
    date_time = VALUE.pack(when.year, when.month, when.day, when.hour, when.minute, when.second)
    if channel == DATE_TIME:
        return date_time
    return date_time + bytes((when.isoweekday(), when.microsecond * 256 // 1_000_000, MANUAL_UPDATE))
