"""The inventory at check-in: every part seen, counted or named missing. Pure.

Instruments that speak are seen by themselves; sleeping Bluetooth instruments do not advertise, so a label or
«Tout y est» settles them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum

from agent.custody import Event

SEEN_WITHIN_S = 60.0
BAG = "sac"  # what is broken when no part is named


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that belongs to this bag; `tag` is what its label says, at most 12 characters."""

    tag: str
    name: str
    essential: bool
    instrument: str | None = None


@dataclass(frozen=True, slots=True)
class Supply:
    """Something that is used up: how many there should be at least, and the last day of the lot (ISO), or "".

    `tag` as a part's; the technician writes a new lot's day into the configuration.
    """

    tag: str
    name: str
    least: int = 1
    until: str = ""

    def expired(self, day: str | None) -> bool:
        """Whether the lot's last day is over; unknown without a clock."""
        return day is not None and bool(self.until) and day > self.until


class Sight(Enum):
    """What is known of a part."""

    SEEN = "seen"
    SEEN_AT = "seen_at"
    TO_COUNT = "to_count"


@dataclass(frozen=True, slots=True)
class Count:
    """An inventory under way: which parts are there, and the bag's condition."""

    parts: tuple[Part, ...]
    there: frozenset[str] = frozenset()
    missing: frozenset[str] = frozenset()
    broken: frozenset[str] = frozenset()
    disinfected: bool = False
    consumables: bool = False
    naming_broken: bool = False
    supplies: tuple[Supply, ...] = ()
    stock: tuple[tuple[str, int], ...] = ()

    @property
    def to_count(self) -> tuple[Part, ...]:
        """The parts still to be settled."""
        return tuple(p for p in self.parts if p.tag not in self.there | self.missing)

    @property
    def settled(self) -> bool:
        """Whether every part is accounted for and the bag is disinfected: the return is complete."""
        return not self.to_count and self.disinfected

    def after(self, event: Event, label: str, detail: str) -> "Count":
        """The count after a gesture: `label` of the card, or `detail` of the key (a stock, `ELEC=12`)."""
        match event:
            case Event.PART:
                return self.part(label) if label else self
            case Event.ALL_THERE:
                return self.all_there()
            case Event.INCOMPLETE:
                return self.incomplete()
            case Event.DISINFECTED:
                return self.disinfect()
            case Event.BROKEN:
                return self.break_one()
            case Event.CONSUMABLES:
                tag, counted, number = detail.partition("=")
                return self.have(tag, int(number)) if counted else self.refill()
            case _:
                return self

    def part(self, tag: str) -> "Count":
        """A part's label was scanned: it is there, and broken when «cassé» came just before."""
        broken = self.broken | {tag} if self.naming_broken else self.broken
        return replace(
            self, there=self.there | {tag}, missing=self.missing - {tag}, broken=broken - {BAG}, naming_broken=False
        )

    def see(self, seen_s: Mapping[str, float]) -> "Count":
        """What spoke within the last minute is there, also when it is switched on during the inventory."""
        seen = frozenset(p.tag for p in self.parts if sight(p, seen_s) is Sight.SEEN)
        return replace(self, there=self.there | seen, missing=self.missing - seen)

    def all_there(self) -> "Count":
        """«Tout y est»: what is not yet settled is there."""
        return replace(self, there=self.there | {p.tag for p in self.to_count}, missing=frozenset())

    def incomplete(self) -> "Count":
        """«Incomplet»: what is not yet settled is missing."""
        return replace(self, missing=self.missing | {p.tag for p in self.to_count})

    def break_one(self) -> "Count":
        """«Cassé»: the next label says which part; without one it is the bag itself."""
        return replace(self, broken=self.broken | {BAG}, naming_broken=True)

    def disinfect(self) -> "Count":
        """«Désinfecté»."""
        return replace(self, disinfected=True)

    def refill(self) -> "Count":
        """«Consommables»: electrodes, specula or strips are to be refilled."""
        return replace(self, consumables=True)

    def have(self, tag: str, number: int) -> "Count":
        """So many of a supply are in the bag."""
        return replace(self, stock=tuple(sorted({**dict(self.stock), tag: number}.items())))

    def low(self, supply: Supply) -> bool:
        """Whether a supply was counted and is too few."""
        return dict(self.stock).get(supply.tag, supply.least) < supply.least

    def details(self, quarantined: frozenset[str] = frozenset(), day: str | None = None) -> tuple[str, ...]:
        """What the receipt says, as `kind:which`: missing, broken and quarantined parts, `soiled`, then mere notes.

        What was never settled is missing: the card was scanned again to end the return as it was.
        """
        gone = [p for p in self.parts if p.tag in self.missing or p in self.to_count]
        return (
            *(f"missing:{p.tag}" for p in gone if p.essential),
            *(f"broken:{tag}" for tag in sorted(self.broken)),
            *(f"quarantined:{tag}" for tag in sorted(self.there & quarantined)),
            *(() if self.disinfected else ("soiled:",)),
            *(f"without:{p.tag}" for p in gone if not p.essential),
            *(("consumables:",) if self.consumables else ()),
            *(f"stock:{tag}={number}" for tag, number in self.stock),
            *(f"low:{supply.tag}" for supply in self.supplies if self.low(supply)),
            *(f"expired:{supply.tag}" for supply in self.supplies if supply.expired(day)),
        )


def begin(parts: Iterable[Part], seen_s: Mapping[str, float], supplies: Iterable[Supply] = ()) -> Count:
    """Start counting: what spoke within the last minute (`seen_s`: seconds ago, by instrument key) is there."""
    return Count(tuple(parts), supplies=tuple(supplies)).see(seen_s)


def sight(part: Part, seen_s: Mapping[str, float]) -> Sight:
    """What is known of a part before anybody counts: *vu*, *vu à 14:20* or *à compter*."""
    ago = seen_s.get(part.instrument or "")
    if ago is None:
        return Sight.TO_COUNT
    return Sight.SEEN if ago <= SEEN_WITHIN_S else Sight.SEEN_AT
