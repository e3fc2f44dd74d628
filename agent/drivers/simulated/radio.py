"""A bleak backend over bumble: scan, connect, read, write, notify, indicate, through any HCI transport.

Only for demo and tests: the controller at the other end is virtual. Pairing and descriptors are left out.
"""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Callable
from typing import Any

from bumble.core import BaseBumbleError
from bumble.device import Device, Peer
from bumble.hci import Address, HCI_LE_Create_Connection_Cancel_Command
from bumble.transport import open_transport

from agent.drivers.base import until_read_s
from agent.drivers.ble import (
    AdvertisementData,
    BaseBleakClient,
    BaseBleakScanner,
    BleakError,
    BleakGATTCharacteristic,
    BleakGATTDescriptor,
    BleakGATTService,
    BleakGATTServiceCollection,
    BLEDevice,
    Radio,
)

HOST_ADDRESS = "F0:BE:5A:CE:00:01"
MTU = 517
POWER_ON_S = 5.0
PROPERTIES = {0x02: "read", 0x04: "write-without-response", 0x08: "write", 0x10: "notify", 0x20: "indicate"}


@contextlib.asynccontextmanager
async def as_bleak() -> AsyncIterator[None]:
    """Turn bumble's errors into bleak's; a request that bumble cancels is no cancellation of ours."""
    try:
        yield
    except BaseBumbleError as error:
        raise BleakError(str(error) or type(error).__name__) from error
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task and task.cancelling():
            raise
        raise BleakError("disconnected") from None


class BumbleHost:
    """A Bluetooth host on `transport`, opened when first needed and anew when lost."""

    def __init__(self, transport: str) -> None:
        self._spec = transport
        self._transport: Any = None
        self._device: Any = None
        self._opening = asyncio.Lock()
        self.clients: dict[int, _Client] = {}
        self.scanner: type[BaseBleakScanner] = type("BumbleScanner", (_Scanner,), {"host": self})
        self.client: type[BaseBleakClient] = type("BumbleClient", (_Client,), {"host": self})

    async def device(self) -> Any:
        """The powered-on bumble device."""
        async with self._opening:
            if self._device is None:
                await self._open()
            return self._device

    async def _open(self) -> None:
        try:
            self._transport = await open_transport(self._spec)
        except OSError as error:
            raise BleakError(f"no controller at {self._spec}: {error}") from error
        device = Device.with_hci("besace", Address(HOST_ADDRESS), self._transport.source, self._transport.sink)
        link = getattr(self._transport.sink, "transport", None)
        self._transport.source.set_packet_sink(_Shortcut(device.host, self.clients, link))
        device.once("flush", self._lost)
        async with as_bleak():
            try:
                async with asyncio.timeout(POWER_ON_S):
                    await device.power_on()
            except TimeoutError as error:
                await self.close()
                raise BleakError(f"no answer from the controller at {self._spec}") from error
        self._device = device

    def _lost(self) -> None:
        """The transport is gone, and every link with it."""
        self._device = None

    async def close(self) -> None:
        """Let go of the controller."""
        self._device = None
        if self._transport:
            await self._transport.close()
            self._transport = None


class _Shortcut:
    """Stands before bumble's host and hands whole notifications straight to their subscriber.

    The host turns every packet into text, for a log that is off: at the oximeter's 25 notifications a second that is
    1 % of a core, spent by a radio that no real bag carries. Every other packet goes bumble's own way. After a
    notification the link is read again at the moment all transports are, as a real radio's controller collects what
    comes in a connection interval.
    """

    # H4 type, connection and flags, length; L2CAP length, channel; ATT code, attribute
    NOTIFICATION = struct.Struct("<BHHHHBH")
    ACL_DATA, ATT_CHANNEL, HANDLE_VALUE_NOTIFICATION = 2, 4, 0x1B

    def __init__(self, host: Any, clients: "dict[int, _Client]", link: asyncio.ReadTransport | None) -> None:
        self._host = host
        self._clients = clients
        self._link = link

    def on_packet(self, packet: bytes) -> None:
        """Take an HCI packet from the controller."""
        if packet[0] == self.ACL_DATA and len(packet) >= self.NOTIFICATION.size:
            _, flags, size, inner, channel, code, attribute = self.NOTIFICATION.unpack_from(packet)
            whole = not flags & 0x1000 and size == inner + 4
            client = self._clients.get(flags & 0x0FFF)
            if whole and channel == self.ATT_CHANNEL and code == self.HANDLE_VALUE_NOTIFICATION and client is not None:
                client.notified(attribute, packet[self.NOTIFICATION.size :])
                self._rest()
                return
        self._host.on_packet(packet)

    def _rest(self) -> None:
        if self._link is not None and self._link.is_reading():
            self._link.pause_reading()
            loop = asyncio.get_running_loop()
            loop.call_later(until_read_s(loop.time()), self._link.resume_reading)

    def on_transport_lost(self) -> None:
        """Pass it on."""
        self._host.on_transport_lost()


class _Scanner(BaseBleakScanner):
    host: BumbleHost

    def __init__(self, detection_callback: Any, service_uuids: Any, scanning_mode: str, **kwargs: Any) -> None:
        super().__init__(detection_callback, service_uuids)
        del scanning_mode, kwargs
        self._device: Any = None

    async def start(self) -> None:
        """Begin to scan."""
        self.seen_devices = {}
        self._device = await self.host.device()
        self._device.on("advertisement", self._advertised)
        async with as_bleak():
            await self._device.start_scanning(filter_duplicates=False)

    async def stop(self) -> None:
        """End it."""
        self._device.remove_listener("advertisement", self._advertised)
        async with as_bleak():
            await self._device.stop_scanning()

    def _advertised(self, advertisement: Any) -> None:
        data = advertisement.data
        name = data.get(0x09) or data.get(0x08)
        address = advertisement.address.to_string(with_type_qualifier=False)
        found = AdvertisementData(
            local_name=name if isinstance(name, str) else None,
            manufacturer_data={},
            service_data={},
            service_uuids=[],
            tx_power=None,
            rssi=advertisement.rssi,
            platform_data=(advertisement,),
        )
        device = self.create_or_update_device(address, address, found.local_name, advertisement.address, found)
        self.call_detection_callbacks(device, found)


class _Client(BaseBleakClient):
    host: BumbleHost

    def __init__(self, address_or_ble_device: BLEDevice | str, **kwargs: Any) -> None:
        super().__init__(
            address_or_ble_device,
            disconnected_callback=kwargs.get("disconnected_callback"),
            timeout=kwargs.get("timeout", 10.0),
        )
        self._connection: Any = None
        self._peer: Any = None
        self._device: Any = None
        self._subscribers: dict[int, Callable[[bytes], None]] = {}

    @property
    def name(self) -> str:
        """The peer's address."""
        return self.address

    @property
    def mtu_size(self) -> int:
        """The negotiated MTU."""
        return int(self._connection.att_mtu) if self._connection else 23

    @property
    def is_connected(self) -> bool:
        """Whether the link stands."""
        return self._connection is not None

    async def connect(self, pair: bool, **kwargs: Any) -> None:
        """Connect and discover."""
        del pair, kwargs
        device = await self.host.device()
        async with as_bleak():
            self._connection = connection = await self._connected(device)
            try:
                connection.once("disconnection", self._disconnected)
                self.host.clients[connection.handle] = self
                device.on("flush", self._disconnected)
                self._device = device
                self._peer = Peer(connection)
                await self._peer.request_mtu(MTU)
                await self._peer.discover_services()
                for service in self._peer.services:
                    await service.discover_characteristics()
                self.services = self._collection()
            except BaseException:
                await self.disconnect()
                raise

    async def _connected(self, device: Any) -> Any:
        """Connect; when cancelled, take the attempt back before giving up the adapter."""
        connecting = asyncio.ensure_future(device.connect(self.address, timeout=None))
        try:
            return await asyncio.shield(connecting)
        except asyncio.CancelledError:
            await device.send_sync_command(HCI_LE_Create_Connection_Cancel_Command())
            with contextlib.suppress(BaseBumbleError):
                await (await connecting).disconnect()  # it came about all the same
            raise

    def _collection(self) -> BleakGATTServiceCollection:
        collection = BleakGATTServiceCollection()
        for service in self._peer.services:
            shown = BleakGATTService(service, service.handle, uuid_text(service.uuid))
            collection.add_service(shown)
            for characteristic in service.characteristics:
                collection.add_characteristic(
                    BleakGATTCharacteristic(
                        characteristic,
                        characteristic.handle,
                        uuid_text(characteristic.uuid),
                        [word for bit, word in PROPERTIES.items() if int(characteristic.properties) & bit],  # type: ignore[misc]
                        lambda: self.mtu_size - 3,
                        shown,
                    )
                )
        return collection

    def _disconnected(self, *_: Any) -> None:
        if self._connection is None:
            return
        self.host.clients.pop(self._connection.handle, None)
        self._connection = None
        self.services = None
        self._device.remove_listener("flush", self._disconnected)
        if self._disconnected_callback:
            self._disconnected_callback()

    async def disconnect(self) -> None:
        """End the link."""
        connection = self._connection
        if connection is None:
            return
        self._disconnected_callback = None
        async with as_bleak():
            await connection.disconnect()
        self._disconnected()

    async def pair(self, *args: Any, **kwargs: Any) -> None:
        """Not offered by the rig."""
        raise NotImplementedError

    async def unpair(self) -> None:
        """Not offered by the rig."""
        raise NotImplementedError

    async def read_gatt_char(
        self, characteristic: BleakGATTCharacteristic, *, use_cached: bool = False, **kwargs: Any
    ) -> bytearray:
        """Read a value."""
        del use_cached, kwargs
        async with as_bleak():
            return bytearray(await self._peer.read_value(characteristic.obj))

    async def read_gatt_descriptor(
        self, descriptor: BleakGATTDescriptor, *, use_cached: bool = False, **kwargs: Any
    ) -> bytearray:
        """Not offered by the rig."""
        raise NotImplementedError

    async def write_gatt_char(self, characteristic: BleakGATTCharacteristic, data: Any, response: bool) -> None:
        """Write a value."""
        async with as_bleak():
            await self._peer.write_value(characteristic.obj, bytes(data), with_response=response)

    async def write_gatt_descriptor(self, descriptor: BleakGATTDescriptor, data: Any) -> None:
        """Not offered by the rig."""
        raise NotImplementedError

    async def start_notify(
        self, characteristic: BleakGATTCharacteristic, callback: Callable[[bytearray], None], **kwargs: Any
    ) -> None:
        """Subscribe to notifications, or indications where there are no notifications."""
        del kwargs

        def received(value: bytes) -> None:
            callback(bytearray(value))

        self._subscribers[characteristic.handle] = received
        async with as_bleak():
            await self._peer.subscribe(characteristic.obj, received)

    def notified(self, attribute: int, value: bytes) -> None:
        """Hand a notification to whoever subscribed to it."""
        if attribute in self._subscribers:
            self._subscribers[attribute](value)

    async def stop_notify(self, characteristic: BleakGATTCharacteristic) -> None:
        """End a subscription."""
        received = self._subscribers.pop(characteristic.handle, None)
        async with as_bleak():
            await self._peer.unsubscribe(characteristic.obj, received)


def uuid_text(uuid: Any) -> str:
    """A UUID in the 128-bit lower-case form that bleak uses."""
    text = str(uuid.to_hex_str("-")).lower()
    return text if "-" in text else f"0000{text}-0000-1000-8000-00805f9b34fb"


def radio(transport: str) -> Radio:
    """A Radio whose adapter is virtual, reached over HCI, e.g. "tcp-client:127.0.0.1:9000" (demo and tests)."""
    host = BumbleHost(transport)
    return Radio(host.scanner, host.client, close=host.close)
