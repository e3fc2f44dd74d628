"""The CPTS's own authority: one root that signs devices, the broker and the hub, and the hub's sealing key.

Certificates are P-256. Names are what the broker's access list and the hub's checks go by: a device's common name is
its id and it has no DNS name; the broker's certificate carries the names it is reached by.
"""

import datetime as dt
import ipaddress
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from agent.errors import ProvisioningError
from agent.transport.topics import is_device

DEVICE_DAYS = 90
ROOT_DAYS = 3650
_BACKDATE = dt.timedelta(minutes=5)  # clocks of one room differ


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def write_private(path: Path, data: bytes) -> None:
    """Write a file nobody else can read, whole or not at all."""
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def key_pem(key: ec.EllipticCurvePrivateKey | X25519PrivateKey) -> bytes:
    """An unencrypted private key as PEM (PKCS 8)."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def certificate_pem(certificate: x509.Certificate) -> bytes:
    """A certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


@dataclass(frozen=True, slots=True)
class Authority:
    """A root certificate and its key, in memory."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def new(cls, name: str, *, now: dt.datetime | None = None) -> "Authority":
        """Make a root for one CPTS."""
        now = now or dt.datetime.now(dt.UTC)
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(_name(name))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _BACKDATE)
            .not_valid_after(now + dt.timedelta(days=ROOT_DAYS))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(sign=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        return cls(builder.sign(key, hashes.SHA256()), key)

    def issue_client(
        self,
        name: str,
        public_key: ec.EllipticCurvePublicKey,
        *,
        days: int = DEVICE_DAYS,
        now: dt.datetime | None = None,
    ) -> x509.Certificate:
        """Certify a device or the hub as a client of the broker."""
        return self._issue(name, public_key, days, now, (), ExtendedKeyUsageOID.CLIENT_AUTH)

    def issue_server(
        self,
        name: str,
        public_key: ec.EllipticCurvePublicKey,
        reached_by: Iterable[str],
        *,
        days: int = DEVICE_DAYS,
        now: dt.datetime | None = None,
    ) -> x509.Certificate:
        """Certify the broker or the hub as a server reached by these names and addresses."""
        return self._issue(name, public_key, days, now, tuple(reached_by), ExtendedKeyUsageOID.SERVER_AUTH)

    def _issue(
        self,
        name: str,
        public_key: ec.EllipticCurvePublicKey,
        days: int,
        now: dt.datetime | None,
        reached_by: tuple[str, ...],
        purpose: x509.ObjectIdentifier,
    ) -> x509.Certificate:
        if not is_device(name):
            raise ProvisioningError(f"no certificate for {name!r}\nNext: choose 1 to 32 of a-z, 0-9 and '-'")
        if not isinstance(public_key.curve, ec.SECP256R1):
            raise ProvisioningError(f"the key of {name} is not P-256\nNext: make it anew on the device")
        now = now or dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(self.certificate.subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _BACKDATE)
            .not_valid_after(now + dt.timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(sign=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        if reached_by:
            builder = builder.add_extension(x509.SubjectAlternativeName(map(_general_name, reached_by)), critical=False)
        return builder.sign(self.key, hashes.SHA256())


def _usage(*, sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=sign, crl_sign=sign, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _general_name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)
