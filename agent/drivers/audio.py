"""Sound sources of the stethoscope: sockets now, sound cards (PortAudio) behind the same seam."""

import asyncio
import socket
from typing import Protocol

from agent.drivers.base import Announcer, Item, NowNs, Sink, boot_ns
from agent.drivers.stethoscope import StethoscopeDecoder
from agent.errors import InstrumentError, InstrumentReason
from agent.model import Instrument, InstrumentState, Stream

READ_SIZE = 65536
READ_EVERY_S = 0.12
PERIOD_S = 0.032


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
        await asyncio.sleep(READ_EVERY_S)
        try:
            data = await asyncio.get_running_loop().sock_recv(self._socket, READ_SIZE)
        except OSError as error:
            raise InstrumentError(InstrumentReason.LINK_LOST, str(error)) from error
        if not data:
            raise InstrumentError(InstrumentReason.LINK_LOST, "end of file")
        items = decoder.feed("sound", data, self._now_ns())
        if decoder.lost_sync:
            raise InstrumentError(InstrumentReason.UNEXPECTED, "not a sound stream")
        return items

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None


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
