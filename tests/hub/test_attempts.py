"""How often a code may be tried, on a clock that the test turns."""

from hypothesis import given
from hypothesis import strategies as st

from hub.attempts import Attempts


class Turned:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def miss(attempts: Attempts, client: str) -> bool:
    """Try once and fail; False when no try was allowed."""
    if attempts.wait_s(client) > 0:
        return False
    attempts.missed(client)
    return True


def test_two_slips_are_free_then_the_wait_doubles_to_a_minute():
    clock = Turned()
    attempts = Attempts(clock, per_client=1000, in_total=1000)
    waits = []
    for _ in range(10):
        assert miss(attempts, "a")
        waits.append(round(attempts.wait_s("a")) if attempts.wait_s("a") else 0)
        clock.now += 61
    assert waits == [0, 0, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_hit_forgives_the_misses():
    clock = Turned()
    attempts = Attempts(clock)
    for _ in range(3):
        assert miss(attempts, "a")
    assert attempts.wait_s("a") > 0
    clock.now += 3
    assert attempts.wait_s("a") == 0
    attempts.hit("a")
    assert miss(attempts, "a")
    assert attempts.wait_s("a") == 0


def test_one_client_s_waiting_is_not_another_s():
    clock = Turned()
    attempts = Attempts(clock, per_client=3, in_total=100)
    while miss(attempts, "a"):
        pass
    assert attempts.wait_s("b") == 0


def test_all_together_have_a_limit_of_their_own():
    clock = Turned()
    attempts = Attempts(clock, per_client=6, in_total=20)
    assert sum(miss(attempts, f"client {i}") for i in range(500)) == 20
    clock.now += 60
    assert sum(miss(attempts, f"client {i}") for i in range(500)) == 20


def test_a_client_is_forgotten_after_a_quarter_of_an_hour():
    clock = Turned()
    attempts = Attempts(clock)
    for i in range(5000):
        miss(attempts, f"client {i}")
        clock.now += 3
    assert len(attempts._clients) <= 301


@given(st.lists(st.tuples(st.floats(0, 30), st.sampled_from("abcdefgh")), max_size=200))
def test_no_minute_ever_holds_more_tries_than_allowed(steps):
    clock = Turned()
    attempts = Attempts(clock)
    tries: list[tuple[float, str]] = []
    for pause, client in steps:
        clock.now += pause
        if miss(attempts, client):
            tries.append((clock.now, client))
    for at, _ in tries:
        window = [who for t, who in tries if at <= t < at + 60]
        assert len(window) <= 20
        assert all(window.count(who) <= 6 for who in set(window))
