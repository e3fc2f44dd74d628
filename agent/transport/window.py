"""How much backlog may be under way at once: as much as the link carries without making live rows wait.

Pure bookkeeping on sizes and times. Backlog goes before its receipts for as long as they come about as fast as the
fastest one on this connection did. What comes later than that stood in a queue somewhere on the way (a modem may hold
seconds of it), and the next live row stands behind it, so the window is halved. Deviation from LEDBAT (RFC 6817), which
does the same with one-way delays: whole receipts are measured, since only the hub's word counts here, and steps are
doublings and halvings, since a connection may last no longer than a lift ride.
"""

from dataclasses import dataclass
from math import inf

LEAST_BYTES = 1024  # 1/8 s of 64 kbit/s
MOST_BYTES = 64 * 1024  # 50 ms of 10 Mbit/s
EARLY_S = 0.1  # so little above the fastest: there is room for more
LATE_S = 0.3  # so much above the fastest: live rows wait


@dataclass(slots=True)
class Window:
    """The window of one connection, in bytes."""

    size: int = LEAST_BYTES
    _fastest_s: float = inf
    _changed_s: float = -inf

    def answered(self, sent_s: float, now_s: float) -> None:
        """A message that was sent then is receipted now; one sent before the last change says nothing of it."""
        took_s = now_s - sent_s
        self._fastest_s = min(self._fastest_s, took_s)
        if sent_s < self._changed_s:
            return
        if took_s > self._fastest_s + LATE_S:
            self._change(self.size // 2, now_s)
        elif took_s < self._fastest_s + EARLY_S:
            self._change(self.size * 2, now_s)

    def silent(self, now_s: float) -> None:
        """No receipt came: begin again."""
        self._change(LEAST_BYTES, now_s)

    def _change(self, size: int, now_s: float) -> None:
        self.size = min(max(size, LEAST_BYTES), MOST_BYTES)
        self._changed_s = now_s
