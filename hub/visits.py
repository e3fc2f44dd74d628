"""`besace-hub visits`: every visit with when it began and ended in UTC, as sure as that is known by now."""

import argparse
import json
from dataclasses import dataclass
from datetime import UTC, datetime

from agent.clock import Source
from agent.transport import wire
from agent.transport.epoch import read_header
from agent.transport.messages import Batch, VisitBody, VisitStep
from hub.dating import Dated
from hub.store import Store


@dataclass(slots=True)
class Dates:
    """One visit: whose, by which software, its code, its beginning and end; None: not come, or no anchor yet."""

    device: str
    software: str
    code: str = ""
    opened: Dated | None = None
    closed: Dated | None = None


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Add the command to besace-hub's."""
    parser = commands.add_parser("visits", help="list visits with their dates in UTC")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    return parser


def visits(store: Store) -> list[Dates]:
    """Every visit of which a step has come."""
    found: dict[tuple[str, bytes], Dates] = {}
    for device, visit, header_row, plaintext in store.visit_ends():
        batch, header = wire.decode(plaintext), read_header(header_row)[1]
        assert isinstance(batch, Batch)  # it has a visit: it was decoded before it was stored
        dates = found.setdefault((device, visit), Dates(device, header.software))
        for record in batch.records:
            if isinstance(record.body, VisitBody):
                dates.code = record.body.code
                dated = store.dating(device, header.boot_id).utc(batch.t_us + 1000 * record.dt_ms)
                if record.body.step is VisitStep.OPEN:
                    dates.opened = dated
                elif record.body.step is VisitStep.CLOSE:
                    dates.closed = dated
    return list(found.values())


def _iso(dated: Dated | None) -> str | None:
    if dated is None:
        return None
    return datetime.fromtimestamp(dated.utc_us / 1e6, UTC).isoformat(timespec="milliseconds")


def _said(dated: Dated | None) -> str:
    if dated is None:
        return "-"
    if dated.source is Source.FLOOR:
        return f"after {_iso(dated)}"
    return f"{_iso(dated)} ± {dated.uncertainty_us / 1e6:.3f} s ({dated.source.value})"


def lines(store: Store, *, as_json: bool) -> list[str]:
    """What the command prints."""
    said = []
    for dates in visits(store):
        ends = {"opened": dates.opened, "closed": dates.closed}
        if as_json:
            record: dict[str, object] = {"device": dates.device, "software": dates.software, "code": dates.code}
            for name, dated in ends.items():
                record |= {
                    name: _iso(dated),
                    f"{name}_uncertainty_s": dated and dated.uncertainty_us / 1e6,
                    f"{name}_source": dated and dated.source.value,
                }
            said.append(json.dumps(record))
        else:
            said.append("  ".join((dates.device, dates.code, *(_said(dated) for dated in ends.values()))))
    return said
