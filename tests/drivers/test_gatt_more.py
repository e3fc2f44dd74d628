"""PLX oximeters, heart rate, weight and glucose: values by hand from the service specifications."""

from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.drivers.base import Asking
from agent.drivers.gatt.clock import clock_value, read_clock
from agent.drivers.gatt.glucose import GlucoseDecoder
from agent.drivers.gatt.heart_rate import HeartRateDecoder
from agent.drivers.gatt.pulse_oximeter import PulseOximeterDecoder
from agent.drivers.gatt.weight_scale import WeightScaleDecoder
from agent.model import InstrumentEvent, Kind, NoValue, Reading, ReadingQuality


def read(decoder, channel, text):
    return decoder("x").feed(channel, bytes.fromhex(text), 7)


def numbers(items):
    return [(i.kind, i.number) for i in items if isinstance(i, Reading)]


# --- PLX -----------------------------------------------------------------------------------------------------


def test_plx_spot_with_everything():
    #                             flags 98.0   72     2026-03-09 14:20:05    status  sensor    PAI 3.6 %
    items = read(PulseOximeterDecoder, "2a5e", "0f d4f3 4800 ea0703090e1405 8001 200000 24f0")
    assert numbers(items) == [(Kind.SPO2, 98.0), (Kind.PULSE_RATE, 72.0), (Kind.PERFUSION_INDEX, 3.6)]
    assert {(i.instrument_time, i.flags, i.quality) for i in items} == {
        (
            datetime.fromisoformat("2026-03-09T14:20:05"),
            ("validated", "fully_qualified", "low_perfusion"),
            ReadingQuality.GOOD,
        )
    }


def test_plx_spot_whose_clock_is_not_set_has_no_time():
    items = read(PulseOximeterDecoder, "2a5e", "11 6200 4800 ea0703090e1405")
    assert {i.instrument_time for i in items} == {None}


def test_plx_continuous_gives_the_normal_pair():
    items = read(PulseOximeterDecoder, "2a5f", "07 6100 4800 5f00 4900 6000 4700 2000")
    assert numbers(items) == [(Kind.SPO2, 97.0), (Kind.PULSE_RATE, 72.0)]
    assert {i.flags for i in items} == {("ongoing",)}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("00 ff07 ff07", NoValue.INSTRUMENT),
        ("08 6100 4800 008000", NoValue.PROBE_OFF),  # not on the user
        ("04 6100 4800 0080", NoValue.INSTRUMENT),  # invalid
        ("04 6100 4800 0004", NoValue.INSTRUMENT),  # demonstration
    ],
)
def test_plx_without_a_number(text, reason):
    items = read(PulseOximeterDecoder, "2a5f", text)
    assert [(i.value, i.reason) for i in items] == [(None, reason)] * 2


def test_plx_questionable():
    assert {i.quality for i in read(PulseOximeterDecoder, "2a5f", "04 6100 4800 0040")} == {ReadingQuality.QUESTIONABLE}


def test_plx_that_sets_every_bit_still_says_what_keeps_it_out_of_a_visit():
    items = read(PulseOximeterDecoder, "2a5e", "07 6200 4800 0000030900 0000 ffff ffffff")
    assert {i.reason for i in items} == {NoValue.PROBE_OFF}
    assert {len(i.flags) for i in items} == {15}
    assert all({"from_memory", "time_unknown"} <= set(i.flags) for i in items)


# --- heart rate ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "rate"),
    [("00 48", 72.0), ("01 2c01", 300.0), ("06 48", 72.0), ("0e 48 1000", 72.0)],
)
def test_heart_rate(text, rate):
    assert numbers(read(HeartRateDecoder, "2a37", text)) == [(Kind.HEART_RATE, rate)]


def test_heart_rate_intervals_are_in_1024ths():
    items = read(HeartRateDecoder, "2a37", "16 48 0004 5503 00")  # 1024, 853, and half an interval
    assert [(i.what, i.detail) for i in items if isinstance(i, InstrumentEvent)] == [("rr_ms", "1000.0 833.0")]


def test_more_intervals_than_an_event_holds_are_several_events():
    items = read(HeartRateDecoder, "2a37", "10 48" + "ffff" * 40)
    assert [len(i.detail.split()) for i in items[1:]] == [16, 16, 8]
    assert max(len(i.detail) for i in items[1:]) < 128


@pytest.mark.parametrize(("text", "reason"), [("04 48", NoValue.LEAD_OFF), ("00 00", NoValue.NO_BEATS)])
def test_no_heart_rate(text, reason):
    assert [(i.value, i.reason) for i in read(HeartRateDecoder, "2a37", text)] == [(None, reason)]


# --- weight --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kg", "flags"),
    [
        ("00 9837", 71.16, ()),  # 14232 x 5 g
        ("01 463e", 72.312, ("pounds",)),  # 159.42 lb
        ("06 9837 ea0703090e1405 02", 71.16, ("user_2",)),
        ("04 9837 ff", 71.16, ()),
    ],
)
def test_weight(text, kg, flags):
    (item,) = read(WeightScaleDecoder, "2a9d", text)
    assert (item.kind, item.number, item.flags) == (Kind.WEIGHT, kg, flags)


def test_no_weight():
    (item,) = read(WeightScaleDecoder, "2a9d", "00 ffff")
    assert (item.value, item.reason) == (None, NoValue.INSTRUMENT)


# --- glucose -------------------------------------------------------------------------------------------------


def test_glucose_in_mass_per_volume():
    #                    flags  seq 5  2026-03-09 14:20:05 offset +60 min 126e-5 kg/L  finger, capillary  status
    (item,) = read(GlucoseDecoder, "2a18", "0b 0500 ea0703090e1405 3c00 7eb0 11 0000")
    assert (item.kind, item.number, item.value, item.exponent) == (Kind.GLUCOSE, 126.0, 126, 0)
    assert (item.instrument_time, item.site, item.group) == (datetime.fromisoformat("2026-03-09T15:20:05"), "doigt", 5)


def test_glucose_in_moles_becomes_mg_per_dl():
    (item,) = read(GlucoseDecoder, "2a18", "06 0500 ea0703090e1405 46c0 11")  # 70e-4 = 7.0 mmol/L
    assert item.number == 126.0


def test_control_solution_is_no_reading():
    items = read(GlucoseDecoder, "2a18", "02 0500 ea0703090e1405 7eb0 4a")
    assert [(i.what, i.detail) for i in items] == [("control_solution", "5")]


@pytest.mark.parametrize(
    ("status", "words", "quality"),
    [
        ("2000", ("above_range",), ReadingQuality.GOOD),
        ("0400", ("sample_too_small",), ReadingQuality.QUESTIONABLE),
        ("0100", ("battery_low",), ReadingQuality.GOOD),
    ],
)
def test_glucose_status(status, words, quality):
    (item,) = read(GlucoseDecoder, "2a18", f"0a 0500 ea0703090e1405 7eb0 11 {status}")
    assert (item.flags, item.quality) == (words, quality)


def test_a_meter_is_asked_for_its_newest_record_then_only_for_newer_ones():
    d = GlucoseDecoder("x")
    assert isinstance(d, Asking)
    assert d.commands() == (("2a52", bytes.fromhex("01 06")),)
    d.feed("2a18", bytes.fromhex("02 0500 ea0703090e1405 7eb0 11"), 0)
    d.resume()
    assert d.commands() == (("2a52", bytes.fromhex("01 03 01 0600")),)
    assert d.commands() == ()  # said once
    d.feed("2a18", bytes.fromhex("02 ffff ea0703090e1405 7eb0 11"), 0)
    d.resume()
    assert d.commands() == (("2a52", bytes.fromhex("01 03 01 0000")),)


def test_a_meter_without_newer_records_is_asked_for_its_newest_since_its_memory_may_have_been_cleared():
    d, none_found = GlucoseDecoder("x"), bytes.fromhex("06 00 01 06")
    d.commands()
    d.feed("2a18", bytes.fromhex("02 0500 ea0703090e1405 7eb0 11"), 0)
    d.resume()
    d.commands()
    assert d.feed("2a52", none_found, 0) == []
    assert d.commands() == (("2a52", bytes.fromhex("01 06")),)
    assert d.feed("2a18", bytes.fromhex("02 0500 ea0703090e1405 7eb0 11"), 0) == []  # the same once more
    (item,) = d.feed("2a18", bytes.fromhex("02 0000 ea0703090e1405 7eb0 11"), 0)
    assert item.group == 0
    d.feed("2a52", none_found, 0)
    assert d.commands() == ()  # it has none: not again and again


@pytest.mark.parametrize(
    ("context", "said"),
    [
        ("02 0500 03", [("meal_fasting", "5")]),
        ("83 0500 00 01 50b0 01", [("meal_before", "5")]),  # extended flags, breakfast of 80 g, preprandial
        ("02 0500 09", []),  # no such meal
        ("02 0600 03", []),  # of a record that was not given
        ("04 0500 11", []),  # health only
        ("03 0500 01", []),  # cut off
    ],
)
def test_the_meal_is_said_of_the_record_just_given(context, said):
    d = GlucoseDecoder("x")
    record = bytes.fromhex("02 0500 ea0703090e1405 7eb0 11")
    d.feed("2a18", record, 0)
    assert [(i.what, i.detail) for i in d.feed("2a34", bytes.fromhex(context), 0)] == said
    d.feed("2a18", record, 0)  # once more
    assert d.feed("2a34", bytes.fromhex(context), 0) == []


@pytest.mark.parametrize(
    ("answer", "said"),
    [("06 00 01 01", []), ("06 00 01 06", []), ("06 00 01 02", ["refused"]), ("05 00 0300", [])],
)
def test_no_records_found_is_no_error(answer, said):
    assert [i.what for i in read(GlucoseDecoder, "2a52", answer)] == said


# --- clocks --------------------------------------------------------------------------------------------------


def test_clocks_are_read_and_written():
    when = datetime(2026, 3, 9, 14, 20, 5, 500_000)  # noqa: DTZ001 (a Monday)
    assert clock_value("2a08", when) == bytes.fromhex("ea07 03 09 0e 14 05")
    assert clock_value("2a2b", when) == bytes.fromhex("ea07 03 09 0e 14 05 01 80 01")
    assert read_clock(bytes.fromhex("ea07 03 09 0e 14 05 01 80 00")) == datetime.fromisoformat("2026-03-09T14:20:05")
    assert read_clock(bytes.fromhex("0000 03 09 0e 14 05")) is None
    assert read_clock(b"\x01") is None


# --- all -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("decoder", "channel", "full"),
    [
        (PulseOximeterDecoder, "2a5e", "0f d4f3 4800 ea0703090e1405 8001 200000 24f0"),
        (PulseOximeterDecoder, "2a5f", "1f 6100 4800 5f00 4900 6000 4700 2000 000000 24f0"),
        (HeartRateDecoder, "2a37", "0f 2c01 1000"),
        (WeightScaleDecoder, "2a9d", "06 9837 ea0703090e1405 02"),
        (GlucoseDecoder, "2a18", "0b 0500 ea0703090e1405 3c00 7eb0 11 0000"),
    ],
)
def test_every_truncation_is_damage(decoder, channel, full):
    data = bytes.fromhex(full)
    for n in range(len(data)):
        d = decoder("x")
        assert d.feed(channel, data[:n], 0) == []
        assert d.counters.damaged == 1
    assert decoder("x").feed(channel, data, 0)


@given(st.sampled_from(["2a5e", "2a5f", "2a37", "2a9d", "2a18", "2a34", "2a52"]), st.binary(max_size=30))
@settings(max_examples=200, deadline=None)
def test_random_values_never_raise(channel, data):
    for decoder in (PulseOximeterDecoder, HeartRateDecoder, WeightScaleDecoder, GlucoseDecoder):
        for item in decoder("x").feed(channel, data, 0):
            assert item.instrument == "x"
