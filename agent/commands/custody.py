"""What `besace scan` and `besace ledger verify` do: the first asks the running agent, the second reads the file."""

import sqlite3
from pathlib import Path
from typing import Any

from cryptography import x509

from agent import ledger
from agent.config import Config
from agent.control import ask
from agent.errors import ProvisioningError, StateError, WireError

AUTHORITY, HEAD = "authority.pem", "ledger.head"


def scan(config: Config, text: str) -> dict[str, Any]:
    """Give the running agent a card's text, as the scanner would; its answer has `sentence` and `say`."""
    return ask(config.bag.control_socket, {"do": "scan", "text": text}, timeout_s=10.0)


def verify(config: Config) -> dict[str, Any]:
    """Check the custody log on board; LedgerError names the first wrong entry or the missing end.

    `countersigned` is the last entry the hub vouches for, None while it has not: until then a cut end cannot be told.
    """
    folder = config.hub.ca.parent
    try:
        authority = x509.load_pem_x509_certificates((folder / AUTHORITY).read_bytes())
    except (OSError, ValueError) as error:
        raise ProvisioningError(f"cannot use {folder / AUTHORITY}: {error}\nNext: besace-provision enrol") from None
    entries = _entries(config.bag.state_dir / "outbox.sqlite")
    word = _head(folder.parent / HEAD, config.bag.name, authority)
    found = ledger.verify_ledger(entries, config.bag.name, authority, word)
    return {"entries": len(found), "countersigned": word.number if word is not None else None}


def _entries(path: Path) -> list[bytes]:
    try:
        db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            return ledger.stored(db)
        finally:
            db.close()
    except sqlite3.Error as error:
        raise StateError(f"cannot read the custody log in {path}: {error}\nNext: besace doctor") from None


def _head(path: Path, device: str, authority: list[x509.Certificate]) -> ledger.Head | None:
    try:
        return ledger.read_countersigned(path.read_bytes(), device, authority)
    except OSError:
        return None
    except WireError as error:
        raise StateError(f"{path} is not the hub's word: {error}\nNext: besace-provision renew") from None
