"""Epochs: a random key, a dense sequence from 0, a signed header that goes first.

No sequence is ever persisted or reused: an epoch ends with its process, and the next one's header names the last
row of it that was committed, so that the hub can tell a hole from a row still to come.
"""

import os
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID

from agent import __version__
from agent.transport import seal, wire
from agent.transport.hubkeys import HubPrivate
from agent.transport.identity import Identity, common_name, verify
from agent.transport.messages import (
    AnalysisBody,
    Batch,
    EpochHeader,
    EpochReason,
    PreviousEpoch,
    SignedHeader,
    Waveform,
)


@dataclass(frozen=True, slots=True)
class OutRow:
    """One sealed row of the outbox: what travels, byte for byte, each time it is sent.

    `bulk` rows hold waveforms and nothing else: on a full disk they give way.
    """

    epoch: bytes
    seq: int
    payload: bytes
    bulk: bool = field(default=False, compare=False)


class Epoch:
    """A running epoch on the bag: seals rows, opens what the hub says. The key lives in RAM only."""

    def __init__(
        self,
        identity: Identity,
        *,
        boot_id: bytes,
        t_us: int,
        reason: EpochReason,
        chain: bytes,
        number: int,
        previous: PreviousEpoch | None,
        demo: bool = False,
        software: str = __version__,
    ) -> None:
        self.id = os.urandom(seal.EPOCH_BYTES)
        self.number = number
        self._next = 1
        key = os.urandom(seal.KEY_BYTES)
        self.up = seal.UpKeys(self.id, key, identity.name)
        self.down = seal.DownOpener(self.id, key, identity.name)
        sealed = seal.seal_epoch_key(key, identity.hub_key, identity.name, self.id, identity.fingerprint)
        header = wire.encode(
            EpochHeader(
                device=identity.name,
                epoch=self.id,
                hub_key_id=seal.key_id(identity.hub_key),
                sealed_key=sealed,
                certificate=identity.certificate_der,
                boot_id=boot_id,
                t_us=t_us,
                software=software,
                reason=reason,
                demo=demo,
                chain=chain,
                number=number,
                previous=previous,
            )
        )
        signed = wire.encode(SignedHeader(header, identity.sign(header)))
        self.header = OutRow(self.id, 0, seal.header_head(self.id) + signed)
        self._state_counter = 0
        self._ask_counter = 0
        self._preview_counter = 0

    @property
    def last(self) -> int:
        """The newest row's sequence number; 0 is the header's."""
        return self._next - 1

    def row(self, batch: Batch) -> OutRow:
        """Seal the next batch as this epoch's next row."""
        seq = self._next
        payload = self.up.seal(seal.Lane.ROW, seq, wire.encode(batch))
        self._next += 1
        bulk = all(isinstance(record.body, Waveform | AnalysisBody) for record in batch.records)
        return OutRow(self.id, seq, payload, bulk)

    def state(self, plaintext: bytes) -> bytes:
        """Seal a state message or a will."""
        self._state_counter += 1
        return self.up.seal(seal.Lane.STATE, self._state_counter, plaintext)

    def ask(self, plaintext: bytes) -> bytes:
        """Seal a question for the time."""
        self._ask_counter += 1
        return self.up.seal(seal.Lane.TIME_ASK, self._ask_counter, plaintext)

    def preview(self, plaintext: bytes) -> bytes:
        """Seal a picture to be seen now and stored nowhere."""
        self._preview_counter += 1
        return self.up.seal(seal.Lane.PREVIEW, self._preview_counter, plaintext)


@dataclass(frozen=True, slots=True)
class OpenedHeader:
    """An epoch header the hub believes, and the epoch's key."""

    header: EpochHeader
    key: bytes


def read_header(payload: bytes) -> tuple[SignedHeader, EpochHeader]:
    """What a header row says and how it is signed, nothing of it checked; SealError or WireError when it is none."""
    head = seal.head_of(payload)
    signed = wire.decode(payload[seal.HEADER_HEAD_BYTES :])
    if head.lane is not seal.Lane.HEADER or not isinstance(signed, SignedHeader):
        raise seal.SealError("no epoch header")
    header = wire.decode(signed.header)
    if not isinstance(header, EpochHeader) or header.epoch != head.epoch:
        raise seal.SealError("the header speaks of another epoch")
    return signed, header


def open_header(payload: bytes, *, device: str, root: x509.Certificate, hub_key: HubPrivate) -> OpenedHeader:
    """Check a header row as the hub must: issuer, purpose, name, signature, binding; SealError or WireError.

    Dates are not checked here: a header from before a renewal, or from a bag with a wrong clock, is still that
    bag's; revocation is the caller's to check, by fingerprint.
    """
    signed, header = read_header(payload)
    if header.device != device:
        raise seal.SealError("the header speaks of another device")
    try:
        leaf = x509.load_der_x509_certificate(header.certificate)
        leaf.verify_directly_issued_by(root)
        purposes = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        own = common_name(leaf) == device and verify(leaf, signed.signature, signed.header)
    except Exception as error:  # noqa: BLE001 - the library raises several unrelated kinds on hostile bytes
        raise seal.SealError(f"the certificate is not of this authority: {type(error).__name__}") from None
    if ExtendedKeyUsageOID.CLIENT_AUTH not in purposes or not own:
        raise seal.SealError("the header is not signed by the device it names")
    if header.hub_key_id != seal.key_id(hub_key.public_key()):
        raise seal.SealError("the header is sealed to another hub key")
    fingerprint = leaf.fingerprint(hashes.SHA256())
    return OpenedHeader(header, seal.open_epoch_key(header.sealed_key, hub_key, device, header.epoch, fingerprint))
