"""The hub's database: each row once, whole commits or none."""

import pytest

from agent.errors import StateError
from agent.transport.ranges import SeqSet
from hub.store import Arrived, Holes, Store, VisitChange

A = b"epochA"


def arrived(seq, device="sac-04", epoch=A, plaintext=b"p", visit=None):
    return Arrived(device, epoch, seq, 5, visit, plaintext, 9)


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "hub.sqlite")
    yield store
    store.close()


def test_a_row_that_comes_twice_is_stored_once(store):
    assert store.commit([arrived(0)], [arrived(1), arrived(2), arrived(1, plaintext=b"other")]) == 3
    assert store.commit([arrived(0)], [arrived(2), arrived(3)]) == 1
    assert store.have("sac-04", A) == SeqSet([(0, 3)])
    assert list(store.plaintexts("sac-04", A)) == [(1, b"p"), (2, b"p"), (3, b"p")]


def test_devices_and_epochs_are_kept_apart(store):
    store.commit([], [arrived(1), arrived(1, device="sac-05"), arrived(1, epoch=b"epochB")])
    assert store.have("sac-05", A) == SeqSet([(1, 1)])
    assert store.have("sac-05", b"epochB") == SeqSet()


def test_headers_come_back_in_the_order_of_arrival_each_once(store):
    store.commit([arrived(0, plaintext=b"one"), arrived(0, epoch=b"epochB", plaintext=b"two")])
    store.commit([arrived(0, plaintext=b"again")])
    assert list(store.headers()) == [("sac-04", b"one"), ("sac-04", b"two")]


def test_a_closed_visit_stays_closed_in_whatever_order_its_steps_come(store):
    def step(n, is_open):
        return VisitChange("sac-04", bytes([n]) * 16, f"{n:04d}", is_open, demo=False)

    store.commit(visits=[step(1, True), step(2, False)])
    assert store.open_visits() == [step(1, True)]
    store.commit(visits=[step(2, True), step(1, False)])
    assert store.open_visits() == []


def test_holes_are_what_the_last_commit_says(store):
    store.commit(holes=[Holes("sac-04", A, ((5, 5), (7, 9)))])
    assert store.holes("sac-04", A) == [(5, 5), (7, 9)]
    store.commit(holes=[Holes("sac-04", A, ((7, 9),))])
    assert store.holes("sac-04", A) == [(7, 9)]
    assert store.holes("sac-05", A) == []


def test_everything_survives_a_restart(store, tmp_path):
    store.commit([arrived(0)], [arrived(1)])
    store.close()
    again = Store(tmp_path / "hub.sqlite")
    assert again.have("sac-04", A) == SeqSet([(0, 1)])
    again.commit([], [arrived(2)])
    assert [n for (n,) in again._db.execute("SELECT in_commit FROM rows ORDER BY seq")] == [1, 1, 2]


def test_a_commit_that_fails_leaves_nothing_behind(store):
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StateError, match="cannot be written: .*full\nNext: "):
        store.commit([arrived(0)], [arrived(1), arrived(2, plaintext=bytes(50_000))])
    assert store.have("sac-04", A) == SeqSet()
    store._db.execute("PRAGMA max_page_count = 100000")
    assert store.commit([arrived(0)], [arrived(1)]) == 2


def test_it_is_on_disk_when_commit_returns(store):
    assert store._db.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    assert store._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_headers_of_before_the_version_of_the_wire_are_told_it(store, tmp_path):
    store.commit([arrived(0, plaintext=b"\0epochAheader")], [arrived(1)])
    store._db.execute("PRAGMA user_version = 0")
    again = Store(tmp_path / "hub.sqlite")
    assert list(again.headers()) == [("sac-04", b"\0epochA\1header")]
    assert list(again.plaintexts("sac-04", A)) == [(1, b"p")]
    again.close()


def test_a_database_of_a_later_software_is_refused(store, tmp_path):
    store._db.execute("PRAGMA user_version = 2")
    with pytest.raises(StateError, match=r"hub\.sqlite: it has layout 2"):
        Store(tmp_path / "hub.sqlite")


def test_no_database(tmp_path):
    (tmp_path / "hub.sqlite").write_bytes(b"x" * 5000)
    with pytest.raises(StateError, match="cannot use the hub's database .*\nNext: "):
        Store(tmp_path / "hub.sqlite")


def test_when_a_commit_ended_is_noted_with_the_next(store):
    store.commit([], [arrived(1)])
    store.ended(77)
    assert store._db.execute("SELECT ended_us FROM commits").fetchall() == [(None,)]
    store.commit([], [arrived(2)])
    assert store._db.execute("SELECT ended_us FROM commits ORDER BY no").fetchall() == [(77,), (None,)]
