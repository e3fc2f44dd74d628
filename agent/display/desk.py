"""The loan desk's sentences: what a scan is answered, in French, with times of day and names filled in.

A stranger learns since when a bag is out, and that a health professional has it, never whose name.
"""

import tomllib
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from importlib import resources

from agent.custody import Say
from agent.display.words import Words
from agent.holding import split
from agent.loan import Said

LocalTime = Callable[[int], datetime]


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


def tell(said: Said, words: Words, *, bag: str, names: Mapping[str, str], local: LocalTime) -> str:
    """One sentence for the page. `names` gives instruments' and parts' French names by key or tag."""
    held = said.custody
    defects, notes = split(held.defects + held.notes)
    without = [note for note in notes if note.startswith("without:")]
    number = bag.removeprefix("sac-")
    values = {
        "bag": words("custody.bag", number=number),
        "label": held.label,
        "place": held.place,
        "time": _clock(held.since_s, local),
        "due": _clock(held.due_s, local),
        "detail": names.get(said.detail, said.detail),
        "reason": words(f"badge_reason.{said.detail}") if said.say is Say.BAD_CARD else "",
        "findings": _named(words, "health", said.findings, names),
        "defects": _named(words, "defect", defects, names),
        "without": _named(words, "defect", without, names),
        "parts": ", ".join(said.to_count),
    }
    return words(f"custody.{_variant(said, bool(defects), bool(without))}", **values)


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


def _clock(utc_s: int | None, local: LocalTime) -> str:
    return local(utc_s).strftime("%H:%M") if utc_s is not None else ""
