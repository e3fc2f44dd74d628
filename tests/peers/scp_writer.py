"""An independent writer of SCP-ECG files: by the standard, bit by bit, sharing nothing with the reader."""

import itertools
import struct


def section(number: int, body: bytes, reserved: bytes = bytes(6)) -> bytes:
    """An independent writer of a section."""
    if len(body) % 2:
        body += b"\0"
    rest = struct.pack("<HIBB", number, 16 + len(body), 20, 20) + reserved + body
    return struct.pack("<H", crc_by_bits(rest)) + rest


def crc_by_bits(data: bytes) -> int:
    """CRC-CCITT bit by bit, as the standard's annex describes it."""
    value = 0xFFFF
    for byte in data:
        for place in range(7, -1, -1):
            top = value >> 15 ^ byte >> place & 1
            value = (value << 1 & 0xFFFF) ^ (0x1021 if top else 0)
    return value


def file_of(sections: dict[int, bytes]) -> bytes:
    """A file with these bodies: pointers for 0 to 11, as carts write them."""
    at = 6 + 16 + 10 * 12
    pointers, rest = [(0, 16 + 120, 7)], b""
    for number in range(1, 12):
        if number in sections:
            one = section(number, sections[number])
            pointers.append((number, len(one), at + len(rest) + 1))
            rest += one
        else:
            pointers.append((number, 0, 0))
    first = section(0, b"".join(struct.pack("<HII", *pointer) for pointer in pointers), b"SCPECG")
    body = struct.pack("<I", 6 + len(first) + len(rest)) + first + rest
    return struct.pack("<H", crc_by_bits(body)) + body


# The default table as annex C.3 lists it: (code as text, value); the last two are followed by 8 or 16 plain bits.
TABLE = {
    0: "0", 1: "100", -1: "101", 2: "1100", -2: "1101", 3: "11100", -3: "11101", 4: "111100", -4: "111101",
    5: "1111100", -5: "1111101", 6: "11111100", -6: "11111101", 7: "111111100", -7: "111111101", 8: "1111111100",
    -8: "1111111101",
}  # fmt: skip


def coded(numbers) -> bytes:
    """An independent Huffman coder."""
    text = ""
    for number in map(int, numbers):
        if number in TABLE:
            text += TABLE[number]
        elif -128 <= number < 128:
            text += "1111111110" + format(number & 0xFF, "08b")
        else:
            text += "1111111111" + format(number & 0xFFFF, "016b")
    text += "0" * (-len(text) % 16)  # even blocks, as most carts write them
    return bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8))


def differences(samples, order):
    """By the definition: d[n] = x[n] - x[n-1], and 2 of them; the first values are samples."""
    x = [int(v) for v in samples]
    if order == 0:
        return x
    if order == 1:
        return [x[0], *(b - a for a, b in itertools.pairwise(x))]
    return x[:2] + [x[n] - 2 * x[n - 1] + x[n - 2] for n in range(2, len(x))]


def tag(number: int, data: bytes) -> bytes:
    return bytes((number,)) + struct.pack("<H", len(data)) + data


DEVICE = bytes(8) + b"TEST-1" + bytes(20)
PATIENT = (
    tag(0, b"MARTIN\0") + tag(2, b"1234567890123\0") + tag(14, DEVICE) + tag(25, struct.pack("<HBB", 2026, 11, 21))
    + tag(26, bytes((14, 20, 5))) + tag(255, b"")
)  # fmt: skip


def bodies(leads: dict[int, list[int]], *, order=2, packed=True, unit_nv=2500, interval_us=2000, flags=0x04):
    blocks = [
        coded(differences(x, order)) if packed else struct.pack(f"<{len(x)}h", *differences(x, order))
        for x in leads.values()
    ]
    spans = b"".join(struct.pack("<IIB", 1, len(x), number) for number, x in leads.items())
    sections = {
        1: PATIENT,
        3: bytes((len(leads), flags)) + spans,
        6: struct.pack("<HHBB", unit_nv, interval_us, order, 0)
        + b"".join(struct.pack("<H", len(block)) for block in blocks)
        + b"".join(blocks),
    }
    return sections | ({2: struct.pack("<H", 19999)} if packed else {})


LEADS = {1: [10, 12, 15, 15, 11, -300], 2: [0, -1, -1, 400, 399, 397]}
WHOLE = file_of(bodies(LEADS))
