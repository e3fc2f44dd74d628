"""Enrolment on the bag: a key made here that never leaves, and a certificate for it; renewal; retirement.

The identity is a folder with everything that belongs together (key, certificate, root, hub's sealing key, cards'
keys), reached through the link `identity`. A new one is built beside it, file by file, each whole or absent, and
the link is moved in one step: killed at any moment, the bag has its old identity or its new one, and calling again
goes on where it stopped.

    /etc/besace/identity -> identity.a      device.key device.pem root.pem authority.pem hub.pub cards.pem hub.addr
    /etc/besace/identity.b                  the next one, while it is being made
    /etc/besace/besace.toml                 the configuration; written once, then the technician's

Enrolment speaks EST (RFC 7030) and trusts the root in the token file, nothing else. The bag's clock may be wrong, so
TLS checks no dates; the hub's certificate must not end before the bag's own floor.
"""

import base64
import datetime as dt
import http.client
import json
import os
import shutil
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs7

from agent.badges import BadgeError, key_ring, newer, read_keys, read_list
from agent.errors import HubError, ProvisioningError
from agent.ledger import certified
from agent.transport import hubkeys
from agent.transport.identity import X509_V_FLAG_NO_CHECK_TIME, common_name
from provisioning.authority import certificate_pem, key_pem, write_private
from provisioning.issue import TokenFile

ETC = Path("/etc/besace")
EST = "/.well-known/est"
SETTINGS = "/besace/settings"
SERVER_NAME = "hub"
TIMEOUT_S = 10.0
LONGEST_ANSWER = 1 << 20
RENEW_AT = 2 / 3
FILES = ("device.key", "device.pem", "root.pem", "authority.pem", "hub.pub", "cards.pem", "hub.addr")
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Address:
    """Where the hub's enrolment server listens."""

    host: str
    port: int = 8443

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Read HOST or HOST:PORT."""
        host, colon, port = text.partition(":")
        if not host or (colon and not port.isdigit()):
            raise ProvisioningError(f"the hub's address is {text!r}, must be HOST or HOST:PORT\nNext: correct --hub")
        return cls(host, int(port) if colon else 8443)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


# --- the identity's folder -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Place:
    """Where identities are on this bag."""

    etc: Path = ETC

    @property
    def link(self) -> Path:
        """The link to the identity in use."""
        return self.etc / "identity"

    @property
    def config(self) -> Path:
        """The agent's configuration."""
        return self.etc / "besace.toml"

    @property
    def next(self) -> Path:
        """The folder that is not in use: where the next identity is made."""
        current = self.link.readlink().name if self.link.is_symlink() else ""
        return self.etc / ("identity.b" if current == "identity.a" else "identity.a")

    def certificate(self) -> x509.Certificate | None:
        """The certificate in use."""
        return _leaf(self.link)


def _leaf(folder: Path) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificate((folder / "device.pem").read_bytes())
    except (OSError, ValueError):
        return None


def _begin(place: Place) -> Path:
    """The folder of the next identity: a half-made one is gone on with, the one before the present is removed."""
    coming, current = _leaf(place.next), place.certificate()
    if current is not None and coming is not None and coming.not_valid_before_utc <= current.not_valid_before_utc:
        shutil.rmtree(place.next)
    place.next.mkdir(mode=0o700, parents=True, exist_ok=True)
    return place.next


def _key(folder: Path) -> ec.EllipticCurvePrivateKey:
    """The next identity's key: made once, here; it is never printed, logged, copied or sent."""
    path = folder / "device.key"
    if not path.exists():
        write_private(path, key_pem(ec.generate_private_key(ec.SECP256R1())))
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def _request(key: ec.EllipticCurvePrivateKey, name: str) -> x509.CertificateSigningRequest:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    return x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())


def _accept(folder: Path, name: str, leaf: x509.Certificate, authority: list[x509.Certificate]) -> None:
    """Store a certificate, after making sure that it is this authority's, for this name and for our key."""
    root = x509.load_pem_x509_certificate((folder / "root.pem").read_bytes())
    issuers = [c for c in authority if c == root or certified(_der(c), common_name(c), [root]) is not None]
    ours = _key(folder).public_key() == leaf.public_key()
    if certified(_der(leaf), name, issuers) is None or not ours:
        raise ProvisioningError(f"what came is not {name}'s certificate under the pinned root\nNext: call the hub")
    issuer = next(c for c in issuers if c.subject == leaf.issuer)
    write_private(folder / "authority.pem", b"".join(certificate_pem(c) for c in dict.fromkeys([issuer, root])))
    write_private(folder / "device.pem", certificate_pem(leaf) + certificate_pem(issuer))


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def _switch(place: Place) -> None:
    """Make the next identity the one in use, in one step."""
    missing = [name for name in FILES if not (place.next / name).exists()]
    if missing:
        raise ProvisioningError(f"the identity lacks {', '.join(missing)}\nNext: besace-provision enrol again")
    made = place.next
    part = place.etc / "identity.part"
    part.unlink(missing_ok=True)
    part.symlink_to(made.name)
    part.replace(place.link)
    directory = os.open(place.etc, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


# --- over the network ------------------------------------------------------------------------------------------------


class _Connection(http.client.HTTPSConnection):
    """HTTPS to the hub, whatever address it is reached at: its certificate must say "hub"."""

    def __init__(self, address: Address, context: ssl.SSLContext) -> None:
        super().__init__(address.host, address.port, timeout=TIMEOUT_S, context=context)
        self._pinned = context

    def connect(self) -> None:
        """Connect, and expect the pinned name."""
        http.client.HTTPConnection.connect(self)
        self.sock = self._pinned.wrap_socket(self.sock, server_hostname=SERVER_NAME)


def _context(folder: Path, *, with_certificate: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_flags |= X509_V_FLAG_NO_CHECK_TIME
    context.load_verify_locations(folder / "root.pem")
    if with_certificate:
        context.load_cert_chain(folder / "device.pem", folder / "device.key")
    return context


def _ask(
    address: Address,
    context: ssl.SSLContext,
    method: str,
    path: str,
    *,
    floor: dt.datetime | None = None,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> bytes:
    """One request; HubError when the hub cannot be reached, ProvisioningError with its words when it refuses."""
    connection = _Connection(address, context)
    try:
        connection.connect()
        shown = connection.sock.getpeercert(binary_form=True) or b""
        if floor is not None and x509.load_der_x509_certificate(shown).not_valid_after_utc < floor:
            raise HubError(f"the certificate of {address} ended before this bag's own began\nNext: renew the hub's")
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        content = answer.read(LONGEST_ANSWER)
    except (OSError, http.client.HTTPException) as error:
        raise HubError(
            f"cannot reach the hub's enrolment at {address}: {error}\nNext: check the network and --hub"
        ) from None
    finally:
        connection.close()
    if answer.status != http.client.OK:
        why = content[:500].decode(errors="replace").strip()
        raise ProvisioningError(f"the hub refuses ({answer.status}): {why}")
    return content


def _certificates(content: bytes) -> list[x509.Certificate]:
    """The certificates of an EST answer (base64 of PKCS 7, certs only)."""
    try:
        found = pkcs7.load_der_pkcs7_certificates(base64.b64decode(content))
        if not found:
            raise ValueError("none is in it")  # noqa: TRY301 - one end for every useless answer
    except ValueError as error:
        raise ProvisioningError(f"the hub's answer holds no certificates: {error}\nNext: call the hub") from None
    return found


def _est(
    address: Address,
    context: ssl.SSLContext,
    verb: str,
    request: x509.CertificateSigningRequest,
    *,
    floor: dt.datetime | None = None,
    authorization: str = "",
) -> x509.Certificate:
    """One EST request for a certificate."""
    body = base64.encodebytes(request.public_bytes(serialization.Encoding.DER))
    headers = {"Content-Type": "application/pkcs10", "Content-Transfer-Encoding": "base64"}
    if authorization:
        headers["Authorization"] = authorization
    return _certificates(_ask(address, context, "POST", f"{EST}/{verb}", floor=floor, body=body, headers=headers))[0]


def _settings(folder: Path, address: Address) -> dict[str, Any]:
    """The hub's settings, asked with the bag's own certificate; the keys in them are stored."""
    content = _ask(address, _context(folder, with_certificate=True), "GET", SETTINGS)
    try:
        settings: dict[str, Any] = json.loads(content)
        sealing, cards = str(settings["sealing_key"]).encode(), str(settings["cards"]).encode()
        hubkeys.load_public(sealing)
        read_keys(cards)
        settings["broker"] = (str(settings["broker"][0]), int(settings["broker"][1]))
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise ProvisioningError(f"the hub's settings cannot be used: {error}\nNext: call the hub") from None
    write_private(folder / "hub.pub", sealing)
    write_private(folder / "cards.pem", cards)
    write_private(folder / "hub.addr", str(address).encode())
    return settings


# --- what a technician calls -----------------------------------------------------------------------------------------


def enrol(place: Place, token: TokenFile, address: Address, *, progress: Progress = lambda _: None) -> None:
    """Enrol this bag over the network; called again it goes on, and does nothing once it is enrolled."""
    current = place.certificate()
    if current is not None and common_name(current) != token.name:
        raise ProvisioningError(f"this bag is {common_name(current)}\nNext: besace-provision retire, then enrol again")
    if current is None:
        folder = _begin(place)
        write_private(folder / "root.pem", certificate_pem(token.root))
        if _leaf(folder) is None:
            progress("key")
            request = _request(_key(folder), token.name)
            progress("certificate")
            plain = _context(folder, with_certificate=False)
            basic = base64.b64encode(f"{token.name}:{token.token}".encode()).decode()
            authority = _certificates(_ask(address, plain, "GET", f"{EST}/cacerts"))
            leaf = _est(address, plain, "simpleenroll", request, authorization=f"Basic {basic}")
            _accept(folder, token.name, leaf, authority)
        progress("settings")
        settings = _settings(folder, address)
        write_config(place, token.name, *settings["broker"])
        _switch(place)
        _keep_revoked(place, settings)
    progress("enrolled")


def renew(place: Place, *, now: dt.datetime, force: bool = False) -> bool:
    """Fetch the lists of the day, and a new certificate when two thirds of this one's life are over; True when renewed.

    An expired certificate renews too: a bag that lay on a shelf comes back by itself.
    """
    current = place.certificate()
    if current is None:
        raise ProvisioningError(
            "this bag is not enrolled\nNext: besace-provision enrol NAME --hub HOST --token-file FILE"
        )
    name = common_name(current)
    address = Address.parse((place.link / "hub.addr").read_text())
    life = current.not_valid_after_utc - current.not_valid_before_utc
    if not force and now < current.not_valid_before_utc + RENEW_AT * life:
        _keep_revoked(place, _settings(place.link, address))
        return False
    folder = _begin(place)
    write_private(folder / "root.pem", (place.link / "root.pem").read_bytes())
    if _leaf(folder) is None:
        request = _request(_key(folder), name)
        shown = _context(place.link, with_certificate=True)
        floor = current.not_valid_before_utc
        authority = _certificates(_ask(address, shown, "GET", f"{EST}/cacerts", floor=floor))
        leaf = _est(address, shown, "simplereenroll", request, floor=floor)
        _accept(folder, name, leaf, authority)
    settings = _settings(folder, address)
    _switch(place)
    _keep_revoked(place, settings)
    return True


def _keep_revoked(place: Place, settings: dict[str, Any]) -> None:
    """Keep a newer list of revoked cards and the hub's word on our ledger; an older or forged list is left alone."""
    revoked, head = (base64.b64decode(settings.get(name) or "") for name in ("revoked", "ledger_head"))
    ring = key_ring(read_keys((place.link / "cards.pem").read_bytes()))
    path = place.etc / "revoked.cose"
    with suppress(BadgeError):
        offered = read_list(revoked, ring)
        current = None
        with suppress(OSError, BadgeError):
            current = read_list(path.read_bytes(), ring)
        if newer(current, offered):
            write_private(path, revoked)
    if head:
        write_private(place.etc / "ledger.head", head)


def write_config(place: Place, name: str, broker_host: str, broker_port: int) -> None:
    """Write the configuration, unless there is one: that is the technician's."""
    if place.config.exists():
        return
    identity = place.link
    lines = [
        "# Written by besace-provision enrol; yours to change. Every key: docs/provisioning.md.",
        "[bag]", f'name = "{name}"', "",
        "[hub]", f'host = "{broker_host}"', f"port = {broker_port}", f'ca = "{identity / "root.pem"}"',
        f'certificate = "{identity / "device.pem"}"', f'key = "{identity / "device.key"}"',
        f'sealing_key = "{identity / "hub.pub"}"', "",
    ]  # fmt: skip
    write_private(place.config, "\n".join(lines).encode())


def request_offline(place: Place, name: str) -> bytes:
    """The offline way, first step: a request to be carried to the authority (PEM)."""
    return _request(_key(_begin(place)), name).public_bytes(serialization.Encoding.PEM)


def install_offline(place: Place, answer: bytes) -> None:
    """The offline way, last step: put in place what `besace-provision sign` gave (JSON); again, it does nothing new."""
    try:
        given = json.loads(answer)
        leaf = x509.load_pem_x509_certificate(given["certificate"].encode())
        authority = x509.load_pem_x509_certificates(given["authority"].encode())
        root, sealing, cards = (given[name].encode() for name in ("root", "sealing_key", "cards"))
        hubkeys.load_public(sealing)
        read_keys(cards)
        enrolment, (host, port) = str(given["enrolment"]), given["broker"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ProvisioningError(f"this is no answer of besace-provision sign: {error}\nNext: sign again") from None
    name = common_name(leaf)
    if place.certificate() == leaf:  # killed after the last step but one
        _keep_revoked(place, given)
        return
    folder = _begin(place)
    write_private(folder / "root.pem", root)
    _accept(folder, name, leaf, authority)
    for file, content in (("hub.pub", sealing), ("cards.pem", cards), ("hub.addr", enrolment.encode())):
        write_private(folder / file, content)
    write_config(place, name, str(host), int(port))
    _switch(place)
    _keep_revoked(place, given)
