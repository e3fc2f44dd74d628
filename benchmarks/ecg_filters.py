"""The ECG filter's own figures: ST segment, mains, ringing, delay."""

import time

import numpy as np

from agent.dsp.ecg import EcgFilter
from agent.dsp.mains import MainsCanceller

FS_HZ = 500.0


def qrs(t: np.ndarray, at: float) -> np.ndarray:
    """Return a QRS of 1 mV and 60 ms, a half-sine."""
    phase = (t - at + 0.03) / 0.06
    return np.where((phase >= 0) & (phase <= 1), np.sin(np.pi * np.clip(phase, 0, 1)), 0.0)


def report() -> list[str]:
    """Return the figures as a list for the page, at 500 Hz."""
    t = np.arange(round(20 * FS_HZ)) / FS_HZ
    impulse = np.where((t >= 5) & (t < 5.1), 3.0, 0.0)
    after = EcgFilter(FS_HZ, "diagnostic").push(impulse)[t >= 5.12]
    beats = sum(qrs(t, at) for at in np.arange(0.7, 19.5, 0.8))
    bent = MainsCanceller(FS_HZ, 50.0).push(beats[:, None])[:, 0]
    depths = []
    for hum_hz in (49.5, 49.75, 50.0, 50.25, 50.5):
        hum = 0.3 * np.sin(2 * np.pi * hum_hz * t)
        left = MainsCanceller(FS_HZ, 50.0).push((beats + hum)[:, None])[:, 0] - beats
        depths.append(20 * np.log10(hum.std() / left[t > 2].std()))
    leads = np.random.default_rng(0).normal(size=(25, 12))
    stage = EcgFilter(FS_HZ, "diagnostic")
    start = time.process_time()
    for _ in range(400):
        stage.push(leads)
    took_ms = (time.process_time() - start) / 400 * 1e3
    return [
        (
            f"- diagnostic, 3 mV for 100 ms: leaves {np.abs(after).max():.3f} mV and a slope of "
            f"{np.abs(np.diff(after)).max() * FS_HZ:.3f} mV/s"
        ),
        f"- mains 49.5 to 50.5 Hz: {min(depths):.0f} to {max(depths):.0f} dB down",
        (
            f"- a QRS of 1 mV and 60 ms is changed by at most {1e3 * np.abs(bent - beats).max():.1f} µV anywhere, R by "
            f"{100 * (1 - bent.max() / beats.max()):.2f} %"
        ),
        (
            f"- delay: monitor {1e3 * EcgFilter(FS_HZ, 'monitor').delay_s:.1f} ms, "
            f"diagnostic {1e3 * EcgFilter(FS_HZ, 'diagnostic').delay_s:.1f} ms"
        ),
        f"- 12 leads at 500 Hz: {took_ms:.2f} ms per 50 ms block",
    ]
