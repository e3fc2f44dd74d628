# Ref: USB CDC-ACM badge scanner set to suffix CR/LF; badge text as base45 behind a prefix (RFC 9285).
"""The badge scanner: lines of text, of which only ours count."""

from agent.drivers.base import DecoderCounters, Item
from agent.model import Scan, Stream

PREFIX = b"BSC1:"
LONGEST = 512
DEBOUNCE_NS = 1_000_000_000
PRINTABLE = frozenset(range(0x20, 0x7F))


class ScannerDecoder:
    """A Scan per line that begins with BSC1:, at most 512 characters, the same one once a second at most."""

    def __init__(self, instrument: str) -> None:
        del instrument  # a Scan does not name its scanner: a bag has one
        self.counters = DecoderCounters()
        self._line = bytearray()
        self._too_long = False
        self._last = b""
        self._last_ns = 0

    @property
    def streams(self) -> tuple[Stream, ...]:
        """None."""
        return ()

    def resume(self) -> None:
        """Forget the cut line."""
        self._line.clear()
        self._too_long = False

    def feed(self, channel: str, data: bytes, t_ns: int) -> list[Item]:
        """Take bytes from the port."""
        del channel
        items: list[Item] = []
        *ended, rest = data.replace(b"\r", b"\n").split(b"\n")
        for piece in ended:
            self._extend(piece)
            items += self._end(t_ns)
        self._extend(rest)
        return items

    def _extend(self, piece: bytes) -> None:
        if len(self._line) + len(piece) > LONGEST:
            self._too_long = True
            self.counters.skipped_bytes += len(piece)
        else:
            self._line += piece

    def _end(self, t_ns: int) -> list[Item]:
        line, too_long = bytes(self._line), self._too_long
        self.resume()
        if not line and not too_long:
            return []  # between CR and LF
        if too_long or not line.startswith(PREFIX) or not PRINTABLE.issuperset(line):
            self.counters.damaged += 1
            return []
        self.counters.frames += 1
        repeated = line == self._last and t_ns - self._last_ns < DEBOUNCE_NS
        self._last, self._last_ns = line, t_ns
        return [] if repeated else [Scan(t_ns, line.decode("ascii"))]
