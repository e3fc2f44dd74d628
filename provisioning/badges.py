"""Making cards: people's badges, loan points' cards, labels of parts, the codes of the condition sheet."""

import datetime as dt
import secrets

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.badges import DAY_S, ID_BYTES, LABEL_CHARS, Badge, Role, make
from agent.custody import SHEET
from agent.errors import ProvisioningError
from provisioning.labels import Card
from provisioning.office import Office

DAYS = {Role.LOAN_POINT: 1825, Role.NURSE: 365, Role.TECHNICIAN: 365, Role.PART: 3650, Role.SHEET: 3650}
TITLES = {
    Role.LOAN_POINT: "Lieu de prêt",
    Role.NURSE: "Soignant",
    Role.TECHNICIAN: "Technicien",
    Role.PART: "Pièce",
    Role.SHEET: "État du sac",
}
SHEET_TEXTS = {
    "COMPLET": "Tout y est",
    "INCOMPLET": "Il manque quelque chose",
    "DESINFECTE": "Désinfecté",
    "CASSE": "Cassé",
    "CONSOMMABLES": "Consommables à compléter",
    "QUARANTAINE": "Quarantaine (technicien)",
    "REMIS": "Remis en état (technicien)",
}


def issue(
    office: Office,
    key: Ed25519PrivateKey,
    role: Role,
    label: str,
    *,
    now: dt.datetime,
    from_day: int = 0,
    days: int | None = None,
) -> Card:
    """Make and note one card; ProvisioningError when its label is too long or already carried by a valid card."""
    if not 0 < len(label) <= LABEL_CHARS:
        raise ProvisioningError(f"the label {label!r} has {len(label)} characters, at most {LABEL_CHARS} fit a screen")
    badge = Badge(role, secrets.token_bytes(ID_BYTES), label, int(now.timestamp()), from_day, days or DAYS[role])
    with office.journal.writing(now) as entry:
        same = [
            i
            for i, card in entry.register.cards.items()
            if (card.role, card.label) == (role.value, label)
            and card.revoked_s is None
            and card.ends_s > badge.issued_s + 30 * DAY_S
        ]
        if same:
            raise ProvisioningError(
                f"{label!r} already has a valid {role.value} card ({same[0]})\n"
                f"Next: besace-provision revoke {same[0]}, or another label"
            )
        entry.add("card", id=badge.id.hex(), role=role.value, label=label, ends_s=badge.ends_s)
    return Card(make(badge, key), TITLES[role], SHEET_TEXTS.get(label, label), _until(badge), badge.id.hex())


def sheet(office: Office, key: Ed25519PrivateKey, *, now: dt.datetime) -> list[Card]:
    """The condition sheet's codes; those that are valid are revoked first, so that one sheet is good at a time."""
    with office.journal.writing(now) as entry:
        for card_id, card in list(entry.register.cards.items()):
            if card.role == Role.SHEET.value and card.revoked_s is None:
                entry.add("card_revoked", id=card_id, why="a new sheet was made")
    return [issue(office, key, Role.SHEET, label, now=now) for label in SHEET]


def _until(badge: Badge) -> str:
    if badge.role in {Role.PART, Role.SHEET}:
        return ""
    return dt.datetime.fromtimestamp(badge.ends_s, dt.UTC).strftime("jusqu'au %d/%m/%Y")
