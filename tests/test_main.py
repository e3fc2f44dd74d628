"""The command line: texts short and plain, exit codes that scripts can trust."""

import subprocess
import sys

import pytest

COMMANDS = (
    "run", "demo", "status", "visit", "watch", "record", "replay", "pair", "unpair", "doctor", "identify", "import",
    "wipe",
)  # fmt: skip


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


@pytest.mark.parametrize(("expects", "code"), [("98", 0), ("97", 1)])
def test_replay_is_a_test_of_its_own(tmp_path, expects, code):
    capture = tmp_path / "masimo.txt"
    line = b"SPO2=098% BPM=097\r\n".hex()
    capture.write_text(
        f"# besace capture 1\n# instrument: masimo-ascii1\n0.000 serial {line}\n"
        f"# expect reading SPO2 {expects} %\n# expect reading PULSE_RATE 97 /min\n"
    )
    done = besace("replay", str(capture))
    assert done.returncode == code
    assert done.stdout == "reading SPO2 98 %\nreading PULSE_RATE 97 /min\n"
    assert ("-reading SPO2 97 %" in done.stderr) is bool(code)


def test_an_instrument_without_configuration_says_what_to_do(tmp_path):
    done = besace("watch", "oximeter", "--config", str(tmp_path / "none.toml"))
    assert done.returncode == 2
    assert "Next:" in done.stderr
