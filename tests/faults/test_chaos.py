"""Fifty kills of agent, broker and hub in a minute or so, the same storm as `make chaos`; and what it left, spoilt."""

import contextlib
import shutil
import sqlite3

import pytest

from benchmarks.chaos import PARTS, chaos, judge

pytestmark = pytest.mark.slow
KILLS = 50
SEED = 50


@pytest.fixture(scope="module")
def storm(tmp_path_factory):
    """The folder of the storm, and its outcome."""
    folder = tmp_path_factory.mktemp("storm")
    return folder, chaos(folder, KILLS, SEED)


def test_nothing_is_lost_doubled_or_changed(storm):
    _, found = storm
    assert found["ok"], found
    assert sum(found["killed"].values()) == KILLS
    assert set(found["killed"]) == set(PARTS)
    assert found["epochs"] > found["killed"]["agent"] > 5
    assert found["rows_promised"] > KILLS / 2
    assert found["samples_stored"] > 10_000


SPOILS = {
    "rows_lost": "DELETE FROM rows WHERE rowid = (SELECT min(rowid) FROM rows WHERE seq = 2)",
    "samples_lost": "DELETE FROM rows WHERE seq > 0 AND visit = (SELECT visit FROM visits) AND seq % 3 = 2",
    "samples_twice": """INSERT INTO rows
        SELECT device, epoch, seq + 100000, t_us, visit, plaintext, arrived_us, in_commit FROM rows
        WHERE rowid = (SELECT max(rowid) FROM rows WHERE length(plaintext) > 2000)""",
}


@pytest.mark.parametrize("what", SPOILS)
def test_negative_control_the_same_history_spoilt_is_found_out(storm, tmp_path, what):
    folder, _ = storm
    spoilt = shutil.copytree(folder / "hub", tmp_path / "hub") / "hub.sqlite"
    with contextlib.closing(sqlite3.connect(spoilt, isolation_level=None)) as db:
        assert db.execute(SPOILS[what]).rowcount > 0
    found = judge(folder / "sim" / "samples.log", folder / "bag" / "outbox.sqlite", spoilt)
    assert found[what] > 0
    assert not found["ok"]


def test_negative_control_a_row_that_the_bag_keeps_is_found_out(storm, tmp_path):
    folder, _ = storm
    bag = shutil.copytree(folder / "bag", tmp_path / "bag", ignore=shutil.ignore_patterns("*.sock"))
    outbox = bag / "outbox.sqlite"
    with contextlib.closing(sqlite3.connect(outbox, isolation_level=None)) as db:
        db.execute("INSERT INTO rows SELECT max(no) << 32 | 999, x'00', 0 FROM epochs")
    found = judge(folder / "sim" / "samples.log", outbox, folder / "hub" / "hub.sqlite")
    assert (found["ok"], found["rows_left"]) == (False, 1)
