"""The loan desk's sentences: what a scan is answered, in French, with times of day and names filled in.

A stranger learns since when a bag is out, and that a health professional has it, never whose name.
"""

import tomllib
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from importlib import resources
from typing import Any

from agent.custody import Event, Say, State
from agent.display.words import Words, age
from agent.holding import SERIAL, Custody, split
from agent.lending.inventory import Count, Part, Sight, sight
from agent.lending.loan import Said

LocalTime = Callable[[int], datetime]
NIGHTS = 3
"""For how many nights a holder may keep a bag by a key on the page."""

KEYS: Mapping[State, tuple[Event, ...]] = {
    State.OUT: (Event.KEEP, Event.PROBLEM),
    State.RETURNING: (Event.ALL_THERE, Event.CONSUMABLES, Event.PROBLEM),
    State.RETIRED: (),
}
"""The keys the page shows in each state; everywhere else a problem may be reported."""


def desk_words(language: str = "fr") -> Words:
    """The sentences of `<language>_custody.toml`, by dotted key."""
    text = resources.files("agent.display").joinpath(f"{language}_custody.toml").read_text(encoding="utf-8")
    sections = tomllib.loads(text)
    return Words({f"{name}.{key}": value for name, section in sections.items() for key, value in section.items()})


def _named(words: Words, section: str, details: Iterable[str], names: Mapping[str, str]) -> str:
    """`kind:which` details as one phrase."""
    phrases = []
    for detail in details:
        kind, _, which = detail.partition(":")
        if f"{section}.{kind}" in words:
            phrases.append(words(f"{section}.{kind}", which=names.get(which, which)))
    return ", ".join(phrases)


def tell(
    said: Said, words: Words, *, bag: str, names: Mapping[str, str], local: LocalTime, left_min: int | None = None
) -> str:
    """One sentence for the page.

    `names` gives instruments' and parts' French names by key or tag; `left_min` says how long what is on board takes.
    """
    held = said.custody
    defects, notes = split(held.defects + held.notes)
    without = [note for note in notes if note.startswith("without:")]
    number = bag.removeprefix("sac-")
    values = {
        "bag": words("custody.bag", number=number),
        "label": held.label,
        "place": held.place,
        "time": _clock(held.since_s, local),
        "due": _clock(held.due_s, local, day_of=held.since_s),
        "detail": _problem(said.detail, names),
        "reason": words(f"badge_reason.{said.detail}") if said.say is Say.BAD_CARD else "",
        "findings": _named(words, "health", said.findings, names),
        "defects": _named(words, "defect", defects, names),
        "without": _named(words, "defect", without, names),
        "parts": ", ".join(said.to_count),
        "left": left_min,
    }
    if said.say is Say.SENDING and left_min is not None:
        return words("custody.sending_left", **values)
    sentence = words(f"custody.{_variant(said, bool(defects), bool(without))}", **values)
    if said.say in {Say.RETURNED, Say.LENDABLE}:
        for kind, key in (("charge", "to_charge"), ("low", "to_refill"), ("expired", "to_replace")):
            which = _named(words, "defect", [note for note in notes if note.startswith(f"{kind}:")], names)
            sentence = words(f"custody.{key}", sentence=sentence, which=which) if which else sentence
    return sentence


def _variant(said: Said, defects: bool, without: bool) -> str:
    """The sentence's key: some have another form when something is missing."""
    key = said.say.value
    match said.say:
        case Say.HANDED_OVER | Say.HELD_SINCE | Say.PASSED if said.custody.since_s is None:
            return f"{key}_no_clock"
        case Say.HANDED_OVER | Say.KEPT if said.custody.due_s is None:
            return f"{key}_no_clock"
        case Say.COUNTING | Say.COUNTED if not said.to_count:
            return f"{key}_none"
        case Say.RETURNED if defects:
            return "returned_defects"
        case Say.LENDABLE if without:
            return "lendable_without"
        case _:
            return key


def _problem(detail: str, names: Mapping[str, str]) -> str:
    """What a problem was reported of: its French name, and its serial number where it is known."""
    which, mark, serial = detail.partition(SERIAL)
    return names.get(which, which) + (f" (n° {serial})" if mark else "")


def _clock(utc_s: int | None, local: LocalTime, *, day_of: int | None = None) -> str:
    """The hour; with its day where that is another than `day_of`'s."""
    if utc_s is None:
        return ""
    same_day = day_of is None or local(day_of).date() == local(utc_s).date()
    return local(utc_s).strftime("%H:%M" if same_day else "%d/%m, %H:%M")


# --- the desk on the nurse's page ----------------------------------------------------------------------------------


_STANDING: Mapping[State, Say] = {
    State.NEW: Say.NOT_IN_SERVICE, State.HOME: Say.LENDABLE, State.OUT: Say.HANDED_OVER, State.DRAINING: Say.SENDING,
    State.CHECKING: Say.CHECKING, State.DEFECT: Say.FAULTY, State.RETIRED: Say.RETIRED,
}  # fmt: skip


def standing(held: Custody, unfit: tuple[str, ...] = ()) -> Said:
    """What holds while nobody scans: who has the bag until when, whether it may be lent, what keeps it (`unfit`)."""
    if unfit and held.state is State.HOME:
        return Said(Say.UNFIT, held, findings=unfit)
    if unfit and held.state is State.CHECKING:
        return Said(Say.NOT_YET_FIT, held, findings=unfit)
    return Said(_STANDING[held.state], held)


def inventory_rows(
    count: Count, seen_s: Mapping[str, float], words: Words, *, now_s: int | None, local: LocalTime
) -> list[dict[str, str]]:
    """One line a part: *vu*, *vu à 14:20*, *à compter*, and what people said of it."""
    return [_part_row(part, count, seen_s, words, now_s, local) for part in count.parts]


def _part_row(
    part: Part, count: Count, seen_s: Mapping[str, float], words: Words, now_s: int | None, local: LocalTime
) -> dict[str, str]:
    found = sight(part, seen_s)
    if part.tag in count.broken:
        state, mark = "broken", "bad"
    elif part.tag in count.missing:
        state, mark = "missing", "bad"
    elif part.tag in count.there:
        state, mark = ("seen" if found is Sight.SEEN else "counted"), "ok"
    else:
        state, mark = found.value, "todo"
    ago_s = seen_s.get(part.instrument or "", 0.0)
    if state == "seen_at" and now_s is None:
        state = "seen_ago"
    time = _clock(now_s - int(ago_s), local) if now_s is not None else ""
    text = words(f"inventory.{state}", time=time, age=age(ago_s))
    return {"tag": part.tag, "name": part.name, "mark": mark, "text": text}


def supply_rows(count: Count, words: Words, day: str | None) -> list[dict[str, Any]]:
    """One line a consumable: how many were counted (None: not yet), and whether they are too few or too old."""
    stock = dict(count.stock)
    rows = []
    for supply in count.supplies:
        state = "expired" if supply.expired(day) else "low" if count.low(supply) else "supply"
        until = date.fromisoformat(supply.until).strftime("%d/%m/%Y") if supply.until else ""
        text = words(f"inventory.{state}", until=until, least=supply.least)
        mark = "todo" if state != "supply" else "ok" if supply.tag in stock else "idle"
        number = stock.get(supply.tag)
        rows.append({
            "tag": supply.tag, "name": supply.name, "n": number, "least": supply.least, "mark": mark, "text": text,
        })  # fmt: skip
    return rows


def condition_rows(count: Count, words: Words) -> list[dict[str, Any]]:
    """The condition sheet's codes, and which have been scanned."""
    done = {
        "complete": not count.to_count and not count.missing,
        "disinfected": count.disinfected,
        "broken": bool(count.broken),
        "consumables": count.consumables,
    }
    return [{"id": code, "text": words(f"condition.{code}"), "done": value} for code, value in done.items()]
