"""How long a bag must stay plugged in: from how fast what is on board has become less."""

import pytest

from agent.lending.backlog import Backlog


@pytest.mark.parametrize(
    ("counts", "left_min"),
    [
        ([], None),
        ([(0, 1000)], None),
        ([(0, 1000), (10, 1000)], None),  # no network: nobody can tell
        ([(0, 1000), (10, 1200)], None),
        ([(0, 7300), (10, 7200)], 12),
        ([(0, 7300), (10, 7201)], 13),
        ([(0, 100), (10, 1)], 1),
        ([(0, 100), (10, 0)], 1),
        ([(0, 9000), (10, 5000), (70, 4000), (130, 3000)], 3),  # the pace of the last minute, not of the first
        ([(10, 500), (10, 400)], None),
    ],
)
def test_minutes_left(counts, left_min):
    backlog = Backlog()
    for t_s, unsent in counts:
        backlog.count(t_s, unsent)
    assert backlog.left_min() == left_min
    assert backlog.unsent_bytes == (counts[-1][1] if counts else 0)
