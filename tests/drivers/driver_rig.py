"""What the drivers' tests share: cutting bytes, joining what comes out."""

import itertools

import numpy as np
from hypothesis import strategies as st

from agent.model import Gap, InstrumentEvent, Reading, SampleBlock


def cuts(n: int, most: int = 12):
    """Places to cut n bytes."""
    return st.lists(st.integers(0, n), max_size=most).map(sorted)


def fed(decoder, data: bytes, places=(), channel="serial", t_ns=10**9):
    """What a decoder gives for `data` cut at `places`, empty pieces included."""
    edges = [0, *places, len(data)]
    return [item for a, b in itertools.pairwise(edges) for item in decoder.feed(channel, data[a:b], t_ns)]


def samples_of(items, stream: str) -> np.ndarray:
    """A stream's samples in order; asserts that blocks and gaps follow each other without holes."""
    expected, parts = None, []
    for item in items:
        if isinstance(item, (SampleBlock, Gap)) and item.stream == stream:
            assert expected is None or item.index == expected
            if isinstance(item, SampleBlock):
                parts.append(item.samples)
                expected = item.index + len(item.samples)
            else:
                expected = item.index + item.n
    return np.concatenate(parts) if parts else np.empty(0, np.int32)


def gaps_of(items, stream: str) -> list[tuple[int, int]]:
    return [(i.index, i.n) for i in items if isinstance(i, Gap) and i.stream == stream]


def readings_of(items):
    """Readings without their times, in order."""
    return [(i.kind, i.value, i.exponent, i.quality, i.reason, i.flags) for i in items if isinstance(i, Reading)]


def whole(items, streams):
    """All that must not depend on how bytes were cut."""
    return (
        {s.name: (samples_of(items, s.name).tolist(), gaps_of(items, s.name)) for s in streams},
        readings_of(items),
        [(i.what, i.detail) for i in items if isinstance(i, InstrumentEvent)],
    )
