"""The tiles: an instrument's mark, one plain sentence, its physical tip; and the chip over each sweep."""

from collections.abc import Mapping
from typing import Any

from agent.display import freshness
from agent.display.picture import Card, Heard, Scene, Status
from agent.model import Cause, Happening, InstrumentState, Kind, NoValue, Signal

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
FAULTS = {NoValue.SWAPPED, NoValue.DISCONNECTED, NoValue.SATURATED, NoValue.AMBIENT_LIGHT, NoValue.PROBE_OFF}
"""Why a raw oximeter has no SpO2, where it is the sensor's fault: said as long as it is so."""


def tile(scene: Scene, key: str, status: Status, card: Card) -> Any:
    """Return an instrument's tile: a mark, one plain sentence, the physical tip while it helps."""
    words, kind = scene.words, f"instrument.{card.kind}"
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
            mark, sentence, good = _at_work(scene, key, status)
            tip = "" if good or sentence else tip
            sentence = sentence or words(f"{kind}.good" if good else f"state.{status.state.value}")
    return {
        "id": key,
        "name": card.name or words(f"{kind}.name"),
        "mark": mark,
        "word": words(f"common.icon_{mark}"),
        "text": sentence,
        "tip": tip,
        "flag": "" if card.clinical else words("number.not_clinical"),
    }


def _at_work(scene: Scene, key: str, status: Status) -> tuple[str, str, bool]:
    """Return the mark of an instrument that is on, a sentence of its own or "", and whether it gives what it should."""
    picture = scene.picture
    streams = [heard for name, heard in picture.streams.items() if picture.owner(name) == key]
    own = Heard(
        events=status.events,
        quality=next((h.quality for h in streams if h.quality), None),
        spo2=next((h.spo2 for h in streams if h.spo2), None),
    )
    wrong = next((t for h in (own, *streams) if (t := trouble(scene, h)) is not None), None) or _unread(scene, key)
    if wrong is not None:
        return "todo", wrong, False
    if status.said is not None and f"said.{status.said[0]}" in scene.words and scene.recent(status.said[2]):
        return "ok", scene.words(f"said.{status.said[0]}", detail=status.said[1]), True
    if any(scene.recent(h.seen_ns) for h in streams):
        return "ok", "", True
    quiet = Signal.SOUND in picture.signals(key) and not scene.listening
    if not quiet and any(h.seen_ns is not None for h in streams):
        return "todo", scene.words.of(InstrumentState.SILENT), False
    return "ok", "", status.read_ns is not None and not picture.signals(key)


def _unread(scene: Scene, key: str) -> str | None:
    """Return why an instrument's own number is missing now, in its reason's sentence."""
    reading = scene.picture.readings.get((key, Kind.SPO2))
    if reading is None or reading.value is not None or not scene.recent(reading.t_ns, freshness.CONTINUOUS_MAX_S):
        return None
    reason = reading.reason or NoValue.INSTRUMENT
    return None if reason is NoValue.STARTING else scene.words.of(reason)


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
    if heard.spo2 and heard.spo2[0].reason in FAULTS and scene.recent(heard.spo2[1]):
        return scene.words.of(heard.spo2[0].reason)
    good_ns = heard.quality[1] if heard.quality and heard.quality[0].value >= GOOD_QUALITY else 0
    for begin, end in LASTING.items():
        at = heard.events.get(begin)
        if at is not None and at > heard.events.get(end, 0) and at > good_ns:
            return scene.words.of(begin)
    if heard.rate and heard.rate[0].reason is NoValue.NO_BEATS and scene.recent(heard.rate[1]):
        return scene.words.of(NoValue.NO_BEATS)
    for event in PASSING:
        if scene.recent(heard.events.get(event)):
            return scene.words.of(event)
    if heard.quality and scene.recent(heard.quality[1]) and heard.quality[0].value < FAIR_QUALITY:
        cause = heard.quality[0].cause
        return scene.words.of(cause) if cause else scene.words("sweep.poor")
    return scene.words.of(Cause.GAP) if scene.recent(heard.gap_ns) else None
