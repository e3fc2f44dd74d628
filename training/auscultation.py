"""Train the stethoscope's mask: `python -m training.auscultation [--data FOLDER]`, fixed seed, under an hour on a CPU.

One process makes mixtures while another trains on them in half precision; matrices by Muon (Jordan 2024:
orthogonalised momentum), which takes a fifth of the steps that Adam takes to the same gain here, all else by Adam.
What is learnt: mask_network.py; by what loss: mask_loss.py; from which sounds: mixing.py. In two parts (PARTS).
"""

import argparse
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from agent.dsp.auscultation import FADE
from agent.dsp.auscultation_features import HOP
from agent.dsp.auscultation_mask import MODES
from training.body_sounds import USUAL, Hearts
from training.frames import features_of, spectra_of
from training.mask_loss import COMPRESSION, QUIETEST, Batch, loss_of
from training.mask_network import Network
from training.mixing import Lesson, Pools, make_pools, noise_gain, sources
from training.recordings import shippable

BATCH = 24
RATE, MATRIX_RATE, MATRIX_DECAY = 2.5e-3, 0.015, 0.02
REMIXES = 4


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the training: steps, share of the full rates, how what is made worse weighs by mode, the lesson."""

    steps: int
    rate: float
    worse: dict[str, float]
    lesson: Lesson


PARTS = (  # first what is noise, then, at small rates, what is not: murmurs, slow hearts, sounds that ring
    Part(14000, 1.0, {"heart": 2.0, "lung": 6.0, "wide": 2.0}, Lesson(USUAL, nearly_clean=0.15, clean_db=18.0)),
    Part(
        1800,
        0.15,
        {"heart": 4.0, "lung": 6.0, "wide": 3.0},
        Lesson(Hearts(murmurs=0.65, loud=0.5, ringing=0.3), nearly_clean=0.2, clean_db=15.0),
    ),
)
WEIGHTS = Path(__file__).parent.parent / "agent" / "dsp" / "weights" / "auscultation.npz"


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
            magnitudes = np.abs(self._spectra[0])
            self._unit = np.sqrt((magnitudes**2).mean(axis=(1, 2), keepdims=True))
            self._magnitudes = np.maximum((magnitudes / self._unit) ** COMPRESSION, QUIETEST)
            self._target = self._clean / self._unit[:, :, 0]
            self._served = 0
        self._served += 1
        others = rng.permutation(self._size)
        gain = np.array([[noise_gain(rng, self._pools.lesson)] for _ in others], dtype=np.float32)
        level = 10 ** (rng.uniform(-45, -15, (self._size, 1, 1)).astype(np.float32) / 20)
        noisy = self._clean + gain * self._dirt[others]
        spectra = self._spectra[0] + gain[:, :, None] * self._spectra[1][others]
        heard = spectra / self._unit
        sounds = noisy / self._unit[:, :, 0], self._target
        magnitudes = np.abs(heard) ** COMPRESSION, self._magnitudes
        made = features_of(level * spectra), self._mode, *sounds, heard, *magnitudes
        return Batch(*map(torch.from_numpy, made))


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
    gained: list[list[float]] = []
    for step, batch in zip(range(1, part.steps + 1), batches, strict=False):
        loss, gain_db = loss_of(network(batch.features, batch.mode), batch, part.worse)
        network.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        for stepping in (*optimisers, *schedules):
            stepping.step()
        gained.append([float(gain_db[batch.mode[:, i] > 0].mean()) for i in range(len(MODES))])
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
        np.savez_compressed(given.out, **network.exported())
        print(f"{given.out}: {given.out.stat().st_size / 1000:.0f} kB", flush=True)


if __name__ == "__main__":
    main()
