"""The coordinator's page: one table, which bag is where. Plain HTML, in French; it knows no visit."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any

from agent.custody import State
from agent.display import web
from agent.display.views import spoken
from agent.holding import SERIAL
from hub.custody import TWO_BAGS, TWO_LEDGERS

LocalTime = Callable[[int], datetime]
STATES: Mapping[str, tuple[str, str]] = {
    State.NEW.value: ("idle", "Pas encore en service"),
    State.HOME.value: ("ok", "Prêtable"),
    State.OUT.value: ("idle", "Sorti"),
    State.DRAINING.value: ("idle", "Rentré, envoi en cours"),
    State.CHECKING.value: ("idle", "Rentré, contrôle en cours"),
    State.DEFECT.value: ("bad", "Non prêtable"),
    State.RETIRED.value: ("idle", "Retiré du service"),
}
"""A mark and a sentence for each state of a bag."""
_MARKS: Mapping[str, str] = {"ok": "✓", "idle": "·", "todo": "!", "bad": "✗"}
KINDS: Mapping[str, str] = {
    "missing": "manque", "broken": "cassé", "soiled": "non désinfecté", "quarantined": "en quarantaine",
    "without": "absent", "consumables": "consommables à compléter", "charge": "à charger", "low": "à compléter",
    "expired": "périmé",
}  # fmt: skip
_CONFLICTS: Mapping[str, str] = {
    TWO_LEDGERS: "Deux journaux de garde différents",
    TWO_BAGS: "Deux sacs sous une identité, ou une carte restaurée",
}
HEADINGS = ("Sac", "État", "Lieu ou soignant", "Depuis", "Retour prévu", "À savoir", "Dernier signe")


def document(rows: Sequence[Mapping[str, Any]], local: LocalTime) -> bytes:
    """The whole page; it reloads itself every 30 s."""
    return web.document("Garde des sacs", render(rows, local), style="held", reload_s=30)


def render(rows: Sequence[Mapping[str, Any]], local: LocalTime) -> str:
    """The table's HTML; the caller puts it into the page's frame."""
    head = "".join(f'<th scope="col">{heading}</th>' for heading in HEADINGS)
    body = "".join(_row(row, local) for row in rows) or f'<tr><td colspan="{len(HEADINGS)}">Aucun sac connu</td></tr>'
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _row(row: Mapping[str, Any], local: LocalTime) -> str:
    mark, state = ("bad", "À vérifier") if row["conflicts"] or row["damaged"] else STATES[row["state"]]
    due, heard = _time(row["due_s"], local), _time(row["heard_s"], local)
    notices = "".join(f"<li>{escape(notice)}</li>" for notice in _notices(row, local))
    cells = (
        _marked(mark, state),
        escape(row["holder"] or row["place"]),
        _time(row["since_s"], local),
        _marked("todo", f"{due} (en retard)") if row["overdue"] else due,
        f"<ul>{notices}</ul>" if notices else "",
        _marked("todo", f"{heard} (silencieux depuis plus d'un jour)") if row["silent"] else heard,
    )
    named = zip(HEADINGS[1:], cells, strict=True)
    return (
        f'<tr><th scope="row">{escape(spoken(row["bag"]))}</th>'
        + "".join(f'<td data-label="{heading}">{cell}</td>' for heading, cell in named)
        + "</tr>"
    )


def _marked(mark: str, text: str) -> str:
    return f'<span data-mark="{mark}"><b aria-hidden="true">{_MARKS[mark]}</b> {escape(text)}</span>'


def _notices(row: Mapping[str, Any], local: LocalTime) -> list[str]:
    """Everything a coordinator should know, the gravest first."""
    found = [
        f"{_CONFLICTS[conflict['what']]} : " + " / ".join(_side(side, local) for side in conflict["sides"])
        for conflict in row["conflicts"]
    ]
    if row["damaged"]:
        found.append(f"Journal de garde illisible ({row['damaged']})")
    for detail in (*row["defects"], *row["notes"]):
        kind, _, which = detail.partition(":")
        if kind in KINDS:
            found.append(f"{which} {KINDS[kind]}".strip())
    return [*found, *(f"problème signalé : {problem.replace(SERIAL, ' n° ')}" for problem in row["problems"])]


def _side(side: Mapping[str, Any], local: LocalTime) -> str:
    """One claim to a bag, as people can compare it: what it says, when it came, what tells it apart."""
    said = "démarrage" if side["entry"] is None else f"entrée {side['entry']}"
    who = f" {side['label']}" if side["label"] else ""
    return f"{said}{who}, reçu {_time(side['heard_s'], local)} ({side['mark'][:8]})"


def _time(utc_s: int | None, local: LocalTime) -> str:
    return local(utc_s).strftime("%d/%m %H:%M") if utc_s else ""
