"""What screens learn from a birth record and from the catalogue."""

from agent.display.picture import StreamView
from agent.display.views import card_of, spoken, view_of
from agent.model import ChainStage, Signal, Stream


def test_a_chain_says_mode_and_band():
    chain = [ChainStage("EcgFilter", "mode=monitor band_hz=0.5-40 mains_hz=50", 4000)]
    assert view_of(chain) == StreamView(mode="monitor", band_hz=(0.5, 40.0))


def test_a_treated_sound_is_said():
    assert view_of([ChainStage("AuscultationDenoiser", "mode=heart treated=yes", 64_000)]) == StreamView(
        "heart", treated=True
    )


def test_nothing_known_is_nothing_claimed():
    assert view_of([]) == StreamView()
    assert view_of([ChainStage("Other", "words without meaning band_hz=", 0)]) == StreamView()


def test_a_tile_comes_from_the_catalogue():
    ecg = Stream("healthypi-4.ecg", Signal.ECG, "healthypi-4", 125.0, 1.0, "uV", "DI")
    card = card_of("healthypi-4", [ecg])
    assert card.kind == "ecg"
    assert not card.clinical
    assert card_of("and-ua651ble", []).kind == "pressure"


def test_the_scanner_has_no_tile_and_an_unknown_instrument_is_known_by_what_it_gives():
    assert card_of("badge-scanner", []) is None
    pleth = Stream("new.pleth", Signal.PLETH, "new", 75.0, 1.0, "1")
    assert card_of("new", [pleth]).kind == "oximeter"


def test_a_bag_is_named_as_people_say_it():
    assert spoken("sac-04") == "Sac 04"
