"""Every kind of failing write, made by the kernel's own answer: what was promised is there, and the writer goes on.

Needs strace and the right to trace; skipped without.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from agent.outbox import Outbox

ROOT = Path(__file__).parents[2]
ROWS = 40
WRITER = """
import sys
from pathlib import Path
from agent.errors import StateError
from agent.outbox import Outbox
from agent.transport.epoch import OutRow

box = Outbox(Path(sys.argv[1]), ballast_bytes=0)
if sys.argv[2] == "off":
    box._db.execute("PRAGMA synchronous = OFF")
for seq in range(int(sys.argv[3])):
    try:
        box.commit([OutRow(b"epochA", seq, seq.to_bytes(4) * 300)])
    except StateError:
        print("refused", seq, flush=True)
    else:
        print("promised", seq, flush=True)
"""


def write(path, inject, sync="full"):
    """Run the writer under strace; the rows it was promised, those refused, and whether it lived to the end."""
    Outbox(path, ballast_bytes=0).close()  # the faults are to meet commits
    command = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync,pwrite64", "-e", f"inject={inject}"]
    done = subprocess.run(
        [*command, sys.executable, "-c", WRITER, path, sync, str(ROWS)],
        capture_output=True, text=True, timeout=60, check=False, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    said = [line.split() for line in done.stdout.splitlines()]
    promised = {int(seq) for word, seq in said if word == "promised"}
    refused = {int(seq) for word, seq in said if word == "refused"}
    return promised, refused, done.returncode


def on_board(path):
    box = Outbox(path, ballast_bytes=0)
    found = {row.seq for row in box.read(b"epochA", 0, ROWS, 1 << 30) if row.payload == row.seq.to_bytes(4) * 300}
    assert box._db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    box.close()
    return found


@pytest.fixture(scope="module", autouse=True)
def tracing():
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    done = subprocess.run(["strace", "-qq", "-o", "/dev/null", "true"], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("tracing is not allowed here")


@pytest.mark.parametrize(
    "inject",
    [
        "fdatasync:error=EIO:when=20", "fdatasync:error=EIO:when=12..18", "pwrite64:error=ENOSPC:when=30..60",
        "pwrite64:error=EIO:when=41+7",
    ],
)  # fmt: skip
def test_a_write_or_sync_that_fails_costs_no_promised_row_and_ends_nobody(tmp_path, inject):
    promised, refused, code = write(tmp_path / "outbox.sqlite", inject)
    assert code == 0
    assert refused, "the fault was never met: the test says nothing"
    assert promised
    assert promised | refused == set(range(ROWS))
    assert on_board(tmp_path / "outbox.sqlite") >= promised


@pytest.mark.parametrize("call", ["fdatasync:signal=KILL:when=9", "pwrite64:signal=KILL:when=47"])
def test_killed_inside_a_write_or_sync(tmp_path, call):
    promised, _, code = write(tmp_path / "outbox.sqlite", call)
    assert code != 0
    assert promised
    assert on_board(tmp_path / "outbox.sqlite") >= promised


def test_negative_control_who_does_not_sync_does_not_see_that_it_fails(tmp_path):
    _, refused, _ = write(tmp_path / "outbox.sqlite", "fdatasync:error=EIO:when=1+", sync="off")
    assert not refused
