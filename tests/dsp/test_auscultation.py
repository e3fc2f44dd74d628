"""The stethoscope's denoiser: its delay, its promises (never louder, any cutting), bad input, the fallback."""

from functools import partial
from importlib import resources
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.dsp import auscultation_mask as masks
from agent.dsp.auscultation import DELAY, AuscultationDenoiser
from agent.dsp.auscultation_features import BINS, FEATURES
from agent.dsp.auscultation_mask import ClassicalMask, TrainedMask
from agent.model import Happening

FS = 4000
WEIGHTS = resources.files("agent.dsp").joinpath("weights", "auscultation.npz")


class Everything:
    """A mask that keeps all: the frame of the denoiser alone."""

    trained = True

    def gains(self, spectra):
        return np.ones(spectra.shape)

    def reset(self):
        pass


def beats(seconds, rate=70, seed=0):
    """Thumps of 50 and 70 Hz in a little steady noise; not the generator the weights were trained with."""
    n = int(seconds * FS)
    y = 1e-4 * np.random.default_rng(seed).standard_normal(n)
    t = np.arange(400) / FS
    for start in np.arange(0.2, seconds - 0.6, 60 / rate):
        for offset, f in ((0, 50), (0.3, 70)):
            at = int((start + offset) * FS)
            y[at : at + 400] += 0.3 * np.sin(np.pi * t / 0.1) ** 2 * np.sin(2 * np.pi * f * t)
    return y


def noise(seconds, seed=1, rms=0.05):
    return rms * np.random.default_rng(seed).standard_normal(int(seconds * FS))


def in_pieces(stage, x, cuts):
    edges = [0, *sorted(cuts), len(x)]
    return np.concatenate([stage.push(x[a:b]) for a, b in pairwise(edges)])


def si_sdr_db(reference, sound):
    scaled = reference * (sound @ reference) / (reference @ reference)
    return 10 * np.log10((scaled @ scaled) / np.sum((sound - scaled) ** 2))


def kinds(stage):
    return [e.kind for e in stage.events()]


# --- delay ----------------------------------------------------------------------------------------------------


def test_delay_is_one_frame_and_nothing_is_lost():
    x = noise(2)
    stage = AuscultationDenoiser(mask=Everything())
    y = stage.push(x)
    assert len(y) == len(x)
    assert stage.delay_s == DELAY / FS <= 0.064
    # But for the removal of what is below 0.5 Hz and the fade-in, all-pass is a pure delay.
    assert np.abs(np.diff(y[DELAY + 64 :] - x[64:-DELAY])).max() < 1e-3 * np.abs(x).max()


@pytest.mark.parametrize("mode", ["heart", "lung", "wide"])
def test_delay_and_look_ahead_together_stay_within_64_ms(mode):
    x = beats(4) + noise(4, rms=0.02)
    other = x.copy()
    other[2 * FS :] = noise(2, seed=9, rms=0.4)
    y, z = (AuscultationDenoiser(mode=mode).push(v) for v in (x, other))
    first = int(np.argmax(y != z))
    assert first >= 2 * FS  # the output counts the delay: nothing before the change may know of it
    lag = int(np.argmax(np.correlate(y[FS : 2 * FS], x[FS - 400 : 2 * FS], "valid")[::-1]))
    assert 400 - lag <= DELAY or lag <= DELAY


# --- any cutting ----------------------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 3000), max_size=12), st.sampled_from(["heart", "lung", "wide"]))
def test_any_cutting_gives_the_same_output_and_events(cuts, mode):
    x = beats(0.75) + noise(0.75)
    x[1000:1010] = 1.0
    x[2000] = np.nan
    whole, cut = AuscultationDenoiser(mode=mode), AuscultationDenoiser(mode=mode)
    assert np.array_equal(whole.push(x), in_pieces(cut, x, cuts))
    assert whole.events() == cut.events()


def test_reset_forgets_everything():
    stage = AuscultationDenoiser()
    first = stage.push(beats(1) + noise(1))
    stage.push(np.full(100, np.nan))
    stage.reset()
    assert np.array_equal(stage.push(beats(1) + noise(1)), first)


# --- promises -------------------------------------------------------------------------------------------------


def octave_powers(x):
    spectrum = np.abs(np.fft.rfft(x * np.hanning(len(x)))) ** 2
    f = np.fft.rfftfreq(len(x), 1 / FS)
    return np.array([spectrum[(f >= low) & (f < 2 * low)].sum() for low in (15.6, 31.2, 62.5, 125, 250, 500, 1000)])


@pytest.mark.parametrize("mode", ["heart", "lung", "wide"])
@pytest.mark.parametrize("seed", range(4))
def test_never_louder_than_the_input_in_any_octave(mode, seed):
    x = beats(4, rate=60 + 20 * seed) + noise(4, seed, rms=0.03 * seed)
    y = AuscultationDenoiser(mode=mode).push(x)
    before, after = octave_powers(x[FS:-DELAY]), octave_powers(y[FS + DELAY :])
    # Switching gains spreads a thousandth of the whole at most into octaves that held less than that.
    assert (after <= 1.02 * before + 1e-3 * before.sum()).all()


@pytest.mark.parametrize("level", [0.0, 0.3, -0.9])
def test_a_constant_gives_no_transient(level):
    y = AuscultationDenoiser().push(np.full(FS, level))
    assert np.abs(y).max() < 1e-9


def test_loudness_does_not_matter():
    x = beats(3) + noise(3)
    loud, quiet = (AuscultationDenoiser().push(g * x) / g for g in (1.0, 0.01))
    assert si_sdr_db(loud[FS:], quiet[FS:]) > 25


needs_weights = pytest.mark.skipif(not WEIGHTS.is_file(), reason="no trained weights in this tree")


@needs_weights
@pytest.mark.parametrize("seed", range(3))
def test_takes_noise_from_a_heart(seed):
    clean = beats(6, rate=66 + 11 * seed)
    noisy = clean + noise(6, seed, rms=np.sqrt(np.mean(clean**2)))
    y = AuscultationDenoiser(mode="heart").push(noisy)
    skip = FS // 2
    before = si_sdr_db(clean[skip:-DELAY], noisy[skip:-DELAY])
    after = si_sdr_db(clean[skip:-DELAY], y[skip + DELAY :])
    assert after > before + 6


@needs_weights
def test_leaves_a_clean_heart_alone():
    clean = beats(6)
    y = AuscultationDenoiser(mode="heart").push(clean)
    assert si_sdr_db(clean[2000:-DELAY], y[2000 + DELAY :]) > 15


# --- bypass ---------------------------------------------------------------------------------------------------


class Halves:
    """A mask that keeps the lower half of the bins and 1 % of the upper."""

    trained = True

    def gains(self, spectra):
        return np.where(np.arange(BINS) < BINS // 2, 1.0, 0.01) * np.ones((len(spectra), 1))

    def reset(self):
        pass


@pytest.mark.parametrize("mode", ["heart", "lung", "wide"])
@pytest.mark.parametrize("clean", [True, False])
def test_what_is_clean_is_left_alone_and_what_is_not_is_not(mode, clean):
    """A tone of 300 Hz that the mask keeps, one of 1500 Hz that it takes for noise, 40 dB below it or 3 dB."""
    low, high = np.sin(2 * np.pi * np.outer((300, 1500), np.arange(8 * FS)) / FS)
    stage = AuscultationDenoiser(mode=mode, mask=Halves())
    y = stage.push(0.3 * low + 0.3 * 10 ** (-(40 if clean else 3) / 20) * high)[4 * FS :]
    spectrum = np.abs(np.fft.rfft(y * np.hanning(len(y))))
    ratio_db = 20 * np.log10(spectrum[1500 * 4] / spectrum[300 * 4])
    assert ratio_db == pytest.approx(-40 if clean else -43, abs=0.5)


# --- gaps -----------------------------------------------------------------------------------------------------


def test_a_gap_advances_the_index_and_starts_without_a_transient():
    stage = AuscultationDenoiser(mask=Everything())
    stage.push(noise(1) + 0.2)
    stage.events()
    stage.gap(1000)
    y = stage.push(np.concatenate([np.full(640, 0.5), np.full(640, np.nan)]))
    assert np.abs(y[:640]).max() < 1e-9  # neither the samples before the gap nor the step at it
    (event,) = stage.events()
    assert event.index == FS + 1000 + 640
    assert event.time_s == event.index / FS


# --- bad input ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_said_once_and_does_not_stay(bad):
    x = beats(3) + noise(3)
    x[1000:1200] = bad
    stage = AuscultationDenoiser()
    y = stage.push(x)
    assert np.isfinite(y).all()
    assert kinds(stage).count(Happening.NOT_FINITE) == 1
    assert np.abs(y[2 * FS :]).max() > 0


def test_clipping_is_said_once_per_episode():
    x = 0.5 * np.sin(2 * np.pi * 60 * np.arange(5 * FS) / FS)
    quiet = AuscultationDenoiser(mask=Everything())
    quiet.push(x)
    assert kinds(quiet) == []
    x[FS : FS + 400] *= 10
    x[4 * FS : 4 * FS + 400] *= 10
    stage = AuscultationDenoiser(mask=Everything())
    stage.push(np.clip(x, -1, 1))
    assert [(e.kind, round(e.time_s)) for e in stage.events()] == [(Happening.CLIPPING, 1), (Happening.CLIPPING, 4)]


def test_silence_is_said_after_a_second_and_not_before():
    stage = AuscultationDenoiser(mask=Everything())
    stage.push(np.zeros(FS - 64))
    assert kinds(stage) == []
    stage.push(np.zeros(FS))
    assert kinds(stage) == [Happening.SILENCE]
    stage.push(noise(0.5, rms=1e-3))
    stage.push(np.zeros(2 * FS))
    assert kinds(stage) == [Happening.SILENCE]


@pytest.mark.parametrize("fs_hz", [0, 2000, 44100, np.nan])
def test_other_rates_are_refused(fs_hz):
    with pytest.raises(ValueError, match="sampling rate"):
        AuscultationDenoiser(fs_hz)


def test_unknown_modes_and_shapes_are_refused():
    with pytest.raises(ValueError, match="abdomen"):
        AuscultationDenoiser(mode="abdomen")
    with pytest.raises(ValueError, match="dimension"):
        AuscultationDenoiser().push(np.zeros((2, 4)))


# --- fallback and weights -------------------------------------------------------------------------------------


def without_weights(monkeypatch, folder):
    monkeypatch.setattr(masks, "files", lambda _package: folder)
    masks.packaged_weights.cache_clear()


@pytest.fixture(autouse=True)
def weights_read_again():
    yield
    masks.packaged_weights.cache_clear()


def of_another_shape():
    """Weights of a network whose last layer does not see the dense one."""
    shapes = dict.fromkeys(masks.WEIGHTS, (2, 2)) | {"dense_w": (2, FEATURES + 3)}
    archive = BytesIO()
    steps = {f"{name}_step": np.ones((2, 1), np.float32) for name in shapes}
    np.savez(archive, **{name: np.ones(shape, np.int8) for name, shape in shapes.items()}, **steps)
    return archive.getvalue()


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 cut short", b"not an archive at all", of_another_shape()])
def test_missing_or_damaged_weights_fall_back_and_say_so(monkeypatch, tmp_path, content):
    if content is not None:
        (tmp_path / "weights").mkdir()
        (tmp_path / "weights" / "auscultation.npz").write_bytes(content)
    without_weights(monkeypatch, tmp_path)
    stage = AuscultationDenoiser(mode="lung")
    (event,) = stage.events()
    assert (event.kind, event.index) == (Happening.FALLBACK, 0)
    y = stage.push(noise(1))
    assert 0 < np.std(y) < np.std(noise(1))


@needs_weights
def test_with_weights_nothing_is_said():
    assert kinds(AuscultationDenoiser()) == []


@needs_weights
def test_weights_fit_and_their_card_names_every_licence():
    assert len(WEIGHTS.read_bytes()) <= 300_000
    card = Path(str(WEIGHTS)).with_name("MODEL_CARD.md").read_text()
    for word in ("ODC-By", "CC BY 4.0", "must not be used", "weakness"):
        assert word in card


def test_masks_stay_within_0_and_1():
    rng = np.random.default_rng(3)
    small = {
        "dense_w": (8, FEATURES + 3), "dense_b": (8,), "input_w": (24, 8), "input_b": (24,),
        "state_w": (24, 8), "state_b": (24,), "gain_w": (BINS, 16), "gain_b": (BINS,),
    }  # fmt: skip
    weights = {name: 3 * rng.standard_normal(shape).astype(np.float32) for name, shape in small.items()}
    for mask in (TrainedMask("heart", weights), TrainedMask("lung", weights), ClassicalMask("heart")):
        for scale in (0.0, 1e-9, 1.0, 1e6):
            gains = mask.gains(scale * np.fft.rfft(rng.standard_normal((3, 256))))
            assert gains.shape == (3, BINS)
            assert ((gains >= 0) & (gains <= 1)).all()


@pytest.mark.parametrize("at_once", [1, 7, 95, 200])
@pytest.mark.parametrize(
    "mask", [partial(masks.mask_for, "heart"), partial(masks.mask_for, "lung"), partial(ClassicalMask, "lung")]
)
def test_gains_are_the_same_however_many_frames_come_at_once(mask, at_once):
    rng = np.random.default_rng(6)
    frames = np.fft.rfft(rng.standard_normal((400, 256)))
    frames[::50, 2:36] *= 30
    whole, cut = mask(), mask()
    pieces = [frames[i : i + at_once] for i in range(0, 400, at_once)]
    assert np.abs(np.concatenate([cut.gains(p) for p in pieces]) - whole.gains(frames)).max() < 1e-5
