"""SCP-ECG: a file by hand, an encoder of the tests' own, and every kind of damage refused."""

import os
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.drivers.scp_ecg import ScpError, UnsupportedError, crc, huffman, integrated, parse_scp
from tests.peers.scp_writer import LEADS, TABLE, WHOLE, bodies, coded, crc_by_bits, file_of, tag


def samples_of(recording):
    return {lead.name: lead.samples.tolist() for lead in recording.leads}


# --- right files -------------------------------------------------------------------------------------------------


BY_HAND = (
    "1674 d6000000"  # CRC, 214 bytes
    "78b1 0000 88000000 14 14 534350454347"  # section 0: CRC, number, 136 bytes, versions, "SCPECG"; its pointers:
    "0000 88000000 07000000"  # itself, at byte 7
    "0100 00000000 00000000"  # nothing of the patient
    "0200 12000000 8f000000"  # the Huffman table, 18 bytes at byte 143
    "0300 1c000000 a1000000"  # the leads, 28 bytes at byte 161
    "0400 00000000 00000000 0500 00000000 00000000"
    "0600 1a000000 bd000000"  # the rhythm, 26 bytes at byte 189
    "0700 00000000 00000000 0800 00000000 00000000 0900 00000000 00000000"
    "0a00 00000000 00000000 0b00 00000000 00000000"
    "a356 0200 12000000 14 14 000000000000 1f4e"  # 19999: the default table
    "686d 0300 1c000000 14 14 000000000000 01 04 01000000 04000000 3d 00"  # one lead, samples 1 to 4, number 61
    "a2f2 0600 1a000000 14 14 000000000000 8813 d007 01 00"  # 5000 nV, 2000 us, first differences, not bimodal
    "0200 f930"  # 2 bytes: 1111100 100 1100 0 and a bit of padding: 5, 1, 2, 0
)


def test_a_file_written_out_from_the_standard():
    recording = parse_scp(bytes.fromhex(BY_HAND))
    assert (recording.model, recording.taken_at, recording.fs_hz, recording.gain_uv_per_lsb) == ("", None, 500.0, 5.0)
    assert samples_of(recording) == {"DIII": [5, 6, 8, 8]}


def test_the_crc_is_the_standards():
    assert crc(b"123456789") == crc_by_bits(b"123456789") == 0x29B1


def test_a_whole_file():
    recording = parse_scp(WHOLE)
    assert (recording.model, recording.taken_at) == ("TEST-1", "2026-11-21T14:20:05")
    assert (recording.fs_hz, recording.gain_uv_per_lsb) == (500.0, 2.5)
    assert samples_of(recording) == {"DI": LEADS[1], "DII": LEADS[2]}
    assert [lead.start for lead in recording.leads] == [0, 0]


def test_the_patients_name_is_nowhere_in_what_is_read():
    assert b"MARTIN" in WHOLE
    assert "MARTIN" not in repr(parse_scp(WHOLE))


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("packed", [True, False])
def test_every_way_of_storing_gives_the_same_samples(order, packed):
    assert samples_of(parse_scp(file_of(bodies(LEADS, order=order, packed=packed)))) == {
        "DI": LEADS[1],
        "DII": LEADS[2],
    }


samples = st.lists(st.integers(-8000, 8000), min_size=1, max_size=60)


@given(st.lists(samples, min_size=1, max_size=4), st.sampled_from([0, 1, 2]), st.booleans())
@settings(max_examples=100, deadline=None)
def test_what_an_independent_encoder_writes_is_read(leads, order, packed):
    numbered = dict(zip((1, 2, 61, 62), leads, strict=False))
    found = samples_of(parse_scp(file_of(bodies(numbered, order=order, packed=packed))))
    assert list(found.values()) == list(numbered.values())


@pytest.mark.parametrize(
    ("text", "numbers"), [(code + "0" * (-len(code) % 8), [value]) for value, code in TABLE.items()]
)
def test_every_code_of_the_default_table(text, numbers):
    assert huffman(int(text, 2).to_bytes(len(text) // 8, "big"), 1).tolist() == numbers


@pytest.mark.parametrize(
    ("data", "number"),
    [
        ("ff 82 40", 9),
        ("ff bd c0", -9),
        ("ff a0 00", -128),
        ("ff 9f c0", 127),
        ("ff c0 40 00", 256),
        ("ff e0 00 00", -32768),
    ],
)
def test_numbers_beyond_the_table_stand_plain(data, number):
    assert huffman(bytes.fromhex(data), 1).tolist() == [number]


def test_leads_may_begin_late_and_some_carts_count_from_0():
    sections = bodies({1: [1, 2, 3, 4]}, order=0, packed=False)
    late = sections | {3: bytes((1, 0)) + struct.pack("<IIB", 101, 104, 1)}
    assert [(lead.start, len(lead.samples)) for lead in parse_scp(file_of(late)).leads] == [(100, 4)]
    from_0 = sections | {3: bytes((1, 0)) + struct.pack("<IIB", 0, 4, 200)}
    assert [(lead.name, lead.start, len(lead.samples)) for lead in parse_scp(file_of(from_0)).leads] == [
        ("dérivation 200", 0, 4)
    ]


@pytest.mark.parametrize("date", [struct.pack("<HBB", 2026, 2, 30), struct.pack("<HBB", 0, 0, 0), b"", b"12345"])
def test_an_impossible_time_is_unknown(date):
    patient = tag(25, date) + tag(26, bytes((14, 20, 5))) + tag(255, b"")
    assert parse_scp(file_of(bodies(LEADS) | {1: patient})).taken_at is None


# --- wrong ones --------------------------------------------------------------------------------------------------


def test_every_flipped_bit_is_found():
    for place in range(8 * len(WHOLE)):
        damaged = bytearray(WHOLE)
        damaged[place // 8] ^= 1 << place % 8
        with pytest.raises(ScpError):
            parse_scp(bytes(damaged))


@pytest.mark.parametrize("n", [0, 1, 21, 22, 100, len(WHOLE) - 1, len(WHOLE) + 1])
def test_a_cut_or_lengthened_file_is_refused(n):
    with pytest.raises(ScpError):
        parse_scp((WHOLE + b"\0")[:n])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({2: struct.pack("<H", 1) + bytes(20)}, "tables of the maker's own"),
        ({3: bytes((1, 0x05)) + struct.pack("<IIB", 1, 6, 1)}, "reference beat"),
        ({6: struct.pack("<HHBB", 2500, 2000, 2, 1) + bytes(4)}, "bimodal"),
    ],
)
def test_what_is_whole_but_not_read_is_told_apart_from_damage(change, said):
    with pytest.raises(UnsupportedError, match=said):
        parse_scp(file_of(bodies(LEADS) | change))


def lead(start, end, number=1):
    return bytes((1, 0)) + struct.pack("<IIB", start, end, number)


def rhythm(unit=2500, interval=2000, order=0, size=None, block=b""):
    return struct.pack("<HHBBH", unit, interval, order, 0, len(block) if size is None else size) + block


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({3: b""}, "does not describe"),
        ({3: bytes((0, 0))}, "does not describe"),
        ({3: bytes((200, 0)) + bytes(2000)}, "does not describe"),
        ({3: lead(5, 4)}, "runs from"),
        ({3: lead(1, 2**32 - 1)}, "runs from"),
        ({3: lead(1, 6), 6: rhythm(unit=0)}, "0 nV"),
        ({3: lead(1, 6), 6: rhythm(interval=0)}, "0 us"),
        ({3: lead(1, 6), 6: rhythm(order=3)}, "order 3"),
        ({3: lead(1, 6), 6: rhythm(size=60000)}, "shorter than its leads"),
        ({3: lead(1, 6), 6: b"1234"}, "ends before its data"),
        ({3: lead(1, 6), 6: rhythm(block=b"\xff")}, "ends after 0 of 6"),
        ({3: lead(1, 6), 6: rhythm(block=bytes(40))}, "follow a lead's last sample"),
        ({3: lead(1, 6), 6: rhythm(order=2, block=coded([32767] * 6))}, "beyond 16 bits"),
        ({1: bytes((14,)) + b"\xff\xff"}, "longer than the section"),
    ],
)
def test_contents_that_make_no_sense_are_refused(change, said):
    with pytest.raises(ScpError, match=said):
        parse_scp(file_of(bodies(LEADS) | change))


@pytest.mark.parametrize("number", [3, 6])
def test_a_missing_section_is_named(number):
    sections = bodies(LEADS)
    del sections[number]
    with pytest.raises(ScpError, match=f"section {number} is missing"):
        parse_scp(file_of(sections))


@given(st.binary(max_size=400))
@settings(max_examples=200, deadline=None)
def test_random_bytes_are_refused_and_nothing_else_is_raised(data):
    with pytest.raises(ScpError):
        parse_scp(data)


@given(st.sampled_from([1, 2, 3, 6]), st.binary(max_size=80))
@settings(max_examples=300, deadline=None)
def test_random_sections_with_right_sums_raise_nothing_else(number, body):
    """The CRCs are right, so the contents themselves are what is judged."""
    try:
        parse_scp(file_of(bodies(LEADS) | {number: body}))
    except ScpError:
        pass


def test_differences_of_nothing_and_of_one():
    for order in (0, 1, 2):
        assert integrated(np.array([7], np.int32), order).tolist() == [7]
        assert integrated(np.array([], np.int32), order).tolist() == []


FOLDER = Path(os.environ.get("BESACE_DATA", "/nonexistent")) / "scp"


@pytest.mark.skipif(not list(FOLDER.glob("*.scp")), reason="no recordings of real carts under BESACE_DATA/scp")
@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.scp")), ids=lambda path: path.stem)
def test_a_real_carts_limb_leads_obey_einthoven(path):
    """DIII = DII - DI, whatever the cart: any slip in the code, the differences or the leads' order breaks it."""
    found = {lead.name: lead.samples.astype(int) for lead in parse_scp(path.read_bytes()).leads}
    if not {"DI", "DII", "DIII"} <= found.keys():
        pytest.skip("not all limb leads are stored")
    assert np.abs(found["DII"] - found["DI"] - found["DIII"]).max() <= 1
