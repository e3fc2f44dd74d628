"""How each of the loan desk's answers is meant: what the page marks it with, and what the buzzer plays."""

from collections.abc import Mapping
from enum import Enum

from agent.custody import Say


class Tone(Enum):
    """How an answer is meant; the values are the marks beside it on the page."""

    DONE = "ok"
    ASKED = "idle"
    REFUSED = "todo"
    GRAVE = "bad"


_TONES = {
    Tone.DONE: (
        Say.HANDED_OVER, Say.PASSED, Say.RETURNED, Say.LENDABLE, Say.CLEARED, Say.KEPT, Say.PLACED, Say.RETIRED,
    ),
    Tone.ASKED: (
        Say.NOTHING, Say.AGAIN, Say.BADGE_PLEASE, Say.OTHER_BADGE, Say.PASSING_OFF, Say.COUNTING, Say.COUNTED,
        Say.CHECKING, Say.SHEET_PLEASE, Say.PROBLEM_NOTED,
    ),
    Tone.REFUSED: (
        Say.NOT_RECORDED, Say.NOT_IN_SERVICE, Say.CARD_FIRST, Say.WRONG_CARD, Say.BAD_CARD, Say.HELD_SINCE,
        Say.END_VISIT_FIRST, Say.SENDING, Say.NOT_YET_FIT, Say.TECHNICIAN_PLEASE, Say.OVERDUE, Say.NOT_CHECKED_IN,
        Say.TIMED_OUT, Say.CONFIRM_PLEASE,
    ),
    Tone.GRAVE: (Say.UNFIT, Say.FAULTY, Say.QUARANTINED),
}  # fmt: skip
TONES: Mapping[Say, Tone] = {say: tone for tone, says in _TONES.items() for say in says}
