"""Records: model objects in, the same model objects out, whatever was between."""

from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.clock import Anchor, Source
from agent.errors import WireError
from agent.model import (
    Analysis,
    Beat,
    Cause,
    ChainStage,
    FilePart,
    Gap,
    GapReason,
    Happening,
    HeartSound,
    Instrument,
    InstrumentEvent,
    InstrumentState,
    Kind,
    Media,
    NoValue,
    Pulse,
    Quality,
    Rate,
    Reading,
    ReadingQuality,
    SampleBlock,
    Signal,
    Spo2,
    StageEvent,
    Stream,
    Unit,
)
from agent.transport import wire
from agent.transport.messages import (
    AnalysisBody,
    AnchorBody,
    Batch,
    CustodyBody,
    InstrumentBirth,
    Record,
    StreamBirth,
    VisitBody,
    VisitStep,
    Waveform,
)
from agent.transport.records import BLOCK_SAMPLES, Born, RecordReader, RecordWriter

HEALTHYPI = Instrument("healthypi-4", "HealthyPi v4", None, "1.2")
ECG = Stream("healthypi-4.ecg", Signal.ECG, "healthypi-4", 125.0, 1.5625e-05, "mV", "II", 131_330, 24)
NOW = 10_000_000_000


def writer(now_ns=NOW):
    made = RecordWriter()
    made.instrument(HEALTHYPI, now_ns)
    made.stream(ECG, (ChainStage("EcgFilter", "monitor", 12_000),), now_ns)
    return made


def through(made, now_ns=NOW, visit=None):
    """Cut, encode, decode, read."""
    reader = RecordReader()
    return [item for batch in made.cut(now_ns, visit) for item in reader.read(wire.decode(wire.encode(batch)))]


def block(index, samples, t_ns=NOW):
    return SampleBlock(ECG.name, index, t_ns, np.asarray(samples, np.int32))


ITEMS = [
    Gap(ECG.name, 125, 25, NOW, GapReason.DAMAGED),
    Reading("healthypi-4", Kind.TEMPERATURE, Unit.DEGC, NOW, 364, -1, site="ear",
            instrument_time=datetime.fromisoformat("2026-11-21T20:00:00"), group=3, flags=("low battery",)),
    Reading("healthypi-4", Kind.SPO2, Unit.PERCENT, NOW, None, quality=ReadingQuality.NONE, reason=NoValue.PROBE_OFF),
    InstrumentEvent("healthypi-4", NOW, InstrumentState.FAILED, "failed", "silent"),
    Anchor(NOW, 1_790_000_000_000_000, 100_000, Source.NTP),
    Analysis(
        ECG.name, NOW, (Beat(250, 2.0, True, 0.5),), (Pulse(1.25, 2.5), Pulse(2.0, None)), (HeartSound("S1", 0.5),),
        (Quality(125, 0.25, Cause.NOISE),), (StageEvent(375, 3.0, Happening.LEAD_OFF),), Rate(72.5),
        Spo2(3.0, 97.5, None, 0.5),
    ),
    FilePart("healthypi-4", NOW, Media.JPEG, bytes(range(32)), 1, 3, b"data"),
    Reading("healthypi-4", Kind.WEIGHT, Unit.PER_MIN, NOW, -5),  # not its usual unit
    Analysis(
        ECG.name, NOW, (Beat(10**9 + 5, (10**9 + 5) / 125.0, True, 0.0), Beat(10**9, 8e6)),
        quality=(Quality(10**9, 1.0),),
    ),
    Analysis(ECG.name, NOW, rate=Rate(None, NoValue.STARTING), spo2=Spo2(0.0, None, NoValue.MOTION)),
]  # fmt: skip


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: type(item).__name__)
def test_written_and_read(item):
    made = writer()
    made.add(item)
    read = through(made)
    assert read == [HEALTHYPI, Born(ECG, (ChainStage("EcgFilter", "monitor", 12_000),)), item]


@pytest.mark.parametrize("body", [VisitBody(VisitStep.OPEN, "0042"), CustodyBody(b"entry")])
def test_what_the_bag_itself_did(body):
    made = RecordWriter()
    made.bag(body, NOW)
    assert through(made) == [body]


def test_samples_of_one_cut_become_one_block():
    made = writer()
    made.add(block(0, [1, 2]))
    made.add(block(2, [3]))
    made.add(block(10, [4], t_ns=NOW + 80_000_000))  # seven samples are missing
    _, _, first, second = through(made, NOW + 1_000_000_000)
    assert (first.index, first.samples.tolist(), first.t_ns) == (0, [1, 2, 3], NOW)
    assert (second.index, second.samples.tolist(), second.t_ns) == (10, [4], NOW + 80_000_000)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.lists(st.integers(-(2**31), 2**31 - 1), max_size=20), st.booleans()),
        max_size=10,
    )
)
def test_samples_are_unchanged_for_any_blocks_gaps_and_cuts(steps):
    made, reader = writer(), RecordReader()
    sent, read, index = {}, {}, 0
    batches = []
    for missing, samples, cut in steps:
        index += missing
        made.add(block(index, samples))
        sent |= {index + i: value for i, value in enumerate(samples)}
        index += len(samples)
        if cut:
            batches += made.cut(NOW, None)
    for batch in [*batches, *made.cut(NOW, None)]:
        for item in reader.read(wire.decode(wire.encode(batch))):
            if isinstance(item, SampleBlock):
                assert not read.keys() & set(range(item.index, item.index + len(item.samples)))
                read |= {item.index + i: value for i, value in enumerate(item.samples.tolist())}
    assert read == sent


def test_times_are_kept_to_the_millisecond_and_records_are_in_their_order():
    made = writer()
    made.add(Gap(ECG.name, 9, 1, NOW - 2_400_000, GapReason.LINK))
    made.add(Gap(ECG.name, 1, 1, NOW - 900_000_000, GapReason.LINK))
    assert [(g.index, g.t_ns) for g in through(made) if isinstance(g, Gap)] == [
        (1, NOW - 900_000_000), (9, NOW - 3_000_000),
    ]  # fmt: skip


class TestPatience:
    def found(self, made, t_s, **what):
        made.add(Analysis(ECG.name, NOW + round(t_s * 1e9), **what))

    def cut(self, made):
        """The analyses of a patient cut."""
        made_batches = made.cut(NOW, None, patient=True)
        return [r.body for batch in made_batches for r in batch.records if isinstance(r.body, AnalysisBody)]

    def test_four_seconds_of_findings_travel_together_and_of_rates_the_newest(self):
        made = writer()
        for second in range(3):
            self.found(made, second, beats=(Beat(125 * second, second),), rate=Rate(60.0 + second))
            assert self.cut(made) == []
        self.found(made, 3, beats=(Beat(375, 3.0),), rate=Rate(63.0))
        (body,) = self.cut(made)
        assert [beat.index for beat in body.beats] == [0, 125, 250, 375]
        assert body.rate == 630
        assert self.cut(made) == []

    @pytest.mark.parametrize(
        "urgent", [{"events": (StageEvent(9, 0.072, Happening.LEAD_OFF),)}, {"spo2": Spo2(1.0, 97.0)}]
    )
    def test_what_is_for_now_waits_for_nothing(self, urgent):
        made = writer()
        self.found(made, 0, beats=(Beat(0, 0.0),))
        self.found(made, 1, **urgent)
        (body,) = self.cut(made)
        assert len(body.beats) == 1

    def test_a_usual_cut_takes_all(self):
        made = writer()
        self.found(made, 0, rate=Rate(60.0))
        assert self.cut(made) == []
        assert AnalysisBody(rate=600) in [r.body for batch in made.cut(NOW, None) for r in batch.records]


def test_nothing_taken_is_no_batch():
    assert writer().cut(NOW, None)
    made = RecordWriter()
    assert made.cut(NOW, None) == []
    made.stream(ECG, (), NOW)
    made.add(block(0, []))
    made.add(Analysis(ECG.name, NOW))
    assert [type(r.body) for batch in made.cut(NOW, None) for r in batch.records] == [StreamBirth]


def test_births_come_first_and_numbers_stay():
    made = writer()
    (first,) = made.cut(NOW, None)
    assert [(r.stream, type(r.body)) for r in first.records] == [(1, InstrumentBirth), (2, StreamBirth)]
    made.add(block(0, [1]))
    made.instrument(HEALTHYPI, NOW)
    (second,) = made.cut(NOW, bytes(16))
    assert [(r.stream, type(r.body)) for r in second.records] == [(1, InstrumentBirth), (2, Waveform)]
    assert second.visit == bytes(16)


def test_running_numbers_within_a_stream():
    made = writer()
    for _ in range(3):
        made.add(ITEMS[1])
    made.bag(VisitBody(VisitStep.OPEN, "0042"), NOW)
    (batch,) = made.cut(NOW, None)
    assert [(r.stream, r.seq) for r in batch.records[2:]] == [(1, 0), (1, 0), (1, 0), (0, 0)]


@pytest.mark.parametrize("gain", [1.0, -2.5e-4, 1e-20, 1.5625e-05, 0.1, 3.0e10])
def test_a_gain_is_exact(gain):
    stream = Stream("s", Signal.ECG, "i", 125.0, gain, "mV")
    made = RecordWriter()
    made.stream(stream, (), NOW)
    (born,) = through(made)
    assert born.stream.gain == gain


class TestOddThings:
    """Whatever an instrument or a fault of ours hands in: it is left out and counted, and the rest goes."""

    ODD = [
        block(-1, [1]),
        block(2**63, [1]),
        SampleBlock(ECG.name, 0, NOW, np.zeros(70_000, np.int32)),
        SampleBlock(ECG.name, 0, NOW, np.zeros(3)),
        SampleBlock("nobody.ecg", 0, NOW, np.zeros(3, np.int32)),
        Gap(ECG.name, 0, 0, NOW, GapReason.LINK),
        Gap("nobody.ecg", 0, 1, NOW, GapReason.LINK),
        Gap(ECG.name, 0, 1, NOW + 2**31 * 10**6, GapReason.LINK),
        Reading("nobody", Kind.SPO2, Unit.PERCENT, NOW, 97),
        Reading("healthypi-4", Kind.SPO2, Unit.PERCENT, NOW, 2**63),
        Reading("healthypi-4", Kind.SPO2, Unit.PERCENT, NOW, 97, flags=("x",) * 17),
        Reading("healthypi-4", Kind.SPO2, Unit.PERCENT, 0, 97),  # a record of a boot 25 days ago
        Analysis("nobody.ecg", NOW, (Beat(0, 0.0),)),
        Analysis(ECG.name, NOW, rate=Rate(-5.0)),
        Analysis(ECG.name, NOW, quality=(Quality(0, 1.02),)),
        Reading("healthypi-4", Kind.SPO2, Unit.PERCENT, NOW, None),
        Analysis(ECG.name, NOW, tuple(Beat(i, 0.0) for i in range(5000))),
    ]  # fmt: skip

    @pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
    def test_left_out(self, odd):
        now = NOW if not isinstance(odd, Reading) or odd.t_ns else NOW + 25 * 86_400 * 10**9
        made = writer(now)
        good = Gap(ECG.name, 1, 1, now, GapReason.LINK)
        made.add(odd)
        made.add(good)
        assert good in through(made, now)
        assert made.unfit == 1

    def test_texts_are_cut_or_repaired(self):
        made = RecordWriter()
        made.instrument(Instrument("k", "m" * 500, "a\udc80"), NOW)
        assert through(made) == [Instrument("k", "m" * 64, "a?")]

    def test_a_flood_becomes_several_messages_each_within_the_limit(self):
        made = writer()
        rng = np.random.default_rng(1)
        noise = rng.integers(-(2**31), 2**31, 14 * 10_000, np.int32)
        for i in range(14):
            made.add(block(i * 10_000, noise[i * 10_000 : (i + 1) * 10_000]))
        for i in range(6000):
            made.add(Gap(ECG.name, i, 1, NOW, GapReason.LINK))
        batches = made.cut(NOW, None)
        assert len(batches) > 3
        reader, read = RecordReader(), []
        for batch in batches:
            data = wire.encode(batch)
            assert len(data) <= wire.MAX_BYTES
            read += reader.read(wire.decode(data))
        samples = np.concatenate([b.samples for b in read if isinstance(b, SampleBlock)])
        assert np.array_equal(samples, noise)
        assert sum(isinstance(item, Gap) for item in read) == 6000
        assert all(len(b.samples) <= BLOCK_SAMPLES for b in read if isinstance(b, SampleBlock))


class TestReader:
    @pytest.mark.parametrize("body", [Waveform(b"\xff"), ITEMS[0], ITEMS[1], ITEMS[3], ITEMS[5]], ids=range(5))
    def test_a_record_of_a_stream_that_was_never_described(self, body):
        made = writer()
        if not isinstance(body, Waveform):
            made.add(body)
            (batch,) = made.cut(NOW, None)
            record = batch.records[-1]
        else:
            record = Record(2, 0, 0, body)
        with pytest.raises(WireError, match="never described"):
            RecordReader().read(Batch(0, None, (record,)))

    @settings(max_examples=200)
    @given(st.binary(min_size=1, max_size=60))
    def test_any_waveform_bytes_are_samples_or_refused(self, data):
        reader = RecordReader()
        (births,) = writer().cut(NOW, None)
        reader.read(births)
        try:
            (read,) = reader.read(Batch(0, None, (Record(2, 0, 0, Waveform(data)),)))
        except WireError:
            return
        assert isinstance(read, SampleBlock)

    @pytest.mark.parametrize("text", ["soon", "2026-02-30T00:00:00", ""])
    def test_an_instrument_s_time_that_is_none(self, text):
        made = writer()
        made.add(ITEMS[1])
        (batch,) = made.cut(NOW, None)
        *births, record = batch.records
        record = replace(record, body=replace(record.body, instrument_time=text))
        with pytest.raises(WireError, match="time that is none"):
            RecordReader().read(replace(batch, records=(*births, record)))

    def test_an_anchor_s_time_is_the_record_s(self):
        (anchor,) = RecordReader().read(Batch(5_000, None, (Record(0, 0, -250, AnchorBody(1, 2, Source.RTC)),)))
        assert anchor == Anchor(4_750_000_000, 1, 2, Source.RTC)
