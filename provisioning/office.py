"""The authority's folder: its keys, its certificates, the hub's, and its journal.

    root.pem issuing.pem       the pinned root; the certificate that signs devices and the hub day by day
    authority.pem              issuing and root in one file: what the hub and the broker are given as their CA
    cards.pem                  the public keys of cards, newest first
    keys/{root,issuing,cards}.vault
    hub/                       what is copied to the hub: client, broker and enrolment certificates, sealing keys
    journal.jsonl              everything that was done
    revoked.cose crl.pem       the lists of revoked cards and of revoked certificates

The root's key is needed to make the next issuing certificate and for nothing else: its vault belongs on a memory
stick in a safe. A stolen hub costs the issuing key, never the root.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.x509.oid import NameOID

from agent.badges import read_keys
from agent.errors import ProvisioningError
from agent.transport import hubkeys, seal
from provisioning import vault
from provisioning.authority import Authority, certificate_pem, key_pem, write_private
from provisioning.journal import Journal

ROOT_DAYS = 7300
ISSUING_DAYS = 1825
HUB_DAYS = 90
_BACKDATE = dt.timedelta(minutes=5)
HUB_CLIENT, BROKER, ENROLMENT = "hub", "broker", "enrolment"


def utc_now() -> dt.datetime:
    """Now, to the second."""
    return dt.datetime.now(dt.UTC).replace(microsecond=0)


@dataclass(frozen=True, slots=True)
class Office:
    """The folder; private keys are opened only for the act that needs them."""

    folder: Path

    @property
    def journal(self) -> Journal:
        """The journal."""
        return Journal(self.folder / "journal.jsonl")

    @property
    def hub(self) -> Path:
        """What the hub is given."""
        return self.folder / "hub"

    @property
    def root(self) -> x509.Certificate:
        """The pinned root."""
        return _certificate(self.folder / "root.pem")

    @property
    def issuing_certificate(self) -> x509.Certificate:
        """The certificate that signs devices."""
        return _certificate(self.folder / "issuing.pem")

    @property
    def card_keys(self) -> list[Ed25519PublicKey]:
        """The public keys of cards."""
        return read_keys((self.folder / "cards.pem").read_bytes())

    def issuing(self, passphrase: str) -> Authority:
        """The issuing authority, its key opened."""
        key = vault.take(self.folder / "keys" / "issuing.vault", passphrase)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return Authority(self.issuing_certificate, key)

    def cards(self, passphrase: str) -> Ed25519PrivateKey:
        """The key that signs cards and their list, opened."""
        key = vault.take(self.folder / "keys" / "cards.vault", passphrase)
        assert isinstance(key, Ed25519PrivateKey)
        return key


def init(folder: Path, name: str, passphrase: str, hosts: Sequence[str], *, now: dt.datetime) -> Office:
    """Make an authority for one CPTS and its hub's certificates; refuses to touch a folder that has one."""
    office = Office(folder)
    if (folder / "journal.jsonl").exists():
        raise ProvisioningError(f"{folder} already has an authority\nNext: choose another folder, or go on with it")
    for place in (folder, folder / "keys", office.hub):
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        place.chmod(0o700)
    root_key, issuing_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = _ca(name, None, root_key, root_key, ROOT_DAYS, now, path_length=1)
    issuing = _ca(f"{name} issuing", root, issuing_key, root_key, ISSUING_DAYS, now, path_length=0)
    cards = Ed25519PrivateKey.generate()
    vault.put(folder / "keys" / "root.vault", root_key, passphrase)
    vault.put(folder / "keys" / "issuing.vault", issuing_key, passphrase)
    vault.put(folder / "keys" / "cards.vault", cards, passphrase)
    write_private(folder / "root.pem", certificate_pem(root))
    write_private(folder / "issuing.pem", certificate_pem(issuing))
    write_private(folder / "authority.pem", certificate_pem(issuing) + certificate_pem(root))
    public = serialization.PublicFormat.SubjectPublicKeyInfo
    write_private(folder / "cards.pem", cards.public_key().public_bytes(serialization.Encoding.PEM, public))
    (folder / "journal.jsonl").touch(mode=0o600)
    with office.journal.writing(now) as entry:
        entry.add("init", name=name, root=root.fingerprint(hashes.SHA256()).hex())
    new_sealing_key(office, now=now)
    certify_hub(office, Authority(issuing, issuing_key), hosts, now=now)
    return office


def certify_hub(office: Office, issuing: Authority, hosts: Sequence[str], *, now: dt.datetime) -> None:
    """New keys and certificates for the hub, its broker and its enrolment server; old ones end by themselves."""
    chain = certificate_pem(issuing.certificate)
    reached_by = list(dict.fromkeys(["hub", *hosts]))
    with office.journal.writing(now) as entry:
        for name in (HUB_CLIENT, BROKER, ENROLMENT):
            key = ec.generate_private_key(ec.SECP256R1())
            if name == HUB_CLIENT:
                leaf = issuing.issue_client(name, key.public_key(), days=HUB_DAYS, now=now)
            else:
                leaf = issuing.issue_server(name, key.public_key(), reached_by, days=HUB_DAYS, now=now)
            write_private(office.hub / f"{name}.key", key_pem(key))
            write_private(office.hub / f"{name}.pem", certificate_pem(leaf) + chain)
            entry.add(
                "hub", name=name, reached_by=[] if name == HUB_CLIENT else reached_by,
                fingerprint=leaf.fingerprint(hashes.SHA256()).hex(),
                not_after_s=int(leaf.not_valid_after_utc.timestamp()),
            )  # fmt: skip
    for name in ("root.pem", "authority.pem", "cards.pem"):
        write_private(office.hub / name, (office.folder / name).read_bytes())


def new_sealing_key(office: Office, *, now: dt.datetime) -> None:
    """Rotate the hub's sealing key: bags take the new one at their next renewal, old keys still open old epochs."""
    current = office.hub / "sealing.key"
    if current.exists():
        number = len(list(office.hub.glob("sealing-*.key"))) + 1
        write_private(office.hub / f"sealing-{number}.key", current.read_bytes())
    key = hubkeys.generate()
    write_private(current, hubkeys.private_pem(key))
    write_private(office.hub / "sealing.pub", hubkeys.public_pem(key.public_key()))
    with office.journal.writing(now) as entry:
        entry.add("sealing_key", id=seal.key_id(key.public_key()).hex())


def _certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ProvisioningError(f"cannot use {path}: {error}\nNext: besace-provision init, or check --dir") from None


def _ca(
    name: str,
    issuer: x509.Certificate | None,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    days: int,
    now: dt.datetime,
    *,
    path_length: int,
) -> x509.Certificate:
    """A certificate that may sign others, `path_length` steps down."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    usage = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer is not None else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .sign(signer, hashes.SHA256())
    )
