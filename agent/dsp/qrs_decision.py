"""Which candidates are QRS complexes: levels, shapes and rhythm, weighed by a small network.

Candidates come in order of time, and each is decided once, from

- what the front end saw of it in both bands (`qrs_features.Candidates.features`, computed a block at a time), and
- what it is in the light of the decisions before: against the running levels of beats and of rejected candidates,
  the last beat (a T wave is near and flatter), the two running QRS shapes, the rhythm, the best rejected rival.

The network has one hidden layer of 24; its table is made by training/ecg.py, which also states data and licence.
A pause of 1.4 RR brings back the best rejected candidate in it (search-back), flagged late.
"""

from collections import deque
from importlib import resources
from math import exp, log
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from agent.dsp.qrs_features import Candidates
from agent.model import Beat

Floats = NDArray[np.float64]

N_DYNAMIC = 31
REFRACTORY_S = 0.15
LATE_RR = 1.4  # a pause of so many RR intervals is searched
LATE_AFTER_S = 0.3  # when a candidate at its end has had the time to be confirmed
LATEST_PAUSE_S = 3.9  # or so many seconds, so that silence is told after it
LATE_LOG_ODDS = -1.5  # what a candidate must have to come back
LEAST_LOG_ODDS = 0.0
FIRST_RR_S = 0.8
LONGEST_RR_S = 3.0
SAME_SHAPE = 0.75  # correlation


class Network:
    """One hidden tanh layer, then the log odds that a candidate is a QRS."""

    def __init__(self, table: dict[str, Floats]) -> None:
        n = len(table["hidden"]) - N_DYNAMIC
        self._static, self._dynamic = table["hidden"][:n].copy(), table["hidden"][n:].T.copy()
        self._bias, self._out, self._out_bias = table["bias"], table["out"], float(table["out_bias"])

    @classmethod
    def shipped(cls) -> "Network":
        """Load the table in the package."""
        with (resources.files("agent.dsp") / "weights" / "qrs.npz").open("rb") as file, np.load(file) as table:
            return cls({name: table[name].astype(np.float64) for name in table})

    def static(self, features: Floats) -> Floats:
        """Return what the features known before any decision give to the hidden layer: (n, hidden)."""
        return np.asarray(features @ self._static + self._bias)

    def log_odds(self, static: Floats, dynamic: list[float]) -> float:
        """Return the log odds of one candidate."""
        return float(self._out @ np.tanh(static + self._dynamic @ np.array(dynamic))) + self._out_bias


class Shapes:
    """Running means of the slope waves of two QRS shapes; the one unused longest makes room for a new one."""

    def __init__(self) -> None:
        self._mean: list[Floats] = []
        self._unit = np.zeros((0, 0))
        self._log_a: list[float] = []
        self._weight: list[float] = []
        self._used: list[int] = []

    def compare(self, patch: Floats, log_a: float, beats: int) -> list[float]:
        """Return correlation with the nearer and the farther shape, amplitude against the nearer, its weight, its age."""
        if not self._mean:
            return [0.0, 0.0, 0.0, 0.0, 1.0]
        alike = (self._unit @ patch).tolist()
        k = 0 if alike[0] >= alike[-1] else 1
        age = min(beats - self._used[k], 20) / 20
        return [alike[k], alike[-1 - k] if len(alike) > 1 else alike[0], log_a - self._log_a[k], self._weight[k] / 8, age]

    def take(self, patch: Floats, log_a: float, beats: int) -> None:
        """Take a beat's patch into the shape it is like, or begin a new one."""
        alike = (self._unit @ patch).tolist() if self._mean else [0.0]
        k = 0 if alike[0] >= alike[-1] else 1
        if alike[k] > SAME_SHAPE:
            rate = max(0.15, 1.0 / (self._weight[k] + 1.0))
            self._mean[k] = self._mean[k] + rate * (patch - self._mean[k])
            self._log_a[k] += rate * (log_a - self._log_a[k])
            self._weight[k] = min(self._weight[k] + 1.0, 8.0)
            self._used[k] = beats
        else:
            if len(self._mean) > 1:
                self._drop(0 if self._used[0] <= self._used[1] else 1)
            self._mean.append(patch)
            self._log_a.append(log_a)
            self._weight.append(1.0)
            self._used.append(beats)
        self._unit = np.array([mean / float(np.sqrt(mean @ mean)) for mean in self._mean])

    def _drop(self, k: int) -> None:
        for part in (self._mean, self._log_a, self._weight, self._used):
            del part[k]


class Decision:
    """Decides candidates, one after the other."""

    def __init__(self, fs_hz: float, network: Network) -> None:
        self.fs_hz = fs_hz
        self._network = network
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._beats = 0
        self._level_a = self._level_b = self._noise_a = self._noise_b = 0.0
        self._shapes = Shapes()
        self._rr: deque[float] = deque((FIRST_RR_S,) * 4, maxlen=8)
        self._typical_rr = FIRST_RR_S
        self._spread = 0.0
        self._sure = self._doubt = 0.5
        self.interrupt()

    def interrupt(self) -> None:
        """The signal was lost: no interval reaches across, nothing before it can come back."""
        self.last: int | None = None
        self._last_seen = (0.0, 0.0, 0.0)
        self._before = (-(10**9), 0.0, 0.0, 0.0)
        self._rejected: list[tuple[float, int, float, float, Floats]] = []
        self._rival = -6.0

    def decide(self, found: Candidates) -> list[Beat]:
        """Decide candidates in order; give the beats among them."""
        out: list[Beat] = []
        static = self._network.static(found.features)
        refractory = REFRACTORY_S * self.fs_hz
        rows = zip(found.peak.tolist(), found.r.tolist(), found.log_a.tolist(), found.log_b.tolist(), strict=True)
        for i, (peak, r, a, b) in enumerate(rows):
            if self._rejected:
                out += self.search_back(peak)
            if self.last is not None and r - self.last < refractory:
                continue
            patch = found.patch[i]
            dynamic = self._in_context(r, a, b, patch)
            odds = self._network.log_odds(static[i], dynamic)
            self._observe(i, dynamic, odds)
            p = probability(odds)
            if odds > LEAST_LOG_ODDS:
                self._accept(odds, r, a, b, patch)
                out.append(Beat(r, r / self.fs_hz, confidence=p))
            else:
                self._rejected.append((odds, r, a, b, patch))
                self._rival = max(self._rival, odds)
                self._noise_a += 0.125 * (a - self._noise_a)
                self._noise_b += 0.125 * (b - self._noise_b)
            self._sure += 0.1 * (p - self._sure)
            self._doubt += 0.1 * (4.0 * p * (1.0 - p) - self._doubt)
            self._before = (r, a, b, odds)
        return out

    def search_back(self, now: int) -> list[Beat]:
        """Give the best rejected candidate, when sample `now` ends a pause and it is good enough."""
        if self.last is None or self._rival < LATE_LOG_ODDS:
            return []
        if now - self.last < min(LATE_RR * self._typical_rr + LATE_AFTER_S, LATEST_PAUSE_S) * self.fs_hz:
            return []
        odds, r, a, b, patch = max(self._rejected, key=itemgetter(0))
        later = [one for one in self._rejected if one[1] > r + 0.2 * self.fs_hz]
        self._accept(odds, r, a, b, patch)
        self._rejected = later
        self._rival = max((one[0] for one in later), default=-6.0)
        return [Beat(r, r / self.fs_hz, late=True, confidence=probability(odds))]

    def _observe(self, i: int, dynamic: list[float], odds: float) -> None:
        """See what was weighed; training looks in here."""

    def _accept(self, odds: float, r: int, a: float, b: float, patch: Floats) -> None:
        if not self._beats:
            self._noise_a, self._noise_b = a - 2.0, b - 2.0
        rate = max(0.125, 1.0 / (self._beats + 1))
        self._level_a += rate * (a - self._level_a)
        self._level_b += rate * (b - self._level_b)
        if self.last is not None:
            self._rr.append(min(LONGEST_RR_S, (r - self.last) / self.fs_hz))
            rr = sorted(self._rr)
            self._typical_rr = rr[len(rr) // 2]
            self._spread = sum(abs(log(self._rr[k] / self._typical_rr)) for k in (-1, -2, -3, -4)) / 4
        self._beats += 1
        self.last, self._last_seen = r, (a, b, odds)
        self._rejected = []
        self._rival = -6.0
        self._shapes.take(patch, a, self._beats)

    def _in_context(self, r: int, a: float, b: float, patch: Floats) -> list[float]:
        """Return the features that rest on the decisions before: N_DYNAMIC numbers."""
        rr = self._typical_rr
        since = min(LONGEST_RR_S, (r - self.last) / self.fs_hz) if self.last is not None else LONGEST_RR_S
        log_since = log(max(since, 0.02))
        early, early_pair = log_since - log(rr), log_since - log(self._rr[-2])
        r_before, a_before, b_before, odds_before = self._before
        if self._beats:
            a_last, b_last, odds_last = self._last_seen
            heights = [
                clip(a - self._level_a),
                clip(b - self._level_b),
                clip(a - self._noise_a),
                clip(b - self._noise_b),
                clip(a - a_last),
                clip(b - b_last),
                clip(odds_last),
            ]
        else:
            heights = [0.0] * 7
        return [
            *heights,
            early,
            exp(-((early / 0.1) ** 2)),
            exp(-((early / 0.3) ** 2)),
            max(0.0, -early),
            early_pair,
            exp(-((early_pair / 0.1) ** 2)),
            since,
            exp(-since / 0.15),
            rr,
            self._spread,
            *self._shapes.compare(patch, a, self._beats),
            min(1.0, (r - r_before) / self.fs_hz),
            clip(a - a_before),
            clip(b - b_before),
            clip(odds_before),
            clip(self._rival),
            min(1.0, len(self._rejected) / 4),
            self._sure,
            self._doubt,
            min(self._beats, 8) / 8,
        ]


def clip(x: float) -> float:
    """Keep a logarithm within what the network was trained on."""
    return -4.0 if x < -4.0 else min(x, 4.0)


def probability(log_odds: float) -> float:
    """Return the probability of log odds."""
    return 1.0 / (1.0 + exp(-max(-30.0, log_odds)))
