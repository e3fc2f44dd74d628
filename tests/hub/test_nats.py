"""The broker: its configuration, and real ones, NATS and mosquitto, that let in whom they should and nobody else."""

import asyncio
import socket
import ssl
import time
from contextlib import nullcontext

import pytest

from agent.errors import HubError, StateError
from hub.nats import NatsServer, binary, free_port, users, write_config, write_users
from tests.peers.broker import TestBroker
from tests.peers.cpts import BAG
from tests.peers.other_brokers import Mosquitto
from tests.peers.waiting import WITHIN_S, until

MINE, OTHER = f"besace/v1/{BAG}", "besace/v1/sac-05"


class TestConfiguration:
    def test_each_device_reaches_its_own_topics(self):
        lines = users(["sac-05", "sac-04"]).splitlines()
        assert len(lines) == 5
        assert 'publish: {allow: ["besace.v1.*.down.>"]}' in lines[1]
        assert 'user: "CN=sac-04"' in lines[2]
        assert 'publish: {allow: ["besace.v1.sac-04.up.*"]}' in lines[2]
        assert 'subscribe: {allow: ["besace.v1.sac-04.down", "besace.v1.sac-04.down.>"]}' in lines[2]
        assert all('allowed_connection_types: ["MQTT"]' in line for line in lines[1:4])

    @pytest.mark.parametrize("name", ["hub", "*", ">", 'x"', "", "a.b", "SAC", "a b", "a\n"])
    def test_a_name_that_would_reach_further_is_refused(self, name):
        with pytest.raises(StateError, match="no device can be called .*\nNext: "):
            users(["sac-04", name])

    def test_users_are_replaced_whole_or_not_at_all(self, tmp_path):
        write_users(tmp_path, ["sac-04"])
        before = (tmp_path / "users.conf").read_text()
        with pytest.raises(StateError):
            write_users(tmp_path, ["*"])
        assert (tmp_path / "users.conf").read_text() == before

    def test_the_server_itself_accepts_it(self, tmp_path):
        async def check():
            broker = TestBroker(tmp_path)
            process = await asyncio.create_subprocess_exec(
                binary(), "-t", "-c", str(broker.config.folder / "nats.conf"),
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            )  # fmt: skip
            said, _ = await process.communicate()
            assert process.returncode == 0, said.decode()

        asyncio.run(check())

    def test_a_port_that_is_taken_is_said(self, tmp_path):
        broker = TestBroker(tmp_path)
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", broker.config.plain_port))
            taken.listen()
            with pytest.raises(StateError, match="the broker does not start: .*\nNext: see .*nats.log"):
                asyncio.run(broker.server.start())

    def test_a_missing_binary_is_said(self, monkeypatch):
        monkeypatch.setattr("hub.nats.shutil.which", lambda *_, **__: None)
        with pytest.raises(StateError, match="nats-server is not installed\nNext: make install"):
            binary()

    def test_no_port_is_given_twice(self):
        assert len({free_port() for _ in range(500)}) == 500

    def test_a_free_port_can_be_bound(self):
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", free_port()))


both = pytest.mark.parametrize("kind", [TestBroker, Mosquitto])


def with_broker(tmp_path, test, devices=(BAG, "sac-05"), kind=TestBroker):
    async def main():
        async with kind(tmp_path, devices).running() as broker:
            await test(broker)

    asyncio.run(main())


async def refused(link):
    """That a connection is not let in."""
    with pytest.raises(HubError):
        async with asyncio.timeout(WITHIN_S), link as open_link:
            await open_link.subscribe(f"{MINE}/down/#")


class TestWhoIsLetIn:
    @both
    def test_a_bag_and_its_hub_and_nobody_else_s_topics(self, tmp_path, kind):
        async def test(broker):
            async with broker.link("hub") as hub, broker.link(BAG) as bag, broker.link("sac-05") as other:
                await hub.subscribe("besace/v1/+/up/#")
                await bag.subscribe(f"{MINE}/down/#")
                await other.subscribe(f"{OTHER}/down/#")
                heard = {"hub": [], "bag": [], "other": []}

                async def listen(link, name):
                    async for topic, payload in link.messages():
                        heard[name].append((topic, payload))

                tasks = [
                    asyncio.create_task(listen(link, name))
                    for link, name in ((hub, "hub"), (bag, "bag"), (other, "other"))
                ]
                for topic in (f"{OTHER}/down/#", "#", f"{MINE}/up/#", "besace/v1/+/down/#"):
                    # NATS says no; mosquitto says yes, and then says nothing
                    with pytest.raises(HubError, match="refuses") if kind is TestBroker else nullcontext():
                        await bag.subscribe(topic)
                for topic in (
                    f"{OTHER}/up/live",
                    f"{MINE}/down/receipt",
                    f"{OTHER}/down/command",
                    "x/y",
                    f"{MINE}/up/a/b",
                ):
                    await bag.publish(topic, b"forbidden", qos=1)  # acknowledged all the same
                await hub.publish(f"{MINE}/up/live", b"forbidden", qos=1)
                await bag.publish(f"{MINE}/up/live", b"mine")
                await other.publish(f"{OTHER}/up/live", b"other's")
                await hub.publish(f"{OTHER}/down/receipt", b"for the other")
                await hub.publish(f"{MINE}/down/receipt", b"for mine")
                await until(lambda: len(heard["hub"]) == 2 and heard["bag"] and heard["other"])
                assert sorted(heard["hub"]) == [(f"{MINE}/up/live", b"mine"), (f"{OTHER}/up/live", b"other's")]
                assert heard["bag"] == [(f"{MINE}/down/receipt", b"for mine")]
                assert heard["other"] == [(f"{OTHER}/down/receipt", b"for the other")]
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

        with_broker(tmp_path, test, kind=kind)

    @both
    def test_hostile_peers(self, tmp_path, kind):
        """Each differs in one thing from the bag that is let in at the end."""

        async def test(broker):
            anonymous = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            anonymous.load_verify_locations(broker.root)
            anonymous.check_hostname = False
            old = broker.tls(BAG)
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_2
            elsewhere = broker.tls(BAG)
            elsewhere.expected_name = "another-hub"
            async with asyncio.TaskGroup() as group:
                for link in (
                    broker.link(BAG, by="another CPTS"),
                    broker.link(BAG, age_days=200, days=90),  # expired: the broker looks at dates
                    broker.link(BAG, server=["hub"]),  # a server's certificate is no client's
                    *([broker.link("sac-99")] if kind is TestBroker else []),  # of this authority, but nobody here
                    connect_with(broker, anonymous),
                    connect_with(broker, old),
                    connect_with(broker, None),  # no TLS at all
                    connect_with(broker, elsewhere),  # a bag refuses a broker of another name
                ):
                    group.create_task(refused(link))
            async with broker.link(BAG) as bag:
                await bag.subscribe(f"{MINE}/down/#")

        with_broker(tmp_path, test, kind=kind)

    def test_the_plain_port_is_nobody_s_way_in(self, tmp_path):
        async def asks(broker, user):
            reader, writer = await asyncio.open_connection("127.0.0.1", broker.config.plain_port)
            await reader.readline()
            writer.write(b'CONNECT {"user": "%b", "pass": "", "verbose": false}\r\nPING\r\n' % user.encode())
            answer = await reader.readline()
            writer.close()
            return answer.strip()

        async def test(broker):
            for user in ("CN=hub", f"CN={BAG}", ""):
                assert b"Authorization Violation" in await asks(broker, user)

        with_broker(tmp_path, test)

    def test_a_revoked_bag_is_cut_off_while_connected_and_stays_out(self, tmp_path):
        async def test(broker):
            async def stay(link):
                async with link as open_link:
                    await open_link.subscribe(f"{MINE}/down/#")
                    connected.set()
                    async for _ in open_link.messages():
                        pass

            connected = asyncio.Event()
            session = asyncio.create_task(stay(broker.link(BAG)))
            await connected.wait()
            async with broker.link("sac-05") as other:
                began_s = time.monotonic()
                broker.allow(["sac-05"])
                with pytest.raises(HubError):
                    await asyncio.wait_for(session, 10)
                assert time.monotonic() - began_s < 5
                await refused(broker.link(BAG))
                await other.subscribe(f"{OTHER}/down/#")  # the others did not notice
                broker.allow([BAG, "sac-05"])
                async with asyncio.timeout(WITHIN_S):
                    while True:
                        try:
                            async with broker.link(BAG):
                                break
                        except HubError:
                            await asyncio.sleep(0.05)

        with_broker(tmp_path, test)


def connect_with(broker, tls):
    from agent.transport.link import connect

    return connect(broker.address(tls), name=BAG)


def test_the_broker_can_be_killed_and_started_again(tmp_path):
    async def main():
        broker = TestBroker(tmp_path)
        assert not broker.server.alive
        await broker.server.start()
        assert broker.server.alive
        await broker.server.kill()
        assert not broker.server.alive
        await broker.server.start()
        async with broker.link(BAG) as bag:
            await bag.subscribe(f"{MINE}/down/#")
        await broker.server.stop()
        await broker.server.stop()
        broker.server.reload()

    asyncio.run(main())


def test_write_config_makes_its_folder(tmp_path):
    broker = TestBroker(tmp_path)
    path = write_config(broker.config, [BAG])
    assert 'min_version: "1.3"' in path.read_text()
    assert NatsServer(broker.config).alive is False
