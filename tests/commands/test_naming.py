"""Words and advertisements, and the instruments they mean."""

import pytest

from agent.commands.naming import advertises, named
from agent.drivers.catalogue import CATALOGUE

BAG = ["and-ua651ble", "berry-bm1000", "and-ut201ble", "healthypi-4", "badge-scanner", "glucose-meter"]


@pytest.mark.parametrize(
    ("word", "keys"),
    [
        ("berry-bm1000", ["berry-bm1000"]),
        ("oximeter", ["berry-bm1000"]),
        ("blood-pressure", ["and-ua651ble"]),
        ("thermometer", ["and-ut201ble"]),
        ("ecg", ["healthypi-4"]),
        ("scanner", ["badge-scanner"]),
        ("glucose", ["glucose-meter"]),
        ("scale", []),
        ("toaster", []),
        ("nonin-3150", []),
    ],
)
def test_a_word_means_instruments_of_this_bag(word, keys):
    assert named(word, BAG) == keys


def test_a_family_may_mean_several():
    assert named("oximeter", ["berry-bm1000", "nonin-3150", "and-ua651ble"]) == ["berry-bm1000", "nonin-3150"]


@pytest.mark.parametrize(
    ("key", "name", "services", "is_one"),
    [
        ("and-ua651ble", "A&D_UA-651BLE_A1B2C3", (), True),
        ("and-ua651ble", "A&D_UC-352BLE", ("00001810-0000-1000-8000-00805f9b34fb",), False),
        ("berry-bm1000", "BerryMed", (), True),
        ("berry-bm1000", None, (), False),
        ("plx-oximeter", None, ("00001822-0000-1000-8000-00805F9B34FB",), True),
        ("plx-oximeter", "anything", ("0000180d-0000-1000-8000-00805f9b34fb",), False),
        ("healthypi-4", "HealthyPi", (), False),
    ],
)
def test_an_instrument_is_told_by_its_name_or_service(key, name, services, is_one):
    assert advertises(CATALOGUE[key], name, services) is is_one
