"""Which layout a database file has, and the way from an older one to today's."""

import sqlite3
from collections.abc import Sequence

from agent.errors import StateError


def prepare(db: sqlite3.Connection, schema: str, steps: Sequence[str]) -> None:
    """Create what is missing of `schema`, and take the steps that the file has not behind it.

    Step n leads from layout n to n + 1; SQLite's own `user_version` holds the number, written with the steps in one
    transaction. StateError for a file of a later software: nothing in it is touched.
    """
    (layout,) = db.execute("PRAGMA user_version").fetchone()
    if layout > len(steps):
        raise StateError(
            f"it has layout {layout}, and this software knows {len(steps)} at most; nothing in it was changed\n"
            "Next: install the version of besace that wrote it, or a later one"
        )
    db.executescript(schema)
    if layout < len(steps):
        script = ["BEGIN IMMEDIATE", *steps[layout:], f"PRAGMA user_version = {len(steps)}", "COMMIT"]
        db.executescript(";\n".join(script))
