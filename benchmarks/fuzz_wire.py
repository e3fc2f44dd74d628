"""Throw damaged and random bytes at the readers of the wire's parts; nothing but WireError may come out.

    python -m benchmarks.fuzz_wire [cases=1000000] [seed=1]

A third of the cases is random bytes, the others are valid ones with bits flipped, bytes cut, doubled or moved. What a
reader accepts must be written back as the same bytes (CBOR, predictors) or be int32 within the block's limit.

Also prints the cost of CBOR. On a 2-core x86 cloud machine, a batch of 722 bytes and 190 items (three waveform
blocks, 28 small records): read 0.10 ms, written 0.14 ms.
"""

import random
import sys
import time
from collections import Counter
from timeit import repeat

import numpy as np

from agent.errors import WireError
from agent.transport import cbor
from agent.transport.waveform import MAX_SAMPLES, Predictor, decode, encode


def batch() -> object:
    """About what a second of a visit is."""
    rng = random.Random(1)
    waves = [[3 + i, 1_234_567, -250, rng.randbytes(size)] for i, size in enumerate((170, 80, 60))]
    small = [[i, 100 * i, -i, {0: 1, 1: 150_456, 2: 97, 3: 0}] for i in range(8)]
    small += [[9, i, -i, [3, [1, 2, 3]]] for i in range(20)]
    return [1, 123_456_789, rng.randbytes(16), waves + small]


def damage(rng: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        at, kind = rng.randrange(len(out) or 1), rng.randrange(5)
        if kind == 0 and out:
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and out:
            out[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        elif kind == 2:
            del out[at:]
        elif kind == 3:
            out[at:at] = out[at : at + rng.randrange(1, 9)]
        else:
            out[at:at] = rng.randbytes(rng.randrange(1, 9))
    return bytes(out)


def read_cbor(data: bytes) -> None:
    assert cbor.dumps(cbor.loads(data, max_bytes=1 << 16)) == data


def read_predictor(data: bytes) -> None:
    assert Predictor.from_bytes(data).to_bytes() == data


def main() -> None:
    cases = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    rng = random.Random(seed)
    numbers = np.random.default_rng(seed)
    past = np.cumsum(numbers.normal(0, 9, 360)).astype(np.int32)
    predictor = Predictor.fit(past)
    noise = numbers.integers(-(1 << 31), 1 << 31, 9)
    shapes = [past[:40], past[:9] * 4096, np.arange(50) % 7 * 9000, np.full(99, 5), noise]
    made = [encode(np.asarray(x).astype(np.int32), p) for x in shapes for p in (None, predictor)]

    def read_block(data: bytes) -> None:
        x = decode(data, predictor)
        assert x.dtype == np.int32
        assert x.size <= MAX_SAMPLES

    readers = [
        (read_cbor, [cbor.dumps(batch()), cbor.dumps([1, {0: -5, 7: "é", 300: [True, None]}])]),
        (read_block, made),
        (read_predictor, [predictor.to_bytes()]),
    ]
    seen: Counter[tuple[str, str]] = Counter()
    slowest = 0.0
    for _ in range(cases):
        reader, examples = rng.choice(readers)
        data = rng.randbytes(rng.randrange(80)) if rng.random() < 1 / 3 else damage(rng, rng.choice(examples))
        start = time.perf_counter()
        try:
            reader(data)
            outcome = "read"
        except WireError:
            outcome = "refused"
        slowest = max(slowest, time.perf_counter() - start)
        seen[reader.__name__, outcome] += 1
    print(f"{cases} cases, seed {seed}: nothing but WireError; slowest {1e3 * slowest:.1f} ms")
    for (name, outcome), count in sorted(seen.items()):
        print(f"  {name} {outcome} {count}")
    value, data = batch(), cbor.dumps(batch())
    read = min(repeat(lambda: cbor.loads(data, max_bytes=1 << 16), number=100, repeat=20)) / 100
    written = min(repeat(lambda: cbor.dumps(value), number=100, repeat=20)) / 100
    print(f"CBOR of {len(data)} bytes: read {1e3 * read:.3f} ms, written {1e3 * written:.3f} ms")


if __name__ == "__main__":
    main()
