"""A file in pieces: cut on the bag, put together and checked at the hub.

Pieces of one file carry the SHA-256 of the whole, so they may come in any order and more than once, and a file that
is put together is the file that was cut or nothing.
"""

import hashlib
from dataclasses import dataclass, field

from agent.model import FilePart, Media
from agent.transport import wire

LONGEST = wire.FILE_PARTS * wire.FILE_PART_BYTES
"""Bytes of a file, at most."""


@dataclass(frozen=True, slots=True)
class WholeFile:
    """A file that came from an instrument, or was imported: `t_ns` of its first piece."""

    instrument: str
    t_ns: int
    media: Media
    digest: bytes
    data: bytes = field(repr=False)


def cut_file(instrument: str, t_ns: int, media: Media, data: bytes) -> list[FilePart]:
    """The pieces of a file; ValueError when it is empty or longer than LONGEST."""
    if not 0 < len(data) <= LONGEST:
        raise ValueError(f"a file of {len(data)} bytes, at most {LONGEST}")
    digest = hashlib.sha256(data).digest()
    pieces = [data[at : at + wire.FILE_PART_BYTES] for at in range(0, len(data), wire.FILE_PART_BYTES)]
    return [FilePart(instrument, t_ns, media, digest, part, len(pieces), piece) for part, piece in enumerate(pieces)]


@dataclass(slots=True)
class Assembly:
    """Takes pieces in any order; gives a file once its last piece is there and its digest is right.

    Pieces that contradict each other (another count, another kind, a wrong sum) are counted in `refused` and dropped.
    `most_bytes` bounds what is kept of unfinished files: the oldest go first.
    """

    most_bytes: int = 4 * LONGEST
    refused: int = 0
    _pieces: dict[bytes, dict[int, FilePart]] = field(default_factory=dict)
    _bytes: int = 0

    def take(self, piece: FilePart) -> WholeFile | None:
        """One piece; the whole file when this was the last one missing."""
        known = self._pieces.setdefault(piece.digest, {})
        first = next(iter(known.values()), piece)
        if piece.part >= piece.parts or (piece.parts, piece.media) != (first.parts, first.media):
            self.refused += 1
            if not known:
                del self._pieces[piece.digest]
            return None
        if piece.part in known:
            return None
        known[piece.part] = piece
        self._bytes += len(piece.data)
        if len(known) < piece.parts:
            self._make_room(piece.digest)
            return None
        self._forget(piece.digest)
        data = b"".join(known[part].data for part in range(piece.parts))
        if hashlib.sha256(data).digest() != piece.digest:
            self.refused += 1
            return None
        return WholeFile(piece.instrument, min(one.t_ns for one in known.values()), piece.media, piece.digest, data)

    def _make_room(self, but: bytes) -> None:
        while self._bytes > self.most_bytes and len(self._pieces) > 1:
            self._forget(next(digest for digest in self._pieces if digest != but))

    def _forget(self, digest: bytes) -> None:
        self._bytes -= sum(len(piece.data) for piece in self._pieces.pop(digest).values())
