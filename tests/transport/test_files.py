"""A file in pieces: any order, doubled, contradictory, too many; whole or nothing."""

import dataclasses
import hashlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.model import Media
from agent.transport.files import LONGEST, Assembly, cut_file
from agent.transport.wire import FILE_PART_BYTES


def content(n, seed=1):
    return random.Random(seed).randbytes(n)


def test_the_pieces_of_a_file():
    data = content(2 * FILE_PART_BYTES + 5)
    parts = cut_file("camera", 7, Media.JPEG, data)
    assert [(p.part, p.parts, len(p.data)) for p in parts] == [(0, 3, 65536), (1, 3, 65536), (2, 3, 5)]
    assert {p.digest for p in parts} == {hashlib.sha256(data).digest()}


@pytest.mark.parametrize("n", [0, LONGEST + 1])
def test_an_empty_and_a_too_long_file_are_not_cut(n):
    with pytest.raises(ValueError, match="at most"):
        cut_file("camera", 7, Media.JPEG, bytes(n))


@given(st.integers(1, 5 * FILE_PART_BYTES), st.randoms(use_true_random=False), st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_in_any_order_and_doubled_it_is_the_same_file_once(n, rng, doubled):
    data = content(n, rng.random())
    parts = cut_file("camera", 7, Media.JPEG, data)
    sent = parts + [rng.choice(parts) for _ in range(doubled)]
    rng.shuffle(sent)
    seen = Assembly()
    whole = [one for part in sent if (one := seen.take(part)) is not None]
    assert whole
    assert {one.data for one in whole} == {data}
    assert (whole[0].media, whole[0].instrument, whole[0].t_ns) == (Media.JPEG, "camera", 7)


def test_a_missing_piece_gives_nothing():
    seen = Assembly()
    assert [seen.take(part) for part in cut_file("camera", 7, Media.PDF, content(200_000))[1:]] == [None] * 3


@pytest.mark.parametrize("change", [{"part": 3}, {"parts": 4}, {"media": Media.PDF}])
def test_a_piece_that_contradicts_the_others_is_dropped(change):
    first, second, third = cut_file("camera", 7, Media.JPEG, content(2 * FILE_PART_BYTES + 1))
    seen = Assembly()
    seen.take(first)
    assert seen.take(dataclasses.replace(second, **change)) is None
    assert seen.refused == 1
    seen.take(second)
    assert seen.take(third).data == content(2 * FILE_PART_BYTES + 1)


def test_a_file_whose_sum_is_wrong_is_not_given():
    first, second = cut_file("camera", 7, Media.JPEG, content(FILE_PART_BYTES + 1))
    seen = Assembly()
    seen.take(first)
    assert seen.take(dataclasses.replace(second, data=b"x")) is None
    assert seen.refused == 1


def test_unfinished_files_are_bounded_and_the_oldest_go_first():
    seen = Assembly(most_bytes=3 * FILE_PART_BYTES)
    files = [cut_file("camera", 7, Media.JPEG, content(FILE_PART_BYTES + 1, seed)) for seed in range(5)]
    for parts in files:
        assert seen.take(parts[0]) is None
    assert seen.take(files[0][1]) is None  # forgotten meanwhile
    assert seen.take(files[4][1]) is not None


def test_an_impossible_piece_alone_is_not_kept():
    (part,) = cut_file("camera", 7, Media.JPEG, b"x")
    seen = Assembly()
    assert seen.take(dataclasses.replace(part, part=1)) is None
    assert seen.take(part).data == b"x"
