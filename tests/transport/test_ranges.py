"""SeqSet against Python's set."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from agent.transport.ranges import SeqSet

NUMBERS = st.integers(0, 40)
CHANGES = st.lists(st.tuples(st.booleans(), NUMBERS, NUMBERS), max_size=30)


def test_numbers_that_touch_become_one_range():
    seqs = SeqSet([(0, 3), (8, 9)])
    seqs.add(4)
    assert list(seqs) == [(0, 4), (8, 9)]
    seqs.add(5, 7)
    assert list(seqs) == [(0, 9)]
    seqs.remove(3, 4)
    assert list(seqs) == [(0, 2), (5, 9)]


def test_what_a_receipt_needs():
    seqs = SeqSet([(0, 4), (7, 7)])
    assert (seqs.upto, seqs.highest, len(seqs)) == (4, 7, 6)
    assert list(seqs.missing(0, 9)) == [(5, 6), (8, 9)]
    assert (SeqSet().upto, SeqSet().highest, SeqSet([(1, 2)]).upto) == (-1, -1, -1)


@given(CHANGES, NUMBERS, NUMBERS)
def test_as_a_set_of_numbers(changes, first, last):
    seqs, model = SeqSet(), set()
    for adds, a, b in changes:
        if adds:
            seqs.add(a, b)
            model |= set(range(a, b + 1))
        else:
            seqs.remove(a, b)
            model -= set(range(a, b + 1))
        ranges = list(seqs)
        assert all(a <= b for a, b in ranges)
        assert all(b + 1 < c for (_, b), (c, _) in pairwise(ranges))
    assert {n for a, b in seqs for n in range(a, b + 1)} == model
    assert len(seqs) == len(model)
    assert all((n in seqs) == (n in model) for n in range(45))
    assert seqs.highest == max(model, default=-1)
    assert seqs.upto == next(n for n in range(50) if n not in model) - 1
    missing = {n for a, b in seqs.missing(first, last) for n in range(a, b + 1)}
    assert missing == set(range(first, last + 1)) - model
    assert SeqSet(list(seqs)) == seqs


def test_hours_of_rows_are_one_pair():
    seqs = SeqSet()
    for n in range(30_000):
        seqs.add(n)
    assert list(seqs) == [(0, 29_999)]
