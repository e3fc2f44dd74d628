"""The whole way, once: the demonstration as a user runs it, whole and with its parts killed."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hub.nats import free_port

ROOT = Path(__file__).parents[2]
BESACE = [sys.executable, "-m", "agent"]
SECONDS = 20


def demo(*arguments: str) -> tuple[int, dict]:
    command = [*BESACE, "demo", "--headless", "--seconds", str(SECONDS), "--json", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.count("\n") == 1, done.stdout + done.stderr
    return done.returncode, json.loads(done.stdout)


def children_of(folder: Path) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if str(folder) in line:
                found.append(line)
    return found


@pytest.mark.slow
def test_everything_arrives_once(tmp_path):
    code, outcome = demo("--keep", str(tmp_path / "run"))

    assert code == 0, outcome
    assert outcome["lost"] == outcome["stored_twice"] == outcome["changed"] == outcome["unreceipted_at_exit"] == 0
    assert outcome["gaps_s"] == 0
    # 125 Hz x 4 signals + 100 Hz pleth + 4 kHz sound, for most of the time
    assert outcome["samples_produced"] == outcome["samples_stored"] > 0.8 * SECONDS * (4 * 125 + 100 + 4000)
    assert outcome["records_committed"] == outcome["records_receipted"] > SECONDS / 2
    assert outcome["beats"] > 0.7 * SECONDS
    assert 40 < outcome["heart_rate"] < 150
    assert 40 < outcome["pulse_rate"] < 150
    assert 90 <= outcome["spo2"] <= 100
    assert outcome["did_not_deliver"] == []
    assert outcome["readings_given"] >= 2
    assert 0 < outcome["latency_p50_ms"] < outcome["latency_p99_ms"]
    assert outcome["instruments"]["healthypi-4"] == "measuring"
    assert children_of(tmp_path) == []


@pytest.mark.slow
def test_the_agent_killed_at_second_8_loses_nothing():
    code, outcome = demo("--kill", "agent@8")

    assert code == 0, outcome
    assert outcome["killed"] == ["agent"]
    assert outcome["lost"] == outcome["stored_twice"] == outcome["unreceipted_at_exit"] == 0
    assert outcome["gaps_s"] > 0, "a killed agent leaves a gap; none means the kill did nothing"


@pytest.mark.slow
def test_the_broker_killed_at_second_8_loses_nothing_and_leaves_no_gap():
    code, outcome = demo("--kill", "broker@8")

    assert code == 0, outcome
    assert outcome["killed"] == ["broker"]
    assert outcome["lost"] == outcome["stored_twice"] == outcome["unreceipted_at_exit"] == 0
    assert outcome["gaps_s"] == 0


@pytest.mark.slow
def test_the_hub_killed_at_second_8_loses_nothing_and_leaves_no_gap():
    code, outcome = demo("--kill", "hub@8")

    assert code == 0, outcome
    assert outcome["killed"] == ["hub"]
    assert outcome["lost"] == outcome["stored_twice"] == outcome["unreceipted_at_exit"] == 0
    assert outcome["gaps_s"] == 0


def free_pair() -> int:
    """A port that is free together with the one after it."""
    for _ in range(50):
        port = free_port()
        with socket.socket() as second, contextlib.suppress(OSError):
            second.bind(("127.0.0.1", port + 1))
            return port
    raise AssertionError("no two free ports side by side")


@pytest.mark.slow
@pytest.mark.browser
def test_both_pages_show_three_moving_waveforms_and_ctrl_c_leaves_nothing(tmp_path):
    from chromium import chromium, executable

    if executable() is None:
        pytest.skip("no Chromium on this machine (apt install chromium)")
    port, folder, out = free_pair(), tmp_path / "run", tmp_path / "talk"
    with out.open("w") as talk:
        command = [*BESACE, "demo", "--page-port", str(port), "--keep", str(folder)]
        running = subprocess.Popen(command, cwd=ROOT, stderr=talk, start_new_session=True)
    try:
        end = time.monotonic() + 60
        while "Ctrl-C" not in out.read_text() and time.monotonic() < end:
            assert running.poll() is None, out.read_text()
            time.sleep(0.1)
        code = re.search(r"code of the visit: (\d{4})", out.read_text())[1]
        with chromium() as browser:
            nurse, doctor = browser.page(), browser.page()
            nurse.open(f"http://127.0.0.1:{port}/")
            doctor.open(f"http://127.0.0.1:{port + 1}/")
            doctor.until("document.querySelector('input[name=code]') !== null")
            doctor.run(f"document.querySelector('input[name=code]').value = '{code}'")
            doctor.run("document.querySelector('form').submit()")
            for page in (nurse, doctor):
                page.call("Page.bringToFront")  # a browser draws nothing in a tab behind another
                page.size(1280, 800)
                page.until("document.querySelectorAll('canvas.ink').length === 3")
                assert "DÉMONSTRATION" in page.run("document.body.innerText")
                moved = moving(page)
                assert moved == [True, True, True], f"which of the three sweeps moved: {moved}"
                assert page.errors == []
    finally:
        running.send_signal(signal.SIGINT)
        try:
            code_at_exit = running.wait(timeout=60)
        finally:
            if running.poll() is None:
                os.killpg(running.pid, signal.SIGKILL)
    assert code_at_exit == 0, out.read_text()
    assert "lost 0, stored twice 0" in out.read_text()
    assert children_of(folder) == []


def moving(page) -> list[bool]:
    """For each of three sweeps, whether its pixels are drawn and change: read twice, for at most 20 s."""
    pixels = """
      [...document.querySelectorAll('canvas.ink')].map(c => {
        const all = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
        let sum = 0;
        for (let i = 0; i < all.length; i += 4) sum = (sum * 31 + all[i] + all[i + 1] * 7 + all[i + 3]) % 2147483647;
        return sum;
      })"""
    moved = [False] * 3
    end = time.monotonic() + 20
    while not all(moved) and time.monotonic() < end:
        before = page.run(pixels)
        time.sleep(0.7)
        after = page.run(pixels)
        moved = [was or a != b for was, a, b in zip(moved, before, after, strict=True)]
    return moved


# --- what goes wrong is said: what, why, next; exit code 3 or 2 -------------------------------------------------


def refused(*arguments: str, env: dict[str, str] | None = None) -> tuple[int, str]:
    done = subprocess.run(
        [*BESACE, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
        env=None if env is None else os.environ | env,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    assert "Next:" in done.stderr, done.stderr
    return done.returncode, done.stderr


def test_a_busy_port_is_said():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, said = refused("demo", "--seconds", "1", "--page-port", str(taken.getsockname()[1]))
    assert code == 3
    assert "is taken" in said


def test_a_missing_broker_is_said(monkeypatch, tmp_path):
    import hub.nats
    from agent.errors import StateError

    monkeypatch.setattr(hub.nats.shutil, "which", lambda *_, **__: None)
    with pytest.raises(StateError, match=r"nats-server is not installed\nNext: make install"):
        hub.nats.binary()


def test_a_folder_that_is_in_use_is_not_mixed_with(tmp_path):
    (tmp_path / "older").write_text("x")
    code, said = refused("demo", "--headless", "--seconds", "1", "--keep", str(tmp_path))
    assert code == 3
    assert "is not empty" in said


def test_a_wrong_kill_is_said():
    done = subprocess.run(
        [*BESACE, "demo", "--headless", "--kill", "moon@8"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "agent, broker, hub" in done.stderr


def test_a_missing_configuration_is_said(tmp_path):
    code, said = refused("run", "--config", str(tmp_path / "none.toml"))
    assert code == 2
    assert "besace-provision enrol" in said
