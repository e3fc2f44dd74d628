"""The big numbers: which source each one takes, and how it is written with its age, site and reason."""

from typing import Any

from agent.display import freshness
from agent.display.freshness import State, Verdict
from agent.display.picture import Scene, StreamView
from agent.display.words import age, number
from agent.model import InstrumentState, Kind, NoValue, Rate, Reading, ReadingQuality

CONTINUOUS = {Kind.SPO2, Kind.PULSE_RATE, Kind.HEART_RATE, Kind.PERFUSION_INDEX, Kind.RESPIRATION_RATE}
BESIDE = {"pi", "rr"}
"""Continuous numbers that only accompany others: without a value they are left out."""
AT_WORK = {InstrumentState.READY, InstrumentState.MEASURING}


def numbers(scene: Scene) -> list[Any]:
    """Every number, in the page's order; those that need an instrument few bags carry only once given."""
    words = scene.words
    always = [_heart_rate(scene), _saturation(scene), _pulse_rate(scene)]
    given = [
        _perfusion(scene),
        _reading(scene, "rr", Kind.RESPIRATION_RATE, words("number.per_min"), 0),
        _reading(scene, "glucose", Kind.GLUCOSE, words("number.mg_per_dl"), 0),
        _reading(scene, "weight", Kind.WEIGHT, words("number.kg"), 1),
    ]
    shown = (n for n in given if n is not None and (n["id"] not in BESIDE or n["state"] != State.NONE.value))
    return [*always, _temperature(scene), _pressure(scene), *shown]


def _heart_rate(scene: Scene) -> Any:
    """Heart rate: from the ECG; without an ECG, from an instrument that measures it itself."""
    stream = scene.slots.get("ecg")
    if stream is None:
        own = _reading(scene, "hr", Kind.HEART_RATE, scene.words("number.per_min"), 0)
        return own or _absent(scene, "hr", "ecg")
    rate = scene.picture.heard(stream).rate
    return _rate(scene, "hr", *rate) if rate is not None else _absent(scene, "hr", "ecg")


def _saturation(scene: Scene) -> Any:
    """SpO2: the oximeter's own number unchanged; ours only with a validated curve for that sensor."""
    own = _reading(scene, "spo2", Kind.SPO2, scene.words("number.percent"), 0)
    if own is not None:
        return own
    for name, heard in scene.picture.streams.items():
        if heard.spo2 is None:
            continue
        spo2, t_ns = heard.spo2
        reason = spo2.reason if spo2.pct is None else None
        if not scene.views.get(name, StreamView()).calibrated:
            reason = NoValue.NOT_CALIBRATED
        verdict = freshness.continuous(t_ns - int(spo2.age_s * 1e9), scene.now_ns, reason=reason)
        return _number(scene, "spo2", scene.words("number.percent"), verdict, number(spo2.pct or 0))
    return _absent(scene, "spo2", "pleth")


def _pulse_rate(scene: Scene) -> Any:
    """FP: the oximeter's own number; without one, what our chain finds in the pleth."""
    own = _reading(scene, "pr", Kind.PULSE_RATE, scene.words("number.per_min"), 0)
    if own is not None:
        return own
    stream = scene.slots.get("pleth")
    rate = scene.picture.heard(stream).rate if stream else None
    return _rate(scene, "pr", *rate) if rate is not None else _absent(scene, "pr", "pleth")


def _perfusion(scene: Scene) -> Any | None:
    """Perfusion index, when one is given."""
    own = _reading(scene, "pi", Kind.PERFUSION_INDEX, scene.words("number.percent"), 1)
    if own is not None:
        return own
    stream = scene.slots.get("pleth")
    found = scene.picture.heard(stream).perfusion if stream else None
    if found is None:
        return None
    value, t_ns = found
    verdict = freshness.continuous(t_ns, scene.now_ns)
    return _number(scene, "pi", scene.words("number.percent"), verdict, number(value, 1))


def _temperature(scene: Scene) -> Any:
    """Temperature with its site and time."""
    own = _reading(scene, "temp", Kind.TEMPERATURE, scene.words("number.degc"), 1)
    return own or _never(scene, "temp")


def _pressure(scene: Scene) -> Any:
    """Return «128/76 mmHg», the two parts of one measurement."""
    systolic = _newest(scene, Kind.PRESSURE_SYSTOLIC)
    if systolic is None:
        return _never(scene, "bp")
    diastolic = scene.picture.readings.get((systolic.instrument, Kind.PRESSURE_DIASTOLIC))
    verdict = _judge(scene, systolic)
    text = ""
    if verdict.state is not State.NONE:
        same = diastolic is not None and (diastolic.group, diastolic.t_ns) == (systolic.group, systolic.t_ns)
        low = diastolic.number if same and diastolic is not None else None
        high = systolic.number or 0.0
        text = f"{number(high)}/{number(low) if low is not None else scene.words('common.none')}"
    note, mark = _beside(scene, systolic, verdict)
    pulse = scene.picture.readings.get((systolic.instrument, Kind.PULSE_RATE))
    if pulse is not None and pulse.group == systolic.group and pulse.number is not None and text:
        note = f"{scene.words('number.pr')} {number(pulse.number)} · {note}"
    return _number(scene, "bp", scene.words("number.mmhg"), verdict, text, note=note, mark=mark)


def _rate(scene: Scene, name: str, rate: Rate, t_ns: int) -> Any:
    """Return the big number of a rate that our own chain found."""
    reason = (rate.reason or NoValue.UNSURE) if rate.bpm is None else None
    verdict = freshness.continuous(t_ns, scene.now_ns, reason=reason)
    return _number(scene, name, scene.words("number.per_min"), verdict, number(rate.bpm or 0))


def _reading(scene: Scene, name: str, kind: Kind, unit: str, decimals: int) -> Any | None:
    """Return the big number of the newest reading of a kind, None when there never was one."""
    reading = _newest(scene, kind)
    if reading is None:
        return None
    verdict = _judge(scene, reading)
    value = reading.number
    text = "" if value is None else number(value, decimals)
    note, mark = _beside(scene, reading, verdict)
    if kind is Kind.GLUCOSE and value is not None:
        note = f"{scene.words('number.g_per_l', value=number(value / 100, 2))} · {note}"
    return _number(scene, name, unit, verdict, text, note=note, mark=mark)


def _newest(scene: Scene, kind: Kind) -> Reading | None:
    """Return the reading to show: of continuous ones a current one; a clinical instrument's first; then the newest.

    Two current sources of one kind never alternate: the one that spoke first stays.
    """

    def rank(reading: Reading) -> tuple[bool, bool, int]:
        if kind not in CONTINUOUS:
            return True, _clinical(scene, reading.instrument), reading.t_ns
        current = _judge(scene, reading).state is State.CURRENT
        return current, _clinical(scene, reading.instrument), 0 if current else reading.t_ns

    found = (r for (_, k), r in scene.picture.readings.items() if k is kind)
    # A cuff's pulse is one figure of its measurement, not a number that goes on.
    return max((r for r in found if kind not in CONTINUOUS or not _of_a_cuff(scene, r)), key=rank, default=None)


def _of_a_cuff(scene: Scene, reading: Reading) -> bool:
    card = scene.picture.card(reading.instrument)
    return card is not None and card.kind == "pressure"


def _flag(scene: Scene, flag: str) -> str:
    """Return an instrument's flag in words; a numbered one (`user_2`) goes by its name; "" is not worth a word."""
    for key in (f"flag.{flag}", f"flag.{flag.rstrip('0123456789').rstrip('_')}"):
        if key in scene.words:
            return scene.words(key)
    return scene.words("flag.other", flag=flag)


def _clinical(scene: Scene, instrument: str) -> bool:
    card = scene.picture.card(instrument)
    return card is None or card.clinical


def _judge(scene: Scene, reading: Reading) -> Verdict:
    """Return how a reading may be shown now."""
    reason = (reading.reason or NoValue.INSTRUMENT) if reading.value is None else None
    if reading.kind in CONTINUOUS:
        return freshness.continuous(reading.t_ns, scene.now_ns, reason=reason)
    void = (reading.instrument, reading.kind, reading.t_ns) in scene.picture.voided
    return freshness.spot(reading.t_ns, scene.now_ns, reason=reason, void=void)


def _beside(scene: Scene, reading: Reading, verdict: Verdict) -> tuple[str, str]:
    """Return what stands under a reading (site, time, the instrument's own words) and its mark."""
    parts: list[str] = []
    mark = ""
    if reading.site and reading.kind is not Kind.PULSE_RATE:  # it stands beside the SpO2, which has said it
        parts += [scene.words.or_given("site", part.strip()) for part in reading.site.split("·")]
    if reading.kind not in CONTINUOUS:
        parts.append(scene.time(reading.t_ns))
        if verdict.state is State.OLD and scene.wall(reading.t_ns) is not None:
            parts.append(scene.words("common.since", age=age(verdict.age_s)))
    if verdict.state is State.VOID:
        parts.append(scene.words("number.voided"))
    if verdict.state is not State.NONE:
        if reading.quality in {ReadingQuality.QUESTIONABLE, ReadingQuality.IMPLAUSIBLE}:
            parts.append(scene.words(f"number.{reading.quality.value}"))
            mark = "todo"
        said = [text for flag in reading.flags if (text := _flag(scene, flag))]
        parts += said
        mark = "todo" if said else mark
    if not _clinical(scene, reading.instrument):
        parts.append(scene.words("number.not_clinical"))
    return " · ".join(parts), mark


def _number(scene: Scene, name: str, unit: str, verdict: Verdict, text: str, *, note: str = "", mark: str = "") -> Any:
    """Return one big number as the page takes it; without a value, dashes and why."""
    none = verdict.state is State.NONE
    return {
        "id": name,
        "label": scene.words(f"number.{name}"),
        "text": scene.words("common.none") if none else text,
        "unit": "" if none else unit,
        "state": verdict.state.value,
        "age": round(verdict.age_s, 1),
        "reason": _no_value(scene, verdict) if none else "",
        "note": note,
        "mark": mark,
        "quiet": False,
    }


def _absent(scene: Scene, name: str, slot: str) -> Any:
    """Return a number whose instrument has given nothing yet: dashes and what its instrument does."""
    out = _number(scene, name, "", Verdict(State.NONE, 0.0), "") | {"quiet": True}
    status = scene.picture.status.get(scene.picture.owner(scene.slots.get(slot, "")))
    if slot not in scene.slots or (status is not None and status.state not in AT_WORK):
        out["reason"] = scene.words("sweep.no_instrument")
    return out


def _never(scene: Scene, name: str) -> Any:
    """Return a spot value that was not measured yet: nothing is wrong, nobody is called to it."""
    none = _number(scene, name, "", Verdict(State.NONE, 0.0), "")
    return none | {"reason": scene.words("number.never"), "quiet": True}


def _no_value(scene: Scene, verdict: Verdict) -> str:
    """Say why there is no number."""
    reason = verdict.reason or NoValue.STARTING
    if reason is NoValue.STALE:
        return scene.words.of(reason, age=age(verdict.age_s))
    return scene.words.of(reason)
