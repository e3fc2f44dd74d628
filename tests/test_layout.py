"""A database file of another layout: older ones are brought up to date once, later ones are left alone."""

import sqlite3

import pytest

from agent import layout
from agent.errors import StateError

SCHEMA = "CREATE TABLE IF NOT EXISTS t (x INTEGER) STRICT;"
STEPS = ("UPDATE t SET x = x + 1", "UPDATE t SET x = 10 * x")


@pytest.fixture
def db(tmp_path):
    db = sqlite3.connect(tmp_path / "file.sqlite", isolation_level=None)
    yield db
    db.close()


def holds(db):
    return db.execute("SELECT x FROM t").fetchall(), db.execute("PRAGMA user_version").fetchone()[0]


@pytest.mark.parametrize(("begun_with", "then"), [(0, [(60,)]), (1, [(50,)]), (2, [(5,)])])
def test_a_file_takes_the_steps_it_has_not_behind_it_and_each_once(db, begun_with, then):
    layout.prepare(db, SCHEMA, STEPS[:begun_with])
    db.execute("INSERT INTO t VALUES (5)")
    for _ in range(2):
        layout.prepare(db, SCHEMA, STEPS)
        assert holds(db) == (then, 2)


def test_a_later_file_is_refused_and_left_as_it_is(db, tmp_path):
    layout.prepare(db, SCHEMA, STEPS)
    before = (tmp_path / "file.sqlite").read_bytes()
    with pytest.raises(StateError, match=r"layout 2, and this software knows 1 .*\nNext: install"):
        layout.prepare(db, SCHEMA + "CREATE TABLE other (x);", STEPS[:1])
    assert (tmp_path / "file.sqlite").read_bytes() == before


def test_a_step_that_fails_leaves_the_ones_before_it_undone(db, tmp_path):
    layout.prepare(db, SCHEMA, ())
    db.execute("INSERT INTO t VALUES (5)")
    with pytest.raises(sqlite3.Error):
        layout.prepare(db, SCHEMA, (STEPS[0], "UPDATE nothing SET x = 1"))
    db.close()
    assert holds(sqlite3.connect(tmp_path / "file.sqlite")) == ([(5,)], 0)
