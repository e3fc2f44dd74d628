"""The form of every message: deterministic CBOR arrays whose first item is their kind, written as shapes.

Deviation from the design: the boot id stands in the epoch's header, not in every batch (an epoch never outlives its
process), which saves 17 bytes a second.
"""

from agent.clock import Source
from agent.errors import WireError
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
from agent.transport import cbor
from agent.transport.composed import Bare, ByType, OneOf, Row, Short, Steps, Table, Tagged, Terse
from agent.transport.messages import (
    AnalysisBody,
    AnchorBody,
    Batch,
    Command,
    CustodyBody,
    EpochHeader,
    EpochReason,
    EpochReceipt,
    EventBody,
    FileBody,
    GapBody,
    GaveWayBody,
    InstrumentBirth,
    Lacks,
    Message,
    Order,
    Preview,
    PreviousEpoch,
    ReadingBody,
    Receipt,
    Record,
    Scaled,
    SignedHeader,
    State,
    StreamBirth,
    TimeAnswer,
    TimeAsk,
    VisitBody,
    VisitStep,
    Waveform,
    WireBeat,
    WireEvent,
    WirePulse,
    WireQuality,
    WireSound,
    WireSpo2,
)
from agent.transport.shapes import (
    INT64,
    SINT,
    SINT32,
    UINT,
    UINT32,
    Bool,
    Bytes,
    ByValue,
    Choice,
    Int,
    ListOf,
    Maybe,
    OrWhy,
    Percents,
    Range,
    Text,
)

__all__ = ["MAX_BYTES", "WireError", "decode", "encode"]

MAX_BYTES = 256 * 1024
EPOCH = Bytes(6, 6)
VISIT = Bytes(16, 16)
PREVIEW_BYTES = 261_000
FILE_PARTS = 256
FILE_PART_BYTES = 65536
BADGE = Bytes(6, 6)
MDC_SCADA = 2 << 16  # the partition of IEEE 11073-10101 that every kind of reading stands in

# --- their shapes: codes are places in these lists, so lists only ever grow at their end -----------------------

_GAP_REASON = Choice(
    GapReason.LINK, GapReason.DAMAGED, GapReason.OVERRUN, GapReason.RESTART, GapReason.DISK, GapReason.DETACHED
)
_SIGNAL = Choice(
    Signal.ECG, Signal.RESPIRATION, Signal.PLETH, Signal.RED, Signal.INFRARED, Signal.AMBIENT, Signal.SOUND
)
_QUALITY = Choice(ReadingQuality.GOOD, ReadingQuality.QUESTIONABLE, ReadingQuality.IMPLAUSIBLE, ReadingQuality.NONE)
_NO_VALUE = Choice(
    NoValue.STARTING, NoValue.NO_BEATS, NoValue.LEAD_OFF, NoValue.PROBE_OFF, NoValue.POOR_SIGNAL, NoValue.MOTION,
    NoValue.LOW_PERFUSION, NoValue.SATURATED, NoValue.UNSURE, NoValue.STALE, NoValue.NOT_CALIBRATED,
    NoValue.INSTRUMENT, NoValue.AMBIENT_LIGHT, NoValue.SWAPPED, NoValue.SILENT,
    NoValue.DISCONNECTED,
)  # fmt: skip
_CAUSE = Choice(
    Cause.FLAT, Cause.SATURATED, Cause.LEAD_OFF, Cause.PROBE_OFF, Cause.NOISE, Cause.BASELINE, Cause.MOTION,
    Cause.TAPPING, Cause.CLIPPING, Cause.GAP, Cause.NOT_FINITE, Cause.LOW_PERFUSION,
)  # fmt: skip
_HAPPENING = Choice(
    Happening.NO_BEATS, Happening.LEAD_OFF, Happening.LEAD_ON, Happening.SATURATED, Happening.PACING_SPIKE,
    Happening.NOT_FINITE, Happening.PROBE_OFF, Happening.PROBE_ON, Happening.SWAPPED, Happening.AMBIENT_LIGHT,
    Happening.DISCONNECTED, Happening.CLIPPING, Happening.SILENCE, Happening.PULSE_DEFICIT, Happening.FALLBACK,
)  # fmt: skip
_STATE = Choice(
    InstrumentState.OFF, InstrumentState.CONNECTING, InstrumentState.READY, InstrumentState.MEASURING,
    InstrumentState.SILENT, InstrumentState.FAILED,
)  # fmt: skip
_VISIT_STEP = Choice(VisitStep.OPEN, VisitStep.CLOSE, VisitStep.VOID, VisitStep.RESUME)
_SOURCE = Choice(Source.NTP, Source.HUB, Source.RTC, Source.FLOOR)
_ORDER = Choice(Order.WATCH, Order.UNWATCH, Order.IDENTIFY)
_EPOCH_REASON = Choice(EpochReason.START, EpochReason.CHECK_OUT, EpochReason.CHECK_IN, EpochReason.AGE)
_MEDIA = Choice(Media.PDF, Media.SCP_ECG, Media.JPEG, Media.MOTION_JPEG)
CHOICES = (
    _GAP_REASON, _SIGNAL, _QUALITY, _NO_VALUE, _CAUSE, _HAPPENING, _STATE, _VISIT_STEP, _SOURCE, _ORDER, _EPOCH_REASON,
    _MEDIA,
)  # fmt: skip

_SCALED = Row(Scaled, SINT, Int(-20, 20))
_STAGE = Row(ChainStage, Text(32), Text(128), UINT32)
_LACKS = Short(Row(Lacks, Percents(1, 4096), Maybe(_CAUSE)))
_ANALYSIS = Table(
    AnalysisBody,
    {
        "beats": (1, Maybe(Steps(Row(WireBeat, SINT32, Int(-101, 100)), SINT32))),
        "pulses": (2, Maybe(Steps(Row(WirePulse, SINT32, Maybe(Int(0, 100_000))), SINT32))),
        "sounds": (3, Maybe(Steps(Row(WireSound, SINT32, Int(1, 2)), SINT32))),
        "quality": (4, Maybe(Steps(Row(WireQuality, SINT32, UINT32, _LACKS), SINT32))),
        "events": (5, Maybe(Steps(Row(WireEvent, SINT32, _HAPPENING), SINT32))),
        "rate": (6, Maybe(OrWhy(Int(0, 10_000), _NO_VALUE))),
        "spo2": (7, Maybe(Row(WireSpo2, SINT32, OrWhy(Int(0, 1000), _NO_VALUE), UINT32))),
    },
)
_STREAM_BIRTH = Table(
    StreamBirth,
    {
        "name": (1, Text()),
        "signal": (2, _SIGNAL),
        "instrument": (3, Text()),
        "fs_mhz": (4, Int(1, 2**40)),
        "gain": (5, _SCALED),
        "unit": (6, Text(16)),
        "resolution_bits": (7, Int(1, 32)),
        "chain": (8, ListOf(_STAGE, 16)),
        "lead": (9, Maybe(Text())),
        "mdc": (10, Maybe(UINT32)),
    },
)
_INSTRUMENT_BIRTH = Table(
    InstrumentBirth,
    {"key": (1, Text()), "model": (2, Text()), "serial": (3, Maybe(Text())), "firmware": (4, Maybe(Text()))},
)
_READING = Terse(
    ReadingBody,
    {"kind": ByValue(Kind, MDC_SCADA), "value": OrWhy(SINT, _NO_VALUE)},
    {
        "unit": (1, ByValue(Unit)),
        "exponent": (2, Int(-20, 20)),
        "quality": (3, _QUALITY),
        "site": (4, Text()),
        "instrument_time": (5, Text(32)),
        "group": (6, UINT32),
        "flags": (7, ListOf(Text(32), 16)),
    },
    tag=3,
)


_BODY = ByType(
    {bytes: Bare(Waveform, Bytes(1, MAX_BYTES)), dict: _ANALYSIS},
    OneOf(
        Tagged(0, _STREAM_BIRTH),
        Tagged(1, _INSTRUMENT_BIRTH),
        Row(GapBody, Int(1, 2**40), _GAP_REASON, tag=2),
        _READING,
        Row(EventBody, Maybe(_STATE), Text(32), Text(128), tag=5),
        Row(VisitBody, _VISIT_STEP, Text(4), Maybe(BADGE), tag=6),
        Row(AnchorBody, SINT, UINT, _SOURCE, tag=7),
        Row(CustodyBody, Bytes(1, 4096), tag=8),
        Row(GaveWayBody, EPOCH, UINT32, UINT32, tag=9),
        Row(
            FileBody,
            _MEDIA,
            Bytes(32, 32),
            Int(0, FILE_PARTS - 1),
            Int(1, FILE_PARTS),
            Bytes(1, FILE_PART_BYTES),
            tag=10,
        ),
    ),
)
_RECORD = Row(Record, UINT32, UINT, SINT32, _BODY)
_RECORDS = Steps(_RECORD, Int(1 - 2**32, 2**32 - 1), at=2)


_HEADER = Table(
    EpochHeader,
    {
        "device": (1, Text(32)),
        "epoch": (2, EPOCH),
        "hub_key_id": (3, Bytes(8, 8)),
        "sealed_key": (4, Bytes(80, 1168)),
        "certificate": (5, Bytes(64, 4096)),
        "boot_id": (6, Bytes(16, 16)),
        "t_us": (7, UINT),
        "software": (8, Text()),
        "reason": (9, _EPOCH_REASON),
        "demo": (10, Bool()),
        "previous": (11, Maybe(Row(PreviousEpoch, EPOCH, Int(-1, 2**32 - 1)))),
        "chain": (12, Bytes(8, 8)),
        "number": (13, UINT32),
    },
)
_MESSAGE = OneOf(
    Row(Batch, Int(0, (INT64 - 1) // 1000), Maybe(VISIT), _RECORDS, tag=1),
    Row(Receipt, ListOf(Row(EpochReceipt, EPOCH, Int(-1, 2**32 - 1), ListOf(Range(), 256)), 256), tag=2),
    Row(Command, UINT, _ORDER, tag=3),
    Row(State, Bool(), UINT, Text(), tag=4),
    Row(TimeAsk, UINT, tag=5),
    Row(TimeAnswer, UINT, SINT, SINT, tag=6),
    Tagged(7, _HEADER),
    Row(SignedHeader, Bytes(64, 8192), Bytes(64, 64), tag=8),
    Row(Preview, UINT, VISIT, Text(), Bytes(1, PREVIEW_BYTES), tag=9),
)


def encode(message: Message) -> bytes:
    """The deterministic CBOR of a message; ValueError when it holds what the wire cannot carry."""
    data = cbor.dumps(_MESSAGE.encode(message))
    if len(data) > MAX_BYTES:
        raise ValueError(f"a message of {len(data)} bytes, at most {MAX_BYTES}")
    return data


def fits(record: Record) -> bool:
    """Whether the wire can carry a record: one that it cannot must not stop a batch."""
    try:
        _RECORD.encode(record)
    except (ValueError, KeyError, TypeError, OverflowError):
        return False
    return True


def decode(data: bytes) -> Message:
    """Read a message strictly: WireError, and nothing else, for anything `encode` does not write."""
    message: Message = _MESSAGE.decode(cbor.loads(data, max_bytes=MAX_BYTES))
    return message
