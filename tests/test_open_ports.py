"""What listens on a bag: the nurse's page on the one address it was given, and nothing else.

The agent runs as its unit starts it; what it listens on is read from the kernel's tables, not from its own words.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from hub.nats import free_port
from tests.peers.cpts import write_identity

LISTENS = "0A"  # the kernel's number for a TCP socket that accepts
WITHIN_S = 30.0
CONFIG = """
[bag]
name = "sac-04"
state_dir = "{at}/state"
runtime_dir = "{at}"
[hub]
host = "127.0.0.1"
port = 9
ca = "{at}/root.pem"
certificate = "{at}/sac-04.pem"
key = "{at}/sac-04.key"
sealing_key = "{at}/hub.pub"
[page]
enabled = {page}
port = {port}
"""


def address(written):
    """`0100007F:1F90` as the kernel writes it: each 32-bit word of the address in this machine's order."""
    host, _, port = written.partition(":")
    words = bytes.fromhex(host)
    there = b"".join(words[at : at + 4][::-1] for at in range(0, len(words), 4))
    return socket.inet_ntop(socket.AF_INET if len(there) == 4 else socket.AF_INET6, there), int(port, 16)


def open_to_others(pid):
    """(protocol, address, port) of every socket of a process that takes what it did not ask for."""
    held, found = set(), set()
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            held.add(str(fd.readlink()))
    for protocol in ("tcp", "tcp6", "udp", "udp6"):
        table = Path(f"/proc/{pid}/net/{protocol}")
        for line in table.read_text().splitlines()[1:] if table.exists() else ():
            fields = line.split()
            if f"socket:[{fields[9]}]" in held and (fields[3] == LISTENS or protocol.startswith("udp")):
                found.add((protocol, *address(fields[1])))
    return found


@pytest.mark.parametrize("page", [True, False])
def test_the_page_on_its_address_and_nothing_else(tmp_path, page):
    write_identity(tmp_path)
    port = free_port()
    config = tmp_path / "besace.toml"
    config.write_text(CONFIG.format(at=tmp_path, page=str(page).lower(), port=port))
    with (tmp_path / "log").open("w") as log:
        agent = subprocess.Popen([sys.executable, "-m", "agent", "run", "--config", str(config)], stderr=log)
    seen = set()
    try:
        end = time.monotonic() + WITHIN_S
        while "ready=1" not in (tmp_path / "log").read_text() or (page and not seen):
            assert agent.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < end, (tmp_path / "log").read_text()
            time.sleep(0.1)
            seen = open_to_others(agent.pid)
        time.sleep(1)  # what opens late
        assert open_to_others(agent.pid) == ({("tcp", "127.0.0.1", port)} if page else set())
    finally:
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(WITHIN_S) == 0


def test_negative_control_any_open_port_is_seen():
    with socket.create_server(("0.0.0.0", 0)) as everywhere, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        seen = open_to_others(os.getpid())
        assert ("tcp", "0.0.0.0", everywhere.getsockname()[1]) in seen
        assert ("udp", "127.0.0.1", udp.getsockname()[1]) in seen
