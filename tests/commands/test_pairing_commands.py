"""pair and unpair: which instrument, who gives the passkey, what is said."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from agent.commands.instruments import Target
from agent.commands.pairing import (
    Passkey,
    config_lines,
    configured,
    is_address,
    pair_now,
    pair_with,
    pairing_target,
)
from agent.config import InstrumentConfig, parse
from agent.drivers import pairing
from agent.drivers.ble import Nearby
from agent.errors import ConfigError, InstrumentError, InstrumentReason, StateError

CUFF = "C0:00:00:00:00:02"
BAG = '[bag]\nname = "s"\n[hub]\nhost = "h"\nca = "a"\ncertificate = "b"\nkey = "c"\nsealing_key = "d"\n'
CONFIGURED = BAG + f'[[instrument]]\nkey = "and-ua651ble"\nwhere = "{CUFF}"\n'


class Air:
    """What advertises."""

    def __init__(self, *near):
        self.near = near

    async def nearby(self, _seconds):
        return [Nearby(address, name, ()) for address, name in self.near]


@pytest.fixture
def paired(monkeypatch):
    addresses = []

    async def pair(_radio, address, passkey):
        addresses.append((address, await passkey()))
        return address

    monkeypatch.setattr(pairing, "pair", pair)
    return addresses


@pytest.fixture
def passkey(tmp_path):
    file = tmp_path / "passkey"
    file.write_text("012 345\n")
    return Passkey(file)


def test_the_one_that_answers_to_the_description_is_paired(paired, passkey):
    air = Air(("C0:00:00:00:00:01", "BerryMed"), (CUFF, "A&D_UA-651BLE_123456"))
    said = []
    address = asyncio.run(pair_with(Target("and-ua651ble", "", None), air, passkey, said.append))
    assert address == CUFF
    assert paired == [(CUFF, 12345)]
    assert said[0].startswith("looking for A&D Medical UA-651BLE")


@pytest.mark.parametrize(
    ("near", "said"),
    [
        ((("C0:00:00:00:00:01", "BerryMed"),), "none answers; what advertises here:\n  C0:00:00:00:00:01  BerryMed"),
        (((CUFF, "A&D_UA-651BLE_1"), ("C0:00:00:00:00:03", "A&D_UA-651BLE_2")), "several answer"),
    ],
)
def test_none_or_several_are_listed_and_the_address_asked_for(paired, passkey, near, said):
    with pytest.raises(StateError) as error:
        asyncio.run(pair_with(Target("and-ua651ble", "", None), Air(*near), passkey, lambda _: None))
    assert said in str(error.value)
    assert "Next: besace pair and-ua651ble ADDRESS" in str(error.value)
    assert paired == []


def test_which_instrument_is_meant():
    bag = parse(CONFIGURED)
    assert pairing_target("blood-pressure", bag, None) == Target("and-ua651ble", CUFF, bag.radio)
    assert pairing_target("and-ua651ble", None, None).where == ""
    assert pairing_target("nonin-3150", bag, "AA:00:00:00:00:01").where == "AA:00:00:00:00:01"
    with pytest.raises(ConfigError, match="no Bluetooth instrument"):
        pairing_target("healthypi-4", bag, None)
    with pytest.raises(ConfigError, match="no instrument 'toaster'"):
        pairing_target("toaster", bag, None)


def test_what_the_configuration_must_say_of_it_parses():
    lines = "\n".join(config_lines("and-ua651ble", CUFF))
    config = parse(f"{BAG}\n{lines}\n")
    assert config.instrument == (InstrumentConfig("and-ua651ble", CUFF),)
    assert configured(config, "and-ua651ble", CUFF.lower())
    assert not configured(None, "and-ua651ble", CUFF)


@pytest.mark.parametrize("text", ["", "12a", "1234567", "-1", "one"])
def test_a_file_without_a_passkey_is_refused(tmp_path, text):
    file = tmp_path / "passkey"
    file.write_text(text)
    with pytest.raises(ConfigError, match="holds no passkey\nNext:"):
        Passkey(file)


def test_a_person_types_the_number(monkeypatch):
    master, slave = os.openpty()
    with os.fdopen(slave, "r") as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        os.write(master, b"123456\n")
        assert asyncio.run(Passkey()()) == 123456
    os.close(master)


def test_without_a_terminal_nobody_is_asked_and_that_is_said(monkeypatch):
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)

        async def refused(_radio, _address, passkey):
            with pytest.raises(InstrumentError):
                await passkey()
            raise InstrumentError(InstrumentReason.NOT_PAIRED, "Pair: AuthenticationFailed")

        monkeypatch.setattr(pairing, "pair", refused)
        with pytest.raises(StateError, match="no terminal to type it\nNext: besace pair from a terminal"):
            pair_now(Target("and-ua651ble", CUFF, parse(BAG).radio), Passkey(), talk=lambda _: None)


@pytest.mark.parametrize(
    ("text", "is_one"), [(CUFF, True), ("c0:ab:00:00:00:02", True), ("oximeter", False), ("C0:00", False)]
)
def test_what_is_an_address(text, is_one):
    assert is_address(text) is is_one
