"""Who this bag is to the hub: its certificate and key, the pinned root, the hub's sealing key, and TLS made of them.

OpenSSL reads the system clock, which a bag without a battery-backed clock gets wrong after a boot, so the TLS context
never checks dates (X509_V_FLAG_NO_CHECK_TIME: a foreign root is still refused) and the agent checks the broker's
leaf itself, against its own floor.
"""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.x509.oid import NameOID

from agent.errors import ProvisioningError
from agent.transport.hubkeys import HubPublic, load_public

X509_V_FLAG_NO_CHECK_TIME = 0x200000
_COORDINATE_BYTES = 32


def common_name(certificate: x509.Certificate) -> str:
    """The certificate's common name; empty when it has none or several."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if len(names) == 1 else ""


def verify(certificate: x509.Certificate, signature: bytes, message: bytes) -> bool:
    """Whether `signature` (ECDSA P-256 over SHA-256, r and s) over `message` is by the certificate's key."""
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or len(signature) != 2 * _COORDINATE_BYTES:
        return False
    r, s = (int.from_bytes(signature[i : i + _COORDINATE_BYTES]) for i in (0, _COORDINATE_BYTES))
    try:
        key.verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


class _Pinned(ssl.SSLContext):
    """A client context that expects one server name, whatever address the server is reached at.

    `earliest_s` is the earliest UTC that can be true now.
    """

    expected_name: str
    earliest_s: Callable[[], float]

    def wrap_socket(self, *args: Any, **kwargs: Any) -> ssl.SSLSocket:
        """As the base class, with the pinned name."""
        return super().wrap_socket(*args, **{**kwargs, "server_hostname": self.expected_name})


class _Dated(ssl.SSLSocket):
    """A TLS connection to a server whose certificate had not ended at the earliest time that can be true."""

    context: _Pinned

    def do_handshake(self, block: bool = False) -> None:
        """As the base class, then look at the leaf's end; SSLCertVerificationError when it is over."""
        super().do_handshake(block)
        leaf = self.getpeercert() or {}
        ends = str(leaf.get("notAfter", ""))
        if not ends or ssl.cert_time_to_seconds(ends) < self.context.earliest_s():
            raise ssl.SSLCertVerificationError(f"the server's certificate ended on {ends}")


def client_context(
    ca: Path, certificate: Path, key: Path, server_name: str, *, earliest_s: Callable[[], float] | None = None
) -> ssl.SSLContext:
    """TLS 1.3 with our certificate, one pinned root, one expected name, not ended at `earliest_s`.

    Without a better floor, the time when our own certificate began is the earliest that can be true.
    """
    context = _Pinned(ssl.PROTOCOL_TLS_CLIENT)
    context.sslsocket_class = _Dated
    context.expected_name = server_name
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_flags |= X509_V_FLAG_NO_CHECK_TIME
    try:
        context.load_verify_locations(ca)
        context.load_cert_chain(certificate, key)
        began_s = x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_before_utc.timestamp()
    except (OSError, ValueError) as error:  # SSLError is an OSError
        raise ProvisioningError(
            f"cannot use the identity {certificate}: {error}\nNext: besace-provision enrol, or check the file's owner"
        ) from None
    context.earliest_s = earliest_s or (lambda: began_s)
    return context


@dataclass(frozen=True, slots=True)
class Identity:
    """A device's certificate and private key, and the hub's public sealing key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    hub_key: HubPublic

    @property
    def name(self) -> str:
        """The device id: the certificate's common name."""
        return common_name(self.certificate)

    @property
    def certificate_der(self) -> bytes:
        """The certificate as it travels in epoch headers."""
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 of the certificate."""
        return self.certificate.fingerprint(hashes.SHA256())

    @property
    def not_before_us(self) -> int:
        """When the certificate began: UTC cannot be earlier."""
        return int(self.certificate.not_valid_before_utc.timestamp() * 1_000_000)

    def sign(self, message: bytes) -> bytes:
        """ECDSA P-256 over SHA-256 as r and s, 32 bytes each."""
        r, s = decode_dss_signature(self.key.sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(_COORDINATE_BYTES) + s.to_bytes(_COORDINATE_BYTES)


def load(certificate: Path, key: Path, sealing_key: Path) -> Identity:
    """Read an identity; ProvisioningError says which file, why, and what next."""
    at = certificate
    try:
        leaf = x509.load_pem_x509_certificate(certificate.read_bytes())
        at = key
        private = serialization.load_pem_private_key(key.read_bytes(), None)
        if not isinstance(private, ec.EllipticCurvePrivateKey):
            raise ValueError("must be P-256")  # noqa: TRY004, TRY301
        at = sealing_key
        hub_key = load_public(sealing_key.read_bytes())
    except (OSError, ValueError, TypeError) as error:
        raise ProvisioningError(
            f"cannot use {at}: {error}\nNext: sudo besace-provision enrol NAME --hub HOST --token-file FILE"
        ) from None
    return Identity(leaf, private, hub_key)
