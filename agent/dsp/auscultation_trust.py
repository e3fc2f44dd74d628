"""How far the mask of lung sounds is followed: no further than it has shown to tell the body from the room."""

import numpy as np

from agent.dsp.auscultation_features import BIN_HZ, BINS, LEVEL, TINY, pieces, summed
from agent.dsp.transforms import Spectra
from agent.model import Floats

KNOWN = slice(6, 25)  # bins, 94 to 390 Hz: where most of breath is
CHEST = ((np.arange(BINS) * BIN_HZ >= 150) & (np.arange(BINS) * BIN_HZ <= 600)) * 1.0  # where crackles stand out most
NEIGHBOURS = 4  # bins on either side
ROUGH = slice(6, 64)  # bins, 94 to 1000 Hz
AROUND = slice(ROUGH.start - NEIGHBOURS, ROUGH.stop + NEIGHBOURS)
ODDS = 8.3
DEEPEST_DB, LOUD_LOWEST_DB, QUIET_LOWEST_DB = -18.0, -7.0, (-6.4, -2.1)
# From no to yes, over which measures: what stands out is let through, rough, short, no quieter than usual, loud, kept.
LINES = np.array([(10.5, 16.4), (1.2, 2.6), (8.7, 10.0), (1.3, 2.3), (11.5, 13.0), (0.38, 0.65)])
FROM, SLOPE = LINES[:, 0], 1 / (LINES[:, 1] - LINES[:, 0])


def neighbours_matrix() -> Floats:
    """Mean power about each of the bins ROUGH, from the power of the bins AROUND, shape (66, 58)."""
    bins = np.arange(BINS)
    return (abs(bins[AROUND, None] - bins[ROUGH]) <= NEIGHBOURS) / (2 * NEIGHBOURS + 1)


class Trust:
    """Two rules for a mask that mistakes lung sounds, from three measures of each frame.

    `stands out`: its loudest 4 ms (150 to 600 Hz) against the mean level of 2 s; `rough`: how far the mean log power of
    single bins lies below that of their neighbourhoods (94 to 1000 Hz): about 2 dB in noise, more in a voice, less in
    what is shorter than the frame; `short`: its loudest 4 ms against its mean.

    What stands out and is rough or short is let through: its log odds of being kept rise by up to ODDS. Such are loud
    crackles and, loud at the chest piece, a patient's own voice and cough, which the mask takes for knocks and talk.
    Rubbing, scrapes of a few ms, stands out too but is less of either. Whatever stands out is lowered by
    LOUD_LOWEST_DB at most.

    A mask that kept little for 2 s (share of KNOWN) may lower little, by QUIET_LOWEST_DB: in steady noise it is nearly
    always closed, and crackles no louder than that noise are closed with it. One that opens and closes tells breath
    from talk and may lower by DEEPEST_DB.
    """

    def __init__(self) -> None:
        self._about = neighbours_matrix()
        self._sums: Floats = np.zeros(3)  # running: of levels, shares kept and frames

    def of(self, spectra: Spectra, kept: Floats) -> tuple[Floats, Floats]:
        """Give log odds to add and the deepest gain (dB) of the next frames, (n,) each.

        From their spectra (n, 129) and what the mask keeps of the bins KNOWN, (n, 19), within 0..1.
        """
        heard = pieces(spectra * CHEST)
        mean, loudest = np.log10(np.add.reduce(heard, axis=1) / heard.shape[1]), np.log10(heard.max(axis=1))
        frames = np.ones((len(spectra), 3))
        frames[:, 0] = mean
        frames[:, 1] = kept.mean(axis=1)
        self._sums = summed(frames, LEVEL, self._sums)
        stands_out_db = 10 * (loudest - frames[:, 0] / frames[:, 2])
        near = spectra[:, AROUND]
        power = near.real**2 + near.imag**2 + TINY
        own = power[:, NEIGHBOURS:-NEIGHBOURS]
        rough_db = 10 * np.log10(np.vecmat(power, self._about) / own).mean(axis=1)
        measures = np.empty((len(LINES), len(spectra)))
        measures[0] = measures[3] = measures[4] = stands_out_db
        measures[1], measures[2], measures[5] = rough_db, 10 * (loudest - mean), frames[:, 1] / frames[:, 2]
        yes = np.minimum(np.maximum((measures.T - FROM) * SLOPE, 0.0), 1.0)
        through, rough, short, usual, loud, followed = yes.T
        lowest_db = QUIET_LOWEST_DB[0] + (QUIET_LOWEST_DB[1] - QUIET_LOWEST_DB[0]) * usual
        lowest_db += (DEEPEST_DB - lowest_db) * followed
        lowest_db = np.maximum(lowest_db, DEEPEST_DB + (LOUD_LOWEST_DB - DEEPEST_DB) * loud)
        return ODDS * through * np.maximum(rough, short), lowest_db
