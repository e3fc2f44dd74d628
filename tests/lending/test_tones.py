"""How the loan desk's answers are meant."""

from agent.custody import Say
from agent.lending.tones import TONES, Tone


def test_each_answer_has_a_tone():
    assert TONES.keys() == set(Say)


def test_what_keeps_a_bag_from_leaving_is_grave_and_what_is_done_is_done():
    assert {say for say, tone in TONES.items() if tone is Tone.GRAVE} == {Say.UNFIT, Say.FAULTY, Say.QUARANTINED}
    assert TONES[Say.HANDED_OVER] is Tone.DONE
    assert TONES[Say.HELD_SINCE] is Tone.REFUSED
