"""What an oximeter sends for "no value" is never a number, in any maker's protocol; the value beside it is one."""

import struct

import pytest
from driver_rig import fed

from agent.drivers.base import DecoderCounters
from agent.drivers.berry import BciDecoder
from agent.drivers.contec import ContecDecoder
from agent.drivers.contec_ble import NOTIFY, ContecBleDecoder
from agent.drivers.gatt.pulse_oximeter import PulseOximeterDecoder
from agent.drivers.healthypi import BODY, HEAD, TAIL, HealthyPi4Decoder
from agent.drivers.healthypi5 import OPENVIEW, HealthyPi5Decoder
from agent.drivers.masimo import MasimoDecoder
from agent.drivers.nonin import NoninDecoder, NoninSpotDecoder
from agent.drivers.nonin3150 import NUMERICS, OXIMETRY, Nonin3150Decoder
from agent.drivers.readings import PLAUSIBLE, POSSIBLE, Readings
from agent.model import Kind, NoValue, Reading


def berry(spo2, rate):
    return fed(BciDecoder("x"), bytes((0x88, 60, 0x07 | (rate >> 7 & 1) << 6, rate & 0x7F, spo2)))


def contec(spo2, rate):
    tops = 0x80 | (rate >> 7) << 3 | (spo2 >> 7) << 4
    return fed(ContecDecoder("x"), bytes((1, tops, 0x85, 0x80 | 40, 0x85, rate | 0x80, spo2 | 0x80, 0x80, 0x80)))


def contec_ble(spo2, rate):
    body = bytes((0xEB, 1, (rate >> 7) << 1, rate & 0x7F, spo2 & 0x7F, 0, 0))
    return ContecBleDecoder("x").feed(NOTIFY, body + bytes((sum(body) & 0x7F,)), 0)


def nonin(spo2, rate):
    floats = {1: rate >> 7, 2: rate & 0x7F, 3: spo2}
    frames = b""
    for n in range(1, 26):
        body = bytes((0x80 | (n == 1), 0, n, floats.get(n, 0)))
        frames += body + bytes((sum(body) & 0xFF,))
    return fed(NoninDecoder("x"), frames)


def nonin_spot(spo2, rate):
    body = bytes((20, 26, 3, 9, 14, 20, 5, 0, 0x02, 0x00)) + struct.pack(">H", rate) + bytes((0, spo2))
    head = bytes((0, 2, 0, 0x0D)) + struct.pack(">H", len(body))
    return fed(NoninSpotDecoder("x"), head + body + bytes((sum(body) & 0xFF, 3)))


def nonin_3150(spo2, rate):
    data = NUMERICS.pack(NUMERICS.size, 0x14, 30, 250, 1, spo2, rate)
    return Nonin3150Decoder("x").feed(OXIMETRY, data, 0)


def plx(spo2, rate):
    return PulseOximeterDecoder("x").feed("2a5f", b"\x00" + struct.pack("<HH", spo2, rate), 0)


def masimo(spo2, rate):
    return fed(MasimoDecoder("x"), f"SPO2={spo2}% BPM={rate} PI=01.00% EXC=000000\r\n".encode())


def healthypi(spo2, rate):
    frame = HEAD + BODY.pack(0, 0, 9, 9, 3650, 15, spo2, rate, 0) + TAIL
    return fed(HealthyPi4Decoder("x"), frame)


def healthypi_5(spo2, rate):
    body = OPENVIEW.pack(0, 0, 1, 9, 9, 3650, spo2, rate, 15)
    return fed(HealthyPi5Decoder("x"), b"\x0a\xfa" + len(body).to_bytes(2, "little") + b"\x02" + body + b"\x00\x0b")


GOOD = {masimo: ("097", "072")}
NAN, NRES, INFINITE = 0x07FF, 0x0800, 0x07FE
CASES = [
    (berry, 127, 72), (berry, 97, 255), (contec, 127, 72), (contec, 97, 255), (contec, 255, 72),
    (contec_ble, 97, 255), (contec_ble, 97, 0),
    (nonin, 127, 72), (nonin, 97, 511), (nonin_spot, 127, 72), (nonin_spot, 97, 511), (nonin_spot, 255, 72),
    (nonin_3150, 127, 72), (nonin_3150, 97, 511), (nonin_3150, 255, 72), (nonin_3150, 97, 0xFFFF),
    (plx, NAN, 72), (plx, 97, NAN), (plx, NRES, 72), (plx, 97, NRES), (plx, INFINITE, 72), (plx, 127, 72),
    (plx, 97, 511), (masimo, "---", "072"), (masimo, "097", "---"), (masimo, "127", "072"), (masimo, "097", "511"),
    (healthypi, 127, 72), (healthypi, 255, 72), (healthypi, 97, 255), (healthypi, 0, 72), (healthypi, 97, 0),
    (healthypi_5, 127, 72), (healthypi_5, 255, 72), (healthypi_5, 97, 255), (healthypi_5, 0, 72),
]  # fmt: skip


def numbers(items):
    """SpO2 and pulse (or heart) rate as they were given, each with its reason."""
    given = {i.kind: i for i in items if isinstance(i, Reading)}
    rate = given.get(Kind.PULSE_RATE) or given.get(Kind.HEART_RATE)
    return [(r.number, r.reason) for r in (given[Kind.SPO2], rate)]


@pytest.mark.parametrize(("protocol", "spo2", "rate"), CASES)
def test_a_sentinel_is_no_number_and_the_value_beside_it_is_one(protocol, spo2, rate):
    wanted = (97, 72)
    for (number, reason), sent, good in zip(numbers(protocol(spo2, rate)), (spo2, rate), wanted, strict=True):
        if str(sent).lstrip("0") == str(good):
            assert (number, reason) == (good, None)
        else:
            assert number is None
            assert reason is not None


@pytest.mark.parametrize("protocol", sorted({case[0] for case in CASES}, key=lambda p: p.__name__))
def test_the_same_bytes_with_values_are_numbers(protocol):
    assert numbers(protocol(*GOOD.get(protocol, (97, 72)))) == [(97, None), (72, None)]


def test_without_a_finger_there_is_neither_number():
    assert [number for number, _ in numbers(contec_ble(127, 72))] == [None, None]


@pytest.mark.parametrize("rate", [127, 200])
def test_a_rate_that_looks_like_the_saturation_s_sentinel_is_a_rate(rate):
    for protocol in (berry, contec, nonin, nonin_3150, plx, healthypi):
        assert numbers(protocol(97, rate))[1] == (rate, None)


@pytest.mark.parametrize(
    ("kind", "value"), [(Kind.SPO2, 101), (Kind.SPO2, 0), (Kind.SPO2, -1), (Kind.PULSE_RATE, 0), (Kind.PULSE_RATE, 511)]
)
def test_what_no_patient_can_have_is_counted_and_is_no_number(kind, value):
    counters = DecoderCounters()
    reading = Readings("x", counters).value(kind, 0, value)
    assert (reading.number, reading.reason, counters.implausible) == (None, NoValue.INSTRUMENT, 1)


def test_what_is_plausible_is_possible():
    for kind, (lowest, highest) in POSSIBLE.items():
        low, high = PLAUSIBLE[kind]
        assert lowest <= low < high <= highest
