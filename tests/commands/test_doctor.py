"""doctor: what each finding says, and which command repairs it."""

import datetime as dt
import ssl
from socket import create_server
from threading import Thread

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from agent import health
from agent.commands import doctor
from agent.commands.doctor import Level, Line, as_dict, as_text, diagnose, examine
from agent.config import parse
from agent.errors import ConfigError, StateError
from provisioning.authority import certificate_pem, key_pem
from tests.peers.cpts import authority, identity, write_identity

STATUS = {
    "version": "0.1.0",
    "visit": "ready",
    "up_s": 7.0,
    "disk_error": "",
    "instruments": {
        "healthypi-4": {"state": "measuring", "last_error": ""},
        "berry-bm1000": {"state": "failed", "last_error": "not_found: C0:00:00:00:00:01 does not advertise"},
    },
}


@pytest.fixture
def bag(tmp_path):
    """A configuration whose identity is real and whose broker is nowhere; its text."""
    write_identity(tmp_path)
    return (
        f'[bag]\nname = "sac-04"\nstate_dir = "{tmp_path}"\nruntime_dir = "{tmp_path}"\n'
        f'[hub]\nhost = "127.0.0.1"\nport = 1\nca = "{tmp_path}/root.pem"\ncertificate = "{tmp_path}/sac-04.pem"\n'
        f'key = "{tmp_path}/sac-04.key"\nsealing_key = "{tmp_path}/hub.pub"\n'
        f'[[instrument]]\nkey = "healthypi-4"\nwhere = "{tmp_path}/absent"\n'
        '[[instrument]]\nkey = "berry-bm1000"\nwhere = "C0:00:00:00:00:01"\n'
    )


def lines(text: str) -> dict[str, Line]:
    return {line.part: line for line in examine(parse(text))}


@pytest.fixture
def broker():
    """A TLS server of our authority that takes one connection; its port."""
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = authority().issue_server("broker", key.public_key(), ["hub"])
    listening = create_server(("127.0.0.1", 0))

    def serve(folder):
        (folder / "b.pem").write_bytes(certificate_pem(leaf))
        (folder / "b.key").write_bytes(key_pem(key))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "b.pem", folder / "b.key")

        def once():
            plain, _ = listening.accept()
            with plain, context.wrap_socket(plain, server_side=True):
                pass

        thread = Thread(target=once)
        thread.start()
        return listening.getsockname()[1], thread

    yield serve
    listening.close()


def test_a_bag_at_rest(bag, monkeypatch):
    monkeypatch.setattr(health, "read_battery", lambda: None)
    monkeypatch.setattr(doctor, "BLUETOOTH", doctor.Path("/nonexistent"))
    found = lines(bag)
    assert found["agent"] == Line(
        "agent", Level.FAIL, "does not answer", "systemctl status besace; sudo systemctl start besace"
    )
    assert found["power"].level is Level.WARN
    assert found["disk"].found.endswith("MiB free")
    assert found["identity"].level is Level.OK
    assert found["radio"].level is Level.FAIL
    assert found["healthypi-4"].level is Level.FAIL
    assert "ls /dev/serial/by-id" in found["healthypi-4"].repair
    assert found["berry-bm1000"] == Line(
        "berry-bm1000", Level.WARN, "not asked: no agent runs", "besace watch berry-bm1000"
    )
    assert found["hub TLS"].found == "127.0.0.1:1: Connection refused"
    assert "receipt" not in found


def test_a_bag_at_work(bag, tmp_path, broker, monkeypatch):
    port, thread = broker(tmp_path)
    monkeypatch.setattr(doctor, "agent_status", lambda _: STATUS)
    monkeypatch.setattr(doctor, "ask", lambda *_, **__: {"receipt_s": 0.214})
    found = lines(bag.replace("port = 1", f"port = {port}"))
    thread.join()
    assert found["agent"].found == "version 0.1.0, visit ready, up 7 s"
    assert found["healthypi-4"] == Line("healthypi-4", Level.OK, "measuring")
    assert found["berry-bm1000"].level is Level.FAIL
    assert found["berry-bm1000"].repair == doctor.NEXT[doctor_reason("not_found")]
    assert found["hub TLS"].found.endswith("TLSv1.3")
    assert found["receipt"].found == "a row went and its receipt came in 0.21 s"


def doctor_reason(word):
    return next(reason for reason in doctor.NEXT if reason.value == word)


def test_a_hub_that_does_not_receipt_fails(bag, monkeypatch):
    def silent(*_, **__):
        raise StateError("no receipt within 10 s: the broker answers, the hub does not")

    monkeypatch.setattr(doctor, "agent_status", lambda _: {**STATUS, "disk_error": "disk full"})
    monkeypatch.setattr(doctor, "ask", silent)
    found = lines(bag)
    assert found["receipt"].level is Level.FAIL
    assert "the hub does not" in found["receipt"].found
    assert found["agent"] == Line("agent", Level.FAIL, "cannot store: disk full", "df -h")


@pytest.mark.parametrize(
    ("days", "level"), [(0, Level.OK), (59, Level.OK), (61, Level.WARN), (91, Level.WARN)], ids=str
)
def test_a_certificate_that_was_not_renewed_is_a_warning(days, level):
    certificate = identity().certificate
    now = certificate.not_valid_before_utc + dt.timedelta(days=days)
    line = doctor._certificate(certificate, "sac-04", "sac-04", now)
    assert line.level is level
    assert (line.repair == "sudo besace-provision renew") is (level is Level.WARN)
    assert doctor._certificate(certificate, "sac-04", "sac-05", now).level is Level.FAIL


@pytest.mark.parametrize("why", list(doctor._WORDS), ids=lambda why: why.value)
def test_every_finding_has_a_repair(why):
    words, repair = doctor._WORDS[why]
    assert words
    assert repair


def test_every_finding_of_power_disk_and_clock_has_words():
    parts = ("battery", "disk", "no_clock")
    wanted = {why for why in health.Why if why.value.startswith(parts)}
    assert doctor._WORDS.keys() == wanted


def test_a_configuration_that_cannot_be_read_is_the_first_line():
    def load():
        raise ConfigError("cannot read the configuration x: no\nNext: sudo besace-provision enrol")

    said = []
    assert not diagnose(load, said.append)
    assert said == [Line("config", Level.FAIL, "cannot read the configuration x: no", "sudo besace-provision enrol")]


def test_the_end_says_whether_anything_failed(bag, monkeypatch):
    monkeypatch.setattr(doctor, "examine", lambda _: iter([Line("a", Level.OK, "x"), Line("b", Level.WARN, "y", "z")]))
    assert diagnose(lambda: parse(bag), print)
    monkeypatch.setattr(doctor, "examine", lambda _: iter([Line("a", Level.FAIL, "x", "z"), Line("b", Level.OK, "y")]))
    assert not diagnose(lambda: parse(bag), print)


def test_a_line_for_people_and_for_programs():
    line = Line("disk", Level.WARN, "300 MiB free", "df -h")
    assert as_text(line) == f"warn  disk             300 MiB free\n{'':23}Next: df -h"
    assert as_dict(line) == {"part": "disk", "level": "warn", "found": "300 MiB free", "repair": "df -h"}
