"""The software bill of materials: everything a bag imports is in it, as pinned, with its licence.

`make sbom` makes it of a fresh environment; here the same tool reads this one.
"""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split("\n") if "==" in line)
TOOL = shutil.which("cyclonedx-py", path=Path(sys.executable).parent) or shutil.which("cyclonedx-py")


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def wanted(*extras):
    """The packages that a bag asks for by name."""
    asked = [*PROJECT["dependencies"], *(one for extra in extras for one in PROJECT["optional-dependencies"][extra])]
    return {canonical(re.match(r"[\w.-]+", one)[0]) for one in asked}


def licences(component):
    said = [entry.get("license", entry) for entry in component.get("licenses", [])]
    return [one.get("id") or one.get("name") or one.get("expression") for one in said]


@pytest.mark.slow
@pytest.mark.skipif(TOOL is None, reason="cyclonedx-py is not installed: make .venv/sbom")
def test_every_package_a_bag_asks_for_is_listed_as_pinned_with_its_licence(tmp_path):
    out = tmp_path / "besace.cdx.json"
    subprocess.run(
        [TOOL, "environment", "--pyproject", ROOT / "pyproject.toml", "--output-reproducible", "-o", out, sys.prefix],
        check=True, capture_output=True,
    )  # fmt: skip
    bill = json.loads(out.read_text())
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    itself = bill["metadata"]["component"]
    assert (itself["name"], itself["version"], licences(itself)) == ("besace", PROJECT["version"], ["Apache-2.0"])
    listed = {canonical(one["name"]): one for one in bill["components"]}
    assert wanted("page", "lights") <= set(listed)
    pins = {canonical(name): version for name, version in PINS.items()}
    for name in wanted("page", "lights"):
        assert listed[name]["version"] == pins[name], name
    assert [name for name, one in listed.items() if not licences(one)] == []


def test_everything_a_bag_asks_for_is_pinned():
    assert wanted("page", "lights") <= {canonical(name) for name in PINS}
