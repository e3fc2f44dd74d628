"""What an oximeter sends for "no value" is never a number, in any maker's protocol; the value beside it is one."""

from datetime import datetime

import numpy as np
import pytest
from driver_rig import fed

from agent.drivers.base import DecoderCounters
from agent.drivers.catalogue import CATALOGUE
from agent.drivers.opening import decoder_for
from agent.drivers.readings import PLAUSIBLE, POSSIBLE, Readings
from agent.drivers.simulated import frames, gatt_values
from agent.model import Kind, NoValue, Reading

ONE = np.array([9], np.int32)
PACKET = np.arange(25, dtype=np.int32)
WHEN = datetime(2026, 3, 9, 14, 20, 5)  # noqa: DTZ001


def given(key, data, channel="serial"):
    return fed(decoder_for(CATALOGUE[key]), data, channel=channel)


def berry(spo2, rate):
    return given("berry-bm1000", frames.bci(ONE, spo2=spo2, rate=rate))


def contec(spo2, rate):
    return given("contec-cms50-9byte", frames.contec(ONE, spo2=spo2, rate=rate))


def contec_ble(spo2, rate):
    return given("contec-ble", gatt_values.contec(spo2, rate), "ff02")


def nonin(spo2, rate):
    return given("nonin-xpod", frames.nonin(PACKET, spo2=spo2, rate=rate, wide=True))


def nonin_spot(spo2, rate):
    return given("nonin-spot", frames.nonin_spot(WHEN, spo2=spo2, rate=rate))


def nonin_3150(spo2, rate):
    oximetry = CATALOGUE["nonin-3150"].notify[1]
    return given("nonin-3150", gatt_values.nonin_numerics(spo2, rate, 250), oximetry)


def plx(spo2, rate):
    return given("plx-oximeter", gatt_values.plx_continuous(spo2, rate, 0), "2a5f")


def masimo(spo2, rate):
    return given("masimo-ascii1", frames.masimo(spo2=spo2, rate=rate, perfusion="01.00"))


def healthypi(spo2, rate):
    numbers = bytes((15, spo2, rate))
    return given("healthypi-4", frames.healthypi4(ONE, ONE, ONE, ONE, temperature_cc=3650, numbers=numbers))


def healthypi_5(spo2, rate):
    numbers = bytes((15, spo2, rate))
    return given("healthypi-5", frames.healthypi5_openview(ONE, ONE, ONE, ONE, temperature_cc=3650, numbers=numbers))


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
