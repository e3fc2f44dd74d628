"""The loss: what it rewards, and a resynthesis with its own gradient."""

import numpy as np
import pytest

from agent.dsp.auscultation import AuscultationDenoiser
from agent.dsp.auscultation_features import FRAME, HOP
from training.frames import spectra_of

torch = pytest.importorskip("torch", reason="the extra `training` is not installed")

from training import mask_loss  # noqa: E402 - needs torch
from training.mask_loss import COMPRESSION, QUIETEST, SYNTHESIS, Batch, Resynthesis, loss_of  # noqa: E402 - needs torch

N = 64 * 120
WORSE = {"heart": 2.0, "lung": 6.0, "wide": 2.0}


def batch(noise_gain=1.0):
    """Give two hearts and a lung: tones in the first half of each second, and noise throughout."""
    rng = np.random.default_rng(2)
    t = np.arange(N) / 4000
    clean = np.stack([np.sin(2 * np.pi * f * t) * (t % 1 < 0.5) for f in (60, 120, 200)]).astype(np.float32)
    noisy = clean + noise_gain * rng.standard_normal(clean.shape).astype(np.float32)
    spectra, wanted = spectra_of(noisy), spectra_of(clean)
    made = (
        np.zeros((120, 3, 1), np.float32), np.eye(3, dtype=np.float32)[[0, 0, 1]], noisy, clean, spectra,
        np.abs(spectra) ** COMPRESSION, np.maximum(np.abs(wanted) ** COMPRESSION, QUIETEST),
    )  # fmt: skip
    return Batch(*map(torch.from_numpy, made)), torch.from_numpy(np.minimum(np.abs(wanted) / np.abs(spectra), 1))


def overlap_added(spectra):
    """Do the same by torch's own gradient."""
    parts = (torch.fft.irfft(spectra, FRAME) * SYNTHESIS).unflatten(2, (FRAME // HOP, HOP))
    frames = parts.shape[1]
    return sum(parts[:, 3 - i : frames - i, i] for i in range(FRAME // HOP)).flatten(1)


def test_resynthesis_and_its_gradient_are_torchs():
    given, gains = batch()
    wanted = torch.randn(overlap_added(given.spectra).shape, generator=torch.Generator().manual_seed(1))
    gradients = []
    for sound_of in (lambda g: Resynthesis.apply(g, given.spectra), lambda g: overlap_added(given.spectra * g)):
        asked = gains.clone().requires_grad_()
        sound = sound_of(asked)
        (sound * wanted).sum().backward()
        gradients.append((sound.detach(), asked.grad))
    (sound, gradient), (expected, expected_gradient) = gradients
    assert (sound - expected).abs().max() < 1e-5
    assert (gradient - expected_gradient).abs().max() < 1e-5 * expected_gradient.abs().max()


def test_with_every_gain_open_it_gives_the_sound_back_where_the_denoiser_would():
    given, _ = batch()
    sound = Resynthesis.apply(torch.ones(given.spectra.shape), given.spectra)[0].numpy()
    assert np.abs(sound - given.noisy[0].numpy()[: len(sound)]).max() < 1e-5
    assert AuscultationDenoiser().delay_s == (FRAME - 1) / 4000


def test_the_better_mask_has_the_smaller_loss_and_the_gain_says_by_how_much():
    given, ideal = batch()
    (loss, gained_db), (open_loss, none_db) = (
        loss_of(kept.transpose(0, 1), given, WORSE) for kept in (ideal, torch.ones(ideal.shape))
    )
    assert loss < open_loss
    assert (gained_db > 6).all()
    assert none_db.abs().max() < 0.01


def test_what_is_lost_costs_more_than_what_is_left(monkeypatch):
    given, ideal = batch()
    closed, opened = (torch.full_like(ideal, g).transpose(0, 1) for g in (0.0, 1.0))
    lost, left = (loss_of(kept, given, WORSE)[0] for kept in (closed, opened))
    monkeypatch.setattr(mask_loss, "LOST", dict.fromkeys(WORSE, 0.0))
    assert lost > loss_of(closed, given, WORSE)[0] + 0.1
    assert left - loss_of(opened, given, WORSE)[0] < 0.1 * (lost - loss_of(closed, given, WORSE)[0])


def test_a_clean_sound_made_worse_costs_more_than_the_same_of_a_noisy_one():
    given, _ = batch(noise_gain=0.01)
    closed = torch.full((120, 3, 129), 0.5)
    none = dict.fromkeys(WORSE, 0.0)
    assert loss_of(closed, given, WORSE)[0] > loss_of(closed, given, none)[0] + 1
    noisy, _ = batch(noise_gain=10.0)
    assert loss_of(closed, noisy, WORSE)[0] == pytest.approx(float(loss_of(closed, noisy, none)[0]))
