"""A full disk, for real: a small tmpfs. It drains again, and no reading is lost.

Needs the right to mount; skipped without.
"""

import subprocess
from contextlib import contextmanager, suppress

import pytest

from agent.errors import StateError
from agent.outbox import Outbox
from agent.transport.epoch import OutRow
from agent.transport.messages import EpochReceipt

A = b"epochA"
DISK = 12 << 20
BALLAST = 2 << 20


@contextmanager
def small_disk(path):
    path.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", path], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("mounting a small disk is not allowed here")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


def fill(path):
    """Somebody else takes the disk, to the last byte."""
    with suppress(OSError), (path / "theirs").open("ab", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def use(box, seconds, begin=1):
    """Waveforms and a reading each second; the readings that were promised, and how often the disk refused."""
    promised, refused = [], 0
    for second in range(begin, begin + seconds):
        rows = [OutRow(A, 2 * second, bytes(3000), bulk=True), OutRow(A, 2 * second + 1, bytes(100))]
        try:
            box.commit(rows)
        except StateError:
            refused += 1
        else:
            promised.append(2 * second + 1)
    return promised, refused


def on_board(box):
    return {seq for _, first, last in box.unreceipted() for seq in range(first, last + 1)}


def test_waveforms_give_way_on_a_disk_that_others_filled(tmp_path):
    with small_disk(tmp_path / "card") as card:
        box = Outbox(card / "outbox.sqlite", ballast_bytes=BALLAST)
        box.commit([OutRow(A, 0, b"header")])
        before, refused = use(box, 200)
        assert refused == 0
        fill(card)
        after, refused = use(box, 300, begin=201)
        assert refused == 0
        assert on_board(box) > {*before, *after}
        assert len(box.room.gave_way()) > 0
        box.commit((), [EpochReceipt(A, 1001, ())])
        assert on_board(box) == {0}
        (card / "theirs").unlink()
        use(box, 1, begin=501)
        assert (card / "ballast").exists()
        box.close()


def test_negative_control_without_ballast_it_is_stuck(tmp_path):
    with small_disk(tmp_path / "card") as card:
        box = Outbox(card / "outbox.sqlite", ballast_bytes=0)
        box.commit([OutRow(A, 0, b"header")])
        before, _ = use(box, 200)
        fill(card)
        _, refused = use(box, 300, begin=201)
        assert refused > 100
        assert on_board(box) >= set(before)
        box.close()


def test_what_was_promised_is_there_after_a_restart(tmp_path):
    with small_disk(tmp_path / "card") as card:
        box = Outbox(card / "outbox.sqlite", ballast_bytes=BALLAST)
        box.commit([OutRow(A, 0, b"header")])
        promised, _ = use(box, 100)
        fill(card)
        promised += use(box, 100, begin=101)[0]
        box._db.close()  # as a process that ends at once
        again = Outbox(card / "outbox.sqlite", ballast_bytes=BALLAST)
        assert on_board(again) > set(promised)
        again.close()
