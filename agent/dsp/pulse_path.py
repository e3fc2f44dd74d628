"""Which candidates are pulses: the best path through them, decided at most a second after each.

A dynamic programme over the candidates. Each brings its evidence: the log-likelihood of its height as a pulse against
noise, and its place in the rhythm. Each interval costs what it departs from the present period. In a clean signal the
height decides, and an early or missing beat costs little; in noise, and in a regular rhythm, the rhythm decides.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import copysign, exp, floor, inf, log, pi, sqrt
from typing import Final, NamedTuple

from agent.dsp.pulse_features import Candidate


@dataclass(frozen=True, slots=True)
class PathSettings:
    """Found by random search on 35 BIDMC records, clean, in noise and in tapping; see docs/benchmarks/pleth.md."""

    floor: float = 0.0612  # spread of heights of what is not a pulse in a clean signal
    noise_weight: float = 0.618
    excess_from: float = 1.63  # energy against the usual from which a movement is taken into account
    excess_weight: float = 0.0865
    spread: float = 0.367  # of pulse heights around the usual
    odd_share: float = 0.04821  # of pulses whose height is anything
    bias: float = 0.0417
    evidence_limit: float = 3.55
    height_limit: float = 6.064
    shape_weight: float = 0.6  # of what the slope around it says
    shape_bias: float = 0.66
    unsure_at: float = 0.126  # noise at which rhythm and height weigh alike
    rhythm_evidence: float = 2.78
    rhythm_clean: float = 0.95  # share of it that counts in a clean signal
    rhythm_spread: float = 0.379  # cycles
    irregular: float = 0.4359
    regular: float = 0.883
    rhythm_least: float = 0.04596
    rhythm_pull: float = 0.54  # how far a pulse told in noise is moved to its place in the rhythm
    interval_least: float = 0.126
    interval_clean: float = 11.07
    interval_noise: float = 37.1
    interval_limit: float = 0.1178
    missed: float = 1.016
    too_short: float = 0.2129
    shortest_s: float = 0.3286
    longest_s: float = 2.6


class Found(NamedTuple):
    """A pulse: its place on the grid, its height against the usual, and how unsure its neighbourhood is (0..1)."""

    at: float
    height: float
    unsure: float
    phase: float
    regular: float
    excess: float
    shape: float


@dataclass(slots=True)
class Node:
    """A candidate on the open paths: what speaks for it, what an interval to it costs, and the best way to it."""

    at: float
    due: float
    evidence: float
    interval_cost: float
    period: float
    found: Found
    score: float = 0.0
    before: int = -1


TWO_PI: Final = 2.0 * pi
ODD_HEIGHTS: Final = 0.7  # density of the heights of pulses that may have any
TOO_FAR: Final = 60.0  # squares of the spread: no pulse of the usual height is so far off it
TOO_SHORT: Final = 0.42  # of a period
SLOW_S, STEADY, SMALL = 1.3, 0.6, 0.6  # a slow and regular pulse, and its diastolic wave against it
FASTEST: Final = 0.9  # of a period, where that is shorter than the shortest interval otherwise
RISING, CALM, EVEN = 0.28, 0.4, 0.72  # a beat of the rhythm alone needs this slope, or more doubt, or this regularity
CLOSE, LOWER, DIASTOLIC = 0.52, 0.48, 3.0  # what is so soon before a pulse, and so much lower, costs this much
PULLED: Final = 0.17  # cycles: what is further off its place may be no pulse at all, and is not moved more
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
        self._floor, self._unsure, self._spread = (
            value**2 for value in (self._set.floor, self._set.unsure_at, self._set.spread)
        )
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._nodes: list[Node] = []
        self._first = 0  # number of the first node kept
        self._last: Node | None = None  # the last pulse decided

    def push(self, candidates: Iterable[Candidate], now: int) -> list[Found]:
        """Take candidates in order of `ready`, give the pulses decided up to the grid sample `now`."""
        found: list[Found] = []
        for candidate in candidates:
            node = self.weigh(candidate)
            if node is not None:
                self._decide(candidate.ready, found)
                self._link(node, len(self._nodes))
                self._nodes.append(node)
        self._decide(now, found)
        return found

    def finish(self) -> list[Found]:
        """Decide everything still open."""
        found: list[Found] = []
        self._decide(inf, found)
        return found

    def weigh(self, candidate: Candidate) -> Node | None:
        """Return what speaks for a candidate, or None where nothing does."""
        s = self._set
        at, told_height, shape, phase, excess, noise, period_s, regular, _, slope = candidate
        # The power of what is no pulse, in squares of the usual height, and how unsure it makes (0..1).
        other = self._floor + s.noise_weight * (noise * noise)
        if excess > s.excess_from:
            other += s.excess_weight * (excess - s.excess_from)
        unsure = other / (other + self._unsure)
        # In a clean wave that is not even, a beat of the rhythm where nothing rises is none.
        if not slope and told_height < RISING and unsure < CALM and regular < EVEN:
            return None
        height = min(max(told_height, 0.02), s.height_limit)
        wide = self._spread + other
        off = (height - 1.0) ** 2 / wide
        pulse = s.odd_share * ODD_HEIGHTS
        if off < TOO_FAR:
            pulse += (1.0 - s.odd_share) * exp(-0.5 * off) / sqrt(TWO_PI * wide)
        # Maxima of narrow-band noise are Rayleigh distributed.
        evidence = log(pulse * other / height) + 0.5 * height * height / other - s.bias
        if abs(evidence) > s.evidence_limit:
            evidence = copysign(s.evidence_limit, evidence)
        evidence += sqrt(unsure) * s.shape_weight * (shape + s.shape_bias)
        even = min(max((regular - s.irregular) / (s.regular - s.irregular), 0.0), 1.0)
        in_rhythm = 2.0 * exp(-((phase / s.rhythm_spread) ** 2)) - 1.0
        share = (s.rhythm_clean + (1.0 - s.rhythm_clean) * unsure) * (s.rhythm_least + (1.0 - s.rhythm_least) * even)
        evidence += share * s.rhythm_evidence * in_rhythm
        cost = (s.interval_clean + s.interval_noise * unsure) * (s.interval_least + (1.0 - s.interval_least) * even)
        period = period_s * self._grid_hz
        place = at - s.rhythm_pull * unsure * even * min(max(phase, -PULLED), PULLED) * period
        found = Found(place, told_height, unsure, phase, regular, excess, shape)
        return Node(at, floor(place + self._due_grid), evidence, cost, period, found)

    def _link(self, node: Node, position: int) -> None:
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
            best, first = len(nodes) - 1, self._first
            for k in range(best - 1, -1, -1):
                if nodes[k].score >= nodes[best].score:
                    best = k
            while best > 0:
                best = nodes[best].before - first
            head = nodes.pop(0)
            taken = best == 0 and head.score > NEVER / 2 and not self._doubtful(head)
            self._first += 1
            if taken:
                self._last = head
                found.append(head.found)
            for node in nodes:
                if node.before < first if taken else node.before == first:
                    self._link_again()
                    break

    def _link_again(self) -> None:
        """Find the ways to every open node, after one that was on them was decided otherwise."""
        for k, node in enumerate(self._nodes):
            self._link(node, k)

    def _doubtful(self, head: Node) -> bool:
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
