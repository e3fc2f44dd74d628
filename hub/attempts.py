"""How often a code may be tried: so many a minute from one place and in total, with a growing wait after each miss."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

WINDOW_S = 60.0
FORGET_S = 900.0
MAX_CLIENTS = 1024


@dataclass(slots=True)
class _Client:
    times: deque[float] = field(default_factory=deque)
    misses: int = 0
    not_before: float = 0.0
    last: float = 0.0


class Attempts:
    """Rate limit of code entries: pure, on a monotonic clock given from outside.

    Within any minute one client may try `per_client` times and all together `in_total` times. After the third miss in
    a row a client waits 2, 4, 8 … up to 60 s. A hit clears the client's misses, not its tries; a client not heard of
    for a quarter of an hour is forgotten. With the default 20 a minute in total, half of the 10 000 codes take four
    hours, and a code only names a visit.
    """

    def __init__(self, now_s: Callable[[], float], *, per_client: int = 6, in_total: int = 20) -> None:
        self._now_s = now_s
        self._per_client = per_client
        self._in_total = in_total
        self._all: deque[float] = deque()
        self._clients: dict[str, _Client] = {}

    def wait_s(self, client: str) -> float:
        """Return 0 and count a try when one is allowed now, else the seconds to wait (nothing is counted)."""
        now = self._now_s()
        self._forget(now)
        one = self._clients.get(client)
        if one is None:
            if len(self._clients) >= MAX_CLIENTS:
                return WINDOW_S
            one = _Client()
        wait = max(one.not_before - now, self._full(one.times, self._per_client, now))
        wait = max(wait, self._full(self._all, self._in_total, now))
        if wait > 0:
            return wait
        self._clients[client] = one
        one.times.append(now)
        one.last = now
        self._all.append(now)
        return 0.0

    def missed(self, client: str) -> None:
        """Note that the try was wrong."""
        one = self._clients.setdefault(client, _Client())
        one.misses += 1
        if one.misses >= 3:
            one.not_before = self._now_s() + min(60.0, 2.0 ** (one.misses - 2))

    def hit(self, client: str) -> None:
        """Note that the try was right."""
        one = self._clients.get(client)
        if one is not None:
            one.misses, one.not_before = 0, 0.0

    @staticmethod
    def _full(times: deque[float], most: int, now: float) -> float:
        while times and now - times[0] >= WINDOW_S:
            times.popleft()
        return times[0] + WINDOW_S - now if len(times) >= most else 0.0

    def _forget(self, now: float) -> None:
        for name in [n for n, one in self._clients.items() if now - one.last > FORGET_S]:
            del self._clients[name]
