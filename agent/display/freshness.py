"""Staleness, a module of its own: what may still be shown of a value, and how, given its age.

Two rules, from what a clinician may trust:

- a continuous value (heart rate, SpO2, pulse rate) older than 10 s is no value any more: dashes with the reason;
- a spot value (temperature, pressure, glucose) stays, with its time and site; with age it goes grey, never struck
  through: in a French record a struck value is a cancelled one, so only a voided value is struck.

A time in the future beyond a small clock error is as little to be trusted as an old one.
"""

from dataclasses import dataclass
from enum import Enum

from agent.model import NoValue

CONTINUOUS_MAX_S = 10.0
SPOT_FRESH_S = 300.0
FUTURE_MAX_S = 2.0


class State(Enum):
    """How a value is drawn: in its colour, grey, as dashes, or struck through."""

    CURRENT = "current"
    OLD = "old"
    NONE = "none"
    VOID = "void"


@dataclass(frozen=True, slots=True)
class Verdict:
    """How to show a value now: `reason` is set exactly when nothing may be shown; `age_s` is never negative."""

    state: State
    age_s: float
    reason: NoValue | None = None


def age_s(t_ns: int, now_ns: int) -> float:
    """Return the age in seconds; a time in the future has age 0."""
    return max(0.0, (now_ns - t_ns) / 1e9)


def continuous(t_ns: int, now_ns: int, *, reason: NoValue | None = None) -> Verdict:
    """Judge a continuous value measured at `t_ns`; `reason` is set when the source itself gave no number."""
    age = age_s(t_ns, now_ns)
    if age > CONTINUOUS_MAX_S or (t_ns - now_ns) / 1e9 > FUTURE_MAX_S:
        return Verdict(State.NONE, age, NoValue.STALE)
    if reason is not None:
        return Verdict(State.NONE, age, reason)
    return Verdict(State.CURRENT, age)


def spot(t_ns: int, now_ns: int, *, reason: NoValue | None = None, void: bool = False) -> Verdict:
    """Judge a one-shot value measured at `t_ns`."""
    age = age_s(t_ns, now_ns)
    if void:
        return Verdict(State.VOID, age)
    if reason is not None:
        return Verdict(State.NONE, age, reason)
    in_future = (t_ns - now_ns) / 1e9 > FUTURE_MAX_S
    return Verdict(State.OLD if in_future or age > SPOT_FRESH_S else State.CURRENT, age)
