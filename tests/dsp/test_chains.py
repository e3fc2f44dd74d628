"""Chains: which stages a signal goes through, and the promises they keep whatever the blocks are."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_pleth import beats as beats_at
from synthetic_pleth import wave

from agent.dsp import calibration
from agent.dsp.calibration import CURVES, Curve
from agent.dsp.chains import Chains, describe
from agent.model import (
    Analysis,
    Beat,
    Happening,
    Kind,
    Reading,
    SampleBlock,
    Signal,
    Stream,
    Trace,
    Unit,
)

FS = 125.0
ECG = Stream("box.ecg", Signal.ECG, "box", FS, gain=2.0, unit="uV", lead="DI")
PLETH = Stream("box.pleth", Signal.PLETH, "box", 100.0, gain=1.0, unit="1")
RESPIRATION = Stream("box.respiration", Signal.RESPIRATION, "box", FS, gain=1.0, unit="uV")
RED = Stream("box.red", Signal.RED, "box", FS, gain=1.0, unit="1")
INFRARED = Stream("box.infrared", Signal.INFRARED, "box", FS, gain=1.0, unit="1")


def thumps(seconds: float, fs: float = FS, per_minute: int = 75) -> np.ndarray:
    """Counts of a signal with a 1 mV spike at each beat (gain 2 uV a count)."""
    t = np.arange(round(seconds * fs)) / fs
    phase = (t * per_minute / 60) % 1
    rng = np.random.default_rng(1)
    return np.round(500 * np.exp(-(((phase - 0.5) * 60 / per_minute / 0.015) ** 2)) + rng.normal(0, 3, t.size)).astype(
        np.int32
    )


def blocks(stream: Stream, counts: np.ndarray, cuts: list[int], start: int = 0) -> list[SampleBlock]:
    edges = [0, *sorted(c for c in cuts if 0 < c < len(counts)), len(counts)]
    return [
        SampleBlock(stream.name, start + a, round((start + a) / stream.fs_hz * 1e9), counts[a:b])
        for a, b in itertools.pairwise(edges)
    ]


def traced(shown: list) -> np.ndarray:
    return np.concatenate([s.values for s in shown if isinstance(s, Trace)])


def beats(shown: list) -> list[Beat]:
    return [b for s in shown if isinstance(s, Analysis) for b in s.beats]


def test_an_ecg_gives_a_trace_in_its_own_unit_beats_and_a_rate():
    shown = [x for b in blocks(ECG, thumps(12), list(range(25, 1500, 25))) for x in Chains([ECG]).push(b)][:0]
    chains = Chains([ECG])
    for block in blocks(ECG, thumps(12), list(range(25, 1500, 25))):
        shown += chains.push(block)
    assert 700 < traced(shown).max() < 1300, "the trace is in uV as the stream is: a 1 mV spike, filtered"
    assert len(beats(shown)) >= 12
    assert next(s.rate for s in reversed(shown) if isinstance(s, Analysis)).bpm == pytest.approx(75, abs=2)


def test_a_trace_carries_the_time_at_which_its_samples_were_taken():
    """The spike stands, on the trace's own time axis, where it stands in the samples: the filter's delay is gone."""
    chains = Chains([ECG])
    counts = thumps(12)
    shown = [s for block in blocks(ECG, counts, list(range(31, 1500, 31))) for s in chains.push(block)]
    times = np.concatenate([s.t_ns / 1e9 + np.arange(s.values.size) / s.fs_hz for s in shown if isinstance(s, Trace)])
    values = traced(shown)
    late = times > 6
    filtered_at = times[late][np.argmax(values[late])]
    expected = 0.4 + 0.8 * np.round((filtered_at - 0.4) / 0.8)
    assert filtered_at == pytest.approx(expected, abs=0.012)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 1249), max_size=30))
def test_any_cutting_gives_the_same(cuts):
    whole, cut = Chains([ECG]), Chains([ECG])
    counts = thumps(10)
    one = whole.push_all(blocks(ECG, counts, []))
    many = [s for b in blocks(ECG, counts, cuts) for s in cut.push(b)]
    np.testing.assert_allclose(traced(many), traced(one), atol=1e-6)
    assert [b.index for b in beats(many)] == [b.index for b in beats(one)]


def test_push_all_joins_what_follows_and_keeps_what_does_not():
    chains, calls = Chains([ECG, PLETH]), []
    push = chains.push
    chains.push = lambda block: calls.append((block.stream, block.index, len(block.samples))) or push(block)
    ones = np.ones(10, np.int32)
    chains.push_all([
        SampleBlock("box.ecg", 0, 0, ones), SampleBlock("box.pleth", 0, 0, ones),
        SampleBlock("box.ecg", 10, 80_000_000, ones), SampleBlock("box.ecg", 30, 240_000_000, ones),
    ])  # fmt: skip
    assert calls == [("box.ecg", 0, 20), ("box.pleth", 0, 10), ("box.ecg", 30, 10)]


def test_late_data_are_drawn_and_do_not_disturb_the_live_chain():
    """An outage is filled in: older blocks come after newer ones."""
    counts = thumps(20)
    straight, mixed = Chains([ECG]), Chains([ECG])
    live = blocks(ECG, counts, list(range(125, 2500, 125)))
    for block in live[:5]:
        straight.push(block)
        mixed.push(block)
    held_back = live[5:10]
    expected = [s for block in live[10:] for s in straight.push(block)]
    got = [s for block in live[10:15] for s in mixed.push(block)]
    late = [s for block in held_back for s in mixed.push(block)]
    got += [s for block in live[15:] for s in mixed.push(block)]
    np.testing.assert_allclose(traced(got), traced(expected))
    assert sum(s.values.size for s in late if isinstance(s, Trace)) > 4 * 125
    assert not any(isinstance(s, Analysis) for s in late), "what the bag found came with its own records"


def test_at_the_hub_there_are_traces_only():
    shown = Chains([ECG], analyse=False).push(blocks(ECG, thumps(5), [])[0])
    assert [type(s) for s in shown] == [Trace]


def test_a_stream_without_a_chain_gives_nothing():
    assert Chains([RESPIRATION]).push(blocks(RESPIRATION, thumps(2), [])[0]) == []


def test_red_and_infrared_of_one_sensor_meet():
    chains = Chains([RED, INFRARED])
    t = np.arange(1500) / FS
    pulse = np.sin(2 * np.pi * 1.2 * t)
    red = (100_000 + 500 * pulse).astype(np.int32)
    infrared = (120_000 + 1000 * pulse).astype(np.int32)
    shown = []
    for a, b in zip(
        blocks(RED, red, list(range(50, 1500, 50))), blocks(INFRARED, infrared, list(range(50, 1500, 50))), strict=True
    ):
        shown += chains.push_all([a, b])
    assert any(isinstance(s, Analysis) and s.spo2 is not None for s in shown)


def pulses(stream: Stream, rate: float, seconds: float, *, size: float = 40.0, level: float = 60.0) -> np.ndarray:
    return np.round(level + size * wave(beats_at(rate, seconds), seconds, stream.fs_hz)).astype(np.int32)


def told(shown: list, kind: Happening) -> list[tuple[str, float]]:
    found = [(s.stream, e) for s in shown if isinstance(s, Analysis) for e in s.events]
    return [(stream, round(e.time_s)) for stream, e in found if e.kind is kind]


def seconds_of(*streams: tuple[Stream, np.ndarray]):
    """Blocks as they come: a second of each stream in turn."""
    seconds = [blocks(s, x, list(range(0, x.size, round(s.fs_hz)))) for s, x in streams]
    return [block for turn in zip(*seconds, strict=True) for block in turn]


@pytest.mark.parametrize("second", [PLETH, INFRARED])
def test_a_heart_that_beats_more_often_than_the_pulse_arrives_is_an_event_of_the_ecg(second):
    size = -600.0 if second is INFRARED else 40.0
    chains = Chains([ECG, second])
    blocks_ = seconds_of((ECG, thumps(40, per_minute=100)), (second, pulses(second, 76, 40, size=size, level=90_000.0)))
    deficits = told([s for b in blocks_ for s in chains.push_all([b])], Happening.PULSE_DEFICIT)
    assert len(deficits) in {2, 3}
    assert {stream for stream, _ in deficits} == {"box.ecg"}
    assert all(10 <= b - a <= 12 for (_, a), (_, b) in itertools.pairwise(deficits))


def test_a_heart_and_a_pulse_that_agree_are_none():
    chains = Chains([ECG, PLETH])
    both = seconds_of((ECG, thumps(40, per_minute=78)), (PLETH, pulses(PLETH, 76, 40)))
    assert told([s for b in both for s in chains.push_all([b])], Happening.PULSE_DEFICIT) == []


def test_the_oximeter_s_own_pulse_rate_is_the_one_compared():
    chains, found = Chains([ECG]), []
    for block in blocks(ECG, thumps(40, per_minute=100), list(range(125, 5000, 125))):
        chains.read(Reading("clip", Kind.SPO2, Unit.PERCENT, block.t_ns, 97))
        chains.read(Reading("clip", Kind.PULSE_RATE, Unit.PER_MIN, block.t_ns, 76))
        found += chains.push_all([block])
    assert told(found, Happening.PULSE_DEFICIT)


def test_infrared_light_is_a_pleth_where_there_is_no_other():
    """It falls with the pulse: drawn upside down; its pulses have a perfusion index."""
    light = pulses(INFRARED, 72, 30, size=-900.0, level=90_000.0)
    alone = Chains([INFRARED])
    shown = [s for b in blocks(INFRARED, light, list(range(60, light.size, 60))) for s in alone.push(b)]
    assert traced(shown).max() < -80_000.0
    found = [s for s in shown if isinstance(s, Analysis)]
    assert found[-1].rate.bpm == pytest.approx(72, abs=2)
    indices = [p.perfusion_index_pct for s in found for p in s.pulses]
    assert np.median(indices) == pytest.approx(1.0, rel=0.2)


def test_infrared_gives_way_to_a_pleth_as_soon_as_that_one_speaks():
    """A HealthyPi 5 describes both; which of them comes depends on its firmware."""
    first, second = blocks(INFRARED, pulses(INFRARED, 72, 8, size=-900.0, level=90_000.0), [500])
    chains = Chains([PLETH, INFRARED])
    assert traced(chains.push(first)).size
    chains.push_all(blocks(PLETH, pulses(PLETH, 72, 4), []))
    assert chains.push(second) == [], "the oximeter's pleth is the one shown"


def test_what_an_infrared_stream_s_spo2_rests_on_is_described(monkeypatch):
    smoother, oximeter = describe(INFRARED)
    assert (smoother.name, smoother.settings) == ("PlethSmoother", "inverted=yes")
    assert (oximeter.name, oximeter.settings) == ("Oximeter", "curve=default calibrated=no")
    known = Curve("box", (-25.0, 110.0), validated=True, source="test")
    monkeypatch.setattr(calibration, "CURVES", {**CURVES, "box": known})
    assert describe(INFRARED)[1].settings == "curve=box calibrated=yes"


def test_a_chain_is_described_for_the_birth_record():
    (stage,) = describe(ECG)
    assert stage.name == "EcgFilter"
    assert stage.settings == "mode=monitor band_hz=0.5-40 mains_hz=50"
    assert stage.delay_us > 0
    assert describe(RESPIRATION) == ()
