"""The docs say what the code does: drawn tables, named files, sentences for every reason."""

import re
from pathlib import Path

from agent import custody, visit

ROOT = Path(__file__).parent.parent


def test_the_visit_is_drawn_as_it_is():
    assert visit.diagram() in (ROOT / "docs/architecture.md").read_text()


def test_the_loan_is_drawn_as_it_is():
    assert custody.diagram() in (ROOT / "docs/architecture.md").read_text()


def test_files_named_in_the_docs_exist():
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("docs/decisions/*.md")]:
        text = page.read_text()
        for target in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
        for name in re.findall(r"`((?:agent|hub|provisioning|benchmarks|tests)/[\w/]+\.(?:py|js|toml|cddl))`", text):
            assert (ROOT / name).exists(), f"{page.name} names {name}"
