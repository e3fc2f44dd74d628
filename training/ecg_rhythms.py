"""Rhythms the QRS network learns from besides recordings: a minute of what records have little of, or of no beats."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.signal import butter, resample_poly, sosfilt

from tests.dsp import synthetic_ecg as synthetic

Floats = NDArray[np.float64]
DURATION_S = 60.0
TURN_S = 20.0  # when a normal rhythm turns into something else
RATES_HZ = (125, 250, 360, 500, 1000)
NOISE_HZ = 360.0


@dataclass(frozen=True, slots=True, eq=False)
class Sheet:
    """What a rhythm is drawn on; `size` of a QRS and `grain` of the line in mV."""

    rng: Generator
    noise: dict[str, Floats]
    seed: int
    fs_hz: float
    size: float
    grain: float
    shape: str

    @property
    def t(self) -> Floats:
        """Times of the samples (n,) in s."""
        return np.asarray(synthetic.clock(self.fs_hz, DURATION_S))

    def ecg(self, r_s: Floats, **settings: object) -> Floats:
        """Draw beats."""
        usual = {"amplitude_mv": self.size, "noise_mv": self.grain, "seed": self.seed, "t_mv": 0.2 * self.size}
        return np.asarray(synthetic.ecg(self.fs_hz, DURATION_S, r_s, **(usual | settings)))

    def sign(self) -> int:
        """Draw a polarity."""
        return int(self.rng.choice([-1, 1]))

    def chance(self, share: float) -> bool:
        """Say yes so often."""
        return bool(self.rng.random() < share)


Drawn = tuple[Floats, Floats]  # samples in mV, R-peaks in s


def draw(rng: Generator, noise: dict[str, Floats], seed: int) -> tuple[str, float, Drawn]:
    """Draw a minute of some rhythm; return its kind, sampling rate, samples and R-peaks."""
    kind = str(rng.choice(list(RHYTHMS), p=np.array([share for share, _ in RHYTHMS.values()]) / TICKETS))
    size = float(np.exp(rng.uniform(np.log(0.4), np.log(5))))
    grain = float(rng.choice([0, 0, 0.002, 0.01, 0.03])) * size
    shape = str(rng.choice(["triangle", "qrs"]))
    sheet = Sheet(rng, noise, seed, float(rng.choice(RATES_HZ)), size, grain, shape)
    return kind, sheet.fs_hz, RHYTHMS[kind][1](sheet)


def _regular(on: Sheet) -> Drawn:
    rate = on.rng.uniform(30, 160)
    r = synthetic.regular(rate, DURATION_S, on.rng.uniform(0.3, 1))
    r = r + on.rng.normal(0, 0.01, len(r)) * on.chance(0.5)
    tallest = 1.4 if rate < 125 else 0.3
    mv = on.ecg(
        r,
        width_s=on.rng.uniform(0.04, 0.15),
        t_mv=on.rng.uniform(0, tallest) * on.size * on.chance(0.75),
        p_mv=0.15 * on.size * (rate < 140) * on.chance(0.6),
        shape=on.shape,
    )
    return _perhaps_paced(on, mv, r), r


def _fast(on: Sheet) -> Drawn:
    rate = on.rng.uniform(160, 305)
    r = synthetic.regular(rate, DURATION_S)
    return on.ecg(r, width_s=on.rng.uniform(0.04, 0.09), t_mv=0.15 * on.size * (rate < 240), shape=on.shape), r


def _step(on: Sheet) -> Drawn:
    after = np.arange(30.2, DURATION_S - 0.3, 60 / on.rng.choice([30, 40, 120, 150.0]))
    r = np.concatenate([synthetic.regular(80, 30), after])
    return _perhaps_paced(on, on.ecg(r, t_mv=0.25 * on.size, p_mv=0.1 * on.size), r), r


def _pairs(on: Sheet) -> Drawn:
    intervals = [(0.5, 1.0), (0.6, 1.4), (0.35, 0.65), (0.5, 0.83), (0.55, 0.95)][on.rng.integers(5)]
    r = synthetic.alternating(intervals, DURATION_S)
    odd = np.arange(len(r)) % 2 == 1
    mv = on.ecg(
        r,
        amplitude_mv=np.where(odd, on.size * on.rng.uniform(0.7, 1.6) * on.sign(), on.size),
        width_s=np.where(odd, on.rng.uniform(0.1, 0.17), 0.08),
        t_mv=0.25 * on.size * on.sign(),
    )
    return mv, r


def _tall_p(on: Sheet) -> Drawn:
    r = synthetic.regular(on.rng.uniform(40, 120), DURATION_S)
    r = r + on.rng.normal(0, 0.02, len(r))
    mv = on.ecg(
        r,
        width_s=on.rng.uniform(0.06, 0.12),
        t_mv=on.rng.uniform(-0.6, 1) * on.size,
        p_mv=on.rng.uniform(0.2, 0.7) * on.size,
        shape=on.shape,
    )
    return mv, r


def _wide(on: Sheet) -> Drawn:
    """Complexes of 130-240 ms as after a ventricular pacer: two slopes far apart, of which the first is the beat.

    A smeared pulse or a small wave goes before, a T wave of the other sign follows at once.
    """
    rng, t = on.rng, on.t
    r = synthetic.regular(rng.uniform(40, 120), DURATION_S)
    r = r + rng.normal(0, 0.01, len(r))
    width, rise = rng.uniform(0.13, 0.24), rng.uniform(0.3, 0.6)
    lead_s, lead = rng.uniform(0.012, 0.05), rng.uniform(0, 0.4) * on.sign()
    t_after, t_width, t_size = width * rng.uniform(0.8, 1.3), rng.uniform(0.16, 0.28), rng.uniform(0.1, 0.7)
    wave = np.zeros_like(t)
    for start in r - 0.4 * rise * width:
        phase = np.interp((t - start) / width, (0.0, rise, 1.0), (0.0, 0.5, 1.0))
        wave += np.sin(np.pi * phase) * rng.normal(1, 0.03)
        wave += lead * synthetic.half_sine(t, start - lead_s, lead_s)
        wave -= t_size * synthetic.half_sine(t, start + t_after, t_width)
    p_mv = 0.1 * on.size * on.chance(0.4)
    return on.ecg(r, amplitude_mv=0.0, t_mv=0.0, p_mv=p_mv) + on.size * on.sign() * wave, r


def _tachycardia(on: Sheet) -> Drawn:
    """A wide rhythm of 150-235/min: complexes, or a steady wave without a base line, which is counted too."""
    rng, rate = on.rng, on.rng.uniform(150, 235)
    before = synthetic.regular(80, TURN_S)
    r = np.concatenate([before, np.arange(TURN_S + 0.2, DURATION_S - 0.3, 60 / rate)])
    wide = np.arange(len(r)) >= len(before)
    as_wave, size = on.chance(0.5), on.size * rng.uniform(0.5, 2) * on.sign()
    mv = on.ecg(
        r,
        amplitude_mv=np.where(wide, 0.0 if as_wave else size, on.size),
        width_s=np.where(wide, rng.uniform(0.11, 0.16), 0.08),
        t_mv=rng.uniform(0, 0.2),
    )
    if as_wave:
        phase = 2 * np.pi * (on.t - TURN_S - 0.2) * rate / 60
        wave = np.cos(phase) + rng.uniform(0, 0.4) * np.cos(2 * phase + rng.uniform(-1, 1))
        mv = mv + np.where(on.t > TURN_S, 0.7 * size * (wave + rng.uniform(0, 0.1) * np.cos(3 * phase)), 0.0)
    return mv, r


def _fibrillation(on: Sheet) -> Drawn:
    """A normal rhythm, ventricular fibrillation for a while, and mostly the rhythm again.

    Fibrillation is a band about 2.8-6.5 Hz whose size and pace wander, pointed or blunt, more or less rough.
    """
    rng, t, rate, back_s = on.rng, on.t, on.rng.uniform(50, 120), on.rng.uniform(30, 70)
    r = np.concatenate([synthetic.regular(rate, TURN_S), np.arange(back_s, DURATION_S - 0.3, 60 / rate)])

    def band(low_hz: float, high_hz: float) -> Floats:
        edges = butter(2, (low_hz, high_hz), "bandpass", fs=on.fs_hz, output="sos")
        wave = sosfilt(edges, rng.standard_normal(len(t)))
        return np.asarray(wave / wave.std())

    pace = rng.uniform(2.8, 6.5)
    wave = band(pace / 1.4, pace * 1.4)
    wave = np.sign(wave) * np.abs(wave) ** rng.uniform(0.6, 1.4) + rng.choice([0.0, 0.1, 0.2]) * band(8.0, 35.0)
    wave *= on.size * np.exp(rng.uniform(np.log(0.1), np.log(0.8)))
    return on.ecg(r) + np.where((t > TURN_S) & (t < back_s - 0.4), wave, 0.0), r


def _standstill(on: Sheet) -> Drawn:
    """The atria beat on, the ventricles do not."""
    r = synthetic.regular(on.rng.uniform(50, 120), TURN_S)
    p_mv = on.size * on.rng.uniform(0.05, 0.25)
    mv = on.ecg(r, p_mv=p_mv)
    for at in np.arange(r[-1] + on.rng.uniform(0.45, 1.2), DURATION_S, 60 / on.rng.uniform(40, 110)):
        mv = mv + p_mv * synthetic.half_sine(on.t, at, on.rng.uniform(0.08, 0.12))
    return mv, r


def _stop(on: Sheet) -> Drawn:
    r = synthetic.regular(on.rng.uniform(50, 120), TURN_S)
    return np.where(on.t > r[-1] + 0.45, _nothing(on) + _grain(on, on.grain), on.ecg(r)), r


def _none(on: Sheet) -> Drawn:
    return _nothing(on) + _grain(on, on.grain / on.size), np.empty(0)


def _grain(on: Sheet, size: float) -> Floats:
    return size * on.rng.standard_normal(round(on.fs_hz * DURATION_S))


def _nothing(on: Sheet) -> Floats:
    """Draw what is no beat: mains, pacing pulses alone, noise alone, an amplifier's noise or nothing.

    Not P waves alone: without a QRS before them they are the same as wide QRS complexes of a low gain.
    """
    rng, t = on.rng, on.t
    which = rng.integers(5)
    if which == 0:
        hum_hz, size = rng.choice([50, 60, on.fs_hz / 2]), np.exp(rng.uniform(np.log(0.05), np.log(5)))
        return np.asarray(rng.choice([0.1, size]) * np.cos(2 * np.pi * hum_hz * t + rng.choice([0, rng.uniform(0, 6)])))
    if which == 1:
        at, height = synthetic.regular(rng.uniform(50, 100), DURATION_S), rng.uniform(2, 700) * on.sign()
        return np.asarray(synthetic.pace_pulses(on.fs_hz, DURATION_S, at, height, rng.uniform(0.0001, 0.002)))
    if which == 2:
        part = piece(rng, on.noise[str(rng.choice(["em", "ma"]))], int(DURATION_S * NOISE_HZ))
        return np.asarray(resample_poly(part, int(on.fs_hz), int(NOISE_HZ))[: len(t)])
    return np.asarray(rng.choice([0.0, 0.005, 0.02, 0.05]) * rng.standard_normal(len(t)))


def piece(rng: Generator, noise: Floats, n: int) -> Floats:
    """Return `n` samples of a noise from a random place on, round and round, of either sign."""
    return noise[(rng.integers(len(noise)) + np.arange(n)) % len(noise)] * rng.choice([-1, 1])


def _perhaps_paced(on: Sheet, mv: Floats, r: Floats) -> Floats:
    if not on.chance(0.25):
        return mv
    height, width = on.rng.uniform(2, 300) * on.sign(), on.rng.uniform(0.0001, 0.002)
    return mv + np.asarray(synthetic.pace_pulses(on.fs_hz, DURATION_S, np.maximum(r - 0.06, 0), height, width))


RHYTHMS: dict[str, tuple[int, Callable[[Sheet], Drawn]]] = {  # how often, and how it is drawn
    "regular": (4, _regular),
    "fast": (1, _fast),
    "step": (1, _step),
    "pairs": (1, _pairs),
    "tall p": (1, _tall_p),
    "wide": (3, _wide),
    "vt": (3, _tachycardia),
    "vf": (3, _fibrillation),
    "standstill": (3, _standstill),
    "stop": (1, _stop),
    "none": (2, _none),
}
TICKETS = sum(share for share, _ in RHYTHMS.values())
