"""Enrolment on the bag: killed anywhere it goes on, what is wrong is refused, the key never leaves."""

import datetime as dt
import json
import os
from types import SimpleNamespace

import pytest
from authority_office import NOW, PASSPHRASE, Hand, bag_place, enrolment_server, loaded, make_office, token_for
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from killing import killed_at, steps

from agent import config
from agent.errors import HubError, ProvisioningError
from agent.transport import identity
from provisioning import cli, enrol, issue, revoke, unit
from provisioning.enrol import FILES, Address

DAY = dt.timedelta(days=1)


@pytest.fixture
def here(tmp_path, monkeypatch):
    return make_office(tmp_path / "authority", monkeypatch)


@pytest.fixture
def hand():
    return Hand()


@pytest.fixture
def hub(here, hand):
    with enrolment_server(here, hand) as address:
        yield address


def test_a_bag_is_enrolled_and_its_agent_can_start(here, hub, tmp_path):
    place = bag_place(tmp_path)
    enrol.enrol(place, token_for(here), hub)
    found = loaded(place)
    assert found.name == "sac-04"
    assert found.key.public_key() == found.certificate.public_key()
    read = config.load(place.config)
    assert (read.bag.name, read.hub.host, read.hub.port) == ("sac-04", "broker.example", 8883)
    identity.client_context(read.hub.ca, read.hub.certificate, read.hub.key, read.hub.server_name)
    for file in FILES:
        assert (place.link / file).stat().st_mode & 0o077 == 0
    assert place.link.resolve().stat().st_mode & 0o077 == 0
    assert here.journal.read().active_devices == ["sac-04"]


def test_the_key_is_nowhere_else(here, hub, tmp_path, capfd):
    place = bag_place(tmp_path)
    enrol.enrol(place, token_for(here), hub, progress=print)
    secret = loaded(place).key.private_numbers().private_value
    pem = (place.link / "device.key").read_text()
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and not path.is_symlink()]
    holders = [path for path in kept if path.name == "device.key" or pem.split("\n")[1].encode() in path.read_bytes()]
    assert [path.name for path in holders] == ["device.key"]
    out, err = capfd.readouterr()
    assert f"{secret:x}" not in out + err
    assert "PRIVATE" not in out + err


def test_enrolling_again_changes_nothing(here, hub, tmp_path):
    place, token = bag_place(tmp_path), token_for(here)
    enrol.enrol(place, token, hub)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    enrol.enrol(place, token, hub)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_killed_at_every_step_of_a_first_enrolment_it_is_whole_when_called_again(here, hub, tmp_path):
    """A fresh bag for each step, killed there, then enrolled with the same token."""

    def act_at(number):
        name = f"sac-{number}"
        place, token = bag_place(tmp_path, name), token_for(here, name)
        status = killed_at(number, lambda: enrol.enrol(place, token, hub))
        assert place.certificate() is None or loaded(place).name == name  # never half an identity in use
        enrol.enrol(place, token, hub)
        assert loaded(place).key.public_key() == loaded(place).certificate.public_key()
        assert len(here.journal.read().devices[name].certificates) == 1  # one key, one certificate
        return status

    assert steps(act_at) > 20


def test_killed_at_every_step_of_a_renewal_the_bag_always_has_an_identity(here, hub, hand, tmp_path):
    place = bag_place(tmp_path)
    enrol.enrol(place, token_for(here), hub)

    def act_at(number):
        hand.now += 61 * DAY
        before = loaded(place).fingerprint
        status = killed_at(number, lambda: enrol.renew(place, now=hand.now))
        between = loaded(place)
        assert between.key.public_key() == between.certificate.public_key()
        enrol.renew(place, now=hand.now)
        after = loaded(place)
        assert after.key.public_key() == after.certificate.public_key()
        assert after.fingerprint != before
        return status

    assert steps(act_at) > 20


def test_a_token_is_used_once_by_one_key(here, hub, tmp_path):
    token = token_for(here)
    enrol.enrol(bag_place(tmp_path, "bag"), token, hub)
    with pytest.raises(ProvisioningError, match=r"403.*was used"):
        enrol.enrol(bag_place(tmp_path, "thief"), token, hub)


def test_a_late_token_is_refused(here, hub, hand, tmp_path):
    token = token_for(here)
    hand.now += dt.timedelta(hours=48)
    with pytest.raises(ProvisioningError, match="older than 48 hours"):
        enrol.enrol(bag_place(tmp_path), token, hub)


def test_a_token_is_for_its_own_bag(here, hub, tmp_path):
    token = token_for(here)
    other = issue.TokenFile("sac-05", token.token, token.root)
    with pytest.raises(ProvisioningError, match="not for this bag"):
        enrol.enrol(bag_place(tmp_path), other, hub)
    with pytest.raises(ProvisioningError, match="not for this bag"):
        enrol.enrol(bag_place(tmp_path), issue.TokenFile("sac-04", "guessed", token.root), hub)


def test_a_false_hub_gets_nothing(here, hub, tmp_path, monkeypatch):
    """The token file pins the root: a server of another authority is not spoken to."""
    other = make_office(tmp_path / "other", monkeypatch)
    token = token_for(other)
    place = bag_place(tmp_path)
    with pytest.raises(HubError, match="CERTIFICATE_VERIFY_FAILED"):
        enrol.enrol(place, token, hub)
    assert here.journal.read().devices == {}
    enrol.enrol(place, token_for(here), hub)  # and the bag is none the worse for it
    assert loaded(place).name == "sac-04"


def test_an_unreachable_hub_is_said_with_what_to_do(here, tmp_path):
    with pytest.raises(HubError, match=r"(?s)cannot reach.*Next:"):
        enrol.enrol(bag_place(tmp_path), token_for(here), Address("127.0.0.1", 9))


def test_renewal_at_two_thirds_of_life(here, hub, hand, tmp_path):
    place = bag_place(tmp_path)
    enrol.enrol(place, token_for(here), hub)
    first = loaded(place).fingerprint
    hand.now = NOW + 59 * DAY
    assert not enrol.renew(place, now=hand.now)
    assert loaded(place).fingerprint == first
    hand.now = NOW + 61 * DAY
    assert enrol.renew(place, now=hand.now)
    second = loaded(place)
    assert second.fingerprint != first
    assert second.certificate.not_valid_after_utc == hand.now + 90 * DAY


def test_a_shelved_bag_comes_back_by_itself_and_a_revoked_one_does_not(here, hub, hand, tmp_path):
    for name in ("sac-04", "sac-05"):
        enrol.enrol(bag_place(tmp_path, name), token_for(here, name), hub)
    revoke.revoke_device(here, "sac-05", "stolen", now=NOW)
    hand.now = NOW + 400 * DAY
    assert enrol.renew(bag_place(tmp_path, "sac-04"), now=hand.now)
    with pytest.raises(ProvisioningError, match=r"403.*revoked: stolen"):
        enrol.renew(bag_place(tmp_path, "sac-05"), now=hand.now)


def test_a_revoked_name_is_given_to_nobody(here, hub, tmp_path):
    enrol.enrol(bag_place(tmp_path), token_for(here), hub)
    waiting = token_for(here)
    revoke.revoke_device(here, "sac-04", "stolen", now=NOW)
    with pytest.raises(ProvisioningError, match="was revoked"):
        token_for(here)
    with pytest.raises(ProvisioningError, match="was revoked"):
        enrol.enrol(bag_place(tmp_path, "again"), waiting, hub)


def test_the_lists_of_the_day_come_with_each_look_and_never_go_back(here, hub, tmp_path):
    place = bag_place(tmp_path)
    enrol.enrol(place, token_for(here), hub)
    key = here.cards(PASSPHRASE)
    older = revoke.card_list(here, key, now=NOW)
    newest = revoke.card_list(here, key, now=NOW + DAY)
    enrol.renew(place, now=NOW)
    assert (place.etc / "revoked.cose").read_bytes() == newest
    for wrong in (older, b"junk", newest[:-1] + bytes([newest[-1] ^ 1])):
        (here.hub / "revoked.cose").write_bytes(wrong)
        enrol.renew(place, now=NOW)
        assert (place.etc / "revoked.cose").read_bytes() == newest


def signed(here, request):
    """What `besace-provision sign` answers."""
    leaf = issue.sign(here, here.issuing(PASSPHRASE), issue.read_request(request), now=NOW)
    answer = {
        "certificate": leaf.public_bytes(Encoding.PEM).decode(),
        "authority": (here.folder / "authority.pem").read_text(),
        "root": (here.folder / "root.pem").read_text(),
        "sealing_key": (here.hub / "sealing.pub").read_text(),
        "cards": (here.folder / "cards.pem").read_text(),
        "enrolment": "hub:8443",
        "broker": ["hub", 8883],
    }
    return json.dumps(answer).encode()


def test_the_offline_way(here, tmp_path):
    place = bag_place(tmp_path)
    request = tmp_path / "request.pem"
    request.write_bytes(enrol.request_offline(place, "sac-04"))
    assert enrol.request_offline(place, "sac-04")  # again: the same key
    secret = tmp_path / "passphrase"
    secret.write_text(PASSPHRASE + "\n")
    answer = tmp_path / "answer.json"
    done = cli.main([
        "sign", "--dir", str(here.folder), "--passphrase-file", str(secret), str(request),
        "--broker", "hub.example:8883", "--hub", "hub.example", "-o", str(answer),
    ])  # fmt: skip
    assert done == 0
    enrol.install_offline(place, answer.read_bytes())
    assert loaded(place).name == "sac-04"
    assert config.load(place.config).hub.host == "hub.example"
    assert (place.link / "hub.addr").read_text() == "hub.example:8443"
    assert "PRIVATE" not in answer.read_text() + request.read_text()


def test_killed_at_every_step_of_the_offline_way_it_goes_on(here, tmp_path):
    """The request is for one key whenever it is made; the answer installs whole or not at all."""

    def request_at(number):
        place = bag_place(tmp_path, f"request-{number}")
        status = killed_at(number, lambda: enrol.request_offline(place, "sac-04"))
        first, again = (issue.read_request(enrol.request_offline(place, "sac-04")) for _ in range(2))
        assert first.public_key() == again.public_key()
        return status

    def install_at(number):
        name = f"sac-{number}"
        place = bag_place(tmp_path, name)
        answer = signed(here, enrol.request_offline(place, name))
        status = killed_at(number, lambda: enrol.install_offline(place, answer))
        assert place.certificate() is None or loaded(place).name == name
        enrol.install_offline(place, answer)
        assert loaded(place).key.public_key() == loaded(place).certificate.public_key()
        return status

    assert steps(request_at) >= 3
    assert steps(install_at) > 15


def test_an_answer_for_another_bag_is_not_installed(here, tmp_path):
    mine, theirs = bag_place(tmp_path, "mine"), bag_place(tmp_path, "theirs")
    enrol.request_offline(mine, "sac-04")
    answer = signed(here, enrol.request_offline(theirs, "sac-05"))
    with pytest.raises(ProvisioningError, match="under the pinned root"):
        enrol.install_offline(mine, answer)
    assert mine.certificate() is None


def test_root_gives_the_files_to_the_agents_user_only_where_there_is_one(here, hub, tmp_path, monkeypatch):
    place = bag_place(tmp_path)
    enrol.enrol(place, token_for(here), hub)
    given = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "chown", lambda path, uid, gid, follow_symlinks: given.append(path))
    monkeypatch.setattr(unit.pwd, "getpwnam", lambda name: SimpleNamespace(pw_uid=990, pw_gid=990))
    unit.give(place.etc)
    assert place.link.resolve() / "device.key" in given


def test_the_certificate_has_no_dns_name_and_only_client_use(here, hub, tmp_path):
    place = bag_place(tmp_path)
    enrol.enrol(place, token_for(here), hub)
    leaf = loaded(place).certificate
    with pytest.raises(x509.ExtensionNotFound):
        leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    use = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(use) == [x509.ExtendedKeyUsageOID.CLIENT_AUTH]
    assert leaf.not_valid_after_utc - NOW == 90 * DAY


def test_the_units_reach_a_public_hub_and_nothing_else_of_the_internet(tmp_path, monkeypatch):
    answers = {"hub.example": ["203.0.113.7", "10.0.0.8"], "public.example": ["93.184.215.14", "2606:2800:21f::1"]}

    def getaddrinfo(host, _port, **_):
        if host not in answers:
            raise OSError("no such name")
        return [(0, 0, 0, "", (address, 0)) for address in answers[host]]

    monkeypatch.setattr(unit.socket, "getaddrinfo", getaddrinfo)
    public = unit.addresses(["hub.example", "public.example", "gone.example"])
    assert public == ["2606:2800:21f::1", "93.184.215.14"]
    unit.allow(tmp_path, public)
    text = (tmp_path / "besace.service.d" / "hub.conf").read_text()
    assert text.endswith("[Service]\nIPAddressAllow=2606:2800:21f::1\nIPAddressAllow=93.184.215.14\n")
    assert (tmp_path / "besace-renew.service.d" / "hub.conf").read_text() == text
    unit.allow(tmp_path, [])
    assert not list(tmp_path.rglob("hub.conf"))
