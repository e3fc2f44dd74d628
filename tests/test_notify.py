"""sd_notify and the watchdog's interval."""

import socket

import pytest

from agent.notify import notify, watchdog_s


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_hears_the_state(tmp_path, monkeypatch, abstract):
    name = f"{tmp_path}/notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("\0" + name if abstract else name)
        systemd.settimeout(1)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + name if abstract else name)
        notify("READY=1")
        assert systemd.recv(64) == b"READY=1"


def test_without_systemd_nothing_happens(monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")


def test_a_systemd_that_does_not_listen_ends_nobody(tmp_path, monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    notify("WATCHDOG=1")


@pytest.mark.parametrize(("usec", "seconds"), [("10000000", 10.0), ("", None), ("x", None), ("-1", None), (None, None)])
def test_how_often_the_watchdog_wants_to_hear(monkeypatch, usec, seconds):
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    if usec is not None:
        monkeypatch.setenv("WATCHDOG_USEC", usec)
    assert watchdog_s() == seconds
