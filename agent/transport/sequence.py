"""Several sealed rows in one message: a CBOR sequence (RFC 8742) of byte strings, each the row's own bytes."""

from collections.abc import Iterable

from agent.errors import WireError

_TWO, _FOUR = 0x59, 0x5A  # a byte string's head with a length of two bytes, of four


def join(rows: Iterable[bytes]) -> bytes:
    """The rows one after the other, untouched."""
    return b"".join(_head(len(row)) + row for row in rows)


def _head(size: int) -> bytes:
    return bytes([_TWO]) + size.to_bytes(2) if size < 1 << 16 else bytes([_FOUR]) + size.to_bytes(4)


def split(data: bytes) -> list[bytes]:
    """The rows of a message; WireError when it is not what `join` gives."""
    rows, at = [], 0
    while at < len(data):
        width = {_TWO: 2, _FOUR: 4}.get(data[at], 0)
        size = int.from_bytes(data[at + 1 : at + 1 + width])
        head = data[at : at + 1 + width]
        at += len(head)
        if not width or not size or at + size > len(data) or head != _head(size):
            raise WireError("no sequence of rows")
        rows.append(data[at : at + size])
        at += size
    return rows
