"""Virtual Bluetooth: instruments as GATT servers, and one controller offered to another process over HCI on TCP."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any

from bumble import hci
from bumble.controller import Controller
from bumble.core import UUID, AdvertisingData, PhysicalTransport
from bumble.device import Device
from bumble.gatt import Characteristic, CharacteristicValue, Service
from bumble.hci import Address
from bumble.host import Host
from bumble.link import LocalLink
from bumble.ll import TerminateInd
from bumble.transport.common import AsyncPipeSink, StreamPacketSource

ADVERTISE_MS = 50
MOST_QUEUED = 1 << 18  # bytes waiting for a host that does not read; beyond it instruments drop samples


class Link(LocalLink):  # type: ignore[misc]
    """bumble's link, stamping data with the address its connection was made with, not the sender's random address."""

    def send_acl_data(
        self, sender_controller: Any, destination_address: Any, transport: PhysicalTransport, data: bytes
    ) -> None:
        """Deliver an ACL PDU."""
        destination = self.find_le_controller(destination_address)
        connection = sender_controller.le_connections.get(destination_address)
        if destination is None or connection is None:
            return
        asyncio.get_running_loop().call_soon(destination.on_link_acl_data, connection.self_address, transport, data)

    def send_ll_control_pdu(self, sender_address: Any, receiver_address: Any, packet: Any) -> None:
        """Deliver a control PDU; to nobody when the peer is gone."""
        if receiver := self.find_le_controller(receiver_address):
            asyncio.get_running_loop().call_soon(receiver.on_ll_control_pdu, sender_address, packet)


class RigController(Controller):  # type: ignore[misc]
    """bumble's controller, with a reset that resets and a connection attempt that can be cancelled."""

    pending_le_connection: Any

    def drop_links(self, reason: int = hci.HCI_CONNECTION_TIMEOUT_ERROR) -> None:
        """End every connection, as when the power goes."""
        for connection in list(self.le_connections.values()):
            connection.send_ll_control_pdu(TerminateInd(reason))
            self.on_le_disconnected(connection, reason)

    def quieten(self) -> None:
        """Back to the state after power-on."""
        self.drop_links()
        self.pending_le_connection = None
        self.le_scan_enable = False
        self.le_legacy_advertiser.stop()
        for advertising in self.advertising_sets.values():
            advertising.stop()
        self.advertising_sets.clear()

    def on_hci_reset_command(self, _command: Any) -> Any:
        """Core 5.4 vol 4 E 7.3.2."""
        self.quieten()
        return hci.HCI_StatusReturnParameters(hci.HCI_ErrorCode.SUCCESS)

    def on_hci_le_create_connection_cancel_command(self, _command: Any) -> Any:
        """Core 5.4 vol 4 E 7.8.13."""
        pending, self.pending_le_connection = self.pending_le_connection, None
        if pending:
            self.send_hci_packet(
                hci.HCI_LE_Connection_Complete_Event(
                    status=hci.HCI_ErrorCode.UNKNOWN_CONNECTION_IDENTIFIER_ERROR,
                    connection_handle=0,
                    role=hci.Role.CENTRAL,
                    peer_address_type=pending.peer_address.address_type,
                    peer_address=pending.peer_address,
                    connection_interval=0,
                    peripheral_latency=0,
                    supervision_timeout=0,
                    central_clock_accuracy=0,
                )
            )
        return hci.HCI_StatusReturnParameters(hci.HCI_ErrorCode.SUCCESS)


class _HciConnection(asyncio.Protocol):
    """A host at the other end of the TCP connection: the newest one has the controller."""

    def __init__(self, server: "HciServer") -> None:
        self._server = server
        self._source = StreamPacketSource()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A host came."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._source.set_packet_sink(self._server.controller)
        self._server.attach(self)

    def data_received(self, data: bytes) -> None:
        """HCI packets from the host."""
        self._source.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """The host died or left."""
        del exc
        self._server.detach(self)

    def on_packet(self, packet: bytes) -> None:
        """HCI packets to the host."""
        if self.transport and not self.transport.is_closing():
            self.transport.write(packet)


class HciServer:
    """Offers one controller of `link` on a loopback TCP port, again and again."""

    def __init__(self, link: Link) -> None:
        self.controller = RigController("offered", link=link, public_address="00:00:5E:00:53:01")
        self._connection: _HciConnection | None = None
        self._server: asyncio.Server | None = None

    async def start(self) -> int:
        """Listen; return the port."""
        self._server = await asyncio.get_running_loop().create_server(lambda: _HciConnection(self), "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def queued(self) -> int:
        """Bytes that wait for the host to read."""
        transport = self._connection.transport if self._connection else None
        return transport.get_write_buffer_size() if transport else 0

    def attach(self, connection: _HciConnection) -> None:
        """A host connected: it takes the place of any older one."""
        if self._connection and self._connection.transport:
            self._connection.transport.abort()
        self._connection = connection
        self.controller.quieten()
        self.controller.set_packet_sink(connection)

    def detach(self, connection: _HciConnection) -> None:
        """A host left: its links drop."""
        if self._connection is connection:
            self._connection = None
            self.controller.set_packet_sink(None)
            self.controller.quieten()

    def close(self) -> None:
        """Stop listening, drop the host."""
        if self._server:
            self._server.close()
        if self._connection and self._connection.transport:
            self._connection.transport.abort()


def reading(uuid: str, value: bytes) -> Characteristic:
    """A characteristic to read."""
    return Characteristic(UUID(uuid), Characteristic.READ, Characteristic.READABLE, value)


def readable_and_writable(uuid: str, value: bytes) -> Characteristic:
    """A characteristic to read and write."""
    properties = Characteristic.READ | Characteristic.WRITE
    return Characteristic(UUID(uuid), properties, Characteristic.READABLE | Characteristic.WRITEABLE, value)


def own_clock(uuid: str, shown: Callable[[], bytes]) -> Characteristic:
    """An instrument's clock: read as `shown` gives it, taken as set whatever is written."""
    properties = Characteristic.READ | Characteristic.WRITE
    permissions = Characteristic.READABLE | Characteristic.WRITEABLE
    value = CharacteristicValue(read=lambda _: shown(), write=lambda _connection, _value: None)
    return Characteristic(UUID(uuid), properties, permissions, value)


def notifying(uuid: str) -> Characteristic:
    """A characteristic that notifies."""
    return Characteristic(UUID(uuid), Characteristic.NOTIFY, 0, b"")


def indicating(uuid: str) -> Characteristic:
    """A characteristic that indicates."""
    return Characteristic(UUID(uuid), Characteristic.INDICATE, 0, b"")


def about(serial: str, firmware: str, battery_pct: int) -> list[Service]:
    """What an instrument says of itself: device information and battery services."""
    return [
        Service(UUID("180A"), [reading("2A25", serial.encode()), reading("2A26", firmware.encode())]),
        Service(UUID("180F"), [reading("2A19", bytes((battery_pct,)))]),
    ]


class Peripheral:
    """One instrument: a GATT server that advertises whenever it is plugged and not connected."""

    def __init__(self, link: Link, name: str, address: str, service: str, services: Sequence[Service]) -> None:
        self.controller = RigController(name, link=link)
        self.device = Device(
            name=name, address=Address(address), host=Host(self.controller, AsyncPipeSink(self.controller))
        )
        self.device.add_services(list(services))
        self.device.advertising_data = bytes(
            AdvertisingData(
                [
                    (AdvertisingData.FLAGS, b"\x06"),
                    (AdvertisingData.COMPLETE_LOCAL_NAME, name.encode()),
                    (
                        AdvertisingData.COMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS
                        if len(service) == 4
                        else AdvertisingData.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS,
                        bytes(UUID(service)),
                    ),
                ]
            )
        )
        self.plugged = False
        self._moving = asyncio.Lock()  # the radio's advertising is begun and ended in several steps

    async def start(self) -> None:
        """Power on and advertise."""
        await self.device.power_on()
        await self.plug()

    async def plug(self) -> None:
        """Advertise, and again after every disconnection."""
        async with self._moving:
            self.plugged = True
            await self.device.start_advertising(
                advertising_interval_min=ADVERTISE_MS, advertising_interval_max=ADVERTISE_MS, auto_restart=True
            )

    async def unplug(self) -> None:
        """Go out of reach: links drop, no advertising."""
        async with self._moving:
            self.plugged = False
            await self.device.stop_advertising()
            self.controller.drop_links()

    def subscribed(self, characteristic: Characteristic) -> bool:
        """Whether somebody asked for this characteristic's values."""
        return any(
            handles.get(characteristic.handle, b"\0\0") != b"\0\0"
            for handles in self.device.gatt_server.subscribers.values()
        )

    async def notify(self, characteristic: Characteristic, value: bytes) -> bool:
        """Send a notification to whoever subscribed; False when nobody did."""
        if not self.subscribed(characteristic):
            return False
        await self.device.gatt_server.notify_subscribers(characteristic, value)
        return True

    async def indicate(self, characteristic: Characteristic, value: bytes) -> bool:
        """Send an indication and wait for its confirmation; False when nobody subscribed or confirmed."""
        if not self.subscribed(characteristic):
            return False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(3):
                await self.device.gatt_server.indicate_subscribers(characteristic, value)
                return True
        return False
