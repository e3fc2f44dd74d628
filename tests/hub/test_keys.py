"""The hub's keyring: which headers are believed, and to which epoch a bag is spoken to."""

from dataclasses import replace

import pytest

from agent.errors import WireError
from agent.transport import hubkeys, seal
from agent.transport.epoch import Epoch
from agent.transport.messages import EpochReason, PreviousEpoch
from hub.keys import Keyring
from tests.peers.cpts import BAG, Bags, authority, batch, identity, keyring


def listening(keys, device=BAG):
    return [entry.opened.header.epoch for entry in keys.listening(device)]


def admit(keys, *epochs):
    for epoch in epochs:
        keys.admit(BAG, epoch.header.payload)


def test_an_admitted_epoch_opens_rows_and_seals_receipts():
    epoch, keys = Bags().epoch(), keyring()
    entry = keys.admit(BAG, epoch.header.payload)
    assert keys.find(BAG, epoch.id) is entry
    head, plaintext = epoch.down.open(entry.down.seal(seal.Lane.RECEIPT, b"have"))
    assert (head.lane, plaintext) == (seal.Lane.RECEIPT, b"have")


def test_the_same_header_again_changes_nothing_and_repeats_no_nonce():
    epoch, keys = Bags().epoch(), keyring()
    entry = keys.admit(BAG, epoch.header.payload)
    first = entry.down.seal(seal.Lane.RECEIPT, bytes(8))
    assert keys.admit(BAG, epoch.header.payload) is entry
    assert entry.down.seal(seal.Lane.RECEIPT, bytes(8)) != first


def test_another_header_under_a_known_epoch_is_refused(monkeypatch):
    monkeypatch.setattr("agent.transport.epoch.os.urandom", lambda n: bytes(range(n)))
    one, two, keys = Bags().epoch(), Bags().epoch(PreviousEpoch(b"before", 0)), keyring()
    assert one.id == two.id
    admit(keys, one)
    with pytest.raises(seal.SealError, match="another header"):
        admit(keys, two)


def test_each_epoch_becomes_the_newest_as_it_begins():
    bags, keys = Bags(), keyring()
    for _ in range(3):
        epoch = bags.epoch()
        admit(keys, epoch)
        assert listening(keys) == [epoch.id]


def test_backlog_of_several_boots_never_takes_the_newest_s_place():
    """After a day offline: the running epoch's header comes first, then those of four boots before it."""
    bags, keys = Bags(), keyring()
    epochs = [bags.epoch(boot_id=bytes([n]) * 16) for n in range(5)]
    admit(keys, epochs[4], *epochs[:4])
    assert listening(keys) == [epochs[4].id]


def test_a_replayed_old_header_never_becomes_the_newest():
    bags, keys = Bags(), keyring()
    withheld, old, new = bags.epoch(), bags.epoch(), bags.epoch()
    admit(keys, old, new)
    for replayed in (old, withheld):
        admit(keys, replayed)
        assert listening(keys) == [new.id]


def test_a_bag_with_a_new_outbox_begins_to_count_anew():
    old, new, keys = Bags(), Bags(), keyring()
    admit(keys, *(old.epoch() for _ in range(5)))
    epoch = new.epoch()
    admit(keys, epoch)
    assert listening(keys) == [epoch.id]


def test_a_bag_restored_from_a_copy_is_spoken_to_where_it_is_present():
    bags, keys = Bags(), keyring()
    epochs = [bags.epoch() for _ in range(5)]
    admit(keys, *epochs)
    restored = Bags(chain=bags.chain, number=2).epoch()
    admit(keys, restored)
    keys.present(BAG, restored.id)
    assert listening(keys) == [epochs[4].id, restored.id]


def test_a_replayed_presence_silences_nobody():
    bags, keys = Bags(), keyring()
    old, new = bags.epoch(), bags.epoch()
    admit(keys, old, new)
    keys.present(BAG, old.id)
    assert new.id in listening(keys)


def test_who_was_never_heard():
    keys = keyring()
    assert keys.listening(BAG) == []
    assert keys.find(BAG, b"epoch1") is None


def test_what_is_refused_is_not_remembered():
    keys, epoch = keyring(), Bags("sac-05").epoch()
    for n in range(100):
        with pytest.raises((seal.SealError, WireError)):
            keys.admit(f"sac-{n}", epoch.header.payload if n != 5 else epoch.header.payload[:-1])
    assert not keys.devices


def test_epochs_of_one_process_follow_each_other_unbroken():
    bags, keys = Bags(), keyring()
    first = bags.epoch()
    second = bags.epoch(PreviousEpoch(first.id, 9), reason=EpochReason.CHECK_OUT)
    third = bags.epoch(PreviousEpoch(second.id, 9), reason=EpochReason.AGE)
    restarted = bags.epoch(PreviousEpoch(third.id, 9))
    admit(keys, first, third, restarted)
    assert not keys.same_process(BAG, first.id, third.id), "what lies between is not known yet"
    admit(keys, second)
    assert keys.same_process(BAG, first.id, third.id)
    assert keys.same_process(BAG, third.id, first.id)
    assert keys.same_process(BAG, first.id, first.id)
    assert not keys.same_process(BAG, third.id, restarted.id)


def test_a_bag_whose_epochs_go_in_a_circle_holds_nobody_up(monkeypatch):
    names = iter([b"first!", b"secnd!"])
    monkeypatch.setattr("agent.transport.epoch.os.urandom", lambda n: next(names) if n == 6 else bytes(n))
    bags, keys = Bags(), keyring()
    one = bags.epoch(PreviousEpoch(b"secnd!", 0), reason=EpochReason.AGE)
    other = bags.epoch(PreviousEpoch(b"first!", 0), reason=EpochReason.AGE)
    stranger = Bags().epoch
    monkeypatch.undo()
    lone = stranger(number=0)
    admit(keys, one, other, lone)
    assert not keys.same_process(BAG, other.id, lone.id)


def test_a_hub_with_both_kinds_of_key_opens_headers_of_bags_that_know_both_and_of_those_that_know_one():
    hybrid = hubkeys.generate()
    keys = Keyring(authority().certificate, hybrid)
    for public, size in ((hybrid.public_key(), 1168), (hybrid.x25519.public_key(), 80)):
        me = replace(identity(), hub_key=public)
        epoch = Epoch(me, boot_id=bytes(16), t_us=1, reason=EpochReason.START, chain=bytes(8), number=1, previous=None)
        entry = keys.admit(BAG, epoch.header.payload)
        assert len(entry.opened.header.sealed_key) == size
        assert entry.up.open(epoch.row(batch(1)).payload)
    with pytest.raises(seal.SealError):
        keyring().admit(BAG, epoch.header.payload)
