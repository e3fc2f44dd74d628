"""When things were measured: the boot times of one boot of a bag as UTC, with how far off that may be.

Every anchor says that at one boot time UTC lay in an interval. Away from it the interval grows with what a crystal
drifts at most; two anchors of which the hub or NTP vouches bound how this one does drift, so what was measured long
before the first anchor grows surer with each that comes. The clock's own guesses (RTC, floor) count only where nobody
vouched.
"""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from operator import mul

from agent.clock import DRIFT_PPM, VOUCHED, Anchor, Source
from agent.transport.messages import AnchorBody, Batch

WOBBLE_PPM = 5  # a drift changes with the temperature in the bag
USUAL_DRIFT_PPM = 20
JITTER_SHARE = 0.25  # of an anchor's uncertainty: what one way differs by from the next; the rest is in all of them
SCHEMA = """
CREATE TABLE IF NOT EXISTS anchors (
  device TEXT NOT NULL, boot_id BLOB NOT NULL, t_us INTEGER NOT NULL, utc_us INTEGER NOT NULL,
  uncertainty_us INTEGER NOT NULL, source TEXT NOT NULL, PRIMARY KEY (device, boot_id, t_us, source)) STRICT;
"""


def keep(db: sqlite3.Connection, device: str, boot_id: bytes, batch: Batch) -> None:
    """Store a batch's anchors inside the caller's open transaction."""
    for record in batch.records:
        if isinstance(record.body, AnchorBody):
            t_us, body = batch.t_us + 1000 * record.dt_ms, record.body
            anchor = device, boot_id, t_us, body.utc_us, body.uncertainty_us, body.source.value
            db.execute("INSERT OR IGNORE INTO anchors VALUES (?, ?, ?, ?, ?, ?)", anchor)


def stored(db: sqlite3.Connection, device: str, boot_id: bytes) -> "Dating":
    """The anchors of one boot, as far as they came."""
    found = db.execute(
        "SELECT t_us, utc_us, uncertainty_us, source FROM anchors WHERE device = ? AND boot_id = ? ORDER BY t_us",
        (device, boot_id),
    )
    return Dating(Anchor(1000 * t_us, utc_us, doubt_us, Source(source)) for t_us, utc_us, doubt_us, source in found)


@dataclass(frozen=True, slots=True)
class Dated:
    """UTC, the most it may be off by, and who says so; FLOOR says only that it was no earlier."""

    utc_us: int
    uncertainty_us: int
    source: Source


@dataclass(frozen=True, slots=True)
class _Span:
    """UTC in microseconds, somewhere from `low` to `high`."""

    low: float
    high: float

    def cut(self, other: "_Span") -> "_Span":
        """What both allow; this one where the other contradicts it."""
        low, high = max(self.low, other.low), min(self.high, other.high)
        return _Span(low, high) if low <= high else self


class Dating:
    """The anchors of one boot."""

    def __init__(self, anchors: Iterable[Anchor] = ()) -> None:
        self._anchors = list(anchors)

    def add(self, anchor: Anchor) -> None:
        """One more; also an old one, in any order."""
        self._anchors.append(anchor)

    def utc(self, t_us: int) -> Dated | None:
        """UTC at a boot time; None without any anchor."""
        t_ns = 1000 * t_us
        vouched = [anchor for anchor in self._anchors if anchor.source in VOUCHED]
        if not vouched:
            if not self._anchors:
                return None
            guess = min(self._anchors, key=lambda anchor: anchor.uncertainty_at(t_ns))
            return Dated(guess.utc_at(t_ns), guess.uncertainty_at(t_ns), guess.source)
        nearest = min(vouched, key=lambda anchor: anchor.uncertainty_at(t_ns))
        agreeing = [anchor for anchor in vouched if _agree(anchor, nearest)]
        span = _reach(nearest, t_ns, _drift(nearest, agreeing))
        for anchor in agreeing:
            span = span.cut(_reach(anchor, t_ns, ANY_DRIFT))
        likely_us = min(max(_likely(nearest, agreeing, t_ns), span.low), span.high)
        return Dated(round(likely_us), round(max(span.high - likely_us, likely_us - span.low)), nearest.source)


ANY_DRIFT = _Span(-DRIFT_PPM, DRIFT_PPM)


def _agree(anchor: Anchor, nearest: Anchor) -> bool:
    """Whether one anchor can be true beside another: a hub's clock may have been wrong for a while."""
    apart_us = abs(anchor.utc_at(nearest.t_ns) - nearest.utc_us)
    return apart_us <= anchor.uncertainty_at(nearest.t_ns) + nearest.uncertainty_us


def _drift(nearest: Anchor, anchors: list[Anchor]) -> _Span:
    """The drift that all anchors together leave possible, in parts per million."""
    drift = ANY_DRIFT
    for other in anchors:
        lasted_us = (other.t_ns - nearest.t_ns) / 1000
        if lasted_us:
            off_us = other.utc_us - nearest.utc_us - lasted_us
            doubt_us = other.uncertainty_us + nearest.uncertainty_us
            ends = sorted(1e6 * (off_us + sign * doubt_us) / lasted_us for sign in (-1, 1))
            drift = drift.cut(_Span(ends[0] - WOBBLE_PPM, ends[1] + WOBBLE_PPM))
    return drift


def _likely(nearest: Anchor, anchors: list[Anchor], t_ns: int) -> float:
    """UTC on the straight line that fits the anchors best, when no drift at all is likeliest beforehand.

    What is the same in all of them (the way up slower than the way down) does not tilt the line.
    """
    lasted_s = [(anchor.t_ns - nearest.t_ns) / 1e9 for anchor in anchors]
    off_us = [anchor.utc_us - nearest.utc_us - 1e6 * s for anchor, s in zip(anchors, lasted_s, strict=True)]
    weights = [1 / (JITTER_SHARE * (anchor.uncertainty_us + 1)) ** 2 for anchor in anchors]
    total = sum(weights)
    mean_s: float = sum(map(mul, weights, lasted_s)) / total
    mean_us: float = sum(map(mul, weights, off_us)) / total
    spread = sum(w * (s - mean_s) ** 2 for w, s in zip(weights, lasted_s, strict=True))
    tilt = sum(w * (s - mean_s) * (o - mean_us) for w, s, o in zip(weights, lasted_s, off_us, strict=True))
    drift_ppm = tilt / (spread + 1 / USUAL_DRIFT_PPM**2)
    at_s = (t_ns - nearest.t_ns) / 1e9
    return nearest.utc_us + 1e6 * at_s + mean_us + drift_ppm * (at_s - mean_s)


def _reach(anchor: Anchor, t_ns: int, drift: _Span) -> _Span:
    """UTC at another boot time when the clock drifts by so many parts per million."""
    lasted_us = (t_ns - anchor.t_ns) / 1000
    ends = sorted(lasted_us * ppm / 1e6 for ppm in (drift.low, drift.high))
    there_us = anchor.utc_us + lasted_us
    return _Span(there_us + ends[0] - anchor.uncertainty_us, there_us + ends[1] + anchor.uncertainty_us)
