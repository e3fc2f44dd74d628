"""Serial ports: the only importer of `serial`. One port, one driver, held exclusively, read by the event loop."""

import asyncio
import contextlib
import os
import select
import termios
from pathlib import Path

import serial

from agent.drivers.base import Announcer, Decoder, NowNs, Sink, boot_ns, until_read_s
from agent.errors import InstrumentError, InstrumentReason
from agent.model import Instrument, InstrumentState, Stream

READ_SIZE = 65536
POLL_S = 0.25


class SerialDriver:
    """Owns the port at `path` (best under /dev/serial/by-id) and feeds `decoder` with what arrives.

    `period_s`: how often the instrument speaks, None when it may be silent for ever (a scanner). `start`: bytes that
    make it speak, `repeat` what must be said again every `repeat_s`. Waits `patience_s` for an absent port, then
    raises NOT_FOUND.
    """

    def __init__(
        self,
        instrument: Instrument,
        path: str,
        decoder: Decoder,
        *,
        baud: int = 115200,
        parity: str = serial.PARITY_NONE,
        period_s: float | None = None,
        start: bytes = b"",
        repeat: bytes = b"",
        repeat_s: float = 10.0,
        patience_s: float = 30.0,
        now_ns: NowNs = boot_ns,
    ) -> None:
        self.instrument = instrument
        self.decoder = decoder
        self._path = Path(path)
        self._baud = baud
        self._parity = parity
        self._period_s = period_s
        self._start = start
        self._repeat = repeat
        self._repeat_s = repeat_s
        self._patience_s = patience_s
        self._now_ns = now_ns

    @property
    def streams(self) -> tuple[Stream, ...]:
        """The decoder's."""
        return self.decoder.streams

    async def run(self, sink: Sink) -> None:
        """Wait for the port, open it, read until it is gone or silent for too long."""
        announcer = Announcer(self.instrument.key, sink, self._now_ns, period_s=self._period_s)
        announcer.state(InstrumentState.CONNECTING)
        await self._present()
        port = self._open()
        try:
            self.decoder.resume()
            announcer.state(InstrumentState.READY)
            await self._read(port, announcer)
        finally:
            port.close()

    async def _present(self) -> None:
        for _ in range(max(1, round(self._patience_s / POLL_S))):
            if self._path.exists():
                return
            await asyncio.sleep(POLL_S)
        raise InstrumentError(InstrumentReason.NOT_FOUND, f"{self._path} is absent")

    def _open(self) -> serial.Serial:
        try:
            port = serial.Serial(str(self._path), self._baud, parity=self._parity, timeout=0, exclusive=True)
        except (OSError, termios.error) as error:  # pyserial's own errors are OSErrors
            reason = InstrumentReason.BUSY if "lock" in str(error) else InstrumentReason.CANNOT_OPEN
            raise InstrumentError(reason, f"{self._path}: {error}") from error
        try:
            port.reset_input_buffer()
            os.write(port.fileno(), self._start)
        except (OSError, termios.error) as error:  # unplugged again
            port.close()  # or its lock would be held for as long as somebody keeps the error
            raise InstrumentError(InstrumentReason.CANNOT_OPEN, f"{self._path}: {error}") from error
        return port

    async def _read(self, port: serial.Serial, announcer: Announcer) -> None:
        loop = asyncio.get_running_loop()
        fd = port.fileno()
        ended: asyncio.Future[str] = loop.create_future()

        def again() -> None:
            if ended.done():
                return
            if select.select([fd], [], [], 0)[0]:  # an empty read would look like the end
                readable()
            else:
                loop.add_reader(fd, readable)

        def readable() -> None:
            try:
                data = os.read(fd, READ_SIZE)
            except BlockingIOError:
                return
            except OSError as error:  # EIO: unplugged
                data, why = b"", str(error)
            else:
                why = "end of file"
            if data:
                try:
                    announcer.items(self.decoder.feed("serial", data, self._now_ns()))
                except Exception as error:  # noqa: BLE001 (a callback's error is nobody's: run() shall raise it)
                    loop.remove_reader(fd)
                    ended.set_exception(error)
                    return
                # The kernel keeps what comes meanwhile: waking for every few bytes costs more than it gives.
                loop.remove_reader(fd)
                loop.call_later(until_read_s(loop.time()), again)
            else:
                loop.remove_reader(fd)
                ended.set_result(why)

        loop.add_reader(fd, readable)
        repeating = asyncio.create_task(self._repeating(fd), name=f"{self.instrument.key} keep-alive")
        try:
            await announcer.watch(ended)
        finally:
            ended.cancel()
            loop.remove_reader(fd)
            repeating.cancel()
            await asyncio.gather(repeating, return_exceptions=True)

    async def _repeating(self, fd: int) -> None:
        """Say again what keeps the instrument speaking; a port that takes no bytes ends in silence, which is seen."""
        while self._repeat:
            await asyncio.sleep(self._repeat_s)
            with contextlib.suppress(OSError):
                os.write(fd, self._repeat)  # as much as it takes at once: pyserial would wait, and all others with it
