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
    6 plain      width less one (5), least sample (32, two's complement), samples less it
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
from agent.transport.lpc import FIXED, INT32_MAX, INT32_MIN, Filter, Predictor, fit_block

__all__ = ["MAX_SAMPLES", "Predictor", "decode", "encode"]

Ints = NDArray[np.int64]

MAX_SAMPLES = 65_536
_MAX_BYTES = 4 * MAX_SAMPLES + 8
_ORDER_0, _STREAM, _OWN, _PLAIN, _CONSTANT = 0, 4, 5, 6, 7
_MAX_GAIN = 128  # of a filter, so that residuals stay below 2**40


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
    least, most = (int(x.min()), int(x.max())) if x.size else (0, 0)
    if least == most:
        return _block(_CONSTANT, 0, [(x.size, 17), *number(least)])
    together = int(np.bitwise_or.reduce(x))
    zeros = (together & -together).bit_length() - 1
    wide = x.astype(np.int64) >> zeros
    least >>= zeros
    width = ((most >> zeros) - least).bit_length()
    ways = _ways(wide, predictor, zeros)
    residuals = np.stack([way.residuals for way in ways])
    bases = entropy.bases(residuals)
    for i, way in enumerate(ways):
        if way.base is None:
            way.head.append((int(bases[i]), 6))
        else:
            bases[i] = way.base
        way.head.extend(number(int(wide[0]) - way.level))
    values, widths = entropy.fields(residuals, bases)
    costs = widths.sum(axis=1).tolist()
    for i, way in enumerate(ways):
        costs[i] += sum(field[1] for field in way.head)
    best = costs.index(min(costs))
    if costs[best] < 37 + width * x.size:
        return _block(ways[best].mode, zeros, ways[best].head, values[best], widths[best])
    head = [(width - 1, 5), (least & (1 << 32) - 1, 32)]
    return _block(_PLAIN, zeros, head, wide - least, np.full(x.size, width))


def decode(data: bytes, predictor: Predictor | None = None) -> Samples:
    """Return the int32 samples (n,), n <= 65,536, of a block; WireError, and nothing else, when `data` is no block.

    A block that was coded with its stream's predictor needs that predictor; another one gives other samples or
    WireError.
    """
    if not 1 < len(data) <= _MAX_BYTES:
        raise WireError(f"a waveform block of {len(data)} bytes")
    unused, mode, shifted, unknown = data[0] >> 5, data[0] >> 2 & 7, data[0] >> 1 & 1, data[0] & 1
    if unknown or data[-1] & (1 << unused) - 1:
        raise WireError("bits that must be zero")
    bits = BitReader(data, 8, 8 * len(data) - unused)
    zeros = bits.take(5) + 1 if shifted else 0
    if mode == _CONSTANT:
        return _int32(_read_constant(bits), zeros)
    if mode == _PLAIN:
        return _int32(_read_plain(data, bits), zeros)
    filter_, level, base = FIXED.get(mode, Filter()), 0, None
    if mode == _OWN:
        filter_ = Filter.read(bits)
    elif mode == _STREAM:
        if predictor is None:
            raise WireError("a block that needs its stream's predictor")
        filter_, level, base = predictor.filter, predictor.level >> zeros, max(predictor.base - 2 * zeros, 0)
    base = bits.take(6) if base is None else base
    first = bits.number() + level
    residuals = entropy.read(data, bits.at, bits.end, base, MAX_SAMPLES - 1)
    if mode == _ORDER_0:
        samples = [first, *residuals]
    elif filter_.coefs:
        samples = filter_.synthesise(first, residuals)
    else:
        samples = list(accumulate(residuals, initial=first))
    return _int32(np.array(samples, np.int64), zeros)


def _ways(x: Ints, predictor: Predictor | None, zeros: int) -> list[_Way]:
    """The best fixed predictor, the stream's, and the block's own where it has a chance to be better."""
    d = np.diff(x)
    residuals = [x[1:], *(filter_.residuals(d) for filter_ in FIXED.values())]
    if predictor is not None and predictor.filter.gain() < _MAX_GAIN:
        residuals.append(predictor.filter.residuals(d))
    rough = entropy.rough_bits(np.stack(residuals)).tolist()
    order = rough.index(min(rough[:_STREAM]))
    ways = [_Way(order, [], 0, None, residuals[order])]
    if predictor is not None and len(rough) > _STREAM:
        base = max(predictor.base - 2 * zeros, 0)
        ways.append(_Way(_STREAM, [], predictor.level >> zeros, base, residuals[_STREAM]))
    saved = rough[order] - rough[-1]
    if not 0 < 4 * saved < x.size:  # a filter that saves a little is as good as another; one that saves much may not be
        own = fit_block(d)
        if own is not None and own.gain() < _MAX_GAIN:
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


def _read_constant(bits: BitReader) -> Ints:
    n, value = bits.take(17), bits.number()
    if n > MAX_SAMPLES or bits.at != bits.end:
        raise WireError("no constant block")
    return np.full(n, value, np.int64)


def _read_plain(data: bytes, bits: BitReader) -> Ints:
    width, least = bits.take(5) + 1, bits.take(32)
    n, rest = divmod(bits.end - bits.at, width)
    if rest or n > MAX_SAMPLES:
        raise WireError("no plain block")
    cells = np.unpackbits(np.frombuffer(data, np.uint8))[bits.at : bits.end].reshape(n, width)
    values: Ints = cells @ (1 << np.arange(width - 1, -1, -1, dtype=np.int64))
    return values + (least - (least >> 31 << 32))


def _int32(x: Ints, zeros: int) -> Samples:
    if x.size and not INT32_MIN >> zeros <= x.min() <= x.max() <= INT32_MAX >> zeros:
        raise WireError("sample out of range")
    return (x << zeros).astype(np.int32)
