"""Train the stethoscope's mask: `python -m training.auscultation [--data FOLDER]`, fixed seed, under an hour on a CPU.

One process makes mixtures while another trains on them in half precision; matrices by Muon (Jordan 2024:
orthogonalised momentum), which takes a fifth of the steps that Adam takes to the same gain here, all else by Adam.

Loss: residual to clean in dB, plus 8 x the error of compressed magnitudes, in which what is lost counts more
(which protects murmurs and crackles), plus what is made worse than the input, weighed by part (PARTS).
"""

import argparse
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from agent.dsp.auscultation import FADE
from agent.dsp.auscultation_mask import BINS, FEATURES, FRAME, FRAMES_HZ, HOP, MODES, WINDOW
from training.body_sounds import USUAL, Hearts
from training.frames import features_of, spectra_of
from training.mixing import Lesson, Pools, make_pools, noise_gain, sources
from training.recordings import shippable

UNITS = 160
BATCH = 24
RATE, MATRIX_RATE, MATRIX_DECAY = 2.5e-3, 0.015, 0.02
REMIXES = 2
SKIPPED = int(0.5 * FRAMES_HZ) * HOP  # the start-up is not scored
COMPRESSION = 0.3
QUIETEST = 1e-3  # magnitudes below are as good as none
LOST = {"heart": 1.0, "lung": 4.0, "wide": 2.0}
CAUTION = 0.5  # added at the end to the log odds that a bin is kept: rather a little of the room than less of the heart
FLOOR = {"heart": 10 ** (-45 / 20), "lung": 10 ** (-8 / 20), "wide": 10 ** (-12 / 20)}  # lungs lower than the agent's
LOUDEST_DB = 30.0  # a residual this far below the clean sound is good enough


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the training: steps, share of the full rates, how what is made worse weighs by mode, the lesson."""

    steps: int
    rate: float
    worse: dict[str, float]
    lesson: Lesson


PARTS = (  # first what is noise, then what is not: murmurs above all
    Part(7200, 1.0, {"heart": 2.0, "lung": 6.0, "wide": 2.0}, Lesson(USUAL, nearly_clean=0.15, clean_db=18.0)),
    Part(
        900,
        0.3,
        {"heart": 6.0, "lung": 8.0, "wide": 4.0},
        Lesson(Hearts(murmurs=0.7, loud=0.55, ringing=0.3), nearly_clean=0.35, clean_db=12.0),
    ),
)
WEIGHTS = Path(__file__).parent.parent / "agent" / "dsp" / "weights" / "auscultation.npz"


def of_mode(value: dict[str, float], mode: Tensor) -> Tensor:
    """Look up each example's value, (batch,), by its one-hot mode."""
    return mode @ torch.tensor([value[m] for m in MODES])


class Network(nn.Module):
    """What TrainedMask computes, for training."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(FEATURES + len(MODES), UNITS)
        self.recurrent = nn.GRU(UNITS, UNITS, batch_first=True)
        self.gain = nn.Linear(2 * UNITS, BINS)

    def matrices(self) -> list[nn.Parameter]:
        """Give the weights between layers; not those to the gains, which Adam serves better."""
        return [self.dense.weight, self.recurrent.weight_ih_l0, self.recurrent.weight_hh_l0]

    def forward(self, features: Tensor, mode: Tensor) -> Tensor:
        """Give the gains between floor (0) and 1, (batch, frames, 129), from features and one-hot modes (batch, 3)."""
        modes = mode[:, None, :].expand(-1, features.shape[1], -1)
        hidden = torch.relu(self.dense(torch.cat([features, modes], dim=2)))
        state, _ = self.recurrent(hidden)
        kept: Tensor = torch.sigmoid(self.gain(torch.cat([state, hidden], dim=2)))
        return kept

    def named(self) -> dict[str, nn.Parameter]:
        """Weights as TrainedMask names them."""
        return {
            "dense_w": self.dense.weight, "dense_b": self.dense.bias,
            "input_w": self.recurrent.weight_ih_l0, "input_b": self.recurrent.bias_ih_l0,
            "state_w": self.recurrent.weight_hh_l0, "state_b": self.recurrent.bias_hh_l0,
            "gain_w": self.gain.weight, "gain_b": self.gain.bias,
        }  # fmt: skip

    def exported(self) -> dict[str, NDArray[np.int8] | NDArray[np.float32]]:
        """Weights in whole steps of a 127th of each row's largest, and these steps."""
        stored: dict[str, NDArray[np.int8] | NDArray[np.float32]] = {}
        for name, parameter in self.named().items():
            value = parameter.detach().numpy()
            step = np.abs(value).max(axis=-1, keepdims=True) / 127
            stored |= {name: np.round(value / step).astype(np.int8), f"{name}_step": step}
        return stored


def sound_of(spectra: Tensor) -> Tensor:
    """Overlap-add, (batch, frames, 129) to the samples complete after each frame: (batch, (frames - 3) * HOP)."""
    pieces = torch.fft.irfft(spectra, FRAME) * torch.from_numpy(WINDOW * (2 * HOP / FRAME)).float()
    parts = pieces.reshape(*pieces.shape[:2], FRAME // HOP, HOP)
    frames = parts.shape[1]
    total = sum(parts[:, 3 - i : frames - i, i] for i in range(FRAME // HOP))
    assert isinstance(total, Tensor)
    return total.flatten(1)


@dataclass(frozen=True, slots=True)
class Batch:
    """Mixtures at unit spectral power of the clean sound; sounds (batch, samples), spectra (batch, frames, 129)."""

    features: Tensor
    mode: Tensor  # one-hot (batch, 3)
    noisy: Tensor
    spectra: Tensor  # of the noisy sound
    clean: Tensor
    magnitudes: Tensor  # of the clean sound, compressed


class Mixer(IterableDataset[Batch]):
    """Draws batches; each set of sounds and noises serves REMIXES times, paired and levelled anew."""

    def __init__(self, rng: np.random.Generator, pools: Pools, size: int = BATCH) -> None:
        self._rng, self._pools, self._size = rng, pools, size
        self._served = REMIXES

    def __iter__(self) -> Iterator[Batch]:
        """Give one batch after the other, without end."""
        while True:
            yield self.draw()

    def draw(self) -> Batch:
        """Give the next batch."""
        rng = self._rng
        if self._served == REMIXES:
            drawn = [sources(rng, self._pools) for _ in range(self._size)]
            self._mode = np.eye(len(MODES), dtype=np.float32)[[d[0] for d in drawn]]
            self._clean, self._dirt = (np.array([d[i] for d in drawn], dtype=np.float32) for i in (1, 2))
            for sound in (self._clean, self._dirt):
                sound[:, :HOP] *= FADE
            self._spectra = [spectra_of(x) for x in (self._clean, self._dirt)]
            self._served = 0
        self._served += 1
        others = rng.permutation(self._size)
        gain = np.array([[noise_gain(rng, self._pools.lesson)] for _ in others], dtype=np.float32)
        level = 10 ** (rng.uniform(-45, -15, (self._size, 1, 1)).astype(np.float32) / 20)
        clean, noisy = self._clean, self._clean + gain * self._dirt[others]
        x = self._spectra[0] + gain[:, :, None] * self._spectra[1][others]
        s = np.abs(self._spectra[0])
        unit = np.sqrt((s**2).mean(axis=(1, 2), keepdims=True))
        magnitudes = np.maximum(s / unit, QUIETEST) ** COMPRESSION
        sounds = (noisy / unit[:, :, 0], x / unit, clean / unit[:, :, 0])
        return Batch(*map(torch.from_numpy, (features_of(level * x), self._mode, *sounds, magnitudes)))


def loss_of(network: Network, batch: Batch, weights: dict[str, float]) -> tuple[Tensor, Tensor]:
    """Give the loss, and the gain in dB of each mixture; `weights`: of what is made worse, by mode."""
    floor = of_mode(FLOOR, batch.mode)[:, None, None]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        kept = network(batch.features, batch.mode)
    masked = batch.spectra * (floor + (1 - floor) * kept.float())
    after = sound_of(masked)[:, SKIPPED:]
    target, before = (x[:, SKIPPED : SKIPPED + after.shape[1]] for x in (batch.clean, batch.noisy))
    power = (target**2).sum(1)

    def residual_db(sound: Tensor) -> Tensor:
        return 10 * torch.log10(((sound - target) ** 2).sum(1) / power + 10 ** (-LOUDEST_DB / 10))

    residual, unprocessed = residual_db(after), residual_db(before)
    squared = masked.real**2 + masked.imag**2
    magnitudes = torch.clamp(squared, min=QUIETEST**2) ** (COMPRESSION / 2)
    lost = 1 + of_mode(LOST, batch.mode)[:, None, None] * (magnitudes < batch.magnitudes)
    compressed = (lost * (magnitudes - batch.magnitudes) ** 2).mean(dim=(1, 2))
    worse = of_mode(weights, batch.mode) * torch.relu(residual - unprocessed)
    return (residual + 8 * compressed + worse).mean(), (unprocessed - residual).detach()


def rate_share(step: int, steps: int) -> float:
    """Give the share of the full learning rate: risen after 100 steps, falling to nothing over all of them."""
    return min((step + 1) / 100, 1 - step / steps)


def train(network: Network, pools: Pools, seed: int, part: Part) -> None:
    """Train for a part, saying every 100 steps what is gained per mode."""
    mixer = Mixer(np.random.default_rng(seed), pools)
    batches = DataLoader(mixer, batch_size=None, num_workers=1, prefetch_factor=4)
    matrices = network.matrices()
    others = [parameter for parameter in network.parameters() if all(parameter is not m for m in matrices)]
    optimisers = (
        torch.optim.Muon(matrices, lr=part.rate * MATRIX_RATE, weight_decay=MATRIX_DECAY),
        torch.optim.Adam(others, lr=part.rate * RATE),
    )
    schedules = [torch.optim.lr_scheduler.LambdaLR(o, lambda step: rate_share(step, part.steps)) for o in optimisers]
    began = time.monotonic()
    gained: list[NDArray[np.float64]] = []
    for step, batch in zip(range(1, part.steps + 1), batches, strict=False):
        loss, gain_db = loss_of(network, batch, part.worse)
        network.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        for stepping in (*optimisers, *schedules):
            stepping.step()
        gained.append(np.array([float(gain_db[batch.mode[:, i] > 0].mean()) for i in range(len(MODES))]))
        if step % 100 == 0:
            means = np.nanmean(gained[-100:], axis=0).round(2)
            said = ", ".join(f"{m} {g:+.2f}" for m, g in zip(MODES, means, strict=True))
            print(f"step {step}, {time.monotonic() - began:.0f} s: dB gained {said}", flush=True)


def main() -> None:
    """Train and write the weights."""
    parser = argparse.ArgumentParser(prog="python -m training.auscultation", description=__doc__)
    default = Path(os.environ.get("BESACE_DATA", "../shared/data")) / "pcg"
    parser.add_argument("--data", type=Path, default=default, help="folder with physionet2016 and hls_cmds")
    parser.add_argument("--synthetic", action="store_true", help="use no recordings at all")
    parser.add_argument("--seed", type=int, default=20250101)
    parser.add_argument("--pool", type=int, default=1200, help="synthetic hearts, lungs and half the noises")
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(mode=True)
    torch.manual_seed(given.seed)
    network, recorded = Network(), ([], []) if given.synthetic else shippable(given.data)
    for number, part in enumerate(PARTS, given.seed):
        train(network, make_pools(np.random.default_rng(number), recorded, given.pool, part.lesson), number + 1, part)
    with torch.no_grad():
        network.gain.bias += CAUTION
    np.savez_compressed(given.out, **network.exported())
    print(f"{given.out}: {given.out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
