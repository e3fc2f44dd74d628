"""Pairing against a bluetoothd of our own on a bus of our own."""

import asyncio
import contextlib
import shutil
import subprocess

import pytest

pytest.importorskip("dbus_fast")
if shutil.which("dbus-daemon") is None:
    pytest.skip("no dbus-daemon", allow_module_level=True)

from dbus_fast import BusType, DBusError, Message, MessageType, Variant
from dbus_fast.aio import MessageBus
from dbus_fast.annotations import DBusObjectPath, DBusStr
from dbus_fast.service import ServiceInterface, dbus_method

from agent.drivers.pairing import device_path, pair, unpair
from agent.errors import InstrumentError, InstrumentReason

ADDRESS = "C0:00:00:00:00:02"
DEVICE = "/org/bluez/hci0/dev_C0_00_00_00_00_02"
IDENTITY = "00:09:1F:80:00:01"  # what bluetoothd calls it once the bond says who advertises as ADDRESS
RIGHT = 123_456


class Manager(ServiceInterface):
    """org.bluez.AgentManager1"""

    def __init__(self):
        super().__init__("org.bluez.AgentManager1")
        self.agents = []

    @dbus_method(name="RegisterAgent")
    def register(self, path: DBusObjectPath, capability: DBusStr) -> None:
        self.agents.append((path, capability))

    @dbus_method(name="UnregisterAgent")
    def unregister(self, path: DBusObjectPath) -> None:
        self.agents = [agent for agent in self.agents if agent[0] != path]


class Device(ServiceInterface):
    """org.bluez.Device1: asks the agent for its passkey"""

    def __init__(self, manager, asks_for=DEVICE):
        super().__init__("org.bluez.Device1")
        self.manager = manager
        self.asks_for = asks_for
        self.paired = False
        self.bus = None
        self.agent_owner = None

    @dbus_method(name="Pair")
    async def pair(self) -> None:
        if self.paired:
            raise DBusError("org.bluez.Error.AlreadyExists", "")
        ((path, capability),) = self.manager.agents
        assert capability == "KeyboardDisplay"
        reply = await self.bus.call(
            Message(
                destination=self.agent_owner, path=path, interface="org.bluez.Agent1", member="RequestPasskey",
                signature="o", body=[self.asks_for],
            )
        )  # fmt: skip
        if reply.message_type is MessageType.ERROR or reply.body != [RIGHT]:
            raise DBusError("org.bluez.Error.AuthenticationFailed", "")
        self.paired = True


class Adapter(ServiceInterface):
    """org.bluez.Adapter1"""

    def __init__(self, device):
        super().__init__("org.bluez.Adapter1")
        self.device = device

    @dbus_method(name="RemoveDevice")
    def remove(self, path: DBusObjectPath) -> None:
        assert path == DEVICE
        if not self.device.paired:
            raise DBusError("org.bluez.Error.DoesNotExist", "")
        self.device.paired = False


class FakeRadio:
    """What pairing needs of a radio."""

    def __init__(self):
        self.looked_for = []
        self._lock = asyncio.Lock()

    async def find(self, address):
        self.looked_for.append(address)

    def alone(self):
        return self._lock


@pytest.fixture
def bus_address(tmp_path, monkeypatch):
    address = f"unix:path={tmp_path}/bus"
    config = tmp_path / "bus.conf"
    config.write_text(
        f"<busconfig><type>session</type><listen>{address}</listen><auth>EXTERNAL</auth>"
        '<policy context="default"><allow send_destination="*" eavesdrop="true"/>'
        '<allow eavesdrop="true"/><allow own="*"/></policy></busconfig>'
    )
    command = ["dbus-daemon", f"--config-file={config}", "--nofork", "--print-address=1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as daemon:
        daemon.stdout.readline()
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
        yield address
        daemon.terminate()


@contextlib.asynccontextmanager
async def bluetoothd(asks_for=DEVICE):
    bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
    manager = Manager()
    device = Device(manager, asks_for)
    device.bus = bus
    trusted = []

    def answer(message):
        if message.member == "RegisterAgent":
            device.agent_owner = message.sender
        if message.member == "Set" and message.interface == "org.freedesktop.DBus.Properties":
            trusted.append((message.path, message.body[1], message.body[2].value))
            return Message.new_method_return(message)
        if message.member == "Get" and message.body == ["org.bluez.Device1", "Address"]:
            return Message.new_method_return(message, "v", [Variant("s", IDENTITY)])
        return None

    bus.add_message_handler(answer)
    bus.export("/org/bluez", manager)
    bus.export(DEVICE, device)
    bus.export("/org/bluez/hci0", Adapter(device))
    await bus.request_name("org.bluez")
    try:
        yield manager, device, trusted
    finally:
        bus.disconnect()


def number(value):
    async def ask():
        return value

    return ask


def test_the_right_passkey_bonds_and_trusts(bus_address):
    async def run():
        async with bluetoothd() as (manager, device, trusted):
            radio = FakeRadio()
            assert await pair(radio, ADDRESS, number(RIGHT)) == IDENTITY
            assert device.paired
            assert trusted == [(DEVICE, "Trusted", True)]
            assert radio.looked_for == [ADDRESS]
            assert manager.agents == []  # the agent does not outlive the pairing
            await pair(radio, ADDRESS, number(0))  # already paired: harmless
            await unpair(ADDRESS)
            assert not device.paired
            await unpair(ADDRESS)  # harmless

    asyncio.run(run())


def test_the_wrong_passkey_is_not_paired(bus_address):
    async def run():
        async with bluetoothd() as (manager, device, _):
            with pytest.raises(InstrumentError) as error:
                await pair(FakeRadio(), ADDRESS, number(111_111))
            assert not device.paired
            assert manager.agents == []
            return error.value.reason

    assert asyncio.run(run()) is InstrumentReason.NOT_PAIRED


def test_the_agent_answers_for_its_own_device_only(bus_address):
    async def run():
        async with bluetoothd(asks_for="/org/bluez/hci0/dev_00_00_00_00_00_00") as (_, device, _trusted):
            with pytest.raises(InstrumentError):
                await pair(FakeRadio(), ADDRESS, number(RIGHT))
            assert not device.paired

    asyncio.run(run())


def test_without_bluetoothd_or_bus_the_stack_is_down(bus_address, monkeypatch):
    def reason():
        with pytest.raises(InstrumentError) as error:
            asyncio.run(unpair(ADDRESS))
        return error.value.reason

    assert reason() is InstrumentReason.STACK_DOWN
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent")
    assert reason() is InstrumentReason.STACK_DOWN


def test_where_bluetoothd_keeps_a_device():
    assert device_path("c0:00:00:00:00:02", "hci0") == DEVICE
