# Ref: BlueZ 5.66, doc/agent-api.txt (org.bluez.Agent1, AgentManager1), doc/device-api.txt, doc/adapter-api.txt.
"""Pairing an instrument for good: our own agent answers bluetoothd's question for the passkey.

Without an agent, pairing fails and an encrypted read hangs for minutes. The technician pairs once, from the command
line; the bond stays with the adapter.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from dbus_fast import BusType, DBusError, Message, MessageType, Variant
from dbus_fast.aio import MessageBus
from dbus_fast.annotations import DBusObjectPath, DBusStr, DBusUInt16, DBusUInt32
from dbus_fast.service import ServiceInterface, dbus_method

from agent.drivers.ble import Radio, bounded
from agent.errors import InstrumentError, InstrumentReason

Passkey = Callable[[], Awaitable[int]]

AGENT_PATH = "/org/besace/agent"
CAPABILITY = "KeyboardDisplay"
PROPERTIES = "org.freedesktop.DBus.Properties"
PAIR_S = 60.0
CALL_S = 10.0
REFUSALS = ("AuthenticationFailed", "AuthenticationRejected", "AuthenticationCanceled", "AuthenticationTimeout")


class PairingAgent(ServiceInterface):
    """org.bluez.Agent1: `passkey` gives the number the instrument shows; any other question is refused."""

    def __init__(self, device: str, passkey: Passkey) -> None:
        super().__init__("org.bluez.Agent1")
        self._device = device
        self._passkey = passkey

    def _only_ours(self, device: str) -> None:
        if device != self._device:
            raise DBusError("org.bluez.Error.Rejected", "another device")

    @dbus_method(name="Release")
    def release(self) -> None:
        """The daemon lets go of the agent."""

    @dbus_method(name="Cancel")
    def cancel(self) -> None:
        """The daemon no longer wants an answer."""

    @dbus_method(name="RequestPasskey")
    async def request_passkey(self, device: DBusObjectPath) -> DBusUInt32:
        """The number the instrument shows."""
        self._only_ours(device)
        return await self._passkey()

    @dbus_method(name="DisplayPasskey")
    def display_passkey(self, device: DBusObjectPath, _passkey: DBusUInt32, _entered: DBusUInt16) -> None:
        """Nothing to show: no instrument here has a keyboard."""
        self._only_ours(device)

    @dbus_method(name="RequestConfirmation")
    def request_confirmation(self, device: DBusObjectPath, _passkey: DBusUInt32) -> None:
        """Comparing numbers: instruments that only say yes ("just works" with a button) are taken."""
        self._only_ours(device)

    @dbus_method(name="RequestAuthorization")
    def request_authorization(self, device: DBusObjectPath) -> None:
        """Pairing that asks nothing of the user."""
        self._only_ours(device)

    @dbus_method(name="AuthorizeService")
    def authorize_service(self, device: DBusObjectPath, _uuid: DBusStr) -> None:
        """A paired instrument may use its service."""
        self._only_ours(device)


async def pair(radio: Radio, address: str, passkey: Passkey, *, adapter: str = "hci0") -> str:
    """Bond with the instrument at `address`, once it advertises; pairing again is harmless.

    Returns its identity: the address bluetoothd calls it by from now on, though the one it advertises may change every
    quarter of an hour. Raises InstrumentError: NOT_PAIRED when the instrument refuses, STACK_DOWN without bluetoothd.
    """
    await radio.find(address)  # bluetoothd knows only what it has just seen
    device = device_path(address, adapter)
    bus = await _bus()
    try:
        bus.export(AGENT_PATH, PairingAgent(device, passkey))
        await _call(bus, "/org/bluez", "org.bluez.AgentManager1", "RegisterAgent", "os", [AGENT_PATH, CAPABILITY])
        try:
            async with radio.alone():
                await _call(bus, device, "org.bluez.Device1", "Pair", seconds=PAIR_S, harmless="AlreadyExists")
            trust = ["org.bluez.Device1", "Trusted", Variant("b", value=True)]
            await _call(bus, device, PROPERTIES, "Set", "ssv", trust)
            (identity,) = await _call(bus, device, PROPERTIES, "Get", "ss", ["org.bluez.Device1", "Address"])
            return str(identity.value).upper()
        finally:
            await _call(bus, "/org/bluez", "org.bluez.AgentManager1", "UnregisterAgent", "o", [AGENT_PATH])
    finally:
        bus.disconnect()


async def unpair(address: str, *, adapter: str = "hci0") -> None:
    """Forget the bond with `address`; forgetting what was never known is harmless."""
    bus = await _bus()
    try:
        path = f"/org/bluez/{adapter}"
        device = device_path(address, adapter)
        await _call(bus, path, "org.bluez.Adapter1", "RemoveDevice", "o", [device], harmless="DoesNotExist")
    finally:
        bus.disconnect()


def device_path(address: str, adapter: str) -> str:
    """Where bluetoothd keeps a device on the bus."""
    return f"/org/bluez/{adapter}/dev_{address.upper().replace(':', '_')}"


async def _bus() -> MessageBus:
    try:
        async with bounded("system bus", CALL_S):
            return await MessageBus(bus_type=BusType.SYSTEM).connect()
    except InstrumentError as error:
        raise InstrumentError(InstrumentReason.STACK_DOWN, error.detail) from error


async def _call(
    bus: MessageBus,
    path: str,
    interface: str,
    member: str,
    signature: str = "",
    body: list[Any] | None = None,
    *,
    seconds: float = CALL_S,
    harmless: str = "",
) -> list[Any]:
    """What it answers; nothing when it fails in the way that is `harmless`."""
    message = Message(
        destination="org.bluez", path=path, interface=interface, member=member, signature=signature, body=body or []
    )
    async with bounded(member, seconds):
        reply = await bus.call(message)
    if reply.message_type is not MessageType.ERROR:
        return list(reply.body)
    name = (reply.error_name or "").removeprefix("org.bluez.Error.")
    if name == harmless:
        return []
    refused = name in REFUSALS
    down = "ServiceUnknown" in name or "UnknownObject" in name
    reason = (
        InstrumentReason.NOT_PAIRED if refused else InstrumentReason.STACK_DOWN if down else InstrumentReason.LINK_LOST
    )
    raise InstrumentError(reason, f"{member}: {name}")
