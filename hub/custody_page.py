"""The coordinator's page: one table, which bag is where. Plain HTML, in French; it knows no visit."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any

from agent.custody import State
from agent.holding import SERIAL
from hub.custody import TWO_BAGS, TWO_LEDGERS

STATES: Mapping[str, str] = {
    State.NEW.value: "Pas encore en service",
    State.HOME.value: "Prêtable",
    State.OUT.value: "Sorti",
    State.DRAINING.value: "Rentré, envoi en cours",
    State.CHECKING.value: "Rentré, contrôle en cours",
    State.DEFECT.value: "Non prêtable",
    State.RETIRED.value: "Retiré du service",
}
KINDS: Mapping[str, str] = {
    "missing": "manque", "broken": "cassé", "soiled": "non désinfecté", "quarantined": "en quarantaine",
    "without": "sans", "consumables": "consommables à compléter", "charge": "à charger",
    "low": "à compléter", "expired": "périmé",
}  # fmt: skip
_CONFLICTS: Mapping[str, str] = {
    TWO_LEDGERS: "Deux journaux de garde différents",
    TWO_BAGS: "Deux sacs sous une identité, ou une carte restaurée",
}
HEADINGS = ("Sac", "État", "Lieu ou soignant", "Depuis", "Retour prévu", "À savoir", "Dernier signe")


def document(rows: Sequence[Mapping[str, Any]], local: Callable[[int], datetime]) -> bytes:
    """The whole page; it reloads itself every 30 s."""
    return (
        '<!doctype html><html lang="fr"><head><meta charset="utf-8"><title>Besace : la garde des sacs</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta http-equiv="refresh" content="30">'
        '<link rel="stylesheet" href="/static/page.css"></head><body><main>'
        f"<h1>Garde des sacs</h1>{render(rows, local)}</main></body></html>\n"
    ).encode()


def render(rows: Sequence[Mapping[str, Any]], local: Callable[[int], datetime]) -> str:
    """The table's HTML; the caller puts it into the page's frame."""
    head = "".join(f'<th scope="col">{heading}</th>' for heading in HEADINGS)
    body = "".join(_row(row, local) for row in rows) or f'<tr><td colspan="{len(HEADINGS)}">Aucun sac connu</td></tr>'
    return f"<table><caption>Où sont les sacs</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _row(row: Mapping[str, Any], local: Callable[[int], datetime]) -> str:
    cells = (
        _state(row),
        row["holder"] or row["place"],
        _time(row["since_s"], local),
        _time(row["due_s"], local) + (" (en retard)" if row["overdue"] else ""),
        _notices(row),
        _time(row["heard_s"], local) + (" (silencieux depuis plus d'un jour)" if row["silent"] else ""),
    )
    return (
        f'<tr><th scope="row">{escape(row["bag"])}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        + "</tr>"
    )


def _state(row: Mapping[str, Any]) -> str:
    if row["conflicts"]:
        return "À vérifier"
    return STATES[row["state"]]


def _notices(row: Mapping[str, Any]) -> str:
    """Everything a coordinator should know, the gravest first."""
    found = [f"{_CONFLICTS[c['what']]} : {c['sides'][0]} / {c['sides'][1]}" for c in row["conflicts"]]
    if row["damaged"]:
        found.append(f"Journal de garde illisible ({row['damaged']})")
    for detail in (*row["defects"], *row["notes"]):
        kind, _, which = detail.partition(":")
        if kind in KINDS:
            found.append(f"{which} {KINDS[kind]}".strip())
    found += [f"problème signalé : {problem.replace(SERIAL, ' n° ')}" for problem in row["problems"]]
    return " ; ".join(found)


def _time(utc_s: int | None, local: Callable[[int], datetime]) -> str:
    return local(utc_s).strftime("%d/%m %H:%M") if utc_s else ""
