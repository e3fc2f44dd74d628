"""What is still on board, and in how many minutes the hub has it at the pace of the last minute. Pure."""

from collections import deque

PACE_OVER_S = 60.0


class Backlog:
    """Counts of unsent bytes, newest last."""

    def __init__(self) -> None:
        self._counts: deque[tuple[float, int]] = deque()

    def count(self, t_s: float, unsent_bytes: int) -> None:
        """So much was on board at this boot time."""
        self._counts.append((t_s, unsent_bytes))
        while len(self._counts) > 2 and t_s - self._counts[1][0] >= PACE_OVER_S:
            self._counts.popleft()

    @property
    def unsent_bytes(self) -> int:
        """The newest count; 0 before the first."""
        return self._counts[-1][1] if self._counts else 0

    def left_min(self) -> int | None:
        """Minutes until all is sent, rounded up; None while it does not shrink or nobody can tell."""
        if len(self._counts) < 2:
            return None
        (began_s, began), (now_s, now) = self._counts[0], self._counts[-1]
        if now >= began or now_s <= began_s:
            return None
        left_s = now * (now_s - began_s) / (began - now)
        return max(1, -int(-left_s // 60))
