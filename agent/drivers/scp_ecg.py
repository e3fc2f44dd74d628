# Ref: EN 1064:2005+A1:2007 (SCP-ECG), 5.2 and 5.3 (file and section layout, CRC-CCITT), 5.4 (sections 0 to 3 and 6),
# annex C.3 (the default Huffman table).
"""SCP-ECG files: a resting 12-lead ECG as its maker's cart stored it, read strictly.

A file is a CRC, its length, and sections found through section 0's pointers, each with a CRC of its own. Section 1 says
what took it and when, 3 names the leads, 6 has the rhythm data: plain 16-bit numbers, or (where section 2 is there)
first or second differences in a Huffman code. Numbers are little endian, pointers count from 1.

Read: the default Huffman table, no, first and second differences, leads of their own lengths. Not read, and said so:
tables of the maker's own, reference beat subtraction (sections 4, 5), bimodal compression. The patient's name, number
and birth date stay unread: who it is, only the hub's side knows.
"""

import binascii
import struct
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from agent.model import Samples

LONGEST = 8 << 20
SECTION_HEAD = struct.Struct("<HHIBB6s")
POINTER = struct.Struct("<HII")
LEAD = struct.Struct("<IIB")
RHYTHM = struct.Struct("<HHBB")
POINTERS, PATIENT, HUFFMAN, LEADS, RHYTHM_DATA = 0, 1, 2, 3, 6
MARK = b"SCPECG"
DEFAULT_TABLE = 19999
REFERENCE_BEAT = 0x01
MOST_LEADS = 64
MOST_SAMPLES = 1 << 21  # of one lead: more than half an hour at 1 kHz

TAG_DEVICE, TAG_DATE, TAG_TIME, TAG_END = 14, 25, 26, 255
MODEL_AT, MODEL_SIZE = 8, 6

LEAD_NAMES = {
    1: "DI", 2: "DII", 3: "V1", 4: "V2", 5: "V3", 6: "V4", 7: "V5", 8: "V6", 9: "V7", 10: "V2R", 11: "V3R",
    12: "V4R", 13: "V5R", 14: "V6R", 15: "V7R", 16: "X", 17: "Y", 18: "Z", 61: "DIII", 62: "aVR", 63: "aVL",
    64: "aVF", 66: "V8", 67: "V9", 68: "V8R", 69: "V9R",
}  # fmt: skip
"""Lead numbers of table 5, as French paper prints them."""


class ScpError(ValueError):
    """The file is damaged or no SCP-ECG file: it must not be taken."""


class UnsupportedError(ScpError):
    """The file is whole, but its samples are stored in a way that is not read here."""


@dataclass(frozen=True, slots=True, eq=False)
class ScpLead:
    """One lead: samples in the cart's own integers, from sample `start` (0 is the recording's first)."""

    name: str
    start: int
    samples: Samples


@dataclass(frozen=True, slots=True)
class ScpRecording:
    """What a file holds: `value_uv = sample * gain_uv_per_lsb`; `taken_at` is the cart's own clock, ISO local time."""

    model: str
    taken_at: str | None
    fs_hz: float
    gain_uv_per_lsb: float
    leads: tuple[ScpLead, ...]


def parse_scp(data: bytes) -> ScpRecording:
    """Read a whole file; ScpError (UnsupportedError where only the samples cannot be read) and nothing else."""
    sections = _sections(data)
    model, taken_at = _acquisition(sections.get(PATIENT, b""))
    try:
        leads = _leads(sections[LEADS])
        rhythm = sections[RHYTHM_DATA]
    except KeyError as error:
        raise ScpError(f"section {error.args[0]} is missing") from None
    nanovolts, interval_us, blocks = _rhythm(rhythm, len(leads))
    coded = _coded(sections.get(HUFFMAN))
    order = rhythm[4]
    read = []
    for (name, start, length), block in zip(leads, blocks, strict=True):
        numbers = huffman(block, length) if coded else _plain(block, length)
        read.append(ScpLead(name, start, integrated(numbers, order)))
    return ScpRecording(model, taken_at, 1e6 / interval_us, nanovolts / 1000, tuple(read))


def crc(data: bytes) -> int:
    """CRC-CCITT as the standard has it: polynomial 0x1021, begun with 0xFFFF."""
    return binascii.crc_hqx(data, 0xFFFF)


def _sections(data: bytes) -> dict[int, bytes]:
    """The bodies of all sections but section 0, their lengths, numbers and CRCs checked."""
    if not 6 + SECTION_HEAD.size <= len(data) <= LONGEST:
        raise ScpError(f"{len(data)} bytes are no SCP-ECG file")
    said, length = struct.unpack_from("<HI", data)
    if length != len(data):
        raise ScpError(f"the file says {length} bytes and has {len(data)}")
    if said != crc(data[2:]):
        raise ScpError("the file's CRC is wrong: it is damaged")
    pointers = _section(data, POINTERS, 6, None)
    if SECTION_HEAD.unpack_from(data, 6)[5] != MARK or len(pointers) % POINTER.size:
        raise ScpError("section 0 is no list of pointers")
    found: dict[int, bytes] = {}
    for number, size, index in POINTER.iter_unpack(pointers):
        if number == POINTERS or not size:
            continue
        if number in found:
            raise ScpError(f"section {number} is listed twice")
        found[number] = _section(data, number, index - 1, size)
    return found


def _section(data: bytes, number: int, at: int, size: int | None) -> bytes:
    if at < 0 or at + SECTION_HEAD.size > len(data):
        raise ScpError(f"section {number} lies outside the file")
    said, own, length, *_ = SECTION_HEAD.unpack_from(data, at)
    if own != number or length < SECTION_HEAD.size or at + length > len(data) or (size is not None and size != length):
        raise ScpError(f"section {number} is not where the pointers say")
    if said != crc(data[at + 2 : at + length]):
        raise ScpError(f"the CRC of section {number} is wrong: it is damaged")
    return data[at + SECTION_HEAD.size : at + length]


def _acquisition(body: bytes) -> tuple[str, str | None]:
    """Model and time of section 1; every other tag is passed over unread."""
    tags: dict[int, bytes] = {}
    at = 0
    while at < len(body) and body[at] != TAG_END:
        if at + 3 > len(body):
            raise ScpError("section 1 ends inside a tag")
        tag, size = body[at], int.from_bytes(body[at + 1 : at + 3], "little")
        if at + 3 + size > len(body):
            raise ScpError(f"tag {tag} of section 1 is longer than the section")
        if tag in {TAG_DEVICE, TAG_DATE, TAG_TIME}:
            tags.setdefault(tag, body[at + 3 : at + 3 + size])
        at += 3 + size
    device = tags.get(TAG_DEVICE, b"")[MODEL_AT : MODEL_AT + MODEL_SIZE].split(b"\0")[0]
    model = "".join(c for c in device.decode("latin-1") if c.isprintable()).strip()
    return model, _taken_at(tags.get(TAG_DATE, b""), tags.get(TAG_TIME, b""))


def _taken_at(date: bytes, time: bytes) -> str | None:
    if len(date) != 4 or len(time) != 3:
        return None
    try:
        return datetime(int.from_bytes(date[:2], "little"), date[2], date[3], *time).isoformat()  # noqa: DTZ001
    except ValueError:
        return None


def _leads(body: bytes) -> list[tuple[str, int, int]]:
    """Name, first sample (from 0) and length of each lead."""
    if len(body) < 2 or not 0 < body[0] <= MOST_LEADS or len(body) < 2 + LEAD.size * body[0]:
        raise ScpError("section 3 does not describe its leads")
    if body[1] & REFERENCE_BEAT:
        raise UnsupportedError("stored with reference beat subtraction")
    leads = []
    for start, end, number in LEAD.iter_unpack(body[2 : 2 + LEAD.size * body[0]]):
        first = max(start - 1, 0)  # some carts count from 0, the end then being the first sample that is not there
        if not first < end or end - first > MOST_SAMPLES:
            raise ScpError(f"lead {number} runs from sample {start} to {end}")
        leads.append((LEAD_NAMES.get(number, f"dérivation {number}"), first, end - first))
    return leads


def _rhythm(body: bytes, leads: int) -> tuple[int, int, list[bytes]]:
    """Amplitude unit in nV, sampling interval in us, and each lead's block of bytes."""
    if len(body) < RHYTHM.size + 2 * leads:
        raise ScpError("section 6 ends before its data")
    nanovolts, interval_us, order, bimodal = RHYTHM.unpack_from(body)
    if not nanovolts or not interval_us or order > 2:
        raise ScpError(f"section 6 says {nanovolts} nV, {interval_us} us, differences of order {order}")
    if bimodal:
        raise UnsupportedError("stored with bimodal compression")
    sizes = struct.unpack_from(f"<{leads}H", body, RHYTHM.size)
    at = RHYTHM.size + 2 * leads
    if at + sum(sizes) > len(body):
        raise ScpError("section 6 is shorter than its leads")
    blocks = []
    for size in sizes:
        blocks.append(body[at : at + size])
        at += size
    return nanovolts, interval_us, blocks


def _coded(body: bytes | None) -> bool:
    """Whether samples are Huffman coded: section 2 is there and names the default table."""
    if body is None:
        return False
    if len(body) < 2 or int.from_bytes(body[:2], "little") != DEFAULT_TABLE:
        raise UnsupportedError("coded with Huffman tables of the maker's own")
    return True


def _plain(block: bytes, length: int) -> Samples:
    if len(block) != 2 * length:
        raise ScpError(f"{len(block)} bytes for {length} samples")
    return np.frombuffer(block, "<i2").astype(np.int32)


def huffman(block: bytes, length: int) -> Samples:
    """`length` numbers of the default table; ScpError when the block ends before, or goes on after its last byte.

    A zero bit is 0; n ones (1 to 8), a zero and a sign bit (1: negative) are magnitude n; nine ones and a zero begin a
    plain number of 8 bits, ten ones one of 16, both two's complement.
    """
    bits = "".join(map("{:08b}".format, block))
    numbers = np.empty(length, np.int32)
    at = 0
    try:
        for place in range(length):
            end = bits.index("0", at, at + 10) if "0" in bits[at : at + 10] else at + 10
            ones = end - at
            if ones == 0:
                numbers[place] = 0
                at += 1
            elif ones < 9:
                numbers[place] = -ones if bits[end + 1] == "1" else ones
                at = end + 2
            else:
                size = 8 if ones == 9 else 16
                numbers[place] = _signed(bits[at + 10 : at + 10 + size], size)
                at += 10 + size
    except IndexError:
        raise ScpError(f"a lead's data ends after {place} of {length} samples") from None
    if len(bits) - at >= 16:  # one byte of padding is allowed: blocks may be of even length
        raise ScpError(f"{(len(bits) - at) // 8} bytes follow a lead's last sample")
    return numbers


def _signed(bits: str, size: int) -> int:
    """Two's complement of `size` bits; IndexError when they are not all there."""
    if len(bits) < size:
        raise IndexError
    return int(bits, 2) - ((bits[0] == "1") << size)


def integrated(numbers: Samples, order: int) -> Samples:
    """Undo first or second differences; the first one or two numbers are samples themselves.

    Sums wrap at 32 bits and are then out of any cart's range: ScpError when a sample needs more than 16 bits.
    """
    if order == 0:
        return numbers
    wide = numbers.astype(np.int64)
    if order == 2 and len(wide) > 1:
        wide[2:] = np.cumsum(wide[2:]) + (wide[1] - wide[0])
        wide[2:] = np.cumsum(wide[2:]) + wide[1]
    else:
        wide = np.cumsum(wide)
    if len(wide) and max(abs(int(wide.min())), abs(int(wide.max()))) > 1 << 15:
        raise ScpError("a sample is beyond 16 bits: the data is damaged")
    return wide.astype(np.int32)
