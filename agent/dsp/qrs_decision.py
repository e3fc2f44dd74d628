"""Which candidates are QRS complexes: levels, shapes and rhythm, weighed by a small network.

Candidates come in order of time, and each is decided once, from

- what the front end saw of it in both bands (`qrs_features.Candidates.features`, computed a block at a time), and
- what it is in the light of the decisions before: against the running levels of beats and of rejected candidates,
  the last beat (a T wave is near and flatter), the two running QRS shapes, the rhythm, the best rejected rival.

The network has one hidden layer of 96; its table is made by training/ecg.py, which also states data and licence.
A candidate no surer than 3 to 1 (12 to 1 when it is small) waits up to 0.28 s for a better one, so that a tall P wave
gives way to its QRS; it is a beat when none comes. A pause of 1.3 RR brings back the best rejected candidate in it
(search-back). Beats found in either way are flagged late.

Fast waves without a line between them (ventricular flutter, some tachycardias) are accepted like beats, and the rate
rests on them, but a wave is no QRS: it is told as a Wave. A candidate is one when the slope before it hardly rests and
it is slow for its interval, as those before it were, unless the network is sure of a QRS.
"""

from collections import deque
from dataclasses import dataclass
from functools import cache
from importlib import resources
from math import exp, inf, log, sqrt
from operator import attrgetter
from struct import Struct
from typing import IO

import numpy as np
from numpy.typing import NDArray

from agent.dsp.qrs_features import MEDIAN_PAST, N_STATIC, QUARTER_PAST, SIZE, Candidates, Peaks
from agent.model import Beat

Floats = NDArray[np.float64]

NAMES = ("hidden", "bias", "out", "out_bias")  # of a network's tables
LIMIT = 8.0  # of log odds: surer than that is not known
N_DYNAMIC = 31
SHAPE_POINTS = 21
_PACKED = Struct(f"{N_DYNAMIC}d")
REFRACTORY_S = 0.15
LATE_RR = 1.3  # a pause of so many RR intervals is searched
LATE_AFTER_S = 0.3  # when a candidate at its end has had the time to be confirmed
LATEST_PAUSE_S = 3.9  # or so many seconds, so that silence is told after it
REMEMBERED = 64  # rejected candidates: more than fit in such a pause
LATE_LOG_ODDS = -1.5  # what a candidate must have to come back
DOUBT_LOG_ODDS = 1.0  # a beat no surer than this waits,
DOUBT_SMALL_LOG_ODDS = 2.5  # or than this when smaller than beats are in both bands, as P waves are,
DOUBT_S = 0.28  # so long for a better candidate: a P wave has its QRS within
FIRST_BEATS = 4  # that there is a context to doubt in
FAINT, DUE_RR = 1.75, 1.3  # a sixth of a beat's size in both bands is not even weighed before a beat is due
FIRST_RR_S = 0.8
LONGEST_RR_S = 3.0
LOG_SHORTEST = log(0.02)
SAME_SHAPE = 0.75  # correlation
WAVY, LEAST_WAVY, LINE = -5.0, -6.0, -10.0  # waves in the mean, one of them, and beats with a line between (log s)
WAVY_RATE = 0.2  # of that mean
SURE_QRS = 6.0  # log odds


class Network:
    """One hidden tanh layer, then the log odds that a candidate is a QRS."""

    def __init__(self, table: dict[str, Floats]) -> None:
        self._hidden, self._bias = table["hidden"].T, table["bias"]
        self._out, self._out_bias = table["out"], float(table["out_bias"])

    @classmethod
    def shipped(cls) -> "Network":
        """Load the table in the package."""
        return cls(_shipped())

    @classmethod
    def read(cls, file: IO[bytes]) -> "Network":
        """Load a table."""
        return cls(_table(file))

    def log_odds(self, features: Floats) -> float:
        """Return the log odds of one candidate: the last bits of a product for several depend on how many they are."""
        hidden = self._hidden.dot(features)
        hidden += self._bias
        return float(self._out.dot(np.tanh(hidden, hidden))) + self._out_bias


@cache
def _shipped() -> dict[str, Floats]:
    with (resources.files("agent.dsp") / "weights" / "qrs.npz").open("rb") as file:
        return _table(file)


def _table(file: IO[bytes]) -> dict[str, Floats]:
    with np.load(file) as table:
        return {name: table[name].astype(np.float64) for name in NAMES}


class Shapes:
    """Running means of the slope waves of two QRS shapes; the one unused longest makes room for a new one."""

    def __init__(self, points: int) -> None:
        self._mean = np.zeros((2, points))
        self._each = list(self._mean)  # its rows, as views
        self._norm = [1.0, 1.0]  # of the means
        self._log_a = [0.0, 0.0]
        self._weight = [0.0, 0.0]
        self._used = [-20, -20]

    def nearer(self, patch: Floats) -> tuple[float, float, int]:
        """Return a patch's correlations with the nearer and the other shape, and which the nearer is."""
        first, second = self._mean.dot(patch).tolist()
        first, second = first / self._norm[0], second / self._norm[1]
        return (first, second, 0) if first >= second else (second, first, 1)

    def compare(self, k: int, log_a: float, beats: int) -> tuple[float, float, float]:
        """Return an amplitude against shape `k`'s, the shape's weight and its age."""
        age = beats - self._used[k]
        return log_a - self._log_a[k], self._weight[k] / 8, age / 20 if age < 20 else 1.0

    def take(self, patch: Floats, near: tuple[float, float, int], log_a: float, beats: int) -> None:
        """Take a beat's patch (of norm 1) into the shape it is like, or begin a new one."""
        one, _, k = near
        if one > SAME_SHAPE:
            weight, norm, mean = self._weight[k], self._norm[k], self._each[k]
            rate = 1.0 / (weight + 1.0) if weight < 6.0 else 0.15
            keep = (1.0 - rate) * norm
            mean *= 1.0 - rate
            mean += rate * patch
            self._norm[k] = sqrt(keep * keep + 2.0 * keep * rate * one + rate * rate)
            self._log_a[k] += rate * (log_a - self._log_a[k])
            self._weight[k] = weight + 1.0 if weight < 8.0 else 8.0
        else:
            k = 0 if self._used[0] <= self._used[1] else 1
            self._mean[k], self._norm[k], self._log_a[k], self._weight[k] = patch, 1.0, log_a, 1.0
        self._used[k] = beats


@dataclass(frozen=True, slots=True)
class Wave:
    """A wave without a line before it: it has a rate, but is no beat."""

    index: int
    time_s: float


@dataclass(slots=True, eq=False)
class Seen:
    """A candidate as it was weighed: log odds and probability, its envelope's peak, R, amplitudes, what came before.

    `slow`: the slope that three quarters of the two seconds before exceed, as a share of the candidate's, times the
    square of the candidate's size over its slope, as a logarithm of s². High where slow waves leave no line between.
    """

    odds: float
    p: float
    peak: int
    r: int
    a: float
    b: float
    background: float
    slow: float
    patch: Floats
    near: tuple[float, float, int] = (0.0, 0.0, 0)  # what `Shapes.nearer` says of the patch


class Decision:
    """Decides candidates, one after the other."""

    def __init__(self, fs_hz: float, network: Network) -> None:
        self.fs_hz = fs_hz
        self._network = network
        # What the network reads. Packing numbers into it takes a third of making an array of them.
        self._packed = bytearray(8 * (N_STATIC + N_DYNAMIC))
        self._features = np.frombuffer(self._packed)
        self._static = self._features[:N_STATIC]
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._beats = 0
        self._level_a = self._level_b = self._noise_a = self._noise_b = 0.0
        self._faint_a = self._faint_b = -inf
        self._shapes = Shapes(SHAPE_POINTS)
        self._rr: deque[float] = deque((FIRST_RR_S,) * 4, maxlen=8)
        self._log_rr: deque[float] = deque((log(FIRST_RR_S),) * 4, maxlen=4)
        self._typical_rr, self._log_typical = FIRST_RR_S, log(FIRST_RR_S)
        self._spread = 0.0
        self._weighed = 0
        self._sure = self.doubt = 0.5
        self._background = 0.0
        self.interrupt()

    @property
    def background(self) -> float:
        """The median of envelope A in the two seconds before a beat, as a share of the beat's, over recent beats."""
        return exp(self._background)

    def interrupt(self) -> None:
        """The signal was lost: no interval reaches across, nothing before it can come back."""
        self._last: Seen | None = None
        self._due = 0.0
        self._ready, self._pause_ends = -inf, inf  # samples: the refractory time's end, the search-back
        self._before: Seen | None = None
        self._doubtful: Seen | None = None
        self._rejected: deque[Seen] = deque(maxlen=REMEMBERED)
        self._rival = -LIMIT
        self._wavy = LINE

    def faint(self, found: Peaks) -> int:
        """Return how many candidates, from the first on, are too faint to be weighed as things stand."""
        if self._doubtful is not None:
            return 0
        sure = min(self._due, self._pause_ends)
        rows = zip(found.peak.tolist(), found.log_a.tolist(), found.log_b.tolist(), strict=True)
        for n, (peak, a, b) in enumerate(rows):
            if peak >= sure or a >= self._faint_a or b >= self._faint_b:
                return n
        return len(found.peak)

    def decide(self, found: Candidates) -> list[Beat | Wave]:
        """Decide candidates in order; give the beats and waves among them."""
        out: list[Beat | Wave] = []
        features, patches = found.features, found.patch
        slowness = features[:, QUARTER_PAST] + 2.0 * features[:, SIZE]
        columns = (found.peak, found.r, found.log_a, found.log_b, features[:, MEDIAN_PAST], slowness)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        for i, (peak, r, a, b, background, slow) in enumerate(rows):
            if self._doubtful is not None or peak >= self._pause_ends:
                out += self.advance(peak)
            if r < self._ready or (a < self._faint_a and b < self._faint_b and peak < self._due):
                continue
            seen = Seen(0.0, 0.5, peak, r, a, b, background, slow, patches[i])
            self._weigh(seen, i, features[i])
            if self._doubtful is not None:
                if seen.odds > self._doubtful.odds:
                    self._reject(self._doubtful)
                    self._doubtful = None
                else:
                    out += self.settle()
                    if r < self._ready:
                        continue
                    self._weigh(seen, i, features[i])
            if seen.odds <= 0.0:
                self._reject(seen)
            elif self._beats >= FIRST_BEATS and seen.odds < self._sure_enough(a, b):
                self._doubtful = seen
            else:
                out.append(self._accept(seen, late=False))
            p = seen.p
            self._weighed += 1
            rate = 1.0 / self._weighed if self._weighed < 10 else 0.1
            self._sure += rate * (p - self._sure)
            self.doubt += rate * (4.0 * p * (1.0 - p) - self.doubt)
            self._before = seen
        return out

    def advance(self, now: int) -> list[Beat | Wave]:
        """No candidate peaks before sample `now`: give the doubtful one left alone, and what ends pauses."""
        out: list[Beat | Wave] = []
        if self._doubtful is not None:
            if now - self._doubtful.peak < DOUBT_S * self.fs_hz:
                return out
            out += self.settle()
        while now >= self._pause_ends and self._rival >= LATE_LOG_ODDS:
            best = max(self._rejected, key=attrgetter("odds"))
            later = [one for one in self._rejected if one.r > best.r + 0.2 * self.fs_hz]
            out.append(self._accept(best, late=True))
            self._rejected.extend(later)
            self._rival = max((one.odds for one in later), default=-LIMIT)
        return out

    def settle(self) -> list[Beat | Wave]:
        """Give the doubtful candidate, if there is one."""
        doubtful, self._doubtful = self._doubtful, None
        return [] if doubtful is None else [self._accept(doubtful, late=True)]

    def _weigh(self, seen: Seen, i: int, static: Floats) -> None:
        seen.near = self._shapes.nearer(seen.patch)
        self._static[:] = static
        self._put_in_context(seen)
        odds = self._odds(i)
        if not -LIMIT < odds < LIMIT:
            odds = LIMIT if odds > 0.0 else -LIMIT
        seen.odds, seen.p = odds, probability(odds)

    def _odds(self, i: int) -> float:  # noqa: ARG002 - training looks in here, and knows its candidates by number
        """Return the log odds of the candidate whose features are laid out."""
        return self._network.log_odds(self._features)

    def _sure_enough(self, a: float, b: float) -> float:
        return DOUBT_SMALL_LOG_ODDS if a < self._level_a and b < self._level_b else DOUBT_LOG_ODDS

    def _reject(self, seen: Seen) -> None:
        self._rejected.append(seen)
        self._rival = max(self._rival, seen.odds)
        self._noise_a += 0.125 * (seen.a - self._noise_a)
        self._noise_b += 0.125 * (seen.b - self._noise_b)

    def _accept(self, seen: Seen, *, late: bool) -> Beat | Wave:
        r, a, b = seen.r, seen.a, seen.b
        if not self._beats:
            self._noise_a, self._noise_b = a - 2.0, b - 2.0
        rate = 1.0 / (self._beats + 1) if self._beats < 7 else 0.125
        self._level_a += rate * (a - self._level_a)
        self._level_b += rate * (b - self._level_b)
        if seen.background < 0.0:  # not so where the signal has only begun: the past unknown counts as loud
            self._background += (rate if self._background < 0.0 else 1.0) * (seen.background - self._background)
        is_wave = False
        if self._last is not None:
            interval = self._since_last(r)
            log_interval = log(interval)
            is_wave = self._is_wave(seen, log_interval)
            self._rr.append(interval)
            self._log_rr.append(log_interval)
            self._typical_rr = sorted(self._rr)[len(self._rr) // 2]
            self._log_typical = typical = log(self._typical_rr)
            one, two, three, four = self._log_rr
            self._spread = (abs(one - typical) + abs(two - typical) + abs(three - typical) + abs(four - typical)) / 4
        self._beats += 1
        if self._beats >= FIRST_BEATS:
            self._faint_a, self._faint_b = self._level_a - FAINT, self._level_b - FAINT
        self._due = seen.peak + DUE_RR * self._typical_rr * self.fs_hz
        self._ready = r + REFRACTORY_S * self.fs_hz
        self._pause_ends = r + min(LATE_RR * self._typical_rr + LATE_AFTER_S, LATEST_PAUSE_S) * self.fs_hz
        self._last = seen
        self._rejected.clear()
        self._rival = -LIMIT
        self._shapes.take(seen.patch, self._shapes.nearer(seen.patch) if late else seen.near, a, self._beats)
        return Wave(r, r / self.fs_hz) if is_wave else Beat(r, r / self.fs_hz, late, seen.p)

    def _is_wave(self, seen: Seen, log_interval: float) -> bool:
        """Tell a wave without a line before it, in a run of such, from a QRS."""
        wavy = seen.slow - log_interval
        if seen.background < 0.0:  # the past is known
            self._wavy += WAVY_RATE * (wavy - self._wavy)
        return self._wavy > WAVY and wavy > LEAST_WAVY and seen.odds < SURE_QRS

    def _since_last(self, r: int) -> float:
        return LONGEST_RR_S if self._last is None else min(LONGEST_RR_S, (r - self._last.r) / self.fs_hz)

    def _put_in_context(self, seen: Seen) -> None:
        """Put the features that rest on the decisions before, N_DYNAMIC numbers, where the network reads them."""
        r, a, b, last, before, fs_hz = seen.r, seen.a, seen.b, self._last, self._before, self.fs_hz
        nearer, other, shape = seen.near
        over_shape, weight, age = self._shapes.compare(shape, a, self._beats)
        since = self._since_last(r)
        log_since = log(since) if since > 0.02 else LOG_SHORTEST
        early, early_pair = log_since - self._log_typical, log_since - self._log_rr[-2]
        begun, rejected = self._beats > 0, len(self._rejected)
        _PACKED.pack_into(
            self._packed,
            8 * N_STATIC,
            a - self._level_a if begun else 0.0,
            b - self._level_b if begun else 0.0,
            a - self._noise_a if begun else 0.0,
            b - self._noise_b if begun else 0.0,
            a - last.a if last is not None else 0.0,
            b - last.b if last is not None else 0.0,
            last.odds if last is not None else 0.0,
            early,
            exp(-100.0 * early * early),
            exp(-early * early / 0.09),
            -early if early < 0.0 else 0.0,
            early_pair,
            exp(-100.0 * early_pair * early_pair),
            since,
            exp(-since / 0.15),
            self._typical_rr,
            self._spread,
            nearer,
            other,
            over_shape,
            weight,
            age,
            (r - before.r) / fs_hz if before is not None and r - before.r < fs_hz else 1.0,
            a - before.a if before is not None else 0.0,
            b - before.b if before is not None else 0.0,
            before.odds if before is not None else 0.0,
            self._rival,
            rejected / 4 if rejected < 4 else 1.0,
            self._sure,
            self.doubt,
            self._beats / 8 if self._beats < 8 else 1.0,
        )


def probability(log_odds: float) -> float:
    """Return the probability of log odds."""
    return 1.0 / (1.0 + exp(-log_odds))
