"""The custody log: chained, signed, whole or absent; every way of tampering is found."""

import datetime as dt
import sqlite3
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from agent import ledger
from agent.custody import State, What
from agent.errors import WireError
from agent.holding import Act, Custody, replay
from agent.ledger import Chain, Head, LedgerError, append, certified, countersign, draft, genesis, verify_ledger
from agent.transport.identity import Identity
from provisioning.authority import Authority

BOOT = bytes(16)
NURSE, COLLEAGUE = b"nurse1", b"nurse2"
AUTHORITY = Authority.new("CPTS test")
SEALING = X25519PrivateKey.generate().public_key()


def identity(name, authority=AUTHORITY):
    key = ec.generate_private_key(ec.SECP256R1())
    return Identity(authority.issue_client(name, key.public_key()), key, SEALING)


BAG = identity("sac-04")
STORY = (
    Act(What.IDENTITY, 1, 100, blob=BAG.certificate_der),
    Act(What.PLACED, 2, 110, place="Pharmacie"),
    Act(What.DRAINED, 3, 111),
    Act(What.LENDABLE, 4, 112),
    Act(What.CHECK_OUT, 5, 200, NURSE, "Mme D.", due_s=900),
    Act(What.PASSED, 6, 300, COLLEAGUE, "M. K.", due_s=900),
    Act(What.PROBLEM, 7, 310, details=("BP-1",)),
    Act(What.RETURNED, 8, 400, place="Maison", details=("broken:BP-1", "without:OTO-1")),
)


def write(acts, signer=BAG, head=None):
    head = head or genesis("sac-04")
    entries = []
    for act in acts:
        entry = draft(head, BOOT, act, signer.sign)
        entries.append(entry.data)
        head = entry.head
    return entries


ENTRIES = write(STORY)
ROOT = (AUTHORITY.certificate,)


def test_a_good_ledger_is_verified_and_replayed():
    entries = verify_ledger(ENTRIES, "sac-04", ROOT)
    assert tuple(e.act for e in entries) == STORY
    assert replay(e.act for e in entries) == Custody(
        State.DRAINING, place="Maison", since_s=400, defects=("broken:BP-1",), notes=("without:OTO-1",),
        problems=("BP-1",),
    )  # fmt: skip
    held = replay(e.act for e in entries[:6])
    assert (held.state, held.badge, held.label, held.since_s, held.due_s) == (State.OUT, COLLEAGUE, "M. K.", 300, 900)


def wrong_at(entries, device="sac-04", root=ROOT, head=None):
    with pytest.raises(LedgerError) as caught:
        verify_ledger(entries, device, root, head)
    return caught.value.number


def test_every_flipped_bit_of_every_entry_is_found():
    entries = write((*STORY[:2], STORY[4]))
    for number, data in enumerate(entries):
        for bit in range(8 * len(data)):
            changed = bytearray(data)
            changed[bit // 8] ^= 1 << bit % 8
            assert wrong_at([*entries[:number], bytes(changed)]) == number


def test_every_flipped_bit_of_a_certificate_is_found():
    der = BAG.certificate_der
    assert certified(der, "sac-04", ROOT) is not None
    for bit in range(8 * len(der)):
        changed = bytearray(der)
        changed[bit // 8] ^= 1 << bit % 8
        assert certified(bytes(changed), "sac-04", ROOT) is None


def test_reordered_removed_repeated_and_foreign_entries_are_found():
    for first in range(len(ENTRIES) - 1):
        swapped = [*ENTRIES]
        swapped[first], swapped[first + 1] = swapped[first + 1], swapped[first]
        assert wrong_at(swapped) == first
        assert wrong_at(ENTRIES[:first] + ENTRIES[first + 1 :]) == first
        assert wrong_at([*ENTRIES[: first + 1], *ENTRIES[first:]]) == first + 1
    assert wrong_at(ENTRIES, device="sac-05") == 0
    assert wrong_at(ENTRIES, root=(Authority.new("CPTS test").certificate,)) == 0
    stranger = identity("sac-05")
    assert wrong_at(write(STORY[1:2], stranger)) == 0
    middle = ledger.read(ENTRIES[2]).head
    assert wrong_at([*ENTRIES[:3], *write(STORY[3:4], stranger, middle)]) == 3


def test_an_end_cut_off_is_found_by_the_hubs_countersignature():
    hub = identity("hub")
    head = ledger.read(ENTRIES[5]).head
    word = countersign("sac-04", head, 500, hub.certificate, hub.sign)
    known = ledger.read_countersigned(word, "sac-04", ROOT)
    assert known == head
    verify_ledger(ENTRIES, "sac-04", ROOT, known)
    for length in range(6):
        verify_ledger(ENTRIES[:length], "sac-04", ROOT)  # the chain alone cannot tell
        assert wrong_at(ENTRIES[:length], head=known) == 5
    rewritten = write((*STORY[:5], replace(STORY[5], label="M. X.")))
    verify_ledger(rewritten, "sac-04", ROOT)
    assert wrong_at(rewritten, head=known) == 5


def test_only_the_hub_countersigns_and_only_for_that_bag():
    hub, other = identity("hub"), identity("sac-05")
    head = Head(3, bytes(32))
    word = countersign("sac-04", head, 500, hub.certificate, hub.sign)
    for data, device in [
        (countersign("sac-04", head, 500, other.certificate, other.sign), "sac-04"),
        (countersign("sac-04", head, 500, hub.certificate, other.sign), "sac-04"),
        (word, "sac-05"),
        (b"\x80", "sac-04"),
    ]:
        with pytest.raises(WireError):
            ledger.read_countersigned(data, device, ROOT)
    for bit in range(8 * len(word)):
        changed = bytearray(word)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(WireError):
            ledger.read_countersigned(bytes(changed), "sac-04", ROOT)


def test_a_renewed_identity_goes_on_with_its_own_entry():
    new = identity("sac-04")
    head = ledger.read(ENTRIES[-1]).head
    goes_on = write((Act(What.IDENTITY, 9, 500, blob=new.certificate_der), Act(What.DRAINED, 10, 501)), new, head)
    verify_ledger([*ENTRIES, *goes_on], "sac-04", ROOT)
    assert wrong_at([*ENTRIES, *write(STORY[2:3], new, head)]) == len(ENTRIES)  # not said first
    old = write((STORY[3],), BAG, ledger.read(goes_on[-1]).head)
    assert wrong_at([*ENTRIES, *goes_on, *old]) == len(ENTRIES) + 2  # the old key no longer counts


def test_the_chain_stays_where_it_was_after_a_wrong_entry():
    chain = Chain("sac-04", ROOT)
    chain.push(ENTRIES[0])
    with pytest.raises(LedgerError):
        chain.push(ENTRIES[2])
    assert chain.push(ENTRIES[1]).number == 1


@pytest.fixture
def db():
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(ledger.SCHEMA)
    yield connection
    connection.close()


def test_entries_are_stored_in_the_callers_transaction(db):
    first, second = (ledger.read(data) for data in ENTRIES[:2])
    db.execute("BEGIN")
    append(db, first)
    db.execute("ROLLBACK")
    assert ledger.stored(db) == []
    db.execute("BEGIN")
    append(db, first)
    append(db, second)
    db.execute("COMMIT")
    assert ledger.stored(db) == ENTRIES[:2]


def test_what_does_not_follow_is_not_stored(db):
    entries = [ledger.read(data) for data in ENTRIES]
    with pytest.raises(LedgerError):
        append(db, entries[1])
    append(db, entries[0])
    for wrong in (entries[0], entries[2], replace(entries[1], previous=bytes(32))):
        with pytest.raises(LedgerError):
            append(db, wrong)


def test_an_expired_certificate_still_verifies_old_entries():
    key = ec.generate_private_key(ec.SECP256R1())
    long_ago = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    old = Identity(AUTHORITY.issue_client("sac-04", key.public_key(), now=long_ago), key, SEALING)
    assert old.certificate.public_bytes(Encoding.DER) == old.certificate_der
    verify_ledger(write((Act(What.IDENTITY, 1, None, blob=old.certificate_der),), old), "sac-04", ROOT)


def test_too_long_an_entry_is_our_own_fault():
    with pytest.raises(ValueError):
        draft(genesis("sac-04"), BOOT, Act(What.RETURNED, 1, 1, details=tuple("x" * 64 for _ in range(70))), BAG.sign)
