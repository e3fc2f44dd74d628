"""Devices' certificates: one-time tokens, requests, renewals. The decisions behind enrolment, whoever asks.

A token is good once, within 48 hours, for one name. The same key asking again with it gets the same certificate: a
bag that was cut off between the answer and its disk asks again.
"""

import datetime as dt
import secrets
import tomllib
from dataclasses import dataclass
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agent.errors import ProvisioningError
from agent.ledger import certified
from agent.transport.identity import common_name
from agent.transport.topics import is_device
from provisioning.authority import Authority, certificate_pem
from provisioning.journal import Entry
from provisioning.office import BROKER, ENROLMENT, HUB_CLIENT, Office

TOKEN_HOURS = 48
_RESERVED = frozenset({HUB_CLIENT, BROKER, ENROLMENT})


class RefusedError(ProvisioningError):
    """A request that is not granted; nothing was changed."""


@dataclass(frozen=True, slots=True)
class TokenFile:
    """What a technician carries to a bag: its name, the token, and the root to trust before anything else."""

    name: str
    token: str
    root: x509.Certificate

    def text(self) -> str:
        """The file's content (TOML)."""
        pem = certificate_pem(self.root).decode()
        return f'name = "{self.name}"\ntoken = "{self.token}"\nroot = """\n{pem}"""\n'


def read_token_file(text: str) -> TokenFile:
    """Read a token file; ProvisioningError when it is none."""
    try:
        table = tomllib.loads(text)
        return TokenFile(
            str(table["name"]), str(table["token"]), x509.load_pem_x509_certificate(str(table["root"]).encode())
        )
    except (tomllib.TOMLDecodeError, KeyError, ValueError) as error:
        raise ProvisioningError(
            f"this is no token file: {error}\nNext: besace-provision new NAME > FILE, and carry FILE to the bag"
        ) from None


def new_token(office: Office, name: str, *, now: dt.datetime) -> TokenFile:
    """A one-time token for a bag; RefusedError for a name that cannot be given."""
    if not is_device(name) or name in _RESERVED:
        raise RefusedError(f"{name!r} cannot be a bag's name: a-z, 0-9 and '-', at most 32\nNext: such as sac-04")
    token = secrets.token_urlsafe(24)
    with office.journal.writing(now) as entry:
        device = entry.register.devices.get(name)
        if device is not None and device.revoked_s is not None:
            raise RefusedError(
                f"{name} was revoked, and the broker knows bags by name: the old key would be let in again\n"
                "Next: give the bag a new name"
            )
        expires = now + dt.timedelta(hours=TOKEN_HOURS)
        entry.add("token", name=name, hash=_hash(token), expires_s=int(expires.timestamp()))
    return TokenFile(name, token, office.root)


def read_request(data: bytes) -> x509.CertificateSigningRequest:
    """A certification request (DER or PEM) whose own signature is good; RefusedError otherwise."""
    try:
        load = x509.load_pem_x509_csr if data.startswith(b"-----") else x509.load_der_x509_csr
        request = load(data)
        good = request.is_signature_valid and isinstance(request.public_key(), ec.EllipticCurvePublicKey)
    except Exception:  # noqa: BLE001 - the library raises several unrelated kinds on hostile bytes
        good = False
    if not good:
        raise RefusedError("no valid certification request with a P-256 key\nNext: make it with besace-provision")
    return request


def enrol(
    office: Office, issuing: Authority, request: x509.CertificateSigningRequest, token: str, *, now: dt.datetime
) -> x509.Certificate:
    """Certify a bag for its token; RefusedError for a token that is unknown, late, used, or another bag's."""
    name, key = _asked(request)
    with office.journal.writing(now) as entry:
        known = entry.register.tokens.get(_hash(token))
        if known is None or known.name != name:
            raise RefusedError("this token is not for this bag\nNext: besace-provision new NAME")
        if known.used_by and known.used_by != _key_hash(key):
            raise RefusedError("this token was used, by another key\nNext: besace-provision new NAME")
        if now.timestamp() >= known.expires_s:
            raise RefusedError(f"this token is older than {TOKEN_HOURS} hours\nNext: besace-provision new NAME")
        _check_active(entry, name)
        return _issue(entry, issuing, name, key, now, token=_hash(token))


def sign(
    office: Office, issuing: Authority, request: x509.CertificateSigningRequest, *, now: dt.datetime
) -> x509.Certificate:
    """Certify a bag by hand, for a request that was carried here; the technician stands for it."""
    name, key = _asked(request)
    with office.journal.writing(now) as entry:
        _check_active(entry, name)
        return _issue(entry, issuing, name, key, now, token="")


def renew(
    office: Office,
    issuing: Authority,
    request: x509.CertificateSigningRequest,
    peer: x509.Certificate,
    *,
    now: dt.datetime,
) -> x509.Certificate:
    """Certify a bag again for the certificate it showed: ours, unrevoked, expired or not (a shelved bag comes back)."""
    name, key = _asked(request)
    shown = peer.public_bytes(serialization.Encoding.DER)
    with office.journal.writing(now) as entry:
        if certified(shown, name, [issuing.certificate]) is None:
            raise RefusedError("the certificate shown is not this bag's\nNext: besace-provision new NAME")
        device = entry.register.devices.get(name)
        serials = {c.serial for c in device.certificates} if device is not None else set()
        if peer.serial_number not in serials:
            raise RefusedError("the certificate shown is not in the register\nNext: besace-provision new NAME")
        _check_active(entry, name)
        return _issue(entry, issuing, name, key, now, token="")


def _asked(request: x509.CertificateSigningRequest) -> tuple[str, ec.EllipticCurvePublicKey]:
    names = request.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    name = str(names[0].value) if len(names) == 1 else ""
    key = request.public_key()
    if not is_device(name) or name in _RESERVED or not isinstance(key, ec.EllipticCurvePublicKey):
        raise RefusedError(f"{name!r} cannot be a bag's name\nNext: such as sac-04")
    return name, key


def _check_active(entry: Entry, name: str) -> None:
    device = entry.register.devices.get(name)
    if device is not None and device.revoked_s is not None:
        raise RefusedError(f"{name} was revoked: {device.why}\nNext: enrol the bag under a new name")


def _issue(
    entry: Entry, issuing: Authority, name: str, key: ec.EllipticCurvePublicKey, now: dt.datetime, *, token: str
) -> x509.Certificate:
    """The certificate for this key: the one it has, in the first third of its life, else a new one."""
    device = entry.register.devices.get(name)
    for known in reversed(device.certificates if device is not None else []):
        if known.public_key == _key_hash(key):
            old = x509.load_pem_x509_certificate(known.pem.encode())
            if now < old.not_valid_before_utc + (old.not_valid_after_utc - old.not_valid_before_utc) / 3:
                return old
    leaf = issuing.issue_client(name, key, now=now)
    if common_name(leaf) != name:
        raise RefusedError("the name does not survive certification\nNext: choose a plain one")
    entry.add(
        "certificate", name=name, serial=f"{leaf.serial_number:x}", fingerprint=leaf.fingerprint(hashes.SHA256()).hex(),
        not_after_s=int(leaf.not_valid_after_utc.timestamp()), public_key=_key_hash(key), token=token,
        pem=certificate_pem(leaf).decode(),
    )  # fmt: skip
    return leaf


def _hash(token: str) -> str:
    return sha256(token.encode()).hexdigest()


def _key_hash(key: ec.EllipticCurvePublicKey) -> str:
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return sha256(der).hexdigest()
