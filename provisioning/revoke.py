"""Taking back: devices (the broker's user list, a CRL) and cards (their signed, numbered list)."""

import datetime as dt

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.badges import Revoked, make_list
from agent.errors import ProvisioningError
from provisioning.authority import Authority, write_private
from provisioning.office import Office

CRL_DAYS = 30
CRL_ALARM_DAYS = 10  # mosquitto refuses everyone once nextUpdate has passed


def revoke_device(office: Office, name: str, why: str, *, now: dt.datetime) -> None:
    """Revoke a bag for good: its certificates, and its name."""
    with office.journal.writing(now) as entry:
        device = entry.register.devices.get(name)
        if device is None:
            known = ", ".join(sorted(entry.register.devices)) or "none"
            raise ProvisioningError(f"no bag is called {name!r}; known: {known}\nNext: besace-provision list")
        if device.revoked_s is None:
            entry.add("revoked", name=name, why=why)


def revoke_card(office: Office, card_id: str, why: str, *, now: dt.datetime) -> None:
    """Revoke a card by its id, or by its label when one valid card alone has it."""
    with office.journal.writing(now) as entry:
        cards = entry.register.cards
        found = [i for i, card in cards.items() if card_id in {i, card.label} and card.revoked_s is None]
        if card_id in cards and cards[card_id].revoked_s is not None:
            return
        if len(found) != 1:
            raise ProvisioningError(
                f"{len(found)} unrevoked cards are called {card_id!r}\nNext: besace-provision list, and give the id"
            )
        entry.add("card_revoked", id=found[0], why=why)


def card_list(office: Office, key: Ed25519PrivateKey, *, now: dt.datetime) -> bytes:
    """Sign the next list of revoked cards and leave it in the folder and for the hub."""
    with office.journal.writing(now) as entry:
        ids = frozenset(bytes.fromhex(i) for i, card in entry.register.cards.items() if card.revoked_s is not None)
        number = entry.register.list_number + 1
        data = make_list(Revoked(number, int(now.timestamp()), ids), key)
        entry.add("card_list", number=number, cards=len(ids))
    for place in (office.folder, office.hub):
        write_private(place / "revoked.cose", data)
    return data


def crl(office: Office, issuing: Authority, *, now: dt.datetime) -> bytes:
    """Sign the next CRL, for brokers that read one, and leave it in the folder and for the hub."""
    with office.journal.writing(now) as entry:
        number = entry.register.crl_number + 1
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(issuing.certificate.subject)
            .last_update(now - dt.timedelta(minutes=5))
            .next_update(now + dt.timedelta(days=CRL_DAYS))
            .add_extension(x509.CRLNumber(number), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuing.key.public_key()), critical=False)
        )
        gone = [device for device in entry.register.devices.values() if device.revoked_s is not None]
        for serial, revoked_s in ((c.serial, device.revoked_s or 0) for device in gone for c in device.certificates):
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder()
                .serial_number(serial)
                .revocation_date(dt.datetime.fromtimestamp(revoked_s, dt.UTC))
                .build()
            )
        data = builder.sign(issuing.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        entry.add("crl", number=number)
    for place in (office.folder, office.hub):
        write_private(place / "crl.pem", data)
    return data


def crl_alarm(data: bytes, now: dt.datetime) -> str | None:
    """What is to be done about a CRL that ends soon; None while there is time."""
    next_update = x509.load_pem_x509_crl(data).next_update_utc
    if next_update is None or next_update - now > dt.timedelta(days=CRL_ALARM_DAYS):
        return None
    days = (next_update - now).total_seconds() / 86_400
    ends = "has ended" if days <= 0 else f"ends in {days:.1f} days"
    return f"the CRL {ends}: a broker that reads it will refuse every bag\nNext: besace-provision crl"
