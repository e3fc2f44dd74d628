"""A bag that boots in 1970, visits at once, and finds the hub an hour later: everything is dated in the end.

Recorder, outbox and uplink as they are, over a link whose ways take their time, to a receiver with its database. The
boot clock runs slow, as a crystal does; the hub's clock is right.
"""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from agent.clock import Source
from agent.errors import HubError
from agent.model import Kind, Reading, Unit, Visit
from agent.software import software
from agent.transport import topics, wire
from agent.transport.messages import ReadingBody
from agent.transport.uplink import Hooks, Uplink
from hub.receiver import Receiver
from hub.store import Store
from hub.visits import lines, visits
from tests.peers.cpts import BAG, HandClock, keyring
from tests.test_recorder import INSTRUMENT, Bag

BOOTED_UTC_US = 1_790_000_000_000_000


@dataclass
class SlowClock(HandClock):
    """Twenty seconds after a boot without a battery-backed clock; `slow_ppm` of each second it does not count."""

    t_ns: int = 20 * 10**9
    utc: int = 0
    slow_ppm: float = 20.0
    true_us: float = BOOTED_UTC_US + 20e6

    def forward(self, seconds):
        self.true_us += seconds * 1e6
        super().forward(seconds * (1 - self.slow_ppm / 1e6))


class World:
    """A bag out of reach, and a hub."""

    def __init__(self, path, *, clock, up_s=0.04, down_s=0.02, tells_time=True):
        self.clock, self.up_s, self.down_s, self.tells_time = clock, up_s, down_s, tells_time
        path.mkdir(exist_ok=True)
        self.bag = Bag(path, clock)
        self.bag.recorder.time._synchronised = path / "never"
        self.store = Store(path / "hub.sqlite")
        self.hub = Receiver(keyring(), now_us=lambda: 9, utc_us=lambda: round(clock.true_us))
        self.uplink = Uplink(
            self.connect, device=BAG, epoch=lambda: self.bag.recorder.epoch, delivery=self.bag.delivery,
            outbox=self.bag.outbox, now_ns=clock.now_ns,
            hooks=Hooks(self.bag.recorder.receipted, lambda _command: None, time=self.bag.recorder.hub_time),
        )  # fmt: skip
        self.bag.recorder.offer = self.uplink.offer
        self.readings = {}
        self.reachable = False
        self.incoming = asyncio.Queue()

    @asynccontextmanager
    async def connect(self, _will):
        if not self.reachable:
            raise HubError("no network")
        self.incoming = asyncio.Queue()
        yield self

    async def subscribe(self, topic, *, qos=0):
        pass

    async def publish(self, topic, payload, *, qos=0, retain=False):
        asks = topics.parse(topic).name is topics.Up.TIME
        self.clock.forward(self.up_s if asks else 0)
        self.hub.take(topic, payload)
        pending = self.hub.collect()
        batches = [(heard.device, heard.header.boot_id, heard.batch) for heard in pending.heard]
        self.store.commit(pending.headers, pending.rows, pending.visits, pending.holes, batches=batches)
        self.hub.committed(pending)
        said = self.hub.receipts()
        if asks and self.tells_time:
            self.clock.forward(0.125)
            said += self.hub.answers()
            self.clock.forward(self.down_s)
        for message in said:
            self.incoming.put_nowait(message)

    async def messages(self):
        while True:
            yield await self.incoming.get()

    def wire_bytes(self):
        return 0, 0

    def check_pings(self):
        pass

    def check_packet(self):
        pass

    async def visit(self):
        """Five minutes with a reading every half minute."""
        recorder = self.bag.recorder
        recorder.open_visit(Visit(bytes(16), "0042", self.clock.t_ns), resumed=False)
        for value in range(90, 100):
            self.clock.forward(30)
            self.readings[value] = self.clock.true_us
            recorder.add([Reading(INSTRUMENT.key, Kind.SPO2, Unit.PERCENT, self.clock.t_ns, value)])
            self.clock.forward(0.5)
            await recorder.cut()
        await recorder.close_visit()

    async def online(self, minutes):
        self.reachable = True
        task = asyncio.create_task(self.uplink.run())
        for _ in range(30):
            await asyncio.sleep(0.02)
            while not self.incoming.empty():  # an answer is heard when it comes, however busy this machine is
                await asyncio.sleep(0)
            self.clock.forward(2 * minutes)
            await self.bag.recorder.cut()
            self.uplink.committed()
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def dated(self):
        """Of each reading at the hub: how far its date is off, and what it says of itself, in microseconds."""
        dating = self.store.dating(BAG, self.clock.boot_id)
        found = {}
        for epoch in self.hub.have[BAG]:
            for _, plaintext in self.store.plaintexts(BAG, epoch):
                batch = wire.decode(plaintext)
                for record in batch.records:
                    if isinstance(record.body, ReadingBody):
                        date = dating.utc(batch.t_us + 1000 * record.dt_ms)
                        found[record.body.value] = date.utc_us - self.readings[record.body.value], date
        assert found.keys() == self.readings.keys()
        return found.values()


def live(path, *, hours=1, minutes=10, slow_ppm=20.0, **settings):
    world = World(path, clock=SlowClock(slow_ppm=slow_ppm), **settings)

    async def main():
        await world.visit()
        world.clock.forward(3600 * hours)
        await world.online(minutes)

    asyncio.run(main())
    return world


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("agent.transport.uplink.WATCH_EVERY_S", 0.005)


@pytest.mark.parametrize("slow_ppm", [-20.0, 0.0, 20.0])
@pytest.mark.parametrize(("up_s", "down_s"), [(0.04, 0.02), (0.005, 0.06)])
def test_a_visit_in_1970_and_an_hour_offline_is_dated_to_a_tenth_of_a_second(tmp_path, slow_ppm, up_s, down_s):
    world = live(tmp_path, slow_ppm=slow_ppm, up_s=up_s, down_s=down_s)
    for off_us, date in world.dated():
        assert abs(off_us) <= 100_000
        assert abs(off_us) <= date.uncertainty_us < 300_000
        assert date.source is Source.HUB
    (dates,) = visits(world.store)
    assert (dates.device, dates.software, dates.code) == (BAG, software(), "0042")
    assert abs(dates.opened.utc_us - (BOOTED_UTC_US + 20_000_000)) <= 100_000
    assert dates.closed.utc_us - dates.opened.utc_us == pytest.approx(305e6, abs=1e5)
    (line,) = lines(world.store, as_json=False)
    assert line.startswith("sac-04  0042  2026-09-21T")
    assert line.count(" ± 0.") == 2


def test_a_worse_crystal_is_within_what_is_said_and_every_hour_online_helps(tmp_path):
    soon = [date.uncertainty_us for _, date in live(tmp_path / "soon", slow_ppm=49.0).dated()]
    world = live(tmp_path / "later", slow_ppm=49.0, minutes=240)
    for off_us, date in world.dated():
        assert abs(off_us) <= date.uncertainty_us
    assert max(date.uncertainty_us for _, date in world.dated()) < max(soon) / 2


def test_without_the_hub_s_time_nothing_is_dated_and_that_is_said(tmp_path):
    """Negative control."""
    world = live(tmp_path, tells_time=False)
    assert {date.source for _, date in world.dated()} == {Source.FLOOR}
    (line,) = lines(world.store, as_json=False)
    assert "after" in line
    assert "±" not in line
