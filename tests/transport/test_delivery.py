"""Delivery's bookkeeping: what is sent next, what is sent again and when, and what a receipt may do."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.transport.delivery import LONGEST_PATIENCE_S, RESEND_AFTER_S, Delivery
from agent.transport.messages import EpochReceipt

A, B = b"epochA", b"epochB"


def receipt(epoch, upto, *ranges):
    return EpochReceipt(epoch, upto, ranges)


def on_board(n, epoch=A):
    """Rows 0..n-1 committed, none sent."""
    delivery = Delivery()
    for seq in range(n):
        delivery.committed(epoch, seq)
    return delivery


def send_all(delivery, now_s=0.0):
    sent = []
    while (due := delivery.backlog()) is not None:
        delivery.sent(*due, now_s)
        sent.append(due)
    return sent


class TestBacklog:
    def test_oldest_epoch_first_in_ranges(self):
        delivery = Delivery([(A, 3, 5), (A, 9, 9), (B, 0, 2)])
        assert send_all(delivery) == [(A, 3, 5), (A, 9, 9), (B, 0, 2)]
        assert delivery.backlog() is None
        assert delivery.unreceipted() == 7

    def test_a_row_sent_live_before_its_commit_is_not_sent_twice(self):
        delivery = on_board(1)
        delivery.sent(A, 1, 1, 0.0)
        delivery.committed(A, 1)
        assert send_all(delivery) == [(A, 0, 0)]

    def test_a_new_connection_makes_all_that_is_not_receipted_backlog_again(self):
        delivery = on_board(6)
        send_all(delivery)
        delivery.receipted(receipt(A, 2, (4, 4)))
        delivery.connected()
        assert send_all(delivery) == [(A, 0, 0), (A, 3, 3), (A, 5, 5)]  # the header opens what follows

    def test_a_drained_epoch_s_header_is_not_sent_again(self):
        delivery = on_board(3)
        send_all(delivery)
        delivery.receipted(receipt(A, 2))
        delivery.connected()
        assert delivery.backlog() is None

    def test_rows_that_gave_way_are_waited_for_no_longer(self):
        delivery = on_board(6)
        send_all(delivery, 0.0)
        delivery.gone(A, 0, 3)
        assert delivery.unreceipted() == 2
        delivery.connected()
        assert send_all(delivery) == [(A, 4, 5)]
        delivery.gone(A, 4, 5)
        assert delivery.oldest_unanswered_s(100.0) is None

    def test_a_row_that_cannot_be_read_is_tried_on_the_next_connection_and_stays_counted(self):
        delivery = on_board(3)
        delivery.skip(A, 1)
        assert send_all(delivery) == [(A, 0, 0), (A, 2, 2)]
        assert delivery.unreceipted() == 3
        delivery.connected()
        assert send_all(delivery) == [(A, 0, 2)]


class TestReceipts:
    def test_each_row_is_news_once(self):
        delivery = on_board(6)
        send_all(delivery)
        assert delivery.receipted(receipt(A, 1, (4, 4))) == receipt(A, -1, (0, 1), (4, 4))
        assert delivery.receipted(receipt(A, 1, (4, 4))) is None
        assert delivery.receipted(receipt(A, 4)) == receipt(A, -1, (2, 3))
        assert delivery.receipted_rows == 5
        assert delivery.unreceipted() == 1
        assert delivery.is_receipted(A, 3)
        assert not delivery.is_receipted(A, 5)

    def test_rows_never_given_away_are_not_believed_to_be_at_the_hub(self):
        """A hub that says more than it can know (a fault, another bag's database) makes nothing leave the disk."""
        delivery = on_board(3)
        assert delivery.receipted(receipt(A, 2**32 - 1)) == receipt(A, -1, (0, 2))
        delivery.committed(A, 3)
        assert delivery.unreceipted() == 1
        assert delivery.receipted(receipt(A, 2, (50, 60))) is None

    def test_rows_sent_but_not_yet_committed_may_be_receipted(self):
        delivery = on_board(1)
        delivery.sent(A, 1, 1, 0.0)
        assert delivery.receipted(receipt(A, 1)) == receipt(A, -1, (0, 1))
        delivery.committed(A, 1)
        assert delivery.unreceipted() == 0

    def test_an_epoch_that_is_not_on_board_changes_nothing_and_costs_nothing(self):
        delivery = on_board(1)
        for n in range(1000):
            assert delivery.receipted(receipt(n.to_bytes(6), 7, (9, 10))) is None
        assert len(delivery._epochs) == 1

    @settings(max_examples=60)
    @given(st.lists(st.tuples(st.integers(-1, 12), st.integers(0, 12), st.integers(0, 5)), max_size=12))
    def test_in_any_order_doubled_or_old_they_only_add_up(self, said):
        delivery = on_board(10)
        have = set()
        for upto, first, length in said:
            named = (set(range(upto + 1)) | set(range(first, first + length + 1))) & set(range(10))
            news = delivery.receipted(receipt(A, upto, (first, first + length)))
            told = {n for a, b in news.ranges for n in range(a, b + 1)} if news else set()
            assert told == named - have
            have |= named
            assert delivery.unreceipted() == 10 - len(have)


class TestWhatWasLostOnTheWay:
    def test_a_later_row_s_receipt_tells_at_once(self):
        delivery = on_board(6)
        for seq in range(6):
            delivery.sent(A, seq, seq, 0.0)
        delivery.receipted(receipt(A, 1, (4, 4)))
        assert send_all(delivery) == [(A, 2, 3)]  # 5 may still be on its way

    def test_but_only_once_on_a_connection(self):
        """A row that the hub refuses for ever (damaged on disk) is not sent with every receipt."""
        delivery = on_board(9)
        for seq in range(6):
            delivery.sent(A, seq, seq, 0.0)
        delivery.receipted(receipt(A, 1, (3, 5)))
        assert send_all(delivery) == [(A, 2, 2), (A, 6, 8)]
        delivery.receipted(receipt(A, 1, (3, 8)))
        assert delivery.backlog() is None
        delivery.connected()
        assert send_all(delivery)[-1] == (A, 2, 2)

    def test_a_receipt_that_stays_away_makes_rows_backlog_again(self):
        delivery = on_board(2)
        send_all(delivery, 0.0)
        assert delivery.oldest_unanswered_s(9.0) == 9.0
        assert not delivery.resend(RESEND_AFTER_S - 0.1)
        assert delivery.resend(RESEND_AFTER_S)
        assert delivery.backlog() == (A, 0, 1)

    def test_what_was_sent_lately_is_still_waited_for(self):
        delivery = on_board(4)
        delivery.sent(A, 0, 1, 0.0)
        delivery.sent(A, 2, 3, 5.0)
        assert delivery.resend(RESEND_AFTER_S + 1)
        assert send_all(delivery, 11.0) == [(A, 0, 1)]

    def test_patience_with_rows_nobody_takes_doubles(self):
        delivery = on_board(1)
        now_s, sent_s = 0.0, []
        while now_s < 7200:
            sent_s += [now_s] * len(send_all(delivery, now_s))
            delivery.resend(now_s)
            now_s += 1
        assert sent_s[:4] == [0, 11, 32, 73]
        assert len(sent_s) < 20
        assert max(b - a for a, b in pairwise(sent_s)) <= LONGEST_PATIENCE_S + 1

    def test_an_answered_link_has_nothing_outstanding(self):
        delivery = on_board(2)
        send_all(delivery, 0.0)
        delivery.receipted(receipt(A, 1))
        assert delivery.oldest_unanswered_s(99.0) is None
        assert not delivery.resend(99.0)


class TestEpochs:
    def test_one_that_is_over_and_receipted_is_forgotten(self):
        delivery = Delivery([(A, 0, 3), (B, 0, 1)])
        send_all(delivery)
        delivery.receipted(receipt(A, 3))
        delivery.receipted(receipt(B, 1))
        assert delivery.forget_epochs(running=B) == [A]
        assert delivery.forget_epochs(running=B) == []
        assert list(delivery._epochs) == [B]

    def test_one_with_a_row_left_is_not(self):
        delivery = Delivery([(A, 0, 3)])
        send_all(delivery)
        delivery.receipted(receipt(A, 1, (3, 3)))
        assert delivery.forget_epochs(running=B) == []
        assert delivery.unreceipted() == 1


def test_a_row_is_answered_when_the_hub_has_it_or_its_whole_epoch_is_done():
    delivery = Delivery([(A, 0, 3)])
    delivery.sent(A, 0, 3, 0.0)
    delivery.receipted(receipt(A, 1))
    assert [delivery.is_answered(A, seq) for seq in range(4)] == [True, True, False, False]
    delivery.receipted(receipt(A, 3))
    assert delivery.forget_epochs(B) == [A]
    assert delivery.is_answered(A, 3)


def test_no_answer_is_awaited_for_what_is_to_be_sent_again_or_gone():
    delivery = Delivery([(A, 0, 3)])
    delivery.sent(A, 0, 3, 0.0)
    delivery.gone(A, 2, 2)
    assert [delivery.is_answered(A, seq) for seq in range(4)] == [False, False, True, False]
    delivery.connected()
    assert all(delivery.is_answered(A, seq) for seq in range(4))
