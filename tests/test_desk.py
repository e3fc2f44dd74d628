"""The desk in the agent: what it asks of the bag's parts, when it is due back, and the commands beside it."""

import asyncio
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from loan_desk import AUTHORITY, CARDS, IDENTITY, NURSE, PARTS, POINT, T0, FakeBag, make_identity

from agent import ledger
from agent.badges import Revoked, make_list
from agent.clock import Timekeeper
from agent.config import Config, parse
from agent.custody import Action, State, What
from agent.custody_commands import verify
from agent.desk import Desk, Sources, Terms
from agent.errors import ProvisioningError, StateError
from agent.health import Level, Why
from agent.holding import Act
from agent.ledger import LedgerError
from agent.model import InstrumentState
from agent.transport.messages import EpochReason
from provisioning.authority import certificate_pem


class HandClock:
    boot_id = bytes(16)

    def __init__(self):
        self.t_s = 1000.0

    def now_ns(self):
        return int(self.t_s * 1e9)

    def utc_us(self):
        return int((T0 + self.t_s - 1000) * 1e6)


class Bag:
    """The agent's parts, by hand."""

    def __init__(self, folder, *, demo=True, cards=True):
        self.keys = folder / "identity"
        self.keys.mkdir(exist_ok=True)
        if cards:
            public = CARDS.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            (self.keys / "cards.pem").write_bytes(public)
        self.clock, self.disk = HandClock(), FakeBag()
        self.epochs, self.told = [], []
        self.disk_error, self.states = "", {"oximeter": InstrumentState.MEASURING}
        sources = Sources(
            in_visit=lambda: False, connected=lambda: True, unreceipted=lambda: 0, unsent_bytes=lambda: 0,
            disk_error=lambda: self.disk_error, states=lambda: self.states, seen_s=dict, store=self.disk.store,
            begin_epoch=self.begin_epoch, said=lambda said, sentence: self.told.append(sentence),
            time=Timekeeper(self.clock, floor_us=IDENTITY.not_before_us),
        )  # fmt: skip
        terms = Terms("sac-04", folder, PARTS, demo=demo)
        self.desk = Desk(
            sources=sources, terms=terms, clock=self.clock, identity=IDENTITY, keys=self.keys,
            entries=ledger.stored(self.disk.db),
        )  # fmt: skip

    async def begin_epoch(self, reason):
        self.epochs.append(reason)


def test_scans_are_answered_in_french_and_epochs_follow(tmp_path):
    async def story():
        bag = Bag(tmp_path)
        await bag.desk.loan.start()
        await bag.desk.scan(POINT)
        for _ in range(2):
            bag.clock.t_s += 1
            await bag.desk.loan.tick()
        bag.clock.t_s += 20
        await bag.desk.scan(POINT)
        said, sentence = await bag.desk.scan(NURSE)
        if said.custody.state is not State.OUT:  # this machine's battery is low
            bag.clock.t_s += 4
            said, sentence = await bag.desk.scan(NURSE)
        assert sentence.startswith("Sac 04 remis à Mme D., ")
        assert bag.told[-1] == bag.desk.sentence == sentence
        assert bag.epochs == [EpochReason.CHECK_IN, EpochReason.CHECK_OUT]
        await bag.desk.do(Action.ERASE)
        assert len(bag.epochs) == 2

    asyncio.run(story())


def test_an_unsynchronised_clock_is_only_a_floor(tmp_path):
    utc = Bag(tmp_path, demo=False).desk.utc()
    synchronised = Path("/run/systemd/timesync/synchronized").exists()
    assert (utc.latest_s is not None) == synchronised
    if not synchronised:
        assert utc.earliest_s == IDENTITY.not_before_us // 1_000_000


def test_the_bag_is_due_at_the_next_such_hour(tmp_path):
    desk = Bag(tmp_path).desk
    for hour in range(0, 24, 3):
        utc_s = int(datetime(2026, 11, 20, hour, 30, tzinfo=UTC).timestamp())
        due_s = desk.due_s(utc_s)
        assert 0 < due_s - utc_s <= 86_400
        assert datetime.fromtimestamp(due_s).astimezone().strftime("%H:%M") == "19:00"


def test_the_self_test_names_what_is_wrong(tmp_path):
    bag = Bag(tmp_path)
    bag.disk_error = "EIO"
    bag.states["cuff"] = InstrumentState.FAILED
    unfit = {(f.why, f.which) for f in bag.desk.readiness().at(Level.UNFIT)}
    assert {(Why.DISK_REFUSES, ""), (Why.INSTRUMENT_FAILED, "cuff")} <= unfit


def test_a_newer_list_is_taken_a_forged_one_is_not(tmp_path):
    (tmp_path / "revoked.cose").write_bytes(make_list(Revoked(3, T0, frozenset({b"000003"})), CARDS))
    bag = Bag(tmp_path)
    assert bag.desk.loan.revoked.number == 3
    (tmp_path / "revoked.cose").write_bytes(b"junk")
    assert Bag(tmp_path).desk.loan.revoked is None


def test_without_keys_of_cards_there_is_no_desk(tmp_path):
    with pytest.raises(ProvisioningError, match="Next: besace-provision enrol"):
        Bag(tmp_path, cards=False)
    (tmp_path / "identity" / "cards.pem").write_bytes(certificate_pem(AUTHORITY.certificate))
    with pytest.raises(ProvisioningError):
        Bag(tmp_path, cards=False)


def config_of(folder) -> Config:
    identity = folder / "etc" / "identity"
    return parse(
        f'[bag]\nname = "sac-04"\nstate_dir = "{folder}"\n[hub]\nhost = "hub"\nca = "{identity / "root.pem"}"\n'
        f'certificate = "{identity / "device.pem"}"\nkey = "{identity / "device.key"}"\n'
        f'sealing_key = "{identity / "hub.pub"}"\n'
    )


def test_ledger_verify_reads_the_file_and_the_hubs_word(tmp_path):

    config = config_of(tmp_path)
    with pytest.raises(ProvisioningError, match="Next:"):
        verify(config)
    identity = tmp_path / "etc" / "identity"
    identity.mkdir(parents=True)
    (identity / "authority.pem").write_bytes(certificate_pem(AUTHORITY.certificate))
    with pytest.raises(StateError, match="cannot read the custody log"):
        verify(config)
    db = sqlite3.connect(tmp_path / "outbox.sqlite", isolation_level=None)
    db.executescript(ledger.SCHEMA)
    head = ledger.genesis("sac-04")
    for act in (Act(What.IDENTITY, 1, T0, blob=IDENTITY.certificate_der), Act(What.PLACED, 2, T0, place="Pharmacie")):
        entry = ledger.draft(head, bytes(16), act, IDENTITY.sign)
        ledger.append(db, entry)
        head = entry.head
    assert verify(config) == {"entries": 2, "countersigned": None}
    hub = make_identity("hub")
    (tmp_path / "etc" / "ledger.head").write_bytes(ledger.countersign("sac-04", head, T0, hub.certificate, hub.sign))
    assert verify(config) == {"entries": 2, "countersigned": 1}
    db.execute("DELETE FROM ledger WHERE number = 1")
    with pytest.raises(LedgerError, match="cut short"):
        verify(config)
    (tmp_path / "etc" / "ledger.head").write_bytes(b"junk")
    with pytest.raises(StateError, match="not the hub's word"):
        verify(config)
