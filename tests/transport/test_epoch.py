"""Epochs: a header that only its device could write and only its hub can use, then a dense sequence of rows."""

import dataclasses
import datetime as dt

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from agent.errors import WireError
from agent.transport import seal, wire
from agent.transport.epoch import open_header
from agent.transport.identity import Identity
from agent.transport.messages import EpochHeader, PreviousEpoch, SignedHeader
from tests.peers.cpts import BAG, Bags, authority, batch, bit_flips, hub_key, identity

EPOCH = Bags().epoch(PreviousEpoch(b"before", 41))


def opened(payload=EPOCH.header.payload, device=BAG, by="CPTS", hub="hub"):
    return open_header(payload, device=device, root=authority(by).certificate, hub_key=hub_key(hub))


def resigned(header: EpochHeader, by: Identity, epoch: bytes = EPOCH.id) -> bytes:
    """A header row as `by` would sign it."""
    data = wire.encode(header)
    return seal.header_head(epoch) + wire.encode(SignedHeader(data, by.sign(data)))


def test_the_hub_learns_everything_it_needs():
    header = opened().header
    assert (header.device, header.epoch, header.number) == (BAG, EPOCH.id, 1)
    assert header.previous == PreviousEpoch(b"before", 41)
    assert EPOCH.header.seq == 0


def test_rows_are_numbered_from_one_without_a_hole():
    epoch = Bags().epoch()
    up = seal.UpKeys(epoch.id, opened(epoch.header.payload).key, BAG)
    for seq in range(1, 5):
        row = epoch.row(batch(seq))
        assert (row.epoch, row.seq, epoch.last) == (epoch.id, seq, seq)
        head, plaintext = up.open(row.payload)
        assert head.counter == seq
        assert wire.decode(plaintext) == batch(seq)


def test_a_batch_that_cannot_be_written_takes_no_number():
    epoch = Bags().epoch()
    with pytest.raises(ValueError):
        epoch.row(batch(-1))
    assert epoch.row(batch(1)).seq == 1


def test_states_never_share_a_nonce():
    epoch = Bags().epoch()
    counters = [seal.head_of(epoch.state(b"")).counter for _ in range(5)]
    assert len(set(counters)) == 5


def test_every_epoch_has_its_own_id_and_key():
    a, b = Bags().epoch(), Bags().epoch()
    assert a.id != b.id
    with pytest.raises(seal.SealError):
        seal.UpKeys(a.id, opened(b.header.payload).key, BAG).open(a.row(batch()).payload)


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
def test_any_flipped_bit_is_refused():
    everywhere = list(bit_flips(EPOCH.header.payload))
    for flipped in everywhere[:64] + everywhere[64::5]:
        with pytest.raises((seal.SealError, WireError)):
            opened(flipped)


def test_any_truncation_is_refused():
    for at in range(len(EPOCH.header.payload)):
        with pytest.raises((seal.SealError, WireError)):
            opened(EPOCH.header.payload[:at])


@pytest.mark.parametrize("other", [{"device": "sac-05"}, {"by": "another CPTS"}, {"hub": "another hub"}])
def test_only_for_this_device_authority_and_hub(other):
    with pytest.raises(seal.SealError):
        opened(**other)


def test_another_device_of_the_same_authority_cannot_speak_for_this_one():
    header = opened().header
    other = identity("sac-05")
    for claimed in (header, dataclasses.replace(header, certificate=other.certificate_der)):
        with pytest.raises(seal.SealError):
            opened(resigned(claimed, other))


def test_a_key_sealed_for_one_epoch_serves_no_other():
    header = dataclasses.replace(opened().header, epoch=b"epoch2")
    with pytest.raises(seal.SealError):
        opened(resigned(header, identity(), b"epoch2"))


@pytest.mark.parametrize("purpose", ["server", "none", "root"])
def test_only_a_client_s_certificate_opens_epochs(purpose):
    key = ec.generate_private_key(ec.SECP256R1())
    root = authority()
    if purpose == "server":
        leaf = root.issue_server(BAG, key.public_key(), ["hub"])
    elif purpose == "root":
        key, leaf = root.key, root.certificate
    else:
        now = dt.datetime.now(dt.UTC)
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, BAG)])
        leaf = (
            x509.CertificateBuilder(root.certificate.subject, name, key.public_key(), 7, now, now)
            .sign(root.key, hashes.SHA256())
        )  # fmt: skip
    me = Identity(leaf, key, hub_key().public_key())
    sealed = seal.seal_epoch_key(bytes(32), me.hub_key, BAG, EPOCH.id, me.fingerprint)
    header = dataclasses.replace(opened().header, certificate=me.certificate_der, sealed_key=sealed)
    with pytest.raises(seal.SealError):
        opened(resigned(header, me))


@pytest.mark.parametrize("certificate", [bytes(64), bytes(4096), identity().certificate_der[:-1]])
def test_certificates_that_are_none(certificate):
    with pytest.raises(seal.SealError):
        opened(resigned(dataclasses.replace(opened().header, certificate=certificate), identity()))


def test_a_renewed_certificate_begins_new_epochs_and_the_old_ones_still_open():
    old = identity()
    key = ec.generate_private_key(ec.SECP256R1())
    new = Identity(authority().issue_client(BAG, key.public_key()), key, old.hub_key)
    for who in (old, new):
        sealed = seal.seal_epoch_key(bytes(32), who.hub_key, BAG, EPOCH.id, who.fingerprint)
        header = dataclasses.replace(opened().header, certificate=who.certificate_der, sealed_key=sealed)
        assert opened(resigned(header, who)).key == bytes(32)


def test_another_message_in_a_header_s_place():
    for message in (wire.encode(batch()), wire.encode(opened().header)):
        with pytest.raises(seal.SealError):
            opened(seal.header_head(EPOCH.id) + message)
