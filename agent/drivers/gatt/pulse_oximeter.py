# Ref: Bluetooth SIG, Pulse Oximeter Service 1.0.1, 3.1-3.2; GATT Specification Supplement v9, PLX Spot-check
# Measurement (0x2A5E) and PLX Continuous Measurement (0x2A5F).
"""PLX oximeters: numerics only, no waveform."""

from datetime import datetime

from agent.drivers.base import DecoderCounters, Item
from agent.drivers.gatt.fields import MOMENT, Layout, TruncatedError, moment
from agent.drivers.ieee11073 import sfloat
from agent.drivers.readings import Readings, namer
from agent.model import Kind, NoValue, ReadingQuality, Stream

SPOT = "2a5e"
CONTINUOUS = "2a5f"

SPOT_TIME, SPOT_STATUS, SPOT_SENSOR, SPOT_AMPLITUDE, SPOT_CLOCK_NOT_SET = 0x01, 0x02, 0x04, 0x08, 0x10
FAST, SLOW, STATUS, SENSOR, AMPLITUDE = 0x01, 0x02, 0x04, 0x08, 0x10
SENSOR_FORM = "HB"  # 24 bits, the lower 16 first; all that have a name are in those
SPOT_VALUE = Layout("BHH", (SPOT_TIME, MOMENT), (SPOT_STATUS, "H"), (SPOT_SENSOR, SENSOR_FORM), (SPOT_AMPLITUDE, "H"))
CONTINUOUS_VALUE = Layout("BHH", (FAST, "HH"), (SLOW, "HH"), (STATUS, "H"), (SENSOR, SENSOR_FORM), (AMPLITUDE, "H"))

STATUS_WORDS = namer(
    {
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
)
SENSOR_WORDS = namer(
    {
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
)
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


MOST_WORDS = 15  # of 28, beside one that a special number adds; who sets more bits than these sets them all
KINDS = (Kind.SPO2, Kind.PULSE_RATE, Kind.PERFUSION_INDEX)


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
                return self._spot(data, t_ns)
            if channel == CONTINUOUS:
                return self._continuous(data, t_ns)
        except TruncatedError:
            self.counters.damaged += 1
            self.counters.skipped_bytes += len(data)
        return []

    def _spot(self, data: bytes, t_ns: int) -> list[Item]:
        flags, spo2, rate, *parts, status, sensor, _, amplitude = SPOT_VALUE.read(data)
        time, undated = moment(*parts)
        if flags & SPOT_CLOCK_NOT_SET:
            time, undated = None, ("time_unknown",)
        self._group += 1
        return self._numbers((spo2, rate, amplitude), status, sensor, t_ns, time, undated)

    def _continuous(self, data: bytes, t_ns: int) -> list[Item]:
        _, spo2, rate, *_, status, sensor, _, amplitude = CONTINUOUS_VALUE.read(data)
        return self._numbers((spo2, rate, amplitude), status, sensor, t_ns)

    def _numbers(
        self,
        numbers: tuple[int | None, ...],
        status: int | None,
        sensor: int | None,
        t_ns: int,
        time: datetime | None = None,
        undated: tuple[str, ...] = (),
    ) -> list[Item]:
        self.counters.frames += 1
        words = undated + STATUS_WORDS(status or 0) + SENSOR_WORDS(sensor or 0)
        quality = ReadingQuality.GOOD if DOUBTFUL.isdisjoint(words) else ReadingQuality.QUESTIONABLE
        off = not PROBE_OFF.isdisjoint(words)
        reason = NoValue.PROBE_OFF if off else NoValue.INSTRUMENT
        none = off or not BAD.isdisjoint(words)
        make, group, said = self._readings, self._group, words[:MOST_WORDS]
        return [
            make.missing(kind, t_ns, reason, "doigt", time, group, said)
            if none
            else make.decimal(
                kind, t_ns, sfloat(raw), quality=quality, site="doigt", instrument_time=time, group=group, flags=said
            )
            for kind, raw in zip(KINDS, numbers, strict=True)
            if raw is not None
        ]
