"""The vocabulary: the only objects that cross layers.

Units are in the names. Times `t_ns` are CLOCK_BOOTTIME nanoseconds of this boot (see clock.py); times `time_s`
count from a stream's first sample. `index` counts every sample since the stream began, gaps included.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int32]
Floats = NDArray[np.float64]


class Signal(Enum):
    """What a waveform stream carries."""

    ECG = "ecg"
    RESPIRATION = "respiration"
    PLETH = "pleth"
    RED = "red"
    INFRARED = "infrared"
    AMBIENT = "ambient"
    SOUND = "sound"


@dataclass(frozen=True, slots=True)
class Instrument:
    """One physical instrument: its key in the catalogue and what it says of itself."""

    key: str
    model: str
    serial: str | None = None
    firmware: str | None = None


@dataclass(frozen=True, slots=True)
class Stream:
    """A waveform stream as its birth record describes it.

    A sample's value in `unit` (UCUM) is `gain * lsb`; `lead` is the lead's or site's name as printed on screens.
    """

    name: str
    signal: Signal
    instrument: str
    fs_hz: float
    gain: float
    unit: str
    lead: str | None = None
    mdc: int | None = None
    resolution_bits: int = 16


@dataclass(slots=True, eq=False)
class SampleBlock:
    """Consecutive samples of one stream, in the instrument's own integers.

    `t_ns` is the boot time of the first sample, `index` its place in the stream. Not frozen, no more than its samples
    are: one is made for every frame of every stream, and freezing takes twice as long as all the rest of making it.
    """

    stream: str
    index: int
    t_ns: int
    samples: Samples


class GapReason(Enum):
    """Why samples are missing."""

    LINK = "link"
    DAMAGED = "damaged"
    OVERRUN = "overrun"
    RESTART = "restart"
    DISK = "disk"
    DETACHED = "detached"


@dataclass(frozen=True, slots=True)
class Gap:
    """`n` samples of a stream that never came, from `index` on."""

    stream: str
    index: int
    n: int
    t_ns: int
    reason: GapReason


class Kind(Enum):
    """A reading's kind: value is its MDC code (IEEE 11073-10101)."""

    __hash__ = object.__hash__  # Enum's own is Python, and tables by kind are asked for every value

    PRESSURE_SYSTOLIC = 150021
    PRESSURE_DIASTOLIC = 150022
    PRESSURE_MEAN = 150023
    TEMPERATURE = 150364
    SPO2 = 150456
    PULSE_RATE = 149530
    HEART_RATE = 147842
    RESPIRATION_RATE = 151562
    PERFUSION_INDEX = 150488
    GLUCOSE = 160184
    WEIGHT = 188736


class Unit(Enum):
    """A reading's unit: value is its UCUM code."""

    MMHG = "mm[Hg]"
    DEGC = "Cel"
    PERCENT = "%"
    PER_MIN = "/min"
    MG_PER_DL = "mg/dL"
    KG = "kg"


USUAL_UNIT = {
    Kind.PRESSURE_SYSTOLIC: Unit.MMHG, Kind.PRESSURE_DIASTOLIC: Unit.MMHG, Kind.PRESSURE_MEAN: Unit.MMHG,
    Kind.TEMPERATURE: Unit.DEGC, Kind.SPO2: Unit.PERCENT, Kind.PULSE_RATE: Unit.PER_MIN, Kind.HEART_RATE: Unit.PER_MIN,
    Kind.RESPIRATION_RATE: Unit.PER_MIN, Kind.PERFUSION_INDEX: Unit.PERCENT, Kind.GLUCOSE: Unit.MG_PER_DL,
    Kind.WEIGHT: Unit.KG,
}  # fmt: skip
"""The unit that decoders give each kind in, and that the wire leaves out: no code may change here."""


class ReadingQuality(Enum):
    """What stands beside a reading's value."""

    GOOD = "good"
    QUESTIONABLE = "questionable"
    IMPLAUSIBLE = "implausible"
    NONE = "none"


class NoValue(Enum):
    """Why there is no number; each has a French sentence in display/fr.toml."""

    STARTING = "starting"
    NO_BEATS = "no_beats"
    LEAD_OFF = "lead_off"
    PROBE_OFF = "probe_off"
    POOR_SIGNAL = "poor_signal"
    MOTION = "motion"
    LOW_PERFUSION = "low_perfusion"
    SATURATED = "saturated"
    UNSURE = "unsure"
    STALE = "stale"
    NOT_CALIBRATED = "not_calibrated"
    INSTRUMENT = "instrument"
    AMBIENT_LIGHT = "ambient_light"
    SWAPPED = "swapped"
    SILENT = "silent"
    DISCONNECTED = "disconnected"


class Reading(NamedTuple):
    """A one-shot or numeric value: `value` is None exactly when `reason` says why.

    The number is `value * 10**exponent` in `unit`, kept as the instrument's own scaled integer. `group` ties the
    parts of one measurement (systolic, diastolic, mean); `flags` are the instrument's own words;
    `instrument_time` is the instrument's own clock, local and without a zone, kept beside ours. A named tuple: as
    unchangeable as a frozen dataclass of twelve fields, and made in a quarter of its time.
    """

    instrument: str
    kind: Kind
    unit: Unit
    t_ns: int
    value: int | None
    exponent: int = 0
    quality: ReadingQuality = ReadingQuality.GOOD
    reason: NoValue | None = None
    site: str | None = None
    instrument_time: datetime | None = None
    group: int = 0
    flags: tuple[str, ...] = ()

    @property
    def number(self) -> float | None:
        """The value as a float, divided (never multiplied) by a power of ten so that 36.4 is 36.4."""
        if self.value is None:
            return None
        return self.value / 10**-self.exponent if self.exponent < 0 else float(self.value * 10**self.exponent)


class InstrumentState(Enum):
    """Where an instrument stands."""

    OFF = "off"
    CONNECTING = "connecting"
    READY = "ready"
    MEASURING = "measuring"
    SILENT = "silent"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class InstrumentEvent:
    """An instrument changed state or said something that is no value: `detail` is its own word, unparsed."""

    instrument: str
    t_ns: int
    state: InstrumentState | None = None
    what: str = ""
    detail: str = ""


class Media(Enum):
    """What a file is: value is its media type."""

    PDF = "application/pdf"
    SCP_ECG = "application/x-scp-ecg"
    JPEG = "image/jpeg"
    MOTION_JPEG = "video/x-motion-jpeg"


@dataclass(frozen=True, slots=True)
class FilePart:
    """A piece of a file that belongs to a visit: part `part` of `parts`; `digest` is the whole file's SHA-256."""

    instrument: str
    t_ns: int
    media: Media
    digest: bytes
    part: int
    parts: int
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Scan:
    """One line from the badge scanner."""

    t_ns: int
    text: str


# --- what the signal processing says -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Beat:
    """An R-peak. `late`: found by search-back. `confidence` 0..1."""

    index: int
    time_s: float
    late: bool = False
    confidence: float = 1.0


@dataclass(frozen=True, slots=True)
class Pulse:
    """A pulse in the pleth: sub-sample time of its fiducial and its perfusion index (None when DC is unknown)."""

    time_s: float
    perfusion_index_pct: float | None = None


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate per minute, or None with the reason."""

    bpm: float | None
    reason: NoValue | None = None


@dataclass(frozen=True, slots=True)
class Spo2:
    """Oxygen saturation computed by us: per cent or None with the reason; `age_s` since the samples it rests on."""

    time_s: float
    pct: float | None
    reason: NoValue | None = None
    age_s: float = 0.0


@dataclass(frozen=True, slots=True)
class HeartSound:
    """A heart sound at its onset-to-centre time; `kind` is "S1" or "S2"."""

    kind: str
    time_s: float


class Cause(Enum):
    """Why a stretch of signal is not to be trusted."""

    FLAT = "flat"
    SATURATED = "saturated"
    LEAD_OFF = "lead_off"
    PROBE_OFF = "probe_off"
    NOISE = "noise"
    BASELINE = "baseline"
    MOTION = "motion"
    TAPPING = "tapping"
    CLIPPING = "clipping"
    GAP = "gap"
    NOT_FINITE = "not_finite"
    LOW_PERFUSION = "low_perfusion"


@dataclass(frozen=True, slots=True)
class Quality:
    """Signal quality of one stretch (1 s ECG, 0.5 s pleth) from sample `start`: 0 bad .. 1 good, cause when bad."""

    start: int
    value: float
    cause: Cause | None = None


class Happening(Enum):
    """What a stage reports besides samples."""

    NO_BEATS = "no_beats"
    LEAD_OFF = "lead_off"
    LEAD_ON = "lead_on"
    SATURATED = "saturated"
    PACING_SPIKE = "pacing_spike"
    NOT_FINITE = "not_finite"
    PROBE_OFF = "probe_off"
    PROBE_ON = "probe_on"
    SWAPPED = "swapped"
    AMBIENT_LIGHT = "ambient_light"
    DISCONNECTED = "disconnected"
    CLIPPING = "clipping"
    SILENCE = "silence"
    PULSE_DEFICIT = "pulse_deficit"
    FALLBACK = "fallback"


@dataclass(frozen=True, slots=True)
class StageEvent:
    """Something a stage noticed at a sample: `index` since the stream began, `time_s` = index / fs."""

    index: int
    time_s: float
    kind: Happening


# --- visits --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Visit:
    """An open visit: a random id and the 4-digit code that names it aloud (no authentication).

    `holder` is the badge id of whoever had the bag when it began; None where no check-out was recorded.
    """

    id: bytes
    code: str
    t_ns: int
    holder: bytes | None = None


# --- what a stream's chain of stages gives: the same on the bag and, from what was sent, at the hub -------------


@dataclass(frozen=True, slots=True)
class ChainStage:
    """One stage a signal goes through for screens: its name, its settings as text, its delay."""

    name: str
    settings: str
    delay_us: int


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """A filtered stretch for screens: `values` in the stream's unit; `t_ns` of its first sample, delay removed."""

    stream: str
    index: int
    t_ns: int
    fs_hz: float
    values: Floats


@dataclass(frozen=True, slots=True)
class Analysis:
    """What the stages of one stream found in its newest block, up to `t_ns`."""

    stream: str
    t_ns: int
    beats: tuple[Beat, ...] = ()
    pulses: tuple[Pulse, ...] = ()
    sounds: tuple[HeartSound, ...] = ()
    quality: tuple[Quality, ...] = ()
    events: tuple[StageEvent, ...] = ()
    rate: Rate | None = None
    spo2: Spo2 | None = None
