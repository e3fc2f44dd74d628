"""Signed cards, verified offline: who or what was scanned, and whether to believe it now.

A card's text is `BSC1:` and the base45 (RFC 9285) of a COSE_Sign1 (RFC 9052, EdDSA with Ed25519) whose payload is
`[role, id, label, issued_s, from_day, days]`: about 165 characters, a QR code of version 7-M. No compression: it
enlarges something this small. People's badges, loan points' cards, labels of parts and the codes of the condition
sheet are all such cards, told apart by their role, so there is one form and one check.

The list of revoked cards is a COSE_Sign1 of the same key under another external_aad, so that neither passes for the
other. Pure: no clock, no disk; the time comes as the span in which UTC must lie.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from agent.errors import BesaceError, WireError
from agent.transport import cbor
from agent.transport.composed import Row
from agent.transport.shapes import UINT, Bytes, Choice, Int, ListOf, Shape, Text

PREFIX = "BSC1:"
ID_BYTES = 6
KEY_ID_BYTES = 4
LABEL_CHARS = 12
LONGEST_TEXT = 512
MOST_REVOKED = 4096
LIST_OLD_S = 7 * 86_400
DAY_S = 86_400
_SIGNATURE_BYTES = 64
_SIGN1 = b"\xd2"  # CBOR tag 18; the strict reader knows no tags, so it is taken off and put back here
_EDDSA = -8
_CARD = b"besace card"
_REVOKED = b"besace revoked"
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"
_VALUES = {character: value for value, character in enumerate(_ALPHABET)}


class Role(Enum):
    """What a card is for."""

    LOAN_POINT = "loan_point"
    NURSE = "nurse"
    TECHNICIAN = "technician"
    PART = "part"
    SHEET = "sheet"


class BadgeReason(Enum):
    """Why a card is not believed; each has a French sentence."""

    UNREADABLE = "unreadable"
    OTHER_CPTS = "other_cpts"
    FORGED = "forged"
    NOT_YET_VALID = "not_yet_valid"
    EXPIRED = "expired"
    REVOKED = "revoked"


class BadgeError(BesaceError):
    """A card that is not believed; `badge_id` where its signature was good."""

    def __init__(self, reason: BadgeReason, badge_id: bytes | None = None) -> None:
        super().__init__(reason.value)
        self.reason = reason
        self.badge_id = badge_id


@dataclass(frozen=True, slots=True)
class Badge:
    """A card's content. Valid from `issued_s + from_day` days on, for `days` days; times are UTC seconds."""

    role: Role
    id: bytes
    label: str
    issued_s: int
    from_day: int
    days: int

    @property
    def begins_s(self) -> int:
        """The first second at which it is valid."""
        return self.issued_s + self.from_day * DAY_S

    @property
    def ends_s(self) -> int:
        """The first second at which it no longer is."""
        return self.begins_s + self.days * DAY_S


@dataclass(frozen=True, slots=True)
class Utc:
    """What is known of the time: not before `earliest_s`, nor after `latest_s` (None: no anchor yet)."""

    earliest_s: int
    latest_s: int | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """A card that is believed. `undated`: the clock could not tell whether it is valid today, so that is flagged."""

    badge: Badge
    undated: bool


@dataclass(frozen=True, slots=True)
class Revoked:
    """The authority's numbered list of revoked cards."""

    number: int
    issued_s: int
    ids: frozenset[bytes]

    def old(self, now: Utc) -> bool:
        """Whether it is surely older than a week: flagged, never blocking."""
        return now.earliest_s - self.issued_s > LIST_OLD_S


@dataclass(frozen=True, slots=True)
class _List:
    number: int
    issued_s: int
    ids: tuple[bytes, ...]


_BADGE = Row(
    Badge,
    Choice(Role.LOAN_POINT, Role.NURSE, Role.TECHNICIAN, Role.PART, Role.SHEET),
    Bytes(ID_BYTES, ID_BYTES),
    Text(LABEL_CHARS),
    Int(0, 2**40),
    Int(0, 3660),
    Int(1, 3660),
)
_LIST = Row(_List, UINT, Int(0, 2**40), ListOf(Bytes(ID_BYTES, ID_BYTES), MOST_REVOKED))


# --- keys ------------------------------------------------------------------------------------------------------


def key_id(key: Ed25519PublicKey) -> bytes:
    """The first bytes of the key's SHA-256: they choose a key, they prove nothing."""
    return sha256(key.public_bytes_raw()).digest()[:KEY_ID_BYTES]


def key_ring(keys: Iterable[Ed25519PublicKey]) -> Mapping[bytes, Ed25519PublicKey]:
    """The authority's public card keys by their id; several while one replaces another."""
    return {key_id(key): key for key in keys}


def read_keys(pem: bytes) -> list[Ed25519PublicKey]:
    """The Ed25519 public keys of a PEM file with one or more; ValueError when it holds anything else."""
    end = b"-----END PUBLIC KEY-----\n"
    keys = [load_pem_public_key(part + end) for part in pem.split(end)[:-1]]
    found = [key for key in keys if isinstance(key, Ed25519PublicKey)]
    if not found or len(found) != len(keys):
        raise ValueError("cards are signed with Ed25519 keys only")
    return found


# --- COSE_Sign1 --------------------------------------------------------------------------------------------------


def _to_sign(protected: bytes, aad: bytes, payload: bytes) -> bytes:
    return cbor.dumps(["Signature1", protected, aad, payload])


def _protected(kid: bytes) -> bytes:
    return cbor.dumps({1: _EDDSA, 4: kid})


def _sign(key: Ed25519PrivateKey, aad: bytes, shape: Shape, value: object) -> bytes:
    payload = cbor.dumps(shape.encode(value))
    protected = _protected(key_id(key.public_key()))
    return _SIGN1 + cbor.dumps([protected, {}, payload, key.sign(_to_sign(protected, aad, payload))])


def _open(data: bytes, keys: Mapping[bytes, Ed25519PublicKey], aad: bytes, shape: Shape, max_bytes: int) -> object:
    """The value of a COSE_Sign1; BadgeError: not one of ours, of an unknown key, or not signed by it."""
    try:
        if data[:1] != _SIGN1:
            raise WireError("no COSE_Sign1")  # noqa: TRY301 - one end for all that is not ours
        parts = cbor.loads(data[1:], max_bytes=max_bytes)
        if not isinstance(parts, list) or len(parts) != 4 or parts[1] != {}:
            raise WireError("no COSE_Sign1")  # noqa: TRY301
        protected, _, payload, signature = parts
        if not all(isinstance(part, bytes) for part in (protected, payload, signature)):
            raise WireError("no COSE_Sign1")  # noqa: TRY301
        header = cbor.loads(protected, max_bytes=64)
        if not isinstance(header, dict) or header.keys() != {1, 4} or header[1] != _EDDSA:
            raise WireError("another algorithm")  # noqa: TRY301
    except WireError:
        raise BadgeError(BadgeReason.UNREADABLE) from None
    key = keys.get(header[4]) if isinstance(header[4], bytes) else None
    if key is None:
        raise BadgeError(BadgeReason.OTHER_CPTS)
    try:
        key.verify(signature, _to_sign(protected, aad, payload))
    except InvalidSignature:
        raise BadgeError(BadgeReason.FORGED) from None
    try:
        return shape.decode(cbor.loads(payload, max_bytes=max_bytes))
    except WireError:
        raise BadgeError(BadgeReason.UNREADABLE) from None


# --- cards -------------------------------------------------------------------------------------------------------


def make(badge: Badge, key: Ed25519PrivateKey) -> str:
    """The card's text; ValueError when a field is out of range or the label too long."""
    if not 0 < len(badge.label) <= LABEL_CHARS or len(badge.id) != ID_BYTES:
        raise ValueError(f"a card's label has 1 to {LABEL_CHARS} characters, its id {ID_BYTES} bytes")
    return PREFIX + base45(_sign(key, _CARD, _BADGE, badge))


def read(text: str, keys: Mapping[bytes, Ed25519PublicKey]) -> Badge:
    """The card's content when one of `keys` signed it, whatever the date; BadgeError says why not."""
    if not text.startswith(PREFIX) or len(text) > LONGEST_TEXT:
        raise BadgeError(BadgeReason.UNREADABLE)
    data = unbase45(text.removeprefix(PREFIX))
    if data is None:
        raise BadgeError(BadgeReason.UNREADABLE)
    badge = _open(data, keys, _CARD, _BADGE, LONGEST_TEXT)
    assert isinstance(badge, Badge)
    return badge


def verify(text: str, keys: Mapping[bytes, Ed25519PublicKey], now: Utc, revoked: Revoked | None = None) -> Seen:
    """Believe a card or raise BadgeError.

    What the clock cannot tell is accepted and flagged. A believed card's `issued_s` raises the clock's floor: the
    authority's clock had reached it.
    """
    badge = read(text, keys)
    if revoked is not None and badge.id in revoked.ids:
        raise BadgeError(BadgeReason.REVOKED, badge.id)
    if now.earliest_s >= badge.ends_s:
        raise BadgeError(BadgeReason.EXPIRED, badge.id)
    if now.latest_s is not None and now.latest_s < badge.begins_s:
        raise BadgeError(BadgeReason.NOT_YET_VALID, badge.id)
    sure = now.latest_s is not None and now.earliest_s >= badge.begins_s and now.latest_s < badge.ends_s
    return Seen(badge, undated=not sure)


# --- revoked cards -------------------------------------------------------------------------------------------------


def make_list(revoked: Revoked, key: Ed25519PrivateKey) -> bytes:
    """The signed list."""
    return _sign(key, _REVOKED, _LIST, _List(revoked.number, revoked.issued_s, tuple(sorted(revoked.ids))))


def read_list(data: bytes, keys: Mapping[bytes, Ed25519PublicKey]) -> Revoked:
    """A list one of `keys` signed; BadgeError says why not."""
    found = _open(data, keys, _REVOKED, _LIST, 16 * MOST_REVOKED)
    assert isinstance(found, _List)
    return Revoked(found.number, found.issued_s, frozenset(found.ids))


def newer(current: Revoked | None, offered: Revoked) -> bool:
    """Whether `offered` takes the place of `current`: its number must be higher; the list never goes backwards."""
    return current is None or offered.number > current.number


# --- base45 (RFC 9285) -----------------------------------------------------------------------------------------------


def base45(data: bytes) -> str:
    """Two bytes as three characters, a last single one as two.

    >>> base45(b"ietf!")
    'QED8WEX0'
    """
    out = []
    for at in range(0, len(data) - 1, 2):
        high, rest = divmod(data[at] << 8 | data[at + 1], 45 * 45)
        out += [_ALPHABET[rest % 45], _ALPHABET[rest // 45], _ALPHABET[high]]
    if len(data) % 2:
        out += [_ALPHABET[data[-1] % 45], _ALPHABET[data[-1] // 45]]
    return "".join(out)


def unbase45(text: str) -> bytes | None:
    """The bytes of a base45 text; None when it is none (a foreign character, a value too large, a cut end)."""
    values = [_VALUES.get(character, -1) for character in text]
    if -1 in values or len(values) % 3 == 1:
        return None
    out = bytearray()
    for at in range(0, len(values) - 2, 3):
        number = values[at] + 45 * values[at + 1] + 45 * 45 * values[at + 2]
        if number > 0xFFFF:
            return None
        out += number.to_bytes(2)
    if len(values) % 3:
        number = values[-2] + 45 * values[-1]
        if number > 0xFF:
            return None
        out.append(number)
    return bytes(out)
