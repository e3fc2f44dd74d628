"""Integer linear prediction of a waveform from its own first differences.

A sample is predicted as the one before it plus `(sum(coefs[j] * d[i-1-j]) + half) >> shift`, d being the first
differences of the block (0 before its start, so a block stands alone). Integers only: the same residuals on every
machine. Predicting differences ties the coefficients to slopes instead of levels, so that few binary places do.

Two ways to find coefficients: `Predictor.fit`, from the last seconds, by maximum likelihood under the very
distribution that the entropy code assumes (in floats: what it finds is rounded and travels); `fit_block`, from the
block itself, by least squares in exact integers.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from operator import mul
from typing import Any, Self

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from agent.errors import WireError
from agent.model import Samples
from agent.transport import entropy
from agent.transport.bits import BitReader, Field, fold, number, pack_fields, unfold

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
INT32_MIN, INT32_MAX = -(1 << 31), (1 << 31) - 1

MAX_ORDER = 31
MAX_SHIFT = 15
_MAX_COEF_BITS = 18  # folded
_OWN_ORDER = 8
_TONAL_SHIFT = 6
_FIT_ORDERS = (2, 6, 12)
_FIT_SHIFTS = (5, 6, 8, 10, 12, 15)
_FIT_ROUNDS = 6
_FIT_LEAST, _FIT_MOST = 32, 4096


@dataclass(frozen=True, slots=True)
class Filter:
    """Coefficients times 2**shift on the last first differences, newest first."""

    coefs: tuple[int, ...] = ()
    shift: int = 0

    def residuals(self, differences: Ints) -> Ints:
        """Return differences (n,) less their prediction, (n,)."""
        if not self.coefs:
            return differences
        sums = np.convolve(differences, np.array(self.coefs, np.int64))[: differences.size - 1]
        out = differences.copy()
        out[1:] -= sums + (1 << self.shift >> 1) >> self.shift
        return out

    def synthesise(self, first: int, residuals: Sequence[int]) -> list[int]:
        """Return the samples (n + 1,) that start with `first`; WireError when one is no int32."""
        coefs, shift, half = self.coefs, self.shift, 1 << self.shift >> 1
        last = deque([0] * len(coefs), len(coefs))
        sample, out = first, [first]
        for residual in residuals:
            difference = residual + (sum(map(mul, coefs, last)) + half >> shift)
            last.appendleft(difference)
            sample += difference
            if not INT32_MIN <= sample <= INT32_MAX:
                raise WireError("sample out of range")
            out.append(sample)
        return out

    def fields(self) -> list[Field]:
        """Order, shift, then each coefficient in the Exp-Golomb code that suits them best."""
        folded = [fold(c) for c in self.coefs]
        k = min((sum(folded) // max(len(folded), 1)).bit_length(), 15)
        out = [(len(folded), 5), (self.shift, 4), (k, 4)]
        for u in folded:
            high = (u >> k) + 1
            out += [(high, 2 * high.bit_length() - 1), (u & (1 << k) - 1, k)]
        return out

    def gain(self) -> int:
        """Return how many times larger than the largest difference a residual can be, at most."""
        return 2 + (sum(map(abs, self.coefs)) >> self.shift)

    @classmethod
    def read(cls, bits: BitReader) -> Self:
        """Undo `fields`; WireError for what they never hold."""
        order, shift, k = bits.take(5), bits.take(4), bits.take(4)
        coefs = []
        for _ in range(order):
            zeros = 0
            while not bits.take(1):
                zeros += 1
                if zeros > _MAX_COEF_BITS:
                    raise WireError("coefficient out of range")
            folded = (1 << zeros | bits.take(zeros)) - 1 << k | bits.take(k)
            if folded >> _MAX_COEF_BITS:
                raise WireError("coefficient out of range")
            coefs.append(unfold(folded))
        return cls(tuple(coefs), shift)


FIXED = {1: Filter(), 2: Filter((1,)), 3: Filter((2, -1))}  # the fixed predictors above order 0, by order


@dataclass(frozen=True, slots=True)
class Predictor:
    """What blocks of one stream have in common for some seconds: travels once, as a numbered record.

    `level` is a usual sample (the first of a block is coded against it), `base` the usual size of residuals as an
    index of the entropy code's ladder.
    """

    filter: Filter
    level: int
    base: int

    @classmethod
    def fit(cls, past: Samples) -> Self:
        """Fit on the last samples (n,), n >= 32 (10 s are good, 4096 the most); ValueError when there are fewer.

        Reweighted least squares: the weights are those of Student's t with the scale that the entropy code will
        assume at each sample, so that QRS complexes do not outvote the stretches between them. Order and binary
        places are those with the fewest bits over `past`, the predictor's own bytes counted; a fixed predictor's
        coefficients are tried too.
        """
        x = np.asarray(past[-_FIT_MOST:], np.int64)
        if x.size < _FIT_LEAST:
            raise ValueError(f"{x.size} samples are too few to fit a predictor")
        d = np.diff(x)
        filters = list(FIXED.values())
        for order in _FIT_ORDERS:
            coefs = _likeliest(d.astype(np.float64), order)
            filters += [Filter(_rounded(coefs, shift), shift) for shift in _FIT_SHIFTS]
        residuals = np.clip(np.stack([f.residuals(d) for f in filters]), 1 - entropy.LARGEST, entropy.LARGEST - 1)
        bases = entropy.bases(residuals)
        bits = entropy.fields(residuals, bases)[1].sum(axis=1).tolist()
        level = int(np.median(x))
        found = [cls(filter_, level, base) for filter_, base in zip(filters, bases.tolist(), strict=True)]
        # A coefficient is worth its bytes, and the bit by which what it was fitted to flatters it.
        costs = [n + 8 * len(f.to_bytes()) + len(f.filter.coefs) for n, f in zip(bits, found, strict=True)]
        return found[costs.index(min(costs))]

    def to_bytes(self) -> bytes:
        """Return the record that carries this predictor."""
        return pack_fields([(self.base, 6), *number(self.level), *self.filter.fields()])

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read a record; WireError for anything `to_bytes` does not write."""
        bits = BitReader(data)
        base, level = bits.take(6), bits.number()
        found = cls(Filter.read(bits), level, base)
        if not INT32_MIN <= level <= INT32_MAX or found.to_bytes() != data:
            raise WireError("no predictor")
        return found


def _rounded(coefs: Sequence[float], shift: int) -> tuple[int, ...]:
    limit = (1 << _MAX_COEF_BITS - 1) - 1
    return tuple(max(-limit, min(limit, round(c * (1 << shift)))) for c in coefs)


def _likeliest(d: Floats, order: int) -> list[float]:
    """Coefficients (order,) that predict differences (n,) best under the entropy code's distribution."""
    windows = sliding_window_view(d, order + 1)[:, ::-1]
    known, wanted = windows[:, 1:], windows[:, 0]
    weights = np.ones(wanted.size)
    coefs: NDArray[Any] = np.zeros(order)
    for _ in range(_FIT_ROUNDS):
        weighted = known * weights[:, None]
        gram = weighted.T @ known
        gram[np.diag_indices(order)] += 1e-9 * np.trace(gram) + 1e-30
        coefs = np.linalg.solve(gram, weighted.T @ wanted)
        left = wanted - known @ coefs
        weights = entropy.likelihood_weights(left)
    found: list[float] = coefs.tolist()
    return found


def fit_block(differences: Ints) -> Filter | None:
    """The filter fitted to one block's differences (n,) by least squares; None when it would be worth nothing.

    The same on every machine: sums of products are whole numbers that float64 holds exactly in any order, and the
    elimination is plain Python floats, one IEEE 754 operation after the other.
    """
    n = differences.size
    if n < 4 * _OWN_ORDER:
        return None
    places = (53 - n.bit_length()) // 2
    size = int(np.abs(differences).max()).bit_length()
    lags, rows = _products((differences >> max(size - places, 0)).astype(np.float64), _OWN_ORDER)
    if not lags[0]:
        return None
    for j, row in enumerate(rows):
        row[j] += n / 8  # as if a little noise were on it: no pivot is 0
    _eliminate(rows)
    filters = [_places(_substitute(rows, _OWN_ORDER), lags)]
    if filters[0].shift < _TONAL_SHIFT:
        return filters[0]
    # A pure tone or a periodic pattern: fewer or shorter coefficients may say the same.
    filters += [_places(_substitute(rows, 2), lags), Filter(_rounded(_substitute(rows, _OWN_ORDER), 1), 1)]
    rough = entropy.rough_bits(np.stack([filter_.residuals(differences) for filter_ in filters])).tolist()
    costs = [bits + sum(width for _, width in filter_.fields()) for bits, filter_ in zip(rough, filters, strict=True)]
    return filters[costs.index(min(costs))]


def _places(coefs: list[float], lags: list[float]) -> Filter:
    """Round `coefs` to as few binary places as add about a 16th to the power that they leave of lags[0]."""
    left = max(lags[0] - sum(map(mul, coefs, lags[1:])), lags[0] * 2.0**-25)
    shift = min((int(3 * len(coefs) * lags[0] / left).bit_length() + 1) // 2, MAX_SHIFT)
    return Filter(_rounded(coefs, shift), shift)


def _products(d: Floats, order: int) -> tuple[list[float], list[list[float]]]:
    """Sums over t = order..n-1 of d[t] * d[t-j], j = 0..order; rows of d[t-i] * d[t-j], j = 1..order and 0."""
    lags = np.correlate(d, d[order:])[::-1].tolist()
    head, tail = d[:order][::-1].tolist(), d[-order:][::-1].tolist()
    rows = []
    above = lags
    for i in range(order):
        above = [lags[i + 1], *(a + head[i] * h - tail[i] * t for a, h, t in zip(above, head, tail, strict=False))]
        rows.append([*above[1:], lags[i + 1]])
    return lags, rows


def _eliminate(rows: list[list[float]]) -> None:
    """Make symmetric positive equations, whose last column is the right side, triangular."""
    for p, above in enumerate(rows):
        for i in range(p + 1, len(rows)):
            factor = rows[i][p] / above[p]
            rows[i] = [a - factor * b for a, b in zip(rows[i], above, strict=True)]


def _substitute(rows: list[list[float]], order: int) -> list[float]:
    """Solve the first `order` of triangular equations in as many unknowns."""
    out: list[float] = []
    for p in range(order - 1, -1, -1):
        row = rows[p]
        out.insert(0, (row[-1] - sum(map(mul, row[p + 1 : order], out))) / row[p])
    return out
