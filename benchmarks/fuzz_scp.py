"""Throw damaged SCP-ECG files at the reader; it may refuse, never raise anything else, never take long.

    python -m benchmarks.fuzz_scp [cases=1000000] [seed=1]

Half of the files keep wrong sums, half have them made right again after the damage, so that what is inside is judged.
"""

import random
import struct
import sys
import time

from agent.drivers.scp_ecg import ScpError, crc, parse_scp
from benchmarks.fuzz_drivers import damage
from tests.peers.scp_writer import LEADS, WHOLE, bodies, file_of


def with_right_sums(data: bytes) -> bytes:
    """The file with its length and every sum that the pointers lead to corrected."""
    out = bytearray(data)
    if len(out) < 22:
        return data
    out[2:6] = len(out).to_bytes(4, "little")
    sections = [6]
    ends = range(22, min(len(out) - 10, 22 + 120), 10)
    sections += [struct.unpack_from("<I", out, at + 6)[0] - 1 for at in ends]
    for at in sections[::-1]:
        if at >= 0 and at + 16 <= len(out):
            length = struct.unpack_from("<I", out, at + 4)[0]
            if 16 <= length <= len(out) - at:
                out[at : at + 2] = crc(bytes(out[at + 2 : at + length])).to_bytes(2, "little")
    out[0:2] = crc(bytes(out[2:])).to_bytes(2, "little")
    return bytes(out)


def main() -> None:
    cases = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    rng = random.Random(int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    valid = [
        WHOLE,
        *(file_of(bodies(LEADS, order=order, packed=packed)) for order in (0, 1, 2) for packed in (True, False)),
    ]
    taken, slowest_s = 0, 0.0
    for case in range(cases):
        data = damage(rng, rng.choice(valid))
        if case % 2:
            data = with_right_sums(data)
        began = time.perf_counter()
        try:
            parse_scp(data)
            taken += 1
        except ScpError:
            pass
        slowest_s = max(slowest_s, time.perf_counter() - began)
    print(f"{cases:,} files: {taken:,} read, {cases - taken:,} refused, the slowest took {1000 * slowest_s:.1f} ms")


if __name__ == "__main__":
    main()
