"""The configuration: a small file, and every fault in it said at once with what to do."""

from pathlib import Path

import pytest

from agent.config import Config, InstrumentConfig, load, parse
from agent.errors import ConfigError

LEAST = """
[bag]
name = "sac-04"
[hub]
host = "hub.example"
ca = "/k/root.pem"
certificate = "/k/sac-04.pem"
key = "/k/sac-04.key"
sealing_key = "/k/hub.pub"
"""


def faults(text):
    with pytest.raises(ConfigError) as caught:
        parse(text, source="besace.toml")
    return str(caught.value)


def test_the_least_there_is():
    config = parse(LEAST)
    assert config.bag.name == "sac-04"
    assert config.bag.state_dir == Path("/var/lib/besace")
    assert config.bag.control_socket == Path("/run/besace/control.sock")
    assert (config.hub.port, config.hub.server_name) == (8883, "hub")
    assert (config.pace.batch_s, config.pace.watched_s) == (1.0, 0.25)
    assert config.instrument == ()


def test_instruments_and_whole_numbers_where_a_number_is_meant():
    config = parse(LEAST + '[pace]\nbatch_s = 2\n[[instrument]]\nkey = "h10"\nwhere = "AA:BB"\n')
    assert config.pace.batch_s == 2.0
    assert config.instrument == (InstrumentConfig("h10", "AA:BB"),)
    assert isinstance(config, Config)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "[pages]\n",
            "pages: unknown key; known here: bag, consumable, hub, instrument, lights, loan, pace, page, part, radio",
        ),
        ("[pace]\nbatch = 1\n", "pace.batch: unknown key; known here: batch_s, watched_s"),
        ("[pace]\nbatch_s = '1'\n", "pace.batch_s: is '1', must be a number"),
        ("[pace]\nbatch_s = true\n", "pace.batch_s: is True, must be a number"),
        ("[pace]\nbatch_s = 60\n", "pace.batch_s: is 60.0, must be 0.05 to 10 seconds"),
        ("[pace]\nbatch_s = nan\n", "pace.batch_s: is nan, must be 0.05 to 10 seconds"),
        ("[page]\nport = 8080.0\n", "page.port: is 8080.0, must be a whole number"),
        ("[page]\nport = 70000\n", "page.port: is 70000, must be 0 to 65535"),
        ("[page]\nenabled = 1\n", "page.enabled: is 1, must be true or false"),
        ("[radio]\nbackend = 'hci'\n", "radio.backend: is 'hci', must be 'bluez' or 'bumble'"),
        ("[instrument]\nkey = 'a'\n", "instrument: is {'key': 'a'}, must be a list of tables, written [[instrument]]"),
        ("[lights]\nwhite = 5\n", "lights: must be five different pins, 0 to 27"),
        ("[lights]\nred = 40\n", "lights: must be five different pins, 0 to 27"),
        ("[loan]\ndue = '7pm'\n", "loan.due: is '7pm', must be an hour such as 19:00"),
        ("[[part]]\ntag='A'\nname='a'\n[[part]]\ntag='A'\nname='b'\n", "part: 'A' is listed twice"),
        ("[[part]]\ntag='A'\nname='a'\n[[consumable]]\ntag='A'\nname='b'\n", "part: 'A' is listed twice"),
        ("[[consumable]]\ntag='E'\nname='e'\nleast=-1\n", "consumable 'E': least is -1, must be 0 to 999"),
        (
            "[[consumable]]\ntag='E'\nname='e'\nuntil='03/2027'\n",
            "consumable 'E': until is '03/2027', must be a day such as 2027-03-31",
        ),
        ("[[part]]\ntag='THIRTEEN-CHAR'\nname='a'\n", "part: 'THIRTEEN-CHAR' must have 1 to 12 characters"),
        ("[[instrument]]\nkey = 'a'\n", "instrument[0].where: missing"),
        ("[[instrument]]\nkey='a'\nwhere=''\n[[instrument]]\nkey='a'\nwhere='b'\n", "instrument: 'a' is listed twice"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(text, said):
    assert said in faults(LEAST + text)


@pytest.mark.parametrize("name", ["", "SAC-04", "sac 04", "sac_04", "a" * 33, "säc"])
def test_a_bag_s_name_is_its_certificate_s(name):
    assert "bag.name: is" in faults(LEAST.replace("sac-04", name, 1))


def test_every_fault_at_once_and_what_next():
    said = faults('page = 3\n[bag]\nnam = "x"\n[hub]\nhost = 5\nport = "x"\n[pace]\nbatch_s = "1"\n')
    for fault in (
        "bag.nam: unknown key", "bag.name: missing", "hub.host: is 5, must be a text", "hub.ca: missing",
        "hub.certificate: missing", "hub.key: missing", "hub.sealing_key: missing", "hub.port: is 'x'",
        "page: is 3, must be a table, written [page]", "pace.batch_s: is '1'",
    ):  # fmt: skip
        assert fault in said
    assert said.startswith("besace.toml has 10 fault(s):")
    assert said.splitlines()[-1].startswith("Next: ")


def test_no_toml():
    said = faults("[bag\nname = 1")
    assert "besace.toml is not TOML" in said
    assert "line 1" in said
    assert "Next: " in said


@pytest.mark.parametrize("content", [None, b"\xff\xfe"], ids=["missing", "not UTF-8"])
def test_a_file_that_cannot_be_read(tmp_path, content):
    path = tmp_path / "besace.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load(path)
    what, next_ = str(caught.value).splitlines()
    assert what.startswith(f"cannot read the configuration {path}: ")
    assert next_.startswith("Next: sudo besace-provision enrol")


def test_a_file(tmp_path):
    path = tmp_path / "besace.toml"
    path.write_text(LEAST)
    assert load(path) == parse(LEAST)
