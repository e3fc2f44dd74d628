"""numpy's Fourier transforms of real frames, without what is around them: that takes longer than two short frames."""

import numpy as np
from numpy.fft._pocketfft_umath import irfft as _irfft
from numpy.fft._pocketfft_umath import rfft_n_even as _rfft
from numpy.typing import NDArray

from agent.model import Floats

Spectra = NDArray[np.complex128]


def rfft(frames: Floats) -> Spectra:
    """Give the spectra (..., n / 2 + 1) of frames (..., n), n even; each rounded by itself."""
    spectra: Spectra = np.empty((*frames.shape[:-1], frames.shape[-1] // 2 + 1), np.complex128)
    _rfft(frames, 1.0, out=spectra)
    return spectra


def irfft(spectra: Spectra) -> Floats:
    """Give the frames (..., n) that have these spectra (..., n / 2 + 1); complex64 gives float32."""
    n, real = 2 * spectra.shape[-1] - 2, spectra.real.dtype
    frames: Floats = np.empty_like(spectra, real, shape=(*spectra.shape[:-1], n))  # laid out alike: half the time
    _irfft(spectra, real.type(1 / n), out=frames)
    return frames
