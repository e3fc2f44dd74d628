"""Model objects to the records of one epoch, and back: the bag writes, the hub reads.

The writer numbers streams and instruments, describes each once per epoch in a birth record, joins what came since
the last cut, and knows nothing of sealing or disks. Stream 0 is the bag itself.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import numpy as np

from agent.clock import Anchor
from agent.errors import WireError
from agent.model import (
    USUAL_UNIT,
    Analysis,
    ChainStage,
    FilePart,
    Gap,
    Instrument,
    InstrumentEvent,
    Reading,
    SampleBlock,
    Stream,
)
from agent.transport import waveform, wire
from agent.transport.findings import analysis_of, body_of, may_wait, or_why, value_and_why
from agent.transport.messages import (
    AnalysisBody,
    AnchorBody,
    Batch,
    Body,
    CustodyBody,
    EventBody,
    FileBody,
    GapBody,
    GaveWayBody,
    InstrumentBirth,
    ReadingBody,
    Record,
    Scaled,
    StreamBirth,
    VisitBody,
    Waveform,
)

log = logging.getLogger(__name__)

BULK = Waveform | AnalysisBody  # the hub works out from the samples what the stages found
BAG = 0
BLOCK_SAMPLES = 32_768
BATCH_BYTES = wire.MAX_BYTES - 4096
BATCH_RECORDS = 4096


@dataclass(frozen=True, slots=True)
class Born:
    """A stream described: what it is and what it goes through for screens."""

    stream: Stream
    chain: tuple[ChainStage, ...]


Item = (
    SampleBlock | Gap | Reading | InstrumentEvent | Analysis | FilePart | VisitBody | Anchor | CustodyBody | GaveWayBody
)
Read = Item | Born | Instrument


def _scaled(number: float) -> Scaled:
    sign, digits, exponent = Decimal(repr(float(number))).as_tuple()
    mantissa = int("".join(map(str, digits))) * (-1 if sign else 1)
    return Scaled(mantissa, int(exponent))


@dataclass(frozen=True, slots=True)
class _Entry:
    """A record that waits for its batch's time."""

    t_ns: int
    stream: int
    seq: int
    body: Body

    def record(self, now_ms: int) -> Record:
        return Record(self.stream, self.seq, self.t_ns // 1_000_000 - now_ms, self.body)


class RecordWriter:
    """Collects a bag's model objects between two cuts; one writer per epoch.

    What the wire cannot carry is counted in `unfit` and left out: one odd record never stops a batch.
    """

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._fs_mhz: dict[str, int] = {}
        self._blocks: dict[str, list[SampleBlock]] = {}
        self._analyses: dict[str, list[Analysis]] = {}
        self._births: list[_Entry] = []
        self._entries: list[_Entry] = []
        self.unfit = 0

    def instrument(self, instrument: Instrument, t_ns: int) -> None:
        """Describe an instrument; said again when what it says of itself changed."""
        birth = InstrumentBirth(instrument.key, instrument.model, instrument.serial, instrument.firmware)
        self._births.append(_Entry(t_ns, self._number(instrument.key), 0, birth))

    def stream(self, stream: Stream, chain: Iterable[ChainStage], t_ns: int) -> None:
        """Describe a waveform stream."""
        birth = StreamBirth(
            name=stream.name,
            signal=stream.signal,
            instrument=stream.instrument,
            fs_mhz=round(1000 * stream.fs_hz),
            gain=_scaled(stream.gain),
            unit=stream.unit,
            resolution_bits=stream.resolution_bits,
            chain=tuple(chain),
            lead=stream.lead,
            mdc=stream.mdc,
        )
        self._fs_mhz[stream.name] = birth.fs_mhz
        self._births.append(_Entry(t_ns, self._number(stream.name), 0, birth))

    def add(self, item: Item) -> None:
        """Take one model object; its stream or instrument must have been described."""
        name = item.stream if isinstance(item, SampleBlock | Analysis | Gap) else None
        name = item.instrument if isinstance(item, Reading | InstrumentEvent | FilePart) else name
        if name is not None and name not in self._numbers:
            self._leave_out(item)
        elif isinstance(item, SampleBlock):
            self._blocks.setdefault(item.stream, []).append(item)
        elif isinstance(item, Analysis):
            self._analyses.setdefault(item.stream, []).append(item)
        elif isinstance(item, Gap):
            self._add(self._numbers[item.stream], item.t_ns, GapBody(item.n, item.reason), item.index)
        elif isinstance(item, Reading):
            body = ReadingBody(
                item.kind, or_why(item.value, item.reason),
                None if item.unit is USUAL_UNIT[item.kind] else item.unit, item.exponent, item.quality, item.site,
                item.instrument_time.isoformat() if item.instrument_time else None, item.group, item.flags,
            )  # fmt: skip
            self._add(self._numbers[item.instrument], item.t_ns, body)
        elif isinstance(item, InstrumentEvent):
            self._add(self._numbers[item.instrument], item.t_ns, EventBody(item.state, item.what, item.detail))
        elif isinstance(item, FilePart):
            file = FileBody(item.media, item.digest, item.part, item.parts, item.data)
            self._add(self._numbers[item.instrument], item.t_ns, file)
        elif isinstance(item, Anchor):
            self._add(BAG, item.t_ns, AnchorBody(item.utc_us, item.uncertainty_us, item.source))
        else:
            raise TypeError(f"{type(item).__name__} needs bag()")

    def bag(self, body: VisitBody | CustodyBody | GaveWayBody, t_ns: int) -> None:
        """Take something the bag itself did."""
        self._add(BAG, t_ns, body)

    def cut(self, now_ns: int, visit: bytes | None, *, apart: bool = False, patient: bool = False) -> list[Batch]:
        """Everything since the last cut: births, then the rest in order of time.

        One batch as a rule, none when nothing was, several when it is more than a message may carry (a flood, or a
        device that was blocked). `apart`: waveforms and what was found in them come last, in batches of their own.
        `patient`: what was found may wait for what is found next, which costs fewer bytes.
        """
        for name, blocks in self._blocks.items():
            for run in _runs(blocks):
                self._waveform(self._numbers[name], run)
        waiting = {name: parts for name, parts in self._analyses.items() if patient and may_wait(parts)}
        for name, parts in self._analyses.items():
            if name in waiting:
                continue
            seq, body = body_of(parts, self._fs_mhz[name])
            if body != AnalysisBody():
                self._add(self._numbers[name], parts[-1].t_ns, body, seq)
        self._blocks, self._analyses = {}, waiting
        found = self._births + sorted(self._entries, key=lambda entry: entry.t_ns)
        self._births, self._entries = [], []
        now_ms = now_ns // 1_000_000
        fitting = [record for record in (entry.record(now_ms) for entry in found) if self._fits(record)]
        bulk = [record for record in fitting if apart and isinstance(record.body, BULK)]
        rest = [record for record in fitting if not (apart and isinstance(record.body, BULK))]
        return [Batch(now_ms, visit, part) for lot in (rest, bulk) for part in _parts(lot)]

    def _waveform(self, number: int, run: list[SampleBlock]) -> None:
        try:
            data = waveform.encode(np.concatenate([block.samples for block in run]))
        except ValueError:  # too long, or not int32
            self._leave_out(run[0])
            return
        self._entries.append(_Entry(run[0].t_ns, number, run[0].index, Waveform(data)))

    def _number(self, name: str) -> int:
        return self._numbers.setdefault(name, len(self._numbers) + 1)

    def _add(self, stream: int, t_ns: int, body: Body, seq: int = 0) -> None:
        self._entries.append(_Entry(t_ns, stream, seq, body))

    def _fits(self, record: Record) -> bool:
        if wire.fits(record):
            return True
        self._leave_out(record.body)
        return False

    def _leave_out(self, what: object) -> None:
        self.unfit += 1
        if not self.unfit & (self.unfit - 1):  # the 1st, 2nd, 4th, 8th ...
            log.error("record=unfit kind=%s total=%d", type(what).__name__, self.unfit)


def _most_bytes(body: Body) -> int:
    """No record with this body takes more on the wire."""
    if isinstance(body, Waveform | FileBody):
        return len(body.data) + 96
    if isinstance(body, AnalysisBody):
        lists = (body.beats, body.pulses, body.sounds, body.quality, body.events)
        runs = sum(len(run.lacks.pct) for run in body.quality or ())
        return 64 + runs + 16 * sum(len(found) for found in lists if found)
    return 12_000 if isinstance(body, StreamBirth | CustodyBody) else 3_000


def _parts(records: list[Record]) -> Iterable[tuple[Record, ...]]:
    """Cut a list of records where a message would become too long."""
    part: list[Record] = []
    size = 0
    for record in records:
        takes = _most_bytes(record.body)
        if part and (size + takes > BATCH_BYTES or len(part) == BATCH_RECORDS):
            yield tuple(part)
            part, size = [], 0
        part.append(record)
        size += takes
    if part:
        yield tuple(part)


def _runs(blocks: list[SampleBlock]) -> Iterable[list[SampleBlock]]:
    """Blocks that follow each other without a gap, no run longer than one waveform block may be."""
    run: list[SampleBlock] = []
    size = 0
    for block in blocks:
        follows = run and run[-1].index + len(run[-1].samples) == block.index
        if run and (not follows or size + len(block.samples) > BLOCK_SAMPLES):
            yield run
            run, size = [], 0
        if len(block.samples):
            run.append(block)
            size += len(block.samples)
    if run:
        yield run


class RecordReader:
    """Gives a batch's records back as model objects; one reader per epoch."""

    def __init__(self) -> None:
        self._streams: dict[int, Stream] = {}
        self._instruments: dict[int, str] = {}

    def read(self, batch: Batch) -> list[Read]:
        """The batch's model objects in order; WireError when a record's stream was never described."""
        return [item for record in batch.records for item in self._read(record, batch.t_ms)]

    def _read(self, record: Record, t_ms: int) -> list[Read]:
        t_ns = (t_ms + record.dt_ms) * 1_000_000
        body = record.body
        if isinstance(body, StreamBirth):
            stream = Stream(
                body.name, body.signal, body.instrument, body.fs_mhz / 1000,
                float(Decimal(body.gain.mantissa).scaleb(body.gain.exponent)), body.unit, body.lead, body.mdc,
                body.resolution_bits,
            )  # fmt: skip
            self._streams[record.stream] = stream
            return [Born(stream, body.chain)]
        if isinstance(body, InstrumentBirth):
            self._instruments[record.stream] = body.key
            return [Instrument(body.key, body.model, body.serial, body.firmware)]
        if isinstance(body, AnchorBody):
            return [Anchor(t_ns, body.utc_us, body.uncertainty_us, body.source)]
        if isinstance(body, VisitBody | CustodyBody | GaveWayBody):
            return [body]
        if isinstance(body, ReadingBody | EventBody | FileBody):
            return [self._said(self._instruments.get(record.stream), body, t_ns)]
        stream_or_none = self._streams.get(record.stream)
        if stream_or_none is None:
            raise WireError(f"stream {record.stream} was never described")
        return [_sampled(stream_or_none, record.seq, body, t_ns)]

    @staticmethod
    def _said(instrument: str | None, body: ReadingBody | EventBody | FileBody, t_ns: int) -> Read:
        if instrument is None:
            raise WireError("an instrument was never described")
        if isinstance(body, FileBody):
            return FilePart(instrument, t_ns, body.media, body.digest, body.part, body.parts, body.data)
        if isinstance(body, EventBody):
            return InstrumentEvent(instrument, t_ns, body.state, body.what, body.detail)
        value, reason = value_and_why(body.value)
        return Reading(
            instrument, body.kind, body.unit or USUAL_UNIT[body.kind], t_ns, value, body.exponent, body.quality, reason,
            body.site, _own_time(body.instrument_time), body.group, body.flags,
        )  # fmt: skip


def _own_time(text: str | None) -> datetime | None:
    try:
        return None if text is None else datetime.fromisoformat(text).replace(tzinfo=None)
    except ValueError as error:
        raise WireError("an instrument's time that is none") from error


def _sampled(stream: Stream, seq: int, body: Waveform | GapBody | AnalysisBody, t_ns: int) -> Read:
    if isinstance(body, Waveform):
        return SampleBlock(stream.name, seq, t_ns, waveform.decode(body.data))
    if isinstance(body, GapBody):
        return Gap(stream.name, seq, body.n, t_ns, body.reason)
    return analysis_of(stream, seq, body, t_ns)
