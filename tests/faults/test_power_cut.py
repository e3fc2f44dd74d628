"""Power cuts: every state in which a card may be left by the writes that were under way.

An outbox at work is traced (strace): each write, each cut of a file, each sync, each promise. From that log disks are
made as a power cut would leave them at a random moment: what was synced is there; of what was not, any 512-byte sectors
are, in any mixture, also of one and the same write. A bag must start on each of them with every row it was promised.
The directory's entry of the write-ahead log counts as unsynced until the directory is synced.

Needs strace and the right to trace; skipped without.
"""

import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from agent.errors import StateError
from agent.outbox import Outbox

ROOT = Path(__file__).parents[2]
SECTOR = 512
ROWS = 300
CUTS = 100
WRITER = """
import os
import sys
from pathlib import Path
from agent.outbox import Outbox
from agent.transport.epoch import OutRow
from agent.transport.messages import EpochReceipt

box = Outbox(Path(sys.argv[1]) / "outbox.sqlite", ballast_bytes=0)
box._db.execute(f"PRAGMA synchronous = {sys.argv[2]}")
for seq in range(1, int(sys.argv[3])):
    receipts = [EpochReceipt(b"epochA", seq - 100, ())] if seq % 50 == 0 else ()
    box.commit([OutRow(b"epochA", seq, seq.to_bytes(4) * 150)], receipts)
    os.write(1, b"promised %d" % seq)
"""
CALL = re.compile(
    r"\d+ +(?P<call>openat|write|pwrite64|ftruncate|fdatasync|fsync)\((?:\d+|AT_FDCWD)<(?P<at>[^>]*)>"
    r'(?:, "(?P<data>[^"]*)")?(?P<rest>.*)\) += +(?P<result>\d+)(?:<(?P<opened>[^>]*)>)?'
)


def unhex(text):
    return bytes.fromhex((text or "").replace("\\x", ""))


def traced(folder, sync):
    """What an outbox at work did to its files, as (what, file, detail), promises in their places."""
    calls = "trace=openat,write,pwrite64,ftruncate,fdatasync,fsync"
    log = folder.with_suffix(".log")
    subprocess.run(
        ["strace", "-f", "-y", "-qq", "-xx", "-s", "70000", "-e", calls, "-o", log,
         sys.executable, "-c", WRITER, folder, sync, str(ROWS)],
        check=True, timeout=60, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    done = []
    for line in log.read_text().splitlines():
        found = CALL.match(line)
        if found is None:
            continue
        call, at = found["call"], Path(os.fsdecode(unhex(found["at"])))
        numbers = [int(n) for n in re.findall(r", (\d+)", found["rest"])]
        if call == "write" and unhex(found["data"]).startswith(b"promised"):
            done.append(("promised", None, int(unhex(found["data"]).split()[1])))
        elif call == "openat":
            opened = Path(os.fsdecode(unhex(found["opened"])))
            if opened.parent == folder and "O_CREAT" in found["rest"]:
                done.append(("made", opened.name, None))
        elif call in {"fsync", "fdatasync"} and at == folder:
            done.append(("entries", None, None))
        elif at.parent == folder and not at.name.endswith("-shm"):
            detail = (numbers[-1], unhex(found["data"])) if call == "pwrite64" else numbers[-1] if numbers else None
            done.append(({"pwrite64": "write", "ftruncate": "cut"}.get(call, "sync"), at.name, detail))
    return done


class Card:
    """Files as they are on the card for certain, and what has been done to them since."""

    def __init__(self, folder):
        self.synced = {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith("-shm")}
        self.since = {name: [] for name in self.synced}
        self.entries = set(self.synced)
        self.promised = 0

    def do(self, what, file, detail):
        if what == "promised":
            self.promised = detail
        elif what == "entries":
            self.entries |= set(self.synced)
        elif what == "made":
            self.synced.setdefault(file, b"")
            self.since.setdefault(file, [])
        elif what == "sync":
            self.synced[file] = carried_out(self.synced[file], self.since[file])
            self.since[file] = []
        else:
            self.since[file].append((what, detail))

    def after_a_cut(self, chance):
        """The files as a power cut may leave them: any sectors of what was not synced, and perhaps not the file."""
        found = {}
        for file, synced in self.synced.items():
            share = chance.choice([0.0, 0.2, 0.5, 0.8, 1.0])
            kept = [part for act in self.since[file] for part in sectors(*act) if chance.random() < share]
            if file in self.entries or chance.random() < 0.5:
                found[file] = carried_out(synced, kept)
        return found


def sectors(what, detail):
    """A write in the pieces that a card carries out whole."""
    if what == "cut":
        yield what, detail
        return
    at, data = detail
    while data:
        n = SECTOR - at % SECTOR
        yield "write", (at, data[:n])
        at, data = at + n, data[n:]


def carried_out(data, acts):
    data = bytearray(data)
    for what, detail in acts:
        if what == "cut":
            data[detail:] = bytes(max(0, detail - len(data)))
        else:
            at, piece = detail
            data.extend(bytes(max(0, at - len(data))))
            data[at : at + len(piece)] = piece
    return bytes(data)


def damage(folder, done, before, seed=1):
    """Of many cuts: how many lost a promised row, and how many left what cannot be used."""
    chance = random.Random(seed)
    moments = sorted(chance.sample(range(len(done)), CUTS))
    card = Card(before)
    lost = corrupt = 0
    for index, act in enumerate(done):
        card.do(*act)
        if not moments or index != moments[0]:
            continue
        moments.pop(0)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name, data in card.after_a_cut(chance).items():
            (folder / name).write_bytes(data)
        try:
            box = Outbox(folder / "outbox.sqlite", ballast_bytes=0)
            sound = box._db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            rows = {row.seq: row.payload for row in box.read(b"epochA", 1, ROWS, 1 << 30)}
            box.close()
        except (StateError, sqlite3.DatabaseError):
            sound, rows = False, {}
        corrupt += not sound
        gone = (card.promised + 1) // 50 * 50 - 100  # the hub had those, as a commit under way may know already
        wanted = range(max(gone + 1, 1), card.promised + 1)
        lost += any(rows.get(seq) != seq.to_bytes(4) * 150 for seq in wanted)
    return lost, corrupt


def cuts(tmp_path, sync):
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    if subprocess.run(["strace", "-qq", "-o", "/dev/null", "true"], capture_output=True, check=False).returncode:
        pytest.skip("tracing is not allowed here")
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    Outbox(fresh / "outbox.sqlite", ballast_bytes=0).close()
    at_work = tmp_path / "at-work"
    shutil.copytree(fresh, at_work)
    done = traced(at_work, sync)
    assert sum(what == "promised" for what, _, _ in done) == ROWS - 1
    assert any(what == "write" and file == "outbox.sqlite" for what, file, _ in done), "no checkpoint was met"
    return damage(tmp_path / "card", done, fresh)


def test_no_power_cut_costs_a_promised_row_or_the_outbox(tmp_path):
    assert cuts(tmp_path, "FULL") == (0, 0)


def test_negative_control_who_does_not_sync_loses_and_corrupts(tmp_path):
    lost, corrupt = cuts(tmp_path, "OFF")
    assert lost > CUTS // 4
    assert corrupt > 0


def test_negative_control_who_syncs_only_at_checkpoints_loses(tmp_path):
    lost, corrupt = cuts(tmp_path, "NORMAL")
    assert lost > CUTS // 4
    assert corrupt == 0
