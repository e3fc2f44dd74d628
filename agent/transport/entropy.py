"""Prefix codes for prediction residuals whose scale follows the residuals just coded.

The scale of residual i is a fixed integer sum of the magnitudes of the ten before it and of the block's `base`
(a magnitude, on a half-octave ladder, that also stands for the residuals before the block's first). It picks one of
`TABLES` codes, a quarter-octave apart: Huffman codes of Student's t with 7 degrees of freedom, whose density is a
rational function, so every table comes out of integers alone and is the same on every machine. Scales above the
last table send the low bits as they are.

Shapes: residuals int64 (rows, n); a row is one candidate way to predict the block. No step of the encoder runs per
sample; the decoder, at the hub, is one loop over Python integers.

Sources: D. Huffman, Proc. IRE 40 (1952); adaptive scales after M. Weinberger et al., LOCO-I (1996), with a
finite window instead of halved counters, so that the encoder works on whole arrays.
"""

import heapq
from bisect import bisect_right
from collections.abc import Sequence
from functools import cache
from math import isqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.errors import WireError

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

TABLES = 25
BASES = 64
_STEPS = 4  # tables per octave
_UNIT = 16  # scales are sums of magnitudes times this
_NEAR, _FAR, _PRIOR = 2, 10, 7  # scale = 2 * last two + last ten + 7 * base
_CENTRE = 320  # the scale sum of a residual magnitude of 1
_LOWEST = 11  # table 0 stands for a magnitude of 2 ** (-_LOWEST / _STEPS)
_PEEK = 12  # bits of the longest code
_ESCAPE_BITS = 6  # length of what exceeds a table, then its bits below the leading one
LARGEST = 1 << 40  # no residual at or above it is coded


def _eighth_root(value: int) -> int:
    return isqrt(isqrt(isqrt(value)))


_EDGES = [_eighth_root(_CENTRE**8 << 2 * q >> 2 * _LOWEST + 1) for q in range(1, 180)]
_EDGE_ARRAY = np.array(_EDGES, np.int64)
_BASE = [isqrt(1 << b + 4) for b in range(BASES)]
_BASE_ARRAY = np.array(_BASE, np.int64)


def rough_bits(residuals: Ints) -> Ints:
    """Return the sum of the magnitudes' bit lengths over the last axis: enough to compare predictors by."""
    total: Ints = np.frexp(np.abs(residuals))[1].sum(axis=-1)
    return total


def bases(residuals: Ints) -> Ints:
    """Return for each row (rows, n) the index of the base that suits its median magnitude."""
    middle = np.partition(np.abs(residuals), residuals.shape[1] // 2, axis=1)[:, residuals.shape[1] // 2]
    return np.minimum(np.searchsorted(_BASE_ARRAY, 19 * middle, side="right"), BASES - 1)


def likelihood_weights(residuals: Floats) -> Floats:
    """Weights (n,) with which least squares tends to the likeliest prediction under these codes."""
    magnitude = np.abs(residuals)
    usual = max(1.2 * float(np.median(magnitude)), 0.25)
    scale = _scales(magnitude[None] * _UNIT, np.array([usual * _UNIT]))[0] / _CENTRE
    result: Floats = 1 / (8.5 * scale * scale + residuals * residuals)
    return result


def _scales(magnitudes: NDArray[Any], base: NDArray[Any]) -> NDArray[Any]:
    rows, n = magnitudes.shape
    sums = np.zeros((rows, n + _FAR + 1), magnitudes.dtype)
    sums[:, 1 : _FAR + 1] = base[:, None]
    sums[:, _FAR + 1 :] = magnitudes
    np.cumsum(sums, axis=1, out=sums)
    now = sums[:, _FAR:-1]
    scales = now - sums[:, :n]
    scales += _NEAR * (now - sums[:, _FAR - _NEAR : -1 - _NEAR])
    scales += _PRIOR * base[:, None]
    return scales


@cache
def _lengths(q: int) -> tuple[int, ...]:
    """Code lengths of table `q`: folded residuals 0, -1, 1, -2, ..., then the escape."""
    k = isqrt(114785 * (1 << q + 21) // 100)  # 4 * 7 * (1.1 * scale)^2, 16 binary places

    def density(half: int) -> int:
        return (k**4 << 60) // (k + (half * half << 16)) ** 4

    def mass(r: int) -> int:
        return density(2 * r - 1) + 4 * density(2 * r) + density(2 * r + 1)

    count = 6 + isqrt(12 * k // 5 >> 16)
    magnitudes = [mass(r) for r in range(count * 8)]
    folded = [magnitudes[(u + 1) // 2] for u in range(count)]
    rest = 2 * sum(magnitudes) - magnitudes[0] - sum(folded)
    floor = sum(folded) >> 11
    heap: list[tuple[int, int, tuple[int, ...]]]
    heap = [(max(f, floor), i, (i,)) for i, f in enumerate([*folded, rest])]
    lengths = [0] * len(heap)
    heapq.heapify(heap)
    while len(heap) > 1:
        a, b = heapq.heappop(heap), heapq.heappop(heap)
        leaves = a[2] + b[2]
        for leaf in leaves:
            lengths[leaf] += 1
        heapq.heappush(heap, (a[0] + b[0], a[1], leaves))
    return tuple(lengths)


def _canonical(lengths: Sequence[int]) -> list[int]:
    codes, code, last = [0] * len(lengths), -1, 0
    for length, symbol in sorted((n, s) for s, n in enumerate(lengths)):
        code = code + 1 << length - last
        codes[symbol], last = code, length
    return codes


_LENGTHS = [_lengths(q) for q in range(TABLES)]
_COUNTS = [len(lengths) - 1 for lengths in _LENGTHS]
_COUNT_ARRAY = np.array(_COUNTS, np.int64)
_CODE_ARRAY, _LENGTH_ARRAY = np.zeros((2, TABLES, max(_COUNTS) + 1), np.int64)
for _q, _row in enumerate(_LENGTHS):
    _CODE_ARRAY[_q, : len(_row)], _LENGTH_ARRAY[_q, : len(_row)] = _canonical(_row), _row


@cache
def _readers() -> list[tuple[list[int], int, int]]:
    """For each scale: by the next `_PEEK` bits, symbol << 4 | code length; the escape; how many bits follow bare."""
    lookups = []
    for lengths in _LENGTHS:
        lookup = [0] * (1 << _PEEK)
        for symbol, (code, length) in enumerate(zip(_canonical(lengths), lengths, strict=True)):
            start, stop = code << _PEEK - length, code + 1 << _PEEK - length
            lookup[start:stop] = [symbol << 4 | length] * (stop - start)
        lookups.append(lookup)
    shifts = [max(q - TABLES + _STEPS, 0) // _STEPS for q in range(len(_EDGES) + 1)]
    return [(lookups[q - _STEPS * shift], _COUNTS[q - _STEPS * shift], shift) for q, shift in enumerate(shifts)]


def fields(residuals: Ints, bases: Ints) -> tuple[Ints, Ints]:
    """Return the bit fields (values, widths), each (rows, n), of residuals (rows, n) below 2**40 in magnitude."""
    magnitude = np.abs(residuals)
    scales = _scales(magnitude * _UNIT, _BASE_ARRAY[bases])
    q = np.searchsorted(_EDGE_ARRAY, scales, side="right")
    shift = np.maximum(q - TABLES + _STEPS, 0) // _STEPS
    q -= shift * _STEPS
    folded = 2 * magnitude - (residuals < 0)
    symbol = folded >> shift
    count = _COUNT_ARRAY[q]
    excess = symbol - count
    np.minimum(symbol, count, out=symbol)
    values, widths = _CODE_ARRAY[q, symbol], _LENGTH_ARRAY[q, symbol]
    escaped = np.nonzero(excess >= 0)
    if escaped[0].size:
        more = excess[escaped] + 1
        length = np.frexp(more.astype(np.float64))[1].astype(np.int64) - 1  # exact: more < 2**53
        values[escaped] = (values[escaped] << _ESCAPE_BITS | length) << length | more - (1 << length)
        widths[escaped] += _ESCAPE_BITS + length
    values = values << shift | folded & (1 << shift) - 1
    return values, widths + shift


def read(data: bytes, at: int, end: int, base: int, limit: int) -> list[int]:
    """Return the residuals in bits [at, end) of `data`; WireError when they do not end there or exceed `limit`."""
    words = np.ndarray(len(data) + 1, ">u8", data + bytes(8), strides=(1,)).tolist()  # 57 bits and more from any bit
    readers, edges, bare, mask = _readers(), _EDGES, 64 - _PEEK, (1 << _PEEK) - 1
    near = last = magnitude = _BASE[base]
    window, far = [magnitude] * _FAR, magnitude * (_FAR + _PRIOR)
    out: list[int] = []
    for oldest in range(limit + 1):
        if at >= end:
            break
        lookup, escape, shift = readers[bisect_right(edges, far + _NEAR * (near + last))]
        entry = lookup[words[at >> 3] >> bare - (at & 7) & mask]
        at += entry & 15
        folded = entry >> 4
        if folded == escape and at < end:
            length = words[at >> 3] >> 64 - _ESCAPE_BITS - (at & 7) & (1 << _ESCAPE_BITS) - 1
            at += _ESCAPE_BITS
            if length >= LARGEST.bit_length():
                raise WireError("residual out of range")
            if at < end:
                folded += (words[at >> 3] >> 64 - length - (at & 7) & (1 << length) - 1) + (1 << length) - 1
            at += length
        if shift:
            if at < end:
                folded = folded << shift | words[at >> 3] >> 64 - shift - (at & 7) & (1 << shift) - 1
            at += shift
        magnitude = folded + 1 >> 1
        if magnitude >= LARGEST:
            raise WireError("residual out of range")
        out.append(-magnitude if folded & 1 else magnitude)
        magnitude *= _UNIT
        far += magnitude - window[oldest]
        window.append(magnitude)
        near, last = last, magnitude
    if at != end or len(out) > limit:
        raise WireError("residuals do not end with the block")
    return out
