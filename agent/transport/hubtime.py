"""The hub's time for a bag without a clock: when to ask, and what an answer is worth; apart from any network.

Four times make an anchor, as in NTP (RFC 5905, 8): the bag's boot time at question and answer, the hub's UTC at
arrival and departure. Half the way there and back is the most that the middle can be wrong by, however unlike the two
ways are. One who holds an answer up thus only makes it say less, and one of another question says nothing.
"""

from agent.clock import Anchor, Source
from agent.transport.messages import TimeAnswer, TimeAsk

FIRST_AGAIN_S = 1.0
LONGEST_AGAIN_S = 300.0
RARER = 8.0  # a question with its answer, anchor and receipt is 700 bytes
LONGEST_WAY_NS = 10_000_000_000  # an answer that comes later is no answer
GRAIN_US = 1_000  # a record's time is whole milliseconds


class HubTime:
    """One bag's questions: often at first, for a good answer soon, then every five minutes, which shows the drift."""

    def __init__(self, *, floor_us: int) -> None:
        self._floor_us = floor_us
        self._asked_us: int | None = None
        self._next_ns = 0
        self._again_s = FIRST_AGAIN_S

    def connected(self) -> None:
        """A new connection, perhaps a better way: ask at once."""
        self._asked_us = None
        self._next_ns = 0
        self._again_s = FIRST_AGAIN_S

    def due(self, now_ns: int) -> TimeAsk | None:
        """The question to send now; None when it is not time. `now_ns` is boot time, here and below."""
        if now_ns < self._next_ns:
            return None
        self._next_ns = now_ns + round(self._again_s * 1e9)
        self._again_s = min(RARER * self._again_s, LONGEST_AGAIN_S)
        self._asked_us = now_ns // 1000
        return TimeAsk(self._asked_us)

    def answered(self, answer: TimeAnswer, now_ns: int) -> Anchor | None:
        """What an answer says; None when it answers nothing, came too late, or cannot be true."""
        if answer.asked_us != self._asked_us:
            return None
        self._asked_us = None
        asked_ns = 1000 * answer.asked_us
        stayed_us = answer.left_utc_us - answer.arrived_utc_us
        ways_us = (now_ns - asked_ns) // 1000 - stayed_us
        if stayed_us < 0 or ways_us < 0 or now_ns - asked_ns > LONGEST_WAY_NS or answer.arrived_utc_us < self._floor_us:
            return None
        if self._again_s >= LONGEST_AGAIN_S:  # the third answer is good for as long
            self._next_ns = asked_ns + round(LONGEST_AGAIN_S * 1e9)
        middle_us = (answer.arrived_utc_us + answer.left_utc_us) // 2
        return Anchor((asked_ns + now_ns) // 2, middle_us, ways_us // 2 + GRAIN_US, Source.HUB)
