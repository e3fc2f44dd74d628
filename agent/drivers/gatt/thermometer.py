# Ref: Bluetooth SIG, Health Thermometer Service 1.0, 3.1-3.2; GATT Specification Supplement v9, 3.224 Temperature
# Measurement (0x2A1C), 3.226 Temperature Type (0x2A1D).
"""Thermometers: one indication per measurement, with the body site where the maker says it."""

from agent.drivers.base import DecoderCounters, Item
from agent.drivers.gatt.fields import MOMENT, Layout, TruncatedError, moment
from agent.drivers.ieee11073 import Decimal11073, float32
from agent.drivers.readings import Readings
from agent.model import Kind, Stream

MEASUREMENT = "2a1c"
TYPE = "2a1d"

FAHRENHEIT, TIME, SITE = 0x01, 0x02, 0x04
VALUE = Layout("BI", (TIME, MOMENT), (SITE, "B"))
SITES = {
    1: "aisselle",
    2: "corps",
    3: "oreille",
    4: "doigt",
    5: "tube digestif",
    6: "bouche",
    7: "rectum",
    8: "orteil",
    9: "tympan",
}


class ThermometerDecoder:
    """Decodes 2A1C; a site read from 2A1D stands in where a measurement names none.

    Deviation: degrees Fahrenheit are given in hundredths of a degree Celsius, flagged "fahrenheit".
    """

    def __init__(self, instrument: str) -> None:
        self.counters = DecoderCounters()
        self._readings = Readings(instrument, self.counters)
        self._group = 0
        self._site: str | None = None

    @property
    def streams(self) -> tuple[Stream, ...]:
        """None."""
        return ()

    def resume(self) -> None:
        """Nothing is kept between indications."""

    def feed(self, channel: str, data: bytes, t_ns: int) -> list[Item]:
        """Decode one value of characteristic `channel` (short UUID)."""
        try:
            if channel == TYPE:
                self._site = SITES.get(data[0]) if data else None
            elif channel == MEASUREMENT:
                return self._measurement(data, t_ns)
        except TruncatedError:
            self.counters.damaged += 1
            self.counters.skipped_bytes += len(data)
        return []

    def _measurement(self, data: bytes, t_ns: int) -> list[Item]:
        flags, raw, *parts, where = VALUE.read(data)
        time, words = moment(*parts)
        site = self._site if where is None else SITES.get(where)
        number = float32(raw)
        self.counters.frames += 1
        self._group += 1
        if flags & FAHRENHEIT:
            words = ("fahrenheit", *words)
            if isinstance(number, Decimal11073):
                number = in_degc(number)
        return [
            self._readings.decimal(
                Kind.TEMPERATURE, t_ns, number, site=site, instrument_time=time, group=self._group, flags=words
            )
        ]


def in_degc(degf: Decimal11073) -> Decimal11073:
    """Hundredths of a degree Celsius of a temperature in degrees Fahrenheit."""
    return Decimal11073(round((float(degf) - 32) * 500 / 9), -2)
