"""Spectra and features of whole batches, as the agent computes them frame by frame."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.dsp.auscultation_features import FRAME, HOP, WINDOW, Features
from agent.dsp.trailing import windows


def spectra_of(x: NDArray[Any]) -> NDArray[Any]:
    """Spectra of the frames the denoiser sees, (batch, samples) to (batch, frames, 129)."""
    padded = np.pad(x, ((0, 0), (FRAME - HOP, 0)))
    frames = windows(padded, FRAME)[:, ::HOP]
    return np.fft.rfft(frames * WINDOW.astype(x.dtype))


def features_of(spectra: NDArray[Any]) -> NDArray[np.float32]:
    """Features of every frame, (batch, frames, 129) to (frames, batch, 207)."""
    return Features(len(spectra)).of(spectra.swapaxes(0, 1)).astype(np.float32)
