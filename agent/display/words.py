"""The words on every screen: fr.toml read once, each key checked, numbers and ages written the French way."""

import tomllib
from collections.abc import Iterator, Mapping
from enum import Enum
from importlib import resources
from typing import Any

from agent.errors import InstrumentReason
from agent.model import Cause, Happening, InstrumentState, NoValue

SECTIONS: Mapping[type[Enum], str] = {
    NoValue: "no_value",
    InstrumentReason: "instrument_reason",
    InstrumentState: "state",
    Cause: "cause",
    Happening: "happening",
}
"""The closed sets that people see, and the table of fr.toml that holds a sentence for each member."""

MINUTE_S = 60
HOUR_S = 3600


def _flatten(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value)


class Words:
    """Sentences by dotted key (`link.offline`), in one language.

    `words("link.silent", age="20 s")` fills in; a key that does not exist raises KeyError with its name, so that a
    missing sentence is found by the tests and never reaches a screen.
    """

    def __init__(self, sentences: Mapping[str, str]) -> None:
        self._sentences = dict(sentences)

    @classmethod
    def load(cls, language: str = "fr") -> "Words":
        """Read the package's own table of `language`."""
        text = resources.files("agent.display").joinpath(f"{language}.toml").read_text(encoding="utf-8")
        return cls(dict(_flatten(tomllib.loads(text))))

    def __call__(self, key: str, **values: object) -> str:
        """Return the sentence of `key`, its braces filled in."""
        sentence = self._sentences[key]
        return sentence.format(**values) if values else sentence

    def __contains__(self, key: str) -> bool:
        return key in self._sentences

    def __iter__(self) -> Iterator[str]:
        return iter(self._sentences)

    def of(self, member: Enum, **values: object) -> str:
        """Return the sentence of a member of one of the closed SECTIONS."""
        return self(f"{SECTIONS[type(member)]}.{member.value}", **values)

    def or_given(self, section: str, name: str) -> str:
        """Return the sentence of `section.name`, or `name` itself: sites and leads may already be printable."""
        key = f"{section}.{name}"
        return self._sentences.get(key, name)


def number(value: float, decimals: int = 0) -> str:
    """Write a number the French way: decimal comma, halves away from zero as people round, no negative zero.

    >>> number(37.1, 1), number(71.6), number(-0.01)
    ('37,1', '72', '0')
    """
    scaled = abs(value) * 10**decimals
    rounded = int(scaled + 0.5)  # never banker's rounding: 72.5 is read as 73 on every monitor
    whole, part = divmod(rounded, 10**decimals)
    text = f"{whole},{part:0{decimals}d}" if decimals else str(whole)
    return f"-{text}" if value < 0 and rounded else text


def age(seconds: float) -> str:
    """Write how long ago: seconds up to a minute, then minutes, then hours and minutes.

    >>> age(12.7), age(75), age(3900)
    ('12 s', '1 min', '1 h 05')
    """
    s = max(0, int(seconds))
    if s < MINUTE_S:
        return f"{s} s"
    if s < HOUR_S:
        return f"{s // MINUTE_S} min"
    return f"{s // HOUR_S} h {s % HOUR_S // MINUTE_S:02d}"
