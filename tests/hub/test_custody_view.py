"""The coordinator's view: added up from entries in any order; two claims to one bag are both named."""

import random
import sqlite3
from datetime import UTC, datetime

import pytest
from loan_desk import AUTHORITY, IDENTITY, T0, make_identity

from agent import ledger
from agent.custody import DURABLE, What
from agent.errors import WireError
from agent.holding import Act
from agent.transport.epoch import Epoch, read_header
from agent.transport.messages import Batch, CustodyBody, EpochReason, Record, VisitBody, VisitStep
from hub import custody_page
from hub.custody import SCHEMA, CustodyView, entries_of, keep, stored
from hub.page import serve_doctor
from tests.peers.pages import ask, serving

STORY = (
    Act(What.IDENTITY, 1, T0, blob=IDENTITY.certificate_der),
    Act(What.PLACED, 2, T0, place="Pharmacie"),
    Act(What.DRAINED, 3, T0 + 1),
    Act(What.LENDABLE, 4, T0 + 2),
    Act(What.CHECK_OUT, 5, T0 + 60, b"nurse1", "Mme D.", due_s=T0 + 3600),
)


def write(acts, signer=IDENTITY, head=None):
    head = head or ledger.genesis("sac-04")
    out = []
    for act in acts:
        entry = ledger.draft(head, bytes(16), act, signer.sign)
        head = entry.head
        out.append(entry.data)
    return out


ENTRIES = write(STORY)


class Clock:
    now_s = T0 + 120

    def __call__(self):
        return self.now_s


def view_of(entries, clock=None):
    view = CustodyView([AUTHORITY.certificate], now_s=clock or Clock())
    for entry in entries:
        view.hear("sac-04", entry, T0 + 100)
    return view


def test_a_badge_is_known_by_its_label_once_it_took_a_bag_out():
    assert view_of(ENTRIES).who(b"nurse1") == "Mme D."
    assert view_of(ENTRIES[:-1]).who(b"nurse1") == ""
    assert view_of([*ENTRIES[:3], ENTRIES[4]]).who(b"nurse1") == ""  # a ledger with a hole proves nothing yet


def test_a_bag_that_is_out():
    (row,) = view_of(ENTRIES).rows()
    assert (row["bag"], row["state"], row["holder"], row["place"]) == ("sac-04", "out", "Mme D.", "Pharmacie")
    assert (row["since_s"], row["due_s"], row["overdue"], row["lendable"]) == (T0 + 60, T0 + 3600, False, False)
    assert (row["entries"], row["conflicts"], row["damaged"]) == (5, [], "")


def test_lendable_and_overdue():
    assert view_of(ENTRIES[:4]).rows()[0]["lendable"]
    clock = Clock()
    clock.now_s = T0 + 3601
    assert view_of(ENTRIES, clock).rows()[0]["overdue"]


@pytest.mark.parametrize("seed", range(5))
def test_any_order_and_repeats_add_up_to_the_same(seed):
    shuffled = ENTRIES * 2
    random.Random(seed).shuffle(shuffled)
    assert view_of(shuffled).rows() == view_of(ENTRIES).rows()


def test_what_is_missing_is_said_and_nothing_is_made_up():
    (row,) = view_of(ENTRIES[:2] + ENTRIES[3:]).rows()
    assert (row["entries"], row["missing_before"], row["state"]) == (2, 3, "draining")


def test_two_ledgers_are_both_named_and_none_is_overwritten():
    other = write([Act(What.CHECK_OUT, 5, T0 + 61, b"nurse2", "M. K.")], head=ledger.read(ENTRIES[3]).head)
    view = view_of([*ENTRIES, *other])
    (row,) = view.rows()
    assert row["holder"] == "Mme D."
    (conflict,) = row["conflicts"]
    assert [(side["entry"], side["label"]) for side in conflict["sides"]] == [(4, "Mme D."), (4, "M. K.")]
    assert len({side["mark"] for side in conflict["sides"]}) == 2
    assert view_of([*ENTRIES, *other, *other]).rows()[0]["conflicts"] == [conflict]


def header(chain, number, boot=b"1"):
    epoch = Epoch(
        IDENTITY, boot_id=boot * 16, t_us=1, reason=EpochReason.START, chain=chain * 8, number=number, previous=None
    )
    return read_header(epoch.header.payload)[1]


def conflicts_after(*headers):
    view = view_of(ENTRIES)
    for at, known in enumerate(headers):
        view.epoch("sac-04", known, T0 + at)
    return view.rows()[0]


def test_two_bags_with_one_identity_are_both_named():
    """Two copies of one card start: the same outbox begins its fifth epoch twice."""
    one, two = header(b"A", 5, b"1"), header(b"A", 5, b"2")
    row = conflicts_after(one, one, header(b"A", 6), header(b"A", 4), two)
    (conflict,) = row["conflicts"]
    assert [side["mark"] for side in conflict["sides"]] == [(b"1" * 4).hex(), (b"2" * 4).hex()]
    assert [side["heard_s"] for side in conflict["sides"]] == [T0, T0 + 4]
    assert not row["lendable"]


def test_a_bag_erased_once_is_no_conflict_but_two_outboxes_in_turn_are():
    erased = [header(b"A", 1), header(b"A", 2), header(b"B", 1), header(b"B", 2)]
    assert conflicts_after(*erased)["conflicts"] == []
    assert conflicts_after(*erased, erased[1])["conflicts"] == []  # the old one's header again, late
    assert len(conflicts_after(*erased, header(b"A", 3))["conflicts"]) == 1


def test_a_forged_entry_stops_the_sum_and_says_so():
    forged = write([STORY[4]], make_identity(), ledger.read(ENTRIES[3]).head)
    (row,) = view_of([*ENTRIES[:4], *forged]).rows()
    assert (row["state"], row["damaged"]) == ("home", "not signed by this device")
    assert view_of([b"junk"]).rows()[0]["damaged"]


def test_the_hub_countersigns_what_it_has_whole():
    hub = make_identity("hub")
    view = view_of(ENTRIES[:2] + ENTRIES[3:])
    word = view.countersigned("sac-04", hub.certificate, hub.sign)
    head = ledger.read_countersigned(word, "sac-04", [AUTHORITY.certificate])
    assert head == ledger.read(ENTRIES[1]).head
    ledger.verify_ledger(ENTRIES, "sac-04", [AUTHORITY.certificate], head)
    assert view.countersigned("sac-99", hub.certificate, hub.sign) is None


def test_heads_are_left_for_the_enrolment_server_when_a_ledger_has_grown(tmp_path):
    hub = make_identity("hub")
    view = view_of(ENTRIES[:2])
    view.write_heads(tmp_path, hub.certificate, hub.sign)
    path = tmp_path / "sac-04.head"
    first = path.read_bytes()
    view.write_heads(tmp_path, hub.certificate, hub.sign)
    assert path.read_bytes() == first
    view.hear("sac-04", ENTRIES[2], T0)
    view.write_heads(tmp_path, hub.certificate, hub.sign)
    assert ledger.read_countersigned(path.read_bytes(), "sac-04", [AUTHORITY.certificate]).number == 2


def test_entries_are_kept_in_the_hubs_own_commit():
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.executescript(SCHEMA)
    batch = Batch(1, None, tuple(Record(0, n, 0, CustodyBody(entry)) for n, entry in enumerate(ENTRIES)))
    batch = Batch(1, None, (*batch.records, Record(0, 9, 0, VisitBody(VisitStep.OPEN, "1234"))))
    assert entries_of(batch) == tuple(ENTRIES)
    other = write([Act(What.CHECK_OUT, 5, T0 + 61, b"nurse2", "M. K.")], head=ledger.read(ENTRIES[3]).head)
    for entry in (*ENTRIES, *ENTRIES, *other, b"junk"):
        keep(db, "sac-04", entry, T0)
    assert [entry for _, entry, _ in stored(db)] == [*ENTRIES, *other]
    db.execute("BEGIN")
    keep(db, "sac-05", ENTRIES[0], T0)
    db.execute("ROLLBACK")
    assert len(list(stored(db))) == 6
    with pytest.raises(WireError):
        ledger.read(b"junk")


def test_the_page_shows_every_state_and_no_markup_of_others():
    assert set(custody_page.STATES) == {state.value for state in DURABLE}
    view = view_of(ENTRIES)
    rows = view.rows()
    rows[0]["holder"] = "<script>"
    sides = [{"entry": 4, "label": who, "heard_s": T0, "mark": mark} for who, mark in (("Mme D.", "a"), ("M. K.", "b"))]
    rows[0]["conflicts"] = [{"what": "two ledgers", "sides": sides}]
    rows[0]["problems"] = ["BP-1#5200123"]
    rows[0]["notes"] = ["low:ELEC", "stock:ELEC=2"]
    shown = custody_page.render(rows, lambda s: datetime.fromtimestamp(s, UTC))
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown
    assert (
        "Deux journaux de garde différents : entrée 4 Mme D., reçu 20/11 07:12 (a) / "
        "entrée 4 M. K., reçu 20/11 07:12 (b)"
    ) in shown
    assert "problème signalé : BP-1 n° 5200123" in shown
    assert "<li>ELEC à compléter</li>" in shown
    assert "stock" not in shown
    assert "20/11 07:13" in shown
    whole = custody_page.document(rows, lambda s: datetime.fromtimestamp(s, UTC)).decode()
    assert whole.startswith('<!doctype html><html lang="fr">')
    assert shown in whole
    (boots,) = conflicts_after(header(b"A", 5, b"1"), header(b"A", 5, b"2"))["conflicts"]
    assert "démarrage, reçu 20/11 07:12 (31313131) / démarrage, reçu 20/11 07:12 (32323232)" in custody_page.render(
        [rows[0] | {"conflicts": [boots]}], lambda s: datetime.fromtimestamp(s, UTC)
    )
    assert "Aucun sac connu" in custody_page.render([], lambda s: datetime.fromtimestamp(s, UTC))


@pytest.mark.parametrize("custody", [True, False])
def test_the_hub_serves_it_where_there_is_custody(custody):
    document = custody_page.document(view_of(ENTRIES).rows(), lambda s: datetime.fromtimestamp(s, UTC))

    class Nobody:
        """A directory without visits: the table knows none."""

        def find(self, _code):
            return None

    async def serve(ready):
        held = (lambda: document) if custody else None
        await serve_doctor(Nobody(), host="127.0.0.1", port=0, custody=held, ready=ready)

    with serving(serve) as (url,):
        status, headers, body = ask(url, "/garde")
    assert status == (200 if custody else 404)
    if custody:
        assert headers["content-type"] == "text/html; charset=utf-8"
        assert "Sac 04" in body.decode()
