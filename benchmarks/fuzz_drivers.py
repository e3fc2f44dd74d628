"""Throw random and damaged bytes at every decoder of the catalogue; nothing may be raised and nothing may pile up.

    python -m benchmarks.fuzz_drivers [cases=1000000] [seed=1] [key ...]

A third of the cases is random bytes, the others are pieces of the captures in tests/captures and of hand-made frames
with bits flipped, bytes cut, doubled or moved, on any of the instrument's channels, with links lost in between.
"""

import random
import sys
import time
from pathlib import Path

from agent.drivers.capture import INSTRUMENT
from agent.drivers.catalogue import CATALOGUE, ROWS, Row
from agent.drivers.opening import decoder_for
from agent.drivers.stethoscope import HEADER, MOST
from agent.model import Gap, SampleBlock

CAPTURES = Path(__file__).parent.parent / "tests" / "captures"
MOST_KEPT = HEADER.size + 2 * MOST  # bytes a decoder may keep: the longest frame, a second of sound at 48 kHz
SEEDS = [
    bytes.fromhex("811234 00c7 801235 480f 801236 622a"),
    bytes.fromhex("01814000c2 018041480a 0180426225"),
    bytes.fromhex("0002000d000e141a03090e14050002000048006 20d03".replace(" ", "")),
    bytes.fromhex("0afa16000201000000fcffffff0040420f0080841e00420e62480f000b"),
    b"\x00" + bytes(9) + b"\x01\x00\x00" * 20,
    b"SPO2=098% BPM=097 PI=03.60% EXC=000800\r\n",
    b"BSC1:6BF+70790T9WJWG\r\n",
    (1000).to_bytes(8, "little") + (100).to_bytes(4, "little") + bytes(200),
]


def seeds(row: Row) -> list[bytes]:
    """Bytes this instrument may send."""
    found = list(SEEDS)
    for path in CAPTURES.glob("*.txt"):
        lines = path.read_text().splitlines()
        if f"{INSTRUMENT}{row.key}" in lines:
            found += [bytes.fromhex(line.split()[2]) for line in lines if line and line[0].isdigit()] * 5
    return found


def damage(rng: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((0, 1, 1, 2, 5))):
        at, kind = rng.randrange(len(out) + 1), rng.randrange(4)
        if kind == 0 and at < len(out):
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del out[at : at + rng.randrange(1, 9)]
        elif kind == 2:
            out[at:at] = out[max(0, at - rng.randrange(1, 30)) : at]
        else:
            out[at:at] = rng.randbytes(rng.randrange(1, 9))
    return bytes(out)


def fuzz(row: Row, cases: int, seed: int) -> tuple[int, int]:
    """Feed `cases` pieces; returns samples and gaps seen. Raises whatever a decoder raises."""
    rng = random.Random(f"{seed} {row.key}")
    decoder, valid = decoder_for(row), seeds(row)
    channels = (*row.notify, *row.read) or ("serial",)
    t_ns, samples, gaps = 10**9, 0, 0
    expected: dict[str, int] = {}
    for case in range(cases):
        data = rng.randbytes(rng.randrange(64)) if case % 3 == 0 else damage(rng, rng.choice(valid))
        t_ns += rng.randrange(50_000_000)
        if rng.random() < 0.001 or getattr(decoder, "lost_sync", False):
            decoder.resume()
        for item in decoder.feed(rng.choice(channels), data, t_ns):
            if isinstance(item, (SampleBlock, Gap)):
                n = len(item.samples) if isinstance(item, SampleBlock) else item.n
                assert n > 0
                assert item.index == expected.get(item.stream, 0)
                expected[item.stream] = item.index + n
                samples += n if isinstance(item, SampleBlock) else 0
                gaps += isinstance(item, Gap)
        for name in ("_buffer", "_line"):
            assert len(getattr(decoder, name, b"")) < MOST_KEPT
    return samples, gaps


def main() -> None:
    arguments = sys.argv[1:]
    cases = int(arguments[0]) if arguments else 1_000_000
    seed = int(arguments[1]) if len(arguments) > 1 else 1
    rows = [CATALOGUE[key] for key in arguments[2:]] or ROWS
    for row in rows:
        began = time.monotonic()
        samples, gaps = fuzz(row, cases, seed)
        print(
            f"{row.key:20} {cases:,} inputs, 0 exceptions, {samples:,} samples, {gaps:,} gaps, "
            f"{time.monotonic() - began:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
