"""Fourier transforms of frames: numpy's own, each frame rounded by itself."""

import numpy as np
import pytest

from agent.dsp.transforms import irfft, rfft

FRAMES = np.random.default_rng(0).standard_normal((5, 3, 256))


def test_spectra_are_numpys():
    assert np.array_equal(rfft(FRAMES), np.fft.rfft(FRAMES))
    assert np.array_equal(rfft(FRAMES[2:3, 1]), rfft(FRAMES)[2:3, 1])


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_frames_are_numpys_of_the_same_precision_and_layout(dtype):
    spectra = np.fft.rfft(FRAMES).astype(dtype)
    for laid_out in (spectra, spectra.swapaxes(0, 1)):
        frames, expected = irfft(laid_out), np.fft.irfft(laid_out)
        assert np.array_equal(frames, expected)
        assert (frames.dtype, frames.strides) == (expected.dtype, expected.strides)
