"""Revocation on a real broker: the revoked bag's live session ends, nobody else notices; topics stay apart."""

import asyncio
import os
import shutil
import subprocess
import time
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest
from authority_office import NOW, PASSPHRASE, Hand, make_office
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import CertificateSigningRequestBuilder, Name, NameAttribute, NameOID, load_pem_x509_crl

from agent.badges import key_ring, read_list
from agent.errors import HubError, StateError
from agent.transport.identity import client_context
from agent.transport.link import Broker, connect
from hub.enrolment import Enrolment
from hub.nats import BrokerFiles, NatsServer, binary, free_port, write_config
from hub.revocation import Follower, apply_users
from provisioning import issue, revoke
from provisioning.authority import certificate_pem, key_pem
from provisioning.office import utc_now as office_now
from tests.peers.other_brokers import documented
from tests.peers.waiting import wait_until

try:
    binary()
except StateError:
    pytest.skip("nats-server is not installed (the demo extra brings it)", allow_module_level=True)

ENDS_WITHIN_S = 5.0


@pytest.fixture
def here(tmp_path, monkeypatch):
    office = make_office(tmp_path / "authority", monkeypatch)
    issuing = office.issuing(PASSPHRASE)
    for name in ("sac-04", "sac-05"):
        key = ec.generate_private_key(ec.SECP256R1())
        request = CertificateSigningRequestBuilder().subject_name(Name([NameAttribute(NameOID.COMMON_NAME, name)]))
        leaf = issue.sign(office, issuing, request.sign(key, hashes.SHA256()), now=NOW)
        (tmp_path / f"{name}.pem").write_bytes(certificate_pem(leaf) + certificate_pem(issuing.certificate))
        (tmp_path / f"{name}.key").write_bytes(key_pem(key))
    for file in ("hub.pem", "hub.key"):
        shutil.copy(office.hub / file, tmp_path / file)
    return office


def follower_of(here, nats):
    enrolment = Enrolment(here, here.issuing(PASSPHRASE), ("127.0.0.1", 8883), now=Hand())
    return Follower(enrolment, here.cards(PASSPHRASE), nats)


class Site:
    """A broker and who connects to it."""

    def __init__(self, here, folder):
        self.nats = folder / "nats"
        self._folder, self._here = folder, here
        self.port = free_port()
        files = BrokerFiles(
            self.nats, here.hub / "broker.pem", here.hub / "broker.key", here.folder / "authority.pem", "127.0.0.1",
            self.port, free_port(),
        )  # fmt: skip
        write_config(files, here.journal.read().active_devices)
        self.server = NatsServer(files)

    def connect(self, name):
        tls = client_context(
            self._here.folder / "root.pem", self._folder / f"{name}.pem", self._folder / f"{name}.key", "hub"
        )
        return connect(Broker("127.0.0.1", self.port, tls), name=name)


async def collect(link, into, ended=None):
    try:
        async for message in link.messages():
            into.append(message)
    except HubError:
        pass
    finally:
        if ended is not None:
            ended.set()


class DocumentedSite(Site):
    """The same as docs/operations.md tells an operator to write it, and no user list yet."""

    def __init__(self, here, folder):
        super().__init__(here, folder)
        for source in (here.hub / "broker.pem", here.hub / "broker.key", here.folder / "authority.pem"):
            shutil.copy(source, self.nats)
        text = documented("server_name: hub").replace("/var/lib/besace-hub/nats", str(self.nats))
        text = text.replace("0.0.0.0:8883", f"127.0.0.1:{self.port}").replace(
            "127.0.0.1:4222", f"127.0.0.1:{free_port()}"
        )
        (self.nats / "nats.conf").write_text(text)
        (self.nats / "users.conf").unlink()


@pytest.mark.parametrize("kind", [Site, DocumentedSite])
def test_a_revoked_bags_session_ends_and_no_other_client_notices(here, tmp_path, kind):
    async def story():
        site = kind(here, tmp_path)
        follower = follower_of(here, site.nats)
        follower.follow()
        await site.server.start()
        received, ended, other_ended = [], asyncio.Event(), asyncio.Event()
        try:
            async with AsyncExitStack() as stack:
                with suppress(HubError):
                    hub = await stack.enter_async_context(site.connect("hub"))
                    await hub.subscribe("besace/v1/+/up/#")
                    revoked = await stack.enter_async_context(site.connect("sac-04"))
                    other = await stack.enter_async_context(site.connect("sac-05"))
                    readers = [
                        asyncio.create_task(collect(hub, received)),
                        asyncio.create_task(collect(revoked, [], ended)),
                        asyncio.create_task(collect(other, [], other_ended)),
                    ]
                    follower.follow()
                    await revoked.publish("besace/v1/sac-04/up/live", b"before", qos=1)
                    assert not ended.is_set()  # following what has not changed ends nothing
                    revoke.revoke_device(here, "sac-04", "stolen", now=NOW)
                    follower.follow()
                    async with asyncio.timeout(ENDS_WITHIN_S):
                        await ended.wait()
                    await other.publish("besace/v1/sac-05/up/live", b"after", qos=1)
                    await asyncio.sleep(0.3)
                    assert not other_ended.is_set()
                    for reader in readers:
                        reader.cancel()
            assert received == [("besace/v1/sac-04/up/live", b"before"), ("besace/v1/sac-05/up/live", b"after")]
            with pytest.raises(HubError):
                async with site.connect("sac-04"):
                    pass
        finally:
            await site.server.stop()

    asyncio.run(story())


def test_a_bags_certificate_opens_no_other_bags_topics(here, tmp_path):
    async def story():
        site = Site(here, tmp_path)
        await site.server.start()
        received, overheard = [], []
        try:
            async with site.connect("hub") as hub, site.connect("sac-05") as bag:
                await hub.subscribe("besace/v1/+/up/#")
                with suppress(HubError):
                    await bag.subscribe("besace/v1/sac-04/down/#")
                readers = [
                    asyncio.create_task(collect(hub, received)),
                    asyncio.create_task(collect(bag, overheard)),
                ]
                await bag.publish("besace/v1/sac-04/up/live", b"forged", qos=1)
                await bag.publish("besace/v1/sac-05/down/receipt", b"forged", qos=1)
                await hub.publish("besace/v1/sac-04/down/receipt", b"not yours", qos=1)
                await bag.publish("besace/v1/sac-05/up/live", b"mine", qos=1)
                await asyncio.sleep(0.3)
                for reader in readers:
                    reader.cancel()
            assert received == [("besace/v1/sac-05/up/live", b"mine")]
            assert overheard == []
        finally:
            await site.server.stop()

    asyncio.run(story())


def test_a_list_the_broker_would_not_take_changes_nothing(here, tmp_path):
    site = Site(here, tmp_path)
    listed = (site.nats / "users.conf").read_text()
    (site.nats / "nats.conf").write_text("mqtt { nonsense")
    with pytest.raises(StateError, match="the broker refuses"):
        apply_users(site.nats, ["sac-05"])
    assert (site.nats / "users.conf").read_text() == listed


def test_a_broker_that_does_not_run_reads_the_list_when_it_starts(here, tmp_path):
    site = Site(here, tmp_path)
    (site.nats / "nats.pid").write_text("1")  # a crash left it, and the number is another process's now
    assert apply_users(site.nats, ["sac-05"])
    assert "CN=sac-04" not in (site.nats / "users.conf").read_text()
    assert not apply_users(site.nats, ["sac-05"])


def test_the_lists_are_signed_anew_before_they_end(here):
    follower = follower_of(here, None)
    follower.refresh_lists()
    first = read_list((here.hub / "revoked.cose").read_bytes(), key_ring(here.card_keys))
    assert (first.number, first.ids) == (1, frozenset())
    assert not (here.hub / "crl.pem").exists()  # only where a CRL is used
    revoke.crl(here, here.issuing(PASSPHRASE), now=NOW)
    revoke.revoke_device(here, "sac-04", "stolen", now=NOW)
    clock = follower._enrolment.now
    clock.now += revoke.dt.timedelta(days=14)
    follower.refresh_lists()
    assert load_pem_x509_crl((here.hub / "crl.pem").read_bytes()).next_update_utc == NOW + revoke.dt.timedelta(days=30)
    clock.now += revoke.dt.timedelta(days=2)
    follower.refresh_lists()
    signed = load_pem_x509_crl((here.hub / "crl.pem").read_bytes())
    assert signed.next_update_utc == NOW + revoke.dt.timedelta(days=46)
    assert len(signed) == 1
    assert signed.is_signature_valid(here.issuing_certificate.public_key())


def test_a_running_hub_carries_out_by_itself_what_the_journal_says(here, tmp_path):
    """The technician's command only writes the journal: it may run anywhere, the hub looks every second."""
    kicked = tmp_path / "kicked"
    enrolment = Enrolment(here, here.issuing(PASSPHRASE), ("127.0.0.1", 8883), now=Hand())
    follower = Follower(enrolment, here.cards(PASSPHRASE), None, ["sh", "-c", f'echo "$0" >> {kicked}'])
    follower.start()
    try:
        revoke.revoke_device(here, "sac-04", "stolen", now=NOW)
        end = time.monotonic() + ENDS_WITHIN_S
        while not kicked.exists() and time.monotonic() < end:
            time.sleep(0.05)
        assert kicked.read_text() == "sac-04\n"
    finally:
        follower.stop()
        follower.join(5)
    again = Follower(enrolment, here.cards(PASSPHRASE), None, ["sh", "-c", f'echo "$0" >> {kicked}'])
    again.follow()  # a hub that was down meanwhile does it when it starts
    again.follow()
    assert kicked.read_text() == "sac-04\nsac-04\n"


def test_a_bag_revoked_while_another_is_being_ended_is_not_overlooked(here, monkeypatch):
    enrolment = Enrolment(here, here.issuing(PASSPHRASE), ("127.0.0.1", 8883), now=Hand())
    follower = Follower(enrolment, here.cards(PASSPHRASE), None, ["kick"])
    done = []

    def run(what, _command):
        done.append(what)
        revoke.revoke_device(here, "sac-05", "stolen too", now=NOW)

    monkeypatch.setattr("hub.revocation._run", run)
    follower.follow()
    revoke.revoke_device(here, "sac-04", "stolen", now=NOW)
    for _ in range(4):
        follower.follow()
    assert done == ["kick of sac-04", "kick of sac-05"]


def test_commands_that_fail_are_errors_in_the_log_and_stop_nothing(here, caplog):
    enrolment = Enrolment(here, here.issuing(PASSPHRASE), ("127.0.0.1", 8883), now=Hand())
    follower = Follower(enrolment, here.cards(PASSPHRASE), None, ["false"], ["/no/such/command"])
    follower.follow()
    revoke.revoke_device(here, "sac-04", "stolen", now=NOW)
    follower.follow()
    failed = [record.getMessage().split(" why")[0] for record in caplog.records if record.levelname == "ERROR"]
    assert failed == ["command='reload' done=0", "command='kick of sac-04' done=0"]


def test_a_crl_that_nobody_could_sign_anew_is_an_alarm_well_before_it_ends(here, caplog, monkeypatch):
    follower = follower_of(here, None)
    revoke.crl(here, here.issuing(PASSPHRASE), now=NOW)
    monkeypatch.setattr("hub.revocation.CRL_DAYS", 0)  # as if it were never signed anew
    clock = follower._enrolment.now
    clock.now += revoke.dt.timedelta(days=19)
    follower.refresh_lists()
    assert [r for r in caplog.records if r.levelname == "ERROR"] == []
    clock.now += revoke.dt.timedelta(days=2)
    follower.refresh_lists()
    (alarm,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert "the CRL ends in 9.0 days" in alarm


PLUGIN = next(Path("/usr/lib").glob("*/mosquitto_dynamic_security.so"), None)
MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")
CONTROL = shutil.which("mosquitto_ctrl")


@pytest.mark.skipif(
    None in {PLUGIN, MOSQUITTO, CONTROL}, reason="mosquitto is not installed: its CRL and kick not tried"
)
def test_on_mosquitto_the_crl_and_a_kick_do_the_same(here, tmp_path):
    """The session that is open ends by the operator's command; the CRL lets nobody in again."""
    port, admin = free_port(), free_port()
    dynsec, password = tmp_path / "dynsec.json", "admin-of-the-test"
    control = [CONTROL, "-h", "127.0.0.1", "-p", str(admin), "-u", "admin", "-P", password, "dynsec"]
    subprocess.run([CONTROL, "dynsec", "init", dynsec, "admin", password], check=True, capture_output=True)
    revoke.crl(here, here.issuing(PASSPHRASE), now=office_now())
    config = tmp_path / "mosquitto.conf"
    config.write_text(
        f"user root\npersistence false\nplugin {PLUGIN}\nplugin_opt_config_file {dynsec}\nallow_anonymous false\n"
        f"listener {admin} 127.0.0.1\n"
        f"listener {port} 127.0.0.1\ncafile {here.folder / 'authority.pem'}\ncertfile {here.hub / 'broker.pem'}\n"
        f"keyfile {here.hub / 'broker.key'}\ncrlfile {here.hub / 'crl.pem'}\nrequire_certificate true\n"
        "use_identity_as_username true\ntls_version tlsv1.3\n"
    )
    site = Site(here, tmp_path)
    site.port = port
    enrolment = Enrolment(here, here.issuing(PASSPHRASE), ("127.0.0.1", port), now=office_now)
    broker = subprocess.Popen([MOSQUITTO, "-c", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    reload = ["kill", "-HUP", str(broker.pid)]
    follower = Follower(enrolment, here.cards(PASSPHRASE), None, [*control, "disableClient"], reload)

    def dyn(*command):
        return subprocess.run([*control, *command], capture_output=True, text=True, check=False)

    async def story():
        async with asyncio.timeout(10):
            while dyn("listClients").returncode:
                await asyncio.sleep(0.05)
        for name in ("sac-04", "sac-05"):
            made = dyn("createClient", name, "-p", "unused-with-certificates")
            assert made.returncode == 0, made.stderr
        ended, other_ended = asyncio.Event(), asyncio.Event()
        async with AsyncExitStack() as stack:
            with suppress(HubError):
                revoked = await stack.enter_async_context(site.connect("sac-04"))
                other = await stack.enter_async_context(site.connect("sac-05"))
                readers = [
                    asyncio.create_task(collect(revoked, [], ended)),
                    asyncio.create_task(collect(other, [], other_ended)),
                ]
                follower.follow()
                assert not ended.is_set()
                revoke.revoke_device(here, "sac-04", "stolen", now=office_now())
                await asyncio.to_thread(follower.follow)
                async with asyncio.timeout(ENDS_WITHIN_S):
                    await ended.wait()
                await asyncio.sleep(0.3)
                assert not other_ended.is_set()
                for reader in readers:
                    reader.cancel()
        assert dyn("enableClient", "sac-04").returncode == 0  # now the CRL alone stands in the way
        await asyncio.sleep(0.2)
        async with site.connect("sac-05"):
            pass
        with pytest.raises(HubError):
            async with site.connect("sac-04"):
                pass

    try:
        asyncio.run(story())
    finally:
        broker.terminate()
        broker.wait(10)


def test_a_fault_that_lasts_is_said_once_and_its_end_too(here, tmp_path, caplog, monkeypatch):
    caplog.set_level("INFO")
    monkeypatch.setattr("hub.revocation.FOLLOW_S", 0.01)
    site = Site(here, tmp_path)
    config = (site.nats / "nats.conf").rename(site.nats / "kept")
    (site.nats / "users.conf").unlink()
    follower = follower_of(here, site.nats)
    follower.start()

    def said():
        return [r.getMessage().split(" error")[0] for r in caplog.records if r.getMessage().startswith("revocation")]

    wait_until(lambda: said() == ["revocation=failing"])
    time.sleep(0.2)
    config.rename(site.nats / "nats.conf")
    wait_until(lambda: said() == ["revocation=failing", "revocation=well"])
    assert (site.nats / "users.conf").exists()
    follower.stop()
    follower.join(10)
