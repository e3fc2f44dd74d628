"""The project's CBOR: a small deterministic subset, written and read strictly.

Values are int (64-bit magnitude), bytes, str, list, dict with int keys, bool and None, nested at most 8 deep. The
form is RFC 8949 section 4.2.1: shortest heads, definite lengths, map keys sorted by their encoding. No floats, no
tags, no other simple value. Thus one value has one encoding, and `dumps(loads(data)) == data` for all that is read.

The reader builds nothing that it has not checked: no tag ever makes an object, no declared length is believed
beyond the bytes that are there, recursion ends at `max_depth`. It is one pass in plain Python, since checking the
heads in front of a C decoder and decoding afterwards costs the same and trusts more.
"""

from collections.abc import Callable
from struct import Struct

from agent.errors import WireError

MAX_DEPTH = 8
_UINT, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = range(8)
_INLINE = 24  # arguments below it stand in the head's first byte
_FORMS = {24: Struct(">BB"), 25: Struct(">BH"), 26: Struct(">BI"), 27: Struct(">BQ")}
_LEAST = {24: _INLINE, 25: 1 << 8, 26: 1 << 16, 27: 1 << 32}  # what needs the longer head
_SIMPLES = {20: False, 21: True, 22: None}
_WORDS = {False: b"\xf4", True: b"\xf5", None: b"\xf6"}


def dumps(obj: object, *, max_depth: int = MAX_DEPTH) -> bytes:
    """Return the one encoding of `obj`; ValueError for what the subset cannot say."""
    out = bytearray()
    _write(obj, out.extend, max_depth)
    return bytes(out)


def loads(data: bytes, *, max_bytes: int, max_depth: int = MAX_DEPTH) -> object:
    """Return the one value that `data` holds; WireError for anything `dumps` does not write.

    Arrays come back as lists. `max_bytes` is checked before anything is read.
    """
    if len(data) > max_bytes:
        raise WireError(f"{len(data)} bytes of CBOR, at most {max_bytes} are read")
    value, end = _read(data, 0, max_depth)
    if end != len(data):
        raise WireError("bytes after the CBOR value")
    return value


def _head(major: int, argument: int) -> bytes:
    first = major << 5
    if argument < _INLINE:
        return bytes((first | argument,))
    if argument < 1 << 8:
        return bytes((first | 24, argument))
    if argument < 1 << 16:
        return _FORMS[25].pack(first | 25, argument)
    if argument < 1 << 32:
        return _FORMS[26].pack(first | 26, argument)
    if argument < 1 << 64:
        return _FORMS[27].pack(first | 27, argument)
    raise ValueError("an integer beyond 64 bits")


def _write(obj: object, put: Callable[[bytes], None], depth: int) -> None:
    if obj is None or obj is True or obj is False:
        put(_WORDS[obj])
    elif isinstance(obj, int):
        put(_head(_UINT, obj) if obj >= 0 else _head(_NEGATIVE, -1 - obj))
    elif isinstance(obj, bytes):
        put(_head(_BYTES, len(obj)) + obj)
    elif isinstance(obj, str):
        text = obj.encode()
        put(_head(_TEXT, len(text)) + text)
    elif not isinstance(obj, list | tuple | dict):
        raise ValueError(f"{type(obj).__name__} has no place in this CBOR")
    elif not depth:
        raise ValueError("CBOR nested too deep")
    elif isinstance(obj, dict):
        if any(type(key) is not int for key in obj):
            raise ValueError("a CBOR map key that is no integer")
        put(_head(_MAP, len(obj)))
        for key in sorted(obj, key=lambda key: (key < 0, abs(key))):
            _write(key, put, 0)
            _write(obj[key], put, depth - 1)
    else:
        put(_head(_ARRAY, len(obj)))
        for item in obj:
            _write(item, put, depth - 1)


def _read(data: bytes, at: int, depth: int) -> tuple[object, int]:
    if at >= len(data):
        raise WireError("CBOR cut short")
    first = data[at]
    if first < _INLINE:  # most items are small integers
        return first, at + 1
    major, argument = first >> 5, first & 31
    at += 1
    if major == _SIMPLE and argument in _SIMPLES:
        return _SIMPLES[argument], at
    if major >= _TAG:
        raise WireError("a tag, a float or an unknown simple value")
    if argument >= _INLINE:
        argument, at = _read_argument(data, at - 1, argument)
    if major == _UINT:
        return argument, at
    if major == _NEGATIVE:
        return -1 - argument, at
    if argument > len(data) - at:  # every byte or item inside takes a byte at least
        raise WireError("CBOR cut short")
    if major == _BYTES:
        return data[at : at + argument], at + argument
    if major == _TEXT:
        return _read_text(data[at : at + argument]), at + argument
    if not depth:
        raise WireError("CBOR nested too deep")
    return (_read_array if major == _ARRAY else _read_map)(data, at, argument, depth - 1)


def _read_argument(data: bytes, at: int, info: int) -> tuple[int, int]:
    if info not in _FORMS:
        raise WireError("an indefinite length or a reserved head")
    form = _FORMS[info]
    if at + form.size > len(data):
        raise WireError("CBOR cut short")
    _, argument = form.unpack_from(data, at)
    if argument < _LEAST[info]:
        raise WireError("a head that is not the shortest")
    return argument, at + form.size


def _read_text(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError:
        raise WireError("text that is not UTF-8") from None


def _read_array(data: bytes, at: int, length: int, depth: int) -> tuple[list[object], int]:
    items: list[object] = []
    for _ in range(length):
        item, at = _read(data, at, depth)
        items.append(item)
    return items, at


def _read_map(data: bytes, at: int, length: int, depth: int) -> tuple[dict[int, object], int]:
    pairs: dict[int, object] = {}
    last = b""
    for _ in range(length):
        start = at
        key, at = _read(data, at, 0)
        if type(key) is not int:
            raise WireError("a map key that is no integer")
        if data[start:at] <= last:
            raise WireError("map keys repeated or out of order")
        last = data[start:at]
        pairs[key], at = _read(data, at, depth)
    return pairs, at
