# Ref: own text format, made to be read in a diff: one line per piece of bytes as it arrived.
"""Captures: what an instrument sent, as text, and playing it back through the same decoder.

    # besace capture 1
    # instrument: healthypi-4
    0.000 serial 0afa140002f401...
    0.016 serial ...

Seconds since the first piece, channel, bytes in hex. `# expect` lines say what must come out: readings and events in
order, then each stream's samples. Other lines beginning with `#` are remarks.
"""

import zlib
from collections.abc import Callable, Iterable, Iterator
from difflib import unified_diff
from itertools import groupby

from agent.drivers.base import Asking, Decoder, Item
from agent.model import Gap, InstrumentEvent, Reading, SampleBlock, Scan, Stream

HEADER = "# besace capture 1"
INSTRUMENT = "# instrument: "
EXPECT = "# expect "
RESUMED = "# link resumed"
LONGEST = 200  # words of a line of samples; a longer one is told by its length and checksum


class CaptureError(ValueError):
    """A line that is no part of a capture."""


class Recording:
    """A decoder that also writes down, line by line, what it is fed."""

    def __init__(self, decoder: Decoder, instrument: str, write: Callable[[str], object]) -> None:
        self.counters = decoder.counters
        self._decoder = decoder
        self._write = write
        self._began_ns: int | None = None
        write(f"{HEADER}\n{INSTRUMENT}{instrument}\n")

    @property
    def streams(self) -> tuple[Stream, ...]:
        """The decoder's."""
        return self._decoder.streams

    def resume(self) -> None:
        """A new link; the first is no news."""
        if self._began_ns is not None:
            self._write(f"{RESUMED}\n")
        self._decoder.resume()

    def feed(self, channel: str, data: bytes, t_ns: int) -> list[Item]:
        """Write down, then decode."""
        if self._began_ns is None:
            self._began_ns = t_ns
        self._write(f"{(t_ns - self._began_ns) / 1e9:.3f} {channel} {data.hex()}\n")
        return self._decoder.feed(channel, data, t_ns)

    def commands(self) -> tuple[tuple[str, bytes], ...]:
        """The decoder's; none when it asks nothing."""
        return self._decoder.commands() if isinstance(self._decoder, Asking) else ()

    @property
    def lost_sync(self) -> bool:
        """The decoder's, where it can tell (a sound socket's)."""
        return bool(getattr(self._decoder, "lost_sync", False))


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
            if line.startswith(RESUMED):
                decoder.resume()
            continue
        try:
            seconds, channel, text = line.split()
            t_ns, data = began_ns + round(float(seconds) * 1e9), bytes.fromhex(text)
        except ValueError as error:
            raise CaptureError(f"line {number}: {line.strip()[:60]!r}") from error
        yield decoder.feed(channel, data, t_ns)


def outcome(items: Iterable[Item], streams: Iterable[Stream]) -> list[str]:
    """Items in the words of `# expect` lines: readings and events in order, then each stream's samples and gaps."""
    items = list(items)
    lines = []
    for item in items:
        if isinstance(item, Reading):
            number = "-" if item.value is None else f"{item.number:g}"
            word = item.reason.value if item.reason else item.unit.value
            lines.append(" ".join(("reading", item.kind.name, number, word, *item.flags)))
        elif isinstance(item, InstrumentEvent) and item.state is None:
            lines.append(f"event {item.what} {item.detail}".rstrip())
        elif isinstance(item, Scan):
            lines.append(f"scan {item.text}")
    for stream in streams:
        words: list[str] = []
        for item in items:
            if isinstance(item, SampleBlock) and item.stream == stream.name:
                words += map(str, item.samples.tolist())
            elif isinstance(item, Gap) and item.stream == stream.name:
                words.append(f"gap:{item.n}")
        if words:
            lines.append(_folded("samples", stream.name, words))
    return lines


def _folded(kind: str, name: str, words: list[str]) -> str:
    """A line of samples: runs of equal ones folded to `value*times`, a long line to its length and checksum."""
    if len(words) > LONGEST:
        return f"{kind} {name} {len(words)} words crc32 {zlib.crc32(' '.join(words).encode()):08x}"
    runs = [(word, len([*same])) for word, same in groupby(words)]
    return " ".join((kind, name, *(word if n == 1 else f"{word}*{n}" for word, n in runs)))


def expected(lines: Iterable[str]) -> list[str]:
    """What a capture's `# expect` lines say; empty when it has none."""
    found = [line.removeprefix(EXPECT).rstrip() for line in lines if line.startswith(EXPECT)]
    return [_unfolded(line) if line.startswith("samples ") else line for line in found]


def _unfolded(line: str) -> str:
    """A line of samples as `outcome` would write it, however it was folded by hand."""
    kind, name, *words = line.split()
    if words[1:2] == ["words"]:
        return line
    plain: list[str] = []
    for word in words:
        value, times, n = word.partition("*")
        plain += [value] * (int(n) if times else 1)
    return _folded(kind, name, plain)


def difference(found: Iterable[str], wanted: Iterable[str]) -> list[str]:
    """A diff from what a capture should give to what it gave; empty when they agree.

    Streams may come in any order, readings and events may not.
    """

    def ordered(lines: Iterable[str]) -> list[str]:
        return sorted(lines, key=lambda line: line if line.startswith("samples ") else "")

    return list(unified_diff(ordered(wanted), ordered(found), "expected", "given", lineterm="", n=1))
