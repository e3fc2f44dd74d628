"""Treated sound at the hub: a denoiser per stream, its mode by the bell's place, dated as what it was made from."""

from dataclasses import replace

import numpy as np
import pytest

from agent.dsp import AuscultationDenoiser
from agent.model import SampleBlock, Signal, Stream
from hub.treated import Treated

SOUND = Stream("scope.sound", Signal.SOUND, "scope", 4000.0, 1 / 32768, "1", "mitral")
NOISE = np.random.default_rng(7).integers(-3000, 3000, 20_000).astype(np.int32)


def block(at, n, t_ns=None):
    return SampleBlock("scope.sound", at, at * 250_000 if t_ns is None else t_ns, NOISE[at : at + n])


def heard_of(*blocks, stream=SOUND):
    heard = []
    treated = Treated(lambda t_ns, fs_hz, values: heard.append((t_ns, fs_hz, values)))
    for one in blocks:
        treated.push(stream, one)
    return heard


@pytest.mark.parametrize(("site", "mode"), [("mitral", "heart"), ("lung_left_base", "lung"), (None, "wide")])
def test_it_is_what_the_denoiser_of_that_place_makes_of_it(site, mode):
    heard = heard_of(*(block(at, 2000) for at in range(0, 20_000, 2000)), stream=replace(SOUND, lead=site))
    expected = AuscultationDenoiser(4000, mode).push(NOISE / 32768)
    got = np.concatenate([values for _, _, values in heard])
    assert np.array_equal(got, expected)
    assert np.std(got[8000:]) < 0.8 * np.std(NOISE / 32768)  # it is treated, not passed through


def test_its_time_is_that_of_the_sound_it_was_made_from():
    """A click comes out at its own time, not when the denoiser let go of it."""
    click = np.zeros(8000, np.int32)
    click[5000] = 30_000
    heard = []
    treated = Treated(lambda t_ns, _, values: heard.append((t_ns, values)))
    for at in range(0, 8000, 800):
        treated.push(SOUND, SampleBlock("scope.sound", at, 10**9 + at * 250_000, click[at : at + 800]))
    times = np.concatenate([t_ns + np.arange(len(v)) * 250_000 for t_ns, v in heard])
    values = np.abs(np.concatenate([v for _, v in heard]))
    assert times[values.argmax()] == pytest.approx(10**9 + 5000 * 250_000, abs=250_000)


def test_a_gap_restarts_the_frames_and_late_sound_is_not_heard():
    assert len(heard_of(block(0, 4000), block(8000, 4000))) == 2
    assert len(heard_of(block(4000, 4000), block(0, 4000))) == 1


def test_another_place_begins_anew():
    heard = []
    treated = Treated(lambda *one: heard.append(one))
    treated.push(SOUND, block(0, 4000))
    treated.push(replace(SOUND, lead="lung_left_base"), block(4000, 4000))
    assert len(heard) == 2
