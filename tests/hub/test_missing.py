"""What never comes, by the bag's own word: the end of an epoch that is over, rows that gave way."""

import pytest

from agent.transport.messages import Batch, GaveWayBody, PreviousEpoch, Record
from agent.transport.ranges import SeqSet
from hub.missing import Missing
from tests.peers.cpts import BAG, Bags, keyring

OLD = b"epoch0"
WHOSE = BAG, OLD


def rows(*numbers):
    have = SeqSet()
    for number in numbers:
        have.add(number)
    return have


def after(committed):
    """The header of the epoch after one whose last row on the bag's disk was `committed`."""
    return keyring().admit(BAG, Bags().epoch(PreviousEpoch(OLD, committed)).header.payload).opened.header


def gave_way(first, last, epoch=OLD):
    return Batch(1, None, (Record(0, 0, 0, GaveWayBody(epoch, first, last)),))


def test_an_epoch_that_goes_on_misses_nothing():
    missing = Missing()
    assert missing.known([WHOSE]) == []
    assert missing.of(WHOSE, rows(0, 1, 5)) == ()


@pytest.mark.parametrize(
    ("committed", "here", "holes"),
    [
        (3, [0, 1, 2, 3], ()),  # whole
        (3, [0, 1, 3], ()),  # row 2 is on the bag's disk and will come
        (3, [0, 1, 2, 3, 6], ((4, 5),)),  # row 6 was sent and never committed there: 4 and 5 neither
        (-1, [0, 2], ((1, 1),)),
    ],
)
def test_behind_the_last_row_on_the_bag_s_disk_nothing_comes_any_more(committed, here, holes):
    missing = Missing()
    missing.ended(after(committed))
    assert missing.known([WHOSE, (BAG, b"epoch9")]) == [WHOSE]
    assert missing.of(WHOSE, rows(*here)) == holes


def test_of_two_claims_the_least_stands():
    missing = Missing()
    for committed in (5, 2, 9):
        missing.ended(after(committed))
    assert missing.of(WHOSE, rows(0, 1, 2, 6)) == ((3, 5),)


def test_what_gave_way_is_missing_but_for_what_came_before():
    missing = Missing()
    assert missing.gave_way(BAG, gave_way(2, 6)) == {WHOSE}
    assert missing.of(WHOSE, rows(0, 1, 4)) == ((2, 3), (5, 6))


def test_a_range_that_ends_before_it_begins_says_nothing():
    missing = Missing()
    assert missing.gave_way(BAG, gave_way(6, 2)) == set()
    assert missing.known([WHOSE]) == []


def test_a_hub_that_starts_again_knows_what_it_had_stored():
    missing = Missing()
    missing.never(BAG, OLD, 3, 4)
    assert missing.of(WHOSE, rows(0, 1)) == ((3, 4),)
