# Ref: Bluetooth SIG, Pulse Oximeter Service 1.0.1, 3.1-3.2; GATT Specification Supplement v9, PLX Spot-check
# Measurement (0x2A5E) and PLX Continuous Measurement (0x2A5F).
"""PLX oximeters: numerics only, no waveform."""

from agent.drivers.base import DecoderCounters, Item
from agent.drivers.gatt.fields import Fields, TruncatedError
from agent.drivers.ieee11073 import Decimal11073, Special
from agent.drivers.readings import Readings
from agent.model import Kind, NoValue, Reading, ReadingQuality, Stream

SPOT = "2a5e"
CONTINUOUS = "2a5f"

SPOT_TIME, SPOT_STATUS, SPOT_SENSOR, SPOT_AMPLITUDE, SPOT_CLOCK_NOT_SET = 0x01, 0x02, 0x04, 0x08, 0x10
FAST, SLOW, STATUS, SENSOR, AMPLITUDE = 0x01, 0x02, 0x04, 0x08, 0x10

STATUS_WORDS = {
    5: "ongoing",
    6: "early_estimate",
    7: "validated",
    8: "fully_qualified",
    9: "from_memory",
    10: "demonstration",
    11: "testing",
    12: "calibrating",
    13: "unavailable",
    14: "questionable",
    15: "invalid",
}
SENSOR_WORDS = {
    0: "extended_display",
    1: "equipment_malfunction",
    2: "signal_processing_irregular",
    3: "signal_inadequate",
    4: "poor_signal",
    5: "low_perfusion",
    6: "erratic_signal",
    7: "non_pulsatile",
    8: "pulse_questionable",
    9: "signal_analysis",
    10: "sensor_interference",
    11: "sensor_unconnected",
    12: "unknown_sensor",
    13: "sensor_displaced",
    14: "sensor_malfunction",
    15: "sensor_unconnected_to_user",
}
PROBE_OFF = {"sensor_unconnected", "sensor_displaced", "sensor_unconnected_to_user"}
BAD = {"invalid", "demonstration", "testing", "calibrating", "unavailable"}
DOUBTFUL = {
    "early_estimate",
    "questionable",
    "poor_signal",
    "erratic_signal",
    "pulse_questionable",
    "signal_inadequate",
}


class PulseOximeterDecoder:
    """Decodes 2A5E and the normal pair of 2A5F (fast and slow pairs are read over, not given)."""

    def __init__(self, instrument: str) -> None:
        self.counters = DecoderCounters()
        self._readings = Readings(instrument, self.counters)
        self._group = 0

    @property
    def streams(self) -> tuple[Stream, ...]:
        """None."""
        return ()

    def resume(self) -> None:
        """Nothing is kept between values."""

    def feed(self, channel: str, data: bytes, t_ns: int) -> list[Item]:
        """Decode one value of characteristic `channel` (short UUID)."""
        try:
            if channel == SPOT:
                return self._spot(Fields(data), t_ns)
            if channel == CONTINUOUS:
                return self._continuous(Fields(data), t_ns)
        except TruncatedError:
            self.counters.damaged += 1
            self.counters.skipped_bytes += len(data)
        return []

    def _spot(self, fields: Fields, t_ns: int) -> list[Item]:
        flags = fields.u8()
        spo2, rate = fields.sfloat(), fields.sfloat()
        time, undated = fields.stamp(given=bool(flags & SPOT_TIME))
        status = fields.u16() if flags & SPOT_STATUS else 0
        sensor = fields.u24() if flags & SPOT_SENSOR else 0
        amplitude = fields.sfloat() if flags & SPOT_AMPLITUDE else None
        if flags & SPOT_CLOCK_NOT_SET:
            time, undated = None, ("time_unknown",)
        self._group += 1
        return self._numbers(spo2, rate, amplitude, status, sensor, time, t_ns, undated)

    def _continuous(self, fields: Fields, t_ns: int) -> list[Item]:
        flags = fields.u8()
        spo2, rate = fields.sfloat(), fields.sfloat()
        for pair in (FAST, SLOW):
            if flags & pair:
                fields.sfloat()
                fields.sfloat()
        status = fields.u16() if flags & STATUS else 0
        sensor = fields.u24() if flags & SENSOR else 0
        amplitude = fields.sfloat() if flags & AMPLITUDE else None
        return self._numbers(spo2, rate, amplitude, status, sensor, None, t_ns)

    def _numbers(
        self,
        spo2: Decimal11073 | Special,
        rate: Decimal11073 | Special,
        amplitude: Decimal11073 | Special | None,
        status: int,
        sensor: int,
        time: str | None,
        t_ns: int,
        undated: tuple[str, ...] = (),
    ) -> list[Item]:
        self.counters.frames += 1
        words = tuple(word for bit, word in STATUS_WORDS.items() if status >> bit & 1)
        words += tuple(word for bit, word in SENSOR_WORDS.items() if sensor >> bit & 1) + undated
        said = set(words)
        quality = ReadingQuality.QUESTIONABLE if DOUBTFUL & said else ReadingQuality.GOOD
        reason = NoValue.PROBE_OFF if PROBE_OFF & said else NoValue.INSTRUMENT

        def reading(kind: Kind, number: Decimal11073 | Special) -> Reading:
            if isinstance(number, Special) or said & (BAD | PROBE_OFF):
                return self._readings.missing(
                    kind, t_ns, reason, site="doigt", instrument_time=time, group=self._group, flags=words
                )
            return self._readings.value(
                kind, t_ns, number.mantissa, number.exponent, quality=quality, site="doigt", instrument_time=time,
                group=self._group, flags=words,
            )  # fmt: skip

        items: list[Item] = [reading(Kind.SPO2, spo2), reading(Kind.PULSE_RATE, rate)]
        if isinstance(amplitude, Decimal11073):
            items.append(reading(Kind.PERFUSION_INDEX, amplitude))
        return items
