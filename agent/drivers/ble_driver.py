"""One instrument over Bluetooth Low Energy: found, connected, asked who it is, listened to, watched for silence."""

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from agent.drivers.base import Announcer, Asking, Decoder, NowNs, Sink, WallClock, boot_ns, no_wall_clock
from agent.drivers.ble import (
    OPERATION_S,
    BleakClient,
    BleakError,
    BleakGATTCharacteristic,
    BLEDevice,
    Radio,
    bounded,
)
from agent.drivers.gatt.clock import clock_value, read_clock
from agent.errors import InstrumentError, InstrumentReason
from agent.model import Instrument, InstrumentState, Stream
from agent.supervisor import end

_log = logging.getLogger(__name__)

PROBE_S = 30.0
BATTERY = "2a19"
FIRMWARE = "2a26"
SERIAL = "2a25"


def uuid(short: str) -> str:
    """The 128-bit form of a 16-bit UUID; a long one as it is."""
    return short.lower() if len(short) > 4 else f"0000{short.lower()}-0000-1000-8000-00805f9b34fb"


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
            async with asyncio.timeout(self._patience_s):  # wait_for may swallow a cancellation
                return await self._radio.find(self._address)
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
            heard = asyncio.Event()
            await self._begin(client, announcer, ended, heard)
            announcer.ready()
            beside = [
                asyncio.create_task(part, name=f"{self.instrument.key} {name}")
                for name, part in (
                    ("identity", self._identify(client, announcer, ended)),
                    ("questions", self._ask_on(client, heard)),
                    ("keep-alive", self._repeating(client)),
                )
            ]
            streaming = self._radio.streaming() if self._profile.period_s else contextlib.nullcontext()
            try:
                with streaming:
                    await announcer.watch(ended)
            finally:
                await end(*beside)  # a radio stack's own wait_for may swallow one cancellation
                await asyncio.gather(*beside, return_exceptions=True)
        finally:
            with contextlib.suppress(InstrumentError):
                async with bounded("disconnect", OPERATION_S):
                    await client.disconnect()

    async def _begin(
        self, client: BleakClient, announcer: Announcer, ended: asyncio.Future[str], heard: asyncio.Event
    ) -> None:
        def receiver(channel: str) -> Callable[[BleakGATTCharacteristic, bytearray], None]:
            def received(_: BleakGATTCharacteristic, data: bytearray) -> None:
                try:
                    announcer.items(self.decoder.feed(channel, bytes(data), self._now_ns()))
                except Exception as error:  # noqa: BLE001 (a callback's error is nobody's: run() shall raise it)
                    if not ended.done():
                        ended.set_exception(error)
                heard.set()

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
            await _write(client, channel, command)

    async def _clock(self, client: BleakClient, announcer: Announcer, channel: str) -> None:
        """Say what time the instrument thinks it is, then set it where our own time is known."""
        if not _has(client, channel):
            return
        if (value := await self._value(client, channel)) is not None:
            shown = read_clock(value)
            announcer.event("clock", shown.isoformat() if shown is not None else "unknown")
        if (now := self._wall()) is not None:
            try:
                await _write(client, channel, clock_value(channel, now))
                announcer.event("clock_set", now.replace(microsecond=0, tzinfo=None).isoformat())
            except InstrumentError as error:
                _log.debug("instrument=%s clock not set: %s", self.instrument.key, error)

    async def _identify(self, client: BleakClient, announcer: Announcer, ended: asyncio.Future[str]) -> None:
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
                    await _write(client, channel, command)

    async def _ask_on(self, client: BleakClient, heard: asyncio.Event) -> None:
        """Write what the decoder asks for after what it heard; the next connection asks for what is not answered."""
        while isinstance(self.decoder, Asking):
            await heard.wait()
            heard.clear()
            for channel, command in self.decoder.commands():
                with contextlib.suppress(InstrumentError):
                    await _write(client, channel, command)

    async def _value(self, client: BleakClient, channel: str) -> bytes | None:
        try:
            if not _has(client, channel):
                return None
            async with bounded(f"read {channel}", OPERATION_S):
                return bytes(await client.read_gatt_char(uuid(channel)))
        except InstrumentError as error:
            _log.debug("instrument=%s %s", self.instrument.key, error)
            return None


async def _write(client: BleakClient, channel: str, value: bytes) -> None:
    async with bounded(f"write {channel}", OPERATION_S):
        await client.write_gatt_char(uuid(channel), value, response=True)


def _has(client: BleakClient, channel: str) -> bool:
    try:
        return client.services.get_characteristic(uuid(channel)) is not None
    except BleakError as error:  # the link went, and the services with it
        raise InstrumentError(InstrumentReason.LINK_LOST, str(error)) from error


def _text(value: bytes | None) -> str:
    return value.decode("utf-8", "replace").strip("\0 ") if value else ""
