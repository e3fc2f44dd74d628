"""Stethoscope sound without the room: a causal short-time mask over heart, lung or whole chest sounds.

The mask itself (which of 129 frequency bins to keep, 62.5 times a second) is in auscultation_mask.py; its trained
weights are package data with a model card beside them.
"""

from enum import Enum
from math import isfinite, log10

import numpy as np
from numpy.typing import NDArray

from agent.dsp.auscultation_features import FRAME, FS_HZ, HOP, TINY, WINDOW, kept_over
from agent.dsp.auscultation_mask import Mask, mask_for
from agent.dsp.filters import filtered
from agent.dsp.heart_sounds import HeartSounds
from agent.dsp.stream import as_samples, check_rate
from agent.dsp.trailing import shifted, windows
from agent.dsp.transforms import Spectra, irfft, rfft
from agent.model import Floats, Happening, StageEvent

__all__ = ["AuscultationDenoiser", "HeartSounds", "Mode"]

DELAY = FRAME - 1
OVERLAP = FRAME // HOP
SYNTHESIS = WINDOW * (2 * HOP / FRAME)  # the squared windows add up to 1
FULL_SCALE = 1.0
CLIPPED = 0.999 * FULL_SCALE
CLIPPED_SAMPLES = 3
SILENT = 1e-5 * FULL_SCALE
SILENT_HOPS = 63  # one second
QUIET_HOPS = 63  # an episode of clipping ends after one second without it
FADE = np.sin(np.pi / 2 * np.arange(HOP, dtype=np.float32) / HOP) ** 2  # the first hop, after a gap too
OFFSET_HZ = 0.5
OFFSET_FILTER = np.array([1.0, -1.0]), np.array([1.0, 2 * np.pi * OFFSET_HZ / FS_HZ - 1])


class Mode(Enum):
    """What the doctor listens for."""

    HEART = "heart"
    LUNG = "lung"
    WIDE = "wide"


CLEAN_DB, CLEANEST_DB = 24.0, 30.0
STEP = 1 - kept_over(4.0)


class Bypass:
    """Opens the mask where the mask itself finds hardly any noise: what is clean is left alone.

    Sound is what the mask keeps, noise what it takes, both as power over about 4 s. Where they are 24 to 30 dB
    apart the gains rise to 1.
    """

    def __init__(self) -> None:
        self._sound = self._noise = 0.0

    def opened(self, spectra: Spectra, gains: Floats) -> Spectra:
        """Give what the mask keeps of the next frames, and what it takes as far as they are clean."""
        kept = spectra * gains
        taken = spectra - kept
        shares = []
        sounds, noises = (np.vecdot(part, part).real.tolist() for part in (kept, taken))
        for sound, noise in zip(sounds, noises, strict=True):  # plain numbers: two at a time are no work for arrays
            self._sound += STEP * (sound - self._sound)
            self._noise += STEP * (noise - self._noise)
            clean_db = 10 * log10((self._sound + TINY) / (self._noise + TINY))
            shares.append(min(max((clean_db - CLEAN_DB) / (CLEANEST_DB - CLEAN_DB), 0.0), 1.0))
        return kept + np.array(shares)[:, None] * taken if any(shares) else kept


class AuscultationDenoiser:
    """Keeps body sounds, lowers what else the microphone heard; never louder than its input.

    In: sound at 4 kHz, shape (n,), 1.0 = full scale. Out: the same number of samples, `delay_s` later.
    Short-time Fourier transform of 64 ms every 16 ms with root-Hann windows, one gain within 0..1 per bin,
    overlap-add; gains open where the sound is clean (Bypass). The slowly varying offset (< 0.5 Hz) is removed.
    `gap` restarts the frames and keeps what was learnt of the room. `mask`: another one than `mask_for(mode)` gives.

    Events: FALLBACK once at the start when the mask is the classical one, CLIPPING, SILENCE (a second below
    -100 dB of full scale) and NOT_FINITE (such samples count as zero), each once per episode.

    Raises ValueError for another rate than 4 kHz, an unknown mode or a block that is not one-dimensional.
    """

    _events: list[StageEvent]
    _pending: Floats  # samples of a hop that is not complete
    _past: Floats
    _frames: Floats  # of the output, the last before the next
    _ready: Floats
    _offset: Floats | None  # state of the offset filter; None: starts with the next hop

    def __init__(self, fs_hz: float = FS_HZ, mode: Mode | str = Mode.HEART, mask: Mask | None = None) -> None:
        check_rate(fs_hz, FS_HZ, FS_HZ)
        self.mode = Mode(mode)
        self._mask = mask or mask_for(self.mode.value)
        self.reset()

    @property
    def delay_s(self) -> float:
        """How far the output lags the input: one frame."""
        return DELAY / FS_HZ

    def reset(self) -> None:
        """Forget everything; the next sample is index 0."""
        self._index = 0
        self._events = [] if self._mask.trained else [StageEvent(0, 0.0, Happening.FALLBACK)]
        self._mask.reset()
        self._bypass = Bypass()
        self._silent_hops = 0
        self._since_clipping = QUIET_HOPS
        self._since_not_finite = QUIET_HOPS
        self._restart()

    def gap(self, n: int) -> None:
        """Skip `n` lost samples: the index advances, the frames restart from nothing."""
        self._index += len(self._pending) + n
        self._restart()

    def events(self) -> list[StageEvent]:
        """Take what happened since the last call."""
        taken, self._events = self._events, []
        return taken

    def push(self, block: NDArray[np.float64], /) -> Floats:
        """Take the next samples, give as many, `delay_s` late."""
        x = as_samples(block)
        self._pending = np.concatenate([self._pending, x])
        whole = len(self._pending) // HOP * HOP
        if whole:
            self._ready = np.concatenate([self._ready, self._hops(self._pending[:whole])])
            self._pending = self._pending[whole:]
        out, self._ready = self._ready[: len(x)], self._ready[len(x) :]
        return out

    def _restart(self) -> None:
        self._pending = np.zeros(0)
        self._past = np.zeros(FRAME - HOP)
        self._frames = np.zeros((OVERLAP - 1, FRAME))
        self._ready = np.zeros(HOP - 1)  # what one pushed sample may ask for before its hop is complete
        self._offset = None

    def _hops(self, x: Floats) -> Floats:
        """Denoise whole hops; all bookkeeping is per hop, so the cutting of the input cannot matter."""
        x = self._without_offset(self._watched(x))
        past = np.concatenate([self._past, x])
        self._past = past[-(FRAME - HOP) :]
        spectra = rfft(windows(past, FRAME)[::HOP] * WINDOW)
        kept = self._bypass.opened(spectra, self._mask.gains(spectra))
        frames = np.concatenate([self._frames, irfft(kept) * SYNTHESIS])
        self._frames = frames[-(OVERLAP - 1) :]
        first, second, third, fourth = shifted(frames, OVERLAP)
        out = first[:, 3 * HOP :] + second[:, 2 * HOP : 3 * HOP] + third[:, HOP : 2 * HOP] + fourth[:, :HOP]
        return np.asarray(out).reshape(-1)

    def _without_offset(self, x: Floats) -> Floats:
        """First-order high-pass at 0.5 Hz that starts settled on the first hop's mean, faded in over that hop."""
        starts = self._offset is None
        state = np.array([-x[:HOP].mean()]) if self._offset is None else self._offset
        y: Floats
        y, self._offset = filtered(OFFSET_FILTER, x, state)
        if starts:
            y[:HOP] *= FADE
        return y

    def _watched(self, x: Floats) -> Floats:
        """Note clipping, silence and values that are no numbers, once per episode; such values become zero."""
        level = np.abs(x).reshape(-1, HOP)
        peaks = level.max(axis=1).tolist()
        whole = [isfinite(peak) for peak in peaks]  # a maximum is no number as soon as one value is none
        if not all(whole):
            x = np.where(np.isfinite(x), x, 0.0)
            level = np.abs(x).reshape(-1, HOP)
            peaks = level.max(axis=1).tolist()
        for values, peak, good in zip(level, peaks, whole, strict=True):
            self._index += HOP
            clipped = peak >= CLIPPED and np.count_nonzero(values >= CLIPPED) >= CLIPPED_SAMPLES
            if clipped and self._since_clipping >= QUIET_HOPS:
                self._note(Happening.CLIPPING)
            if not good and self._since_not_finite >= QUIET_HOPS:
                self._note(Happening.NOT_FINITE)
            self._since_clipping = 0 if clipped else self._since_clipping + 1
            self._since_not_finite = self._since_not_finite + 1 if good else 0
            self._silent_hops = self._silent_hops + 1 if peak < SILENT else 0
            if self._silent_hops == SILENT_HOPS:
                self._note(Happening.SILENCE)
        return x

    def _note(self, kind: Happening) -> None:
        start = self._index - HOP
        self._events.append(StageEvent(start, start / FS_HZ, kind))
