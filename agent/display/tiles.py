"""The tiles: an instrument's mark, one plain sentence, its physical tip; and the chip over each sweep."""

from collections.abc import Mapping
from typing import Any

from agent.display.picture import Card, Heard, Scene, Status
from agent.model import Cause, Happening, InstrumentState

GOOD_QUALITY = 0.7
FAIR_QUALITY = 0.4
LASTING: Mapping[Happening, Happening] = {
    Happening.LEAD_OFF: Happening.LEAD_ON,
    Happening.PROBE_OFF: Happening.PROBE_ON,
}
"""Troubles that last until their end is said, or good signal shows it."""
PASSING = (
    Happening.SWAPPED,
    Happening.DISCONNECTED,
    Happening.NOT_FINITE,
    Happening.SATURATED,
    Happening.CLIPPING,
    Happening.AMBIENT_LIGHT,
    Happening.NO_BEATS,
    Happening.SILENCE,
)
"""Troubles shown for a few seconds; of several, the first in this order."""


def tile(scene: Scene, key: str, status: Status, card: Card) -> Any:
    """Return an instrument's tile: a mark, one plain sentence, the physical tip while it helps."""
    words, kind = scene.words, f"instrument.{card.kind}"
    streams = [h for name, h in scene.picture.streams.items() if scene.picture.owner(name) == key]
    flowing = any(scene.recent(h.seen_ns) for h in streams)
    own = Heard(events=status.events, quality=next((h.quality for h in streams if h.quality), None))
    wrong = next((t for h in (own, *streams) if (t := trouble(scene, h)) is not None), None)
    tip = words(card.tip or f"{kind}.tip")
    match status.state:
        case None:
            mark, sentence = "idle", words("state.absent")
        case InstrumentState.OFF | InstrumentState.CONNECTING:
            mark, sentence = "idle", words.of(status.state)
        case InstrumentState.FAILED | InstrumentState.SILENT:
            mark = "bad" if status.state is InstrumentState.FAILED else "todo"
            sentence = words.of(status.why or status.state)
        case InstrumentState.READY | InstrumentState.MEASURING:
            mark, sentence = "ok", words.of(status.state)
            said = status.said
            if wrong is not None:
                mark, sentence = "todo", wrong
            elif said is not None and f"said.{said[0]}" in words and scene.recent(said[2]):
                sentence, tip = words(f"said.{said[0]}", detail=said[1]), ""
            elif flowing or status.read_ns is not None:
                sentence, tip = words(f"{kind}.good"), ""
    return {
        "id": key,
        "name": card.name or words(f"{kind}.name"),
        "mark": mark,
        "word": words(f"common.icon_{mark}"),
        "text": sentence,
        "tip": tip,
        "flag": "" if card.clinical else words("number.not_clinical"),
    }


def quality(scene: Scene, slot: str) -> Any | None:
    """Return the chip over a sweep: our own judgement of the signal, beside every number and never instead."""
    heard = scene.picture.heard(scene.slots[slot])
    if heard.quality is None or not scene.recent(heard.quality[1]):
        return None
    value, cause = heard.quality[0].value, heard.quality[0].cause
    if value >= GOOD_QUALITY:
        return {"mark": "ok", "text": scene.words("sweep.good")}
    text = scene.words.of(cause) if cause else scene.words("sweep.fair" if value >= FAIR_QUALITY else "sweep.poor")
    return {"mark": "todo", "text": text}


def trouble(scene: Scene, heard: Heard) -> str | None:
    """Return the sentence for what is wrong with a stream now, None when nothing is."""
    good_ns = heard.quality[1] if heard.quality and heard.quality[0].value >= GOOD_QUALITY else 0
    for begin, end in LASTING.items():
        at = heard.events.get(begin)
        if at is not None and at > heard.events.get(end, 0) and at > good_ns:
            return scene.words.of(begin)
    for event in PASSING:
        if scene.recent(heard.events.get(event)):
            return scene.words.of(event)
    if heard.quality and scene.recent(heard.quality[1]) and heard.quality[0].value < FAIR_QUALITY:
        cause = heard.quality[0].cause
        return scene.words.of(cause) if cause else scene.words("sweep.poor")
    return scene.words.of(Cause.GAP) if scene.recent(heard.gap_ns) else None
