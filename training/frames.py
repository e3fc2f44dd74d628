"""Spectra and features of whole batches, equal to what the agent computes frame by frame (a test holds them so)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from agent.dsp.auscultation_mask import FRAME, FRAMES_HZ, HOP, LEVEL_S, RISE, SMOOTHING_S, TINY, WINDOW, band_matrix


def spectra_of(x: NDArray[Any]) -> NDArray[Any]:
    """Spectra of the frames the denoiser sees, (batch, samples) to (batch, frames, 129)."""
    padded = np.pad(x, ((0, 0), (FRAME - HOP, 0)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME, axis=1)[:, ::HOP]
    return np.fft.rfft(frames * WINDOW.astype(x.dtype))


def features_of(spectra: NDArray[Any]) -> NDArray[Any]:
    """Agree with agent.dsp.auscultation_mask.Features, over whole batches at once."""
    x = np.log10((spectra.real**2 + spectra.imag**2) @ band_matrix().astype(spectra.real.dtype) + TINY)
    kept = 1 - 1 / (LEVEL_S * FRAMES_HZ)
    b, a = [1 - kept], [1, -kept]
    level = lfilter(b, a, x.mean(axis=2), axis=1) / lfilter(b, a, np.ones(x.shape[:2]), axis=1)
    step = 1 / (SMOOTHING_S * FRAMES_HZ)
    smooth, _ = lfilter([step], [1, step - 1], x, axis=1, zi=(1 - step) * x[:, :1])
    rise = RISE * np.arange(x.shape[1])[None, :, None]
    start = x[:, :1] + RISE  # the tracker may rise once before it first meets the smoothed power
    minimum = np.minimum(np.minimum.accumulate(smooth - rise, axis=1), start) + rise
    return np.concatenate([x - level[:, :, None], x - minimum], axis=2).astype(x.dtype)
