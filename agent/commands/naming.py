"""Which instrument is meant: by a person's word, or by what a radio advertises."""

from collections.abc import Iterable

from agent.drivers.catalogue import CATALOGUE, Row
from agent.model import Kind

FAMILIES = {
    "blood-pressure": Kind.PRESSURE_SYSTOLIC,
    "oximeter": Kind.SPO2,
    "thermometer": Kind.TEMPERATURE,
    "glucose": Kind.GLUCOSE,
    "scale": Kind.WEIGHT,
}
"""Words for instruments by the first thing they measure, and for others by key."""
FAMILY_KEYS = {
    "ecg": ("healthypi-4", "healthypi-5", "polar-h10"),
    "heart-rate": ("heart-rate-strap",),
    "scanner": ("badge-scanner",),
}


def named(word: str, keys: Iterable[str]) -> list[str]:
    """Which of `keys` a person means by `word`: a key itself, or a family such as "oximeter" or "ecg"."""
    keys = list(keys)
    if word in keys:
        return [word]
    kind, others = FAMILIES.get(word), FAMILY_KEYS.get(word, ())
    rows = [CATALOGUE[key] for key in keys if key in CATALOGUE]
    return [row.key for row in rows if row.key in others or (kind is not None and row.kinds[:1] == (kind,))]


def advertises(row: Row, name: str | None, services: Iterable[str]) -> bool:
    """Whether a radio name, or else an advertised service (128-bit UUID), is that of this kind of instrument."""
    if row.match.radio_name:
        return bool(name) and str(name).startswith(row.match.radio_name)
    service = row.match.service
    return service is not None and any(service in {s.lower(), s.lower()[4:8]} for s in services)
