"""watch, record and replay on pseudo-terminals, and what they say when they cannot."""

import contextlib
import json
import os
import threading
import time
import tty

import pytest

from agent.commands.instruments import NEXT, Target, Watched, alone, played, record, show_replay, target, watch
from agent.config import parse
from agent.errors import ConfigError, InstrumentReason, StateError
from agent.model import Gap, GapReason, Kind, NoValue, Reading, ReadingQuality, Scan, Unit

FRAME = bytes.fromhex("0afa140002f4010cfe400d0300e0930400520d0f6248507800000b")
BAG = """
[bag]
name = "sac-04"
state_dir = "{dir}"
runtime_dir = "{dir}"
[hub]
host = "h"
ca = "a"
certificate = "b"
key = "c"
sealing_key = "d"
[[instrument]]
key = "healthypi-4"
where = "/dev/healthypi"
[[instrument]]
key = "berry-bm1000"
where = "C0:00:00:00:00:01"
"""


@pytest.fixture
def config(tmp_path):
    return parse(BAG.format(dir=tmp_path))


@pytest.fixture
def sending():
    """A pseudo-terminal on which a HealthyPi speaks, every 20 ms."""
    master, slave = os.openpty()
    tty.setraw(slave)
    path = os.ttyname(slave)
    stop = threading.Event()

    def speak():
        with contextlib.suppress(OSError):
            while not stop.wait(0.02):
                os.write(master, FRAME)

    thread = threading.Thread(target=speak)
    thread.start()
    yield Target("healthypi-4", path, None)
    stop.set()
    thread.join()
    os.close(slave)
    os.close(master)


# --- which instrument ----------------------------------------------------------------------------------------


def test_an_instrument_by_key_by_family_and_by_place(config):
    assert target("ecg", config) == Target("healthypi-4", "/dev/healthypi", config.radio)
    assert target("berry-bm1000", config).where == "C0:00:00:00:00:01"
    assert target("nonin-xpod", config, "/dev/ttyUSB7").where == "/dev/ttyUSB7"
    assert target("masimo-ascii1", None, "/dev/ttyUSB7").key == "masimo-ascii1"


@pytest.mark.parametrize(
    ("word", "at", "said"),
    [
        ("toaster", None, "no instrument 'toaster'"),
        ("nonin-xpod", None, "configuration has no nonin-xpod"),
        ("oximeter", "/dev/ttyUSB0", "may mean berry-bm1000, nonin"),
    ],
)
def test_what_cannot_be_meant_is_said_with_what_to_do(config, word, at, said):
    with pytest.raises(ConfigError, match=said) as error:
        target(word, config, at)
    assert "\nNext: " in str(error.value)


def test_every_reason_of_failure_has_its_next_step():
    assert NEXT.keys() == set(InstrumentReason)


# --- watch -----------------------------------------------------------------------------------------------------


def test_watching_opens_the_instrument_where_no_agent_runs(sending):
    lines = []
    assert watch(sending, None, seconds=3, as_json=True, out=lines.append)
    items = [json.loads(line) for line in lines]
    assert {"connecting", "ready", "measuring"} <= {item.get("state") for item in items}
    ecg = [value for item in items if item.get("stream") == "healthypi-4.ecg" for value in item.get("samples", ())]
    assert ecg
    assert set(ecg) == {500}
    assert {item["reading"] for item in items if "reading" in item} >= {"spo2", "heart_rate"}


def test_a_port_that_cannot_be_opened_is_said_with_what_to_do(tmp_path):
    path = tmp_path / "no-port"
    path.touch()
    with pytest.raises(StateError, match="cannot_open.*\nNext: ") as error:
        watch(Target("healthypi-4", str(path), None), None, seconds=5, as_json=False, out=print)
    assert NEXT[InstrumentReason.CANNOT_OPEN] in str(error.value)


def test_an_instrument_that_gives_nothing_in_time_is_no_success(tmp_path):
    path = tmp_path / "absent"
    assert not watch(Target("healthypi-4", str(path), None), None, seconds=0.2, as_json=False, out=print)


def test_lines_for_people():
    lines = []
    shown = Watched(lines.append, as_json=False, began_ns=0)
    t_ns = 1_500_000_000
    shown.take(Reading("x", Kind.TEMPERATURE, Unit.DEGC, t_ns, 364, -1, site="tympan", flags=("fahrenheit",)))
    shown.take(Reading("x", Kind.SPO2, Unit.PERCENT, t_ns, None, 0, ReadingQuality.NONE, NoValue.PROBE_OFF))
    shown.take(Gap("x.pleth", 7, 25, t_ns, GapReason.LINK))
    shown.take(Scan(t_ns, "BSC1:ABC"))
    assert lines == [
        "    1.50  temperature  36.4 Cel  good  tympan  fahrenheit",
        "    1.50  spo2  no value: probe_off",
        "    1.50  x.pleth  gap of 25 samples: link",
        "    1.50  scan BSC1:ABC",
    ]


def test_with_the_agent_running_it_is_asked_and_nothing_is_opened(config, monkeypatch):
    status = {
        "instruments": {"healthypi-4": {"state": "measuring", "last_error": ""}},
        "samples": {"healthypi-4.ecg": 125, "berry-bm1000.pleth": 9},
        "latest": {"heart_rate": 72, "spo2": None, "glucose": 126},
    }
    monkeypatch.setattr("agent.commands.instruments.agent_status", lambda _: status)
    monkeypatch.setattr("agent.commands.instruments.ask", lambda *_: status)
    lines = []
    watch(target("ecg", config), config, seconds=0, as_json=False, out=lines.append)
    assert lines == ["measuring  healthypi-4.ecg 0 samples  heart_rate 72  spo2 no value"]
    with pytest.raises(StateError, match="cannot record while the agent runs"):
        alone(config, "record")


# --- record and replay -----------------------------------------------------------------------------------------


def test_what_is_recorded_replays_and_a_changed_decoder_is_found(sending, tmp_path):
    path = tmp_path / "healthypi.txt"
    talk = []
    pieces = record(sending, path, seconds=3, talk=talk.append)
    text = path.read_text()
    assert text.startswith("# besace capture 1\n# instrument: healthypi-4\n0.000 serial ")
    assert pieces == sum(line[0].isdigit() for line in text.splitlines())
    assert "# expect reading SPO2 98 %\n" in text
    lines = []
    assert show_replay(path, as_json=False, out=lines.append, talk=talk.append)
    assert [f"# expect {line}" for line in lines] == [x for x in text.splitlines() if x.startswith("# expect")]

    path.write_text(text.replace("# expect reading SPO2 98 %", "# expect reading SPO2 97 %"))
    said = []
    assert not show_replay(path, as_json=True, out=lines.append, talk=said.append)
    assert "-reading SPO2 97 %" in said
    assert "+reading SPO2 98 %" in said


def test_a_capture_is_never_overwritten(sending, tmp_path):
    path = tmp_path / "there.txt"
    path.write_text("mine")
    with pytest.raises(ConfigError, match="is there already\nNext: besace replay"):
        record(sending, path, seconds=0.1, talk=print)
    assert path.read_text() == "mine"


def test_an_instrument_that_sends_nothing_leaves_no_file(tmp_path):
    master, slave = os.openpty()
    tty.setraw(slave)
    path = tmp_path / "nothing.txt"
    assert record(Target("healthypi-4", os.ttyname(slave), None), path, seconds=0.2, talk=print) == 0
    assert not path.exists()
    os.close(master)
    os.close(slave)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hello\n", "no line '# instrument: KEY'"),
        ("# instrument: toaster\n", "unknown instrument 'toaster'"),
        ("# instrument: healthypi-4\n0.0 serial xyz\n", "line 2"),
    ],
)
def test_a_file_that_is_no_capture_is_named(tmp_path, text, said):
    path = tmp_path / "x.txt"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said) as error:
        played(path)
    assert "Next:" in str(error.value)


def test_ctrl_c_ends_a_recording_well(sending, tmp_path):
    path = tmp_path / "healthypi.txt"

    def interrupt():
        while not path.exists() or path.stat().st_size < 200:
            time.sleep(0.01)
        os.kill(os.getpid(), 2)

    thread = threading.Thread(target=interrupt)
    thread.start()
    assert record(sending, path, seconds=20, talk=print)
    thread.join()
    assert "# expect " in path.read_text()
