"""The desk in the agent: what it asks of the bag's parts, when it is due back, and the commands beside it."""

import asyncio
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from loan_desk import AUTHORITY, CARDS, IDENTITY, LABELS, NURSE, POINT, SHEET, T0, DeskBag, make_identity

from agent import custody, ledger
from agent.badges import Revoked, make_list
from agent.commands.custody import verify
from agent.config import Config, parse
from agent.custody import Say, What
from agent.errors import ProvisioningError, StateError
from agent.health import Level, Why
from agent.holding import Act, Custody
from agent.ledger import LedgerError
from agent.lending.sentences import desk_words, standing, tell
from agent.model import InstrumentState
from agent.transport.messages import EpochReason
from provisioning.authority import certificate_pem


def test_scans_are_answered_in_french_and_epochs_follow(tmp_path):
    async def story():
        bag = await DeskBag(tmp_path).lent()
        assert bag.desk.sentence.startswith("Sac 04 remis à Mme D., ")
        assert bag.told[-1].say is Say.HANDED_OVER
        assert bag.epochs == [EpochReason.CHECK_IN, EpochReason.CHECK_OUT]

    asyncio.run(story())


def keys(bag):
    return bag.desk.view()["keys"]


def test_the_page_shows_the_last_answer_for_a_while_then_what_holds(tmp_path):
    async def story():
        bag = await DeskBag(tmp_path).lent()
        assert (bag.desk.view()["fresh"], bag.desk.view()["mark"]) == (True, "ok")
        await bag.scan(NURSE)
        assert bag.desk.view()["text"] == "Passation : scannez l'autre badge"
        await bag.tick(31)
        bag.clock.t_s += 21
        shown = bag.desk.view()
        assert (shown["fresh"], shown["mark"]) == (False, "ok")
        assert shown["text"].startswith("Sac 04 remis à Mme D., ")

    asyncio.run(story())


def test_the_page_s_inventory_in_three_states_and_the_condition(tmp_path):
    async def story():
        bag = await DeskBag(tmp_path).lent()
        bag.seen = {"oximeter": 5.0, "cuff": 3600.0}
        await bag.scan(POINT)

        def parts():
            return [row["text"] for row in bag.desk.view()["parts"]]

        seen_at = datetime.fromtimestamp(bag.desk.utc().earliest_s - 3600).astimezone().strftime("vu à %H:%M")
        assert parts() == ["vu", seen_at, "à compter"]
        assert keys(bag) == ["all_there", "consumables", "problem"]
        bag.seen["cuff"] = 2.0
        await bag.tick()
        assert parts() == ["vu", "vu", "à compter"]  # switched on during the inventory
        await bag.scan(SHEET["CASSE"])
        await bag.scan(LABELS["SPO2-1"])
        await bag.desk.all_there()
        assert parts() == ["cassé", "vu", "compté"]
        done = {row["id"]: row["done"] for row in bag.desk.view()["condition"]}
        assert done == {"complete": True, "disinfected": False, "broken": True, "consumables": False}
        bag.weak.add("cuff")
        sentence = await bag.scan(SHEET["DESINFECTE"])
        assert sentence == (
            "Retour enregistré avec défaut : oxymètre cassé. Laissez branché. "
            "À charger : tensiomètre. Périmé : bandelettes"
        )
        assert bag.desk.view()["parts"] == bag.desk.view()["condition"] == []

    asyncio.run(story())


def test_consumables_are_counted_too_few_and_too_old_are_named(tmp_path):
    async def story():
        bag = await DeskBag(tmp_path).lent()
        await bag.scan(POINT)

        def rows():
            return {row["tag"]: (row["n"], row["mark"], row["text"]) for row in bag.desk.view()["supplies"]}

        assert rows() == {
            "ELEC": (None, "idle", "au moins 10"),
            "STRIP": (None, "todo", "périmé depuis le 31/10/2026"),
        }
        for number in (11, 10, 9):
            await bag.desk.have("ELEC", number)
        assert rows()["ELEC"] == (9, "todo", "à compléter : au moins 10")
        for which, number in (("ELEC", -1), ("ELEC", 1000), ("NOTHING", 1)):
            with pytest.raises(StateError):
                await bag.desk.have(which, number)
        await bag.scan(SHEET["COMPLET"])
        sentence = await bag.scan(SHEET["DESINFECTE"])
        assert "À compléter : électrodes. Périmé : bandelettes" in sentence
        held = bag.desk.loan.custody
        assert {"stock:ELEC=9", "low:ELEC", "expired:STRIP"} <= set(held.notes)
        assert not {detail for detail in held.defects if "ELEC" in detail}  # a note, no reason to keep the bag in

    asyncio.run(story())


def test_a_bag_that_still_sends_says_for_how_long(tmp_path):
    async def story():
        bag = await DeskBag(tmp_path).lent()
        bag.waiting = 500
        for text in (POINT, SHEET["COMPLET"], SHEET["DESINFECTE"]):
            await bag.scan(text)
        assert await bag.scan(NURSE) == "Envoi en cours, laissez branché"
        bag.left_min = 12
        assert await bag.scan(NURSE) == "Envoi en cours, laissez branché (12 min)"
        bag.clock.t_s += 21
        bag.left_min = 11
        assert bag.desk.view()["text"] == "Envoi en cours, laissez branché (11 min)"
        assert bag.desk.loan.state is custody.State.DRAINING

    asyncio.run(story())


def test_without_a_clock_a_part_was_seen_so_long_ago(tmp_path):
    async def story():
        bag = await DeskBag(tmp_path).lent()
        bag.seen = {"cuff": 2400.0}
        await bag.scan(POINT)
        bag.desk._terms = replace(bag.desk._terms, demo=False)
        if bag.desk.utc().latest_s is None:
            assert bag.desk.view()["parts"][1]["text"] == "vu il y a 40 min"
            assert bag.desk.keep_until_s(1) is None
            assert bag.desk.view()["nights"][0]["text"] == "Cette nuit : retour 19:00"

    asyncio.run(story())


def test_keeping_a_bag_over_night_moves_the_hour_of_return_and_its_day(tmp_path):
    async def story():
        bag = await DeskBag(tmp_path).lent()
        assert keys(bag) == ["keep", "problem"]
        due_s = bag.desk.loan.custody.due_s
        bag.clock.t_s += 20
        await bag.desk.keep(1)
        await bag.desk.keep(2)  # a finger that changes its mind
        held = bag.desk.loan.custody
        assert datetime.fromtimestamp(held.due_s).astimezone().strftime("%H:%M") == "19:00"
        assert 1 <= (held.due_s - due_s) / 86_400 <= 2
        day = datetime.fromtimestamp(held.due_s).astimezone().strftime("%d/%m")
        assert bag.desk.sentence == f"Gardé : retour prévu {day}, 19:00"
        for nights in (0, 4, -1):
            with pytest.raises(StateError):
                await bag.desk.keep(nights)

    asyncio.run(story())


def test_a_problem_is_recorded_with_the_instrument_s_serial_number(tmp_path):
    async def story():
        bag = await DeskBag(tmp_path).lent()
        bag.serials["cuff"] = "5200123"
        bag.clock.t_s += 20
        await bag.desk.problem("BP-1")
        assert bag.desk.sentence == "Problème noté : tensiomètre (n° 5200123). Mettez l'appareil de côté"
        await bag.desk.problem("BP-1")
        assert bag.told[-1].say is Say.AGAIN  # a finger that presses twice
        bag.clock.t_s += 20
        await bag.desk.problem("sac")
        assert bag.desk.loan.custody.problems == ("BP-1#5200123", "sac")
        with pytest.raises(StateError):
            await bag.desk.problem("SOMEONE-ELSES")

    asyncio.run(story())


def test_a_key_that_the_page_does_not_show_is_refused_and_records_nothing(tmp_path):
    async def story():
        bag = await DeskBag(tmp_path).lent()
        before = len(ledger.stored(bag.disk.db))
        with pytest.raises(StateError, match="all_there is not possible while out"):
            await bag.desk.all_there()
        await bag.scan(POINT)
        with pytest.raises(StateError):
            await bag.desk.keep(1)
        assert len(ledger.stored(bag.disk.db)) == before

    asyncio.run(story())


def test_the_end_of_a_bag_is_recorded_at_its_loan_point_only(tmp_path):
    async def story():
        bag = await DeskBag(tmp_path).lent()
        with pytest.raises(StateError, match="a bag that is out cannot be retired\nNext: check it in"):
            await bag.desk.retire()
        for text in (POINT, SHEET["COMPLET"], SHEET["DESINFECTE"]):
            await bag.scan(text)
        await bag.tick()
        await bag.desk.retire()
        await bag.desk.retire()  # the command was called again
        acts = [ledger.read(entry).act.what for entry in ledger.stored(bag.disk.db)]
        assert acts.count(What.RETIRED) == 1
        assert acts[-1] is What.RETIRED
        assert bag.desk.sentence == "Sac retiré du service"
        assert keys(bag) == []
        assert await bag.scan(NURSE) == "Sac retiré du service"

    asyncio.run(story())


@pytest.mark.parametrize("state", sorted(custody.DURABLE, key=lambda state: state.value))
def test_each_state_has_a_sentence_that_holds(state):
    said = tell(
        standing(Custody(state)), desk_words(), bag="sac-04", names={}, local=lambda s: datetime.fromtimestamp(s, UTC)
    )
    assert said
    assert "{" not in said


def test_a_bag_that_must_not_leave_says_so_before_anybody_scans(tmp_path):
    async def story():
        bag = await DeskBag(tmp_path).lent()
        for text in (POINT, SHEET["COMPLET"], SHEET["DESINFECTE"]):
            await bag.scan(text)
        await bag.tick()
        await bag.tick()
        bag.clock.t_s += 21
        assert bag.desk.view()["text"].startswith("Prêtable")
        bag.states["cuff"] = InstrumentState.FAILED
        shown = bag.desk.view()
        assert (shown["text"], shown["mark"]) == ("Ne doit pas partir : tensiomètre en panne", "bad")

    asyncio.run(story())


def test_a_believed_card_raises_the_clock_s_floor(tmp_path):
    async def story():
        bag = await DeskBag(tmp_path, demo=False).lent()
        assert bag.time.floor_us >= (T0 - 3600) * 1_000_000

    asyncio.run(story())


def test_an_unsynchronised_clock_is_only_a_floor(tmp_path):
    utc = DeskBag(tmp_path, demo=False).desk.utc()
    synchronised = Path("/run/systemd/timesync/synchronized").exists()
    assert (utc.latest_s is not None) == synchronised
    if not synchronised:
        assert utc.earliest_s == IDENTITY.not_before_us // 1_000_000


def test_the_bag_is_due_at_the_next_such_hour(tmp_path):
    desk = DeskBag(tmp_path).desk
    for hour in range(0, 24, 3):
        utc_s = int(datetime(2026, 11, 20, hour, 30, tzinfo=UTC).timestamp())
        due_s = desk.due_s(utc_s)
        assert 0 < due_s - utc_s <= 86_400
        assert datetime.fromtimestamp(due_s).astimezone().strftime("%H:%M") == "19:00"


def test_the_self_test_names_what_is_wrong(tmp_path):
    bag = DeskBag(tmp_path)
    bag.disk_error = "EIO"
    bag.states["cuff"] = InstrumentState.FAILED
    unfit = {(f.why, f.which) for f in bag.desk.readiness().at(Level.UNFIT)}
    assert {(Why.DISK_REFUSES, ""), (Why.INSTRUMENT_FAILED, "cuff")} <= unfit


def test_a_newer_list_is_taken_a_forged_one_is_not(tmp_path):
    (tmp_path / "revoked.cose").write_bytes(make_list(Revoked(3, T0, frozenset({b"000003"})), CARDS))
    bag = DeskBag(tmp_path)
    assert bag.desk.loan.revoked.number == 3
    (tmp_path / "revoked.cose").write_bytes(b"junk")
    assert DeskBag(tmp_path).desk.loan.revoked is None


def test_without_keys_of_cards_there_is_no_desk(tmp_path):
    with pytest.raises(ProvisioningError, match="Next: besace-provision enrol"):
        DeskBag(tmp_path, cards=False)
    (tmp_path / "identity" / "cards.pem").write_bytes(certificate_pem(AUTHORITY.certificate))
    with pytest.raises(ProvisioningError):
        DeskBag(tmp_path, cards=False)


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
