"""What the stages found, there and back: the same wherever in the stream, few bytes where it is even."""

from hypothesis import given
from hypothesis import strategies as st

from agent.model import Analysis, Beat, Cause, Happening, HeartSound, Pulse, Quality, Rate, Signal, StageEvent, Stream
from agent.transport.findings import analysis_of, body_of, may_wait
from agent.transport.messages import AnalysisBody, Lacks, WireBeat, WirePulse, WireQuality

ECG = Stream("h.ecg", Signal.ECG, "h", 125.0, 1.0, "uV")
NOW = 10_000_000_000


def through(*parts):
    seq, body = body_of(parts, 125_000)
    return analysis_of(ECG, seq, body, parts[-1].t_ns)


@given(
    st.lists(st.integers(0, 10**8), min_size=1, max_size=5, unique=True).map(sorted),
    st.lists(st.integers(-(10**6), 10**8), max_size=3, unique=True).map(sorted),
)
def test_the_same_wherever_in_the_stream(indices, laters):
    times_s = [(80 * indices[0] + later) / 1e4 for later in laters if 80 * indices[0] + later >= 0]
    found = Analysis(
        ECG.name, NOW, tuple(Beat(i, i / 125.0) for i in indices), tuple(Pulse(t, None) for t in times_s),
        tuple(HeartSound("S2", t) for t in times_s), (),
        (StageEvent(indices[-1], indices[-1] / 125.0, Happening.LEAD_ON),),
    )  # fmt: skip
    assert through(found) == found


@given(st.lists(st.tuples(st.integers(1, 300), st.integers(0, 100), st.sampled_from([None, Cause.NOISE])), max_size=20))
def test_qualities_are_as_they_were_however_even_they_come(steps):
    start, found = 0, []
    for step, pct, why in steps:
        start += step
        found.append(Quality(start, pct / 100, why))
    assert through(Analysis(ECG.name, NOW, quality=tuple(found))).quality == tuple(found)


def test_even_qualities_take_a_byte_each_and_everything_counts_from_the_first_that_is_named():
    found = Analysis(
        ECG.name, NOW, (Beat(9003, 72.024, False, 1.0), Beat(9093, 72.744, True, 0.9)), (Pulse(72.1, None),),
        quality=tuple(Quality(9000 + 50 * i, 0.98) for i in range(8)), rate=Rate(83.4),
    )  # fmt: skip
    assert body_of([found], 125_000) == (
        9000,
        AnalysisBody(
            beats=(WireBeat(3, 0), WireBeat(93, -11)), pulses=(WirePulse(1000, None),),
            quality=(WireQuality(0, 50, Lacks(bytes([2] * 8), None)),), rate=834,
        ),
    )  # fmt: skip


def test_what_may_wait_for_more():
    seconds = [Analysis(ECG.name, NOW + i * 10**9, rate=Rate(60.0)) for i in range(4)]
    assert [may_wait(seconds[: n + 1]) for n in range(4)] == [True, True, True, False]
    assert not may_wait([Analysis(ECG.name, NOW, events=(StageEvent(0, 0.0, Happening.LEAD_OFF),))])
