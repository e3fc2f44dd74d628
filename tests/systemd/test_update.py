"""An update that the agent is not well with is taken back; pip and systemctl are stand-ins that do as they are told."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "systemd" / "update.sh"


def script(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


class Bag:
    """An environment with version 1 in it, and a system around it."""

    def __init__(self, folder):
        self.folder, self.here = folder, folder / "opt" / "besace"
        script(
            self.here / "bin" / "pip",
            f'echo "$@" > {folder}/asked; rm {self.here}/version; echo 2 > {self.here}/version',
        )
        (self.here / "version").write_text("1\n")
        (folder / "etc").mkdir()
        (folder / "etc" / "besace.toml").write_text("")
        self.system()

    def system(self, restart="true", active="true", restarts=0):
        """What systemctl does with version 2; version 1 was always well."""
        script(
            self.folder / "bin" / "systemctl",
            f'echo "$1 version $(cat {self.here}/version)" >> {self.folder}/log\n'
            f'[ "$(cat {self.here}/version)" = 2 ] || exit 0\n'
            f"case $1 in restart) {restart} ;; is-active) {active} ;; show) echo {restarts} ;; esac",
        )

    def update(self):
        env = os.environ | {"PATH": f"{self.folder}/bin:{os.environ['PATH']}", "BESACE_ETC": str(self.folder / "etc")}
        return subprocess.run(
            [SCRIPT, self.here, "0", "-c", "pins", "besace"], env=env, capture_output=True, text=True, check=False
        )

    @property
    def version(self):
        return (self.here / "version").read_text().strip()

    @property
    def log(self):
        log = self.folder / "log"
        return log.read_text().splitlines() if log.exists() else []


@pytest.fixture
def bag(tmp_path):
    return Bag(tmp_path)


def test_a_version_that_stays_up_stays(bag):
    done = bag.update()
    assert (done.returncode, bag.version) == (0, "2"), done.stderr
    assert (bag.folder / "asked").read_text().split()[-3:] == ["-c", "pins", "besace"]
    assert bag.log[0] == "restart version 2"


@pytest.mark.parametrize("ill", [{"restart": "false"}, {"active": "false"}, {"restarts": 3}])
def test_a_version_that_does_not_is_taken_back_and_the_one_before_started(bag, ill):
    bag.system(**ill)
    done = bag.update()
    assert (done.returncode, bag.version) == (1, "1")
    assert "Next: journalctl -u besace" in done.stderr
    assert bag.log[-1] == "restart version 1"


def test_packages_that_cannot_be_installed_change_nothing(bag):
    script(bag.here / "bin" / "pip", f"rm {bag.here}/version; false")
    done = bag.update()
    assert (done.returncode, bag.version, bag.log) == (1, "1", [])


def test_a_bag_that_is_not_enrolled_yet_starts_nothing(bag):
    (bag.folder / "etc" / "besace.toml").unlink()
    assert (bag.update().returncode, bag.version, bag.log) == (0, "2", [])


def test_after_an_update_that_was_interrupted_it_can_be_called_again(bag):
    (bag.here.with_name("besace.before") / "bin").mkdir(parents=True)
    assert (bag.update().returncode, bag.version) == (0, "2")
