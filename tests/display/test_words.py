"""Every sentence a person sees is French, in fr.toml, and there for every case the code knows."""

import importlib
import re

import pytest

from agent.display import web
from agent.display.picture import _KINDS
from agent.display.words import SECTIONS, Words, age, number
from agent.drivers.catalogue import ROWS

WORDS = Words.load()


@pytest.mark.parametrize("member", [member for kind in SECTIONS for member in kind], ids=str)
def test_each_member_of_a_closed_set_has_a_sentence(member):
    assert WORDS.of(member, age="12 s").strip()


def test_a_sentence_for_a_member_that_left_is_removed():
    for kind, section in SECTIONS.items():
        known = {key.removeprefix(f"{section}.") for key in WORDS if key.startswith(f"{section}.")}
        assert known - {"absent"} == {member.value for member in kind}


def test_each_kind_of_instrument_has_its_name_its_good_and_its_tip():
    kinds = {key.split(".")[1] for key in WORDS if key.startswith("instrument.")}
    assert kinds >= set(_KINDS.values())
    for kind in kinds:
        for part in ("name", "good", "tip"):
            assert WORDS(f"instrument.{kind}.{part}").strip()


DECODERS = sorted({row.decoder.split(":")[0] for row in ROWS})


@pytest.mark.parametrize("module", DECODERS)
def test_each_flag_of_an_instrument_has_its_words(module):
    """A decoder's tables of bits are the only int-to-str dicts it has, but for its sites."""
    tables = [
        table
        for name, table in vars(importlib.import_module(module)).items()
        if isinstance(table, dict) and "SITE" not in name
    ]
    flags = {flag for table in tables for bit, flag in table.items() if isinstance(bit, int) and isinstance(flag, str)}
    assert not {flag for flag in flags if f"flag.{flag}" not in WORDS}


def test_each_tip_of_the_catalogue_is_written():
    assert not {row.tip for row in ROWS if row.tip not in WORDS}


def test_a_missing_sentence_is_an_error_not_an_empty_place():
    with pytest.raises(KeyError, match=r"link\.nowhere"):
        WORDS("link.nowhere")
    with pytest.raises(KeyError):
        web.render("code.html", WORDS, demo="")  # `problem` is not given


def test_pages_and_scripts_hold_no_sentence_of_their_own():
    for name, content in web.ASSETS.items():
        text = content.decode()
        if name.endswith(".html"):
            text = re.sub(r"\{\{[^}]*\}\}", "", text)
            words = re.sub(r"<[^>]*>", " ", text)
            assert not re.search(r"[A-Za-zÀ-ÿ]{2}", words), (name, words.split())
        assert text.isascii(), name


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (72.4, 0, "72"), (72.5, 0, "73"), (73.5, 0, "74"), (-0.2, 0, "0"), (-1.5, 0, "-2"), (37.1, 1, "37,1"),
        (36.0, 1, "36,0"), (1.26, 2, "1,26"), (0.05, 2, "0,05"), (9.99, 1, "10,0"), (1234.0, 0, "1234"),
    ],
)  # fmt: skip
def test_numbers_are_written_the_french_way(value, decimals, text):
    assert number(value, decimals) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "0 s"), (0, "0 s"), (12.7, "12 s"), (59.9, "59 s"), (60, "1 min"), (3599, "59 min"), (3900, "1 h 05")],
)
def test_ages(seconds, text):
    assert age(seconds) == text


def test_the_sentences_the_design_gives_word_for_word():
    assert WORDS("common.demo") == "DÉMONSTRATION – aucun patient"
    assert WORDS("common.no_alarm") == "Ceci n'est pas un système d'alarme"
    assert WORDS("page.lost_nurse") == "Liaison avec le sac perdue"
    assert WORDS("link.silent", age=age(20)) == "Le sac ne répond plus depuis 20 s"
    assert WORDS("link.received_until", time="14:31") == "Reçu par la plateforme jusqu'à 14:31"
    assert WORDS("link.offline") == "Mesures gardées, réseau absent"
    assert WORDS("sweep.pleth") == "Onde de pouls (échelle automatique)"
    assert WORDS("sweep.monitor") == "Ne pas interpréter le ST"
    assert WORDS("no_value.not_calibrated") == "Capteur non étalonné"
    assert WORDS("no_value.no_beats") == "Aucun battement détecté : regardez le patient, vérifiez les électrodes"
    assert WORDS("instrument.ecg.tip") == "Rouge bras droit, jaune bras gauche, vert jambe gauche"
