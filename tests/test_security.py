"""docs/security.md: every point asked is a row, every row has tests, every test named is there."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "security.md"
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.read_text().splitlines()
    if line.startswith("| ") and not line.startswith("| point")
]
FURTHER = {
    "Bill of materials", "Unique identity (NIST IR 8259A)", "Values unchanged from instrument to hub",
    "Stale is shown stale", "The custody log shows tampering", "Logs without personal data",
}  # fmt: skip


def test_every_point_is_a_row():
    """EN 303 645 has provisions 5.1 to 5.13 for the device."""
    points = [row[0] for row in ROWS]
    assert [point.split()[0] for point in points[:13]] == [f"5.{n}" for n in range(1, 14)]
    assert set(points[13:]) == FURTHER


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0].split()[0])
def test_every_row_says_its_state_and_names_tests_that_are_there(row):
    _, state, what, shown = row
    assert state in {"done", "part"}
    assert ("**Not done**" in what) == (state == "part")
    named = re.findall(r"\[(test_\w+)\]\(([^)]+)\)", shown)
    assert named
    for test, file in named:
        tree = ast.parse((PAGE.parent / file).read_text())
        assert test in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, f"{file}::{test}"


def test_no_key_is_shipped():
    """Not as a default, not as an example: every private key is made where it is used."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout: the files that belong to it are not known")
    key = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/]{32}")
    assert key.search(b"-----BEGIN EC PRIVATE KEY-----\n" + b"A" * 64)
    assert [name for name in listed.stdout.split("\0") if name and key.search((ROOT / name).read_bytes())] == []


def test_a_report_has_a_way_in_and_terms():
    text = (ROOT / "SECURITY.md").read_text()
    assert "Report a vulnerability** in private" in text
    assert re.search(r"within \d+ working days", text)
    assert "Supported:" in text
