"""What an independent encoder sends, each decoder gives back: any values, cut anywhere."""

from datetime import datetime

import numpy as np
import pytest
from driver_rig import cuts, fed, gaps_of, samples_of
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.drivers.catalogue import CATALOGUE
from agent.drivers.opening import decoder_for
from agent.drivers.simulated import frames
from agent.model import Kind, Reading, ReadingQuality

SPO2 = st.integers(50, 100)
RATE = st.integers(25, 250)
BREATHS = st.integers(3, 80)
WHEN = st.datetimes(datetime(1990, 1, 1), datetime(2099, 1, 1)).map(lambda when: when.replace(microsecond=0))  # noqa: DTZ001


def wave(low: int, high: int, n: int):
    """`n` samples within bounds, both included."""
    return st.lists(st.integers(low, high), min_size=n, max_size=n).map(lambda values: np.array(values, np.int32))


def s16(n):
    return wave(-(2**15), 2**15 - 1, n)


def s32(n):
    return wave(-(2**31), 2**31 - 1, n)


def decoded(key, data, places=()):
    """Every stream's samples and the last number of each kind; nothing lost, damaged or out of range."""
    decoder = decoder_for(CATALOGUE[key])
    items = fed(decoder, data, [place for place in places if place <= len(data)])
    assert (decoder.counters.damaged, decoder.counters.implausible) == (0, 0)
    assert not any(gaps_of(items, stream.name) for stream in decoder.streams)
    samples = {s.name.removeprefix(f"{key}."): samples_of(items, s.name).tolist() for s in decoder.streams}
    return samples, {i.kind: i.number for i in items if isinstance(i, Reading)}


@given(s16(20), s16(20), s32(20), s32(20), st.integers(3000, 4300), BREATHS, SPO2, RATE, cuts(540))
@settings(max_examples=30, deadline=None)
def test_healthypi_4(ecg, respiration, infrared, red, cc, breaths, spo2, rate, places):
    numbers = bytes((breaths, spo2, rate))
    data = frames.healthypi4(ecg, respiration, infrared, red, temperature_cc=cc, numbers=numbers)
    samples, given_ = decoded("healthypi-4", data, places)
    assert list(samples.values()) == [one.tolist() for one in (ecg, respiration, infrared, red)]
    assert given_ == {
        Kind.TEMPERATURE: cc / 100, Kind.RESPIRATION_RATE: breaths, Kind.SPO2: spo2, Kind.HEART_RATE: rate,
    }  # fmt: skip


@given(s32(20), s32(20), s32(20), s32(20), st.integers(3000, 4300), BREATHS, SPO2, RATE, cuts(580))
@settings(max_examples=30, deadline=None)
def test_healthypi_5_of_one_frame_a_sample(ecg, respiration, infrared, red, cc, breaths, spo2, rate, places):
    numbers = bytes((breaths, spo2, rate))
    data = frames.healthypi5_openview(ecg, respiration, infrared, red, temperature_cc=cc, numbers=numbers)
    samples, given_ = decoded("healthypi-5", data, places)
    wanted = {"ecg": ecg, "respiration": respiration[::2], "red": red, "infrared": infrared, "pleth": ecg[:0]}
    assert samples == {name: values.tolist() for name, values in wanted.items()}
    assert given_ == {
        Kind.TEMPERATURE: cc / 100, Kind.RESPIRATION_RATE: breaths, Kind.SPO2: spo2, Kind.HEART_RATE: rate,
    }  # fmt: skip


@given(s32(8), s32(4), s16(8), st.integers(3000, 4300), BREATHS, SPO2, RATE, cuts(83))
@settings(max_examples=30, deadline=None)
def test_healthypi_5_of_eight_samples_a_frame(ecg, respiration, pleth, cc, breaths, spo2, rate, places):
    data = frames.healthypi5_ecg(ecg, respiration, rate=rate, breaths=breaths)
    data += frames.healthypi5_pleth(pleth, spo2=spo2, temperature_cc=cc)
    samples, given_ = decoded("healthypi-5", data, places)
    wanted = {"ecg": ecg, "respiration": respiration, "pleth": pleth, "red": ecg[:0], "infrared": ecg[:0]}
    assert samples == {name: values.tolist() for name, values in wanted.items()}
    assert given_ == {Kind.RESPIRATION_RATE: breaths, Kind.SPO2: spo2, Kind.HEART_RATE: rate}


@pytest.mark.parametrize("key", ["berry-bm1000", "contec-cms50-5byte"])
@given(pleth=wave(0, 127, 20), spo2=SPO2, rate=RATE, places=cuts(100))
@settings(max_examples=30, deadline=None)
def test_bci(key, pleth, spo2, rate, places):
    data = frames.bci(pleth, spo2=spo2, rate=rate)
    assert decoded(key, data, places) == ({"pleth": pleth.tolist()}, {Kind.SPO2: spo2, Kind.PULSE_RATE: rate})


@given(wave(0, 127, 20), SPO2, RATE, cuts(180))
@settings(max_examples=30, deadline=None)
def test_contec_of_nine_bytes(pleth, spo2, rate, places):
    data = frames.contec(pleth, spo2=spo2, rate=rate)
    given_ = decoded("contec-cms50-9byte", data, places)
    assert given_ == ({"pleth": pleth.tolist()}, {Kind.SPO2: spo2, Kind.PULSE_RATE: rate})


@pytest.mark.parametrize(("key", "highest"), [("nonin-xpod", 0xFFFF), ("nonin-df2", 0xFF)])
@given(data=st.data(), spo2=SPO2, rate=st.integers(25, 300), places=cuts(250))
@settings(max_examples=30, deadline=None)
def test_nonin(key, highest, data, spo2, rate, places):
    first, second = data.draw(wave(0, highest, 25)), data.draw(wave(0, highest, 25))
    wide = key == "nonin-xpod"
    sent = b"".join(frames.nonin(pleth, spo2=spo2, rate=rate, wide=wide) for pleth in (first, second))
    samples, given_ = decoded(key, b"\x06" + sent, places)  # behind the answer to our choice of the format
    assert samples == {"pleth": [*first.tolist(), *second.tolist()]}
    assert given_ == {Kind.SPO2: spo2, Kind.PULSE_RATE: rate}


@given(WHEN, SPO2, st.integers(25, 300), st.booleans(), st.booleans(), cuts(22))
@settings(max_examples=30, deadline=None)
def test_nonin_spot(when, spo2, rate, smart_point, from_memory, places):
    sent = frames.nonin_spot(when, spo2=spo2, rate=rate, smart_point=smart_point, from_memory=from_memory)
    items = fed(decoder_for(CATALOGUE["nonin-spot"]), sent, places)
    assert [(i.kind, i.number) for i in items] == [(Kind.SPO2, spo2), (Kind.PULSE_RATE, rate)]
    assert {(i.instrument_time, i.flags, i.quality) for i in items} == {
        (
            when,
            ("from_memory",) if from_memory else (),
            ReadingQuality.GOOD if smart_point else ReadingQuality.QUESTIONABLE,
        )
    }


@given(SPO2, RATE, st.integers(2, 3000), cuts(120))
@settings(max_examples=30, deadline=None)
def test_masimo(spo2, rate, perfusion, places):
    text = f"{perfusion // 100:02}.{perfusion % 100:02}"
    sent = frames.masimo(spo2=f"{spo2:03}", rate=f"{rate:03}", perfusion=text)
    wanted = {Kind.SPO2: spo2, Kind.PULSE_RATE: rate, Kind.PERFUSION_INDEX: perfusion / 100}
    assert decoded("masimo-ascii1", sent, places) == ({}, wanted)


@given(s16(700), cuts(1412), st.integers(0, 1 << 40))
@settings(max_examples=20, deadline=None)
def test_sound_of_a_constant_stays_that_constant(samples, places, index):
    constant = np.full(700, samples[0], np.int32)
    given_, _ = decoded("stethoscope", frames.sound(index, constant), places)
    assert set(given_["sound"]) == {int(samples[0])}
