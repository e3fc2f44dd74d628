"""Which rows of a bag will never come: those an epoch ended without, and those that gave way on a full card."""

from collections.abc import Iterable

from agent.transport.messages import Batch, EpochHeader, GaveWayBody
from agent.transport.ranges import SeqSet

Whose = tuple[str, bytes]


class Missing:
    """What bags said about it, by device and epoch."""

    def __init__(self) -> None:
        self._ends: dict[Whose, int] = {}
        self._gone: dict[Whose, SeqSet] = {}

    def never(self, device: str, epoch: bytes, first: int, last: int) -> None:
        """These rows will not come."""
        self._gone.setdefault((device, epoch), SeqSet()).add(first, last)

    def ended(self, header: EpochHeader) -> None:
        """The epoch before this one is over, and its last row on the bag's disk is known; the least claim stands."""
        if header.previous is not None:
            whose = header.device, header.previous.epoch
            self._ends[whose] = min(header.previous.committed, self._ends.get(whose, header.previous.committed))

    def gave_way(self, device: str, batch: Batch) -> set[Whose]:
        """Take the bag's word that rows gave way on its disk; of which epochs."""
        said = [r.body for r in batch.records if isinstance(r.body, GaveWayBody) and r.body.first <= r.body.last]
        for body in said:
            self.never(device, body.epoch, body.first, body.last)
        return {(device, body.epoch) for body in said}

    def known(self, among: Iterable[Whose]) -> list[Whose]:
        """Those of which something is known to be missing, in a fixed order."""
        return sorted(set(among) & (self._ends.keys() | self._gone.keys()))

    def of(self, whose: Whose, have: SeqSet) -> tuple[tuple[int, int], ...]:
        """The holes of an epoch of which these rows are here."""
        missing = SeqSet(have.missing(self._ends.get(whose, have.highest) + 1, have.highest))
        for first, last in self._gone.get(whose, ()):
            for gap in have.missing(first, last):
                missing.add(*gap)
        return tuple(missing)
