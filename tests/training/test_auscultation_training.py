"""What the stethoscope's mask is trained on: generators, held-out recordings, features equal to the agent's."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agent.dsp.auscultation_features import Features
from training import recordings
from training.body_sounds import FS_HZ, USUAL, burst, crackle, heart, lung
from training.frames import features_of, spectra_of
from training.mixing import CLEANEST_DB, SNR_DB, Lesson, Pools, make_pools, noise_gain, sources
from training.room_noises import KINDS, noise

PCG = Path(os.environ.get("BESACE_DATA", Path(__file__).parents[2].parent / "shared" / "data")) / "pcg"


@pytest.mark.parametrize("make", [lambda r: heart(r, 3)[0], lambda r: lung(r, 3), lambda r: noise(r, 3)])
def test_generators_are_finite_fill_the_time_and_repeat_with_the_seed(make):
    for seed in range(5):
        x = make(np.random.default_rng(seed))
        assert len(x) == 3 * FS_HZ
        assert np.isfinite(x).all()
        assert x.std() > 0.1
        assert np.array_equal(x, make(np.random.default_rng(seed)))
    assert not np.array_equal(make(np.random.default_rng(1)), make(np.random.default_rng(2)))


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.__name__)
def test_every_noise_is_finite(kind):
    for seed in range(3):
        y = kind(np.random.default_rng(seed), 2 * FS_HZ)
        assert len(y) == 2 * FS_HZ
        assert np.isfinite(y).all()


def test_heart_times_lie_where_the_sound_is():
    """More power within 80 ms of the stated S1 and S2 than elsewhere, for most hearts (murmurs lie between)."""
    better = 0
    for seed in range(20):
        x, first, second = heart(np.random.default_rng(seed), 6)
        t = np.arange(len(x)) / FS_HZ
        near = np.min(np.abs(t[:, None] - np.concatenate([first, second])), axis=1) < 0.08
        better += np.mean(x[near] ** 2) > np.mean(x[~near] ** 2)
    assert better >= 15


def test_crackles_have_the_published_shape():
    """Two cycles within twice the longest published 2CD, fine shorter than coarse (Sovijarvi 2000)."""
    rng = np.random.default_rng(0)

    def width_s(coarse):
        y = crackle(rng, coarse=coarse)
        return np.flatnonzero(np.abs(y) > 0.1)[-1] / FS_HZ

    fine, coarse = (np.mean([width_s(c) for _ in range(30)]) for c in (False, True))
    assert 0.002 < fine < coarse < 0.026
    assert len(burst(rng)) <= 0.5 * FS_HZ


LESSON = Lesson(USUAL, nearly_clean=0.15, clean_db=18.0)


def small_pools():
    return make_pools(np.random.default_rng(0), ([], []), 3, LESSON)


def test_sources_have_the_drawn_modes_and_unit_power():
    pools: Pools = small_pools()
    rng = np.random.default_rng(1)
    drawn = [sources(rng, pools) for _ in range(40)]
    assert {d[0] for d in drawn} == {0, 1, 2}
    for _, clean, dirt in drawn:
        assert len(clean) == len(dirt)
        assert clean.std() == pytest.approx(1, abs=0.01)
        assert dirt.std() == pytest.approx(1, abs=0.01)


def test_noise_gains_span_the_stated_range():
    rng = np.random.default_rng(1)
    snr_db = [-20 * np.log10(noise_gain(rng, LESSON)) for _ in range(500)]
    low, high = SNR_DB
    inside = [s for s in snr_db if low <= s <= high]
    assert min(inside) < low + 1
    assert max(inside) > high - 1
    nearly_clean = [s for s in snr_db if s > high]
    assert len(nearly_clean) / len(snr_db) == pytest.approx(LESSON.nearly_clean, abs=0.05)  # what must be left alone
    assert min(nearly_clean) < 20
    assert CLEANEST_DB - 1 < max(nearly_clean) <= CLEANEST_DB
    assert len(inside) + len(nearly_clean) == len(snr_db)


def test_a_copy_of_a_held_out_recording_is_recognised():
    rng = np.random.default_rng(2)
    a, b = rng.standard_normal((2, 8000))
    assert recordings.same(np.roll(a, 500) * 0.3 + 0.1 * b, a)
    assert not recordings.same(a, b)


@pytest.mark.skipif(not (PCG / "hls_cmds").exists(), reason="no recordings beside the project")
def test_only_shippable_recordings_are_read(monkeypatch):
    read = []

    def note(path):
        read.append(path.relative_to(PCG))
        return np.random.default_rng(len(read)).standard_normal(400)

    monkeypatch.setattr(recordings, "load", note)
    hearts, lungs = recordings.shippable(PCG)
    assert hearts or lungs
    assert {p.parts[0] for p in read} == {"physionet2016", "hls_cmds"}


def spectra():
    rng = np.random.default_rng(3)
    return spectra_of(0.05 * rng.standard_normal((2, 64 * 120)) * np.repeat([1.0, 0.1, 1.0], 64 * 40))


def test_features_of_sounds_side_by_side_are_those_of_each_alone():
    batch = features_of(spectra())
    for one, expected in zip(spectra(), batch.swapaxes(0, 1), strict=True):
        alone = Features()
        assert np.abs(alone.of(one[:, None])[:, 0] - expected).max() < 1e-5


def test_training_lowers_the_loss_and_repeats_with_the_seed():
    pytest.importorskip("torch", reason="the extra `training` is not installed")
    import torch

    from training.auscultation import PARTS, Mixer, Network, loss_of, train

    torch.set_num_threads(1)
    pools = small_pools()

    def trained(steps):
        torch.manual_seed(0)
        network = Network()
        train(network, pools, 1, replace(PARTS[0], steps=steps))
        return network

    first, second = trained(3), trained(3)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    batch = Mixer(np.random.default_rng(9), pools, size=8).draw()

    def loss(steps):
        return loss_of(trained(steps)(batch.features, batch.mode), batch, PARTS[0].worse)[0]

    assert loss(12) < loss(1)
