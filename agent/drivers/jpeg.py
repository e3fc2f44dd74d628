# Ref: ITU-T T.81 (JPEG), annex B (markers and segments) and annex K.3.3 (the typical Huffman tables); JFIF 1.02; USB
# Device Class Definition for Video Devices 1.5, payload MJPEG, 3.3 (frames may leave the Huffman tables out).
"""A camera's JPEG frames: checked, freed of everything that is no picture, otherwise as the camera gave them.

Kept, byte for byte: quantisation and Huffman tables, frame and scan headers, restart interval, the coded picture,
JFIF's density and Adobe's colour mark. Taken out: EXIF and every other application segment (place, time, serial number,
thumbnails of what was rejected), comments, and what stands behind the end. Put in, where a UVC camera leaves them out:
the typical Huffman tables, without which no viewer shows the picture.
"""

import re
import struct

from agent.drivers.base import DecoderCounters, Item
from agent.model import Stream

LONGEST = 8 << 20
MOST_PIXELS_A_SIDE = 8192

SOI, EOI, SOS, DQT, DHT, DRI, APP0, APP14, COM = 0xD8, 0xD9, 0xDA, 0xDB, 0xC4, 0xDD, 0xE0, 0xEE, 0xFE
FRAMES = {0xC0, 0xC1, 0xC2}  # baseline, extended, progressive; the others no viewer shows
APPS = range(0xE0, 0xF0)
AFTER_SCAN = re.compile(
    rb"\xff(?=[^\x00\xd0-\xd7\xff])"
)  # a marker that is neither a stuffed FF, a restart nor filling
JFIF, ADOBE = b"JFIF\0", b"Adobe"
JFIF_SIZE = 14  # without a thumbnail

# The typical tables as they stand in annex K: how many codes of each length, then their values.
_DC_LUMINANCE = "00010501010101010100000000000000000102030405060708090a0b"
_DC_CHROMINANCE = "00030101010101010101010000000000000102030405060708090a0b"
_AC_LUMINANCE = (
    "0002010303020403050504040000017d"
    "01020300041105122131410613516107227114328191a1082342b1c11552d1f02433627282090a161718191a25262728292a3435363738393a"
    "434445464748494a535455565758595a636465666768696a737475767778797a838485868788898a92939495969798999aa2a3a4a5a6a7a8a9"
    "aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae1e2e3e4e5e6e7e8e9eaf1f2f3f4f5f6f7f8f9fa"
)
_AC_CHROMINANCE = (
    "00020102040403040705040400010277"
    "000102031104052131061241510761711322328108144291a1b1c109233352f0156272d10a162434e125f11718191a262728292a35363738393a"
    "434445464748494a535455565758595a636465666768696a737475767778797a82838485868788898a92939495969798999aa2a3a4a5a6a7a8"
    "a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae2e3e4e5e6e7e8e9eaf2f3f4f5f6f7f8f9fa"
)
_TABLES = "00" + _DC_LUMINANCE + "01" + _DC_CHROMINANCE + "10" + _AC_LUMINANCE + "11" + _AC_CHROMINANCE
TYPICAL_TABLES = b"\xff\xc4" + struct.pack(">H", 2 + len(bytes.fromhex(_TABLES))) + bytes.fromhex(_TABLES)


class JpegError(ValueError):
    """The bytes are no whole JPEG picture: not to be kept."""


class FrameDecoder:
    """A camera's decoder: gives no items, but `newest`, the last frame that was a whole picture, cleaned."""

    def __init__(self, instrument: str) -> None:
        del instrument  # pictures carry no name
        self.counters = DecoderCounters()
        self.newest: bytes | None = None

    @property
    def streams(self) -> tuple[Stream, ...]:
        """None: pictures are no samples."""
        return ()

    def resume(self) -> None:
        """What was seen before is gone."""
        self.newest = None

    def feed(self, channel: str, data: bytes, t_ns: int) -> list[Item]:
        """Take one frame."""
        del channel, t_ns
        try:
            self.newest = cleaned(data)
        except JpegError:
            self.newest = None
            self.counters.damaged += 1
            self.counters.skipped_bytes += len(data)
        else:
            self.counters.frames += 1
        return []


def cleaned(data: bytes) -> bytes:
    """The picture and nothing else; cleaned again it stays as it is. JpegError for what is damaged, or no picture."""
    if not data.startswith(b"\xff\xd8") or len(data) > LONGEST:
        raise JpegError("no JPEG picture")
    kept = [b"\xff\xd8"]
    at, framed, tabled, scanned = 2, False, False, False
    while True:
        marker, at = _marker(data, at)
        if marker == EOI:
            break
        segment, at = _segment(data, at)
        if marker in FRAMES:
            if framed:
                raise JpegError("two pictures in one")
            _size(segment)
            framed = True
        elif marker == SOS:
            if not framed:
                raise JpegError("a scan without a frame")
            if not tabled:
                kept.append(TYPICAL_TABLES)
                tabled = True
            end = _coded_end(data, at)
            kept.append(data[at - len(segment) - 4 : end])
            at, scanned = end, True
            continue
        elif marker == DHT:
            tabled = True
        elif marker == APP0 and segment.startswith(JFIF) and len(segment) >= JFIF_SIZE:
            segment = segment[: JFIF_SIZE - 2] + b"\0\0"  # a thumbnail may show another picture
        elif not (marker in {DQT, DRI} or (marker == APP14 and segment.startswith(ADOBE))):
            if marker not in APPS and marker != COM:
                raise JpegError(f"marker {marker:02x} is not known here")
            continue
        kept.append(struct.pack(">BBH", 0xFF, marker, len(segment) + 2) + segment)
    if not scanned:
        raise JpegError("no picture in it")
    return b"".join((*kept, b"\xff\xd9"))


def size_of(data: bytes) -> tuple[int, int]:
    """Width and height of a picture, in pixels."""
    at = 2
    while True:
        marker, at = _marker(data, at)
        segment, at = _segment(data, at)
        if marker in FRAMES:
            return _size(segment)
        if marker == SOS:
            raise JpegError("a scan without a frame")


def _marker(data: bytes, at: int) -> tuple[int, int]:
    """The marker at `at`, fill bytes passed over, and what follows it."""
    if data[at : at + 1] != b"\xff":
        raise JpegError("no marker where one must be")
    while data[at : at + 1] == b"\xff":
        at += 1
    if at >= len(data):
        raise JpegError("cut off")
    return data[at], at + 1


def _segment(data: bytes, at: int) -> tuple[bytes, int]:
    length = int.from_bytes(data[at : at + 2], "big")
    if length < 2 or at + length > len(data):
        raise JpegError("a segment is cut off")
    return data[at + 2 : at + length], at + length


def _size(frame: bytes) -> tuple[int, int]:
    if len(frame) < 6:
        raise JpegError("a frame header is cut off")
    height, width = struct.unpack_from(">HH", frame, 1)
    if not (0 < width <= MOST_PIXELS_A_SIDE and 0 < height <= MOST_PIXELS_A_SIDE):
        raise JpegError(f"a picture of {width} x {height}")
    return width, height


def _coded_end(data: bytes, at: int) -> int:
    """Where the coded picture ends: at the next marker that is neither a stuffed FF nor a restart."""
    found = AFTER_SCAN.search(data, at)
    if found is None:
        raise JpegError("the picture is cut off")
    return found.start()
