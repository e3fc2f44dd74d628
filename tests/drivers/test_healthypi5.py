"""HealthyPi 5: frames by hand from the firmware's packet layouts."""

import random

import pytest
from driver_rig import cuts, fed, gaps_of, samples_of, whole
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.drivers.healthypi5 import HealthyPi5Decoder, likeliest
from agent.model import Kind, NoValue, Reading

#          head            ecg      bioz     skip red      infrared temp spo2 hr rr tail
OPENVIEW = "0afa160002  01000000 fcffffff 00 40420f00 80841e00 420e 62 48 0f  000b"
SKIPPED = OPENVIEW.replace("fcffffff 00", "00000000 ff")
ECG8 = "0afa320003" + "".join(f"{n:02x}000000" for n in range(1, 9)) + "feffffff" * 4 + "480f" + "000b"
PPG8 = "0afa130004" + "".join(f"{n:02x}ff" for n in range(8)) + "62" + "0e0e" + "000b"


def decoder():
    return HealthyPi5Decoder("h")


def samples(data):
    d = decoder()
    items = fed(d, data)
    return {s.name: got for s in d.streams if (got := samples_of(items, s.name).tolist())}


def test_type_2_by_hand():
    data = bytes.fromhex(OPENVIEW)
    assert len(data) == 29
    assert samples(data) == {
        "h.ecg": [1],
        "h.respiration": [-4],
        "h.red": [1_000_000],
        "h.infrared": [2_000_000],
    }
    numbers = {i.kind: i.number for i in fed(decoder(), data) if isinstance(i, Reading)}
    assert numbers == {
        Kind.SPO2: 98.0,
        Kind.HEART_RATE: 72.0,
        Kind.RESPIRATION_RATE: 15.0,
        Kind.TEMPERATURE: 36.5,
    }
    assert "h.respiration" not in samples(bytes.fromhex(SKIPPED))


def test_types_3_and_4_by_hand():
    assert len(bytes.fromhex(ECG8)) == 57
    assert samples(bytes.fromhex(ECG8 + PPG8)) == {
        "h.ecg": [1, 2, 3, 4, 5, 6, 7, 8],
        "h.respiration": [-2] * 4,
        "h.pleth": [n - 256 for n in range(8)],
    }
    numbers = {i.kind: i.value for i in fed(decoder(), bytes.fromhex(ECG8 + PPG8)) if isinstance(i, Reading)}
    assert numbers == {Kind.HEART_RATE: 72, Kind.RESPIRATION_RATE: 15, Kind.SPO2: 98}  # and no temperature


def test_zero_is_no_number():
    data = bytearray(bytes.fromhex(PPG8))
    data[21] = 0
    assert [(i.value, i.reason) for i in fed(decoder(), bytes(data)) if isinstance(i, Reading)] == [
        (None, NoValue.INSTRUMENT)
    ]


@pytest.mark.parametrize(("skipped", "frames"), [(57, (1, 0)), (26, (0, 1)), (83, (1, 1)), (114, (2, 0)), (20, (0, 1))])
def test_what_was_lost_follows_from_the_bytes(skipped, frames):
    assert likeliest(skipped) == frames


def test_a_lost_frame_is_a_gap_on_its_streams():
    broken = bytearray(bytes.fromhex(ECG8))
    broken[0] = 0
    items = fed(decoder(), bytes.fromhex(ECG8) + bytes(broken) + bytes.fromhex(PPG8 + ECG8))
    assert gaps_of(items, "h.ecg") == [(8, 8)]
    assert gaps_of(items, "h.respiration") == [(4, 4)]
    assert gaps_of(items, "h.pleth") == []


@pytest.mark.parametrize("kind", ["corrupt", "delete"])
def test_damage_costs_no_undamaged_frame(kind):
    rng = random.Random(2)
    out = bytearray()
    for n in range(3000):
        b = bytearray(bytes.fromhex(OPENVIEW))
        b[5:7] = n.to_bytes(2, "little")
        if n % 3 == 1:
            if kind == "corrupt":
                b[rng.choice((0, 1, 2, 3, 4, 27, 28))] ^= 1 << rng.randrange(8)
            else:
                at = rng.randrange(29)
                del b[at : at + rng.randrange(1, 29)]
        out += b
    items = fed(decoder(), bytes(out))
    got = set(samples_of(items, "h.ecg").tolist())
    assert len({n for n in range(3000) if n % 3 != 1} - got) <= 1


DIRTY = (
    bytes.fromhex(ECG8 + PPG8)
    + b"\x0a\xfa\x32\x00\x03\x00"
    + bytes.fromhex(ECG8 + OPENVIEW)
    + bytes(7)
    + bytes.fromhex(PPG8)
)


@given(cuts(len(DIRTY)))
@settings(max_examples=50, deadline=None)
def test_any_cutting_gives_the_same(places):
    one, other = decoder(), decoder()
    assert whole(fed(one, DIRTY), one.streams) == whole(fed(other, DIRTY, places), other.streams)


@given(st.lists(st.one_of(st.binary(max_size=40), st.just(b"\x0a\xfa\x32\x00\x03")), max_size=8))
@settings(max_examples=100, deadline=None)
def test_random_bytes_never_raise_and_never_pile_up(pieces):
    d = decoder()
    for piece in pieces:
        d.feed("serial", piece, 0)
    assert len(d._buffer) < 57
