"""Links as a nurse's telephone gives them, under real TCP and a real broker: slow, lossy, and gone without a word.

The bag is its recorder, outbox and uplink as they are, fed in real time with simulated signals; the hub is a receiver
with its database. How late a row is, is counted in what the link carried meanwhile, not in seconds: a machine that
stands still for a while makes no difference.
"""

import asyncio

import numpy as np

from agent.clock import BootClock
from agent.drivers.simulated.patient import Signal as Made
from agent.drivers.simulated.patient import auscultation, breathing, recording
from agent.model import SampleBlock, Signal, Stream, Visit
from agent.transport.link import Broker, connect
from agent.transport.uplink import Hooks, Uplink
from agent.transport.window import MOST_BYTES, Window
from tests.hub.test_service import Hub, Part
from tests.peers.broker import TestBroker
from tests.peers.cpts import BAG
from tests.peers.network import FAR, UP, Network
from tests.peers.waiting import until
from tests.test_recorder import Bag as RecorderBag

BATCH_S = 1.0
BITS_PER_S = 64e3
KEY = "healthypi-4"
ECG = Stream("h.ecg", Signal.ECG, KEY, 130.0, 0.001, "mV", "I", resolution_bits=24)
PLETH = Stream("h.pleth", Signal.PLETH, KEY, 100.0, 1.0, "1", resolution_bits=8)
BREATH = Stream("h.respiration", Signal.RESPIRATION, KEY, 62.5, 1.0, "1", resolution_bits=16)
SOUND = Stream("h.sound", Signal.SOUND, KEY, 4000.0, 1.0, "1", resolution_bits=16)
STREAMS = (ECG, PLETH, BREATH, SOUND)


def describe_all(writer):
    for stream in STREAMS:
        writer.stream(stream, (), 0)


class Bag(RecorderBag):
    """A bag in a visit, on a link to FAR."""

    def __init__(self, folder, broker, monkeypatch):
        monkeypatch.setattr("tests.test_recorder.describe", describe_all)
        super().__init__(folder, BootClock())
        self.signals = {
            ECG: Made(recording("ecg", 130.0), 1, 0, 2, (-(2**23), 2**23 - 1), 1),
            PLETH: Made(recording("pleth", 100.0) / 20000, 80, 45, 1, (1, 100), 2),
            BREATH: Made(breathing(62.5), 3000, 0, 4, (-(2**15), 2**15 - 1), 3),
            SOUND: Made(auscultation(4000.0), 1, 0, 2, (-(2**15), 2**15 - 1), 4),
        }
        self.at = dict.fromkeys(STREAMS, 0)
        address = Broker(FAR, broker.config.port, broker.tls(BAG))
        self.uplink = Uplink(
            lambda will: connect(address, name=BAG, will=will), device=BAG, epoch=lambda: self.recorder.epoch,
            delivery=self.delivery, outbox=self.outbox, now_ns=self.clock.now_ns,
            hooks=Hooks(self.recorder.receipted, lambda _command: None),
        )  # fmt: skip
        self.recorder.offer, self.recorder.committed = self.uplink.offer, self.uplink.committed
        self.recorder.open_visit(Visit(bytes(16), "0042", self.clock.now_ns() - 10**9), resumed=False)

    def feed(self, seconds, streams=STREAMS):
        now_ns = self.clock.now_ns()
        for stream in streams:
            first = self.at[stream]
            n = int((first / stream.fs_hz + seconds) * stream.fs_hz + 1e-6) - first
            self.at[stream] += n
            begin_ns = now_ns - round(seconds * 1e9)
            self.recorder.add([SampleBlock(stream.name, first, begin_ns, self.signals[stream].take(n))])

    async def fall_behind(self, seconds):
        """What a visit without a network leaves on board."""
        for _ in range(seconds):
            self.feed(1.0, STREAMS[:3])
            self.recorder._seal()
        await self.recorder.cut()

    async def live(self):
        while True:
            await asyncio.sleep(0.25)
            self.feed(0.25)


class Heard(list):
    """What the hub has on disk, and how much the link had carried by then and when the row was offered."""

    def __init__(self, bag, network):
        self._network, self._offered = network, {}

        def offer(row):
            (batch,) = bag.read([row])
            self._offered[batch.t_us] = network.carried[UP]
            bag.uplink.offer(row)

        bag.recorder.offer = offer

    def append(self, heard):
        super().append((heard.batch.t_us, self._network.carried[UP]))

    def waited_s(self, since_us):
        """Of every live row cut since then: how long the link was busy until the hub had it."""
        live = [(t_us, carried) for t_us, carried in self if t_us > since_us]
        return np.array([(carried - self._offered[t_us]) * 8 / BITS_PER_S for t_us, carried in live])


def over(network, tmp_path, monkeypatch, test, *, behind_s=0):
    """A bag, a broker, a hub, and a bad network between the first two: whatever a test does, every row arrives."""
    monkeypatch.setattr("hub.service.RECEIPT_EVERY_S", 1.0)

    async def main():
        broker = TestBroker(tmp_path, host="0.0.0.0")
        network.port = broker.config.port
        async with broker.running():
            bag, hub = Bag(tmp_path, broker, monkeypatch), Hub(broker, tmp_path)
            await bag.fall_behind(behind_s)
            hub.heard = Heard(bag, network)
            parts = [Part(hub.run), Part(bag.uplink.run), Part(lambda: bag.recorder.cut_every(lambda: BATCH_S))]
            live = Part(bag.live)
            try:
                for part in (*parts, live):
                    part.start()
                await test(bag, hub)
                network.heal()
                await live.kill()
                await bag.recorder.close_visit()
                await until(lambda: bag.delivery.is_receipted(bag.recorder.epoch.id, bag.recorder.epoch.last))
                await until(lambda: bag.delivery.unreceipted() == 0)
            finally:
                for part in (live, *parts):
                    await part.kill()
                bag.outbox.close()
            stored = hub.stored([bag.recorder.epoch.id])
            assert {seq for _, seq in stored} == set(range(1, bag.recorder.epoch.last + 1))

    network.run(lambda: asyncio.run(main()))


def test_64_kbit_s_carries_live_vitals_beside_a_backlog_and_a_stethoscope(tmp_path, monkeypatch):
    """The link queues 8 s, as modems do: who fills that queue waits in it. Nobody watches: batches of a second."""
    network = Network(bits_per_s=BITS_PER_S, queue_bytes=64_000, delay_s=0.04)

    async def test(bag, hub):
        await until(lambda: bag.delivery.receipted_rows > 3)
        since_us = bag.clock.now_ns() // 1000 + 10**6
        behind = bag.delivery.unreceipted()
        await until(lambda: len(hub.heard.waited_s(since_us)) > 3)
        await until(lambda: bag.delivery.unreceipted() < behind - 15)  # and the backlog drains beside it
        assert hub.heard.waited_s(since_us).max() < 1.0
        assert bag.delivery.unreceipted() > 0

    over(network, tmp_path, monkeypatch, test, behind_s=300)


def test_negative_control_a_full_window_at_once_makes_live_rows_wait(tmp_path, monkeypatch):
    monkeypatch.setattr("agent.transport.uplink.Window", lambda: Window(MOST_BYTES))
    network = Network(bits_per_s=BITS_PER_S, queue_bytes=64_000, delay_s=0.04)

    async def test(bag, hub):
        await until(lambda: bag.uplink.state.connected)
        since_us = bag.clock.now_ns() // 1000 + 10**6
        await asyncio.sleep(5)
        assert not (hub.heard.waited_s(since_us) < 2.0).any()

    over(network, tmp_path, monkeypatch, test, behind_s=300)


def test_a_tenth_of_all_packets_lost(tmp_path, monkeypatch):
    network = Network(bits_per_s=2e6, delay_s=0.03, loss=0.1)

    async def test(bag, _hub):
        await until(lambda: bag.delivery.receipted_rows > 100)
        assert network.dropped >= 10

    over(network, tmp_path, monkeypatch, test, behind_s=200)


def test_a_black_hole_is_seen_and_left(tmp_path, monkeypatch):
    """Nothing comes back, not even an error: seen by the keepalive, and soon made up for when the network is back."""
    network = Network(bits_per_s=2e6, delay_s=0.03)

    async def test(bag, _hub):
        await until(lambda: bag.delivery.receipted_rows > 2)
        network.hole = True
        await until(lambda: not bag.uplink.state.connected)
        network.heal()
        await until(lambda: bag.uplink.state.connected)

    over(network, tmp_path, monkeypatch, test)
