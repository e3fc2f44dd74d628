"""The processes of a demonstration: simulated instruments, broker, hub, agent, each killed and started by itself.

The authority is made for the occasion and thrown away with the folder. Children die with this process.
"""

import asyncio
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from agent.control import ask
from agent.drivers.simulated import BLE_ADDRESSES, transport
from agent.drivers.simulated import where as places
from agent.errors import StateError
from agent.transport import hubkeys
from hub.nats import BrokerFiles, NatsServer, die_with_parent, free_port, write_config
from provisioning.authority import Authority, certificate_pem, key_pem, write_private

BAG = "sac-04"
START_WITHIN_S = 30.0
STOP_WITHIN_S = 12.0


@dataclass(slots=True)
class Child:
    """One process of the demonstration: started, killed, stopped; its words go to a file."""

    name: str
    command: list[str]
    log: Path
    env: dict[str, str] = field(default_factory=dict)
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it in a group of its own, so that Ctrl-C reaches it only through us."""
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
                preexec_fn=die_with_parent,
                env=os.environ | self.env,
            )

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.process is not None and self.process.returncode is None

    async def kill(self) -> None:
        """End it as a crash would."""
        if self.process is not None and self.alive:
            self.process.kill()
            await self.process.wait()

    async def stop(self) -> None:
        """End it in order; kill it when it does not."""
        if self.process is not None and self.alive:
            self.process.terminate()
            try:
                async with asyncio.timeout(STOP_WITHIN_S):
                    await self.process.wait()
            except TimeoutError:
                await self.kill()

    def last_words(self) -> str:
        """The end of its log, for an error message."""
        return "\n".join(self.log.read_text(errors="replace").strip().splitlines()[-3:]) or "no word from it"


async def until(what: str, ready: Callable[[], bool], child: Child | None = None) -> None:
    """Wait for something to become true; StateError when it does not, or when the process that should do it ends."""
    deadline = time.monotonic() + START_WITHIN_S
    while not ready():
        if child is not None and not child.alive:
            raise StateError(f"{child.name} ended before {what}: {child.last_words()}\nNext: see {child.log}")
        if time.monotonic() > deadline:
            raise StateError(
                f"{what} did not happen within {START_WITHIN_S:.0f} s\nNext: run with --keep DIR and read its logs"
            )
        await asyncio.sleep(0.05)


class World:
    """All of it, in one folder."""

    def __init__(
        self,
        folder: Path,
        *,
        seed: int = 1,
        nurse_port: int | None = None,
        doctor_port: int | None = None,
        radio: bool = True,
    ) -> None:
        self.folder = folder.resolve()
        self.config = self.folder / "bag.toml"
        self.state_dir = self.folder / "bag"
        self.simulator_dir = self.folder / "sim"
        self.hub_dir = self.folder / "hub"
        self.nurse_port = nurse_port
        self.doctor_port = doctor_port
        self._radio = radio
        self._broker_port = free_port()
        keys = self.folder / "keys"
        files = BrokerFiles(
            self.folder / "nats", keys / "broker.pem", keys / "broker.key", keys / "root.pem", "127.0.0.1",
            self._broker_port, free_port(),
        )  # fmt: skip
        for directory in (keys, self.simulator_dir):
            directory.mkdir(parents=True, exist_ok=True)
        self._identities(keys)
        write_config(files, [BAG])
        self.broker = NatsServer(files)
        python = [sys.executable, "-m"]
        simulator = [*python, "agent.drivers.simulated", "--dir", str(self.simulator_dir), "--seed", str(seed)]
        hub = [
            *python, "hub", "run", "--state-dir", str(self.hub_dir), "--broker", f"127.0.0.1:{self._broker_port}",
            "--ca", str(keys / "root.pem"), "--cert", str(keys / "hub.pem"), "--key", str(keys / "hub.key"),
            "--sealing-key", str(keys / "hub-sealing.key"),
        ]  # fmt: skip
        if doctor_port is not None:
            hub += ["--page-port", str(doctor_port)]
        self.simulator = Child("the simulator", simulator, self.folder / "simulator.log")
        self.hub = Child("the hub", hub, self.folder / "hub.log")
        self.agent = Child(
            "the agent", [*python, "agent", "run", "--config", str(self.config)], self.folder / "agent.log"
        )

    def _identities(self, keys: Path) -> None:
        """A throw-away authority, and what it certifies."""
        authority = Authority.new("Besace demonstration")
        (keys / "root.pem").write_bytes(certificate_pem(authority.certificate))
        for name in ("hub", BAG):
            key = ec.generate_private_key(ec.SECP256R1())
            write_private(keys / f"{name}.key", key_pem(key))
            (keys / f"{name}.pem").write_bytes(certificate_pem(authority.issue_client(name, key.public_key())))
        key = ec.generate_private_key(ec.SECP256R1())
        write_private(keys / "broker.key", key_pem(key))
        server = authority.issue_server("broker", key.public_key(), ["hub", "localhost", "127.0.0.1"])
        (keys / "broker.pem").write_bytes(certificate_pem(server))
        sealing = hubkeys.generate()
        write_private(keys / "hub-sealing.key", hubkeys.private_pem(sealing))
        (keys / "hub-sealing.pub").write_bytes(hubkeys.public_pem(sealing.public_key()))

    def _write_config(self) -> None:
        """The bag's configuration, as enrolment would write it."""
        keys, sim = self.folder / "keys", self.simulator_dir
        lines = [
            "[bag]", f'name = "{BAG}"', f'state_dir = "{self.state_dir}"', f'runtime_dir = "{self.state_dir}"',
            "demo = true",
            "[hub]", 'host = "127.0.0.1"', f"port = {self._broker_port}", f'ca = "{keys / "root.pem"}"',
            f'certificate = "{keys / f"{BAG}.pem"}"', f'key = "{keys / f"{BAG}.key"}"',
            f'sealing_key = "{keys / "hub-sealing.pub"}"',
            "[page]", f"enabled = {str(self.nurse_port is not None).lower()}", f"port = {self.nurse_port or 0}",
            "[radio]", 'backend = "bumble"', f'transport = "{transport(sim)}"',
        ]  # fmt: skip
        for key, where in places(sim).items():
            if key in BLE_ADDRESSES and not self._radio:
                continue
            lines += ["[[instrument]]", f'key = "{key}"', f'where = "{where}"']
        self.config.write_text("\n".join(lines) + "\n")

    # --- acts ---------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start everything, in an order in which each finds what it needs."""
        await asyncio.gather(self.broker.start(), self.hub.start(), self.simulator.start())
        await until("the simulated instruments were ready", (self.simulator_dir / "ready").exists, self.simulator)
        self._write_config()
        await self.start_agent()

    def part(self, name: str) -> "Child | NatsServer":
        """The agent, the broker or the hub, to kill or to look at."""
        if name == "broker":
            return self.broker
        return self.agent if name == "agent" else self.hub

    async def revive(self, name: str) -> None:
        """Start a part again that ended."""
        if name == "agent":
            await self.start_agent()
        else:
            await self.part(name).start()

    async def start_agent(self) -> None:
        """Start the agent and wait until it answers."""
        self.control.unlink(missing_ok=True)
        await self.agent.start()
        await until("the agent answered", self.control.exists, self.agent)

    @property
    def control(self) -> Path:
        """Where the agent answers."""
        return self.state_dir / "control.sock"

    async def tell_agent(self, do: str) -> dict[str, Any]:
        """Ask the agent for something over its control socket."""
        return await asyncio.to_thread(ask, self.control, {"do": do})

    async def tell_simulator(self, line: str) -> str:
        """Give the simulated instruments an order."""
        reader, writer = await asyncio.open_unix_connection(str(self.simulator_dir / "control.sock"))
        try:
            writer.write(line.encode() + b"\n")
            answer = (await reader.readline()).decode().strip()
        finally:
            writer.close()
        if not answer.startswith("ok"):
            raise StateError(f"the simulator refused {line!r}: {answer}")
        return answer

    async def drain(self, within_s: float = 15.0) -> dict[str, Any]:
        """Let the last samples through, end the visit, wait until the hub has receipted everything."""
        await self.tell_simulator("quiet")
        heard, status = None, await self.tell_agent("status")
        while status["samples"] != heard:  # it may have been held up: what waits in the kernel belongs to the visit
            heard = status["samples"]
            await asyncio.sleep(0.5)
            status = await self.tell_agent("status")
        if status["visit"] == "visit":
            await self.tell_agent("end_visit")
        deadline = time.monotonic() + within_s
        status = await self.tell_agent("status")
        while status["unreceipted"] and time.monotonic() < deadline:
            await asyncio.sleep(0.1)
            status = await self.tell_agent("status")
        return status

    async def stop(self) -> None:
        """End everything, the agent first, so that nothing is cut off."""
        await self.agent.stop()
        await self.simulator.stop()
        await self.hub.stop()
        await self.broker.stop()
