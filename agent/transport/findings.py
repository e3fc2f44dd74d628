"""What the stages found, between two cuts, to a record's body and back: steps from a sample that the record names."""

from collections.abc import Iterable, Sequence
from typing import TypeVar, cast

from agent.model import Analysis, Beat, HeartSound, NoValue, Pulse, Quality, Rate, Spo2, StageEvent, Stream
from agent.transport.messages import (
    AnalysisBody,
    Lacks,
    WireBeat,
    WireEvent,
    WirePulse,
    WireQuality,
    WireSound,
    WireSpo2,
)

T = TypeVar("T")
FOUND_WAITS_NS = 3_000_000_000  # from the first finding to the last: four seconds of them travel together
TICKS_HZ = 10_000  # times within a stream travel in tenths of a millisecond
UNFIT = 255  # a per cent that the wire refuses


def may_wait(parts: Sequence[Analysis]) -> bool:
    """Whether what the stages found says nothing that is for now, and has not waited for long."""
    return parts[-1].t_ns - parts[0].t_ns < FOUND_WAITS_NS and not any(p.events or p.spo2 for p in parts)


def body_of(parts: Sequence[Analysis], fs_mhz: int) -> tuple[int, AnalysisBody]:
    """Join what the stages found between two cuts; of rates and SpO2 the newest stands.

    The sample that everything counts from, the first that is named, and the body.
    """
    rate = next((p.rate for p in reversed(parts) if p.rate), None)
    spo2 = next((p.spo2 for p in reversed(parts) if p.spo2), None)
    beats = [b for p in parts for b in p.beats if b.index >= 0]
    pulses = [q for p in parts for q in p.pulses]
    sounds = [s for p in parts for s in p.sounds]
    quality = [q for p in parts for q in p.quality]
    events = [e for p in parts for e in p.events]
    times_s = [*(q.time_s for q in pulses), *(s.time_s for s in sounds), *([spo2.time_s] if spo2 else [])]
    named = [*(b.index for b in beats), *(q.start for q in quality), *(e.index for e in events)]
    seq = max(0, min([*named, *(int(t * fs_mhz / 1000) for t in times_s)], default=0))
    since = _ticks(seq, fs_mhz)
    return seq, AnalysisBody(
        beats=_or_none(WireBeat(b.index - seq, _doubt(b)) for b in beats),
        pulses=_or_none(
            WirePulse(
                round(TICKS_HZ * q.time_s) - since,
                None if q.perfusion_index_pct is None else min(100_000, max(0, round(100 * q.perfusion_index_pct))),
            )
            for q in pulses
        ),
        sounds=_or_none(WireSound(round(TICKS_HZ * s.time_s) - since, int(s.kind[1])) for s in sounds),
        quality=_or_none(_quality(run, seq) for run in _even(quality)),
        events=_or_none(WireEvent(e.index - seq, e.kind) for e in events),
        rate=None if rate is None else _tenths_or_why(rate.bpm, rate.reason),
        spo2=None
        if spo2 is None
        else WireSpo2(
            round(TICKS_HZ * spo2.time_s) - since, _tenths_or_why(spo2.pct, spo2.reason), round(1000 * spo2.age_s)
        ),
    )


def analysis_of(stream: Stream, seq: int, body: AnalysisBody, t_ns: int) -> Analysis:
    """The model object that a record holds."""
    fs, since = stream.fs_hz, _ticks(seq, round(1000 * stream.fs_hz))
    spo2 = body.spo2
    return Analysis(
        stream.name,
        t_ns,
        beats=tuple(_beat(seq + b.index, b.doubt_pct, fs) for b in body.beats or ()),
        pulses=tuple(
            Pulse(
                (since + p.ticks) / TICKS_HZ, None if p.perfusion_index_cpct is None else p.perfusion_index_cpct / 100
            )
            for p in body.pulses or ()
        ),
        sounds=tuple(HeartSound(f"S{s.kind}", (since + s.ticks) / TICKS_HZ) for s in body.sounds or ()),
        quality=tuple(
            Quality(seq + run.start + i * run.every, (100 - lack_pct) / 100, run.lacks.cause)
            for run in body.quality or ()
            for i, lack_pct in enumerate(run.lacks.pct)
        ),
        events=tuple(StageEvent(seq + e.index, (seq + e.index) / fs, e.kind) for e in body.events or ()),
        rate=None if body.rate is None else Rate(*_tenths(body.rate)),
        spo2=None
        if spo2 is None
        else Spo2((since + spo2.ticks) / TICKS_HZ, *_tenths(spo2.pct_tenths), spo2.age_ms / 1000),
    )


def or_why(value: int | None, reason: NoValue | None) -> int | NoValue:
    """The number, or why there is none; neither does not fit the wire."""
    return cast("NoValue", reason) if value is None else value


def value_and_why(value: int | NoValue) -> tuple[int | None, NoValue | None]:
    """The number and None, or None and the reason."""
    return (None, value) if isinstance(value, NoValue) else (value, None)


def _or_none(items: Iterable[T]) -> tuple[T, ...] | None:
    return tuple(items) or None


def _ticks(seq: int, fs_mhz: int) -> int:
    """From a stream's first sample to the one with this index, rounded down."""
    return seq * 1000 * TICKS_HZ // fs_mhz


def _even(found: Iterable[Quality]) -> Iterable[list[Quality]]:
    """Runs of one cause whose starts are equally far apart."""
    run: list[Quality] = []
    for quality in found:
        step = quality.start - run[-1].start if run else 0
        goes_on = run and quality.cause is run[0].cause and step > 0
        if goes_on and (len(run) == 1 or step == run[1].start - run[0].start):
            run.append(quality)
        else:
            yield from [run] if run else []
            run = [quality]
    yield from [run] if run else []


def _quality(run: list[Quality], seq: int) -> WireQuality:
    every = run[1].start - run[0].start if len(run) > 1 else 0
    lacks = (100 - round(100 * quality.value) for quality in run)
    return WireQuality(
        run[0].start - seq, every, Lacks(bytes(lack if 0 <= lack <= 100 else UNFIT for lack in lacks), run[0].cause)
    )


def _doubt(beat: Beat) -> int:
    lack_pct = 100 - round(100 * beat.confidence)
    return -1 - lack_pct if beat.late else lack_pct


def _beat(index: int, doubt_pct: int, fs_hz: float) -> Beat:
    late = doubt_pct < 0
    return Beat(index, index / fs_hz, late, (100 - (-1 - doubt_pct if late else doubt_pct)) / 100)


def _tenths_or_why(value: float | None, reason: NoValue | None) -> int | NoValue:
    return or_why(None if value is None else round(10 * value), reason)


def _tenths(value: int | NoValue) -> tuple[float | None, NoValue | None]:
    number, reason = value_and_why(value)
    return None if number is None else number / 10, reason
