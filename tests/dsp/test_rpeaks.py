import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_ecg import clock, ecg, half_sine, pace_pulses, regular

from agent.dsp.rpeaks import RPeakDetector
from agent.model import Happening, NoValue
from benchmarks.ecg_monitor import ALTERNATING, ENDS, FAST, PHASES_S, alternates, fast, fast_s, silence_s, step_s

DATA = Path(os.environ.get("BESACE_DATA") or Path(__file__).parents[2].parent / "shared" / "data") / "ecg"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="no recordings beside the repository")
RATES = [125.0, 250.0, 360.0, 500.0, 1000.0]


def run(x, fs_hz, block_s=0.2):
    """Return beats, events and the rate after each block, as (time, bpm or None)."""
    detector = RPeakDetector(fs_hz)
    n, beats, rates = round(block_s * fs_hz), [], []
    for k in range(0, len(x), n):
        beats += detector.push(x[k : k + n])
        rates.append((min(k + n, len(x)) / fs_hz, detector.rate().bpm))
    return beats + detector.finish(), detector.events(), rates


def caught(beats, r_s, tolerance_s=0.06):
    """Return how many of the true R-peaks were found, and how many beats belong to none."""
    found = np.array([beat.time_s for beat in beats])
    hits = sum(bool(found.size) and np.abs(found - r).min() <= tolerance_s for r in r_s)
    return hits, sum(np.abs(np.asarray(r_s) - f).min() > tolerance_s for f in found)


# --- what a bedside monitor is tested with (IEC 60601-2-27, ANSI/AAMI EC13) ------------------------------------


@pytest.mark.parametrize("fs_hz", RATES)
@pytest.mark.parametrize("amplitude_mv", [0.5, -0.5, 1.0, 2.0, 5.0, -5.0])
@pytest.mark.parametrize("width_s", [0.04, 0.08, 0.12])
def test_qrs_of_05_to_5_mv_and_40_to_120_ms_is_counted(fs_hz, amplitude_mv, width_s):
    at = regular(80, 12)
    x = ecg(fs_hz, 12, at, amplitude_mv=amplitude_mv, width_s=width_s, t_mv=0.0, noise_mv=0.005)
    beats, _, rates = run(x, fs_hz)
    hits, wrong = caught(beats, at)
    assert hits >= len(at) - 1
    assert wrong == 0
    assert rates[-1][1] == pytest.approx(80, abs=1)


@pytest.mark.parametrize("fs_hz", RATES)
@pytest.mark.parametrize(
    ("amplitude_mv", "width_s"), [(0.15, 0.08), (0.15, 0.04), (-0.15, 0.1), (1.0, 0.01), (-2.0, 0.01)]
)
def test_qrs_of_015_mv_or_10_ms_is_not(fs_hz, amplitude_mv, width_s):
    beats, events, rates = run(
        ecg(fs_hz, 12, regular(80, 12), amplitude_mv=amplitude_mv, width_s=width_s, t_mv=0), fs_hz
    )
    assert not beats
    assert Happening.NO_BEATS in {e.kind for e in events}
    assert rates[-1][1] is None


@pytest.mark.parametrize("fs_hz", RATES)
def test_a_small_but_real_ecg_is_counted(fs_hz):  # the other side of the rule above: gain is free
    at = regular(75, 12)
    x = ecg(fs_hz, 12, at, amplitude_mv=0.12, t_mv=0.03, p_mv=0.01, shape="qrs", noise_mv=0.002)
    known = at[at > 2.0]  # before, how silent the line is cannot be said
    assert caught(run(x, fs_hz)[0], known)[0] == len(known)


@pytest.mark.parametrize("fs_hz", RATES)
@pytest.mark.parametrize("t_mv", [0.2, 0.6, 1.0, 1.4])
def test_tall_t_waves_are_not_counted(fs_hz, t_mv):
    at = regular(80, 20)
    beats, _, rates = run(ecg(fs_hz, 20, at, amplitude_mv=1.0, width_s=0.1, t_mv=t_mv, noise_mv=0.005), fs_hz)
    assert rates[-1][1] == pytest.approx(80, abs=1)
    assert caught([b for b in beats if b.time_s > 5], at)[1] == 0


@pytest.mark.parametrize("fs_hz", RATES)
@pytest.mark.parametrize("rate", [30, 200, 250, 300])
def test_rates_from_30_to_300(fs_hz, rate):
    at = regular(rate, 15)
    beats, _, rates = run(ecg(fs_hz, 15, at, width_s=0.05, t_mv=0.1 if rate < 200 else 0.0, noise_mv=0.01), fs_hz)
    assert rates[-1][1] == pytest.approx(rate, abs=max(1, rate / 100))
    assert caught(beats, at)[1] == 0


@pytest.mark.parametrize("fs_hz", RATES)
@pytest.mark.parametrize("rate", [30, 40, 60])
def test_a_slow_rhythm_on_a_silent_line_is_no_lead_off(fs_hz, rate):
    at = regular(rate, 20)
    beats, _, rates = run(ecg(fs_hz, 20, at, width_s=0.1, t_mv=0.0), fs_hz)
    assert rates[-1][1] == pytest.approx(rate, abs=1)
    assert caught(beats, at)[1] == 0


@pytest.mark.parametrize("fs_hz", RATES)
@pytest.mark.parametrize(("intervals", "bpm"), ALTERNATING)
def test_alternating_rhythms_read_their_rate(fs_hz, intervals, bpm):
    assert all(shown == pytest.approx(bpm, abs=1.5) for shown in alternates(fs_hz, intervals))


@needs_data
def test_ec13_waveform_3a_reads_80():
    x = np.loadtxt(DATA / "ec13" / "aami3a.csv")
    rates = [bpm for t, bpm in run(x, 720.0)[2] if t > 8]
    assert all(bpm == pytest.approx(80, abs=1) for bpm in rates)


@pytest.mark.parametrize("fs_hz", [125.0, 500.0])
@pytest.mark.parametrize(("after", "limit_s"), [(120, 6.5), (40, 6.0)])
def test_a_step_in_rate_shows_in_time(fs_hz, after, limit_s):
    assert max(step_s(fs_hz, after, phase_s) for phase_s in PHASES_S) <= limit_s


@pytest.mark.parametrize("fs_hz", RATES)
@pytest.mark.parametrize("height_mv", [2.0, -2.0, 50.0, 700.0, -700.0])
@pytest.mark.parametrize("width_s", [0.0001, 0.001, 0.002])
def test_pacing_pulses_are_never_counted(fs_hz, height_mv, width_s):
    pulses_at = regular(70, 15)
    alone = pace_pulses(fs_hz, 15, pulses_at, height_mv, width_s)
    beats, events, _ = run(alone, fs_hz)
    assert not beats
    assert Happening.NO_BEATS in {e.kind for e in events}
    x = ecg(fs_hz, 15, regular(80, 15), noise_mv=0.005) + alone  # pulses that do not capture
    assert run(x, fs_hz)[2][-1][1] == pytest.approx(80, abs=1)


@pytest.mark.parametrize("fs_hz", RATES)
@pytest.mark.parametrize("end", ENDS)
def test_asystole_is_told_within_5_s(fs_hz, end):
    assert silence_s(fs_hz, end) <= 5.0


@pytest.mark.parametrize("fs_hz", RATES)
@pytest.mark.parametrize("rate", [50, 80])
@pytest.mark.parametrize("p_mv", [0.08, 0.15])
def test_p_waves_alone_on_a_silent_line_are_not_counted(fs_hz, rate, p_mv):
    x = sum(p_mv * half_sine(clock(fs_hz, 20), at, 0.1) for at in regular(rate, 20))
    beats, events, rates = run(x, fs_hz)
    assert not beats
    assert Happening.NO_BEATS in {e.kind for e in events}
    assert rates[-1][1] is None


@pytest.mark.parametrize("fs_hz", RATES)
@pytest.mark.parametrize(("rate", "p_mv"), [(60, 0.1), (80, 0.15), (100, 0.08)])
def test_standstill_in_noise_is_told(fs_hz, rate, p_mv):  # the atria beat on, the ventricles do not
    at = regular(80, 15)
    x, t = ecg(fs_hz, 35, at, p_mv=p_mv, noise_mv=0.005), clock(fs_hz, 35)
    x += sum(p_mv * half_sine(t, p, 0.1) for p in regular(rate, 34) if p > at[-1] + 0.45)
    told = [e.time_s for e in run(x, fs_hz)[1] if e.kind is Happening.NO_BEATS]
    assert told
    assert run(x, fs_hz)[2][-1][1] is None


@pytest.mark.parametrize("fs_hz", RATES)
@pytest.mark.parametrize(("rate", "amplitude_mv"), FAST)
@pytest.mark.parametrize("as_wave", [False, True])
def test_fast_wide_rhythm_shows_within_6_s(fs_hz, rate, amplitude_mv, as_wave):
    assert fast_s(fs_hz, rate, amplitude_mv, as_wave=as_wave) <= 6.0


@pytest.mark.parametrize("fs_hz", [125.0, 360.0, 1000.0])
@pytest.mark.parametrize(("rate", "amplitude_mv"), FAST[:2])
def test_wide_complexes_with_a_line_between_are_beats_and_waves_without_are_none(fs_hz, rate, amplitude_mv):
    x, at, begun = fast(fs_hz, rate, amplitude_mv)
    assert caught([b for b in run(x, fs_hz)[0] if b.time_s > begun + 5], at[at > begun + 5]) == (sum(at > begun + 5), 0)

    x, at, begun = fast(fs_hz, rate, amplitude_mv, as_wave=True)
    beats, events, _ = run(x, fs_hz)
    assert sum(b.time_s > begun + 5 for b in beats) < 0.2 * sum(at > begun + 5)
    assert Happening.NO_BEATS not in {e.kind for e in events}  # the rate is theirs, and there is no silence


@pytest.mark.parametrize("fs_hz", [125.0, 360.0, 1000.0])
def test_the_first_beats_after_waves_are_beats(fs_hz):
    x, _, _ = fast(fs_hz, 206, 1.0, as_wave=True)
    at = regular(80, 10)
    beats = run(np.concatenate((x, ecg(fs_hz, 10, at, noise_mv=0.01))), fs_hz)[0]
    assert caught([b for b in beats if b.time_s > 30.3], at + 30) == (len(at), 0)


# --- the stream ----------------------------------------------------------------------------------------------


def troubled(fs_hz):
    """Return 14 s with a gap of numbers, an electrode off, a limit and noise."""
    x = ecg(fs_hz, 14, regular(100, 14), noise_mv=0.05, seed=4)
    n = round(fs_hz)
    x[3 * n : 3 * n + 5], x[4 * n : 4 * n + n // 2] = np.nan, np.inf
    x[6 * n : 8 * n + n // 2], x[9 * n : 9 * n + n // 4] = 7.5, -30.0
    return x


def fluttering(fs_hz, wave_hz=4.5):
    """Return a rhythm that ends in a wave without a base line, in steps of 5 µV: many candidates nearly alike."""
    t = clock(fs_hz, 14)
    wave = 1.5 * np.sin(2 * np.pi * wave_hz * t) + 0.3 * np.sin(4 * np.pi * wave_hz * t + 1)
    return np.round(200 * np.where(t > 5, wave, ecg(fs_hz, 14, regular(80, 5.3)))) / 200


@given(
    signal=st.sampled_from([troubled, fluttering]),
    fs_hz=st.sampled_from([125.0, 360.0, 1000.0]),
    cuts=st.lists(st.integers(0, 14_000), max_size=12),
)
@settings(max_examples=40, deadline=None)
def test_beats_and_events_do_not_depend_on_the_cut(signal, fs_hz, cuts):
    x = signal(fs_hz)

    def outcome(parts):
        detector, beats = RPeakDetector(fs_hz), []
        for part in parts:
            beats += detector.push(part)
        beats += detector.finish()
        return beats, detector.events(), detector.rate()

    assert outcome(np.split(x, sorted(cuts))) == outcome([x])


def test_events_of_a_troubled_lead():
    events = [(e.kind, round(e.time_s, 1)) for e in run(troubled(250.0), 250.0)[1]]
    assert events == [
        (Happening.NOT_FINITE, 3.0),
        (Happening.NOT_FINITE, 4.0),
        (Happening.SATURATED, 6.1),
        (Happening.LEAD_OFF, 8.0),
        (Happening.LEAD_ON, 8.5),
        (Happening.SATURATED, 9.1),
        (Happening.LEAD_ON, 9.2),
        (Happening.NO_BEATS, 9.3),
    ]


@pytest.mark.parametrize(
    "x",
    [
        np.zeros(3000),
        np.full(3000, 1e9),
        np.full(3000, np.nan),
        np.full(3000, -np.inf),
        np.full(3000, 4.99),
        np.resize([1e300, -1e300], 3000),
        np.resize([np.nan, 0.0], 3000),
        np.resize([5.0, -5.0], 3000),
        np.linspace(0, 5, 3000),
    ],
    ids=["zero", "huge", "nan", "inf", "constant", "extremes", "every other", "square", "ramp"],
)
def test_no_beat_out_of_silence_or_garbage(x):
    for block_s in (0.05, 20.0):
        beats, _, rates = run(x, 250.0, block_s)
        assert not beats
        assert rates[-1][1] is None


def test_a_huge_block_is_taken_in_pieces():
    x = np.resize(ecg(250.0, 30, regular(75, 30), noise_mv=0.01), 250 * 600)
    detector = RPeakDetector(250.0)
    assert len(detector.push(x)) > 700
    assert detector._front._rows.nbytes < 1e6


def test_a_short_run_of_no_samples_moves_no_event():
    x = ecg(250.0, 8, regular(75, 8), noise_mv=0.01)
    x[500:508], x[1500:] = np.nan, x[1499]
    assert [(e.kind, e.index) for e in run(x, 250.0)[1]] == [
        (Happening.NOT_FINITE, 500),
        (Happening.LEAD_OFF, 1499 + 499),
    ]


def test_empty_and_single_blocks():
    assert RPeakDetector(360.0).finish() == []
    detector = RPeakDetector(360.0)
    assert detector.push([]) == []
    x = ecg(360.0, 3, regular(75, 3))
    beats = [beat for sample in x for beat in detector.push([sample])]
    assert [b.index for b in beats] == [b.index for b in RPeakDetector(360.0).push(x)]


@pytest.mark.parametrize("fs_hz", [99.9, 2000.5, 0.0, -250.0, float("nan"), float("inf")])
def test_a_rate_outside_100_to_2000_hz_is_refused(fs_hz):
    with pytest.raises(ValueError, match="rate"):
        RPeakDetector(fs_hz)


def test_blocks_of_several_leads_are_refused():
    with pytest.raises(ValueError, match="dimension"):
        RPeakDetector(250.0).push(np.zeros((10, 2)))


@pytest.mark.parametrize("fs_hz", [100.0, *RATES, 2000.0])
def test_first_beat_latency_and_place(fs_hz):
    at = regular(70, 20)
    x = ecg(fs_hz, 20, at, shape="qrs", t_mv=0.25, p_mv=0.1, noise_mv=0.01)
    detector, waits, errors, first = RPeakDetector(fs_hz), [], [], None
    n = round(0.05 * fs_hz)
    for k in range(0, len(x), n):
        for beat in detector.push(x[k : k + n]):
            first = first or (k + n) / fs_hz
            waits.append((k + n) / fs_hz - beat.time_s)
            errors.append(np.abs(at - beat.time_s).min())
            assert beat.time_s == beat.index / fs_hz
            assert 0.5 <= beat.confidence <= 1.0
    assert first <= 3.0
    assert np.percentile(waits, 95) <= 0.25
    assert min(waits) >= detector.delay_s - 0.03
    assert np.percentile(errors, 95) <= max(0.004, 1 / fs_hz)


@pytest.mark.parametrize("gain", [0.1, -1.0, 5.0])
def test_gain_and_polarity_change_nothing(gain):
    x = ecg(250.0, 20, regular(90, 20), t_mv=0.3, p_mv=0.1, noise_mv=0.05) * 2.0
    expected = [b.index for b in run(x, 250.0)[0] if b.time_s > 2]
    assert [b.index for b in run(gain * x, 250.0)[0] if b.time_s > 2] == pytest.approx(expected, abs=5)


def test_a_gap_moves_the_index_and_joins_at_rest():
    detector, at = RPeakDetector(250.0), regular(75, 10)
    x = ecg(250.0, 10, at, noise_mv=0.005)
    before = detector.push(x)
    detector.gap(25_000)
    after = detector.push(x + 40.0) + detector.finish()
    assert all(b.index >= len(x) + 25_000 for b in after)
    assert caught(after, at + 110.0)[1] == 0
    assert len(after) >= len(before) - 1
    assert detector.rate().bpm == pytest.approx(75, abs=1)
    with pytest.raises(ValueError, match="gap"):
        detector.gap(-1)
    detector.reset()
    assert [b.index for b in detector.push(x)] == [b.index for b in before]


def test_no_rate_has_a_reason():
    detector = RPeakDetector(250.0)
    assert detector.rate().reason is NoValue.STARTING
    detector.push(ecg(250.0, 10, regular(75, 10), noise_mv=0.01))
    assert detector.rate().bpm == pytest.approx(75, abs=1)
    detector.push(np.full(500, 5.0))
    assert detector.rate().reason is NoValue.LEAD_OFF


def test_what_lies_between_beats_is_known_at_any_gain():
    def background(noise_mv, gain):
        detector = RPeakDetector(250.0)
        detector.push(gain * ecg(250.0, 20, regular(75, 20), t_mv=0.2, noise_mv=noise_mv, seed=3))
        return detector._decision.background

    assert background(0.005, 1.0) < 0.1
    assert background(0.1, 1.0) > 2 * background(0.005, 1.0)
    assert background(0.1, 4.0) == pytest.approx(background(0.1, 1.0), rel=0.01)


def test_pacing_spikes_are_told_from_1_khz_on():
    at = regular(70, 10)
    for fs_hz, told in ((1000.0, True), (2000.0, True), (500.0, False)):
        x = ecg(fs_hz, 10, at, noise_mv=0.005) + pace_pulses(fs_hz, 10, at - 0.03, 3.0, 0.0005)
        spikes = [e.time_s for e in run(x, fs_hz)[1] if e.kind is Happening.PACING_SPIKE]
        assert len(spikes) == (len(at) if told else 0)
        assert not told or np.abs(np.array(spikes) - (at - 0.03)).max() < 0.003


# --- real recordings -----------------------------------------------------------------------------------------


def scored(record, x, fs_hz=360.0):
    from benchmarks.ecg_records import Record, score

    beats = (record.beats * fs_hz / record.fs_hz).astype(np.int64)
    found = np.array([b.index for b in run(x, fs_hz, 10.0)[0]])
    return score(Record(record.name, fs_hz, x, beats, record.flutter), found)


@needs_data
@pytest.mark.parametrize(("name", "least"), [("119", 99.8), ("208", 99.0), ("230", 99.8)])
def test_real_records(name, least):
    from benchmarks.ecg_records import folder, read

    record = read(folder(), name)
    result = scored(record, record.mv)
    assert result.f1 >= least
    assert np.percentile(np.abs(result.errors_ms), 95) <= 15.0


@needs_data
def test_a_real_record_at_other_gains_polarity_and_rates():
    from scipy.signal import resample_poly

    from benchmarks.ecg_records import Record, folder, read

    whole = read(folder(), "223")
    record = Record("223", 360.0, whole.mv[:108_000], whole.beats[whole.beats < 108_000], ())
    reference = scored(record, record.mv).f1
    for gain in (0.1, -1.0, 5.0):
        assert abs(scored(record, gain * record.mv).f1 - reference) <= 0.3
    for fs_hz, up, down in ((125.0, 25, 72), (1000.0, 25, 9)):
        assert abs(scored(record, resample_poly(record.mv, up, down), fs_hz).f1 - reference) <= 0.6
