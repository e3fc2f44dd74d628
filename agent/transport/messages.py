"""The messages of the wire as Python sees them; wire.py gives each its form, wire.cddl says it for everybody else.

A batch is one second (a quarter when a doctor watches) of one bag: its boot time, its visit, and records
`[stream, seq, dt_ms, body]`. `stream` is a number that a birth record describes once per epoch; `seq` is the
position in the stream (a sample's index of waveforms, gaps and what was found in them, a running number otherwise);
`dt_ms` is the record's time less the batch's. Numbers are whole: scaled by what their names say. Where there may be
no value, NoValue in its place says why.
"""

from dataclasses import dataclass
from enum import Enum

from agent.clock import Source
from agent.model import (
    Cause,
    ChainStage,
    GapReason,
    Happening,
    InstrumentState,
    Kind,
    Media,
    NoValue,
    ReadingQuality,
    Signal,
    Unit,
)

# --- records ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Waveform:
    """One block of samples, as waveform.encode wrote it; its sample count is inside."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Scaled:
    """A decimal: mantissa * 10**exponent."""

    mantissa: int
    exponent: int


@dataclass(frozen=True, slots=True)
class StreamBirth:
    """What a waveform stream is: enough to reproduce a measurement from what was sent."""

    name: str
    signal: Signal
    instrument: str
    fs_mhz: int
    gain: Scaled
    unit: str
    resolution_bits: int
    chain: tuple[ChainStage, ...]
    lead: str | None = None
    mdc: int | None = None


@dataclass(frozen=True, slots=True)
class InstrumentBirth:
    """What an instrument says of itself."""

    key: str
    model: str
    serial: str | None = None
    firmware: str | None = None


@dataclass(frozen=True, slots=True)
class GapBody:
    """Samples that never came."""

    n: int
    reason: GapReason


@dataclass(frozen=True, slots=True)
class ReadingBody:
    """A one-shot value; the instrument is the record's stream. What is as usual takes no byte."""

    kind: Kind
    value: int | NoValue
    unit: Unit | None = None  # the kind's usual one
    exponent: int = 0
    quality: ReadingQuality = ReadingQuality.GOOD
    site: str | None = None
    instrument_time: str | None = None
    group: int = 0
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WireBeat:
    """An R-peak: samples after the record's `seq`, what its confidence lacks of 100 %; -1 less that when found late."""

    index: int
    doubt_pct: int


@dataclass(frozen=True, slots=True)
class WirePulse:
    """A pulse: tenths of a millisecond since the sample `seq`, perfusion index in hundredths of a per cent."""

    ticks: int
    perfusion_index_cpct: int | None


@dataclass(frozen=True, slots=True)
class WireSound:
    """A heart sound: tenths of a millisecond since the sample `seq`, 1 or 2."""

    ticks: int
    kind: int


@dataclass(frozen=True, slots=True)
class Lacks:
    """What each quality of a run lacks of 100 %, a byte each, and why where that is known."""

    pct: bytes
    cause: Cause | None


@dataclass(frozen=True, slots=True)
class WireQuality:
    """Quality of stretches in a run: the first one's first sample after `seq`, samples from one to the next."""

    start: int
    every: int
    lacks: Lacks


@dataclass(frozen=True, slots=True)
class WireEvent:
    """A stage's event: samples after `seq`, and kind."""

    index: int
    kind: Happening


@dataclass(frozen=True, slots=True)
class WireSpo2:
    """Our own SpO2 in tenths of a per cent, tenths of a millisecond since the sample `seq`; age of what it rests on."""

    ticks: int
    pct_tenths: int | NoValue
    age_ms: int


@dataclass(frozen=True, slots=True)
class AnalysisBody:
    """What the stages found in a stream since the last such record; `rate` in tenths per minute."""

    beats: tuple[WireBeat, ...] | None = None
    pulses: tuple[WirePulse, ...] | None = None
    sounds: tuple[WireSound, ...] | None = None
    quality: tuple[WireQuality, ...] | None = None
    events: tuple[WireEvent, ...] | None = None
    rate: int | NoValue | None = None
    spo2: WireSpo2 | None = None


@dataclass(frozen=True, slots=True)
class EventBody:
    """An instrument changed state or said something that is no value."""

    state: InstrumentState | None
    what: str
    detail: str


class VisitStep(Enum):
    """What happened to the visit the batch carries."""

    OPEN = "open"
    CLOSE = "close"
    VOID = "void"
    RESUME = "resume"


@dataclass(frozen=True, slots=True)
class VisitBody:
    """A visit's step; the code is what the nurse reads aloud, no authentication; the badge that has the bag."""

    step: VisitStep
    code: str
    holder: bytes | None = None


@dataclass(frozen=True, slots=True)
class AnchorBody:
    """At the record's time UTC was this, give or take."""

    utc_us: int
    uncertainty_us: int
    source: Source


@dataclass(frozen=True, slots=True)
class CustodyBody:
    """A ledger entry, signed and chained."""

    entry: bytes


@dataclass(frozen=True, slots=True)
class GaveWayBody:
    """Rows of an epoch that will never come: waveforms that gave way on a full disk before the hub had them."""

    epoch: bytes
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class FileBody:
    """A piece of a file; the instrument it came from is the record's stream."""

    media: Media
    digest: bytes
    part: int
    parts: int
    data: bytes


Body = (
    Waveform
    | StreamBirth
    | InstrumentBirth
    | GapBody
    | ReadingBody
    | AnalysisBody
    | EventBody
    | VisitBody
    | AnchorBody
    | CustodyBody
    | GaveWayBody
    | FileBody
)


@dataclass(frozen=True, slots=True)
class Record:
    """One thing that happened, in one stream."""

    stream: int
    seq: int
    dt_ms: int
    body: Body


# --- messages --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Batch:
    """One row of the outbox: `t_ms` is CLOCK_BOOTTIME, `visit` 16 random bytes or none."""

    t_ms: int
    visit: bytes | None
    records: tuple[Record, ...]

    @property
    def t_us(self) -> int:
        """Its boot time in microseconds, as every other time has it."""
        return 1000 * self.t_ms


@dataclass(frozen=True, slots=True)
class EpochReceipt:
    """Rows of one epoch the hub has committed: all up to `upto` (-1: none), and these ranges beyond."""

    epoch: bytes
    upto: int
    ranges: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Receipt:
    """The hub has these rows on disk: the bag may delete them."""

    epochs: tuple[EpochReceipt, ...]


class Order(Enum):
    """What a hub may ask of a bag."""

    WATCH = "watch"
    UNWATCH = "unwatch"
    IDENTIFY = "identify"


@dataclass(frozen=True, slots=True)
class Command:
    """A hub's order."""

    number: int
    order: Order


@dataclass(frozen=True, slots=True)
class State:
    """The bag's presence, retained; `session` lets a late will be recognised."""

    online: bool
    session: int
    software: str


@dataclass(frozen=True, slots=True)
class TimeAsk:
    """The bag asks for the time: its boot time when it asked."""

    asked_us: int


@dataclass(frozen=True, slots=True)
class TimeAnswer:
    """The hub's answer: the question's time, hub UTC at arrival and at departure."""

    asked_us: int
    arrived_utc_us: int
    left_utc_us: int


@dataclass(frozen=True, slots=True)
class PreviousEpoch:
    """The epoch before this one, and the last of its rows that was committed on the bag (-1: none)."""

    epoch: bytes
    committed: int


class EpochReason(Enum):
    """Why a new epoch began."""

    START = "start"
    CHECK_OUT = "check_out"
    CHECK_IN = "check_in"
    AGE = "age"


@dataclass(frozen=True, slots=True)
class EpochHeader:
    """The first row of every epoch: its key sealed to the hub, everything signed by the device.

    `chain` names the outbox that keeps the epoch's rows, `number` the epoch's place among those begun there: they say
    which of a device's epochs is the newest, whatever the order in which headers arrive.
    """

    device: str
    epoch: bytes
    hub_key_id: bytes
    sealed_key: bytes
    certificate: bytes
    boot_id: bytes
    t_us: int
    software: str
    reason: EpochReason
    demo: bool
    chain: bytes
    number: int
    previous: PreviousEpoch | None = None


@dataclass(frozen=True, slots=True)
class SignedHeader:
    """An epoch header's bytes and the device's ECDSA P-256 signature over them (r and s, 32 bytes each)."""

    header: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Preview:
    """A camera's picture to be seen now by whoever looks at this visit, stored nowhere, never sent again."""

    t_us: int
    visit: bytes
    instrument: str
    jpeg: bytes


Message = Batch | Receipt | Command | State | TimeAsk | TimeAnswer | EpochHeader | SignedHeader | Preview
