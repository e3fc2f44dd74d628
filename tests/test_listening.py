"""«Écoute»: open on a gesture, closed by one or after 2 min without a body sound."""

import pytest

from agent.listening import MODE_AT, Listening, mode_at
from agent.model import Analysis, HeartSound, Signal, Stream

S = 1_000_000_000
SOUND = Stream("scope.sound", Signal.SOUND, "scope", 4000.0, 1 / 32768, "1")
ECG = Stream("box.ecg", Signal.ECG, "box", 125.0, 1.0, "uV", "DI")
SILENT = Analysis("scope.sound", 0)
BEAT = Analysis("scope.sound", 0, sounds=(HeartSound("S1", 1.0),))


def opened():
    listening = Listening()
    listening.open(10 * S)
    return listening


def test_a_closed_microphone_stays_closed():
    listening = Listening()
    assert not listening.on
    assert not listening.due(10**18)


def test_it_is_due_to_close_after_two_minutes_without_body_sound():
    listening = opened()
    listening.heard(SILENT, 100 * S)
    assert not listening.due(130 * S)
    assert listening.due(130 * S + 1)
    listening.close()
    assert not listening.due(130 * S + 1)


@pytest.mark.parametrize("sign", [lambda ear: ear.heard(BEAT, 100 * S), lambda ear: ear.at("lung_left_base", 100 * S)])
def test_a_heart_sound_or_the_next_place_goes_on_for_two_more(sign):
    listening = opened()
    sign(listening)
    assert not listening.due(220 * S)
    assert listening.due(220 * S + 1)


def test_the_sound_carries_its_place_and_nothing_else_does():
    listening = opened()
    assert listening.placed(SOUND).lead is None
    listening.at("mitral", 11 * S)
    assert listening.placed(SOUND).lead == "mitral"
    assert listening.placed(ECG) is ECG
    listening.open(20 * S)
    assert listening.placed(SOUND).lead is None  # opened again: nobody has said where


def test_an_unknown_place_is_refused_by_name():
    with pytest.raises(ValueError, match="unknown site 'knee'; known: aortic"):
        opened().at("knee", 0)


def test_each_place_has_a_mode_and_none_is_wide():
    assert {mode_at(site) for site in MODE_AT} == {"heart", "lung"}
    assert mode_at(None) == "wide"
