"""Lossless waveform codec: int32 samples to few bytes, each block on its own.

A block predicts each sample from those before it in the same block, by the cheapest of: fixed predictors of order 0
to 3, an integer filter fitted to the block itself, the stream's `Predictor` when there is one. What is left is coded
by agent.transport.entropy. Choice by exact cost; plain samples when nothing is smaller. Integers only: the same
bytes on every machine.

Block, bits from the most significant: unused bits at the end (3), mode (3), 1 when low zero bits were taken off (1),
0 (1), how many of them less one (5, if any); then by mode

    0..3 fixed   base (6), first sample, residuals      | first sample and level: bits.number
    4 stream     first sample less level, residuals     | residuals: entropy.fields, up to the end:
    5 own        filter (Filter.fields), base (6), first sample, residuals    a block does not say its length
    6 plain      width less one (5), least sample (33, two's complement), samples less it
    7 constant   n (17), the sample

Sources: T. Robinson, SHORTEN (1994) for fixed predictors; RFC 9639 (FLAC) for taking off low zero bits.
"""

from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from agent.errors import WireError
from agent.model import Samples
from agent.transport import entropy
from agent.transport.bits import BitReader, Field, number, pack
from agent.transport.lpc import INT32_MAX, INT32_MIN, Filter, Predictor, fit_block

__all__ = ["MAX_SAMPLES", "Predictor", "decode", "encode"]

Ints = NDArray[np.int64]

MAX_SAMPLES = 65_536
_ORDER_0, _STREAM, _OWN, _PLAIN, _CONSTANT = 0, 4, 5, 6, 7
_FIXED = {1: Filter(), 2: Filter((1,)), 3: Filter((2, -1))}
_OWN_ORDER, _OWN_SHIFT = 8, 9


@dataclass(frozen=True, slots=True, eq=False)
class _Way:
    """One way to predict a block: what stands before its residuals, and those."""

    mode: int
    head: list[Field]
    level: int
    base: int | None
    residuals: Ints


def encode(samples: Samples, predictor: Predictor | None = None) -> bytes:
    """Return one block that holds int32 `samples` (n,), n <= 65,536; ValueError for anything else."""
    x = np.asarray(samples)
    if x.ndim != 1 or x.dtype != np.int32 or x.size > MAX_SAMPLES:
        raise ValueError(f"a block is int32 (n,), n <= {MAX_SAMPLES}, not {x.dtype} {x.shape}")
    if not x.size or (x == x[0]).all():
        return _block(_CONSTANT, 0, [(x.size, 17), *number(int(x[0]) if x.size else 0)])
    together = int(np.bitwise_or.reduce(x))
    zeros = (together & -together).bit_length() - 1
    wide = x.astype(np.int64) >> zeros
    least, most = int(wide.min()), int(wide.max())
    width = (most - least).bit_length()
    ways = [w for w in _ways(wide, predictor, zeros) if w.residuals.max() < entropy.LARGEST > -w.residuals.min()]
    if ways:
        residuals = np.stack([w.residuals for w in ways])
        bases = entropy.bases(residuals)
        for i, way in enumerate(ways):
            if way.base is not None:
                bases[i] = way.base
        values, widths = entropy.fields(residuals, bases)
        heads = [
            w.head + ([(int(b), 6)] if w.base is None else []) + number(int(wide[0]) - w.level)
            for w, b in zip(ways, bases, strict=True)
        ]
        costs = [int(c) + sum(f[1] for f in head) for c, head in zip(widths.sum(axis=1), heads, strict=True)]
        best = int(np.argmin(costs))
        if costs[best] < 38 + width * x.size:
            return _block(ways[best].mode, zeros, heads[best], values[best], widths[best])
    head = [(width - 1, 5), (least & (1 << 33) - 1, 33)]
    return _block(_PLAIN, zeros, head, wide - least, np.full(x.size, width))


def decode(data: bytes, predictor: Predictor | None = None) -> Samples:
    """Return the int32 samples (n,) of a block; WireError for anything `encode` does not write.

    A block coded with a stream's predictor needs that predictor; with another one it gives other samples or
    WireError.
    """
    if not data:
        raise WireError("empty waveform block")
    head = data[0]
    bits = BitReader(data, 8, 8 * len(data) - (head >> 5))
    mode, shifted, unknown = head >> 2 & 7, head >> 1 & 1, head & 1
    if unknown or data[-1] & (1 << (head >> 5)) - 1:
        raise WireError("bits that must be zero")
    zeros = bits.take(5) + 1 if shifted else 0
    if mode == _CONSTANT:
        n, value = bits.take(17), bits.number()
        if n > MAX_SAMPLES or bits.at != bits.end:
            raise WireError("no constant block")
        return _int32(np.full(n, value, np.int64), 0)
    if mode == _PLAIN:
        return _int32(_read_plain(data, bits), zeros)
    filter_, level, base = _FIXED.get(mode, Filter()), 0, None
    if mode == _STREAM:
        if predictor is None:
            raise WireError("a block that needs its stream's predictor")
        filter_, level, base = predictor.filter, predictor.level >> zeros, max(predictor.base - 2 * zeros, 0)
    elif mode == _OWN:
        filter_ = Filter.read(bits)
    if base is None:
        base = bits.take(6)
    first = bits.number() + level
    residuals = entropy.read(data, bits.at, bits.end, base, MAX_SAMPLES - 1)
    if not INT32_MIN <= first <= INT32_MAX:
        raise WireError("sample out of range")
    if mode == _ORDER_0:
        return _int32(np.array([first, *residuals], np.int64), zeros)
    if mode == 1:
        return _int32(np.array(list(accumulate(residuals, initial=first)), np.int64), zeros)
    return _int32(np.array(filter_.synthesise(first, residuals), np.int64), zeros)


def _ways(x: Ints, predictor: Predictor | None, zeros: int) -> list[_Way]:
    d = np.diff(x)
    ways = [_Way(_ORDER_0, [], 0, None, x[1:])]
    ways += [_Way(order, [], 0, None, filter_.residuals(d)) for order, filter_ in _FIXED.items()]
    if predictor is not None:
        residuals = predictor.filter.residuals(d)
        ways.append(_Way(_STREAM, [], predictor.level >> zeros, max(predictor.base - 2 * zeros, 0), residuals))
    elif own := fit_block(d, _OWN_ORDER, _OWN_SHIFT):
        ways.append(_Way(_OWN, own.fields(), 0, None, own.residuals(d)))
    return ways


def _block(mode: int, zeros: int, head: list[Field], values: Ints | None = None, widths: Ints | None = None) -> bytes:
    if zeros:
        head = [(zeros - 1, 5), *head]
    tail = sum(width for _, width in head) + (0 if widths is None else int(widths.sum()))
    first = (-tail % 8 << 5 | mode << 2 | bool(zeros) << 1, 8)
    all_values, all_widths = (np.array(column, np.int64) for column in zip(first, *head, strict=True))
    if values is not None and widths is not None:
        all_values, all_widths = np.concatenate((all_values, values)), np.concatenate((all_widths, widths))
    return pack(all_values, all_widths)


def _read_plain(data: bytes, bits: BitReader) -> Ints:
    width, least = bits.take(5) + 1, bits.take(33)
    n, rest = divmod(bits.end - bits.at, width)
    if rest or n > MAX_SAMPLES:
        raise WireError("no plain block")
    cells = np.unpackbits(np.frombuffer(data, np.uint8))[bits.at : bits.end].reshape(n, width)
    values: Ints = cells @ (1 << np.arange(width - 1, -1, -1, dtype=np.int64))
    return values + (least - (least >> 32 << 33))


def _int32(x: Ints, zeros: int) -> Samples:
    if x.size and not INT32_MIN >> zeros <= x.min() <= x.max() <= INT32_MAX >> zeros:
        raise WireError("sample out of range")
    return (x << zeros).astype(np.int32)
