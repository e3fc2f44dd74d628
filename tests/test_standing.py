"""Which stream stands for a signal."""

import pytest

from agent.model import Signal, Stream
from agent.standing import stands_for


def stream(name, signal):
    return Stream(name, signal, name.partition(".")[0], 100.0, 1.0, "1")


PLETH, OTHER = stream("berry.pleth", Signal.PLETH), stream("hp5.pleth", Signal.PLETH)
LIGHT, RED = stream("hp5.infrared", Signal.INFRARED), stream("hp5.red", Signal.RED)
ECG = stream("hp5.ecg", Signal.ECG)


@pytest.mark.parametrize(
    ("streams", "came", "expected"),
    [
        ([], set(), None),
        ([ECG, RED], {"hp5.ecg", "hp5.red"}, None),
        ([LIGHT, PLETH], set(), PLETH),  # a pleth is preferred, before anything came
        ([LIGHT, PLETH], {"hp5.infrared"}, LIGHT),  # what came, before what was only described
        ([LIGHT, PLETH], {"hp5.infrared", "berry.pleth"}, PLETH),
        ([RED, LIGHT], set(), LIGHT),
        ([OTHER, PLETH], {"berry.pleth"}, PLETH),
        ([OTHER, PLETH], {"berry.pleth", "hp5.pleth"}, OTHER),  # of two that came, the first described
    ],
)
def test_what_is_shown_as_the_pleth(streams, came, expected):
    assert stands_for(Signal.PLETH, streams, came) is expected


def test_nothing_stands_in_for_an_ecg():
    assert stands_for(Signal.ECG, iter([LIGHT, ECG]), {"hp5.infrared"}) is ECG
