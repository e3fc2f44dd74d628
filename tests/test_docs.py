"""The docs say what the code does: drawn tables, named files, sentences for every reason."""

import dataclasses
import re
import tomllib
from pathlib import Path

from agent import config, custody, visit

ROOT = Path(__file__).parent.parent


def test_the_visit_is_drawn_as_it_is():
    assert visit.diagram() in (ROOT / "docs/architecture.md").read_text()


def test_the_loan_is_drawn_as_it_is():
    assert custody.diagram() in (ROOT / "docs/architecture.md").read_text()


def test_every_key_of_the_configuration_is_shown_with_its_default():
    page = (ROOT / "docs/provisioning.md").read_text()
    shown = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)[-1]
    parsed, tables = config.parse(shown), tomllib.loads(shown)
    for table in dataclasses.fields(config.Config):
        value, written = getattr(parsed, table.name), tables[table.name]
        if isinstance(value, tuple):
            (value,), (written,) = value, written
        assert set(written) == {key.name for key in dataclasses.fields(value)}, table.name
        for key in dataclasses.fields(value):
            if key.default is not dataclasses.MISSING and table.name not in {"instrument", "part", "consumable"}:
                assert getattr(value, key.name) == key.default, (table.name, key.name)


def test_files_named_in_the_docs_exist():
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("docs/decisions/*.md")]:
        text = page.read_text()
        for target in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
        for name in re.findall(r"`((?:agent|hub|provisioning|benchmarks|tests)/[\w/]+\.(?:py|js|toml|cddl))`", text):
            assert (ROOT / name).exists(), f"{page.name} names {name}"


def test_every_file_of_the_agent_has_its_room():
    rooms = (ROOT / "docs/architecture.md").read_text()
    files = {path for path in (ROOT / "agent").glob("*.py") if not path.name.startswith("__")}
    folders = {path.parent for path in (ROOT / "agent").glob("*/__init__.py")}
    named = [f"`agent/{path.name}{'/' if path in folders else ''}`" for path in sorted(files | folders)]
    assert [name for name in named if name not in rooms] == []
