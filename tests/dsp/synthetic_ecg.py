"""Waveforms in the manner of IEC 60601-2-27 / EC13: every parameter stated, nothing recorded.

Times in seconds, amplitudes in mV. QRS complexes are triangles (the standard's figure for the counting range) or
three half-sine waves Q, R, S; T waves are half-sines of 180 ms that end 350 ms after the QRS onset.
"""

import numpy as np


def clock(fs_hz, duration_s):
    """Return the sample times (n,)."""
    return np.arange(round(fs_hz * duration_s)) / fs_hz


def half_sine(t, start_s, width_s):
    """Return one half-sine of height 1 that begins at `start_s`."""
    phase = (t - start_s) / width_s
    return np.where((phase >= 0) & (phase <= 1), np.sin(np.pi * np.clip(phase, 0, 1)), 0.0)


def triangle(t, centre_s, width_s):
    """Return a triangle of height 1 on a base of `width_s`."""
    return np.maximum(0.0, 1.0 - np.abs(t - centre_s) / (width_s / 2))


def qrs(t, r_s, amplitude_mv, width_s, shape="triangle"):
    """Return one QRS with its R at `r_s`: "triangle", or "qrs" with Q and S of a fifth of R each."""
    if shape == "triangle":
        return amplitude_mv * triangle(t, r_s, width_s)
    third = width_s / 3
    wave = half_sine(t, r_s - third / 2, third)
    wave -= 0.2 * (half_sine(t, r_s - 1.5 * third, third) + half_sine(t, r_s + third / 2, third))
    return amplitude_mv * wave


def ecg(
    fs_hz,
    duration_s,
    r_s,
    *,
    amplitude_mv=1.0,
    width_s=0.08,
    t_mv=0.2,
    p_mv=0.0,
    shape="triangle",
    noise_mv=0.0,
    seed=0,
):
    """Return an ECG with R-peaks at `r_s`; amplitude and width may be one number or one for each beat."""
    t = clock(fs_hz, duration_s)
    x = np.zeros_like(t)
    amplitudes, widths = (np.broadcast_to(v, len(r_s)) for v in (amplitude_mv, width_s))
    for r, amplitude, width in zip(r_s, amplitudes, widths, strict=True):
        near = slice(max(0, int((r - 0.4) * fs_hz)), int((r + 0.6) * fs_hz))
        part = t[near]
        x[near] += qrs(part, r, amplitude, width, shape)
        x[near] += t_mv * half_sine(part, r - width / 2 + 0.17, 0.18)
        x[near] += p_mv * half_sine(part, r - width / 2 - 0.16, 0.1)
    return x + noise_mv * np.random.default_rng(seed).standard_normal(t.size)


def regular(rate_bpm, duration_s, first_s=0.5):
    """Return the times of a regular rhythm."""
    return np.arange(first_s, duration_s - 0.3, 60.0 / rate_bpm)


def alternating(intervals_s, duration_s, first_s=0.5):
    """Return the times of a rhythm that repeats a sequence of RR intervals."""
    count = int(duration_s / np.mean(intervals_s)) + 1
    times = first_s + np.concatenate(([0.0], np.cumsum(np.tile(intervals_s, count))))
    return times[times < duration_s - 0.3]


def pace_pulses(fs_hz, duration_s, at_s, amplitude_mv, width_s):
    """Return rectangular pulses as a front end of this rate sees them: each sample is the mean over its interval."""
    n = round(fs_hz * duration_s)
    x = np.zeros(n)
    for start in at_s:
        first, last = start * fs_hz, (start + width_s) * fs_hz
        for k in range(int(first), min(n, int(np.ceil(last)))):
            x[k] += amplitude_mv * max(0.0, min(k + 1, last) - max(k, first))
    return x
