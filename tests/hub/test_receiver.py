"""The receiver: commit, then receipt; everything that cannot be believed is counted and changes nothing."""

import dataclasses
import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.transport import seal, sequence, wire
from agent.transport.delivery import Delivery
from agent.transport.epoch import Epoch
from agent.transport.messages import (
    Batch,
    EpochReason,
    EpochReceipt,
    GaveWayBody,
    Order,
    Preview,
    PreviousEpoch,
    Receipt,
    Record,
    State,
    TimeAnswer,
    TimeAsk,
    VisitBody,
    VisitStep,
)
from agent.transport.ranges import SeqSet
from hub.keys import Keyring
from hub.receiver import EPOCHS_TOLD, MOST_PENDING_BYTES, Receiver
from hub.store import Store
from tests.peers.cpts import (
    BAG,
    MESSAGES,
    Bags,
    authority,
    batch,
    bit_flips,
    hub_key,
    identity,
    keyring,
    sealed_row,
)  # fmt: skip

LIVE = f"besace/v1/{BAG}/up/live"
BACKLOG = f"besace/v1/{BAG}/up/backlog"
STATE = f"besace/v1/{BAG}/up/state"


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "hub.sqlite")
    yield store
    store.close()


@pytest.fixture
def hub(store):
    hub = Receiver(keyring(), now_us=lambda: 9)
    hub.restore(store)
    return hub


def commit(hub, store):
    """One commit as the service does it; give what it held."""
    pending = hub.collect()
    store.commit(pending.headers, pending.rows, pending.visits, pending.holes)
    hub.committed(pending)
    return pending


def told(hub, epoch, receipts=None):
    """What a bag reads in the receipts that are due."""
    found = {}
    for topic, payload in hub.receipts() if receipts is None else receipts:
        assert topic == f"besace/v1/{BAG}/down/receipt"
        _, plaintext = epoch.down.open(payload)
        message = wire.decode(plaintext)
        assert isinstance(message, Receipt)
        found |= {r.epoch: (r.upto, r.ranges) for r in message.epochs}
    return found


def state(epoch, session=1, online=True):
    return sequence.join([epoch.header.payload, epoch.state(wire.encode(State(online, session, "0.1.0")))])


class TestTheRule:
    def test_commit_then_receipt(self, hub, store):
        epoch = Bags().epoch()
        hub.take(LIVE, epoch.header.payload)
        hub.take(LIVE, epoch.row(batch(1)).payload)
        assert hub.receipts() == []
        commit(hub, store)
        assert told(hub, epoch) == {epoch.id: (1, ())}
        assert hub.receipts() == []

    def test_a_commit_that_failed_is_never_receipted_and_the_rows_are_taken_again(self, hub, store):
        epoch = Bags().epoch()
        rows = [epoch.header.payload, epoch.row(batch(1)).payload]
        for row in rows:
            hub.take(LIVE, row)
        hub.dropped(hub.collect())
        assert hub.receipts() == []
        for row in rows:
            hub.take(LIVE, row)
        commit(hub, store)
        assert told(hub, epoch) == {epoch.id: (1, ())}

    def test_no_row_is_on_disk_without_its_header(self, hub, store):
        epoch = Bags().epoch()
        hub.take(LIVE, epoch.header.payload)
        hub.dropped(hub.collect())
        hub.take(LIVE, epoch.row(batch(1)).payload)
        pending = commit(hub, store)
        assert (len(pending.headers), len(pending.rows)) == (1, 1)
        assert told(hub, epoch) == {epoch.id: (1, ())}

    def test_a_row_on_disk_is_receipted_again_and_not_stored_again(self, hub, store):
        epoch = Bags().epoch()
        row = epoch.row(batch(1)).payload
        for payload in (epoch.header.payload, row, row):
            hub.take(LIVE, payload)
        assert len(commit(hub, store).rows) == 1
        told(hub, epoch)
        hub.take(BACKLOG, sequence.join([row]))
        assert not hub.collect()
        assert told(hub, epoch) == {epoch.id: (1, ())}

    def test_a_row_that_comes_again_during_its_commit_is_shown_once(self, hub):
        epoch = Bags().epoch()
        hub.take(LIVE, epoch.header.payload)
        row = epoch.row(batch(1)).payload
        hub.take(LIVE, row)
        under_way = hub.collect()
        hub.take(LIVE, row)
        assert not hub.collect().heard
        hub.committed(under_way)

    def test_holes_are_named_as_ranges(self, hub, store):
        epoch = Bags().epoch()
        rows = [epoch.row(batch(t)).payload for t in range(10)]
        for payload in [epoch.header.payload, rows[0], rows[3], rows[4], rows[9]]:
            hub.take(LIVE, payload)
        commit(hub, store)
        assert told(hub, epoch) == {epoch.id: (1, ((4, 5), (10, 10)))}

    def test_a_restarted_hub_knows_what_it_has(self, hub, store):
        epoch = Bags().epoch()
        for payload in (epoch.header.payload, epoch.row(batch(1)).payload):
            hub.take(LIVE, payload)
        commit(hub, store)
        again = Receiver(keyring(), now_us=lambda: 9)
        again.restore(store)
        again.take(LIVE, epoch.row(batch(2)).payload)
        commit(again, store)
        assert told(again, epoch) == {epoch.id: (2, ())}


class TestARestoredDatabase:
    """The hub's disk is lost, and its database comes back as it was some time ago."""

    def test_what_bags_still_hold_comes_again_and_what_they_deleted_is_never_claimed(self, hub, store, tmp_path):
        epoch, bag = Bags().epoch(), Delivery()
        rows = [epoch.header, *(epoch.row(batch(t)) for t in range(1, 7))]

        def hears(hub):
            for whose, (upto, ranges) in told(hub, epoch).items():
                bag.receipted(EpochReceipt(whose, upto, ranges))

        def sends(hub, *numbers):
            for n in numbers:
                bag.committed(epoch.id, n)
                bag.sent(epoch.id, n, n, 0.0)
                hub.take(LIVE, rows[n].payload)

        sends(hub, 0, 1, 2)
        commit(hub, store)
        backup = sqlite3.connect(tmp_path / "backup.sqlite")
        store._db.backup(backup)
        backup.close()
        sends(hub, 3, 4)
        commit(hub, store)
        hears(hub)
        bag.gone(epoch.id, 1, 4)  # receipted: the bag has deleted them
        sends(hub, 5)  # on its way when the disk was lost

        restored = Store(tmp_path / "backup.sqlite")
        again = Receiver(keyring(), now_us=lambda: 9)
        again.restore(restored)
        again.take(STATE, state(epoch))
        bag.connected()
        ((_, payload),) = again.receipts()
        _, plaintext = epoch.down.open(payload)  # under a session of its own: no nonce is used twice
        assert wire.decode(plaintext).epochs == (EpochReceipt(epoch.id, 2, ()),)
        assert bag.backlog() == (epoch.id, 0, 0)
        sends(again, 5, 6)
        commit(again, restored)
        assert told(again, epoch) == {epoch.id: (2, ((5, 6),))}  # nothing is said of 3 and 4, which nobody has
        assert restored.holes(BAG, epoch.id) == []
        restored.close()


class TestEpochsOfABag:
    def test_receipts_for_older_epochs_come_under_the_newest(self, hub, store):
        bags = Bags()
        old, new = bags.epoch(), bags.epoch()
        row = old.row(batch(1)).payload
        hub.take(STATE, state(new))
        hub.take(BACKLOG, sequence.join([old.header.payload, row]))
        commit(hub, store)
        assert told(hub, new) == {old.id: (1, ()), new.id: (0, ())}

    def test_a_new_epoch_is_told_everything_again(self, hub, store):
        """What was sealed under the epoch before it was lost on a bag that had just restarted."""
        bags = Bags()
        old, new = bags.epoch(), bags.epoch()
        for payload in (old.header.payload, old.row(batch(1)).payload):
            hub.take(LIVE, payload)
        commit(hub, store)
        hub.receipts()
        hub.take(STATE, state(new))
        commit(hub, store)
        assert told(hub, new) == {old.id: (1, ()), new.id: (0, ())}

    def test_hundreds_of_epochs_are_told_in_receipts_that_can_be_read(self, hub, store):
        """A bag that restarted every second for a while, offline."""
        bags = Bags()
        epochs = [bags.epoch() for _ in range(3 * EPOCHS_TOLD + 5)]
        for epoch in epochs:
            hub.take(BACKLOG, sequence.join([epoch.header.payload, epoch.row(batch(1)).payload]))
        commit(hub, store)
        receipts = hub.receipts()
        assert len(receipts) == 4
        assert told(hub, epochs[-1], receipts) == {epoch.id: (1, ()) for epoch in epochs}

    def test_any_number_of_ranges_fits_into_a_receipt(self, hub, store):
        epoch = Bags().epoch()
        hub.take(LIVE, epoch.header.payload)
        for seq in range(2, 1000, 2):
            hub.take(LIVE, sealed_row(epoch, seq, wire.encode(batch(seq))))
        commit(hub, store)
        ((_, ranges),) = told(hub, epoch).values()
        assert ranges[:2] == ((2, 2), (4, 4))

    def test_uncommitted_rows_of_a_bag_that_ended_are_declared(self, hub, store):
        """Row 3 was committed last; 4 and 6 were sent beside their commit, 5 was lost with the process."""
        bags = Bags()
        old = bags.epoch()
        rows = [old.row(batch(t)).payload for t in range(1, 7)]
        new = bags.epoch(PreviousEpoch(old.id, 3))
        for payload in (old.header.payload, *rows[:4], rows[5]):
            hub.take(LIVE, payload)
        hub.take(STATE, state(new))
        commit(hub, store)
        assert store.holes(BAG, old.id) == [(5, 5)]

    @pytest.mark.parametrize("commits", [(), (1,), (2,), (1, 2)])
    def test_in_whatever_order_they_arrive(self, hub, store, commits):
        bags = Bags()
        old = bags.epoch()
        rows = [old.row(batch(t)).payload for t in range(1, 9)]
        new = bags.epoch(PreviousEpoch(old.id, 3))
        for n, payloads in enumerate(
            [[state(new)], [sequence.join([old.header.payload, rows[7], *rows[:3]])], [sequence.join([rows[5]])]], 1
        ):
            for payload in payloads:
                hub.take(STATE if n == 1 else BACKLOG, payload)
            if n in commits:
                commit(hub, store)
        commit(hub, store)
        assert store.holes(BAG, old.id) == [(4, 5), (7, 7)]

    def test_rows_still_to_come_are_no_holes(self, hub, store):
        bags = Bags()
        old = bags.epoch()
        rows = [old.row(batch(t)).payload for t in range(1, 7)]
        hub.take(STATE, state(bags.epoch(PreviousEpoch(old.id, 6))))
        hub.take(BACKLOG, sequence.join([old.header.payload, rows[5]]))
        commit(hub, store)
        assert store.holes(BAG, old.id) == []

    def test_of_two_claims_about_an_epoch_s_end_the_least_stands(self, hub, store):
        """The first claim came with a header that was never committed on the bag: its process ended too early."""
        bags = Bags()
        old = bags.epoch()
        rows = [old.row(batch(t)).payload for t in range(1, 7)]
        for payload in (old.header.payload, rows[0], rows[5]):
            hub.take(LIVE, payload)
        for claimed in (6, 2):
            hub.take(STATE, state(bags.epoch(PreviousEpoch(old.id, claimed))))
        commit(hub, store)
        assert store.holes(BAG, old.id) == [(3, 5)]
        again = Receiver(keyring(), now_us=lambda: 9)
        again.restore(store)
        again.take(LIVE, rows[3])
        commit(again, store)
        assert store.holes(BAG, old.id) == [(3, 3), (5, 5)]


def astray():
    """An epoch of a bag that was given another hub's sealing key."""
    return Epoch(
        identity(hub="another hub"), boot_id=bytes(16), t_us=1, reason=EpochReason.START, chain=bytes(8), number=1,
        previous=None,
    )  # fmt: skip


class TestSealedToAnotherHub:
    """Nothing of it opens here, so nothing of it is believed, and the bag keeps all of it."""

    def test_it_is_refused_and_said_and_receipted_to_nobody(self, hub, store, caplog):
        epoch = astray()
        for topic, payload in (
            (STATE, state(epoch)), (LIVE, epoch.header.payload), (LIVE, epoch.row(batch(1)).payload),
            (BACKLOG, sequence.join([epoch.header.payload, epoch.row(batch(2)).payload])),
        ):  # fmt: skip
            hub.take(topic, payload)
        assert "the header is sealed to another hub key" in caplog.text
        assert hub.refused == {"state": 1, "live": 2, "backlog": 2}
        assert not hub.collect()
        assert hub.receipts() == []

    def test_nothing_is_lost_once_the_hub_has_that_key_too(self, store):
        epoch = astray()
        rows = [epoch.header.payload, epoch.row(batch(1)).payload]
        wrong = Receiver(keyring(), now_us=lambda: 9)
        wrong.take(BACKLOG, sequence.join(rows))
        right = Receiver(Keyring(authority().certificate, hub_key(), hub_key("another hub")), now_us=lambda: 9)
        right.take(BACKLOG, sequence.join(rows))  # the bag still has them: nobody receipted them
        commit(right, store)
        assert told(right, epoch) == {epoch.id: (1, ())}


class TestWhoWaitsForItsReceipt:
    """Signals that flow are receipted every few seconds; everything else at once."""

    READING = Record(1, 0, 0, MESSAGES["batch: reading"].records[0].body)
    WAVEFORM = Record(1, 0, 0, MESSAGES["batch: waveform"].records[0].body)

    def begun(self, hub, store):
        epoch = Bags().epoch()
        hub.take(STATE, state(epoch))
        commit(hub, store)
        hub.receipts()
        assert hub.prompt == set()
        return epoch

    def test_flowing_signals_do_not(self, hub, store):
        epoch = self.begun(hub, store)
        hub.take(LIVE, epoch.row(batch(1, None, self.WAVEFORM, self.READING)).payload)
        commit(hub, store)
        assert hub.prompt == set()
        assert told(hub, epoch) == {epoch.id: (1, ())}

    def test_a_visit_s_step_does_once_it_is_on_disk(self, hub, store):
        epoch = self.begun(hub, store)
        hub.take(LIVE, epoch.row(batch(1)).payload)
        assert hub.prompt == set()
        commit(hub, store)
        assert hub.prompt == {BAG}
        assert told(hub, epoch, hub.receipts(hub.prompt)) == {epoch.id: (1, ())}
        assert hub.prompt == set()

    def test_a_bag_that_goes_does_for_the_rows_it_sent_before(self, hub, store):
        epoch = self.begun(hub, store)
        hub.take(LIVE, epoch.row(batch(1, None, self.WAVEFORM)).payload)
        hub.take(STATE, state(epoch, online=False))
        hub.receipts()
        commit(hub, store)
        assert hub.prompt == {BAG}
        assert told(hub, epoch, hub.receipts(hub.prompt)) == {epoch.id: (1, ())}

    def test_who_waits_is_known_until_told(self, hub, store):
        epoch = self.begun(hub, store)
        assert hub.waiting() == set()
        hub.take(LIVE, epoch.row(batch(1, None, self.WAVEFORM)).payload)
        commit(hub, store)
        assert hub.waiting() == {BAG}
        hub.receipts({BAG})
        assert hub.waiting() == set()

    def test_backlog_does_and_what_comes_again(self, hub, store):
        epoch = self.begun(hub, store)
        row = epoch.row(batch(1, None, self.WAVEFORM)).payload
        for topic, payload in ((BACKLOG, sequence.join([row])), (LIVE, row)):
            hub.take(topic, payload)
            commit(hub, store)
            assert hub.prompt == {BAG}
            hub.receipts()


class TestRowsThatGaveWay:
    """A bag on whose full disk waveforms gave way says so in a row of its own."""

    def declared(self, epoch, *spans):
        return batch(9, None, *(Record(0, n, 0, GaveWayBody(epoch.id, *span)) for n, span in enumerate(spans)))

    def test_they_are_holes_but_for_those_that_are_here(self, hub, store):
        epoch = Bags().epoch()
        rows = [epoch.row(batch(t)).payload for t in range(1, 9)]
        for payload in (
            epoch.header.payload,
            rows[0],
            rows[2],
            epoch.row(self.declared(epoch, (2, 4), (6, 7))).payload,
        ):
            hub.take(LIVE, payload)
        commit(hub, store)
        assert store.holes(BAG, epoch.id) == [(2, 2), (4, 4), (6, 7)]
        hub.take(LIVE, rows[5])  # it had been on its way
        commit(hub, store)
        assert store.holes(BAG, epoch.id) == [(2, 2), (4, 4), (7, 7)]

    def test_of_an_older_epoch_and_over_a_restart_of_the_hub(self, hub, store):
        bags = Bags()
        old = bags.epoch()
        rows = [old.row(batch(t)).payload for t in range(1, 7)]
        new = bags.epoch(PreviousEpoch(old.id, 6))
        hub.take(STATE, state(new))
        hub.take(LIVE, new.row(self.declared(old, (2, 3))).payload)
        commit(hub, store)
        again = Receiver(keyring(), now_us=lambda: 9)
        again.restore(store)
        again.take(BACKLOG, sequence.join([old.header.payload, rows[0], rows[3], rows[5]]))
        commit(again, store)
        assert store.holes(BAG, old.id) == [(2, 3)]

    def test_nonsense_declares_nothing(self, hub, store):
        epoch = Bags().epoch()
        hub.take(LIVE, epoch.header.payload)
        hub.take(LIVE, epoch.row(self.declared(epoch, (9, 3))).payload)
        commit(hub, store)
        assert store.holes(BAG, epoch.id) == []


class TestTime:
    ASK = f"besace/v1/{BAG}/up/time"

    def ask(self, epoch, t_us):
        return epoch.ask(wire.encode(TimeAsk(t_us)))

    def test_a_question_is_answered_once_with_when_it_came_and_when_it_left(self):
        times = iter([100, 350])
        hub = Receiver(keyring(), now_us=lambda: 9, utc_us=lambda: next(times))
        epoch = Bags().epoch()
        hub.take(STATE, state(epoch))
        hub.take(self.ASK, self.ask(epoch, 7))
        ((topic, payload),) = hub.answers()
        assert topic == f"besace/v1/{BAG}/down/time"
        head, plaintext = epoch.down.open(payload)
        assert (head.lane, wire.decode(plaintext)) == (seal.Lane.TIME_ANSWER, TimeAnswer(7, 100, 350))
        assert hub.answers() == []

    def test_of_several_the_last(self, hub):
        epoch = Bags().epoch()
        hub.take(STATE, state(epoch))
        for t_us in (7, 8):
            hub.take(self.ASK, self.ask(epoch, t_us))
        ((_, payload),) = hub.answers()
        assert wire.decode(epoch.down.open(payload)[1]).asked_us == 8

    def test_what_is_no_question(self, hub):
        epoch, stranger = Bags().epoch(), Bags().epoch()
        hub.take(STATE, state(epoch))
        for payload in (
            b"", self.ask(stranger, 1), epoch.row(batch(1)).payload, epoch.ask(wire.encode(batch(1))),
            epoch.header.payload, self.ask(epoch, 1)[:-1],
        ):  # fmt: skip
            hub.take(self.ASK, payload)
        assert hub.answers() == []
        assert hub.refused["time"] == 6


class TestPresence:
    def test_online_and_gone(self, hub):
        epoch = Bags().epoch()
        hub.take(STATE, state(epoch))
        assert hub.online == {BAG: True}
        hub.take(STATE, state(epoch, online=False))
        assert hub.online == {BAG: False}

    def test_a_late_will_of_an_earlier_connection_is_recognised(self, hub):
        epoch = Bags().epoch()
        will = state(epoch, session=1, online=False)
        hub.take(STATE, state(epoch, session=1))
        hub.take(STATE, state(epoch, session=2))
        hub.take(STATE, will)
        assert hub.online == {BAG: True}

    def test_an_old_presence_replayed_is_no_presence(self, hub):
        epoch = Bags().epoch()
        here = state(epoch)
        hub.take(STATE, here)
        hub.take(STATE, state(epoch, online=False))
        hub.take(STATE, here)
        assert hub.online == {BAG: False}

    def test_an_older_epoch_s_state_says_nothing_of_now(self, hub):
        bags = Bags()
        old, new = bags.epoch(), bags.epoch()
        hub.take(STATE, state(old))
        hub.take(STATE, state(new))
        hub.take(STATE, state(old, online=False, session=9))
        assert hub.online[BAG]

    def test_an_epoch_that_begins_on_a_connection_does_not_hide_that_connection_s_end(self, hub):
        """The will was sealed when the connection began, under the epoch before."""
        bags = Bags()
        old = bags.epoch()
        new = bags.epoch(PreviousEpoch(old.id, 3), reason=EpochReason.CHECK_OUT)
        for payload in (state(old, session=2), state(new, session=2)):
            hub.take(STATE, payload)
            assert hub.online[BAG]
        hub.take(STATE, state(old, session=1, online=False))
        assert hub.online[BAG]
        hub.take(STATE, state(old, session=2, online=False))
        assert not hub.online[BAG]
        hub.take(STATE, state(new, session=3))
        assert hub.online[BAG]

    def test_also_for_a_hub_that_heard_only_of_the_new_one(self, hub):
        bags = Bags()
        old = bags.epoch()
        new = bags.epoch(PreviousEpoch(old.id, 3), reason=EpochReason.AGE)
        hub.take(STATE, state(new, session=2))
        hub.take(STATE, state(old, session=1, online=False))
        assert hub.online[BAG]
        hub.take(STATE, state(old, session=2, online=False))
        assert not hub.online[BAG]

    def test_another_process_s_will_says_nothing_of_now(self, hub):
        bags = Bags()
        old = bags.epoch()
        new = bags.epoch(PreviousEpoch(old.id, 3), reason=EpochReason.START)
        hub.take(STATE, state(new, session=2))
        hub.take(STATE, state(old, session=2, online=False))
        assert hub.online[BAG]

    def test_it_brings_the_header(self, hub, store):
        epoch = Bags().epoch()
        hub.take(STATE, state(epoch))
        hub.take(LIVE, epoch.row(batch(1)).payload)
        commit(hub, store)
        assert told(hub, epoch) == {epoch.id: (1, ())}


class TestWhatIsRefused:
    def test_rows_before_their_header(self, hub):
        hub.take(LIVE, Bags().epoch().row(batch(1)).payload)
        assert not hub.collect()
        assert hub.refused == {"live": 1}

    def test_a_changed_row(self, hub):
        epoch = Bags().epoch()
        hub.take(LIVE, epoch.header.payload)
        hub.collect()
        for flipped in bit_flips(epoch.row(batch(1)).payload):
            hub.take(LIVE, flipped)
        assert not hub.collect()

    def test_another_bag_s_row(self, hub):
        mine, other = Bags().epoch(), Bags("sac-05").epoch()
        hub.take(LIVE, mine.header.payload)
        hub.collect()
        hub.take(LIVE, other.header.payload)
        hub.take(LIVE, other.row(batch(1)).payload)
        hub.take("besace/v1/sac-05/up/live", mine.row(batch(1)).payload)
        assert not hub.collect()
        assert "sac-05" not in hub.have

    @pytest.mark.parametrize(
        "topic",
        ["", "besace/v1/sac-04/up", "besace/v1/a/down/receipt", "besace/v1/SAC/up/live", "x" * 9000, "x/a/up/live"],
    )  # fmt: skip
    def test_a_topic_that_is_none(self, hub, topic):
        hub.take(topic, Bags().epoch().header.payload)
        assert hub.refused == {"topic": 1}
        assert not hub.collect()

    def test_one_damaged_row_of_a_backlog_message_takes_no_other_along(self, hub, store):
        epoch = Bags().epoch()
        rows = [epoch.row(batch(t)).payload for t in range(1, 4)]
        rows[1] = rows[1][:-1] + bytes([rows[1][-1] ^ 1])
        hub.take(BACKLOG, sequence.join([epoch.header.payload, *rows]))
        commit(hub, store)
        assert told(hub, epoch) == {epoch.id: (1, ((3, 3),))}

    def test_messages_on_the_wrong_lane(self, hub):
        epoch = Bags().epoch()
        hub.take(LIVE, epoch.header.payload)
        hub.collect()
        hub.take(LIVE, epoch.state(wire.encode(State(True, 1, ""))))
        hub.take(STATE, sequence.join([epoch.header.payload, epoch.row(batch(1)).payload]))
        hub.take(STATE, sequence.join([epoch.header.payload]))
        assert not hub.collect()
        assert hub.online == {}

    @settings(max_examples=300, deadline=None)
    @given(st.sampled_from([LIVE, BACKLOG, STATE]), st.binary(max_size=120))
    def test_any_bytes(self, topic, payload):
        hub = Receiver(keyring(), now_us=lambda: 9)
        hub.take(topic, payload)
        assert not hub.collect()
        assert not hub.have

    def test_more_than_the_disk_can_follow_is_left_to_come_again(self, hub, monkeypatch):
        monkeypatch.setattr("hub.receiver.MOST_PENDING_BYTES", 2000)
        epoch = Bags().epoch()
        hub.take(LIVE, epoch.header.payload)
        rows = [epoch.row(batch(t)).payload for t in range(100)]
        for row in rows:
            hub.take(LIVE, row)
        pending = hub.collect()
        assert 0 < len(pending.rows) < 50
        hub.committed(pending)
        hub.take(LIVE, rows[-1])
        assert len(hub.collect().rows) == 1
        assert MOST_PENDING_BYTES > 1 << 20


class TestAnotherVersionOfTheWire:
    """A bag of a later software meets a hub that is not updated yet: its rows wait on board, nothing else does."""

    def test_it_is_said_counted_and_receipted_when_the_hub_is_updated(self, hub, store, monkeypatch, caplog):
        older = Bags().epoch()
        hub.take(STATE, state(older))
        with monkeypatch.context() as later:
            later.setattr(seal, "VERSION", 2)
            epoch = Bags().epoch()
            sent = [(STATE, state(epoch)), (LIVE, epoch.row(batch(1)).payload)]
        for message in sent:
            hub.take(*message)
        hub.take(LIVE, older.row(batch(1)).payload)
        commit(hub, store)
        assert hub.refused == {"version": 1, "live": 1}
        assert "version 2 of the wire, 1 is read here: update the older side" in caplog.text
        assert store.have(BAG, epoch.id) == SeqSet()
        assert told(hub, older) == {older.id: (1, ())}
        with monkeypatch.context() as later:
            later.setattr(seal, "VERSION", 2)
            for message in sent:
                hub.take(*message)
            commit(hub, store)
            assert told(hub, epoch)[epoch.id] == (1, ())

    def test_nobody_makes_it_another_on_the_way(self, hub, monkeypatch):
        header = bytearray(Bags().epoch().header.payload)
        header[7] = 2
        monkeypatch.setattr(seal, "VERSION", 2)
        hub.take(LIVE, bytes(header))
        assert not hub.collect()
        assert hub.refused == {"live": 1}


class TestWhatIsNotUnderstood:
    """Authentic rows of a newer bag: kept, receipted, and no stumbling block later."""

    def test_they_are_stored_and_receipted(self, hub, store):
        epoch = Bags().epoch()
        hub.take(LIVE, epoch.header.payload)
        hub.take(LIVE, sealed_row(epoch, 1, b"from the future"))
        pending = commit(hub, store)
        assert not pending.heard
        assert list(store.plaintexts(BAG, epoch.id)) == [(1, b"from the future")]
        assert told(hub, epoch) == {epoch.id: (1, ())}

    def test_a_hub_starts_with_them_on_disk(self, hub, store):
        epoch, visit = Bags().epoch(), bytes(16)
        hub.take(LIVE, epoch.header.payload)
        hub.take(LIVE, sealed_row(epoch, 1, b"from the future"))
        opened = Batch(1, visit, (Record(0, 0, 0, VisitBody(VisitStep.OPEN, "0042")),))
        hub.take(LIVE, sealed_row(epoch, 2, wire.encode(opened)))
        commit(hub, store)
        again = Receiver(keyring(), now_us=lambda: 9)
        again.restore(store)
        assert [heard.batch for heard in again.open_visits(store)] == [opened]


class TestOrders:
    def test_a_bag_obeys_only_its_hub(self, hub):
        epoch = Bags().epoch()
        assert hub.order(BAG, Order.WATCH, 1) == []
        hub.take(STATE, state(epoch))
        ((topic, payload),) = hub.order(BAG, Order.WATCH, 1)
        assert topic == f"besace/v1/{BAG}/down/command"
        head, plaintext = epoch.down.open(payload)
        assert head.lane is seal.Lane.COMMAND
        assert wire.decode(plaintext).order is Order.WATCH

    def test_only_some_bags_may_be_told(self, hub, store):
        epoch = Bags().epoch()
        hub.take(STATE, state(epoch))
        commit(hub, store)
        assert hub.receipts({"sac-05"}) == []
        assert len(hub.receipts({BAG})) == 1


def test_a_pending_commit_knows_what_it_holds(hub):
    epoch = Bags().epoch()
    hub.take(LIVE, epoch.header.payload)
    pending = hub.collect()
    assert pending.keys == {(BAG, epoch.id, 0)}
    assert pending
    assert dataclasses.replace(pending, keys=set()).size == len(epoch.header.payload)
    assert hub.have[BAG][epoch.id] == SeqSet()


class TestPreview:
    """Pictures to be seen: of the epoch the bag speaks under, each once, nothing stored, nothing receipted."""

    TOPIC = f"besace/v1/{BAG}/up/preview"
    PICTURE = Preview(7, b"v" * 16, "camera", b"\xff\xd8 jpeg")

    @pytest.fixture
    def seen(self, hub):
        found = []
        hub.preview = lambda device, picture: found.append((device, picture))
        return found

    def test_it_is_shown_once_and_stored_nowhere(self, hub, store, seen):
        epoch = Bags(BAG).epoch()
        hub.take(LIVE, epoch.header.payload)
        commit(hub, store)
        first, second = (epoch.preview(wire.encode(self.PICTURE)) for _ in range(2))
        for payload in (first, first, second, first):
            hub.take(self.TOPIC, payload)
        assert seen == [(BAG, self.PICTURE)] * 2
        assert hub.refused["preview"] == 2
        assert not hub.collect()

    def test_what_is_not_sealed_by_this_bag_for_this_lane_is_refused(self, hub, store, seen):
        bags = Bags(BAG)
        old, epoch, stranger = bags.epoch(), bags.epoch(), Bags(BAG).epoch()
        for known in (old, epoch):
            hub.take(LIVE, known.header.payload)
        commit(hub, store)
        picture = wire.encode(self.PICTURE)
        wrong = (
            b"", stranger.preview(picture), old.preview(picture), epoch.row(batch(1)).payload,
            epoch.preview(wire.encode(batch(1))), epoch.preview(picture)[:-1],
        )  # fmt: skip
        for payload in wrong:
            hub.take(self.TOPIC, payload)
        assert seen == []
        assert hub.refused["preview"] == len(wrong)
