"""R-peaks of any ECG lead, found while it comes in."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from agent.dsp.filters import Floats
from agent.dsp.heart_rate import SILENCE_S, HeartRate
from agent.dsp.lead_watch import LeadWatch
from agent.dsp.qrs_decision import Decision, Network, Wave
from agent.dsp.qrs_features import Peaks, QrsFrontEnd
from agent.dsp.stream import as_samples, check_rate
from agent.model import Beat, Happening, NoValue, Rate, StageEvent

OUT_OF_RANGE_MV = 1e4  # no front end gives ten volts: such a number, NaN and infinity are no samples
STEADY_SHARE = 0.9  # of RR intervals near their median
MOST_DOUBT = ((STEADY_SHARE, 0.32), (0.6, 0.0175), (0.0, 0.007))  # below it times background; set on records held out
LATEST_S = 0.55  # by when any beat is confirmed
MOST_S = 30.0  # of samples taken at once
HELD_S = 0.05  # a longer run of no samples is a gap


class RPeakDetector:
    """Finds R-peaks in one ECG lead: (n,) in mV at 100-2000 Hz, of any gain, polarity and lead, raw or filtered.

    `push` gives the beats it confirms, in order: `index` is the sample of the R-peak, `confidence` is the network's
    probability. A beat is confirmed `delay_s` (0.19 s) after its R-peak for a QRS of 80 ms, some 30 ms later for a
    wide one; `late` beats took a second look (qrs_decision.py). The same beats come out for any cutting of the input.
    Fast waves without a line between them, as in ventricular flutter, are no beats and are not given.

    `rate` is read as a monitor reads it (heart_rate.py), such waves included, None with a reason when they or the
    beats are not to be trusted. `events` gives NO_BEATS after 4 s without a beat or such a wave, LEAD_OFF, SATURATED,
    LEAD_ON, NOT_FINITE and, from 1 kHz, PACING_SPIKE. None of them is a diagnosis.

    Source: own. Band-pass, slope, square and smoothing follow Pan and Tompkins (1985); their thresholds are replaced
    by features of two bands weighed by a small network (qrs_decision.py), their search-back is at 1.3 RR, and R is
    an extremum of the low-passed wave, not of an envelope.

    `network`: other weights than the shipped ones, for cross-validation.
    """

    def __init__(self, fs_hz: float, *, network: Network | None = None) -> None:
        self.fs_hz = check_rate(fs_hz, 100.0, 2000.0)
        self._front = QrsFrontEnd(self.fs_hz)
        self._watch = LeadWatch(self.fs_hz)
        self._decision = Decision(self.fs_hz, network or Network.shipped())
        self._rate = HeartRate()
        self._held_most = round(HELD_S * self.fs_hz)
        self._most = round(MOST_S * self.fs_hz)
        self._silence = round(SILENCE_S * self.fs_hz)
        self._latest = round(LATEST_S * self.fs_hz)
        self.delay_s = self._front.delay_s
        self.reset()

    def reset(self) -> None:
        """Forget everything; the next sample is index 0."""
        self._next = 0
        self._held = 0.0
        self._missing = 0  # samples of the present run that were none
        self._events: list[StageEvent] = []
        self._decision.reset()
        self._rate.reset()
        self._restart()

    def gap(self, n: int) -> None:
        """Skip `n` lost samples; ValueError when negative."""
        if n < 0:
            raise ValueError(f"a gap of {n} samples")
        self._next += n
        self._restart()

    def events(self) -> list[StageEvent]:
        """Take what happened since the last call."""
        events, self._events = self._events, []
        return events

    def rate(self) -> Rate:
        """Return the heart rate now, None with the reason when there is none or it is not sure."""
        if self._watch.off:
            return Rate(None, NoValue.LEAD_OFF)
        if self._watch.saturated:
            return Rate(None, NoValue.SATURATED)
        rate = self._rate.rate(self._next / self.fs_hz)
        if rate.bpm is None:
            return rate
        steady, doubt = self._rate.steady(), self._decision.doubt
        if steady < STEADY_SHARE:  # then one beat too many or too few changes the median, and noise makes them
            doubt *= self._decision.background
        most = next(most for share, most in MOST_DOUBT if steady >= share)
        return Rate(None, NoValue.UNSURE) if doubt > most else rate

    def push(self, block: ArrayLike) -> list[Beat]:
        """Take samples (n,) in mV; give the beats they confirm."""
        x = as_samples(block)
        if not x.size:
            return []
        if x.size > self._most:  # what is kept of a block stays small
            return [beat for k in range(0, x.size, self._most) for beat in self.push(x[k : k + self._most])]
        if np.maximum.reduce(np.abs(x)) < OUT_OF_RANGE_MV:  # false for NaN too
            return self._samples(x)
        beats: list[Beat] = []
        for known, part in _runs(x):
            beats += self._samples(part) if known else self._none(len(part))
        return beats

    def finish(self) -> list[Beat]:
        """Give what the last samples would still have confirmed; after it only reset() is allowed.

        An R-peak in the last 50 ms is not told: half a QRS and the end of a recording look the same.
        """
        found = self._decide(self._front.finish()) + self._decision.settle()
        return self._take([one for one in found if one.index < self._next - self._held_most])

    def _restart(self) -> None:
        self._heard, self._silent = self._next, False  # the newest beat or wave, or the start; told of silence
        self._front.restart(self._next)
        self._watch.restart()
        self._watch_start = self._next
        self._decision.interrupt()
        self._rate.interrupt()

    def _none(self, n: int) -> list[Beat]:
        """Take `n` samples that are none: a short run is bridged with the last good one, a longer one is a gap."""
        if not self._missing:
            self._tell(self._next, Happening.NOT_FINITE)
        bridged = max(0, min(n, self._held_most - self._missing))
        self._missing += n
        beats = self._feed(np.full(bridged, self._held)) if bridged else []
        self._watch_start += bridged  # the watch has not seen them
        self._next += n - bridged
        return beats

    def _samples(self, x: Floats) -> list[Beat]:
        if self._missing:
            if self._missing > self._held_most:
                self._restart()
            self._missing = 0
        self._held = float(x[-1])
        beats: list[Beat] = []
        done = 0
        happened = self._watch.push(x)
        begun, base = self._next, self._watch_start
        for at, what in happened:
            self._tell(base + at, what)
            if what is not Happening.PACING_SPIKE:  # the step to or from a limit is no beat: join on without it
                cut = max(done, base + at - begun)
                beats += self._feed(x[done:cut])
                done = cut
                self._front.restart(self._next)
                self._decision.interrupt()
                self._rate.interrupt()
        return beats + self._feed(x[done:])

    def _feed(self, x: Floats) -> list[Beat]:
        self._next += len(x)
        beats = self._take(self._decide(self._front.push(x)))
        beats += self._take(self._decision.advance(self._next - self._front.confirm))
        if not self._silent and self._next > self._heard + self._silence + self._latest:
            self._no_beats()
        return beats

    def _decide(self, found: Peaks | None) -> list[Beat | Wave]:
        if found is None:
            return []
        candidates = self._front.describe(found.after(self._decision.faint(found)))
        return self._decision.decide(candidates) if candidates else []

    def _take(self, found: list[Beat | Wave]) -> list[Beat]:
        for one in found:
            if not self._silent and one.index > self._heard + self._silence:
                self._no_beats()
            self._heard, self._silent = one.index, False
            self._rate.beat(one.time_s)
        return [one for one in found if isinstance(one, Beat)]

    def _no_beats(self) -> None:
        self._silent = True
        self._tell(self._heard + self._silence, Happening.NO_BEATS)

    def _tell(self, index: int, what: Happening) -> None:
        self._events.append(StageEvent(index, index / self.fs_hz, what))


def _runs(x: Floats) -> Iterator[tuple[bool, Floats]]:
    """Give the stretches of samples and of no samples in turn."""
    known = np.abs(x) < OUT_OF_RANGE_MV
    edges = [0, *(np.flatnonzero(known[1:] != known[:-1]) + 1).tolist(), len(x)]
    for start, stop in pairwise(edges):
        yield bool(known[start]), x[start:stop]
