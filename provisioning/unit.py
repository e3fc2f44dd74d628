"""The last steps of an enrolment, on the bag's system: owner, address filter, unit, first receipt; all repeatable."""

import ipaddress
import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from agent.config import load
from agent.control import ask
from agent.errors import BesaceError, ProvisioningError
from provisioning.enrol import Address, Place

USER = "besace"
UNITS = Path("/etc/systemd/system")
SYSTEMD = Path("/run/systemd/system")
RECEIPT_WITHIN_S = 10.0


def bring_up(place: Place, *, start: bool, say: Callable[[str], None]) -> int:
    """Start the agent of a bag just enrolled and wait for the hub's receipt of its first sealed record; 0, or 1."""
    give(place.etc)
    if not start:
        return 0
    if not SYSTEMD.is_dir():
        say("systemd does not run here\nNext: besace run")
        return 0
    hub = Address.parse((place.link / "hub.addr").read_text())
    allow(UNITS, addresses([load(place.config).hub.host, hub.host]))
    _systemctl("daemon-reload")
    _systemctl("enable", "--now", "besace.service", "besace-renew.timer")
    control = load(place.config).bag.control_socket
    deadline = time.monotonic() + RECEIPT_WITHIN_S
    while time.monotonic() < deadline:
        try:
            status = ask(control, {"do": "status"})
            if status["records_receipted"]:
                say("  first sealed record receipted by the hub")
                say(f"  self-test: {status['self_test']}")
                return 0
        except BesaceError:
            pass
        time.sleep(0.1)
    say(f"enrolled, but the hub receipted nothing within {RECEIPT_WITHIN_S:.0f} s\nNext: besace doctor")
    return 1


def take_down() -> None:
    """Stop and disable the agent and its timer, and close the way to the hub; nothing where systemd does not run."""
    if SYSTEMD.is_dir():
        _systemctl("disable", "--now", "besace.service", "besace-renew.timer")
        allow(UNITS, ())


def _systemctl(*verb: str) -> None:
    command = [shutil.which("systemctl") or "systemctl", *verb]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - fixed commands
    if done.returncode:
        raise ProvisioningError(f"systemd refuses: {done.stderr.strip()}\nNext: sudo systemd/install.sh, then again")


def give(etc: Path) -> None:
    """Root made the files; the agent's own user reads and renews them."""
    if os.geteuid() != 0:
        return
    try:
        user = pwd.getpwnam(USER)
    except KeyError:
        return
    for path in (etc, *etc.rglob("*")):
        os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)


def addresses(hosts: Iterable[str]) -> list[str]:
    """The hub's public addresses; private ones the units let through anyway."""
    found = set()
    for host in hosts:
        try:
            infos = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except OSError:
            continue  # no network just now: enrolling again completes it
        found |= {str(info[4][0]).partition("%")[0] for info in infos}
    return sorted(address for address in found if ipaddress.ip_address(address).is_global)


def allow(units: Path, public: Iterable[str]) -> None:
    """Let the agent's units reach these addresses too: they are closed to the Internet otherwise."""
    listed = list(public)
    for name in ("besace.service", "besace-renew.service"):
        drop_in = units / f"{name}.d" / "hub.conf"
        if not listed:
            drop_in.unlink(missing_ok=True)
            continue
        drop_in.parent.mkdir(parents=True, exist_ok=True)
        lines = ["# Written by besace-provision enrol: where the hub is.", "[Service]"]
        drop_in.write_text("\n".join([*lines, *(f"IPAddressAllow={address}" for address in listed)]) + "\n")
