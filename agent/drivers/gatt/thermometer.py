# Ref: Bluetooth SIG, Health Thermometer Service 1.0, 3.1-3.2; GATT Specification Supplement v9, 3.224 Temperature
# Measurement (0x2A1C), 3.226 Temperature Type (0x2A1D).
"""Thermometers: one indication per measurement, with the body site where the maker says it."""

from agent.drivers.base import DecoderCounters, Item
from agent.drivers.gatt.fields import Fields, TruncatedError
from agent.drivers.ieee11073 import Decimal11073, Special
from agent.drivers.readings import Readings
from agent.model import Kind, NoValue, Stream

MEASUREMENT = "2a1c"
TYPE = "2a1d"

FAHRENHEIT, TIME, SITE = 0x01, 0x02, 0x04
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
                self._site = SITES.get(Fields(data).u8())
            elif channel == MEASUREMENT:
                return self._measurement(Fields(data), t_ns)
        except TruncatedError:
            self.counters.damaged += 1
            self.counters.skipped_bytes += len(data)
        return []

    def _measurement(self, fields: Fields, t_ns: int) -> list[Item]:
        flags = fields.u8()
        number = fields.float32()
        time, undated = fields.stamp(given=bool(flags & TIME))
        site = SITES.get(fields.u8()) if flags & SITE else self._site
        self.counters.frames += 1
        self._group += 1
        words = (*(("fahrenheit",) if flags & FAHRENHEIT else ()), *undated)
        if isinstance(number, Special):
            return [
                self._readings.missing(
                    Kind.TEMPERATURE, t_ns, NoValue.INSTRUMENT, site=site, instrument_time=time, group=self._group,
                    flags=(*words, number.value),
                )
            ]  # fmt: skip
        degc = in_degc(number) if flags & FAHRENHEIT else number
        return [
            self._readings.value(
                Kind.TEMPERATURE, t_ns, degc.mantissa, degc.exponent, site=site, instrument_time=time,
                group=self._group, flags=words,
            )
        ]  # fmt: skip


def in_degc(degf: Decimal11073) -> Decimal11073:
    """Hundredths of a degree Celsius of a temperature in degrees Fahrenheit."""
    return Decimal11073(round((float(degf) - 32) * 500 / 9), -2)
