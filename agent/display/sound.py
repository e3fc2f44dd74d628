"""The stethoscope's sound on its way to the doctor's headphones: raw by default, or treated.

A packet is what the page's player takes: little-endian `<f8 t_s> <f4 fs_hz> <u4 n>`, then n samples of s16. `t_s` is
the first sample's time in seconds of the board. Full scale is 1.0 in the stream's unit; beyond it is clipped.
"""

import struct
from collections import deque

import numpy as np

from agent.model import Floats

KEEP_S = 2.0
FULL_SCALE = 32767
HEADER = struct.Struct("<dfI")


def packet(t_s: float, fs_hz: float, values: Floats) -> bytes:
    """Return one packet; what is not finite is silence."""
    finite = np.nan_to_num(values, nan=0.0, posinf=1.0, neginf=-1.0)
    samples = np.rint(np.clip(finite, -1.0, 1.0) * FULL_SCALE).astype("<i2")
    return HEADER.pack(t_s, fs_hz, samples.size) + samples.tobytes()


class Sound:
    """The newest packets of one sound. Who falls behind by more than KEEP_S misses some: live sound never waits."""

    def __init__(self) -> None:
        self._packets: deque[tuple[int, float, bytes]] = deque()
        self._number = 0
        self._end_s = 0.0

    def push(self, t_s: float, fs_hz: float, values: Floats) -> None:
        """Take the next sound; what is older than the newest by more than KEEP_S (filled in late) is not heard."""
        end_s = t_s + values.size / fs_hz
        if not values.size or end_s < self._end_s - KEEP_S:
            return
        self._end_s = max(self._end_s, end_s)
        self._number += 1
        self._packets.append((self._number, end_s, packet(t_s, fs_hz, values)))
        while self._packets[0][1] < self._end_s - KEEP_S:
            self._packets.popleft()

    @property
    def newest(self) -> int:
        """The newest packet's number: where a new listener begins."""
        return self._number

    def since(self, number: int) -> tuple[bytes, int]:
        """Return what came after packet `number`, and the newest number."""
        return b"".join(data for n, _, data in self._packets if n > number), self._number
