"""The units as systemd itself reads them, and the installer's files; skipped with a reason where systemd is absent."""

import os
import pwd
import re
import shutil
import subprocess
from pathlib import Path

import pytest

SYSTEMD = Path(__file__).parents[2] / "systemd"
SERVICES = ("besace.service", "besace-renew.service")


def needs(tool):
    return pytest.mark.skipif(shutil.which(tool) is None, reason=f"{tool} is not installed: units are not checked")


def run(*command, check=False):
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=check)


@pytest.fixture
def units(tmp_path):
    """The units with their executables where they say, under a folder of ours."""
    executables = tmp_path / "bin"
    executables.mkdir()
    for name in ("besace", "besace-provision"):
        (executables / name).write_text("#!/bin/sh\n")
        (executables / name).chmod(0o755)
    folder = tmp_path / "units"
    shutil.copytree(SYSTEMD / "bluetooth.service.d", folder / "bluetooth.service.d")
    (folder / "bluetooth.service").write_text("[Service]\nExecStart=/bin/true\n")
    for unit in (*SERVICES, "besace-renew.timer"):
        (folder / unit).write_text((SYSTEMD / unit).read_text().replace("/opt/besace/bin", str(executables)))
    return folder


@needs("systemd-analyze")
def test_verify_has_nothing_to_say(units):
    done = run("systemd-analyze", "verify", *sorted(units.glob("*.service")), units / "besace-renew.timer")
    assert (done.returncode, done.stderr) == (0, "")


@needs("systemd-analyze")
def test_verify_would_say_what_is_wrong(units):
    broken = units / "besace.service"
    broken.write_text(broken.read_text().replace("WatchdogSec=10", "WatchdogSec=soon"))
    assert "Failed to parse sec value" in run("systemd-analyze", "verify", broken).stderr


@needs("systemd-analyze")
@pytest.mark.parametrize("unit", SERVICES)
def test_exposure(unit):
    done = run("systemd-analyze", "security", "--offline=true", "--threshold=15", SYSTEMD / unit)
    assert done.returncode == 0, done.stdout
    exposure = float(re.search(r"exposure level for \S+: ([\d.]+)", done.stdout)[1])
    assert exposure <= 1.2


@needs("systemd-sysusers")
@pytest.mark.skipif(os.geteuid() != 0, reason="writing users under --root wants root")
def test_user_groups_and_folders_are_made_under_a_root(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "group").write_text("dialout:x:20:\naudio:x:29:\nvideo:x:44:\nbluetooth:x:110:\n")
    for _ in range(2):
        done = run("systemd-sysusers", f"--root={tmp_path}", SYSTEMD / "sysusers.d" / "besace.conf")
        assert done.returncode == 0, done.stderr
    passwd = (tmp_path / "etc" / "passwd").read_text()
    assert passwd.rstrip().endswith("/nologin")
    uid = int(re.search(r"^besace:x:(\d+):", passwd, re.MULTILINE)[1])
    groups = (tmp_path / "etc" / "group").read_text()
    for group in ("dialout", "audio", "gpio", "bluetooth", "video"):
        assert re.search(rf"^{group}:.*\bbesace\b", groups, re.MULTILINE), group
    done = run("systemd-tmpfiles", f"--root={tmp_path}", "--create", SYSTEMD / "tmpfiles.d" / "besace.conf")
    assert done.returncode == 0, done.stderr
    for folder in ("etc/besace", "var/lib/besace"):
        made = (tmp_path / folder).stat()
        assert (made.st_mode & 0o777, made.st_uid) == (0o700, uid)
    assert pwd.getpwuid(0).pw_name == "root"  # the machine's own users were not touched


def test_the_agent_s_user_cannot_log_in():
    """No password and, by sysusers' default for a system user, no shell."""
    (line,) = [one for one in (SYSTEMD / "sysusers.d" / "besace.conf").read_text().splitlines() if one[:2] == "u "]
    assert line == 'u besace - "Besace agent" /var/lib/besace -'


def test_the_agent_can_read_the_boot_id_it_dates_everything_by():
    assert "ProcSubset=pid" not in (SYSTEMD / "besace.service").read_text()


def test_the_timer_counts_monotonic_time_only():
    text = (SYSTEMD / "besace-renew.timer").read_text()
    assert "OnCalendar" not in text
    assert "OnUnitInactiveSec=" in text


def test_installing_twice_changes_nothing_and_uninstalling_leaves_nothing(tmp_path):
    script = SYSTEMD / "install.sh"
    first = run(script, "--root", tmp_path, check=True)
    laid = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    assert len(laid) == len(first.stdout.splitlines()) == 7
    stamps = {path: (tmp_path / path).stat().st_mtime_ns for path in laid}
    assert "in place" in run(script, "--root", tmp_path, check=True).stdout
    assert {path: (tmp_path / path).stat().st_mtime_ns for path in laid} == stamps
    run(script, "--root", tmp_path, "--uninstall", check=True)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_the_installer_knows_every_file_that_is_to_be_installed():
    named = set(re.findall(r'^  "(\S+) \S+"$', (SYSTEMD / "install.sh").read_text(), re.MULTILINE))
    there = {str(path.relative_to(SYSTEMD)) for path in SYSTEMD.rglob("*") if path.is_file()}
    assert named == there - {"install.sh", "update.sh"}


def test_it_ends_by_naming_the_next_command():
    text = (SYSTEMD / "install.sh").read_text()
    assert "sudo besace-provision enrol NAME --hub HOST --token-file FILE" in text
    assert run("bash", "-n", SYSTEMD / "install.sh").returncode == 0
    assert run(SYSTEMD / "install.sh", "--nonsense").returncode == 2
