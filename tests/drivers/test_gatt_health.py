"""Blood pressure and thermometer values: bytes by hand from the service specifications."""

from datetime import datetime

import pytest
from driver_rig import fed
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.drivers.gatt.blood_pressure import BloodPressureDecoder
from agent.drivers.gatt.thermometer import ThermometerDecoder
from agent.model import InstrumentEvent, Kind, NoValue, ReadingQuality


def pressures(text: str, channel="2a35"):
    d = BloodPressureDecoder("and-ua651ble")
    return d, d.feed(channel, bytes.fromhex(text), 7)


def test_a_measurement_with_everything():
    #                       flags sys  dia   map   2026-03-09 14:20:05      72    user status: body movement, irregular
    d, items = pressures("1e    80 00 4c 00 5d 00 ea 07 03 09 0e 14 05  48 00 01 05 00")
    assert [(i.kind, i.number) for i in items] == [
        (Kind.PRESSURE_SYSTOLIC, 128.0),
        (Kind.PRESSURE_DIASTOLIC, 76.0),
        (Kind.PRESSURE_MEAN, 93.0),
        (Kind.PULSE_RATE, 72.0),
    ]
    assert {i.instrument_time for i in items} == {datetime.fromisoformat("2026-03-09T14:20:05")}
    assert {i.flags for i in items} == {("body_movement", "irregular_pulse", "user_1")}
    assert {i.quality for i in items} == {ReadingQuality.QUESTIONABLE}
    assert {i.group for i in items} == {1}
    assert {i.t_ns for i in items} == {7}
    assert d.counters.frames == 1


def test_the_shortest_measurement():
    _, items = pressures("00 78 00 50 00 5d 00")
    assert [i.number for i in items] == [120.0, 80.0, 93.0]
    assert {(i.instrument_time, i.flags, i.quality) for i in items} == {(None, (), ReadingQuality.GOOD)}


def test_kilopascal_become_whole_mmhg():
    _, items = pressures("01 a0 f0 64 f0 7d f0")  # 16.0, 10.0, 12.5 kPa
    assert [i.number for i in items] == [120.0, 75.0, 94.0]
    assert {i.flags for i in items} == {("kpa",)}


def test_specials_have_no_number():
    _, items = pressures("04 ff 07 00 08 fe 07 02 08")
    assert {(i.value, i.reason) for i in items} == {(None, NoValue.INSTRUMENT)}
    assert [i.flags[-1] for i in items] == ["nan", "not_at_this_resolution", "+infinity", "-infinity"]


@pytest.mark.parametrize("time", ["00 00 03 09 0e 14 05", "ea 07 00 09 0e 14 05", "ea 07 02 1e 0e 14 05"])
def test_an_unknown_time_is_none(time):
    _, items = pressures(f"02 78 00 50 00 5d 00 {time}")
    assert {i.instrument_time for i in items} == {None}
    assert all("time_unknown" in i.flags for i in items)


@pytest.mark.parametrize(
    ("status", "words", "quality"),
    [
        ("02 00", ("cuff_too_loose",), ReadingQuality.QUESTIONABLE),
        ("04 00", ("irregular_pulse",), ReadingQuality.GOOD),
        ("20 00", ("improper_position",), ReadingQuality.QUESTIONABLE),
        ("08 00", ("pulse_above_range",), ReadingQuality.GOOD),
        ("10 00", ("pulse_below_range",), ReadingQuality.GOOD),
        ("00 80", (), ReadingQuality.GOOD),
    ],
)
def test_status_words(status, words, quality):
    _, items = pressures(f"10 78 00 50 00 5d 00 {status}")
    assert {(i.flags, i.quality) for i in items} == {(words, quality)}


def test_implausible_pressures_are_marked():
    d, items = pressures("00 2c 01 0a 00 5d 00")  # 300/10
    assert [i.quality for i in items] == [
        ReadingQuality.IMPLAUSIBLE,
        ReadingQuality.IMPLAUSIBLE,
        ReadingQuality.GOOD,
    ]
    assert d.counters.implausible == 2


def test_cuff_pressure_uses_the_first_number_only():
    _, items = pressures("00 9b 00 ff 07 ff 07", channel="2a36")
    assert [(i.what, i.detail) for i in items if isinstance(i, InstrumentEvent)] == [("cuff_mmhg", "155")]


def temperature(text: str, channel="2a1c"):
    d = ThermometerDecoder("and-ut201ble")
    return d.feed(channel, bytes.fromhex(text), 7)


def test_the_profiles_example():
    (item,) = temperature("00 6c 01 00 ff")
    assert (item.kind, item.number, item.value, item.exponent) == (Kind.TEMPERATURE, 36.4, 364, -1)
    assert (item.site, item.instrument_time) == (None, None)


def test_time_and_site():
    (item,) = temperature("06 75 01 00 ff ea 07 03 09 0e 14 05 09")
    assert (item.number, item.site, item.instrument_time) == (
        37.3,
        "tympan",
        datetime.fromisoformat("2026-03-09T14:20:05"),
    )


def test_fahrenheit():
    (item,) = temperature("01 da 03 00 ff")  # 98.6 F
    assert (item.number, item.flags) == (37.0, ("fahrenheit",))


def test_the_type_characteristic_names_the_site():
    d = ThermometerDecoder("t")
    assert d.feed("2a1d", b"\x06", 0) == []
    (item,) = d.feed("2a1c", bytes.fromhex("00 6c 01 00 ff"), 0)
    assert item.site == "bouche"
    (item,) = d.feed("2a1c", bytes.fromhex("04 6c 01 00 ff 02"), 0)
    assert item.site == "corps"


def test_no_temperature():
    (item,) = temperature("00 ff ff 7f 00")
    assert (item.value, item.reason, item.flags) == (None, NoValue.INSTRUMENT, ("nan",))


@pytest.mark.parametrize("degc", ["00 01 00 00 7f", "00 00 00 00 7f", "01 ff ff 7e 7f", "00 01 00 00 80"])
def test_a_float_that_is_no_temperature_at_all_is_none(degc):  # 1e127, 0e127, 8e133 F, 1e-128
    (item,) = temperature(degc)
    assert (item.value, item.reason) == (None, NoValue.INSTRUMENT)


@pytest.mark.parametrize(("degc", "quality"), [("00 b8 01 00 ff", "implausible"), ("00 9a 01 00 ff", "good")])
def test_plausible_range(degc, quality):  # 44.0, 41.0
    (item,) = temperature(degc)
    assert item.quality.value == quality


@pytest.mark.parametrize(
    ("decoder", "channel", "full"),
    [
        (BloodPressureDecoder, "2a35", "1e 80 00 4c 00 5d 00 ea 07 03 09 0e 14 05 48 00 01 05 00"),
        (ThermometerDecoder, "2a1c", "06 75 01 00 ff ea 07 03 09 0e 14 05 09"),
    ],
)
def test_every_truncation_is_damage(decoder, channel, full):
    data = bytes.fromhex(full)
    for n in range(len(data)):
        d = decoder("x")
        assert d.feed(channel, data[:n], 0) == []
        assert d.counters.damaged == 1
    d = decoder("x")
    assert d.feed(channel, data, 0)
    assert d.counters.damaged == 0


@given(st.sampled_from(["2a35", "2a36", "2a1c", "2a1d", "ffff"]), st.binary(max_size=24))
@settings(max_examples=200, deadline=None)
def test_random_values_never_raise(channel, data):
    for decoder in (BloodPressureDecoder("x"), ThermometerDecoder("x")):
        fed(decoder, data, channel=channel)
