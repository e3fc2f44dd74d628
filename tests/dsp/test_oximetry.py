"""SpO2 from raw light: right within its gate, held for ten seconds, then silent with the reason."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_pleth import blocks, light

from agent.dsp.calibration import CURVES, Curve, curve_for
from agent.dsp.oximetry import HOLD_S, Oximeter
from agent.model import Happening, NoValue

FS = 100.0


def measure(lights, *, fs=FS, curve="linear", ambient=True):
    stage = Oximeter(fs, curve)
    values = stage.push(lights.red, lights.ir, lights.ambient if ambient else None)
    return values, [e.kind for e in stage.events()]


def shown(values):
    return np.array([v.pct for v in values if v.pct is not None])


@pytest.mark.parametrize("pct", [70.0, 82.0, 90.0, 97.0])
def test_the_saturation_of_a_still_finger(pct):
    values, events = measure(light(pct))
    assert [v.time_s for v in values] == [float(k) for k in range(1, 31)]
    assert shown(values[6:]) == pytest.approx(pct, abs=0.4)
    assert len(shown(values[6:])) == 24
    assert events == []


@pytest.mark.parametrize(("fs", "rate"), [(60.0, 45), (75.0, 72), (125.0, 120), (64.0, 200)])
def test_any_sampling_and_pulse_rate(fs, rate):
    assert shown(measure(light(90.0, fs_hz=fs, rate=rate), fs=fs)[0][6:]) == pytest.approx(90.0, abs=0.5)


def test_low_perfusion():
    errors = [shown(measure(light(90.0, pi=0.05, noise=1.0, seed=s))[0][6:]) - 90.0 for s in range(3)]
    assert np.sqrt(np.mean(np.concatenate(errors) ** 2)) < 0.8


def test_nothing_before_four_seconds():
    values, _ = measure(light())
    assert [(v.pct, v.reason) for v in values[:3]] == [(None, NoValue.STARTING)] * 3


def moved(size, *, seconds=40.0):
    still, shaken = light(92.0, seconds=seconds), light(92.0, seconds=seconds, motion=size)
    part = np.zeros(still.ir.size, bool)
    part[1500:1900] = True
    return replace(still, red=np.where(part, shaken.red, still.red), ir=np.where(part, shaken.ir, still.ir))


def test_movement_holds_the_last_value_with_its_age():
    values, _ = measure(moved(3.0))
    assert shown(values[6:]) == pytest.approx(92.0, abs=1.0)
    assert max(v.age_s for v in values) >= 3.0
    assert values[-1].age_s == 0.0


def test_the_ungated_ratio_would_have_been_wrong():
    """The control: without the gate the same movement pulls the ratio to that of venous blood."""
    lights = moved(3.0)
    part = slice(1500, 1900)
    log = np.log(np.stack((lights.red - lights.ambient, lights.ir - lights.ambient)))[:, part]
    ratio = np.std(log[0]) / np.std(log[1])
    assert abs(CURVES["linear"](ratio) - 92.0) > 5.0


def test_nothing_older_than_ten_seconds_is_shown():
    lights = light(95.0, seconds=60.0)
    rng = np.random.default_rng(1)
    shake = np.repeat(rng.standard_normal(200), 20) * 4000.0
    red, ir = lights.red.copy(), lights.ir.copy()
    red[2000:] += shake
    ir[2000:] -= 0.3 * shake
    values, _ = measure(replace(lights, red=red, ir=ir))
    assert max(v.age_s for v in values if v.pct is not None) <= HOLD_S
    assert values[25].pct is not None
    assert all(v.pct is None and v.reason is not None for v in values[34:])


def test_a_value_or_a_reason_never_both():
    for lights in (light(), moved(3.0), light(pi=0.001)):
        for v in measure(lights)[0]:
            assert (v.pct is None) == (v.reason is not None)
            assert v.pct is None or 0.0 < v.pct <= 100.0


# --- calibration ------------------------------------------------------------------------------------------------


def test_no_curve_is_validated_and_an_unknown_model_gets_the_default():
    assert not any(curve.validated for curve in CURVES.values())
    assert curve_for("no such sensor") is CURVES["default"]
    assert curve_for(None) is Oximeter(FS).curve


def test_the_default_is_nowhere_more_optimistic_than_the_textbook():
    for ratio in np.linspace(0.3, 1.8, 50):
        assert CURVES["default"](ratio) < CURVES["linear"](ratio)


def test_a_curve_is_data():
    curve = Curve("mine", (-45.060, 30.354, 94.845), validated=False, source="test")
    assert curve(0.5) == pytest.approx(-45.060 * 0.25 + 30.354 * 0.5 + 94.845)
    assert Oximeter(FS, (-25.0, 110.0)).curve(1.0) == 85.0
    with pytest.raises(KeyError):
        Oximeter(FS, "no such curve")


# --- what is wrong with the sensor is named ---------------------------------------------------------------------


def test_red_and_infrared_exchanged():
    lights = light(97.0)
    values, events = measure(replace(lights, red=lights.ir, ir=lights.red))
    assert shown(values).size == 0
    assert values[-1].reason is NoValue.SWAPPED
    assert events == [Happening.SWAPPED]


def test_probe_off_and_on():
    lights = light(96.0, seconds=40.0)
    red, ir = lights.red.copy(), lights.ir.copy()
    rng = np.random.default_rng(2)
    red[1500:2000] = lights.ambient[1500:2000] + np.round(400 + rng.standard_normal(500))
    ir[1500:2000] = lights.ambient[1500:2000] + np.round(500 + rng.standard_normal(500))
    values, events = measure(replace(lights, red=red, ir=ir))
    assert [(v.pct, v.reason) for v in values[16:20]] == [(None, NoValue.PROBE_OFF)] * 4
    assert events == [Happening.PROBE_OFF, Happening.PROBE_ON]
    assert values[-1].pct == pytest.approx(96.0, abs=0.5)


def test_a_saturated_converter():
    lights = light(96.0)
    ir = lights.ir.copy()
    ir[1500:] = 262143.0
    values, events = measure(replace(lights, ir=ir))
    assert values[-1].reason is NoValue.SATURATED
    assert events == [Happening.SATURATED]


def test_a_converter_that_cuts_the_tops():
    lights = light(96.0)
    top = np.quantile(lights.ir, 0.6)
    values, events = measure(replace(lights, ir=np.minimum(lights.ir, top)))
    assert shown(values).size == 0
    assert Happening.SATURATED in events


@pytest.mark.parametrize("stuck", [0.0, 17.0, np.nan])
def test_a_disconnected_sensor(stuck):
    lights = light(96.0)
    red, ir = lights.red.copy(), lights.ir.copy()
    red[1500:] = ir[1500:] = stuck
    values, events = measure(replace(lights, red=red, ir=ir))
    assert values[-1].reason is NoValue.DISCONNECTED
    assert events == [Happening.DISCONNECTED]


def flicker(size, hz=1.7):
    lights = light(92.0, seed=3)
    return size * np.sin(2 * np.pi * hz * np.arange(lights.ir.size) / FS), lights


def test_a_lamp_is_subtracted_and_named():
    lamp, lights = flicker(3000.0)
    values, events = measure(replace(lights, red=lights.red + lamp, ir=lights.ir + lamp, ambient=lights.ambient + lamp))
    assert shown(values[6:]) == pytest.approx(92.0, abs=1.0)
    assert events == [Happening.AMBIENT_LIGHT]


def test_a_lamp_on_an_empty_sensor_is_no_pulse():
    """Both lights see the same flicker: as a ratio that would read about 85 %."""
    lamp, _ = flicker(600.0)
    rng = np.random.default_rng(4)
    red, ir = (90_000 + lamp + rng.standard_normal(lamp.size) for _ in range(2))
    stage = Oximeter(FS, "linear")
    values = stage.push(np.round(red), np.round(ir))
    assert shown(values).size == 0
    assert [e.kind for e in stage.events()] == [Happening.AMBIENT_LIGHT]


def test_missing_samples_refuse_their_second_and_cost_no_more_than_the_window():
    lights = light(94.0)
    red = lights.red.copy()
    red[1510:1520] = np.nan
    values, _ = measure(replace(lights, red=red))
    assert values[15].age_s > 0.0
    assert values[-1].age_s == 0.0
    assert shown(values[6:]) == pytest.approx(94.0, abs=0.5)


def test_a_gap_begins_the_window_anew_and_the_value_ages():
    lights = light(94.0, seconds=40.0)
    stage = Oximeter(FS, "linear")
    stage.push(lights.red[:1550], lights.ir[:1550], lights.ambient[:1550])
    stage.gap(450)
    values = stage.push(lights.red[2000:], lights.ir[2000:], lights.ambient[2000:])
    assert values[0].time_s == 21.0
    assert values[0].age_s == pytest.approx(6.0)
    assert values[-1].age_s == 0.0
    stage.gap(10_000)
    assert stage.push(lights.red[:100], lights.ir[:100])[0].pct is None


# --- the shape of a stage ---------------------------------------------------------------------------------------


@given(cuts=st.lists(st.integers(0, 4000), max_size=12))
@settings(max_examples=20, deadline=None)
def test_any_cutting_gives_the_same(cuts):
    lights = moved(2.0)
    red = lights.red.copy()
    red[2510] = np.nan
    lights = replace(lights, red=red)
    want, events = measure(lights)
    stage = Oximeter(FS, "linear")
    got = [v for s in blocks(4000, cuts) for v in stage.push(lights.red[s], lights.ir[s], lights.ambient[s])]
    assert [(v.time_s, v.reason, v.age_s) for v in got] == [(v.time_s, v.reason, v.age_s) for v in want]
    assert [v.pct or 0.0 for v in got] == pytest.approx([v.pct or 0.0 for v in want], abs=1e-6)
    assert [e.kind for e in stage.events()] == events


def test_lights_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="3, 4 and 3 samples"):
        Oximeter(FS).push(np.zeros(3), np.zeros(4))


def test_reset_forgets_everything():
    lights = light()
    stage = Oximeter(FS, "linear")
    want = stage.push(lights.red, lights.ir, lights.ambient)
    stage.reset()
    assert stage.push(lights.red, lights.ir, lights.ambient) == want
