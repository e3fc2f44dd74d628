"""Bag and hub over real brokers: live rows and backlog arrive, whoever is killed in between.

One suite, on one NATS, on a cluster of three whose leader is the one that is killed, and on mosquitto.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import aiomqtt
import pytest

from agent.errors import StateError
from agent.outbox import OutboxThread
from agent.transport import wire
from agent.transport.delivery import Delivery
from agent.transport.link import connect
from agent.transport.messages import EpochReason, Order
from agent.transport.uplink import Hooks, Uplink
from hub.receiver import Receiver
from hub.service import Service
from hub.store import Store
from tests.peers.broker import TestBroker
from tests.peers.cpts import BAG, MESSAGES, Bags, HandClock, batch, keyring
from tests.peers.other_brokers import Cluster, Mosquitto
from tests.peers.waiting import until


class Bag:
    """An outbox that fills, and its uplink."""

    def __init__(self, broker, folder):
        self.outbox = OutboxThread(folder / "outbox.sqlite")
        self.bags = Bags()
        self.delivery = Delivery()
        self.receipts, self.commands, self.made = [], [], {}
        self.begin()
        address = broker.address(broker.tls(BAG))
        clock = HandClock()

        def now_ns():
            return clock.t_ns + int(asyncio.get_running_loop().time() * 1e9)

        self.uplink = Uplink(
            lambda will: connect(address, name=BAG, will=will), device=BAG, epoch=lambda: self.epoch,
            delivery=self.delivery, outbox=self.outbox, hooks=Hooks(self.receipts.append, self.commands.append),
            now_ns=now_ns,
        )  # fmt: skip

    def begin(self, reason=EpochReason.START):
        self.epoch = self.bags.epoch(self.outbox.now(self.outbox.box.previous), reason=reason)
        self.outbox.now(self.outbox.box.commit, [self.epoch.header])
        self.delivery.committed(self.epoch.id, 0)

    def begin_another(self):
        self.begin(EpochReason.CHECK_OUT)
        self.uplink.announce(self.epoch)

    async def row(self, *records):
        content = batch(len(self.made), None, *records)
        row = self.epoch.row(content)
        self.made[row.epoch, row.seq] = content
        self.uplink.offer(row)
        receipts, self.receipts[:] = list(self.receipts), []
        await self.outbox.call(self.outbox.box.commit, [row], receipts)
        self.delivery.committed(row.epoch, row.seq)
        self.uplink.committed()


def commit(store, p):
    batches = [(heard.device, heard.header.boot_id, heard.batch) for heard in p.heard]
    store.commit(p.headers, p.rows, p.visits, p.holes, batches=batches)


class Hub:
    """A hub process's life: it can be started again on the same database."""

    def __init__(self, broker, folder):
        self.path = folder / "hub.sqlite"
        self.address = broker.address(broker.tls("hub"))
        self.watched = set()
        self.heard = []

    async def run(self):
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1) as thread:
            store = await loop.run_in_executor(thread, Store, self.path)
            self.receiver = Receiver(keyring(), now_us=lambda: 9)
            await loop.run_in_executor(thread, self.receiver.restore, store)
            self.service = service = Service(
                self.receiver,
                connect_once=lambda: connect(self.address, name="hub"),
                commit=lambda p: loop.run_in_executor(thread, commit, store, p),
                heard=self.heard.append,
                watched=lambda: self.watched,
            )
            try:
                await service.run()
            finally:
                await asyncio.shield(loop.run_in_executor(thread, store.close))

    def stored(self, epochs):
        """What a reader finds afterwards: every row of these epochs, decoded."""
        store = Store(self.path)
        found = {
            (epoch, seq): wire.decode(plaintext) for epoch in epochs for seq, plaintext in store.plaintexts(BAG, epoch)
        }
        store.close()
        return found


class Part:
    """Something that runs until it is killed."""

    def __init__(self, run):
        self._run = run
        self._task = None

    def start(self):
        self._task = asyncio.create_task(self._run())

    async def kill(self):
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._task = None


@pytest.fixture(params=[TestBroker, Cluster, Mosquitto])
def kind(request):
    return request.param


def with_everything(kind, tmp_path, monkeypatch, test, *, start_hub=True):
    monkeypatch.setattr("hub.service.RECEIPT_EVERY_S", 0.1)
    monkeypatch.setattr("hub.service.RECEIPT_WATCHED_S", 0.1)

    async def main():
        async with kind(tmp_path).running() as broker:
            bag, hub = Bag(broker, tmp_path), Hub(broker, tmp_path)
            parts = bag_part, hub_part = Part(bag.uplink.run), Part(hub.run)
            try:
                bag_part.start()
                if start_hub:
                    hub_part.start()
                await test(broker, bag, hub, hub_part)
            finally:
                for part in parts:
                    await part.kill()
                bag.outbox.close()
            assert hub.stored({epoch for epoch, _ in bag.made}) == bag.made

    asyncio.run(main())


async def drained(bag):
    await until(lambda: bag.delivery.unreceipted() == 0)


def test_what_flows_is_receipted_behind_a_row_and_the_last_of_it_a_little_later(tmp_path, monkeypatch):
    """Signals alone hurry nobody."""

    async def test(_broker, bag, hub, _part):
        await until(lambda: bag.delivery.is_receipted(bag.epoch.id, 0))
        flowing = MESSAGES["batch: waveform"].records
        while not bag.delivery.is_receipted(bag.epoch.id, 1):
            await bag.row(*flowing)
            await asyncio.sleep(0.05)
        await bag.row(*flowing)
        await drained(bag)

    with_everything(TestBroker, tmp_path, monkeypatch, test)


def test_live_rows_arrive_and_are_receipted(kind, tmp_path, monkeypatch):
    async def test(_broker, bag, hub, _part):
        await until(lambda: bag.delivery.is_receipted(bag.epoch.id, 0))
        for _ in range(20):
            await bag.row()
            await asyncio.sleep(0.01)
        await drained(bag)
        assert bag.uplink.state.refused == 0
        assert [heard.batch for heard in hub.heard] == list(bag.made.values())
        assert hub.receiver.refused == {}

    with_everything(kind, tmp_path, monkeypatch, test)


def test_a_hub_that_starts_late_gets_what_was_sent_to_nobody(kind, tmp_path, monkeypatch):
    async def test(_broker, bag, _hub, part):
        for _ in range(300):
            await bag.row()
        await until(lambda: bag.uplink.state.connected)
        for _ in range(5):
            await bag.row()
        part.start()
        await asyncio.sleep(0.3)
        await bag.row()
        await drained(bag)

    with_everything(kind, tmp_path, monkeypatch, test, start_hub=False)


@pytest.mark.parametrize("kind", [TestBroker, Mosquitto])  # the cluster: below
def test_nothing_is_lost_when_broker_and_hub_are_killed_mid_stream(kind, tmp_path, monkeypatch):
    async def test(broker, bag, hub, part):
        stop = asyncio.Event()

        async def produce():
            while not stop.is_set():
                await bag.row()
                await asyncio.sleep(0.004)

        producing = asyncio.create_task(produce())
        await until(lambda: bag.delivery.receipted_rows > 20)
        await broker.server.kill()
        await asyncio.sleep(0.3)
        await broker.server.start()
        await until(lambda: bag.uplink.state.connections > 1)
        await part.kill()
        await asyncio.sleep(0.2)
        part.start()
        known = bag.delivery.receipted_rows
        await until(lambda: bag.delivery.receipted_rows > known + 20)
        bag.begin_another()
        await asyncio.sleep(0.5)
        stop.set()
        await producing
        await drained(bag)
        await bag.row()  # what was receipted leaves the disk with this commit
        assert bag.outbox.now(bag.outbox.box.counts).rows < len(bag.made) // 2

    with_everything(kind, tmp_path, monkeypatch, test)


def test_a_new_epoch_is_receipted_on_the_connection_that_is_there(kind, tmp_path, monkeypatch):
    async def test(broker, bag, hub, _part):
        await bag.row()
        await drained(bag)
        bag.begin_another()
        await bag.row()
        await drained(bag)
        assert bag.uplink.state.connections == 1
        assert hub.receiver.refused == {}
        assert hub.receiver.online == {BAG: True}

    with_everything(kind, tmp_path, monkeypatch, test)


@pytest.mark.parametrize("kind", [TestBroker, Mosquitto])
def test_after_a_new_epoch_it_comes_back_under_that_one(kind, tmp_path, monkeypatch):
    async def test(broker, bag, hub, _part):
        await bag.row()
        await drained(bag)
        bag.begin_another()
        await broker.server.kill()
        await broker.server.start()
        await until(lambda: bag.uplink.state.connections == 2 and hub.service.connected.is_set())
        await bag.row()
        await drained(bag)

    with_everything(kind, tmp_path, monkeypatch, test)


def test_a_watched_bag_is_told_and_untold(kind, tmp_path, monkeypatch):
    async def test(_broker, bag, hub, _part):
        await bag.row()
        await drained(bag)
        hub.watched = {BAG}
        await until(lambda: bag.commands)
        hub.watched = set()
        await until(lambda: len(bag.commands) > 1)
        assert [command.order for command in bag.commands] == [Order.WATCH, Order.UNWATCH]

    with_everything(kind, tmp_path, monkeypatch, test)


def test_a_hub_whose_disk_is_full_receipts_nothing_until_it_is_not(kind, tmp_path, monkeypatch):
    monkeypatch.setattr("hub.service.COMMIT_AGAIN_S", 0.05)
    monkeypatch.setattr("agent.transport.delivery.RESEND_AFTER_S", 0.5)
    full = True
    really = Store.commit

    def commit(store, *what, **more):
        if full:
            raise StateError("the hub's database cannot be written: database or disk is full")
        return really(store, *what, **more)

    monkeypatch.setattr(Store, "commit", commit)

    async def test(_broker, bag, hub, _part):
        nonlocal full
        await until(lambda: bag.uplink.state.connected)
        for _ in range(200):
            await bag.row()
        await until(lambda: hub.receiver.refused["commit"] > 0)
        assert bag.delivery.receipted_rows == 0
        full = False
        await bag.row()
        await drained(bag)

    with_everything(kind, tmp_path, monkeypatch, test)


def test_a_cluster_whose_leader_is_killed_carries_rows_again(tmp_path, monkeypatch):
    """The node that everybody is connected to dies and stays dead."""

    async def test(broker, bag, hub, _part):
        await bag.row()
        await drained(bag)
        await broker.server.kill()
        before = bag.epoch.last

        async def produce():
            while True:
                await bag.row()
                await asyncio.sleep(0.1)

        producing = asyncio.create_task(produce())
        await until(lambda: bag.delivery.is_receipted(bag.epoch.id, before + 1))
        producing.cancel()
        await asyncio.gather(producing, return_exceptions=True)
        await drained(bag)
        assert await broker.leader() != broker.first

    with_everything(Cluster, tmp_path, monkeypatch, test)


@pytest.mark.parametrize("clean", [True, False])
def test_who_steals_a_bag_s_client_id_steals_nothing_else(kind, tmp_path, monkeypatch, clean):
    """Any certificate can take any client id; the bag comes back under another, and nothing rests on the old one."""
    used = []
    really = aiomqtt.Client.__init__

    def noted(client, *args, **kwargs):
        used.append(kwargs["identifier"])
        really(client, *args, **kwargs)

    async def test(broker, bag, hub, _part):
        await bag.row()
        await drained(bag)
        mine = [name for name in used if name.startswith(f"{BAG}-")]
        assert len(bytes.fromhex(mine[-1].removeprefix(f"{BAG}-"))) == 8
        address = broker.address(broker.tls("sac-05"))
        thief = aiomqtt.Client(
            address.host, address.port, identifier=mine[-1], protocol=aiomqtt.ProtocolVersion.V311,
            tls_context=address.tls, clean_session=clean,
        )  # fmt: skip
        heard = []
        async with thief:
            await bag.row()
            await until(lambda: bag.uplink.state.connections == 2)
            for _ in range(20):
                await bag.row()
            await drained(bag)
            while len(thief.messages):
                heard.append(await anext(thief.messages))
        assert heard == []
        assert len({name for name in used if name.startswith(f"{BAG}-")}) == 2  # the thief's is the first

    with monkeypatch.context() as patch:
        patch.setattr(aiomqtt.Client, "__init__", noted)
        with_everything(lambda folder: kind(folder, [BAG, "sac-05"]), tmp_path, monkeypatch, test)
