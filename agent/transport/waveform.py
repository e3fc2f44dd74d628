"""Lossless waveform codec: int32 samples to few bytes, each block on its own.

Per block the cheapest of fixed predictors of order 0 to 3, then partitioned Rice codes in two bit streams (unary
parts, then remainders), chosen by exact cost; raw samples when nothing is smaller. Integers only: the same bytes on
every machine. Block: one byte mode, varint n, then by mode

    0..3  order: zigzag varint of the first sample, one byte log2(partitions), k per partition (5 bits + bias),
          unary stream padded to a byte, remainder stream padded to a byte
    6     constant: zigzag varint of the value
    7     raw: n little-endian int32

Source: T. Robinson, SHORTEN (1994) for the fixed predictors; R. F. Rice, JPL 79-22 (1979) for the codes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent.errors import WireError
from agent.model import Samples

Ints = NDArray[np.int64]

MAX_N = 65_536
_CONSTANT, _RAW = 6, 7
_MAX_K = 40
_MAX_LOG2_PARTS = 5
_K_BITS = 6
_BOUND = 1 << 40


@dataclass(frozen=True, slots=True)
class Predictor:
    """An integer linear predictor: x[i] is near `(sum(coefs[j] * x[i-1-j]) + 2048) >> 12`."""

    coefs: tuple[int, ...]


def encode(samples: Samples, predictor: Predictor | None = None) -> bytes:
    """Return one block that holds int32 `samples` (n,), n <= 65,536; ValueError for anything else."""
    x = np.asarray(samples)
    if x.ndim != 1 or x.dtype != np.int32 or x.size > MAX_N:
        raise ValueError(f"a block is int32 (n,), n <= {MAX_N}, not {x.dtype} {x.shape}")
    del predictor
    if not x.size or (x == x[0]).all():
        first = int(x[0]) if x.size else 0
        return bytes((_CONSTANT,)) + _varint(x.size) + _varint(_zigzag(first))
    wide = x.astype(np.int64)
    residuals = _fixed_residuals(wide)
    order = int(np.abs(residuals[:, 1:]).sum(axis=1).argmin())
    folded = _zigzag_all(residuals[order, 1:])
    body = _rice_encode(folded)
    head = _varint(x.size)
    if 4 * x.size <= len(body) + 5:
        return bytes((_RAW,)) + head + x.astype("<i4").tobytes()
    return bytes((order,)) + head + _varint(_zigzag(int(x[0]))) + body


def decode(data: bytes, predictor: Predictor | None = None) -> Samples:
    """Return the int32 samples (n,) of a block; WireError for anything `encode` does not write."""
    del predictor
    if not data:
        raise WireError("empty waveform block")
    mode = data[0]
    n, at = _read_varint(data, 1)
    if n > MAX_N:
        raise WireError(f"a block of {n} samples")
    if mode == _RAW:
        if len(data) != at + 4 * n:
            raise WireError("raw block of the wrong length")
        return np.frombuffer(data, "<i4", n, at).astype(np.int32)
    folded, at = _read_varint(data, at)
    first = (folded >> 1) ^ -(folded & 1)
    if not -(1 << 31) <= first < 1 << 31:
        raise WireError("first sample out of range")
    if mode == _CONSTANT:
        if at != len(data):
            raise WireError("bytes after a constant block")
        return np.full(n, first, np.int32)
    if mode > 3 or not 2 <= n <= 8 * len(data):
        raise WireError(f"mode {mode} with {n} samples in {len(data)} bytes")
    residual = np.empty(n, np.int64)
    residual[0] = first
    residual[1:] = _unzigzag_all(_rice_decode(data, at, n - 1))
    for level in range(min(mode, n - 1), 0, -1):
        np.cumsum(residual[level - 1 :], out=residual[level - 1 :])
        if np.abs(residual).max() >= _BOUND:
            raise WireError("samples out of range")
    if residual.min() < -(1 << 31) or residual.max() >= 1 << 31:
        raise WireError("samples out of range")
    return residual.astype(np.int32)


def _fixed_residuals(x: Ints) -> Ints:
    """Residuals (4, n) of fixed orders 0 to 3; the first samples of a block use the orders they can."""
    out = np.empty((4, x.size), np.int64)
    out[:] = x
    for order in range(1, 4):
        out[order:, order:] = np.diff(out[order - 1, order - 1 :])
    return out


def _rice_encode(values: Ints) -> bytes:
    """Partitioned Rice: the number of partitions and each one's k with the fewest bits."""
    n = values.size
    ks = np.arange(_MAX_K)
    best_bits, best = None, (0, np.zeros(1, np.int64))
    sums = np.zeros((_MAX_K, n + 1), np.int64)
    np.cumsum(np.minimum(values >> ks[:, None], 1 << 20), axis=1, out=sums[:, 1:])
    for log2_parts in range(_MAX_LOG2_PARTS + 1):
        edges = _edges(n, 1 << log2_parts)
        cost = np.diff(sums[:, edges], axis=1) + (ks[:, None] + 1) * np.diff(edges)
        bits = int(cost.min(axis=0).sum()) + _K_BITS * (edges.size - 1)
        if best_bits is None or bits < best_bits:
            best_bits, best = bits, (log2_parts, cost.argmin(axis=0))
    log2_parts, part_k = best
    k = np.repeat(part_k, np.diff(_edges(n, 1 << log2_parts)))
    high = values >> k
    if int(high.sum()) > 64 * n + 64:  # raw is smaller by far
        return bytes(5 * n)
    unary = np.zeros(int(high.sum()) + n, np.uint8)
    unary[np.cumsum(high + 1) - 1] = 1
    return b"".join(
        (
            bytes((log2_parts,)),
            _pack(part_k, np.full(part_k.size, _K_BITS)),
            np.packbits(unary).tobytes(),
            _pack(values & ((1 << k) - 1), k),
        )
    )


def _rice_decode(data: bytes, at: int, n: int) -> Ints:
    if at >= len(data) or data[at] > _MAX_LOG2_PARTS:
        raise WireError("no partitions")
    parts = 1 << data[at]
    at += 1
    part_k, at = _unpack(data, at, np.full(parts, _K_BITS))
    if part_k.max() >= _MAX_K:
        raise WireError("k out of range")
    k = np.repeat(part_k, np.diff(_edges(n, parts)))
    tail = (int(k.sum()) + 7) // 8
    if len(data) - at < tail:
        raise WireError("block cut short")
    bits = np.unpackbits(np.frombuffer(data, np.uint8)[at : len(data) - tail])
    ends = np.flatnonzero(bits)
    if ends.size != n or ends[-1] + 8 < bits.size:
        raise WireError("unary stream does not hold n values")
    high = np.diff(ends, prepend=-1) - 1
    low, at = _unpack(data, len(data) - tail, k)
    return (high << k) + low


def _edges(n: int, parts: int) -> Ints:
    return np.arange(parts + 1) * n // parts


def _pack(values: Ints, widths: Ints) -> bytes:
    """Concatenate `values` of `widths` bits each, most significant bit first, padded with zeros to a byte."""
    ends = np.cumsum(widths)
    shift = np.repeat(ends, widths) - np.arange(ends[-1]) - 1
    return np.packbits(((np.repeat(values, widths) >> shift) & 1).astype(np.uint8)).tobytes()


def _unpack(data: bytes, at: int, widths: Ints) -> tuple[Ints, int]:
    """Undo `_pack` from byte `at`; return the values and the byte after them."""
    ends = np.cumsum(widths)
    total = int(ends[-1])
    end = at + (total + 7) // 8
    if end > len(data):
        raise WireError("block cut short")
    bits = np.unpackbits(np.frombuffer(data, np.uint8)[at:end])
    if bits[total:].any():
        raise WireError("padding is not zero")
    shift = np.repeat(ends, widths) - np.arange(total) - 1
    sums = np.concatenate(([0], np.cumsum(bits[:total].astype(np.int64) << shift)))
    return sums[ends] - sums[ends - widths], end


def _zigzag(value: int) -> int:
    return value * 2 if value >= 0 else -value * 2 - 1


def _zigzag_all(values: Ints) -> Ints:
    return (values << 1) ^ (values >> 63)


def _unzigzag_all(values: Ints) -> Ints:
    return (values >> 1) ^ -(values & 1)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes((*out, value))


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 35, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            if shift and not byte:
                raise WireError("varint is not minimal")
            return value, at
    raise WireError("varint cut short or too long")
