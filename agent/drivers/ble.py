"""Bluetooth Low Energy: the only importer of bleak. One radio, one lock, one client per connection.

Measured on bluetoothd 5.66: it can die without bleak noticing, and a read that needs pairing can hang for 200 s. So
every operation has a timeout, every stream a silence limit, and scanning and connecting never overlap.
"""

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn, Self

from bleak import BleakClient, BleakScanner
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.client import BaseBleakClient
from bleak.backends.descriptor import BleakGATTDescriptor
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData, BaseBleakScanner
from bleak.backends.service import BleakGATTService, BleakGATTServiceCollection
from bleak.exc import BleakError
from bleak_retry_connector import BleakClientWithServiceCache, establish_connection

from agent.drivers.base import Announcer, Asking, Decoder, NowNs, Sink, WallClock, boot_ns, no_wall_clock
from agent.drivers.gatt.clock import clock_value, read_clock
from agent.errors import InstrumentError, InstrumentReason
from agent.model import Instrument, InstrumentState, Stream

__all__ = [
    "AdvertisementData",
    "BLEDevice",
    "BaseBleakClient",
    "BaseBleakScanner",
    "BleDriver",
    "BleakError",
    "BleakGATTCharacteristic",
    "BleakGATTDescriptor",
    "BleakGATTService",
    "BleakGATTServiceCollection",
    "Nearby",
    "Profile",
    "Radio",
    "bounded",
]

_log = logging.getLogger(__name__)

OPERATION_S = 5.0
CONNECT_S = 20.0
PROBE_S = 30.0
SCAN_S, REST_S = 3.0, 0.2  # one scan window and the pause after it
SCAN_BESIDE_S, REST_BESIDE_S = 0.6, 2.4  # the same while streams run and need their air time
BATTERY = "2a19"
FIRMWARE = "2a26"
SERIAL = "2a25"


def uuid(short: str) -> str:
    """The 128-bit form of a 16-bit UUID; a long one as it is."""
    return short.lower() if len(short) > 4 else f"0000{short.lower()}-0000-1000-8000-00805f9b34fb"


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
            self._lookout.cancel()
            await asyncio.gather(self._lookout, return_exceptions=True)
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
                            await asyncio.wait_for(self._seen.wait(), scan_s)
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


@dataclass(frozen=True, slots=True)
class Profile:
    """What to do with a connected instrument: short or long UUIDs.

    `period_s`: how often it speaks, None for one that speaks when it has measured; `episodic`: it connects only to
    hand over a measurement and its going away is no fault; `clock`: the characteristic of its own clock; `repeat`:
    what must be said again every `repeat_s` for it to go on.
    """

    notify: tuple[str, ...]
    read: tuple[str, ...] = ()
    write: tuple[tuple[str, bytes], ...] = ()
    period_s: float | None = None
    episodic: bool = False
    clock: str | None = None
    repeat: tuple[tuple[str, bytes], ...] = ()
    repeat_s: float = 10.0


class BleDriver:
    """Owns the link to the instrument at `address` and feeds `decoder` with its notifications.

    A streaming instrument not heard of for `patience_s` is NOT_FOUND; an episodic one is waited for.
    """

    def __init__(
        self,
        instrument: Instrument,
        address: str,
        decoder: Decoder,
        profile: Profile,
        radio: Radio,
        *,
        patience_s: float = 30.0,
        now_ns: NowNs = boot_ns,
        wall: WallClock = no_wall_clock,
    ) -> None:
        self.instrument = instrument
        self.decoder = decoder
        self._wall = wall
        self._address = address
        self._profile = profile
        self._radio = radio
        self._patience_s = patience_s
        self._now_ns = now_ns

    @property
    def streams(self) -> tuple[Stream, ...]:
        """The decoder's."""
        return self.decoder.streams

    async def run(self, sink: Sink) -> None:
        """Find, connect, subscribe, hand on; an episodic instrument again and again."""
        announcer = Announcer(self.instrument.key, sink, self._now_ns, period_s=self._profile.period_s)
        if not self._profile.episodic:
            announcer.state(InstrumentState.CONNECTING)
            await self._session(await self._found(), announcer)
        while True:
            announcer.state(InstrumentState.READY)
            device = await self._radio.find(self._address)
            try:
                await self._session(device, announcer)
            except InstrumentError as error:
                if error.reason is not InstrumentReason.LINK_LOST:
                    raise
                _log.debug("instrument=%s went: %s", self.instrument.key, error.detail)

    async def _found(self) -> BLEDevice:
        try:
            return await asyncio.wait_for(self._radio.find(self._address), self._patience_s)
        except TimeoutError as error:
            raise InstrumentError(InstrumentReason.NOT_FOUND, f"{self._address} does not advertise") from error

    async def _session(self, device: BLEDevice, announcer: Announcer) -> NoReturn:
        """One connection, to its end."""
        ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def lost(_client: BleakClient) -> None:
            if not ended.done():
                ended.set_result("disconnected")

        client = await self._radio.connect(device, lost)
        try:
            self.decoder.resume()
            await self._begin(client, announcer, ended)
            announcer.state(InstrumentState.READY)
            asking = asyncio.create_task(self._ask(client, announcer, ended), name=f"{self.instrument.key} identity")
            repeating = asyncio.create_task(self._repeating(client), name=f"{self.instrument.key} keep-alive")
            streaming = self._radio.streaming() if self._profile.period_s else contextlib.nullcontext()
            try:
                with streaming:
                    await announcer.watch(ended)
            finally:
                asking.cancel()
                repeating.cancel()
                await asyncio.gather(asking, repeating, return_exceptions=True)
        finally:
            with contextlib.suppress(InstrumentError):
                async with bounded("disconnect", OPERATION_S):
                    await client.disconnect()

    async def _begin(self, client: BleakClient, announcer: Announcer, ended: asyncio.Future[str]) -> None:
        def receiver(channel: str) -> Callable[[BleakGATTCharacteristic, bytearray], None]:
            def received(_: BleakGATTCharacteristic, data: bytearray) -> None:
                try:
                    announcer.items(self.decoder.feed(channel, bytes(data), self._now_ns()))
                except Exception as error:  # noqa: BLE001 (a callback's error is nobody's: run() shall raise it)
                    if not ended.done():
                        ended.set_exception(error)

            return received

        for channel in self._profile.read:
            if (value := await self._value(client, channel)) is not None:
                announcer.items(self.decoder.feed(channel, value, self._now_ns()))
        if self._profile.clock:
            await self._clock(client, announcer, self._profile.clock)
        present = [channel for channel in self._profile.notify if _has(client, channel)]
        if not present:
            raise InstrumentError(InstrumentReason.UNEXPECTED, f"{self._address} is no {self.instrument.model}")
        for channel in present:
            async with bounded(f"subscribe {channel}", OPERATION_S):
                await client.start_notify(uuid(channel), receiver(channel))
        asked = self.decoder.commands() if isinstance(self.decoder, Asking) else ()
        for channel, command in (*self._profile.write, *asked):
            async with bounded(f"write {channel}", OPERATION_S):
                await client.write_gatt_char(uuid(channel), command, response=True)

    async def _clock(self, client: BleakClient, announcer: Announcer, channel: str) -> None:
        """Say what time the instrument thinks it is, then set it where our own time is known."""
        if not _has(client, channel):
            return
        if (value := await self._value(client, channel)) is not None:
            shown = read_clock(value)
            announcer.event("clock", shown.isoformat() if shown is not None else "unknown")
        if (now := self._wall()) is not None:
            try:
                async with bounded(f"write {channel}", OPERATION_S):
                    await client.write_gatt_char(uuid(channel), clock_value(channel, now), response=True)
                announcer.event("clock_set", now.replace(microsecond=0, tzinfo=None).isoformat())
            except InstrumentError as error:
                _log.debug("instrument=%s clock not set: %s", self.instrument.key, error)

    async def _ask(self, client: BleakClient, announcer: Announcer, ended: asyncio.Future[str]) -> None:
        """Read once per connection what the instrument says of itself; each part may be missing.

        Then, where silence proves nothing, ask again now and then whether the link still carries anything.
        """
        serial, firmware, battery = [await self._value(client, channel) for channel in (SERIAL, FIRMWARE, BATTERY)]
        self.instrument = dataclasses.replace(
            self.instrument,
            serial=_text(serial) or self.instrument.serial,
            firmware=_text(firmware) or self.instrument.firmware,
        )
        announcer.event("identity", f"serial={self.instrument.serial} firmware={self.instrument.firmware}")
        if battery:
            announcer.event("battery", str(battery[0]))
        answered = next((c for c, v in ((SERIAL, serial), (FIRMWARE, firmware), (BATTERY, battery)) if v), None)
        while self._profile.period_s is None and answered:
            await asyncio.sleep(PROBE_S)
            if await self._value(client, answered) is None and not ended.done():
                ended.set_result("no answer to a probe")

    async def _repeating(self, client: BleakClient) -> None:
        """Say again what keeps the instrument speaking; one that takes no writes ends in silence, which is seen."""
        while self._profile.repeat:
            await asyncio.sleep(self._profile.repeat_s)
            for channel, command in self._profile.repeat:
                with contextlib.suppress(InstrumentError):
                    async with bounded(f"write {channel}", OPERATION_S):
                        await client.write_gatt_char(uuid(channel), command, response=True)

    async def _value(self, client: BleakClient, channel: str) -> bytes | None:
        try:
            if not _has(client, channel):
                return None
            async with bounded(f"read {channel}", OPERATION_S):
                return bytes(await client.read_gatt_char(uuid(channel)))
        except InstrumentError as error:
            _log.debug("instrument=%s %s", self.instrument.key, error)
            return None


def _has(client: BleakClient, channel: str) -> bool:
    try:
        return client.services.get_characteristic(uuid(channel)) is not None
    except BleakError as error:  # the link went, and the services with it
        raise InstrumentError(InstrumentReason.LINK_LOST, str(error)) from error


def _text(value: bytes | None) -> str:
    return value.decode("utf-8", "replace").strip("\0 ") if value else ""
