"""Which candidates are pulses: the best path through them, decided at most a second after each.

A dynamic programme over the candidates. Each brings its evidence: the log-likelihood of its height as a pulse against
noise, and its place in the rhythm. Each interval costs what it departs from the present period. In a clean signal the
height decides, and an early or missing beat costs little; in noise, and in a regular rhythm, the rhythm decides.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from agent.dsp.pulse_features import Candidate


@dataclass(frozen=True, slots=True)
class PathSettings:
    """Found by random search on 32 BIDMC records, clean, in noise and in tapping; see docs/benchmarks/pleth.md."""

    floor: float = 0.0612  # spread of heights of what is not a pulse in a clean signal
    noise_weight: float = 0.618
    excess_from: float = 1.62  # energy against the usual from which a movement is taken into account
    excess_weight: float = 0.108
    spread: float = 0.367  # of pulse heights around the usual
    odd_share: float = 0.0417  # of pulses whose height is anything
    bias: float = 0.0371
    evidence_limit: float = 3.37
    height_limit: float = 4.39
    unsure_at: float = 0.126  # noise at which rhythm and height weigh alike
    rhythm_evidence: float = 2.78
    rhythm_clean: float = 0.95  # share of it that counts in a clean signal
    rhythm_spread: float = 0.379  # cycles
    irregular: float = 0.418
    regular: float = 0.883
    rhythm_least: float = 0.129
    rhythm_pull: float = 0.69  # how far a pulse told in noise is moved to its place in the rhythm
    interval_least: float = 0.174
    interval_clean: float = 11.1
    interval_noise: float = 37.1
    interval_limit: float = 0.133
    missed: float = 1.03
    too_short: float = 0.217
    shortest_s: float = 0.27
    longest_s: float = 2.6


class Found(NamedTuple):
    """A pulse: its place on the grid, its height against the usual, and how unsure its neighbourhood is (0..1)."""

    at: float
    height: float
    unsure: float
    phase: float
    regular: float
    excess: float


@dataclass(slots=True)
class _Node:
    at: float
    due: float
    evidence: float
    interval_cost: float
    period: float
    found: Found
    score: float = 0.0
    before: int = -1


TOO_SHORT: Final = 0.42  # of a period
SLOW_S, STEADY, SMALL = 1.3, 0.6, 0.6  # a slow and regular pulse, and its diastolic wave against it
FASTEST: Final = 0.9  # of a period, where that is shorter than the shortest interval otherwise
RISING, CALM, EVEN = 0.2, 0.4, 0.7  # a beat of the rhythm alone needs this slope, or more doubt, or this regularity
CLOSE, LOWER, DIASTOLIC = 0.5, 0.7, 3.0  # what is so soon before a pulse, and so much lower, costs this much
PULLED: Final = 0.15  # cycles: what is further off its place may be no pulse at all, and is not moved more
NEVER: Final = -1e9
NOTHING: Final = -2  # before a node that no way leads to


class PulsePath:
    """Pulses from candidates: `push` takes the newest.

    A candidate is known `look_grid` grid samples after its place, and decided with the last grid sample that is not
    more than `due_grid` after it.
    """

    def __init__(self, grid_hz: float, due_grid: float, look_grid: int, settings: PathSettings | None = None) -> None:
        self._set = settings or PathSettings()
        self._due_grid = due_grid
        self._in_sight = due_grid - look_grid
        self._shortest = self._set.shortest_s * grid_hz
        self._longest = self._set.longest_s * grid_hz
        self._grid_hz = grid_hz
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._nodes: list[_Node] = []
        self._first = 0  # number of the first node kept
        self._last: _Node | None = None  # the last pulse decided

    def push(self, candidates: Iterable[Candidate], now: int) -> list[Found]:
        """Take candidates in order of `ready`, give the pulses decided up to the grid sample `now`."""
        found: list[Found] = []
        for candidate in candidates:
            noise, unsure = self._doubt(candidate)
            # In a clean wave that is not even, a beat of the rhythm where nothing rises is none.
            if candidate.slope or candidate.height >= RISING or unsure >= CALM or candidate.regular >= EVEN:
                self._decide(candidate.ready, found)
                node = self._weigh(candidate, noise, unsure)
                self._link(node, len(self._nodes))
                self._nodes.append(node)
        self._decide(now, found)
        return found

    def finish(self) -> list[Found]:
        """Decide everything still open."""
        found: list[Found] = []
        self._decide(math.inf, found)
        return found

    def _doubt(self, c: Candidate) -> tuple[float, float]:
        """Return the power of what is no pulse, in squares of the usual height, and how unsure it makes (0..1)."""
        s = self._set
        noise = s.floor**2 + s.noise_weight * (c.noise * c.noise) + s.excess_weight * max(c.excess - s.excess_from, 0.0)
        return noise, noise / (noise + s.unsure_at**2)

    def _weigh(self, c: Candidate, noise: float, unsure: float) -> _Node:
        s = self._set
        height = min(max(c.height, 0.02), s.height_limit)
        wide = s.spread**2 + noise
        pulse = (1.0 - s.odd_share) * math.exp(-0.5 * min((height - 1.0) ** 2 / wide, 60.0)) / math.sqrt(
            2.0 * math.pi * wide
        ) + 0.7 * s.odd_share
        # Maxima of narrow-band noise are Rayleigh distributed.
        other = math.log(height / noise) - 0.5 * height**2 / noise
        evidence = min(max(math.log(pulse) - other - s.bias, -s.evidence_limit), s.evidence_limit)
        regular = min(max((c.regular - s.irregular) / (s.regular - s.irregular), 0.0), 1.0)
        rhythm = s.rhythm_evidence * (s.rhythm_least + (1.0 - s.rhythm_least) * regular)
        in_rhythm = 2.0 * math.exp(-((c.phase / s.rhythm_spread) ** 2)) - 1.0
        evidence += (s.rhythm_clean + (1.0 - s.rhythm_clean) * unsure) * rhythm * in_rhythm
        cost = (s.interval_clean + s.interval_noise * unsure) * (s.interval_least + (1.0 - s.interval_least) * regular)
        period = c.period_s * self._grid_hz
        place = c.at - s.rhythm_pull * unsure * regular * min(max(c.phase, -PULLED), PULLED) * period
        found = Found(place, c.height, unsure, c.phase, c.regular, c.excess)
        return _Node(c.at, math.floor(place + self._due_grid), evidence, cost, period, found)

    def _link(self, node: _Node, position: int) -> None:
        """Find the best way to `node`, which is or will be at `position` of the open nodes."""
        s = self._set
        at, period, price = node.at, node.period, node.interval_cost
        shortest = min(self._shortest, FASTEST * period)
        best, before = (0.0, -1) if self._last is None else (NEVER, NOTHING)
        for k in range(position - 1, -2, -1):
            other = self._nodes[k] if k >= 0 else self._last
            if other is None:
                break
            interval = at - other.at
            if interval < shortest:
                continue
            cost = price * self._price(interval / period - 1.0)
            if interval < TOO_SHORT * period:
                cost += s.too_short
            # A diastolic wave; an early beat is lower than the one before it, and a pause comes after it.
            calm = node.found.unsure < CALM
            if calm and interval < CLOSE * period and other.found.height < LOWER * node.found.height:
                cost += DIASTOLIC
            value = other.score - cost
            if value > best:
                best, before = value, k + self._first if k >= 0 else -1
            if interval > self._longest:
                break
        node.score, node.before = best + node.evidence, before

    def _decide(self, until: float, found: list[Found]) -> None:
        """Decide the nodes due by `until`: on the best path or not."""
        nodes = self._nodes
        while nodes and nodes[0].due <= until:
            scores = [node.score for node in nodes]
            best = scores.index(max(scores)) + self._first
            while best > self._first:
                best = nodes[best - self._first].before
            head = nodes.pop(0)
            taken = best == self._first and head.score > NEVER / 2 and not self._doubtful(head)
            self._first += 1
            if taken:
                self._last = head
                found.append(head.found)
            if any(node.before == self._first - 1 if not taken else node.before < self._first - 1 for node in nodes):
                for k, node in enumerate(nodes):
                    self._link(node, k)

    def _doubtful(self, head: _Node) -> bool:
        """Tell a candidate that would make the next pulse come early, where that one is not yet in sight.

        In a slow pulse the diastolic wave is decided before the next upslope has come: what the rest of the period
        would cost is counted in advance.
        """
        if self._nodes or self._last is None:
            return False
        rest = self._last.at + head.period - head.at
        slow = head.period > SLOW_S * self._grid_hz and head.found.regular > STEADY
        if not slow or rest < self._in_sight or head.found.height > SMALL:
            return False
        return head.score - self._last.score < head.interval_cost * self._price(rest / head.period - 1.0)

    def _price(self, q: float) -> float:
        """Share of the interval cost of an interval that departs from the period by `q` of it."""
        s = self._set
        return min(2.0 * q * q, s.interval_limit) if q < 0.0 else s.missed * min(q * q, s.interval_limit)
