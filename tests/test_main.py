"""The command line: texts short and plain, exit codes that scripts can trust."""

import subprocess
import sys

import pytest

COMMANDS = ("run", "demo", "status", "visit")


def besace(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "agent", *arguments], capture_output=True, text=True, check=False, timeout=60
    )


def test_help_names_every_command():
    done = besace("--help")
    assert done.returncode == 0
    assert all(command in done.stdout for command in COMMANDS)


@pytest.mark.parametrize("wrong", [["fly"], [], ["visit", "maybe"]])
def test_wrong_usage_is_2(wrong):
    assert besace(*wrong).returncode == 2


def test_no_agent_to_ask_is_3(tmp_path):
    config = tmp_path / "bag.toml"
    config.write_text(
        f'[bag]\nname = "sac-04"\nstate_dir = "{tmp_path}"\nruntime_dir = "{tmp_path}"\n'
        '[hub]\nhost = "h"\nca = "a"\ncertificate = "b"\nkey = "c"\nsealing_key = "d"\n'
    )
    done = besace("status", "--config", str(config))
    assert done.returncode == 3
    assert "no agent answers" in done.stderr
    assert "Next:" in done.stderr


def test_an_agent_without_identity_says_how_to_get_one(tmp_path):
    config = tmp_path / "bag.toml"
    config.write_text(
        f'[bag]\nname = "sac-04"\nstate_dir = "{tmp_path}/state"\nruntime_dir = "{tmp_path}"\n'
        f'[hub]\nhost = "h"\nca = "{tmp_path}/a"\ncertificate = "{tmp_path}/b"\nkey = "{tmp_path}/c"\n'
        f'sealing_key = "{tmp_path}/d"\n'
    )
    done = besace("run", "--config", str(config))
    assert done.returncode == 3
    assert "besace-provision enrol" in done.stderr
