"""What the stethoscope's mask is taught by: the loss of a batch of mixtures.

Residual to clean in dB, plus 8 x the error of compressed magnitudes, in which what is lost counts more (which protects
murmurs and crackles), plus what is made worse than the input, weighed by mode.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agent.dsp.auscultation_features import BINS, FRAME, FRAMES_HZ, HOP, WINDOW
from agent.dsp.auscultation_mask import FLOOR_DB, MODES, floor_of

SKIPPED = int(0.5 * FRAMES_HZ) * HOP  # the start-up is not scored
COMPRESSION = 0.3
QUIETEST = 1e-3**COMPRESSION  # compressed magnitudes below are as good as none
LOST = {"heart": 1.0, "lung": 4.0, "wide": 2.0}
LOWEST_DB = FLOOR_DB | {"lung": -8.0}  # the agent's varies (Trust)
LOUDEST_DB = 30.0  # a residual this far below the clean sound is good enough
FLOORS = torch.from_numpy(np.array([floor_of(LOWEST_DB[mode]) for mode in MODES])).float()
SYNTHESIS = torch.from_numpy(WINDOW * (2 * HOP / FRAME)).float()
ADJOINT = torch.from_numpy(np.repeat([1.0, 2.0, 1.0], (1, BINS - 2, 1)) / FRAME).float()


@dataclass(frozen=True, slots=True)
class Batch:
    """Mixtures at unit spectral power of the clean sound."""

    features: Tensor  # (frames, batch, 207)
    mode: Tensor  # one-hot (batch, 3)
    noisy: Tensor  # (batch, samples)
    clean: Tensor
    spectra: Tensor  # of the noisy sound, (batch, frames, 129)
    loud: Tensor  # their compressed magnitudes
    magnitudes: Tensor  # compressed magnitudes of the clean sound


class Resynthesis(torch.autograd.Function):
    """Sound of spectra under gains (both (batch, frames, 129)): the samples complete after each frame.

    The gradient is an analysis: torch's own makes it anew over all frames for each of the four that overlap.
    """

    @staticmethod
    def forward(ctx: Any, gains: Tensor, spectra: Tensor) -> Tensor:
        """Overlap-add: (batch, (frames - 3) * HOP)."""
        ctx.save_for_backward(spectra)
        parts = (torch.fft.irfft(spectra * gains, FRAME) * SYNTHESIS).unflatten(2, (FRAME // HOP, HOP))
        n = parts.shape[1]
        total = parts[:, 3:, 0] + parts[:, 2 : n - 1, 1] + parts[:, 1 : n - 2, 2] + parts[:, : n - 3, 3]
        return total.flatten(1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Analyse what each sample asks for."""
        (spectra,) = ctx.saved_tensors
        padded = torch.nn.functional.pad(gradient, (FRAME - HOP, FRAME - HOP))
        asked = torch.fft.rfft(padded.unfold(1, FRAME, HOP) * SYNTHESIS)
        return (spectra.real * asked.real).addcmul_(spectra.imag, asked.imag).mul_(ADJOINT), None


def of_mode(value: dict[str, float], mode: Tensor) -> Tensor:
    """Look up each example's value, (batch,), by its one-hot mode."""
    return mode @ torch.tensor([value[m] for m in MODES])


def loss_of(kept: Tensor, batch: Batch, weights: dict[str, float]) -> tuple[Tensor, Tensor]:
    """Give the loss, and the gain in dB of each mixture.

    `kept` (frames, batch, 129): gains between floor (0) and 1; `weights`: of what is made worse, by mode.
    """
    floor = (batch.mode @ FLOORS)[:, None]
    gains = floor + (1 - floor) * kept.transpose(0, 1)
    after: Tensor = Resynthesis.apply(gains, batch.spectra)[:, SKIPPED:]
    target, before = (x[:, SKIPPED : SKIPPED + after.shape[1]] for x in (batch.clean, batch.noisy))
    power = (target**2).sum(1)

    def residual_db(sound: Tensor) -> Tensor:
        return 10 * torch.log10(((sound - target) ** 2).sum(1) / power + 10 ** (-LOUDEST_DB / 10))

    residual, unprocessed = residual_db(after), residual_db(before)
    error = torch.clamp(batch.loud * torch.exp(COMPRESSION * torch.log(gains)), min=QUIETEST) - batch.magnitudes
    lost = 1 + of_mode(LOST, batch.mode)[:, None, None] * (error < 0)
    compressed = (lost * error * error).mean(dim=(1, 2))
    worse = of_mode(weights, batch.mode) * torch.relu(residual - unprocessed)
    return (residual + 8 * compressed + worse).mean(), (unprocessed - residual).detach()
