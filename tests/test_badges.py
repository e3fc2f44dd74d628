"""Cards: what is believed, what is refused and why, and every single bit of one."""

import dataclasses

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from agent.badges import (
    DAY_S,
    Badge,
    BadgeError,
    BadgeReason,
    Revoked,
    Role,
    Utc,
    base45,
    key_ring,
    make,
    make_list,
    newer,
    read,
    read_list,
    unbase45,
    verify,
)
from agent.lending.sentences import desk_words

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
RING = key_ring([KEY.public_key()])
T0 = 1_790_000_000
CARD = Badge(Role.NURSE, b"\x01\x02\x03\x04\x05\x06", "Mme D.", T0, 0, 365)
TEXT = make(CARD, KEY)
NOW = Utc(T0 + DAY_S, T0 + DAY_S + 1)


def refusal(text, now=NOW, revoked=None, ring=RING):
    with pytest.raises(BadgeError) as caught:
        verify(text, ring, now, revoked)
    return caught.value.reason


def test_a_good_card_is_believed():
    seen = verify(TEXT, RING, NOW)
    assert seen.badge == CARD
    assert not seen.undated


def test_any_cose_library_opens_it():
    """Decoded by an independent CBOR library and checked by hand as RFC 9052 section 4.4 says."""
    message = cbor2.loads(unbase45(TEXT.removeprefix("BSC1:")))
    assert message.tag == 18
    protected, unprotected, payload, signature = message.value
    assert cbor2.loads(protected) == {1: -8, 4: next(iter(RING))}
    assert unprotected == {}
    KEY.public_key().verify(signature, cbor2.dumps(["Signature1", protected, b"besace card", payload]))
    assert list(cbor2.loads(payload)) == [1, CARD.id, "Mme D.", T0, 0, 365]


def test_the_text_of_the_longest_label_fits_a_version_7_code():
    """Version 7-M holds 178 alphanumeric characters; 12 of these 2-byte letters are the worst label."""
    assert len(TEXT) == 164
    assert len(make(dataclasses.replace(CARD, label="Mme D. MARTI"), KEY)) <= 178
    assert set(TEXT) <= set("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:")


def test_every_flipped_bit_of_the_signed_bytes_is_refused():
    data = unbase45(TEXT.removeprefix("BSC1:"))
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        assert refusal("BSC1:" + base45(bytes(changed))) in {
            BadgeReason.UNREADABLE, BadgeReason.OTHER_CPTS, BadgeReason.FORGED,
        }  # fmt: skip


def test_every_flipped_bit_of_the_text_is_refused():
    text = TEXT.encode()
    for bit in range(8 * len(text)):
        changed = bytearray(text)
        changed[bit // 8] ^= 1 << bit % 8
        refusal(changed.decode("latin-1"))


@given(st.integers(0, len(TEXT) - 1))
def test_every_cut_text_is_refused(length):
    refusal(TEXT[:length])


@given(st.text(max_size=600) | st.binary(max_size=400).map(lambda data: "BSC1:" + base45(data)))
def test_no_text_raises_anything_else(text):
    refusal(text)


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        (Utc(T0 + 365 * DAY_S, T0 + 365 * DAY_S), BadgeReason.EXPIRED),
        (Utc(T0 + 365 * DAY_S, None), BadgeReason.EXPIRED),
        (Utc(T0 - 2, T0 - 1), BadgeReason.NOT_YET_VALID),
    ],
)
def test_dates(now, reason):
    assert refusal(TEXT, now) is reason


def test_a_card_that_begins_later():
    later = make(dataclasses.replace(CARD, from_day=30), KEY)
    assert refusal(later, NOW) is BadgeReason.NOT_YET_VALID
    assert not verify(later, RING, Utc(T0 + 30 * DAY_S, T0 + 30 * DAY_S)).undated


@pytest.mark.parametrize("now", [Utc(T0 + 5, None), Utc(0, None), Utc(T0 - 10, T0 + 10), Utc(T0 + 5, T0 + 400 * DAY_S)])
def test_what_the_clock_cannot_tell_is_accepted_and_flagged(now):
    assert verify(TEXT, RING, now).undated


def test_a_card_of_another_authority():
    assert refusal(make(CARD, OTHER)) is BadgeReason.OTHER_CPTS


def test_a_card_that_names_our_key_but_is_signed_by_another():
    ours = unbase45(TEXT.removeprefix("BSC1:"))
    theirs = unbase45(make(CARD, OTHER).removeprefix("BSC1:"))
    assert refusal("BSC1:" + base45(ours[:-64] + theirs[-64:])) is BadgeReason.FORGED


def test_both_keys_are_known_while_one_replaces_the_other():
    ring = key_ring([KEY.public_key(), OTHER.public_key()])
    assert verify(TEXT, ring, NOW).badge == verify(make(CARD, OTHER), ring, NOW).badge


def test_a_revoked_card_says_so_even_when_it_is_expired():
    revoked = Revoked(1, T0, frozenset({CARD.id}))
    assert refusal(TEXT, NOW, revoked) is BadgeReason.REVOKED
    assert refusal(TEXT, Utc(T0 + 999 * DAY_S), revoked) is BadgeReason.REVOKED
    assert verify(TEXT, RING, NOW, Revoked(1, T0, frozenset({b"123456"}))).badge == CARD


LIST = Revoked(7, T0, frozenset({CARD.id, b"abcdef"}))
LIST_DATA = make_list(LIST, KEY)


def test_the_list_comes_back():
    assert read_list(LIST_DATA, RING) == LIST


def test_every_flipped_bit_of_the_list_is_refused():
    for bit in range(8 * len(LIST_DATA)):
        changed = bytearray(LIST_DATA)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BadgeError):
            read_list(bytes(changed), RING)


def test_the_list_never_goes_backwards():
    assert newer(None, LIST)
    assert newer(LIST, dataclasses.replace(LIST, number=8))
    assert not newer(LIST, LIST)
    assert not newer(LIST, dataclasses.replace(LIST, number=6, issued_s=T0 + DAY_S))


def test_an_old_list_is_flagged():
    assert not LIST.old(Utc(T0 + 7 * DAY_S))
    assert LIST.old(Utc(T0 + 7 * DAY_S + 1))
    assert not LIST.old(Utc(0, T0 + 30 * DAY_S))


def test_a_list_is_no_card_and_a_card_no_list():
    assert refusal("BSC1:" + base45(LIST_DATA)) is BadgeReason.FORGED
    with pytest.raises(BadgeError):
        read_list(unbase45(TEXT.removeprefix("BSC1:")), RING)


@pytest.mark.parametrize(
    ("data", "text"), [(b"AB", "BB8"), (b"Hello!!", "%69 VD92EX0"), (b"base-45", "UJCLQE7W581"), (b"", "")]
)
def test_base45_as_the_rfc_shows_it(data, text):
    assert base45(data) == text
    assert unbase45(text) == data


@given(st.binary(max_size=64))
def test_base45_round_trip(data):
    assert unbase45(base45(data)) == data


@pytest.mark.parametrize("text", ["GGW", "::", "A", "AAAA", "abc", "é00"])
def test_what_is_no_base45(text):
    assert unbase45(text) is None


@pytest.mark.parametrize("label", ["", "thirteen char"])
def test_labels_out_of_range_are_our_own_fault(label):
    with pytest.raises(ValueError):
        make(dataclasses.replace(CARD, label=label), KEY)


def test_reading_ignores_dates_for_those_who_only_list():
    assert read(make(dataclasses.replace(CARD, days=1), KEY), RING).days == 1


@pytest.mark.parametrize("reason", BadgeReason)
def test_every_reason_has_a_french_sentence(reason):
    assert f"badge_reason.{reason.value}" in desk_words()
