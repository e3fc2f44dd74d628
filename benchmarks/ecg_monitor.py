"""The monitor tests of IEC 60601-2-27 and ANSI/AAMI EC13 in figures, on what tests/dsp/synthetic_ecg.py draws."""

from collections.abc import Iterator
from itertools import product

import numpy as np

from agent.dsp.rpeaks import RPeakDetector
from agent.model import Happening
from tests.dsp.synthetic_ecg import alternating, clock, ecg, half_sine, pace_pulses, regular

RATES_HZ = (125.0, 360.0, 1000.0)
BLOCK_S = 0.05
ENDS = ("flat", "mains", "pulses", "noise", "p waves")
PHASES_S = (0.0, 0.15, 0.3, 0.45, 0.6)
ALTERNATING = (((0.55, 0.95), 80), ((0.6, 1.4), 60), ((0.4, 0.6), 120), ((0.62, 0.71), 90))
FAST = ((206, 1.0), (195, 2.0), (206, 0.5), (195, 4.0))


def streamed(x: np.ndarray, fs_hz: float) -> Iterator[tuple[float, RPeakDetector, int]]:
    """Feed a signal in blocks of 50 ms; after each give the time, the detector and how many beats it confirmed."""
    detector, n = RPeakDetector(fs_hz), round(BLOCK_S * fs_hz)
    for k in range(0, len(x), n):
        beats = len(detector.push(x[k : k + n]))
        yield min(k + n, len(x)) / fs_hz, detector, beats


def counted(x: np.ndarray, fs_hz: float) -> tuple[int, float | None]:
    """Return how many beats a signal has, and the rate shown at its end."""
    beats, bpm = 0, None
    for _, detector, new in streamed(x, fs_hz):
        beats, bpm = beats + new, detector.rate().bpm
    return beats, bpm


def alternates(fs_hz: float, intervals_s: tuple[float, float]) -> list[float]:
    """Return the rates shown from 10 s on for narrow and wide beats in turn, as in waveforms 3a to 3d (0: none)."""
    at = alternating(intervals_s, 20)
    wide = np.arange(len(at)) % 2 == 1
    x = ecg(fs_hz, 20, at, amplitude_mv=np.where(wide, -0.8, 0.5), width_s=np.where(wide, 0.11, 0.07), noise_mv=0.01)
    return [detector.rate().bpm or 0.0 for t, detector, _ in streamed(x, fs_hz) if t > 10]


def step_s(fs_hz: float, after: int, phase_s: float) -> float:
    """Return how long after the last beat at 80/min the new rate is shown to within 2."""
    before = regular(80, 20, 0.5 + phase_s)
    at = np.concatenate((before, np.arange(before[-1] + 60 / after, 39, 60 / after)))
    for t, detector, _ in streamed(ecg(fs_hz, 40, at, noise_mv=0.01), fs_hz):
        bpm = detector.rate().bpm
        if t > before[-1] and bpm is not None and abs(bpm - after) <= 2:
            return t - float(before[-1])
    return np.inf


def silence_s(fs_hz: float, end: str) -> float:
    """Return how long after the last of beats at 80/min their silence is told; `end` is what goes on."""
    at = regular(80, 15)
    x, t = ecg(fs_hz, 30, at, p_mv=0.12, noise_mv=0.005), clock(fs_hz, 30)
    rest = t > at[-1] + 0.45
    x[rest] = {
        "flat": 0.0 * t,
        "mains": 0.1 * np.sin(2 * np.pi * 50 * t),
        "pulses": pace_pulses(fs_hz, 30, regular(80, 29), 5.0, 0.001),
        "p waves": sum(0.12 * half_sine(t, p, 0.1) for p in regular(80, 29)),
        "noise": 0.01 * np.random.default_rng(0).standard_normal(t.size),
    }[end][rest]
    for now, detector, _ in streamed(x, fs_hz):
        if any(e.kind is Happening.NO_BEATS and e.time_s > at[-1] for e in detector.events()):
            return now - float(at[-1]) if detector.rate().bpm is None else np.inf
    return np.inf


def fast(fs_hz: float, bpm: int, amplitude_mv: float, *, as_wave: bool = False) -> tuple[np.ndarray, np.ndarray, float]:
    """Return 30 s that begin with narrow beats at 80/min, all its beats, and the time of the last narrow one.

    A wide rhythm follows. `as_wave`: a steady wave without a base line, as a ventricular tachycardia can look.
    """
    before = regular(80, 15)
    at = np.concatenate((before, np.arange(before[-1] + 0.5, 29, 60 / bpm)))
    wide, t = np.arange(len(at)) >= len(before), clock(fs_hz, 30)
    amplitude, width = np.where(wide, 0.0 if as_wave else amplitude_mv, 1.0), np.where(wide, 0.14, 0.08)
    x = ecg(fs_hz, 30, at, amplitude_mv=amplitude, width_s=width, t_mv=0.1, noise_mv=0.01)
    if as_wave:
        phase = 2 * np.pi * (t - before[-1] - 0.5) * bpm / 60
        x += np.where(t > before[-1] + 0.4, 0.5 * amplitude_mv * (np.cos(phase) + 0.2 * np.cos(2 * phase + 0.5)), 0.0)
    return x, at, float(before[-1])


def fast_s(fs_hz: float, bpm: int, amplitude_mv: float, *, as_wave: bool = False) -> float:
    """Return how long after the last narrow beat the rate of a fast wide rhythm is shown to within 10."""
    x, _, begun = fast(fs_hz, bpm, amplitude_mv, as_wave=as_wave)
    for now, detector, _ in streamed(x, fs_hz):
        shown = detector.rate().bpm
        if shown is not None and abs(shown - bpm) <= 10:
            return now - begun
    return np.inf


def report() -> list[str]:
    """Return the figures as a list for the page: the worst of 125, 360 and 1000 Hz."""
    at = regular(80, 20)
    off = max(abs(b - bpm) for fs, (rr, bpm) in product(RATES_HZ, ALTERNATING) for b in alternates(fs, rr))
    steps = {after: max(step_s(fs, after, p) for fs, p in product(RATES_HZ, PHASES_S)) for after in (120, 40)}
    tall = [
        t_mv
        for t_mv in np.arange(0.2, 1.45, 0.2)
        if all(
            abs((counted(ecg(fs, 20, at, width_s=0.1, t_mv=t_mv, noise_mv=0.005), fs)[1] or 0.0) - 80) <= 1
            for fs in RATES_HZ
        )
    ]
    sizes = list(product(RATES_HZ, (0.5, -0.5, 1.0, 2.0, 5.0, -5.0), (0.04, 0.08, 0.12)))
    seen = [
        len(at) - counted(ecg(fs, 20, at, amplitude_mv=mv, width_s=s, t_mv=0, noise_mv=0.005), fs)[0]
        for fs, mv, s in sizes
    ]
    small = ((0.15, 0.08), (0.15, 0.04), (-0.15, 0.1), (1.0, 0.01), (-2.0, 0.01))
    never = sum(
        counted(ecg(fs, 20, at, amplitude_mv=mv, width_s=s, t_mv=0), fs)[0] for fs, (mv, s) in product(RATES_HZ, small)
    )
    fastest = [
        counted(ecg(fs, 15, regular(300, 15), width_s=0.05, t_mv=0.0, noise_mv=0.01), fs)[1] or 0.0 for fs in RATES_HZ
    ]
    pulses = list(product(RATES_HZ, (2.0, -2.0, 50.0, 700.0, -700.0), (0.0001, 0.001, 0.002)))
    paced = sum(counted(pace_pulses(fs, 15, regular(70, 15), mv, s), fs)[0] for fs, mv, s in pulses)
    ends = {end: max(silence_s(fs, end) for fs in RATES_HZ) for end in ENDS}
    vt, wave = (
        max(fast_s(fs, bpm, mv, as_wave=as_wave) for fs, (bpm, mv) in product(RATES_HZ, FAST))
        for as_wave in (False, True)
    )
    return [
        f"- narrow and wide beats in turn, 60 to 120/min: off by at most {off:.1f}/min",
        f"- 80 to 120/min shown in {steps[120]:.1f} s, 80 to 40/min in {steps[40]:.1f} s",
        f"- T waves of 0.2 to {max(tall, default=0):.1f} mV after a QRS of 1 mV are not counted ({len(tall)} of 7)",
        (
            f"- QRS of 0.5 to 5 mV and 40 to 120 ms: at most {max(seen)} of {len(at)} beats not counted in "
            f"{len(sizes)} signals; of 0.15 mV or 10 ms: {never} counted in {3 * len(small)} signals"
        ),
        f"- 300/min reads {min(fastest):.0f} to {max(fastest):.0f}",
        f"- pacing pulses alone, ±2 to 700 mV, 0.1 to 2 ms: {paced} counted in {len(pulses)} signals",
        f"- silence of beats is told after {', '.join(f'{s:.1f} s ({end})' for end, s in ends.items())}",
        (
            f"- wide rhythms of 195 and 206/min show within {vt:.2f} s; as waves without a base line "
            + (f"within {wave:.1f} s" if np.isfinite(wave) else "not all show")
        ),
    ]
