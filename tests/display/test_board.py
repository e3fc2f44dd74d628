"""What a board says is what may be trusted: numbers, tiles, link and visit, as tables."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from agent.display.board import START, Board, Card, LinkState, StreamView, card_for
from agent.display.words import Words
from agent.errors import InstrumentReason
from agent.model import (
    Analysis,
    Cause,
    Gap,
    GapReason,
    Happening,
    InstrumentEvent,
    InstrumentState,
    Kind,
    NoValue,
    Pulse,
    Quality,
    Rate,
    Reading,
    ReadingQuality,
    Signal,
    Spo2,
    StageEvent,
    Stream,
    Trace,
    Unit,
    Visit,
)

S = 10**9
ECG = Stream("ecg", Signal.ECG, "board", 250.0, 0.001, "mV", lead="DII")
PLETH = Stream("pleth", Signal.PLETH, "clip", 100.0, 1.0, "1")
INFRARED = Stream("ir", Signal.INFRARED, "board", 125.0, 1.0, "1")
SOUND = Stream("sound", Signal.SOUND, "scope", 4000.0, 1.0, "1", lead="mitral")
CARDS = (
    Card("board", "ecg", clinical=False), Card("clip", "oximeter"), Card("scope", "stethoscope"),
    Card("cuff", "pressure"), Card("ear", "thermometer"),
)  # fmt: skip


WORDS = Words.load()


class Clock:
    """A board's time: starts at 1000 s, 14:20:00 local time."""

    def __init__(self) -> None:
        self.ns = 1000 * S
        self.anchored = True

    def now_ns(self) -> int:
        return self.ns

    def wall(self, t_ns: int) -> datetime | None:
        begin = datetime(2026, 5, 4, 14, 20, tzinfo=UTC)
        return begin + timedelta(seconds=t_ns / S - 1000) if self.anchored else None


class Desk:
    """A board, its clock, and short ways to ask it."""

    def __init__(self, *, remote: bool = False) -> None:
        self.clock = Clock()
        self.board = Board(
            WORDS, demo=True, bag="Sac 04", now_ns=self.clock.now_ns, wall=self.clock.wall, remote=remote
        )

    def described(self) -> "Desk":
        self.board.describe([ECG, PLETH, SOUND], {}, CARDS)
        for key in ("board", "clip", "scope", "cuff", "ear"):
            self.board.feed(InstrumentEvent(key, self.clock.ns, InstrumentState.MEASURING))
        return self

    def after(self, seconds: float) -> "Desk":
        self.clock.ns += round(seconds * S)
        return self

    def reading(self, instrument: str, kind: Kind, unit: Unit, value: int | None, **more) -> Reading:
        item = Reading(instrument, kind, unit, self.clock.ns, value, **more)
        self.board.feed(item)
        return item

    def analysis(self, stream: str, **found) -> None:
        self.board.feed(Analysis(stream, self.clock.ns, **found))

    def samples(self, stream: Stream, seconds: float = 0.1, *, index: int = 0, t_ns: int | None = None) -> None:
        n = round(seconds * stream.fs_hz)
        at = self.clock.ns - round(seconds * S) if t_ns is None else t_ns
        self.board.feed(Trace(stream.name, index, at, stream.fs_hz, np.zeros(n)))

    @property
    def vitals(self):
        return self.board.messages()[0][-1]

    def number(self, name: str):
        return next((n for n in self.vitals["numbers"] if n["id"] == name), None)

    def shown(self, name: str) -> tuple[str, str]:
        """What stands in the number's place, and its state."""
        number = self.number(name)
        return number["text"], number["state"]

    def tile(self, key: str):
        return next(t for t in self.vitals["tiles"] if t["id"] == key)


# --- numbers -----------------------------------------------------------------------------------------------------


def test_the_heart_rate_is_the_ecg_s_and_lives_ten_seconds():
    desk = Desk().described()
    desk.analysis("ecg", rate=Rate(71.6))
    assert desk.shown("hr") == ("72", "current")
    assert desk.number("hr")["unit"] == "/min"
    assert desk.after(9.9).shown("hr") == ("72", "current")
    assert desk.after(0.2).shown("hr") == ("– –", "none")
    assert desk.number("hr")["reason"] == "Pas de mesure depuis 10 s"
    assert desk.number("hr")["unit"] == ""


@pytest.mark.parametrize("reason", [r for r in NoValue if r is not NoValue.STALE])
def test_a_heart_rate_that_is_none_says_why(reason):
    desk = Desk().described()
    desk.analysis("ecg", rate=Rate(72.0))
    desk.analysis("ecg", rate=Rate(None, reason))
    assert desk.shown("hr") == ("– –", "none")
    assert desk.number("hr")["reason"] == desk.board.words.of(reason)


def test_the_pleth_never_stands_in_for_the_heart_rate():
    desk = Desk().described()
    desk.analysis("pleth", rate=Rate(64.0))
    desk.reading("clip", Kind.PULSE_RATE, Unit.PER_MIN, 65)
    assert desk.shown("hr")[1] == "none"
    assert desk.shown("pr") == ("65", "current")  # the oximeter's own, not ours
    assert desk.number("pr")["label"] == "FP"


def test_an_instrument_s_own_heart_rate_is_shown_only_where_there_is_no_ecg():
    desk = Desk().described()
    desk.reading("board", Kind.HEART_RATE, Unit.PER_MIN, 80)
    assert desk.shown("hr")[1] == "none"
    alone = Desk()
    alone.reading("strap", Kind.HEART_RATE, Unit.PER_MIN, 80)
    assert alone.shown("hr") == ("80", "current")


def test_late_findings_never_replace_newer_ones():
    desk = Desk().described()
    desk.analysis("ecg", rate=Rate(72.0))
    desk.board.feed(Analysis("ecg", desk.clock.ns - 60 * S, rate=Rate(140.0)))
    desk.reading("clip", Kind.SPO2, Unit.PERCENT, 97)
    desk.board.feed(Reading("clip", Kind.SPO2, Unit.PERCENT, desk.clock.ns - 60 * S, 80))
    assert desk.shown("hr")[0] == "72"
    assert desk.shown("spo2")[0] == "97"


def test_the_oximeter_s_own_number_passes_unchanged_with_our_quality_beside_it():
    desk = Desk().described()
    desk.reading("clip", Kind.SPO2, Unit.PERCENT, 97, flags=("searching",))
    desk.analysis("pleth", quality=(Quality(0, 0.1, Cause.MOTION),))
    assert desk.shown("spo2") == ("97", "current")
    assert desk.number("spo2")["label"] == "SpO₂"
    assert "Recherche du pouls" in desk.number("spo2")["note"]
    assert desk.vitals["quality"]["pleth"] == {"mark": "todo", "text": desk.board.words.of(Cause.MOTION)}
    assert desk.after(10.1).shown("spo2") == ("– –", "none")


def test_saturation_of_ours_stays_hidden_without_a_curve():
    desk = Desk()
    desk.board.describe([INFRARED])
    desk.analysis("ir", spo2=Spo2(1.0, 96.4))
    assert desk.shown("spo2") == ("– –", "none")
    assert desk.number("spo2")["reason"] == "Capteur non étalonné"
    desk.board.describe([], {"ir": StreamView(calibrated=True)})
    assert desk.shown("spo2") == ("96", "current")
    desk.analysis("ir", spo2=Spo2(2.0, 96.4, age_s=10.5))
    assert desk.shown("spo2")[1] == "none"


def test_of_two_sources_the_clinical_one_is_shown_and_they_never_alternate():
    desk = Desk().described()
    for _ in range(3):
        desk.reading("board", Kind.SPO2, Unit.PERCENT, 91)
        assert desk.after(0.5).shown("spo2")[0] in {"91", "97"}
        desk.reading("clip", Kind.SPO2, Unit.PERCENT, 97)
        assert desk.shown("spo2")[0] == "97"
    desk.after(10.5).reading("board", Kind.SPO2, Unit.PERCENT, 91)
    assert desk.shown("spo2")[0] == "91"  # the clip fell silent
    assert "Non clinique" in desk.number("spo2")["note"]


def test_skin_temperature_of_a_board_does_not_replace_the_thermometer():
    desk = Desk().described()
    desk.reading("ear", Kind.TEMPERATURE, Unit.DEGC, 371, exponent=-1, site="tympan")
    desk.after(60).reading("board", Kind.TEMPERATURE, Unit.DEGC, 3312, exponent=-2, site="peau")
    assert desk.shown("temp")[0] == "37,1"


def test_a_spot_value_keeps_its_site_and_time_and_goes_grey():
    desk = Desk().described()
    assert desk.number("temp")["reason"] == "pas encore mesurée"
    desk.reading("ear", Kind.TEMPERATURE, Unit.DEGC, 371, exponent=-1, site="tympanum")
    assert desk.number("temp") | {"age": 0} == {
        "id": "temp", "label": "Température", "text": "37,1", "unit": "°C", "state": "current", "age": 0, "reason": "",
        "note": "tympan · 14:20", "mark": "", "quiet": False,
    }  # fmt: skip
    desk.after(720)
    assert desk.shown("temp") == ("37,1", "old")
    assert desk.number("temp")["note"] == "tympan · 14:20 · il y a 12 min"
    desk.clock.anchored = False
    assert desk.number("temp")["note"] == "tympan · il y a 12 min"


def test_only_a_voided_value_is_struck():
    desk = Desk().described()
    reading = desk.reading("ear", Kind.TEMPERATURE, Unit.DEGC, 371, exponent=-1)
    desk.board.void(reading)
    assert desk.shown("temp") == ("37,1", "void")
    assert "annulée" in desk.number("temp")["note"]
    desk.after(5).reading("ear", Kind.TEMPERATURE, Unit.DEGC, 375, exponent=-1)
    assert desk.shown("temp") == ("37,5", "current")


def pressure(desk: Desk, high: int | None, low: int | None, *, group: int = 1, **more) -> None:
    reason = NoValue.INSTRUMENT if high is None else None
    desk.reading("cuff", Kind.PRESSURE_SYSTOLIC, Unit.MMHG, high, group=group, reason=reason, **more)
    desk.reading("cuff", Kind.PRESSURE_DIASTOLIC, Unit.MMHG, low, group=group, reason=reason, **more)


def test_a_pressure_is_one_measurement_of_two_numbers():
    desk = Desk().described()
    pressure(desk, 128, 76, site="left_arm · seated · cuff_m", flags=("cuff_too_loose", "user_1"))
    assert desk.shown("bp") == ("128/76", "current")
    assert desk.number("bp")["unit"] == "mmHg"
    assert desk.number("bp")["note"] == "bras gauche · assis · brassard M · 14:20 · Brassard trop lâche"
    assert desk.number("bp")["mark"] == "todo"


def test_the_parts_of_two_measurements_are_never_put_together():
    desk = Desk().described()
    pressure(desk, 128, 76)
    desk.after(60).reading("cuff", Kind.PRESSURE_SYSTOLIC, Unit.MMHG, 141, group=2)
    assert desk.shown("bp") == ("141/– –", "current")
    desk.after(60)
    pressure(desk, None, None, group=3)
    assert desk.shown("bp") == ("– –", "none")
    assert desk.number("bp")["reason"].startswith("L'appareil ne donne pas de valeur")


def test_the_cuff_s_pulse_belongs_to_its_measurement_and_is_no_live_number():
    desk = Desk().described()
    pressure(desk, 128, 76)
    desk.reading("cuff", Kind.PULSE_RATE, Unit.PER_MIN, 58, group=1)
    assert desk.shown("pr")[1] == "none"
    assert desk.number("bp")["note"].startswith("FP 58 · ")


@pytest.mark.parametrize(
    ("quality", "said"),
    [(ReadingQuality.QUESTIONABLE, "À vérifier"), (ReadingQuality.IMPLAUSIBLE, "Valeur improbable")],
)
def test_a_doubtful_value_is_shown_with_its_doubt(quality, said):
    desk = Desk().described()
    desk.reading("ear", Kind.TEMPERATURE, Unit.DEGC, 318, exponent=-1, quality=quality)
    assert desk.shown("temp") == ("31,8", "current")
    assert said in desk.number("temp")["note"]
    assert desk.number("temp")["mark"] == "todo"


def test_glucose_is_never_in_mmol_alone_and_weight_has_a_decimal():
    desk = Desk().described()
    desk.reading("meter", Kind.GLUCOSE, Unit.MG_PER_DL, 126)
    desk.reading("scale", Kind.WEIGHT, Unit.KG, 7245, exponent=-2)
    assert (desk.shown("glucose")[0], desk.number("glucose")["unit"]) == ("126", "mg/dL")
    assert desk.number("glucose")["note"].startswith("(1,26 g/L)")
    assert desk.shown("weight") == ("72,5", "current")


def test_an_oximeter_that_groups_its_numbers_is_shown_as_any_other():
    desk = Desk().described()
    for group, value in ((7, 95), (8, 96)):
        desk.reading("plx", Kind.SPO2, Unit.PERCENT, value, group=group)
        desk.reading("plx", Kind.PULSE_RATE, Unit.PER_MIN, 60 + group, group=group)
    assert (desk.shown("spo2")[0], desk.shown("pr")[0]) == ("96", "68")


def test_perfusion_is_shown_only_while_it_is_given():
    desk = Desk().described()
    assert desk.number("pi") is None
    desk.analysis("pleth", pulses=(Pulse(1.0, None), Pulse(1.8, 2.44)))
    assert desk.shown("pi") == ("2,4", "current")
    desk.reading("clip", Kind.PERFUSION_INDEX, Unit.PERCENT, 31, exponent=-1)
    assert desk.shown("pi")[0] == "3,1"
    assert desk.after(11).number("pi") is None


def test_without_any_instrument_every_number_is_dashes_with_a_reason():
    for number in Desk().vitals["numbers"]:
        assert (number["text"], number["state"], number["unit"]) == ("– –", "none", "")
        assert number["reason"]


# --- tiles -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "what", "mark", "text"),
    [
        (InstrumentState.OFF, "", "idle", "éteint"),
        (InstrumentState.CONNECTING, "", "idle", "connexion…"),
        (InstrumentState.READY, "", "ok", "prêt"),
        (InstrumentState.SILENT, "", "todo", "Il ne donne plus rien : vérifiez-le"),
        (InstrumentState.FAILED, "", "bad", "En panne : essayez de le rallumer"),
        *(
            (InstrumentState.FAILED, reason.value, "bad", WORDS.of(reason))
            for reason in InstrumentReason
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("in_detail", [False, True])
def test_a_tile_says_where_its_instrument_stands(state, what, mark, text, in_detail):
    desk = Desk()
    desk.board.describe([], {}, CARDS)
    assert desk.tile("cuff")["text"] == "pas encore vu"
    event = InstrumentEvent("cuff", desk.clock.ns, state, what)
    desk.board.feed(replace(event, what="failed", detail=what) if in_detail else event)
    tile = desk.tile("cuff")
    assert (tile["mark"], tile["text"]) == (mark, text)
    assert tile["word"]


def test_a_tile_gives_its_tip_until_the_instrument_gives_what_it_should():
    desk = Desk()
    desk.board.describe([], {}, CARDS)
    desk.board.feed(InstrumentEvent("cuff", desk.clock.ns, InstrumentState.READY))
    assert desk.tile("cuff")["tip"] == "Brassard posé : appuyez sur START"
    desk.board.feed(InstrumentEvent("cuff", desk.clock.ns, what="cuff_mmhg", detail="120"))
    assert desk.tile("cuff")["text"] == "Mesure en cours : 120 mmHg"
    pressure(desk.after(5), 128, 76)
    assert (desk.tile("cuff")["text"], desk.tile("cuff")["tip"]) == ("mesure reçue", "")


def test_a_stream_that_stops_is_no_good_tile():
    desk = Desk().described()
    desk.samples(ECG)
    assert (desk.tile("board")["mark"], desk.tile("board")["text"]) == ("ok", "signal correct")
    assert desk.after(5).tile("board")["mark"] == "todo"


def test_a_stethoscope_at_rest_is_well():
    desk = Desk().described()
    desk.board.listening(on=True)
    desk.samples(SOUND)
    assert desk.tile("scope")["text"] == "son reçu"
    assert desk.after(5).tile("scope")["mark"] == "todo"
    desk.board.listening(on=False)
    assert desk.tile("scope")["mark"] == "ok"


def test_from_afar_the_microphone_is_open_while_its_sound_comes_in():
    desk = Desk(remote=True).described()
    assert desk.vitals["sound"] == {"listening": False, "site": None, "empty": "Écoute arrêtée"}
    desk.samples(SOUND)
    assert desk.vitals["sound"]["listening"]
    assert not desk.after(5).vitals["sound"]["listening"]
    assert desk.tile("scope")["mark"] == "ok"


def test_an_instrument_that_is_no_medical_device_says_so():
    desk = Desk().described()
    assert desk.tile("board")["flag"] == "Non clinique"
    assert desk.tile("clip")["flag"] == ""


@pytest.mark.parametrize("event", [Happening.LEAD_OFF, Happening.SATURATED, Happening.NO_BEATS, Happening.DISCONNECTED])
def test_what_a_stage_notices_is_said_on_the_tile(event):
    desk = Desk().described()
    desk.samples(ECG)
    desk.analysis("ecg", events=(StageEvent(0, 0.0, event),))
    assert (desk.tile("board")["mark"], desk.tile("board")["text"]) == ("todo", desk.board.words.of(event))


@pytest.mark.parametrize("fault", ["swapped", "disconnected", "saturated", "ambient_light", "probe_off"])
def test_what_is_wrong_with_a_raw_sensor_is_said_as_long_as_it_is(fault):
    desk = Desk().described()
    desk.board.describe([INFRARED])
    for _ in range(20):
        desk.after(1.0).analysis("ir", spo2=Spo2(0.0, None, NoValue(fault)), rate=Rate(72.0))
        assert desk.tile("board")["text"] == desk.board.words.of(NoValue(fault))
    desk.after(1.0).analysis("ir", spo2=Spo2(0.0, None, NoValue.MOTION))
    assert desk.tile("board")["text"] != desk.board.words.of(NoValue(fault))


def test_an_electrode_stays_off_until_it_is_said_to_be_on_or_the_signal_shows_it():
    desk = Desk().described()

    def flow() -> str:
        desk.samples(ECG)
        return desk.tile("board")["mark"]

    desk.analysis("ecg", events=(StageEvent(0, 0.0, Happening.LEAD_OFF),))
    desk.after(30)
    assert flow() == "todo"
    desk.analysis("ecg", events=(StageEvent(0, 0.0, Happening.LEAD_ON),))
    assert flow() == "ok"
    desk.after(1).board.feed(InstrumentEvent("board", desk.clock.ns, what="lead_off", detail="0x01"))
    assert flow() == "todo"
    desk.after(1).analysis("ecg", quality=(Quality(0, 0.95),))
    assert flow() == "ok"


@pytest.mark.parametrize("cause", list(Cause))
def test_bad_signal_is_named_by_its_cause_and_good_signal_clears_it(cause):
    desk = Desk().described()
    desk.samples(PLETH)
    desk.analysis("pleth", quality=(Quality(0, 0.1, cause),))
    assert desk.tile("clip")["text"] == desk.board.words.of(cause)
    desk.after(0.5).analysis("pleth", quality=(Quality(50, 0.9),))
    assert desk.tile("clip")["text"] == "doigt en place"
    assert desk.vitals["quality"]["pleth"] == {"mark": "ok", "text": "Signal bon"}


def test_an_oximeter_without_a_finger_says_so_in_its_own_words():
    desk = Desk().described()
    desk.samples(PLETH)
    desk.reading("clip", Kind.SPO2, Unit.PERCENT, None, reason=NoValue.PROBE_OFF)
    assert (desk.tile("clip")["mark"], desk.tile("clip")["text"]) == ("todo", desk.board.words.of(NoValue.PROBE_OFF))


def test_a_gap_is_said_for_a_moment():
    desk = Desk().described()
    desk.samples(ECG)
    desk.board.feed(Gap("ecg", 100, 50, desk.clock.ns, GapReason.LINK))
    assert desk.tile("board")["text"] == "Signal interrompu"
    desk.after(5)
    desk.samples(ECG)
    assert desk.tile("board")["text"] == "signal correct"


@pytest.mark.parametrize(
    ("gives", "kind"),
    [
        ([Signal.ECG, Signal.RED, Kind.SPO2, Kind.TEMPERATURE], "ecg"), ([Signal.PLETH], "oximeter"),
        ([Kind.SPO2, Kind.PULSE_RATE], "oximeter"), ([Kind.PULSE_RATE, Kind.PRESSURE_SYSTOLIC], "pressure"),
        ([Kind.TEMPERATURE], "thermometer"), ([Signal.SOUND], "stethoscope"), ([Kind.GLUCOSE], "glucose"),
        ([Kind.WEIGHT], "scale"), ([Kind.HEART_RATE], "strap"),
    ],
)  # fmt: skip
def test_an_instrument_is_known_by_what_it_gives(gives, kind):
    assert card_for("it", gives) == Card("it", kind)


def test_an_instrument_without_a_card_gets_a_tile_once_it_gives_something():
    desk = Desk()
    desk.board.feed(InstrumentEvent("badges", desk.clock.ns, InstrumentState.READY))
    desk.board.describe([PLETH])
    assert [(t["id"], t["name"]) for t in desk.vitals["tiles"]] == [("clip", "Oxymètre")]
    with pytest.raises(KeyError):
        desk.board.describe([], {}, [Card("x", "teapot")])


# --- the bag -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "until_s", "mark", "text", "watched"),
    [
        (LinkState.STARTING, None, "idle", "Recherche de la plateforme…", ""),
        (LinkState.CONNECTED, None, "ok", "Plateforme jointe", ""),
        (LinkState.CONNECTED, 1, "ok", "Reçu par la plateforme jusqu'à 14:19", ""),
        (LinkState.WATCHED, 1, "ok", "Reçu par la plateforme jusqu'à 14:19", "Un médecin regarde"),
        (LinkState.CONNECTED, 300, "todo", "Reçu par la plateforme jusqu'à 14:15", ""),
        (LinkState.OFFLINE, 1, "todo", "Mesures gardées, réseau absent", ""),
    ],
)
def test_the_link_in_words(state, until_s, mark, text, watched):
    desk = Desk()
    desk.board.link(state, None if until_s is None else desk.clock.ns - until_s * S)
    link = desk.vitals["link"]
    assert (link["mark"], link["text"], link.get("watched", "")) == (mark, text, watched)


def test_without_a_clock_the_link_counts_seconds():
    desk = Desk()
    desk.clock.anchored = False
    desk.board.link(LinkState.CONNECTED, desk.clock.ns - 3 * S)
    assert desk.vitals["link"]["text"] == "Reçu par la plateforme à l'instant"
    assert desk.after(9).vitals["link"]["text"] == "Reçu par la plateforme il y a 12 s"
    assert (desk.vitals["clock"], desk.vitals["day_s"]) == ("", None)


def test_the_doctor_s_board_judges_the_bag_by_its_data():
    desk = Desk(remote=True)
    assert desk.vitals["link"]["text"] == "Le sac n'a encore rien envoyé"
    desk.described()
    desk.samples(ECG)
    assert desk.vitals["link"]["text"] == "En direct du sac"
    assert desk.after(20).vitals["link"] == {"mark": "bad", "text": "Le sac ne répond plus depuis 20 s"}
    desk.samples(ECG, t_ns=desk.clock.ns - 19 * S)  # what an outage held back: heard, but late
    assert desk.vitals["link"] == {"mark": "todo", "text": "Données en retard de 18 s"}
    desk.after(4).board.heard()
    assert desk.vitals["link"]["mark"] == "todo"


@pytest.mark.parametrize(
    ("minutes", "percent", "shown"),
    [
        (None, None, None),
        (190, 80, {"mark": "", "text": "Batterie 3 h 10"}),
        (45, None, {"mark": "", "text": "Batterie 0 h 45"}),
        (29, 12, {"mark": "todo", "text": "Batterie faible : 29 min"}),
        (None, 55, {"mark": "", "text": "Batterie 55 %"}),
    ],
)
def test_the_battery_in_hours(minutes, percent, shown):
    desk = Desk()
    desk.board.battery(minutes=minutes, percent=percent)
    assert desk.vitals["battery"] == shown


def test_no_beat_and_a_pulse_deficit_are_noticed_whatever_one_looks_at():
    desk = Desk().described()
    assert desk.vitals["notices"] == []
    desk.analysis("ecg", rate=Rate(None, NoValue.NO_BEATS), events=(StageEvent(0, 0.0, Happening.PULSE_DEFICIT),))
    assert [n["text"] for n in desk.vitals["notices"]] == [
        "Aucun battement détecté : regardez le patient, vérifiez les électrodes",
        "FC et FP ne concordent pas : vérifiez les électrodes et le capteur",
    ]
    assert len(desk.after(12.0).vitals["notices"]) == 1, "it is told every 10 s while it lasts, and arrives later afar"
    assert desk.after(4.0).vitals["notices"] == []


def test_a_bag_that_is_looked_for_says_so_for_15_s():
    desk = Desk().described()
    desk.board.identify()
    assert [n["text"] for n in desk.vitals["notices"]] == ["C'est ce sac qu'on cherche"]
    assert desk.after(15.5).vitals["notices"] == []


# --- visits ------------------------------------------------------------------------------------------------------


def visit(desk: Desk, code: str) -> None:
    desk.board.visit(Visit(code.encode() * 4, code, desk.clock.ns), "visit")


def test_another_visit_wipes_everything_of_the_patient_before():
    desk = Desk().described()
    visit(desk, "4821")
    desk.samples(ECG)
    desk.analysis("ecg", rate=Rate(72.0))
    desk.reading("ear", Kind.TEMPERATURE, Unit.DEGC, 371, exponent=-1)
    epoch = desk.board.messages()[0][0]["epoch"]
    visit(desk, "4821")  # the same one, resumed: nothing changes
    assert desk.shown("temp")[0] == "37,1"
    assert desk.board.messages()[0][0]["epoch"] == epoch
    desk.board.visit(None, "closing")
    assert desk.shown("temp")[0] == "37,1"
    visit(desk, "7305")
    messages = desk.board.messages()[0]
    assert [m["kind"] for m in messages] == ["birth", "vitals"]
    assert messages[0]["epoch"] != epoch
    assert messages[0]["code"] == "7305"
    assert all(n["state"] == "none" for n in messages[-1]["numbers"])


@pytest.mark.parametrize("state", ["idle", "ready", "visit", "closing", "sent"])
def test_each_state_of_a_visit_has_its_words(state):
    desk = Desk()
    desk.board.visit(None, state)
    assert desk.vitals["visit"]["text"]
    assert bool(desk.vitals["visit"]["outside"]) == (state != "visit")
    with pytest.raises(ValueError, match="lost"):
        desk.board.visit(None, "lost")


# --- messages ----------------------------------------------------------------------------------------------------


def captions(stream: Stream, view: StreamView | None = None):
    desk = Desk()
    desk.board.describe([stream], {} if view is None else {stream.name: view})
    (found,) = desk.board.messages()[0][0]["streams"].values()
    return found


def test_every_ecg_view_shows_lead_gain_speed_grid_and_band():
    found = captions(ECG, StreamView("monitor", (0.5, 40.0)))
    assert found["about"] == [
        "dérivation DII", "10 mm/mV", "25 mm/s", "carreau 0,2 s × 0,5 mV", "0,5–40 Hz", "surveillance",
    ]  # fmt: skip
    assert found["warning"] == "Ne pas interpréter le ST"


def test_only_the_diagnostic_band_drops_the_warning():
    assert captions(ECG)["warning"] == "Ne pas interpréter le ST"  # an unknown band is no diagnostic one
    found = captions(ECG, StreamView("diagnostic", (0.05, 150.0)))
    assert found["warning"] is None
    assert "0,05–150 Hz" in found["about"]


@pytest.mark.parametrize("change", [{"lead": None}, {"mdc": 131072}])
def test_a_chest_strap_is_no_standard_lead(change):
    assert captions(replace(ECG, **change))["about"][0] == "dérivation non standard"


def test_treated_sound_is_marked():
    found = captions(SOUND, StreamView("heart", treated=True))
    assert (found["about"], found["warning"]) == (["foyer mitral", "filtre cœur"], "Son traité")
    assert captions(SOUND)["warning"] is None


def test_a_page_gets_birth_then_waves_then_only_what_is_new():
    desk = Desk().described()
    desk.samples(ECG)
    first, cursor = desk.board.messages(START)
    assert [m["kind"] for m in first] == ["birth", "wave", "vitals"]
    assert set(first[0]["streams"]) == {"ecg", "pleth", "sound"}
    again, cursor = desk.board.messages(cursor)
    assert [m["kind"] for m in again] == ["vitals"]
    desk.after(0.1).samples(ECG, index=25)
    desk.after(0.1).samples(ECG, index=50)
    more, cursor = desk.board.messages(cursor)
    assert [m["kind"] for m in more] == ["wave", "vitals"]  # two blocks, one line
    assert len(more[0]["y"]) == 50
    desk.board.describe([], {"ecg": StreamView("diagnostic")})
    assert [m["kind"] for m in desk.board.messages(cursor)[0]] == ["birth", "vitals"]


def test_describing_the_same_again_changes_nothing():
    desk = Desk().described()
    cursor = desk.board.messages()[1]
    desk.board.describe([ECG, PLETH, SOUND], {}, CARDS)
    assert desk.board.messages()[1] == cursor


def test_a_page_that_fell_behind_misses_old_traces_only():
    desk = Desk().described()
    cursor = desk.board.messages()[1]
    for i in range(200):
        desk.after(0.1).samples(ECG, index=25 * i)
    messages, _ = desk.board.messages(cursor)
    points = sum(len(m["y"]) for m in messages if m["kind"] == "wave")
    assert 7.5 * 250 <= points <= 8.5 * 250


def test_streams_that_have_no_sweep_are_not_sent():
    desk = Desk().described()
    desk.board.describe([INFRARED, Stream("resp", Signal.RESPIRATION, "board", 125.0, 1.0, "1")])
    desk.samples(PLETH)
    desk.samples(INFRARED)
    assert [m["kind"] for m in desk.board.messages()[0]] == ["birth", "wave", "vitals"]


def test_infrared_light_is_drawn_until_the_pleth_that_was_described_comes():
    desk = Desk().described()
    desk.board.describe([INFRARED])

    def drawn() -> list[str]:
        return [m["stream"] for m in desk.board.messages()[0] if m["kind"] == "wave"]

    desk.samples(INFRARED)
    assert drawn() == ["ir"]
    desk.samples(PLETH)
    desk.samples(INFRARED, index=12)
    assert drawn() == [PLETH.name]


def test_somebody_looks_for_two_seconds_after_a_page_s_last_question():
    desk = Desk().described()
    assert not desk.board.looked_at()
    assert desk.vitals
    assert desk.after(1.9).board.looked_at()
    assert not desk.after(0.2).board.looked_at()
