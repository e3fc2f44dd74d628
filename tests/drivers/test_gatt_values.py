"""What an independent encoder writes into a characteristic, its decoder gives back."""

from datetime import datetime, timedelta

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.drivers.catalogue import CATALOGUE
from agent.drivers.opening import decoder_for
from agent.drivers.simulated import gatt_values
from agent.model import InstrumentEvent, Kind, Reading, SampleBlock

SPO2 = st.integers(50, 100)
RATE = st.integers(25, 300)
WHEN = st.datetimes(datetime(1582, 1, 1), datetime(2900, 1, 1)).map(lambda when: when.replace(microsecond=0))  # noqa: DTZ001
quick = settings(max_examples=30, deadline=None)


def decoded(key, channel, data):
    """The numbers by kind and the only time they carry; every one of them plausible."""
    decoder = decoder_for(CATALOGUE[key])
    items = [item for item in decoder.feed(channel, data, 10**9) if isinstance(item, Reading)]
    assert (decoder.counters.frames, decoder.counters.damaged, decoder.counters.implausible) == (1, 0, 0)
    (when,) = {item.instrument_time for item in items}
    return {item.kind: item.number for item in items}, when


@quick
@given(st.integers(40, 280), st.integers(20, 200), st.integers(30, 240), RATE, WHEN)
def test_blood_pressure(systolic, diastolic, mean, pulse, when):
    value = gatt_values.blood_pressure(systolic, diastolic, mean, pulse, when)
    assert decoded("and-ua651ble", "2a35", value) == (
        {
            Kind.PRESSURE_SYSTOLIC: systolic, Kind.PRESSURE_DIASTOLIC: diastolic, Kind.PRESSURE_MEAN: mean,
            Kind.PULSE_RATE: pulse,
        },
        when,
    )  # fmt: skip


@quick
@given(st.integers(300, 430), WHEN, st.integers(1, 9))
def test_temperature(tenths, when, site):
    value = gatt_values.temperature(tenths, when, site)
    assert decoded("and-ut201ble", "2a1c", value) == ({Kind.TEMPERATURE: tenths / 10}, when)


@quick
@given(SPO2, RATE, WHEN, st.integers(1, 300))
def test_plx_spot(spo2, rate, when, amplitude):
    wanted = {Kind.SPO2: spo2, Kind.PULSE_RATE: rate, Kind.PERFUSION_INDEX: amplitude / 10}
    assert decoded("plx-oximeter", "2a5e", gatt_values.plx_spot(spo2, rate, when, amplitude)) == (wanted, when)
    unset = gatt_values.plx_spot(spo2, rate, when, amplitude, clock_set=False)
    assert decoded("plx-oximeter", "2a5e", unset) == (wanted, None)


@quick
@given(SPO2, RATE)
def test_plx_continuous(spo2, rate):
    wanted = {Kind.SPO2: spo2, Kind.PULSE_RATE: rate}
    assert decoded("plx-oximeter", "2a5f", gatt_values.plx_continuous(spo2, rate, 1 << 5)) == (wanted, None)


@quick
@given(RATE, st.lists(st.integers(0, 0xFFFF), max_size=9))
def test_heart_rate(rate, intervals):
    value = gatt_values.heart_rate(rate, intervals)
    assert decoded("heart-rate-strap", "2a37", value) == ({Kind.HEART_RATE: rate}, None)
    events = decoder_for(CATALOGUE["heart-rate-strap"]).feed("2a37", value, 0)
    said = [item.detail for item in events if isinstance(item, InstrumentEvent)]
    assert said == ([" ".join(f"{interval / 1.024:.1f}" for interval in intervals)] if intervals else [])


@quick
@given(st.integers(300, 65534), WHEN, st.booleans())
def test_weight(counts, when, pounds):
    value = gatt_values.weight(counts, when, pounds=pounds)
    kg = round(counts * 4.5359237) / 1000 if pounds else counts * 5 / 1000
    assert decoded("and-uc352ble", "2a9d", value) == ({Kind.WEIGHT: kg}, when)


@quick
@given(st.integers(0, 0xFFFF), st.integers(10, 600), WHEN, st.integers(-720, 720))
def test_glucose(sequence, mg_per_dl, when, offset_min):
    value = gatt_values.glucose(sequence, mg_per_dl, when, offset_min=offset_min)
    shown = when + timedelta(minutes=offset_min)
    assert decoded("glucose-meter", "2a18", value) == ({Kind.GLUCOSE: mg_per_dl}, shown)


@quick
@given(SPO2, RATE, st.integers(2, 3000))
def test_nonin_3150(spo2, rate, amplitude):
    value = gatt_values.nonin_numerics(spo2, rate, amplitude)
    wanted = {Kind.SPO2: spo2, Kind.PULSE_RATE: rate, Kind.PERFUSION_INDEX: amplitude / 100}
    assert decoded("nonin-3150", CATALOGUE["nonin-3150"].notify[1], value) == (wanted, None)


@quick
@given(SPO2, st.integers(25, 254).filter(lambda rate: rate != 127))
def test_contec(spo2, rate):
    wanted = {Kind.SPO2: spo2, Kind.PULSE_RATE: rate}
    assert decoded("contec-ble", "ff02", gatt_values.contec(spo2, rate)) == (wanted, None)


@quick
@given(st.lists(st.integers(0, 0xFFFF), min_size=25, max_size=25), st.integers(0, 0xFFFF))
def test_nonin_3150_pleth(pleth, counter):
    value = gatt_values.nonin_pleth(np.array(pleth), counter)
    (block,) = decoder_for(CATALOGUE["nonin-3150"]).feed(CATALOGUE["nonin-3150"].notify[0], value, 0)
    assert isinstance(block, SampleBlock)
    assert block.samples.tolist() == pleth


@quick
@given(st.integers(0, 1 << 60), st.lists(st.integers(-(1 << 23), (1 << 23) - 1), min_size=1, max_size=80))
def test_polar_ecg(own_ns, microvolts):
    value = gatt_values.polar_ecg(own_ns, np.array(microvolts))
    clock, block = decoder_for(CATALOGUE["polar-h10"]).feed(CATALOGUE["polar-h10"].notify[1], value, 0)
    assert isinstance(clock, InstrumentEvent)
    assert isinstance(block, SampleBlock)
    assert block.samples.tolist() == microvolts
