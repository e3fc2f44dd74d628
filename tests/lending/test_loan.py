"""The loan desk as people use it: scans in, sentences out, entries on disk; and a power cut anywhere."""

import asyncio
import shutil
import sqlite3
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from loan_desk import (
    AUTHORITY,
    COLLEAGUE,
    LABELS,
    NURSE,
    OTHER_POINT,
    POINT,
    SHEET,
    T0,
    TECHNICIAN,
    Desk,
    FakeBag,
    card,
    loan_of,
    make_identity,
)

from agent import ledger
from agent.badges import Revoked, Role
from agent.custody import DURABLE, Action, Event, Say, State, What
from agent.health import Finding, Level, Part, Why
from agent.holding import replay
from agent.lending.loan import REFUSALS_AN_HOUR

LOW = Finding(Part.BATTERY, Level.CONFIRM, Why.BATTERY_LOW, "45")
BROKEN = Finding(Part.INSTRUMENT, Level.UNFIT, Why.INSTRUMENT_FAILED, "cuff")


def run(story):
    return asyncio.run(story())


def test_a_day_of_a_bag():
    async def story():
        desk = await Desk().placed()
        assert desk.loan.state is State.HOME
        said = await desk.scan(POINT)
        assert desk.sentence(said) == "Scannez maintenant le badge du soignant"
        said = await desk.scan(NURSE)
        assert desk.sentence(said) == "Sac 04 remis à Mme D., 08:13, retour prévu 19:00"
        assert desk.bag.actions[-1] is Action.EPOCH_OUT
        said = await desk.scan(OTHER_POINT)
        assert "tensiomètre, otoscope" in desk.sentence(said)  # the oximeter speaks, the cuff sleeps
        await desk.scan(LABELS["BP-1"])
        said = await desk.scan(SHEET["COMPLET"])
        assert desk.sentence(said) == "Noté. Scannez «Désinfecté» pour finir"
        desk.bag.rows_waiting = 3
        said = await desk.scan(SHEET["DESINFECTE"])
        assert desk.sentence(said) == "Retour enregistré. Laissez branché : envoi en cours"
        assert desk.loan.custody.place == "Maison santé"
        assert await desk.wait(1) is None  # the hub has not everything
        desk.bag.rows_waiting = 0
        await desk.wait(1)
        assert desk.bag.actions[-1] is Action.EPOCH_IN
        said = await desk.wait(1)
        assert desk.sentence(said) == "Prêtable"
        assert [act.what for act in desk.acts()] == [
            What.IDENTITY, What.PLACED, What.DRAINED, What.LENDABLE, What.CHECK_OUT, What.RETURNED, What.DRAINED,
            What.LENDABLE,
        ]  # fmt: skip

    run(story)


def test_a_card_read_twice_changes_nothing_and_says_so():
    async def story():
        desk = await Desk().lent()
        before = len(desk.acts())
        for seconds in (1, 1, 7):
            assert (await desk.scan(NURSE, seconds)).say is Say.AGAIN
        assert desk.loan.state is State.OUT
        assert len(desk.acts()) == before

    run(story)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (card(Role.NURSE, "X", days=1, issued_s=T0 - 90000), "expired"),
        (card(Role.NURSE, "X", issued_s=T0 + 90000), "not_yet_valid"),
        (card(Role.NURSE, "X", key=Ed25519PrivateKey.generate()), "other_cpts"),
        (NURSE[:-6] + "AAAAAA", "forged"),
        ("BSC1:HELLO", "unreadable"),
        (card(Role.NURSE, "X", number=99), "revoked"),
        (card(Role.PART, "OTHER-BAG"), "unknown"),
        (card(Role.SHEET, "NIMPORTE"), "unknown"),
        (card(Role.PART, "COMPLET"), "unknown"),  # a part's label is no code of the condition sheet
    ],
)
def test_bad_cards_are_refused_with_their_reason_and_only_the_refusal_is_recorded(text, reason):
    async def story():
        desk = await Desk(revoked=Revoked(1, T0, frozenset({b"000099"}))).placed()
        await desk.scan(POINT)
        said = await desk.scan(text)
        assert (said.say, said.detail) == (Say.BAD_CARD, reason)
        assert desk.sentence(said).startswith("Refusé : ")
        assert desk.loan.state is State.LEAVING
        assert desk.acts()[-1].what is What.REFUSED
        assert desk.acts()[-1].details[0] == f"bad_card:{reason}"

    run(story)


def test_a_wrong_role_is_refused():
    async def story():
        desk = await Desk().placed()
        assert (await desk.scan(NURSE)).say is Say.CARD_FIRST
        await desk.scan(POINT)
        said = await desk.scan(TECHNICIAN)
        assert (said.say, desk.loan.state) == (Say.WRONG_CARD, State.LEAVING)
        assert [a.what for a in desk.acts()[-2:]] == [What.REFUSED, What.REFUSED]

    run(story)


@pytest.mark.parametrize("good", [False, True])
def test_refusals_do_not_fill_the_ledger(good):
    """Neither do those of good cards that are of no use here."""

    def text(number):
        return (LABELS["BP-1"], SHEET["CASSE"])[number % 2] if good else f"BSC1:JUNK{number}"

    async def story():
        desk = await Desk().placed()
        before = len(desk.acts())
        for number in range(REFUSALS_AN_HOUR + 20):
            assert (await desk.scan(text(number), 1)).say in {Say.BAD_CARD, Say.WRONG_CARD}
        assert len(desk.acts()) == before + REFUSALS_AN_HOUR
        await desk.scan(text(1), 3601)
        assert len(desk.acts()) == before + REFUSALS_AN_HOUR + 1

    run(story)


def test_an_older_list_of_revoked_cards_is_not_taken():
    desk = Desk(revoked=Revoked(5, T0, frozenset({b"000003"})))
    assert not desk.loan.revocations(Revoked(5, T0 + 1, frozenset()))
    assert not desk.loan.revocations(Revoked(4, T0 + 1, frozenset()))
    assert desk.loan.revocations(Revoked(6, T0 + 1, frozenset()))


def test_a_low_battery_wants_the_badge_again_and_not_by_accident():
    async def story():
        desk = await Desk().placed()
        desk.bag.findings = (LOW,)
        await desk.scan(POINT)
        said = await desk.scan(NURSE)
        assert desk.sentence(said) == "batterie à 45 %. Pour partir quand même, scannez encore le badge"
        assert (await desk.scan(NURSE, 1)).say is Say.AGAIN  # the card still lies before the scanner
        assert (await desk.scan(COLLEAGUE, 4)).say is Say.CONFIRM_PLEASE
        said = await desk.scan(COLLEAGUE, 4)
        assert said.say is Say.HANDED_OVER
        assert desk.loan.custody.label == "M. K."
        assert desk.acts()[-1].details == ("battery_low:45", "old_list:")

    run(story)


def test_an_unfit_bag_stays():
    async def story():
        desk = await Desk().placed()
        await desk.scan(POINT)
        desk.bag.findings = (BROKEN,)
        said = await desk.scan(NURSE)
        assert desk.sentence(said) == "Ne doit pas partir : tensiomètre en panne"
        assert desk.loan.state is State.HOME

    run(story)


def test_each_return_is_tested_at_once_and_an_unfit_bag_again_each_minute():
    async def story():
        desk = await Desk().lent()
        for text in (POINT, SHEET["COMPLET"], SHEET["DESINFECTE"]):
            await desk.scan(text, 10.5)
        desk.bag.findings = (BROKEN,)
        assert (await desk.wait(1)).say is Say.CHECKING
        said = await desk.wait(1)
        assert desk.sentence(said) == "Pas encore prêtable : tensiomètre en panne"
        desk.bag.findings = ()
        assert await desk.wait(58) is None
        assert (await desk.wait(2)).say is Say.LENDABLE

    run(story)


def test_a_stranger_learns_since_when_but_not_who():
    async def story():
        desk = await Desk().lent()
        assert desk.sentence(await desk.scan(COLLEAGUE)) == "Déjà sorti depuis 08:13, chez un soignant"

    run(story)


def test_passing_on_between_two_visits():
    async def story():
        desk = await Desk().lent()
        desk.bag.visit = True
        assert (await desk.scan(NURSE)).say is Say.END_VISIT_FIRST
        desk.bag.visit = False
        assert (await desk.scan(NURSE)).say is Say.OTHER_BADGE
        said = await desk.scan(COLLEAGUE)
        assert desk.sentence(said) == "Sac 04 passé à M. K., 08:14"
        assert desk.loan.custody.due_s is not None
        await desk.scan(COLLEAGUE)
        assert (await desk.wait(31)).say is Say.PASSING_OFF
        assert desk.loan.custody.label == "M. K."

    run(story)


def test_no_bag_changes_hands_while_a_visit_is_open():
    """So a visit has one holder, the badge in its record, or none."""

    async def story():
        desk = await Desk().placed()
        desk.bag.visit = True
        assert (await desk.scan(POINT)).say is Say.END_VISIT_FIRST
        desk.bag.visit = False
        await desk.scan(POINT)
        desk.bag.visit = True
        assert desk.sentence(await desk.scan(NURSE)) == "Terminez d'abord la visite"
        assert desk.loan.state is State.HOME
        desk.bag.visit, desk.bag.findings = False, (LOW,)
        await desk.scan(POINT)
        await desk.scan(NURSE)
        desk.bag.visit = True
        assert (await desk.scan(NURSE)).say is Say.END_VISIT_FIRST
        assert desk.loan.state is State.HOME

    run(story)


def test_missing_broken_and_dirty_are_named():
    async def story():
        desk = await Desk().lent()
        await desk.scan(POINT)
        await desk.scan(SHEET["CASSE"])
        await desk.scan(LABELS["SPO2-1"])
        await desk.scan(SHEET["CONSOMMABLES"])
        said = await desk.scan(POINT)
        assert desk.sentence(said) == (
            "Retour enregistré avec défaut : tensiomètre manque, oxymètre cassé, non désinfecté. Laissez branché"
        )
        assert desk.loan.custody.notes == ("without:OTO-1", "consumables:", "old_list:")
        await desk.wait(1)
        assert (await desk.wait(1)).say is Say.FAULTY
        assert "Badge du technicien" in desk.sentence(await desk.scan(POINT))
        await desk.scan(TECHNICIAN)
        await desk.scan(SHEET["REMIS"])
        assert desk.loan.state is State.CHECKING
        await desk.wait(61)
        assert desk.loan.state is State.HOME

    run(story)


def test_lendable_without_what_is_not_essential():
    async def story():
        desk = await Desk().lent()
        await desk.scan(POINT)
        await desk.scan(LABELS["BP-1"])
        await desk.scan(SHEET["INCOMPLET"])
        await desk.scan(SHEET["DESINFECTE"])
        await desk.wait(1)
        assert desk.sentence(await desk.wait(1)) == "Prêtable sans otoscope"

    run(story)


def test_a_quarantined_part_keeps_a_bag_in_until_the_technician_lifts_it():
    async def story():
        desk = await Desk().lent()
        said = await desk.loan.press(Event.PROBLEM, "BP-1")
        assert desk.sentence(said) == "Problème noté : tensiomètre. Mettez l'appareil de côté"
        assert desk.loan.custody.problems == ("BP-1",)
        await desk.scan(POINT)
        await desk.scan(SHEET["COMPLET"])
        await desk.scan(SHEET["DESINFECTE"])
        await desk.wait(1)
        await desk.wait(1)
        for text in (TECHNICIAN, LABELS["BP-1"], SHEET["QUARANTAINE"]):
            await desk.scan(text)
        assert desk.loan.custody.quarantined == {"BP-1"}
        for text in (TECHNICIAN, SHEET["REMIS"]):
            await desk.scan(text)
        await desk.wait(61)
        assert desk.loan.state is State.HOME
        for text in (POINT, NURSE, POINT, SHEET["COMPLET"], SHEET["DESINFECTE"]):
            await desk.scan(text)
        assert desk.loan.custody.defects == ("quarantined:BP-1",)

    run(story)


def test_overdue_and_forgotten_on_the_charger_are_said_again_and_lock_nothing():
    async def story():
        desk = await Desk().lent()
        assert await desk.wait(60) is None
        assert desk.sentence(await desk.wait(12 * 3600)) == "Retour attendu depuis 19:00"
        assert await desk.wait(60) is None
        assert (await desk.wait(1800)).say is Say.OVERDUE
        await desk.loan.press(Event.KEEP, due_s=desk.bag.utc().earliest_s + 86400)
        desk.bag.plugged = True
        assert await desk.wait(1700) is None
        assert desk.sentence(await desk.wait(200)) == "Retour non enregistré : scannez la carte"
        assert desk.loan.state is State.OUT

    run(story)


def test_without_a_clock_everything_works_and_is_flagged():
    async def story():
        bag = FakeBag()
        bag.anchored = False
        desk = await Desk(bag).lent()
        assert desk.loan.state is State.OUT
        act = desk.acts()[-1]
        assert (act.utc_s, act.due_s) == (None, None)
        assert "undated:" in act.details
        assert desk.bag.floor_s == desk.loan.floor_s == T0 - 3600  # a believed card's date is a floor

    run(story)


def test_a_card_that_refuses_to_write_changes_nothing_until_it_writes(monkeypatch):
    monkeypatch.setattr("agent.lending.loan.WRITE_S", 0.01)

    async def story():
        desk = await Desk().placed()
        await desk.scan(POINT)
        desk.bag.failing.clear()
        assert (await desk.scan(NURSE)).say is Say.NOT_RECORDED
        assert (await desk.scan(COLLEAGUE)).say is Say.NOT_RECORDED
        assert desk.loan.custody.state is State.HOME
        assert Action.EPOCH_OUT not in desk.bag.actions
        desk.bag.failing.set()
        await asyncio.sleep(0.05)
        assert (desk.loan.state, desk.loan.custody.label) == (State.OUT, "Mme D.")
        assert desk.bag.actions[-1] is Action.EPOCH_OUT

    run(story)


def test_nothing_is_recorded_before_who_signs():
    async def story():
        desk = Desk()
        assert (await desk.scan(POINT)).say is Say.NOT_RECORDED
        desk.bag.failing.clear()
        starting = asyncio.create_task(desk.loan.start())
        await asyncio.sleep(0)
        assert (await desk.scan(OTHER_POINT)).say is Say.NOT_RECORDED  # a card that refuses to write, from the start
        desk.bag.failing.set()
        await starting
        assert (await desk.scan(POINT)).say is Say.PLACED
        assert [act.what for act in desk.acts()] == [What.IDENTITY, What.PLACED]

    run(story)


def test_a_renewed_certificate_is_said_once():
    async def story():
        desk = await Desk().placed()
        new = make_identity()
        for _ in range(2):
            again = loan_of(desk.bag, identity=new)
            await again.start()
        acts = desk.acts()
        assert [a.what for a in acts].count(What.IDENTITY) == 2
        assert acts[-1].blob == new.certificate_der

    run(story)


SCANNED = st.sampled_from(
    [POINT, OTHER_POINT, NURSE, COLLEAGUE, TECHNICIAN, *SHEET.values(), *LABELS.values(), "BSC1:X"]
)
STEPS = st.one_of(
    st.tuples(st.just("scan"), SCANNED, st.sampled_from([1.0, 4.0, 20.0])),
    st.tuples(st.just("wait"), st.sampled_from([1.0, 31.0, 601.0, 3601.0])),
    st.tuples(st.just("press"), st.sampled_from([Event.ALL_THERE, Event.KEEP, Event.PROBLEM, Event.CONSUMABLES])),
    st.tuples(st.just("set"), st.sampled_from(["visit", "plugged", "anchored"]), st.booleans()),
    st.tuples(st.just("find"), st.sampled_from([(), (LOW,), (BROKEN,)])),
    st.tuples(st.just("rows"), st.sampled_from([0, 3])),
    st.tuples(st.just("restart")),
)


async def take(desk, step):
    match step:
        case ("scan", text, after_s):
            await desk.scan(text, after_s)
        case ("wait", seconds):
            await desk.wait(seconds)
        case ("press", event):
            await desk.loan.press(event, "STOCK=3" if event is Event.CONSUMABLES else "BP-1")
        case ("set", name, value):
            setattr(desk.bag, name, value)
        case ("find", findings):
            desk.bag.findings = findings
        case ("rows", waiting):
            desk.bag.rows_waiting = waiting
        case ("restart",):
            desk.loan = loan_of(desk.bag)


@settings(max_examples=40, deadline=None)
@given(st.lists(STEPS, min_size=10, max_size=40))
def test_whatever_people_do_the_log_is_whole_and_says_where_the_bag_is(steps):
    async def story():
        desk = await Desk().placed()
        for step in steps:
            before, in_visit = desk.loan.custody, desk.bag.visit
            await take(desk, step)
            after = desk.loan.custody
            assert after == replay(desk.acts())  # the log is verified on the way
            assert desk.loan.state is after.state or desk.loan.state not in DURABLE
            assert bool(after.badge) == (after.state is State.OUT)
            if in_visit and before.state is State.OUT:
                assert (after.state, after.badge) == (State.OUT, before.badge)  # nothing takes a bag out of a visit
            if after.state is State.OUT and before.state is not State.OUT:
                assert before.state is State.HOME
                assert BROKEN not in desk.bag.findings
            if after.state is State.HOME and before.state is not State.HOME:
                assert before.state is State.CHECKING
                assert after.defects == ()

    run(story)


def images_of_a_loan(tmp_path, bag):
    """The files as they are at every statement of a whole loan, each with the head the desk had answered for."""
    images = []

    async def story():
        def snapshot(_statement):
            image = tmp_path / f"cut{len(images)}"
            image.mkdir()
            for name in ("outbox.sqlite", "outbox.sqlite-wal"):
                if (tmp_path / name).exists():
                    shutil.copy(tmp_path / name, image / name)
            images.append((image / "outbox.sqlite", desk.loan.head))

        desk = Desk(bag)
        bag.db.set_trace_callback(snapshot)
        await desk.lent()
        for text in (POINT, SHEET["COMPLET"], SHEET["DESINFECTE"]):
            await desk.scan(text)
        await desk.wait(1)
        await desk.wait(1)
        bag.db.execute("SELECT 1")
        bag.db.set_trace_callback(None)
        bag.db.close()

    run(story)
    return images


def read_image(path):
    db = sqlite3.connect(path)
    entries = ledger.stored(db)
    rows = [row for (row,) in db.execute("SELECT payload FROM rows ORDER BY place")]
    db.close()
    return entries, rows


def test_a_power_cut_anywhere_leaves_each_step_whole_or_absent(tmp_path):
    lengths = set()
    for image, head in images_of_a_loan(tmp_path, FakeBag(tmp_path / "outbox.sqlite")):
        entries, rows = read_image(image)
        assert rows == [b"sealed" + entry for entry in entries]
        found = ledger.verify_ledger(entries, "sac-04", [AUTHORITY.certificate])
        # Never less than the desk has answered for, never more than the one step under way.
        assert head.number <= len(found) - 1 <= head.number + 1
        bag = FakeBag(image)
        again = loan_of(bag)
        bag.db.close()
        assert again.custody == replay(e.act for e in found)
        assert again.state is again.custody.state
        lengths.add(len(found))
    assert lengths == set(range(9))


def test_the_power_cut_test_would_find_two_transactions(tmp_path):
    class TwoCommits(FakeBag):
        async def store(self, entry):
            ledger.append(self.db, entry)
            self.db.execute("INSERT INTO rows (payload) VALUES (?)", (b"sealed" + entry.data,))

    images = images_of_a_loan(tmp_path, TwoCommits(tmp_path / "outbox.sqlite"))
    assert any(len(entries) != len(rows) for entries, rows in (read_image(image) for image, _ in images))


def test_the_ledger_of_a_changed_card_is_found():
    async def story():
        desk = await Desk().lent()
        entries = ledger.stored(desk.bag.db)
        forged = ledger.draft(
            ledger.read(entries[-2]).head, bytes(16), replace(desk.acts()[-1], label="M. X."), make_identity().sign
        )
        with pytest.raises(ledger.LedgerError):
            ledger.verify_ledger([*entries[:-1], forged.data], "sac-04", [AUTHORITY.certificate])

    run(story)
