"""What screens need to know of a stream and an instrument, from its birth record and the catalogue."""

from collections.abc import Iterable

from agent.display.picture import Card, StreamView, card_for
from agent.drivers.catalogue import CATALOGUE, NOT_CLINICAL
from agent.model import ChainStage, Signal, Stream


def view_of(chain: Iterable[ChainStage]) -> StreamView:
    """How a chain prepares a stream for screens: the `name=value` words of its stages' settings."""
    said = dict(word.partition("=")[::2] for stage in chain for word in stage.settings.split() if "=" in word)
    low, _, high = said.get("band_hz", "").partition("-")
    return StreamView(
        mode=said.get("mode", ""),
        band_hz=(float(low), float(high)) if low and high else None,
        treated=said.get("treated") == "yes",
        calibrated=said.get("calibrated") == "yes",
    )


def card_of(key: str, streams: Iterable[Stream]) -> Card | None:
    """The tile of a catalogued instrument; None for one that has none (the badge scanner)."""
    row = CATALOGUE.get(key)
    gives: set[Signal] = {stream.signal for stream in streams if stream.instrument == key}
    if row is None:
        return card_for(key, gives)
    return card_for(key, {*gives, *row.kinds}, tip=row.tip, clinical=row.ce_class != NOT_CLINICAL)


def spoken(bag: str) -> str:
    """A bag's name as people say it: `sac-04` is «Sac 04»."""
    return bag.replace("-", " ").capitalize()
