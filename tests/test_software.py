"""A record names the software that made it: any change of a file is another name."""

import pytest

from agent import __version__
from agent.software import DIGITS, digest, software
from tests.test_recorder import Bag


@pytest.fixture
def package(tmp_path):
    folder = tmp_path / "agent"
    (folder / "dsp").mkdir(parents=True)
    (folder / "app.py").write_text("run()\n")
    (folder / "dsp" / "qrs.npz").write_bytes(bytes(100))
    return folder


def test_the_same_files_elsewhere_are_the_same_software(package, tmp_path):
    before = digest([package])
    (tmp_path / "opt").mkdir()
    assert digest([package.rename(tmp_path / "opt" / "agent")]) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda p: (p / "app.py").write_text("run() \n"),
        lambda p: (p / "dsp" / "qrs.npz").write_bytes(bytes(99) + b"\1"),
        lambda p: (p / "app.py").rename(p / "main.py"),
        lambda p: (p / "app.py").rename(p / "dsp" / "app.py"),
        lambda p: (p / "sitecustomize.py").write_text(""),
        lambda p: (p / "app.py").unlink(),
    ],
)
def test_any_change_is_another_software(package, change):
    before = digest([package])
    change(package)
    assert digest([package]) != before


def test_what_python_compiled_is_not_the_software(package):
    before = digest([package])
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "app.cpython-311.pyc").write_bytes(b"anything")
    assert digest([package]) == before


def test_every_epoch_s_signed_header_says_it(tmp_path):
    bag = Bag(tmp_path)
    assert bag.header().header.software == software()
    version, _, digits = software().partition("+")
    assert (version, len(digits)) == (__version__, DIGITS)
    bag.outbox.close()
