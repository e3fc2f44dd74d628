"""Sealing: what was sealed opens, once, for whom it was meant, and nothing else is believed."""

import os

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import given
from hypothesis import strategies as st

from agent.transport import seal
from agent.transport.seal import DownOpener, DownSealer, Lane, SealError, UpKeys
from tests.peers.cpts import bit_flips

EPOCH, KEY, SESSION = b"epoch1", bytes(range(32)), b"hub session id 1"
UP = UpKeys(EPOCH, KEY, "sac-04")
ROW = UP.seal(Lane.ROW, 7, b"plaintext")


def down(session=SESSION, epoch=EPOCH, key=KEY, device="sac-04"):
    return DownSealer(epoch, key, device, session)


def opener(epoch=EPOCH, key=KEY, device="sac-04"):
    return DownOpener(epoch, key, device)


RECEIPT = down().seal(Lane.RECEIPT, b"plaintext")


def test_a_sealed_row_says_its_lane_epoch_and_number_and_nothing_else():
    assert ROW[:11] == b"\x01epoch1\x00\x00\x00\x07"
    assert len(ROW) == len(b"plaintext") + seal.UP_OVERHEAD_BYTES == len(b"plaintext") + 27
    head, plaintext = UP.open(ROW)
    assert (head.lane, head.epoch, head.counter, plaintext) == (Lane.ROW, EPOCH, 7, b"plaintext")


def test_sealing_twice_gives_the_same_bytes():
    assert UpKeys(EPOCH, KEY, "sac-04").seal(Lane.ROW, 7, b"plaintext") == ROW


@given(st.binary(max_size=300), st.integers(0, 2**32 - 1), st.sampled_from(sorted(seal.UP_LANES)))
def test_up_there_and_back(plaintext, counter, lane):
    head, opened = UP.open(UP.seal(lane, counter, plaintext))
    assert (head.lane, head.counter, opened) == (lane, counter, plaintext)


def test_any_bit_flip_is_refused():
    for flipped in bit_flips(ROW):
        with pytest.raises(SealError):
            UP.open(flipped)
    for flipped in bit_flips(RECEIPT):
        with pytest.raises(SealError):
            opener().open(flipped)


def test_any_truncation_is_refused():
    for message, opens in ((ROW, UP.open), (RECEIPT, opener().open)):
        for at in range(len(message)):
            with pytest.raises(SealError):
                opens(message[:at])


@given(st.binary(max_size=120))
def test_any_bytes_are_refused(data):
    for opens in (UP.open, opener().open):
        with pytest.raises(SealError):
            opens(data)


@pytest.mark.parametrize(
    "other",
    [
        UpKeys(b"epoch2", KEY, "sac-04"),
        UpKeys(EPOCH, bytes(32), "sac-04"),
        UpKeys(EPOCH, KEY, "sac-05"),
    ],
    ids=["another epoch", "another key", "another device"],
)
def test_a_row_opens_only_as_what_it_was_sealed_as(other):
    with pytest.raises(SealError):
        other.open(ROW)


def test_a_message_of_one_lane_is_none_of_another():
    for lane in Lane:
        moved = bytes([lane]) + ROW[1:]
        if lane is not Lane.ROW:
            with pytest.raises(SealError):
                UP.open(moved)


def test_what_the_hub_says_cannot_be_reflected_to_it_nor_back():
    with pytest.raises(SealError):
        UP.open(RECEIPT)
    with pytest.raises(SealError):
        opener().open(ROW)
    reflected = bytes([Lane.RECEIPT]) + SESSION + ROW[1:]  # a bag's own row dressed up as a receipt
    with pytest.raises(SealError):
        opener().open(reflected)


def test_every_lane_has_its_own_key_and_no_two_nonces_meet():
    keys = {seal.lane_key(KEY, "sac-04", lane, session) for lane in Lane for session in (b"", SESSION, bytes(16))}
    assert len({k.key for k in keys}) == len(keys) == 3 * len(Lane)
    key = seal.lane_key(KEY, "sac-04", Lane.ROW)
    assert len({key.nonce(counter) for counter in range(1000)}) == 1000


def test_a_receipt_is_believed_once():
    bag = opener()
    head, plaintext = bag.open(RECEIPT)
    assert (head.lane, head.session, plaintext) == (Lane.RECEIPT, SESSION, b"plaintext")
    with pytest.raises(SealError, match="replayed"):
        bag.open(RECEIPT)


def test_messages_out_of_order_are_refused_but_later_ones_are_not():
    hub, bag = down(), opener()
    first, second, third = (hub.seal(Lane.RECEIPT, bytes([n])) for n in range(3))
    assert bag.open(second)[1] == b"\x01"
    with pytest.raises(SealError, match="replayed"):
        bag.open(first)
    assert bag.open(third)[1] == b"\x02"
    assert bag.open(hub.seal(Lane.COMMAND, b"another lane counts by itself"))


@pytest.mark.parametrize(
    "bag", [opener(epoch=b"epoch2"), opener(key=bytes(32)), opener(device="sac-05")], ids=["epoch", "key", "device"]
)
def test_a_receipt_is_for_one_epoch_of_one_bag(bag):
    with pytest.raises(SealError):
        bag.open(RECEIPT)


def test_forged_messages_make_nothing_grow():
    bag = opener()
    for _ in range(200):
        with pytest.raises(SealError):
            bag.open(bytes([Lane.RECEIPT]) + os.urandom(16) + EPOCH + bytes(4) + os.urandom(40))
    assert not bag._keys
    assert not bag._next


def test_a_restarted_hub_begins_a_session_and_never_repeats_a_nonce():
    one, two = down(), down(session=b"hub session id 2")
    a, b = one.seal(Lane.RECEIPT, bytes(40)), two.seal(Lane.RECEIPT, bytes(40))
    assert a[seal.DOWN_HEAD_BYTES :] != b[seal.DOWN_HEAD_BYTES :]
    bag = opener()
    assert bag.open(a)
    assert bag.open(b)


def test_a_counter_never_wraps():
    assert UP.open(UP.seal(Lane.ROW, 2**32 - 1, b""))[0].counter == 2**32 - 1
    with pytest.raises(SealError, match="used up"):
        UP.seal(Lane.ROW, 2**32, b"")
    hub = down()
    hub._counters[Lane.RECEIPT] = 2**32 - 1
    hub.seal(Lane.RECEIPT, b"the last")
    with pytest.raises(SealError, match="used up"):
        hub.seal(Lane.RECEIPT, b"one more")


def test_as_cose_encrypt0_it_opens_with_nothing_of_ours():
    """RFC 9052: Enc_structure as AAD, base IV xor partial IV as nonce."""
    tag = cbor2.loads(UP.cose(ROW))
    protected, unprotected, ciphertext = tag.value
    assert tag.tag == 16
    assert cbor2.loads(protected) == {1: 24}
    key = seal.lane_key(KEY, "sac-04", Lane.ROW)
    partial = unprotected[6].rjust(12, b"\0")
    nonce = bytes(a ^ b for a, b in zip(key.base_iv, partial, strict=True))
    aad = cbor2.dumps(["Encrypt0", protected, b"sac-04"])
    assert ChaCha20Poly1305(key.key).decrypt(nonce, ciphertext, aad) == b"plaintext"


class TestEpochKey:
    HUB = X25519PrivateKey.generate()
    SEALED = seal.seal_epoch_key(KEY, HUB.public_key(), "sac-04", EPOCH, b"fingerprint")

    def opened(self, sealed=SEALED, hub=HUB, device="sac-04", epoch=EPOCH, fingerprint=b"fingerprint"):
        return seal.open_epoch_key(sealed, hub, device, epoch, fingerprint)

    def test_only_the_hub_opens_it(self):
        assert len(self.SEALED) == 80
        assert self.opened() == KEY
        with pytest.raises(SealError):
            self.opened(hub=X25519PrivateKey.generate())

    @pytest.mark.parametrize("other", [{"device": "sac-05"}, {"epoch": b"epoch2"}, {"fingerprint": b"another"}])
    def test_it_is_bound_to_device_epoch_and_certificate(self, other):
        with pytest.raises(SealError):
            self.opened(**other)

    def test_any_changed_or_cut_byte_is_refused(self):
        for at in range(80):
            with pytest.raises(SealError):
                self.opened(self.SEALED[:at] + bytes([self.SEALED[at] ^ 1]) + self.SEALED[at + 1 :])
            with pytest.raises(SealError):
                self.opened(self.SEALED[:at])

    def test_a_key_of_another_length_is_refused(self):
        short = seal.seal_epoch_key(bytes(16), self.HUB.public_key(), "sac-04", EPOCH, b"fingerprint")
        with pytest.raises(SealError, match="length"):
            self.opened(short)
