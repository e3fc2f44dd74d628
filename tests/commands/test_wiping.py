"""wipe: what the hub does not have is gone from the disk, said to the hub, and never by accident."""

import pytest

from agent.commands.wiping import wipe
from agent.config import parse
from agent.errors import StateError
from agent.outbox import Lock, Outbox
from agent.room import GaveWay
from agent.transport.epoch import OutRow

A, B = b"epochA", b"epochB"
SECRET = b"a patient's sealed measurement"


@pytest.fixture
def config(tmp_path):
    return parse(
        f'[bag]\nname = "s"\nstate_dir = "{tmp_path}"\nruntime_dir = "{tmp_path}"\n'
        '[hub]\nhost = "h"\nca = "a"\ncertificate = "b"\nkey = "c"\nsealing_key = "d"\n'
    )


def fill(folder):
    box = Outbox(folder / "outbox.sqlite")
    kept = {"visit": b"open", "visit_seen": b"now", "other": b"stays"}
    box.commit([OutRow(A, 0, b"header"), *(OutRow(A, n, SECRET * 200) for n in (1, 2, 3))], keep=kept)
    box.commit([OutRow(B, 0, b"header"), OutRow(B, 1, SECRET * 200), OutRow(B, 3, SECRET * 200)])
    box.close()


def files_of(folder):
    return b"".join(path.read_bytes() for path in folder.iterdir() if path.name.startswith("outbox"))


def test_nothing_is_erased_without_being_sure(config, tmp_path):
    fill(tmp_path)
    with pytest.raises(StateError, match="5 rows are on board.*\nNext: .*besace wipe --unsent"):
        wipe(config, sure=False)
    assert SECRET in files_of(tmp_path)


def test_what_was_on_board_is_nowhere_in_the_file(config, tmp_path):
    fill(tmp_path)
    assert wipe(config, sure=True) == "5 rows erased"
    assert SECRET not in files_of(tmp_path)
    box = Outbox(tmp_path / "outbox.sqlite")
    try:
        assert box.unreceipted() == [(A, 0, 0), (B, 0, 0)]
        assert sorted(box.room.gave_way(), key=lambda span: (span.epoch, span.first)) == [
            GaveWay(A, 1, 3), GaveWay(B, 1, 1), GaveWay(B, 3, 3),
        ]  # fmt: skip
        assert (box.kept("visit"), box.kept("visit_seen"), box.kept("other")) == (None, None, b"stays")
        assert len(box.chain()) == 8
    finally:
        box.close()


def test_an_empty_bag_is_wiped_without_a_question(config, tmp_path):
    Outbox(tmp_path / "outbox.sqlite").close()
    assert wipe(config, sure=False) == "nothing was on board"


def test_a_bag_at_work_is_left_alone(config, tmp_path):
    fill(tmp_path)
    lock = Lock(tmp_path)
    with pytest.raises(StateError, match="already uses"):
        wipe(config, sure=True)
    lock.release()
    assert SECRET in files_of(tmp_path)
