"""Sound sources of the stethoscope: a sound card through PortAudio, or a local process on a socket.

The only importer of `sounddevice`. Both speak the frames of stethoscope.py to the same decoder.
"""

import asyncio
import contextlib
import socket
from importlib import import_module
from types import ModuleType
from typing import Any, Protocol

from agent.drivers.base import Announcer, Item, NowNs, Sink, boot_ns, until_read_s
from agent.drivers.decimate import RATES_HZ
from agent.drivers.stethoscope import CARD, COUNTED, HEADER, StethoscopeDecoder
from agent.errors import InstrumentError, InstrumentReason
from agent.model import Instrument, InstrumentState, Stream

READ_SIZE = 65536
PERIOD_S = 0.032
CARD_BUFFER_S = 1.0  # what PortAudio keeps while the loop is busy


class SoundSource(Protocol):
    """Where 16 kHz sound comes from."""

    async def open(self) -> None:
        """Begin; raise InstrumentError when it cannot."""

    async def read(self, decoder: StethoscopeDecoder) -> list[Item]:
        """Wait for the next sound and let `decoder` take it; raise InstrumentError when the source is gone."""

    def close(self) -> None:
        """End; harmless when not open."""


class SocketSource:
    """A local process that writes frames (see stethoscope.py) to a Unix socket at `path`."""

    def __init__(self, path: str, now_ns: NowNs = boot_ns) -> None:
        self._path = path
        self._now_ns = now_ns
        self._socket: socket.socket | None = None

    async def open(self) -> None:
        """Connect."""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.setblocking(False)  # noqa: FBT003 - the socket API
        try:
            await asyncio.get_running_loop().sock_connect(self._socket, self._path)
        except FileNotFoundError as error:
            self.close()
            raise InstrumentError(InstrumentReason.NOT_FOUND, f"{self._path} is absent") from error
        except OSError as error:
            self.close()
            raise InstrumentError(InstrumentReason.CANNOT_OPEN, f"{self._path}: {error}") from error

    async def read(self, decoder: StethoscopeDecoder) -> list[Item]:
        """Wait for the next bytes: about eight times a second, since the kernel keeps what comes meanwhile."""
        assert self._socket is not None
        await asyncio.sleep(until_read_s(asyncio.get_running_loop().time()))
        try:
            data = await asyncio.get_running_loop().sock_recv(self._socket, READ_SIZE)
        except OSError as error:
            raise InstrumentError(InstrumentReason.LINK_LOST, str(error)) from error
        if not data:
            raise InstrumentError(InstrumentReason.LINK_LOST, "end of file")
        items = decoder.feed(COUNTED, data, self._now_ns())
        if decoder.lost_sync:
            raise InstrumentError(InstrumentReason.UNEXPECTED, "not a sound stream")
        return items

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None


class CardSource:
    """The sound card whose name contains `name` ("" takes the system's default), one channel of 16 bits.

    It runs at the first rate of RATES_HZ it offers. PortAudio fills a buffer of its own; it is emptied about eight
    times a second, without a thread of ours. Samples are numbered as they come: what was lost is found by the decoder
    against the clock, since PortAudio's overflow flag is neither always set nor says how much.
    """

    def __init__(self, name: str, now_ns: NowNs = boot_ns) -> None:
        self._name = name
        self._now_ns = now_ns
        self._stream: Any = None
        self._channel = ""
        self._index = 0

    async def open(self) -> None:
        """Find the card and start it; PortAudio looks at the cards anew, so that one plugged in again is found."""
        self._stream = await asyncio.to_thread(self._open)

    def _open(self) -> Any:
        portaudio = _portaudio()
        try:
            portaudio._terminate()  # noqa: SLF001 - PortAudio lists the cards when it starts, and only then
            portaudio._initialize()  # noqa: SLF001
            number = self._find(portaudio)
            fs_hz = self._rate(portaudio, number)
            self._channel = f"{CARD}{fs_hz}"
            stream = portaudio.RawInputStream(
                samplerate=fs_hz, device=number, channels=1, dtype="int16", latency=CARD_BUFFER_S
            )
            stream.start()
        except portaudio.PortAudioError as error:
            raise InstrumentError(InstrumentReason.CANNOT_OPEN, f"{self._name or 'default card'}: {error}") from error
        return stream

    def _find(self, portaudio: ModuleType) -> int:
        cards = {i: card for i, card in enumerate(portaudio.query_devices()) if card["max_input_channels"] > 0}
        if not self._name:
            cards = {i: card for i, card in cards.items() if i == portaudio.default.device[0]}
        for i, card in cards.items():
            if self._name.casefold() in card["name"].casefold():
                return i
        present = ", ".join(repr(card["name"]) for card in cards.values()) or "none"
        raise InstrumentError(InstrumentReason.NOT_FOUND, f"no sound card {self._name!r}; present: {present}")

    def _rate(self, portaudio: ModuleType, number: int) -> int:
        for fs_hz in RATES_HZ:
            with contextlib.suppress(portaudio.PortAudioError):
                portaudio.check_input_settings(device=number, channels=1, dtype="int16", samplerate=fs_hz)
                return fs_hz
        offered = ", ".join(str(fs_hz) for fs_hz in RATES_HZ)
        raise InstrumentError(InstrumentReason.UNEXPECTED, f"{self._name!r} records at none of {offered} Hz")

    async def read(self, decoder: StethoscopeDecoder) -> list[Item]:
        """Wait a little, hand on all there is."""
        await asyncio.sleep(until_read_s(asyncio.get_running_loop().time()))
        try:
            n = self._stream.read_available
            data = bytes(self._stream.read(n)[0]) if n else b""
        except _portaudio().PortAudioError as error:
            raise InstrumentError(InstrumentReason.LINK_LOST, str(error)) from error
        if not n:
            return []
        index, self._index = self._index, self._index + n
        return decoder.feed(self._channel, HEADER.pack(index, n) + data, self._now_ns())

    def close(self) -> None:
        """Stop the card and let go of it."""
        if self._stream is not None:
            with contextlib.suppress(_portaudio().PortAudioError):
                self._stream.abort()
                self._stream.close()
        self._stream = None


class SoundDriver:
    """Reads a source until it is gone or silent for too long."""

    def __init__(
        self, instrument: Instrument, source: SoundSource, decoder: StethoscopeDecoder, *, now_ns: NowNs = boot_ns
    ) -> None:
        self.instrument = instrument
        self.decoder = decoder
        self._source = source
        self._now_ns = now_ns

    @property
    def streams(self) -> tuple[Stream, ...]:
        """The decoder's."""
        return self.decoder.streams

    async def run(self, sink: Sink) -> None:
        """Open the source, hand on its sound."""
        announcer = Announcer(self.instrument.key, sink, self._now_ns, period_s=PERIOD_S)
        announcer.state(InstrumentState.CONNECTING)
        await self._source.open()
        self.decoder.resume()
        announcer.state(InstrumentState.READY)
        ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        reading = asyncio.create_task(self._read(announcer), name=f"{self.instrument.key} read")
        reading.add_done_callback(lambda _: None if ended.done() else ended.set_result("source ended"))
        try:
            await announcer.watch(ended)
        except InstrumentError:
            if reading.done() and not reading.cancelled():
                reading.result()  # its own error says more
            raise
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            self._source.close()

    async def _read(self, announcer: Announcer) -> None:
        while True:
            announcer.items(await self._source.read(self.decoder))


def source_at(where: str, now_ns: NowNs = boot_ns) -> SoundSource:
    """The source at "card:NAME" or "pcm:PATH"."""
    if where.startswith("card:"):
        return CardSource(where.removeprefix("card:"), now_ns)
    return SocketSource(where.removeprefix("pcm:"), now_ns)


def _portaudio() -> ModuleType:
    """The library, loaded when first needed: a bag without a sound card never pays for it."""
    try:
        return import_module("sounddevice")
    except ImportError as error:
        raise InstrumentError(
            InstrumentReason.STACK_DOWN, "sounddevice is missing: pip install 'besace[sound]'"
        ) from error
    except OSError as error:  # the Python package is there, the C library is not
        raise InstrumentError(InstrumentReason.STACK_DOWN, f"{error}: sudo apt install libportaudio2") from error
