"""Bluetooth Low Energy: the only importer of bleak. One radio, one lock, one client per connection.

Measured on bluetoothd 5.66: it can die without bleak noticing, and a read that needs pairing can hang for 200 s. So
every operation has a timeout, every stream a silence limit, and scanning and connecting never overlap.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Self

from bleak import BleakClient, BleakScanner
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.client import BaseBleakClient
from bleak.backends.descriptor import BleakGATTDescriptor
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData, BaseBleakScanner
from bleak.backends.service import BleakGATTService, BleakGATTServiceCollection
from bleak.exc import BleakError
from bleak_retry_connector import BleakClientWithServiceCache, establish_connection

from agent.errors import InstrumentError, InstrumentReason
from agent.supervisor import end

__all__ = [
    "AdvertisementData",
    "BLEDevice",
    "BaseBleakClient",
    "BaseBleakScanner",
    "BleakClient",
    "BleakError",
    "BleakGATTCharacteristic",
    "BleakGATTDescriptor",
    "BleakGATTService",
    "BleakGATTServiceCollection",
    "Nearby",
    "Radio",
    "bounded",
]

OPERATION_S = 5.0
CONNECT_S = 20.0
SCAN_S, REST_S = 3.0, 0.2  # one scan window and the pause after it
SCAN_BESIDE_S, REST_BESIDE_S = 0.6, 2.4  # the same while streams run and need their air time


@contextlib.asynccontextmanager
async def bounded(what: str, seconds: float) -> AsyncIterator[None]:
    """Bound an operation in time and turn its library's errors into ours."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise InstrumentError(InstrumentReason.LINK_LOST, f"{what}: no answer in {seconds:g} s") from error
    except InstrumentError:
        raise
    except Exception as error:  # bleak lets its D-Bus library's own errors through
        text = str(error) or type(error).__name__
        unpaired = any(word in text for word in ("uthentication", "ncryption", "uthoriz"))
        reason = InstrumentReason.NOT_PAIRED if unpaired else InstrumentReason.LINK_LOST
        raise InstrumentError(reason, f"{what}: {text}") from error


@dataclass(frozen=True, slots=True)
class Nearby:
    """Something that advertises: its address, name and service UUIDs."""

    address: str
    name: str | None
    services: tuple[str, ...]


class Radio:
    """The one owner of the Bluetooth adapter: looks out for wanted addresses, connects one at a time.

    `scanner` and `client` are bleak backends, None for the platform's own.
    """

    def __init__(
        self,
        scanner: type[BaseBleakScanner] | None = None,
        client: type[BaseBleakClient] | None = None,
        *,
        close: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._scanner = scanner
        self._client = client
        self._close = close
        self._adapter = asyncio.Lock()
        self._wanted: dict[str, asyncio.Future[BLEDevice]] = {}
        self._seen = asyncio.Event()
        self._lookout: asyncio.Task[None] | None = None
        self._streams = 0

    @classmethod
    def bluez(cls) -> Self:
        """The machine's own adapter."""
        return cls()

    async def close(self) -> None:
        """Stop looking out, let go of the adapter."""
        if self._lookout:
            await end(self._lookout)
        if self._close:
            await self._close()

    async def find(self, address: str) -> BLEDevice:
        """Wait until `address` advertises; raise InstrumentError(STACK_DOWN) when the adapter cannot scan."""
        address = address.upper()
        found = self._wanted.get(address)
        if found is None:
            found = self._wanted[address] = asyncio.get_running_loop().create_future()
        if self._lookout is None or self._lookout.done():
            self._lookout = asyncio.create_task(self._look_out(), name="radio lookout")
        try:
            return await asyncio.shield(found)
        finally:
            if self._wanted.get(address) is found:
                del self._wanted[address]

    async def nearby(self, seconds: float) -> list[Nearby]:
        """What advertises within `seconds`, alone on the adapter; InstrumentError(STACK_DOWN) when it cannot scan."""
        seen: dict[str, Nearby] = {}

        def advertised(device: BLEDevice, data: AdvertisementData) -> None:
            known = seen.get(device.address)
            name = data.local_name or device.name or (known.name if known else None)
            services = {*data.service_uuids, *(known.services if known else ())}
            seen[device.address] = Nearby(device.address, name, tuple(sorted(services)))

        backend: dict[str, Any] = {"backend": self._scanner} if self._scanner else {}
        try:
            async with self._adapter, bounded("scan", seconds + OPERATION_S), BleakScanner(advertised, **backend):
                await asyncio.sleep(seconds)
        except InstrumentError as error:
            raise InstrumentError(InstrumentReason.STACK_DOWN, error.detail) from error
        return sorted(seen.values(), key=lambda one: one.address)

    async def _look_out(self) -> None:
        while self._wanted:
            self._seen.clear()
            scan_s, rest_s = (SCAN_BESIDE_S, REST_BESIDE_S) if self._streams else (SCAN_S, REST_S)
            try:
                async with self._adapter, asyncio.timeout(scan_s + OPERATION_S):
                    backend: dict[str, Any] = {"backend": self._scanner} if self._scanner else {}
                    async with BleakScanner(self._advertised, **backend):
                        with contextlib.suppress(TimeoutError):
                            async with asyncio.timeout(scan_s):
                                await self._seen.wait()
            except Exception as error:  # noqa: BLE001 (whatever it is, nobody may wait for ever)
                for waiting in self._wanted.values():
                    if not waiting.done():
                        waiting.set_exception(InstrumentError(InstrumentReason.STACK_DOWN, f"scan: {error}"))
                return
            if not self._seen.is_set():
                await asyncio.sleep(rest_s)
            await asyncio.sleep(0)

    def _advertised(self, device: BLEDevice, _data: AdvertisementData) -> None:
        waiting = self._wanted.pop(device.address.upper(), None)
        if waiting and not waiting.done():
            waiting.set_result(device)
            self._seen.set()

    def alone(self) -> asyncio.Lock:
        """The lock to hold for whatever neither a scan nor a connection may disturb."""
        return self._adapter

    @contextlib.contextmanager
    def streaming(self) -> Iterator[None]:
        """While a stream runs, scan in short windows only."""
        self._streams += 1
        try:
            yield
        finally:
            self._streams -= 1

    async def connect(self, device: BLEDevice, lost: Callable[[BleakClient], None]) -> BleakClient:
        """Connect with a new client, alone on the adapter; `lost` is called when the link drops."""
        backend: dict[str, Any] = {"backend": self._client} if self._client else {}
        async with self._adapter, bounded("connect", CONNECT_S):
            return await establish_connection(
                BleakClientWithServiceCache,
                device,
                device.name or device.address,
                disconnected_callback=lost,
                max_attempts=2,
                **backend,
            )
