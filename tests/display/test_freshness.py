"""What may still be shown of a value, and how: the two rules as tables."""

import pytest

from agent.display.freshness import State, Verdict, continuous, spot
from agent.model import NoValue

S = 10**9
NOW = 5000 * S


@pytest.mark.parametrize(
    ("age_s", "reason", "state", "shown_reason"),
    [
        (0.0, None, State.CURRENT, None),
        (9.9, None, State.CURRENT, None),
        (10.0, None, State.CURRENT, None),
        (10.1, None, State.NONE, NoValue.STALE),
        (3600.0, None, State.NONE, NoValue.STALE),
        (0.5, NoValue.PROBE_OFF, State.NONE, NoValue.PROBE_OFF),
        (11.0, NoValue.PROBE_OFF, State.NONE, NoValue.STALE),  # that, too, was 11 s ago
        (-1.0, None, State.CURRENT, None),  # two clocks a little apart
        (-60.0, None, State.NONE, NoValue.STALE),  # a time that cannot be believed
    ],
)
def test_a_continuous_value_lives_ten_seconds(age_s, reason, state, shown_reason):
    verdict = continuous(NOW - int(age_s * S), NOW, reason=reason)
    assert (verdict.state, verdict.reason) == (state, shown_reason)
    assert verdict.age_s == pytest.approx(max(0.0, age_s))


@pytest.mark.parametrize(
    ("age_s", "reason", "void", "state"),
    [
        (0.0, None, False, State.CURRENT),
        (300.0, None, False, State.CURRENT),
        (301.0, None, False, State.OLD),
        (8 * 3600.0, None, False, State.OLD),  # kept for the whole visit, with its time
        (-60.0, None, False, State.OLD),
        (1.0, NoValue.INSTRUMENT, False, State.NONE),
        (1.0, None, True, State.VOID),
        (8 * 3600.0, None, True, State.VOID),
    ],
)
def test_a_spot_value_goes_grey_and_only_a_voided_one_is_struck(age_s, reason, void, state):
    assert spot(NOW - int(age_s * S), NOW, reason=reason, void=void).state is state


def test_a_value_without_a_number_always_has_its_reason():
    for verdict in (continuous(0, NOW), spot(NOW, NOW, reason=NoValue.UNSURE)):
        assert isinstance(verdict, Verdict)
        assert verdict.state is State.NONE
        assert verdict.reason is not None
