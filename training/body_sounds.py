"""Synthetic heart and lung sounds at 4 kHz with every parameter drawn anew: clean targets nobody has a licence on.

Heart: S1 and S2 as sums of damped chirps (after Chen, Durand and Lee 1997), S3, S4, clicks, the usual murmurs.
Lung: breath noise shaped per phase (vesicular to bronchial), wheezes, rhonchi, crackles whose periods lengthen
(after Murphy 1977 and the widths of Sovijarvi 2000: fine 0.7 ms / 5 ms, coarse 1.5 ms / 10 ms).
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt

Floats = NDArray[np.float64]
FS_HZ = 4000


def between(rng: Generator, low: float, high: float) -> float:
    """Draw log-uniformly: the right prior for rates, widths and frequencies."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def coloured(rng: Generator, n: int, slope: float = 1.0) -> Floats:
    """Noise whose power falls with frequency to the power of `slope`: 0 white, 1 pink, 2 brown."""
    f = np.fft.rfftfreq(n, 1 / FS_HZ)
    shape = np.maximum(f, 15.0) ** (-slope / 2)
    y: Floats = np.fft.irfft(np.fft.rfft(rng.standard_normal(n)) * shape, n)
    return y / y.std()


def band(x: Floats, low: float, high: float, order: int = 2) -> Floats:
    """Causal band-pass; an upper edge beyond the rate leaves a high-pass."""
    if high >= 0.49 * FS_HZ:
        y: Floats = sosfilt(butter(order, low, "highpass", fs=FS_HZ, output="sos"), x)
    else:
        y = sosfilt(butter(order, [low, high], "bandpass", fs=FS_HZ, output="sos"), x)
    return y


def equalised(rng: Generator, x: Floats, depth_db: float) -> Floats:
    """Give `x` the smooth random response of some chest piece, tube and microphone."""
    f = np.fft.rfftfreq(len(x), 1 / FS_HZ)
    knots = np.log2([10, 30, 60, 120, 240, 480, 960, 2000])
    gain_db = np.interp(np.log2(np.maximum(f, 10)), knots, rng.normal(0, depth_db, len(knots)))
    y: Floats = np.fft.irfft(np.fft.rfft(x) * 10 ** (gain_db / 20), len(x))
    return y


def add(y: Floats, at: int, piece: Floats) -> None:
    """Add `piece` to `y` from sample `at` on, cut at both ends."""
    start, stop = max(at, 0), min(at + len(piece), len(y))
    if start < stop:
        y[start:stop] += piece[start - at : stop - at]


def thump(rng: Generator, f_hz: float, width_s: float, components: int) -> Floats:
    """Give one heart sound: a few chirps of falling pitch under fast-rising, slower-falling envelopes."""
    n = int(8 * width_s * FS_HZ)
    t = np.arange(n) / FS_HZ
    y = np.zeros(n)
    for _ in range(components):
        onset = rng.uniform(0, 1.5 * width_s)
        rise, fall = width_s * rng.uniform(0.15, 0.8), width_s * rng.uniform(0.6, 1.4)
        u = t - onset - 2 * rise
        envelope = np.exp(-0.5 * (u / np.where(u < 0, rise, fall)) ** 2)
        f0 = f_hz * between(rng, 0.6, 1.7)
        phase = 2 * np.pi * (f0 * u - f0 * rng.uniform(0, 0.25) * u * np.abs(u) / (4 * width_s))
        y += rng.uniform(0.3, 1.0) * envelope * np.cos(phase + rng.uniform(0, 2 * np.pi))
    for _ in range(rng.integers(0, 4)):  # the valves' snap, weaker, shorter and higher
        u = t - rng.uniform(0.5, 2) * width_s
        snap = np.exp(-0.5 * (u / (width_s * rng.uniform(0.2, 0.6))) ** 2)
        y += between(rng, 0.02, 0.4) * snap * np.cos(2 * np.pi * f_hz * between(rng, 2, 7) * u + rng.uniform(0, 6))
    return y / np.abs(y).max()


def envelope_of(rng: Generator, n: int, kind: str) -> Floats:
    """Give the loudness of a murmur over its length."""
    u = np.linspace(0, 1, max(n, 2))
    peak = rng.uniform(0.25, 0.75)
    shapes = {
        "diamond": np.minimum(u / peak, (1 - u) / (1 - peak)),
        "plateau": np.minimum(1.0, np.minimum(u, 1 - u) / 0.12),
        "falling": np.minimum(u / 0.06, 1) * (1 - u) ** rng.uniform(0.7, 2),
        "rising": u ** rng.uniform(1, 2.5) * np.minimum(1, (1 - u) / 0.05),
    }
    return np.maximum(shapes[kind], 0.0)


@dataclass(frozen=True, slots=True)
class Hearts:
    """Which hearts are drawn: shares of those that have a murmur, of murmurs as loud as S1, of high-ringing sounds."""

    murmurs: float
    loud: float
    ringing: float


USUAL = Hearts(murmurs=0.6, loud=0.4, ringing=0.15)


def heart(rng: Generator, seconds: float, drawn: Hearts = USUAL) -> tuple[Floats, Floats, Floats]:
    """Give a heart for `seconds` and the times of its S1 and S2 (centres, s)."""
    n = int(seconds * FS_HZ)
    y = np.zeros(n)
    rate = between(rng, 32, 165)
    jitter = rng.choice([0.015, 0.05, 0.2], p=[0.6, 0.3, 0.1])
    # Some valves and chest pieces ring far higher.
    ringing = 1 if rng.random() < 1 - drawn.ringing else between(rng, 1.5, 5)
    s1 = thump(rng, ringing * between(rng, 30, 110), between(rng, 0.011, 0.03), rng.integers(1, 4))
    s2 = thump(rng, ringing * between(rng, 38, 160), between(rng, 0.008, 0.022), rng.integers(1, 3))
    s1_gain, s2_gain = 1.0, between(rng, 0.25, 1.8)
    split = rng.uniform(0, 0.05) if rng.random() < 0.4 else 0.0
    extra = {  # chance of a part, its place and its gain
        "s3": (rng.random() < 0.15, thump(rng, ringing * between(rng, 25, 120), 0.02, 2), between(rng, 0.1, 1.2)),
        "s4": (rng.random() < 0.12, thump(rng, ringing * between(rng, 25, 80), 0.02, 2), between(rng, 0.1, 1)),
        "click": (rng.random() < 0.12, thump(rng, between(rng, 100, 350), 0.006, 2), between(rng, 0.15, 0.8)),
    }
    filling = rng.uniform(0.07, 0.22)  # from S2 to an opening snap, a knock or S3
    murmur = rng.random() < drawn.murmurs
    systolic = rng.random() < 0.65
    kind = rng.choice(["diamond", "plateau", "falling", "rising"])
    murmur_gain = between(rng, 0.03, 0.7) if rng.random() < 1 - drawn.loud else between(rng, 0.7, 8)
    low = between(rng, 25, 350)
    air = band(rng.standard_normal(n + FS_HZ), low, min(low * between(rng, 1.8, 6), 900), 1)[FS_HZ:]
    if rng.random() < 0.2:  # a musical murmur
        air += np.sin(2 * np.pi * low * 1.5 * np.arange(n) / FS_HZ + rng.uniform(0, 6)) * air.std()
    air /= 3 * air.std()
    breath = 1 + rng.uniform(0, 0.25) * np.sin(
        2 * np.pi * rng.uniform(0.15, 0.4) * np.arange(n) / FS_HZ + rng.uniform(0, 6)
    )
    t, s1_times, s2_times = rng.uniform(-0.9, 0.1), [], []
    while t < seconds:
        rr = 60 / rate * (1 + float(np.clip(jitter * rng.standard_normal(), -0.45, 0.6)))
        systole = min(float(np.clip(0.546 - 0.0021 * 60 / rr - 0.13, 0.15, 0.36)) * rng.uniform(0.95, 1.05), 0.6 * rr)
        systole *= 1 if s1_times else rng.uniform(0.9, 1.1)
        add(y, int(t * FS_HZ) - len(s1) // 3, s1 * s1_gain * rng.uniform(0.85, 1.1))
        add(y, int((t + systole) * FS_HZ) - len(s2) // 3, s2 * s2_gain * rng.uniform(0.85, 1.1))
        if split:
            add(y, int((t + systole + split) * FS_HZ) - len(s2) // 3, s2 * s2_gain * 0.6)
        places = {"s3": t + systole + filling, "s4": t + rr - 0.11, "click": t + systole * 0.55}
        for name, (present, piece, gain) in extra.items():
            if present:
                add(y, int(places[name] * FS_HZ) - len(piece) // 3, piece * gain)
        if murmur:
            start, length = (t + 0.05, systole - 0.07) if systolic else (t + systole + 0.05, rr - systole - 0.1)
            m = envelope_of(rng, int(max(length, 0.05) * FS_HZ), str(kind)) * murmur_gain
            at = int(start * FS_HZ)
            if at >= 0 and at + len(m) <= n:
                y[at : at + len(m)] += m * air[at : at + len(m)]
        s1_times.append(t)
        s2_times.append(t + systole)
        t += rr
    y = equalised(rng, y * breath, 5.0)
    filtered = rng.random() < 0.35  # by a diaphragm or the recorder's own settings
    y = band(y, between(rng, 30, 220) if filtered else 16, between(rng, 400, 2500), rng.integers(1, 3))
    y = with_floor(rng, y, *((-65, -28) if rng.random() < 0.7 else (-28, -14)))
    return y, np.array(s1_times), np.array(s2_times)


def with_floor(rng: Generator, y: Floats, low_db: float, high_db: float) -> Floats:
    """Scale to unit power and add the recording's own steady noise and hum: they belong to the target."""
    n = len(y)
    y = y / (y.std() + 1e-12)
    floor = 10 ** (rng.uniform(low_db, high_db) / 20)
    y += floor * equalised(rng, coloured(rng, n, rng.uniform(0, 3)), 4.0)
    if rng.random() < 0.2:
        f0, t = rng.choice([50.0, 60.0, between(rng, 25, 120)]), np.arange(n) / FS_HZ
        hum = sum(between(rng, 0.1, 1) * np.sin(2 * np.pi * k * f0 * t + rng.uniform(0, 6)) for k in range(1, 4))
        y += 10 ** (rng.uniform(-40, -4) / 20) * hum
    return y


def burst(rng: Generator) -> Floats:
    """Give a cough, a grunt or a syllable as the chest wall passes it on: short, loud, half voiced, no room in it."""
    n = int(between(rng, 0.06, 0.5) * FS_HZ)
    t = np.arange(n) / FS_HZ
    f0 = between(rng, 90, 450)
    angle = 2 * np.pi * np.cumsum(f0 * (1 + rng.uniform(-0.3, 0.3) * t / t[-1])) / FS_HZ
    tilt, voiced = rng.uniform(0.6, 2.2), rng.uniform(0, 1)
    tone = sum(k**-tilt * np.sin(k * angle + rng.uniform(0, 6)) for k in range(1, 9) if k * f0 < 0.45 * FS_HZ)
    air = band(rng.standard_normal(n + 400), between(rng, 80, 400), between(rng, 500, 1500), 1)[400:]
    y = voiced * np.asarray(tone) + (1 - voiced) * air / air.std()
    u = t / t[-1]
    y = y * np.minimum(1, u / rng.uniform(0.03, 0.4)) * (1 - u) ** rng.uniform(0.3, 1.5)
    return y / np.abs(y).max()


def crackle(rng: Generator, *, coarse: bool) -> Floats:
    """Give one crackle: two and a half cycles whose periods lengthen, decaying."""
    first_s = between(rng, 1.1e-3, 2.2e-3) if coarse else between(rng, 0.45e-3, 1.0e-3)
    two_cycles_s = between(rng, 7.5e-3, 13e-3) if coarse else between(rng, 4e-3, 7.5e-3)
    t = np.arange(int(2 * two_cycles_s * FS_HZ)) / FS_HZ
    # Half a cycle at `first_s`, two cycles at `two_cycles_s`, a power law between.
    power = np.log(4) / np.log(two_cycles_s / first_s)
    y = np.sin(4 * np.pi * (t / two_cycles_s) ** power) * np.exp(-rng.uniform(1.2, 3.0) * t / two_cycles_s)
    y *= np.minimum(1, np.maximum(0, (2 * two_cycles_s - t) / (0.7 * two_cycles_s)))
    return y / np.abs(y).max()


def lung(rng: Generator, seconds: float) -> Floats:
    """Give breathing for `seconds`, often with adventitious sounds, often over a distant heart."""
    n = int(seconds * FS_HZ)
    t = np.arange(n) / FS_HZ
    low, corner = between(rng, 20, 130), between(rng, 80, 700)
    f = np.fft.rfftfreq(n, 1 / FS_HZ)

    def breath_noise(corner_hz: float) -> Floats:
        slope = rng.uniform(1.0, 3.2)
        shape = 1 / (1 + (f / corner_hz) ** (2 * slope)) ** 0.5 / (1 + (low / np.maximum(f, 1)) ** 4) ** 0.5
        for _ in range(rng.integers(0, 3)):  # resonances of the airways
            shape *= 1 + rng.uniform(0, 2) * np.exp(-0.5 * ((f - between(rng, 150, 1500)) / 80) ** 2)
        y: Floats = np.fft.irfft(np.fft.rfft(rng.standard_normal(n)) * shape, n)
        return y / y.std()

    period = 60 / between(rng, 9, 32)
    share = rng.uniform(0.33, 0.5)
    phase = (t / period + rng.uniform(0, 1)) % 1
    inspiration = np.sin(np.pi * np.clip(phase / share, 0, 1)) ** rng.uniform(0.5, 1.5)
    exp_share = rng.uniform(0.35, 0.6)
    expiration = np.sin(np.pi * np.clip((phase - share - 0.02) / exp_share, 0, 1)) ** rng.uniform(0.5, 1.5)
    inspiration = np.where(phase < share, inspiration, 0.0)
    y = inspiration * breath_noise(corner) + between(rng, 0.08, 1.2) * expiration * breath_noise(
        corner * between(rng, 0.6, 1.3)
    )
    loud = np.sqrt(np.mean(y**2))
    kind = rng.choice(
        ["plain", "wheeze", "rhonchus", "crackles", "both", "rub"], p=[0.28, 0.14, 0.10, 0.32, 0.11, 0.05]
    )
    if kind in {"wheeze", "both", "rhonchus"}:
        for _ in range(rng.integers(1, 3)):
            f0 = between(rng, 60, 220) if kind == "rhonchus" else between(rng, 110, 900)
            sweep = rng.uniform(-0.15, 0.15) * (phase - 0.5) + 0.02 * np.sin(2 * np.pi * rng.uniform(0.5, 4) * t)
            angle = 2 * np.pi * np.cumsum(f0 * (1 + sweep)) / FS_HZ
            tone = np.zeros(n)
            for k in range(1, 7 if kind == "rhonchus" else 4):
                if k * f0 < 1900:
                    tone += k ** -between(rng, 0.8, 2.5) * np.sin(k * angle + rng.uniform(0, 6))
            place = expiration if rng.random() < 0.7 else inspiration
            gate = np.clip((place - rng.uniform(0.1, 0.6)) * 4, 0, 1)
            y += between(rng, 0.3, 4) * loud * gate * tone
    if kind in {"crackles", "both", "rub"}:
        count = int(between(rng, 0.7, 9) * seconds)
        coarse = rng.random() < 0.5
        places = rng.uniform(0, n, 4 * count).astype(int)
        if rng.random() < 0.6:  # in the second half of inspiration
            places = places[(phase[places] > share * rng.uniform(0.2, 0.6)) & (phase[places] < share)]
        gain = between(rng, 2.0, 12) * loud
        for at in places[:count]:
            add(
                y,
                int(at),
                crackle(rng, coarse=bool(coarse) or kind == "rub") * gain * rng.uniform(0.3, 1) * rng.choice([-1, 1]),
            )
    if rng.random() < 0.22:
        for at in rng.uniform(0, n, rng.integers(1, max(2, int(1.2 * seconds)))):
            add(y, int(at), burst(rng) * loud * between(rng, 1.5, 12))
    y = equalised(rng, y / (y.std() + 1e-12), 3.0)
    if rng.random() < 0.7:
        y += 10 ** (rng.uniform(-25, 6) / 20) * band(heart(rng, seconds)[0], 18, between(rng, 90, 220), 2)
    return with_floor(rng, band(y, between(rng, 15, 90), 2000), -50, -5)
