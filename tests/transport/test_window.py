"""The window of backlog: as wide as the link, never so wide that a queue builds up on the way."""

import pytest

from agent.transport.window import LEAST_BYTES, MOST_BYTES, Window


def carry(window, *, bytes_per_s, rtt_s, seconds, deep_bytes=1 << 20):
    """A bag that fills its window on a link of so many bytes a second; the longest any message stood in the queue."""
    now_s, free_s, sent, longest_s = 0.0, 0.0, 0, 0.0
    under_way = []
    while now_s < seconds:
        while sum(size for size, _, _ in under_way) < window.size:
            size = max(400, window.size // 2)
            free_s = max(free_s, now_s) + size / bytes_per_s
            under_way.append((size, now_s, free_s + rtt_s))
            sent += size
        size, sent_s, back_s = under_way.pop(0)
        now_s = back_s
        longest_s = max(longest_s, back_s - rtt_s - sent_s)
        window.answered(sent_s, now_s)
    return sent / seconds, longest_s


@pytest.mark.parametrize("rtt_s", [0.02, 0.1, 0.6])
@pytest.mark.parametrize("bytes_per_s", [8_000, 40_000, 1_250_000])
def test_the_link_is_used_and_nothing_waits_long(bytes_per_s, rtt_s):
    rate, longest_s = carry(Window(), bytes_per_s=bytes_per_s, rtt_s=rtt_s, seconds=60)
    most = min(bytes_per_s, MOST_BYTES / (rtt_s + MOST_BYTES / bytes_per_s))
    assert rate > 0.4 * most
    assert longest_s < 1.0


def test_it_begins_small_and_opens_with_quick_receipts():
    window = Window()
    assert window.size == LEAST_BYTES
    for turn in range(20):
        window.answered(turn, turn + 0.1)
    assert window.size == MOST_BYTES


def test_late_receipts_close_it_but_a_message_from_before_the_change_does_not_count_again():
    window = Window()
    for turn in range(20):
        window.answered(turn, turn + 0.1)
    window.answered(30.0, 31.0)
    window.answered(30.1, 31.1)  # under way when it was halved
    assert window.size == MOST_BYTES // 2
    window.answered(31.2, 32.2)
    assert window.size == MOST_BYTES // 4
    for turn in range(40, 60):
        window.answered(turn, turn + 0.9)
    assert window.size == LEAST_BYTES


def test_neither_early_nor_late_changes_nothing():
    window = Window(8192)
    window.answered(0.0, 0.1)
    window.answered(1.0, 1.3)
    assert window.size == 16384


def test_a_link_that_is_only_far_is_not_a_slow_one():
    window = Window()
    for turn in range(20):
        window.answered(turn, turn + 0.8)
    assert window.size == MOST_BYTES


def test_silence_begins_again():
    window = Window(MOST_BYTES)
    window.silent(10.0)
    assert window.size == LEAST_BYTES
    window.answered(9.0, 20.0)
    assert window.size == LEAST_BYTES
