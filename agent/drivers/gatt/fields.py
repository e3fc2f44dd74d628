# Ref: Bluetooth SIG, GATT Specification Supplement v9: 3.70 Date Time; field types in 2.2.
"""Reading the fields of a characteristic's value one after the other."""

from datetime import datetime

from agent.drivers.ieee11073 import Decimal11073, Special, float32, sfloat


class TruncatedError(Exception):
    """The value ends before the fields that its flags promise."""


class Fields:
    """A cursor over a characteristic's value, little endian; raises TruncatedError at its end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def _take(self, n: int) -> bytes:
        piece = self._data[self._at : self._at + n]
        if len(piece) < n:
            raise TruncatedError
        self._at += n
        return piece

    def u8(self) -> int:
        """An unsigned byte."""
        return self._take(1)[0]

    def u16(self) -> int:
        """An unsigned 16-bit number."""
        return int.from_bytes(self._take(2), "little")

    def s16(self) -> int:
        """A signed 16-bit number."""
        return int.from_bytes(self._take(2), "little", signed=True)

    def u24(self) -> int:
        """An unsigned 24-bit number."""
        return int.from_bytes(self._take(3), "little")

    def sfloat(self) -> Decimal11073 | Special:
        """A 16-bit 11073 float."""
        return sfloat(self.u16())

    def float32(self) -> Decimal11073 | Special:
        """A 32-bit 11073 float."""
        return float32(int.from_bytes(self._take(4), "little"))

    def stamp(self, *, given: bool) -> tuple[str | None, tuple[str, ...]]:
        """An optional Date Time, and the word for one that is there but says nothing: it may be of any day."""
        if not given:
            return None, ()
        time = self.date_time()
        return time, ("time_unknown",) if time is None else ()

    def date_time(self) -> str | None:
        """A 7-byte Date Time as ISO local time; None when a part is unknown (0) or impossible."""
        year = self.u16()
        month, day, hour, minute, second = self._take(5)
        try:
            return datetime(year, month, day, hour, minute, second).isoformat()  # noqa: DTZ001 (the meter's own time)
        except ValueError:
            return None
