"""The custody log: append-only, each entry signed by the device and chained by hash to the one before.

An entry is the deterministic CBOR `[body, signature]`; the body is `[number, previous, boot_id, what, t_us, utc_s,
badge, label, place, due_s, details, blob]`, `previous` the SHA-256 of the whole entry before (of the device's name
for entry 0). The signature is the device key's. Entry 0, and the first entry after each renewal, is an IDENTITY entry
that carries the certificate, so a ledger is checked with the authority's certificates alone.

A chain shows every change, removal and reordering but one: its end can be cut off. That is what the hub's
countersigned head is for. The table lives in the outbox's file: `append` takes the connection of an open transaction,
so that an entry and its sealed row are one commit.
"""

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from agent.custody import What
from agent.errors import BesaceError, WireError
from agent.holding import Act
from agent.transport import cbor
from agent.transport.composed import Row
from agent.transport.identity import common_name, verify
from agent.transport.shapes import SINT, UINT, Bytes, ByValue, ListOf, Maybe, Text

SCHEMA = "CREATE TABLE IF NOT EXISTS ledger (number INTEGER PRIMARY KEY, entry BLOB NOT NULL) STRICT;"
LONGEST_ENTRY = 4096
HASH_BYTES = 32
HUB = "hub"
_ENTRY = b"besace ledger entry"
_HEAD = b"besace ledger head"

Sign = Callable[[bytes], bytes]


class LedgerError(BesaceError):
    """A ledger that is not what its device signed, from entry `number` on."""

    def __init__(self, number: int, why: str) -> None:
        super().__init__(f"ledger entry {number}: {why}\nNext: keep the bag as it is and call the technician")
        self.number = number
        self.why = why


@dataclass(frozen=True, slots=True)
class Head:
    """A ledger's end: the number and hash of its last entry."""

    number: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry as it was signed."""

    number: int
    previous: bytes
    boot_id: bytes
    act: Act
    data: bytes = b""

    @property
    def head(self) -> Head:
        """The ledger's head after this entry."""
        return Head(self.number, sha256(self.data).digest())


@dataclass(frozen=True, slots=True)
class _Body:
    number: int
    previous: bytes
    boot_id: bytes
    what: What
    t_us: int
    utc_s: int | None
    badge: bytes
    label: str
    place: str
    due_s: int | None
    details: tuple[str, ...]
    blob: bytes


@dataclass(frozen=True, slots=True)
class _Signed:
    body: bytes
    signature: bytes


_BODY = Row(
    _Body, UINT, Bytes(HASH_BYTES, HASH_BYTES), Bytes(16, 16), ByValue(What), UINT, Maybe(SINT), Bytes(0, 16), Text(32),
    Text(32), Maybe(SINT), ListOf(Text(64), 64), Bytes(0, 3000),
)  # fmt: skip
_SIGNED = Row(_Signed, Bytes(1, LONGEST_ENTRY), Bytes(64, 64))


def genesis(device: str) -> Head:
    """The head before entry 0."""
    return Head(-1, sha256(b"besace ledger of " + device.encode()).digest())


def draft(head: Head, boot_id: bytes, act: Act, sign: Sign) -> Entry:
    """The next entry, signed; nothing is stored yet. ValueError when it would be too long."""
    number = head.number + 1
    content = _Body(
        number, head.hash, boot_id, act.what, act.t_us, act.utc_s, act.badge, act.label, act.place, act.due_s,
        act.details, act.blob,
    )  # fmt: skip
    body = cbor.dumps(_BODY.encode(content))
    data = cbor.dumps(_SIGNED.encode(_Signed(body, sign(_ENTRY + body))))
    if len(data) > LONGEST_ENTRY:
        raise ValueError(f"a ledger entry of {len(data)} bytes, at most {LONGEST_ENTRY}")
    return Entry(number, head.hash, boot_id, act, data)


def read(data: bytes) -> Entry:
    """An entry's content, its signature unchecked; WireError for anything `draft` does not write."""
    return _read(data)[0]


def _read(data: bytes) -> tuple[Entry, _Signed]:
    signed: _Signed = _SIGNED.decode(cbor.loads(data, max_bytes=LONGEST_ENTRY))
    b: _Body = _BODY.decode(cbor.loads(signed.body, max_bytes=LONGEST_ENTRY))
    act = Act(b.what, b.t_us, b.utc_s, b.badge, b.label, b.place, b.due_s, b.details, b.blob)
    return Entry(b.number, b.previous, b.boot_id, act, data), signed


class Chain:
    """Checks a ledger entry by entry: on the bag by `besace ledger verify`, at the hub as entries arrive."""

    def __init__(self, device: str, authority: Sequence[x509.Certificate]) -> None:
        self._device = device
        self._authority = authority
        self._certificate: x509.Certificate | None = None
        self.head = genesis(device)

    def push(self, data: bytes) -> Entry:
        """Take the next entry, or raise LedgerError and stay where it was."""
        number = self.head.number + 1
        try:
            entry, signed = _read(data)
        except WireError as error:
            raise LedgerError(number, f"unreadable: {error}") from None
        if entry.number != number:
            raise LedgerError(number, f"number {entry.number} in its place")
        if entry.previous != self.head.hash:
            raise LedgerError(number, "does not follow the entry before")
        certificate = self._certificate
        if entry.act.what is What.IDENTITY:
            certificate = certified(entry.act.blob, self._device, self._authority)
            if certificate is None:
                raise LedgerError(number, "a certificate of another authority or device")
        if certificate is None or not verify(certificate, signed.signature, _ENTRY + signed.body):
            raise LedgerError(number, "not signed by this device")
        self._certificate = certificate
        self.head = entry.head
        return entry


def certified(der: bytes, name: str, authority: Iterable[x509.Certificate]) -> x509.Certificate | None:
    """The certificate in `der` when one of the authority's gave it to `name`, else None; dates are not looked at."""
    for issuer in authority:
        try:
            leaf = x509.load_der_x509_certificate(der)
            leaf.verify_directly_issued_by(issuer)
            leaf.public_key()
            # A DER bit string may declare unused bits where they are zero: one certificate, several encodings.
            if common_name(leaf) == name and der.endswith(b"\x00" + leaf.signature):
                return leaf
        except Exception:  # noqa: BLE001, S112 - the library raises several unrelated kinds on hostile bytes
            continue
    return None


def verify_ledger(
    entries: Iterable[bytes], device: str, authority: Sequence[x509.Certificate], countersigned: Head | None = None
) -> list[Entry]:
    """Check a whole ledger; LedgerError names the first entry that is wrong, or the end that is missing."""
    chain = Chain(device, authority)
    found = [chain.push(data) for data in entries]
    if countersigned is not None and not (
        countersigned.number < len(found) and found[countersigned.number].head == countersigned
    ):
        raise LedgerError(
            countersigned.number, "the hub countersigned an entry that is not here: cut short or replaced"
        )
    return found


# --- in the outbox's file ----------------------------------------------------------------------------------------


def append(db: sqlite3.Connection, entry: Entry) -> None:
    """Store an entry inside the caller's open transaction; LedgerError when it does not follow the last one."""
    last = db.execute("SELECT number, entry FROM ledger ORDER BY number DESC LIMIT 1").fetchone()
    if entry.number != (last[0] + 1 if last else 0) or (last and sha256(last[1]).digest() != entry.previous):
        raise LedgerError(entry.number, "does not follow what is stored")
    db.execute("INSERT INTO ledger VALUES (?, ?)", (entry.number, entry.data))


def stored(db: sqlite3.Connection) -> list[bytes]:
    """Every entry, from the first."""
    return [entry for (entry,) in db.execute("SELECT entry FROM ledger ORDER BY number")]


# --- the hub's countersignature ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Countersigned:
    number: int
    hash: bytes
    utc_s: int
    certificate: bytes
    signature: bytes


_COUNTERSIGNED = Row(_Countersigned, UINT, Bytes(HASH_BYTES, HASH_BYTES), UINT, Bytes(64, 3000), Bytes(64, 64))


def _head_to_sign(device: str, number: int, digest: bytes, utc_s: int) -> bytes:
    return _HEAD + cbor.dumps([device, number, digest, utc_s])


def countersign(device: str, head: Head, utc_s: int, certificate: x509.Certificate, sign: Sign) -> bytes:
    """The hub's word that it has this ledger up to `head`."""
    der = certificate.public_bytes(serialization.Encoding.DER)
    signature = sign(_head_to_sign(device, head.number, head.hash, utc_s))
    return cbor.dumps(_COUNTERSIGNED.encode(_Countersigned(head.number, head.hash, utc_s, der, signature)))


def read_countersigned(data: bytes, device: str, authority: Sequence[x509.Certificate]) -> Head:
    """The head the hub countersigned; WireError when the hub of this authority did not."""
    found: _Countersigned = _COUNTERSIGNED.decode(cbor.loads(data, max_bytes=LONGEST_ENTRY))
    leaf = certified(found.certificate, HUB, authority)
    message = _head_to_sign(device, found.number, found.hash, found.utc_s)
    if leaf is None or not verify(leaf, found.signature, message):
        raise WireError("a head that the hub did not countersign")
    return Head(found.number, found.hash)
