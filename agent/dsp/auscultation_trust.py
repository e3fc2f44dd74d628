"""How far the mask of lung sounds is followed: no further than it has shown to tell the body from the room."""

import numpy as np

from agent.dsp.auscultation_features import BIN_HZ, BINS, LEVEL, pieces, summed
from agent.dsp.transforms import Spectra
from agent.model import Floats

KNOWN = slice(6, 45)  # bins, 94 to 700 Hz: where breath, crackles and voices are
CHEST = (np.arange(BINS) * BIN_HZ >= 150) & (np.arange(BINS) * BIN_HZ <= 600)  # where crackles stand out most
STANDS_OUT_DB, ODDS = (10.0, 16.0), (0.0, 8.0)
KEPT, LOWEST_DB = (0.3, 0.55), (-2.5, -15.0)


class Trust:
    """Two rules for a mask that mistakes lung sounds, each a line between two points (np.interp).

    What stands out is let through: by the loudest 4 ms of the frame (150 to 600 Hz) against what is usual (mean level
    of 2 s), STANDS_OUT_DB, the log odds of being kept rise by ODDS. A cough, the patient's own voice and loud crackles
    are louder at the chest piece than a room is; the mask takes them for knocks and talk.

    Who keeps nothing takes little: by the mean share of 94 to 700 Hz that was kept over 2 s, KEPT, the mask may lower
    by LOWEST_DB. In steady noise it is nearly always closed, crackles included, which it cannot hear; where it opens
    and closes it tells breath from talk and may take more.
    """

    def __init__(self) -> None:
        self._sums: Floats = np.zeros(3)  # running: of levels, shares kept and frames

    def of(self, spectra: Spectra, kept: Floats) -> tuple[Floats, Floats]:
        """Give log odds to add and the deepest gain (dB) of the next frames, (n,) each.

        From their spectra (n, 129) and what the mask keeps of the bins KNOWN, (n, 39), within 0..1.
        """
        power = pieces(spectra * CHEST)
        frames = np.ones((len(spectra), 3))
        frames[:, 0] = np.log10(power.mean(axis=1))
        frames[:, 1] = kept.mean(axis=1)
        self._sums = summed(frames, LEVEL, self._sums)
        usual, share = frames[:, 0] / frames[:, 2], frames[:, 1] / frames[:, 2]
        stands_out_db = 10 * (np.log10(power.max(axis=1)) - usual)
        return np.interp(stands_out_db, STANDS_OUT_DB, ODDS), np.interp(share, KEPT, LOWEST_DB)
