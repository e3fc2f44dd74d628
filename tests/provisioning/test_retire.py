"""The end of a bag: nothing is erased before the hub has the record; killed anywhere it goes on, the key goes first."""

import pytest
from authority_office import Hand, bag_place, enrolment_server, loaded, make_office, token_for
from killing import killed_at, steps

from agent.errors import StateError
from provisioning import cli, enrol, retire


@pytest.fixture
def here(tmp_path, monkeypatch):
    return make_office(tmp_path / "authority", monkeypatch)


@pytest.fixture
def hub(here):
    with enrolment_server(here, Hand()) as address:
        yield address


def test_retiring_leaves_no_key_and_no_record(here, hub, tmp_path):
    place = bag_place(tmp_path)
    enrol.enrol(place, token_for(here), hub)
    state = tmp_path / "state"
    state.mkdir()
    (state / "outbox.sqlite").write_text("records")
    retire.erase(place, state)
    assert not state.exists()
    assert [path.name for path in place.etc.rglob("*")] == []
    enrol.enrol(place, token_for(here), hub)  # it may begin a new life, with a new key
    assert len(here.journal.read().devices["sac-04"].certificates) == 2


def test_killed_at_every_step_of_a_retirement_it_goes_on_and_the_key_goes_first(here, hub, tmp_path):
    def act_at(number):
        name = f"sac-{number}"
        place, state = bag_place(tmp_path, name), tmp_path / f"state-{name}"
        enrol.enrol(place, token_for(here, name), hub)
        secret = (place.link / "device.key").read_bytes()
        state.mkdir()
        (state / "outbox.sqlite").write_text("records")
        status = killed_at(number, lambda: retire.erase(place, state))
        if not (state / "outbox.sqlite").exists():
            assert secret not in [path.read_bytes() for path in place.etc.rglob("device.key")]
        assert place.config.exists() or not state.exists()
        retire.erase(place, state)
        assert (list(place.etc.rglob("*")), state.exists()) == ([], False)
        return status

    assert steps(act_at) > 8


class Running:
    """An agent that answers on its control socket."""

    def __init__(self, unreceipted=(), refuses=""):
        self.asked, self._unreceipted, self._refuses = [], list(unreceipted), refuses

    def ask(self, _path, what):
        self.asked.append(what["do"])
        if self._refuses:
            raise StateError(self._refuses)
        return {"unreceipted": self._unreceipted.pop(0) if what["do"] == "status" and self._unreceipted else 0}


def call_retire(place, *more):
    return cli.main(["retire", "sac-04", "--etc", str(place.etc), "--no-stop", *more])


@pytest.fixture
def enrolled(here, hub, tmp_path):
    place = bag_place(tmp_path)
    enrol.enrol(place, token_for(here), hub)
    state = tmp_path / "state"
    state.mkdir()
    place.config.write_text(place.config.read_text().replace("[bag]\n", f'[bag]\nstate_dir = "{state}"\n'))
    return place, state


def test_a_bag_is_erased_only_when_the_hub_has_the_record_of_its_end(enrolled, monkeypatch):
    place, state = enrolled
    agent = Running(unreceipted=[2, 1])
    monkeypatch.setattr(retire, "ask", agent.ask)
    assert call_retire(place) == 0
    assert agent.asked == ["retire", "status", "status", "status"]
    assert not state.exists()
    assert not place.config.exists()


def test_what_the_hub_has_not_received_is_not_erased_unless_forced(enrolled, monkeypatch, capsys):
    place, state = enrolled
    monkeypatch.setattr(retire, "FAREWELL_WITHIN_S", 0.0)
    for agent in (Running(unreceipted=[5] * 9), Running(refuses="a bag that is out cannot be retired")):
        monkeypatch.setattr(retire, "ask", agent.ask)
        assert call_retire(place) == 3
        assert state.exists()
        assert loaded(place).name == "sac-04"
    assert "cannot be retired" in capsys.readouterr().err
    assert call_retire(place, "--force") == 0
    assert not state.exists()


def test_an_erasure_that_was_interrupted_asks_nobody_any_more(enrolled, monkeypatch):
    place, state = enrolled
    agent = Running(refuses="no agent answers")
    monkeypatch.setattr(retire, "ask", agent.ask)
    place.link.unlink()
    assert call_retire(place) == 0
    assert agent.asked == []
    assert not state.exists()
