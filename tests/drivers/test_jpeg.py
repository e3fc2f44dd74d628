"""A camera's frames: recorded ones, with everything added that must not leave the bag, and every way to be damaged."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.drivers.jpeg import TYPICAL_TABLES, JpegError, cleaned, size_of

RECORDED = (Path(__file__).parents[1] / "captures" / "camera.mjpeg").read_bytes()
FRAMES = [b"\xff\xd8" + piece for piece in RECORDED.split(b"\xff\xd8")[1:]]
FRAME = FRAMES[0]


def segment(marker: int, body: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(body) + 2).to_bytes(2, "big") + body


def with_segment(marker: int, body: bytes) -> bytes:
    return FRAME[:2] + segment(marker, body) + FRAME[2:]


EXIF = b"Exif\0\0MM\0*\0\0\0\x08 GPS 48.8566 N 2.3522 E, 2026:11:21 14:20:05, serial 4711"
SECRETS = {
    "EXIF": (0xE1, EXIF, b"GPS"),
    "XMP": (0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta>secret</x:xmpmeta>", b"xmpmeta"),
    "ICC": (0xE2, b"ICC_PROFILE\0secret", b"ICC_PROFILE"),
    "maker": (0xED, b"Photoshop 3.0\0secret", b"Photoshop"),
    "comment": (0xFE, b"patient MARTIN", b"MARTIN"),
    "JFIF extension": (0xE0, b"JFXX\0\x10thumbnail of the last patient", b"JFXX"),
}


@pytest.mark.parametrize("frame", FRAMES, ids=range(len(FRAMES)))
def test_a_recorded_frame_keeps_its_picture_byte_for_byte(frame):
    kept = cleaned(frame)
    picture = frame[frame.index(b"\xff\xdb") :]  # from the tables on
    assert kept.endswith(picture[-700:])
    assert b"Lavc" in frame
    assert b"Lavc" not in kept
    assert cleaned(kept) == kept
    assert size_of(kept) == (64, 48)


@pytest.mark.parametrize("what", SECRETS)
def test_what_is_no_picture_is_taken_out(what):
    marker, body, secret = SECRETS[what]
    data = with_segment(marker, body)
    assert secret in data
    assert cleaned(data) == cleaned(FRAME)


def test_density_and_colour_mark_stay_a_thumbnail_does_not():
    jfif = b"JFIF\0\x01\x02\0\0\x01\0\x01\x01\x01" + b"abc"  # one pixel of a thumbnail
    kept = cleaned(with_segment(0xE0, jfif))
    assert segment(0xE0, jfif[:12] + b"\0\0") in kept
    adobe = b"Adobe\0\x64\0\0\0\0\x01"
    assert segment(0xEE, adobe) in cleaned(with_segment(0xEE, adobe))


def test_what_stands_behind_the_end_is_cut_off():
    assert cleaned(FRAME + bytes(100) + EXIF) == cleaned(FRAME)


def test_a_camera_that_leaves_the_huffman_tables_out_gets_the_typical_ones():
    """The recorded frames carry the very tables of annex K: an independent encoder's."""
    assert TYPICAL_TABLES in FRAME
    assert cleaned(FRAME.replace(TYPICAL_TABLES, b"")).replace(TYPICAL_TABLES, b"") == cleaned(FRAME).replace(
        TYPICAL_TABLES, b""
    )
    assert TYPICAL_TABLES in cleaned(FRAME.replace(TYPICAL_TABLES, b""))


def test_stuffed_bytes_and_restarts_belong_to_the_picture():
    head = FRAME[: FRAME.index(b"\xff\xda") + 14]
    coded = b"\x12\xff\x00\x34\xff\xd0\x56\xff\xff\x00\x78"
    assert cleaned(head + coded + b"\xff\xd9").endswith(coded + b"\xff\xd9")


@pytest.mark.parametrize("n", [0, 1, 2, 3, 20, 300, len(FRAME) - 2, len(FRAME) - 1])
def test_a_cut_frame_is_refused(n):
    with pytest.raises(JpegError):
        cleaned(FRAME[:n])


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\x89PNG\r\n", "no JPEG"),
        (FRAME + bytes(9 << 20), "no JPEG"),
        (b"\xff\xd8\xff\xd9", "no picture in it"),
        (FRAME.replace(b"\xff\xc0", b"\xff\xc9"), "marker c9"),  # arithmetic coding: no viewer shows it
        (with_segment(0xC0, b"\x08\0\x10\0\x10\x01\x01\x11\0"), "two pictures"),
        (b"\xff\xd8" + FRAME[FRAME.index(b"\xff\xda") :], "without a frame"),
        (FRAME.replace(b"\xff\xc0\x00\x11\x08\x00\x30\x00\x40", b"\xff\xc0\x00\x11\x08\x00\x30\xff\x40"), "65344 x 48"),
        (FRAME.replace(b"\xff\xc0\x00\x11\x08\x00\x30\x00\x40", b"\xff\xc0\x00\x11\x08\x00\x00\x00\x40"), "64 x 0"),
    ],
    ids=range(8),
)
def test_what_is_no_picture_is_refused(data, said):
    with pytest.raises(JpegError, match=said):
        cleaned(data)


@given(st.integers(0, len(FRAME) - 1), st.binary(min_size=1, max_size=6))
@settings(max_examples=400, deadline=None)
def test_a_damaged_frame_is_refused_or_still_clean(at, noise):
    data = with_segment(0xE1, EXIF)
    damaged = data[:at] + noise + data[at + len(noise) :]
    try:
        kept = cleaned(damaged)
    except JpegError:
        return
    assert cleaned(kept) == kept


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_random_bytes_raise_nothing_else(data):
    for piece in (data, b"\xff\xd8" + data):
        with pytest.raises(JpegError):
            cleaned(piece)


def test_both_pictures_are_the_same_to_a_decoder():
    av = pytest.importorskip("av", reason="PyAV decodes both to compare their pixels")
    import io

    def pixels(data):
        with av.open(io.BytesIO(data), format="mjpeg") as container:
            return [frame.to_ndarray().tobytes() for frame in container.decode(video=0)]

    for frame in FRAMES:
        bare = frame.replace(TYPICAL_TABLES, b"")
        assert pixels(cleaned(frame)) == pixels(cleaned(bare)) == pixels(frame) != []
