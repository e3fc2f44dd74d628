# Ref: own text format, made to be read in a diff: one line per piece of bytes as it arrived.
"""Captures: what an instrument sent, as text, and playing it back through the same decoder.

    # besace capture 1
    # instrument: healthypi-4
    0.000 serial 0afa140002f401...
    0.016 serial ...

Seconds since the first piece, channel, bytes in hex. Other lines beginning with `#` are remarks.
"""

from collections.abc import Callable, Iterable, Iterator

from agent.drivers.base import Decoder, DecoderCounters, Item
from agent.model import Stream

HEADER = "# besace capture 1"
INSTRUMENT = "# instrument: "


class CaptureError(ValueError):
    """A line that is no part of a capture."""


class Recording:
    """A decoder that also writes down, line by line, what it is fed."""

    def __init__(self, decoder: Decoder, instrument: str, write: Callable[[str], object]) -> None:
        self._decoder = decoder
        self._write = write
        self._began_ns: int | None = None
        write(f"{HEADER}\n{INSTRUMENT}{instrument}\n")

    @property
    def counters(self) -> DecoderCounters:
        """The decoder's."""
        return self._decoder.counters

    @property
    def streams(self) -> tuple[Stream, ...]:
        """The decoder's."""
        return self._decoder.streams

    def resume(self) -> None:
        """A new link."""
        self._write("# link resumed\n")
        self._decoder.resume()

    def feed(self, channel: str, data: bytes, t_ns: int) -> list[Item]:
        """Write down, then decode."""
        if self._began_ns is None:
            self._began_ns = t_ns
        self._write(f"{(t_ns - self._began_ns) / 1e9:.3f} {channel} {data.hex()}\n")
        return self._decoder.feed(channel, data, t_ns)


def instrument_of(lines: Iterable[str]) -> str:
    """The catalogue key a capture names; raises CaptureError when it names none."""
    for line in lines:
        if line.startswith(INSTRUMENT):
            return line.removeprefix(INSTRUMENT).strip()
    raise CaptureError("no line '# instrument: KEY'")


def replay(lines: Iterable[str], decoder: Decoder, began_ns: int = 0) -> Iterator[list[Item]]:
    """Feed a capture to a decoder; yields what each line gives. Raises CaptureError with the line's number."""
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            if line.startswith("# link resumed"):
                decoder.resume()
            continue
        try:
            seconds, channel, text = line.split()
            t_ns, data = began_ns + round(float(seconds) * 1e9), bytes.fromhex(text)
        except ValueError as error:
            raise CaptureError(f"line {number}: {line.strip()[:60]!r}") from error
        yield decoder.feed(channel, data, t_ns)
