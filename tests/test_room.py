"""Room on the card: the order in which rows give way, what is noted of it, the ballast."""

import pytest

from agent.errors import StateError
from agent.outbox import Outbox
from agent.room import CROWDED_SHARE, GaveWay
from agent.transport.epoch import OutRow
from agent.transport.messages import EpochReceipt

A, B = b"epochA", b"epochB"
CAP = 256 * 1024


def bulk(epoch, seq):
    return OutRow(epoch, seq, bytes([seq % 256]) * 2000, bulk=True)


def reading(epoch, seq):
    return OutRow(epoch, seq, bytes([seq % 256]) * 200)


@pytest.fixture
def box(tmp_path):
    box = Outbox(tmp_path / "outbox.sqlite", cap_bytes=CAP, ballast_bytes=4096)
    yield box
    box.close()


def on_board(box, epoch):
    return [seq for e, first, last in box.unreceipted() if e == epoch for seq in range(first, last + 1)]


def test_waveforms_give_way_the_oldest_first_and_what_left_is_noted(box):
    box.commit([OutRow(A, 0, b"header")])
    gone = []
    for seq in range(1, 300):
        gone = box.commit([bulk(A, seq)])
    left = on_board(box, A)
    assert left[0] == 0
    assert left[1:] == list(range(left[1], 300))
    assert 0.7 * CAP < 2000 * len(left) < CAP
    assert sorted(seq for span in gone for seq in range(span.first, span.last + 1)) == list(range(1, left[1]))
    assert box.room.used_bytes() < CAP


def test_readings_stay_while_there_is_a_waveform_to_give_way_and_then_take_the_rest(box):
    for seq in range(250):
        box.commit([bulk(A, seq), reading(B, seq)])
    waveforms = on_board(box, A)
    assert on_board(box, B) == list(range(250))
    assert 0 < len(waveforms) < 100
    upto, full = 250, ""
    while not full:
        try:
            box.commit([reading(B, upto)])
        except StateError as error:
            full = str(error)
        else:
            upto += 1
    assert "full" in full
    assert on_board(box, A) == []
    assert on_board(box, B) == list(range(upto))
    assert upto * 200 > 0.7 * CAP


def test_where_only_readings_are_new_waveforms_are_not_taken_and_that_is_noted(box):
    for seq in range(900):
        box.commit([reading(A, seq)])
    gone = box.commit([reading(A, 900), bulk(A, 901), bulk(A, 902)])
    assert on_board(box, A) == list(range(901))
    assert gone == [GaveWay(A, 901, 902)]


def test_it_is_noted_until_the_declaration_is_on_board_also_over_a_restart(tmp_path):
    box = Outbox(tmp_path / "outbox.sqlite", cap_bytes=CAP)
    for seq in range(200):
        gone = box.commit([bulk(A, seq)])
    assert gone
    box.close()
    again = Outbox(tmp_path / "outbox.sqlite", cap_bytes=CAP)
    assert sorted(again.commit([reading(B, 0)]), key=lambda span: span.first) == sorted(gone, key=lambda s: s.first)
    assert not {*again.commit([reading(B, 1)], declared=gone)} & {*gone}
    again.close()


def test_receipted_rows_make_room_before_anything_gives_way(box):
    for seq in range(1, 1000):
        assert box.commit([bulk(A, seq)], [EpochReceipt(A, seq - 1, ())]) == []


def test_it_says_when_waveforms_should_go_apart(box):
    assert not box.room.crowded
    for seq in range(60):
        box.commit([reading(A, 1000 + seq), bulk(A, seq)])
    assert box.room.crowded
    assert box.room.used_bytes() > CROWDED_SHARE * CAP


def test_the_ballast_is_taken_in_where_there_is_room(tmp_path):
    box = Outbox(tmp_path / "outbox.sqlite", ballast_bytes=100_000)
    assert (tmp_path / "ballast").stat().st_size == 100_000
    box.room.throw_ballast()
    assert not (tmp_path / "ballast").exists()
    box.commit([reading(A, 1)])
    assert (tmp_path / "ballast").exists()
    box.close()
    Outbox(tmp_path / "other.sqlite", ballast_bytes=0).close()
    Outbox(tmp_path / "huge.sqlite", ballast_bytes=1 << 60).close()  # it is not taken in: nothing fails
