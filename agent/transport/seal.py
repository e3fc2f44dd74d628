"""Sealing: what leaves the bag can be read by the hub alone, what comes back is believed only when authenticated.

An epoch has one random 256-bit key. It is sealed to the hub's public key with HPKE (RFC 9180, base mode, X25519 or that
with ML-KEM-768, HKDF-SHA256, ChaCha20-Poly1305; `info` binds device, epoch and certificate) in the epoch's header,
which the device key signs. HKDF gives one key and one base IV per lane; on the way down each hub process mixes in a
random session id, so that a restarted or restored hub never uses a nonce twice. Counters live in RAM only.

A sealed message is a COSE_Encrypt0 (RFC 9052, ChaCha20-Poly1305, partial IV) with its constant parts left out:

    up    lane u8 | epoch 6 | counter u32 | ciphertext | tag 16                 27 bytes more than the plaintext
    down  lane u8 | session 16 | epoch 6 | counter u32 | ciphertext | tag 16    43 bytes more

    header  00 | epoch 6 | version u8 | signed header

An epoch's header says once which version of the wire all its messages are written in, both ways: no message pays for
it. HPKE and HKDF bind the version too, so nobody can change it on the way.

`cose()` puts the constant parts back, so that any COSE library opens it: protected {1: 24}, unprotected
{6: counter}, external_aad = device name, key and base IV of the lane. Rows are sealed once, under lane ROW with
their sequence number as counter, and are the same bytes whether they go live or as backlog.
"""

from dataclasses import dataclass
from enum import IntEnum

import cbor2
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from agent.errors import BesaceError
from agent.transport import hubkeys
from agent.transport.hubkeys import HubPrivate, HubPublic

VERSION = 1  # docs/wire.md tells when it becomes another
EPOCH_BYTES = 6
SESSION_BYTES = 16
KEY_BYTES = 32
_NONCE_BYTES = 12
_TAG_BYTES = 16
_COUNTER_BYTES = 4
HEADER_HEAD_BYTES = 1 + EPOCH_BYTES + 1
_PROTECTED = cbor2.dumps({1: 24}, canonical=True)  # alg: ChaCha20/Poly1305
UP_HEAD_BYTES = 1 + EPOCH_BYTES + _COUNTER_BYTES
DOWN_HEAD_BYTES = 1 + SESSION_BYTES + EPOCH_BYTES + _COUNTER_BYTES
UP_OVERHEAD_BYTES = UP_HEAD_BYTES + _TAG_BYTES
HIGHEST_COUNTER = 2**32 - 1


class SealError(BesaceError):
    """A message that was not sealed by whom it claims: never believed, always counted."""


class VersionError(SealError):
    """An epoch of another version of the wire: not opened, not receipted, kept by its bag."""


class Lane(IntEnum):
    """What a key serves; the first byte of every message. HEADER is signed, not sealed."""

    HEADER = 0x00
    ROW = 0x01
    STATE = 0x02
    TIME_ASK = 0x03
    PREVIEW = 0x04
    RECEIPT = 0x11
    COMMAND = 0x12
    TIME_ANSWER = 0x13


UP_LANES = frozenset({Lane.ROW, Lane.STATE, Lane.TIME_ASK, Lane.PREVIEW})
DOWN_LANES = frozenset({Lane.RECEIPT, Lane.COMMAND, Lane.TIME_ANSWER})


@dataclass(frozen=True, slots=True)
class LaneKey:
    """Key and base IV of one lane of one epoch, and whose it is."""

    key: bytes
    base_iv: bytes
    device: str

    def nonce(self, counter: int) -> bytes:
        """The COSE nonce: base IV xor the left-padded partial IV (RFC 9052, 3.1)."""
        partial = int.from_bytes(self.base_iv) ^ counter
        return partial.to_bytes(_NONCE_BYTES)

    @property
    def aad(self) -> bytes:
        """COSE's Enc_structure (RFC 9052, 5.3)."""
        return cbor2.dumps(["Encrypt0", _PROTECTED, self.device.encode()])


def lane_key(epoch_key: bytes, device: str, lane: Lane, session: bytes = b"") -> LaneKey:
    """Derive one lane's key (32 bytes) and base IV (12 bytes) from the epoch key."""
    info = b"besace/%d/" % VERSION + bytes([lane]) + session
    both = HKDF(hashes.SHA256(), KEY_BYTES + _NONCE_BYTES, salt=None, info=info).derive(epoch_key)
    return LaneKey(both[:KEY_BYTES], both[KEY_BYTES:], device)


def _seal(key: LaneKey, head: bytes, counter: int, plaintext: bytes) -> bytes:
    return head + ChaCha20Poly1305(key.key).encrypt(key.nonce(counter), plaintext, key.aad)


def _open(key: LaneKey, head_bytes: int, counter: int, sealed: bytes) -> bytes:
    try:
        return ChaCha20Poly1305(key.key).decrypt(key.nonce(counter), sealed[head_bytes:], key.aad)
    except InvalidTag:
        raise SealError("not sealed by whom it claims") from None


@dataclass(frozen=True, slots=True)
class Head:
    """The clear part of a sealed message."""

    lane: Lane
    epoch: bytes
    counter: int
    session: bytes = b""


def header_head(epoch: bytes) -> bytes:
    """What stands before an epoch's signed header."""
    return bytes([Lane.HEADER]) + epoch + bytes([VERSION])


def head_of(sealed: bytes) -> Head:
    """Read the clear part; SealError when there is none, VersionError when it begins an epoch of another version."""
    try:
        lane = Lane(sealed[0])
    except (IndexError, ValueError):
        raise SealError("no such lane") from None
    if lane is Lane.HEADER:
        if len(sealed) <= HEADER_HEAD_BYTES:
            raise SealError("too short for an epoch header")
        version = sealed[HEADER_HEAD_BYTES - 1]
        if version != VERSION:
            raise VersionError(f"version {version} of the wire, {VERSION} is read here: update the older side")
        return Head(lane, sealed[1 : 1 + EPOCH_BYTES], 0)
    skip = SESSION_BYTES if lane in DOWN_LANES else 0
    size = 1 + skip + EPOCH_BYTES + _COUNTER_BYTES
    if len(sealed) < size + _TAG_BYTES:
        raise SealError("too short to be sealed")
    epoch = sealed[1 + skip : 1 + skip + EPOCH_BYTES]
    return Head(lane, epoch, int.from_bytes(sealed[size - _COUNTER_BYTES : size]), sealed[1 : 1 + skip])


class UpKeys:
    """The lanes from one bag in one epoch; the bag seals, the hub opens."""

    def __init__(self, epoch: bytes, epoch_key: bytes, device: str) -> None:
        self.epoch = epoch
        self._keys = {lane: lane_key(epoch_key, device, lane) for lane in UP_LANES}

    def seal(self, lane: Lane, counter: int, plaintext: bytes) -> bytes:
        """Seal one message; a (lane, counter) pair must never be used twice."""
        if not 0 <= counter <= HIGHEST_COUNTER:
            raise SealError("the epoch's counter is used up: a new epoch is due")
        head = bytes([lane]) + self.epoch + counter.to_bytes(_COUNTER_BYTES)
        return _seal(self._keys[lane], head, counter, plaintext)

    def open(self, sealed: bytes) -> tuple[Head, bytes]:
        """Open a message of this epoch; raise SealError when it is none."""
        head = head_of(sealed)
        if head.epoch != self.epoch or head.lane not in self._keys:
            raise SealError("another epoch's or another direction's message")
        return head, _open(self._keys[head.lane], UP_HEAD_BYTES, head.counter, sealed)

    def cose(self, sealed: bytes) -> bytes:
        """The same message as the COSE_Encrypt0 any COSE library opens."""
        head = head_of(sealed)
        partial = head.counter.to_bytes(_COUNTER_BYTES)
        return cbor2.dumps(cbor2.CBORTag(16, [_PROTECTED, {6: partial}, sealed[UP_HEAD_BYTES:]]))


class DownSealer:
    """The hub's side of the lanes to one bag: one hub process, one session id, counters in RAM."""

    def __init__(self, epoch: bytes, epoch_key: bytes, device: str, session: bytes) -> None:
        self._head = session + epoch
        self._keys = {lane: lane_key(epoch_key, device, lane, session) for lane in DOWN_LANES}
        self._counters = dict.fromkeys(DOWN_LANES, 0)

    def seal(self, lane: Lane, plaintext: bytes) -> bytes:
        """Seal the next message on a lane."""
        counter = self._counters[lane]
        if counter > HIGHEST_COUNTER:
            raise SealError("this session's counter is used up: the hub is to be started again")
        self._counters[lane] += 1
        head = bytes([lane]) + self._head + counter.to_bytes(_COUNTER_BYTES)
        return _seal(self._keys[lane], head, counter, plaintext)


class DownOpener:
    """The bag's side: opens what any hub session sealed for this epoch, each message once, in order.

    A session's counter only rises: a replayed or reordered message is refused. Only a session that proved itself is
    remembered, so nobody else can make this grow.
    """

    def __init__(self, epoch: bytes, epoch_key: bytes, device: str) -> None:
        self._epoch = epoch
        self._epoch_key = epoch_key
        self._device = device
        self._keys: dict[tuple[bytes, Lane], LaneKey] = {}
        self._next: dict[tuple[bytes, Lane], int] = {}

    def open(self, sealed: bytes) -> tuple[Head, bytes]:
        """Open a message; raise SealError when it is forged, replayed, or not for this epoch."""
        head = head_of(sealed)
        if head.lane not in DOWN_LANES or head.epoch != self._epoch:
            raise SealError("another epoch's or another direction's message")
        whose = head.session, head.lane
        if head.counter < self._next.get(whose, 0):
            raise SealError("replayed")
        key = self._keys.get(whose) or lane_key(self._epoch_key, self._device, head.lane, head.session)
        plaintext = _open(key, DOWN_HEAD_BYTES, head.counter, sealed)
        self._keys[whose] = key
        self._next[whose] = head.counter + 1
        return head, plaintext


# --- the epoch key, sealed to the hub ------------------------------------------------------------------------


def key_id(hub_key: HubPublic) -> bytes:
    """Eight bytes that name a hub sealing key: the start of its SHA-256."""
    digest = hashes.Hash(hashes.SHA256())
    digest.update(hub_key.public_bytes_raw())
    return digest.finalize()[:8]


def _info(device: str, epoch: bytes, fingerprint: bytes) -> bytes:
    # HPKE in this library takes no AAD: `info` is what binds the key to whom it belongs.
    return cbor2.dumps([f"besace/{VERSION}/epoch", device, epoch, fingerprint])


def seal_epoch_key(epoch_key: bytes, hub_key: HubPublic, device: str, epoch: bytes, fingerprint: bytes) -> bytes:
    """HPKE-seal the epoch key to the hub: encapsulated key (32 bytes; 1,120 hybrid) then ciphertext (48 bytes)."""
    return hubkeys.seal(epoch_key, hub_key, _info(device, epoch, fingerprint))


def open_epoch_key(sealed: bytes, hub_key: HubPrivate, device: str, epoch: bytes, fingerprint: bytes) -> bytes:
    """Open what `seal_epoch_key` sealed; raise SealError when it was not sealed for exactly this."""
    try:
        key = hubkeys.open_sealed(sealed, hub_key, _info(device, epoch, fingerprint))
    except (InvalidTag, ValueError):
        raise SealError("the epoch key does not open with this hub key") from None
    if len(key) != KEY_BYTES:
        raise SealError("the epoch key has the wrong length")
    return key
