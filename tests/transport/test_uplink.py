"""The uplink's decisions over a link made of lists: what goes when, what is believed, when a connection is given up."""

import asyncio
import gc
import weakref
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from agent.clock import Source
from agent.errors import HubError, StateError
from agent.outbox import OutboxThread
from agent.supervisor import Backoff
from agent.transport import seal, sequence, topics, wire
from agent.transport.delivery import Delivery
from agent.transport.link import UnreachedError
from agent.transport.messages import Command, EpochReceipt, Order, Preview, Receipt, State, TimeAnswer, TimeAsk
from agent.transport.uplink import MOST_REFUSED, SILENCE_S, UNREACHED_S, Hooks, Uplink
from agent.transport.window import LEAST_BYTES
from tests.peers.cpts import BAG, Bags, HandClock, batch, keyring

RECEIPT = f"besace/v1/{BAG}/down/receipt"
COMMAND = f"besace/v1/{BAG}/down/command"
TIME = f"besace/v1/{BAG}/down/time"


@dataclass
class FakeLink:
    """A connection to a broker that notes what is published and says what a test puts in."""

    published: list = field(default_factory=list)
    subscribed: list = field(default_factory=list)
    incoming: asyncio.Queue = field(default_factory=asyncio.Queue)

    async def publish(self, topic, payload, *, qos=0, retain=False):
        await asyncio.sleep(0)
        self.published.append((topics.parse(topic).name, payload, qos, retain))

    async def subscribe(self, topic, *, qos=0):
        self.subscribed.append(topic)

    async def messages(self):
        while True:
            item = await self.incoming.get()
            if isinstance(item, Exception):
                raise item
            yield item

    def wire_bytes(self):
        return sum(len(p[1]) for p in self.published), 0

    def check_pings(self):
        pass

    def check_packet(self):
        pass

    def sent(self, name):
        return [payload for what, payload, _, _ in self.published if what is name]

    def rows(self):
        """(epoch, number) of every row sent, live and backlog, in order."""
        found = []
        for name, payload, _, _ in self.published:
            if name in {topics.Up.LIVE, topics.Up.BACKLOG}:
                for row in [payload] if name is topics.Up.LIVE else sequence.split(payload):
                    head = seal.head_of(row)
                    found.append((head.epoch, head.counter))
        return found


class Peer:
    """A bag's uplink on a disk of its own, and a hub that can speak to it."""

    def __init__(self, path, old_rows=0):
        self.clock = HandClock()
        self.outbox = OutboxThread(path / "outbox.sqlite")
        self.bags = Bags()
        self.old = self.bags.epoch()
        rows = [self.old.row(batch(t)) for t in range(1, old_rows + 1)]
        if old_rows:
            self.outbox.now(self.outbox.box.commit, [self.old.header, *rows])
        self.epoch = self.bags.epoch()
        self.outbox.now(self.outbox.box.commit, [self.epoch.header])
        self.delivery = Delivery(self.outbox.now(self.outbox.box.unreceipted))
        self.links, self.wills, self.news, self.commands, self.anchors = [], [], [], [], []
        self.uplink = Uplink(
            self.connect, device=BAG, epoch=lambda: self.epoch, delivery=self.delivery, outbox=self.outbox,
            hooks=Hooks(self.news.append, self.commands.append, time=self.anchors.append), now_ns=self.clock.now_ns,
        )  # fmt: skip
        self.hub = keyring()

    @asynccontextmanager
    async def connect(self, will):
        link = FakeLink()
        self.links.append(link)
        self.wills.append(will)
        yield link

    @property
    def link(self):
        return self.links[-1]

    async def settle(self):
        """Let every task, and the outbox's thread, do what they can do now."""
        for _ in range(8):
            await asyncio.sleep(0.005)
            await self.outbox.call(lambda: None)

    async def row(self, t=1):
        """A row sealed, offered and committed, as the recorder does."""
        row = self.epoch.row(batch(t))
        self.uplink.offer(row)
        await self.outbox.call(self.outbox.box.commit, [row])
        self.delivery.committed(row.epoch, row.seq)
        self.uplink.committed()
        return row

    def say(self, message, lane=seal.Lane.RECEIPT, hub=None):
        """What the hub would say now."""
        entry = (hub or self.hub).admit(BAG, self.epoch.header.payload)
        topic = {seal.Lane.RECEIPT: RECEIPT, seal.Lane.COMMAND: COMMAND, seal.Lane.TIME_ANSWER: TIME}[lane]
        return topic, entry.down.seal(lane, wire.encode(message))

    async def hear(self, message, **how):
        self.link.incoming.put_nowait(self.say(message, **how))
        await self.settle()

    async def receipt(self, epoch, upto, *ranges, **how):
        await self.hear(Receipt((EpochReceipt(epoch.id, upto, ranges),)), **how)


class Noted(Backoff):
    """A back-off that waits not at all, and notes how long it might have."""

    made: list = []

    def __init__(self, **settings):
        super().__init__(pick=lambda _low, high: high, **settings)
        self.made.append(self)
        self.ceilings = []

    def next_s(self):
        self.ceilings.append(super().next_s())
        return 0.0


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("agent.transport.uplink.WATCH_EVERY_S", 0.005)
    monkeypatch.setattr("agent.transport.uplink.Backoff", lambda **_: Backoff(pick=lambda _low, _high: 0.0))


def with_peer(path, test, **settings):
    """Run a test beside a running uplink."""
    peer = Peer(path, **settings)

    async def main():
        task = asyncio.create_task(peer.uplink.run())
        await peer.settle()
        await test(peer)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())
    peer.outbox.close()
    return peer


class TestConnecting:
    def test_its_header_and_state_are_retained_and_a_will_says_gone(self, tmp_path):
        async def test(peer):
            ((name, payload, qos, retain),) = peer.link.published
            assert (name, qos, retain) == (topics.Up.STATE, 1, True)
            for message, online in ((payload, True), (peer.wills[0].payload, False)):
                header, sealed = sequence.split(message)
                assert header == peer.epoch.header.payload
                entry = peer.hub.admit(BAG, header)
                assert wire.decode(entry.up.open(sealed)[1]) == State(
                    online, 1, wire.decode(entry.up.open(sealed)[1]).software
                )
            assert peer.wills[0].topic == f"besace/v1/{BAG}/up/state"
            assert peer.link.subscribed == [f"besace/v1/{BAG}/down/#"]

        with_peer(tmp_path, test)

    def test_who_leaves_says_so_behind_the_last_row(self, tmp_path):
        async def test(peer):
            row = await peer.row()
            peer.uplink.leave()
            await peer.settle()
            (sent, payload, _, _), (name, gone, qos, retain) = peer.link.published[-2:]
            assert (sent, payload) == (topics.Up.LIVE, row.payload)
            assert (name, qos, retain) == (topics.Up.STATE, 1, True)
            header, sealed = sequence.split(gone)
            assert not wire.decode(peer.hub.admit(BAG, header).up.open(sealed)[1]).online

        with_peer(tmp_path, test)

    def test_every_connection_has_a_session_number_and_fresh_nonces(self, tmp_path):
        async def test(peer):
            for _ in range(3):
                peer.link.incoming.put_nowait(HubError("lost"))
                await peer.settle()
            assert len(peer.links) == 4
            messages = [will.payload for will in peer.wills] + [link.sent(topics.Up.STATE)[0] for link in peer.links]
            heads = [seal.head_of(sequence.split(message)[1]).counter for message in messages]
            assert len(set(heads)) == len(heads) == 8
            assert peer.uplink.state.connections == 4

        with_peer(tmp_path, test)

    def test_how_long_it_waits(self, tmp_path, monkeypatch):
        """For nobody at all never long; longer and longer for who refuses us; shortly once the hub has been heard."""
        monkeypatch.setattr("agent.transport.uplink.Backoff", Noted)
        Noted.made.clear()
        refused, unreached = HubError("refused"), UnreachedError("nobody")

        async def test(peer):
            usual, faults = peer.uplink._connect_once, [unreached] * 4 + [refused] * 3 + [unreached, refused]

            @asynccontextmanager
            async def connect(will):
                if faults:
                    raise faults.pop(0)
                async with usual(will) as link:
                    yield link

            peer.uplink._connect_once = connect
            for heard in (False, True):
                if heard:
                    await peer.receipt(peer.epoch, 0)
                peer.link.incoming.put_nowait(HubError("lost"))
                await peer.settle()
            backoff, soon = Noted.made
            assert soon.ceilings == [0.5, 1.0, UNREACHED_S, UNREACHED_S, UNREACHED_S]
            assert backoff.ceilings == [0.5, 1.0, 2.0, 4.0, 8.0, 0.5]

        with_peer(tmp_path, test)

    def test_a_fault_of_ours_ends_a_connection_not_the_uplink(self, tmp_path, caplog):
        async def test(peer):
            peer.link.incoming.put_nowait(KeyError("a bug"))
            await peer.settle()
            assert len(peer.links) == 2
            assert peer.uplink.state.connected

        with_peer(tmp_path, test)
        assert "link=failed" in caplog.text


class TestSending:
    def test_live_rows_go_at_once_and_once(self, tmp_path):
        async def test(peer):
            await peer.receipt(peer.epoch, 0)
            rows = [await peer.row(t) for t in range(3)]
            await peer.settle()
            assert peer.link.sent(topics.Up.LIVE) == [row.payload for row in rows]
            assert peer.link.sent(topics.Up.BACKLOG) == []

        with_peer(tmp_path, test)

    def test_backlog_waits_until_the_hub_shows_itself(self, tmp_path):
        """A broker without its hub would swallow it, again and again, on a link that may cost money."""

        async def test(peer):
            await peer.row()
            await peer.settle()
            assert peer.link.rows() == [(peer.epoch.id, 1)]
            await peer.receipt(peer.epoch, 0)
            assert peer.link.rows() == [(peer.epoch.id, 1), *[(peer.old.id, seq) for seq in range(6)]]

        with_peer(tmp_path, test, old_rows=5)

    def test_backlog_comes_byte_for_byte_in_messages_of_bounded_size(self, tmp_path):
        async def test(peer):
            await peer.receipt(peer.epoch, 0)
            for upto in range(30):
                await peer.receipt(peer.old, upto)
            messages = peer.link.sent(topics.Up.BACKLOG)
            assert len(messages) > 2
            sent = [row for message in messages for row in sequence.split(message)]
            on_disk = await peer.outbox.call(peer.outbox.box.read, peer.old.id, 0, 99, 10**9)
            assert sent == [row.payload for row in on_disk]

        with_peer(tmp_path, test, old_rows=30)

    def test_only_so_much_is_in_flight(self, tmp_path):
        async def test(peer):
            await peer.receipt(peer.epoch, 0)
            await peer.settle()
            before = len(peer.link.rows())
            await peer.settle()
            assert len(peer.link.rows()) == before < 30
            assert sum(map(len, peer.link.sent(topics.Up.BACKLOG))) < 2 * LEAST_BYTES
            await peer.receipt(peer.old, 2)
            assert len(peer.link.rows()) > before

        with_peer(tmp_path, test, old_rows=60)

    def test_what_a_hub_took_along_when_it_ended_does_not_stop_the_rest(self, tmp_path):
        """The receipts of live rows go on: nobody is silent, and yet nothing in flight will ever be answered."""

        async def test(peer):
            await peer.receipt(peer.epoch, 0)
            lost = peer.link.rows()
            another = keyring()
            await peer.receipt(peer.epoch, 0, hub=another)
            for upto in range(1, 4):
                await peer.row()
                await peer.receipt(peer.epoch, upto, hub=another)
            again = peer.link.rows()[len(lost) :]
            assert [row for row in again if row[0] == peer.old.id][:3] == [(peer.old.id, n) for n in range(3)]

        with_peer(tmp_path, test, old_rows=60)

    def test_slow_receipts_leave_the_window_small(self, tmp_path):
        """As over a modem that queues: quick receipts open the window, late ones close it again."""

        async def test(peer):
            await peer.receipt(peer.epoch, 0)
            sizes = []
            for delay_s in [0.1] * 8 + [3.0] * 8:
                sent = len(peer.link.sent(topics.Up.BACKLOG))
                peer.clock.forward(delay_s)
                await peer.receipt(peer.old, peer.link.rows()[-1][1])
                sizes.append(sum(map(len, peer.link.sent(topics.Up.BACKLOG)[sent:])))
            assert max(sizes[:8]) > 8 * LEAST_BYTES
            assert max(sizes[-3:]) < 2 * LEAST_BYTES

        with_peer(tmp_path, test, old_rows=2000)

    def test_rows_that_are_gone_from_the_disk_are_passed_over(self, tmp_path):
        async def test(peer):
            await peer.outbox.call(peer.outbox.box.commit, (), [EpochReceipt(peer.old.id, -1, ((2, 4),))])
            await peer.receipt(peer.epoch, 0)
            assert peer.link.rows() == [(peer.old.id, n) for n in (0, 1, 5, 6)]
            assert peer.delivery.unreceipted() == 4

        with_peer(tmp_path, test, old_rows=6)

    def test_an_unreadable_row_costs_neither_the_link_nor_its_neighbours(self, tmp_path):
        async def test(peer):
            really = peer.outbox.box.read

            def read(epoch, first, last, most):
                if first == 2:
                    raise StateError("disk I/O error")
                return really(epoch, first, 1 if first < 2 else last, most)

            peer.outbox.box.read = read
            await peer.receipt(peer.epoch, 0)
            await peer.settle()
            assert peer.link.rows() == [(peer.old.id, n) for n in (0, 1, 3, 4)]
            assert peer.uplink.state.unreadable == 1
            assert peer.delivery.unreceipted() == 5  # it is not said to be at the hub

        with_peer(tmp_path, test, old_rows=4)


class TestReceipts:
    def test_each_row_is_reported_once(self, tmp_path):
        async def test(peer):
            await peer.row()
            await peer.settle()
            for _ in range(3):
                await peer.receipt(peer.epoch, 1)
            assert peer.news == [EpochReceipt(peer.epoch.id, -1, ((0, 1),))]
            assert peer.delivery.unreceipted() == 0
            assert peer.uplink.state.receipted_until_ns == peer.clock.t_ns

        with_peer(tmp_path, test)

    def test_forged_replayed_and_reflected_ones_delete_nothing(self, tmp_path):
        async def test(peer):
            row = await peer.row()
            await peer.settle()
            topic, real = peer.say(Receipt((EpochReceipt(peer.epoch.id, 1, ()),)))
            other_epoch = peer.bags.epoch()
            other = keyring().admit(BAG, other_epoch.header.payload)
            forged = [
                b"", bytes(60), real[:-1], real[:-1] + bytes([real[-1] ^ 1]), row.payload, peer.epoch.header.payload,
                other.down.seal(seal.Lane.RECEIPT, wire.encode(Receipt((EpochReceipt(peer.epoch.id, 1, ()),)))),
                bytes([seal.Lane.RECEIPT]) + bytes(16) + row.payload[1:],
                wire.encode(Receipt((EpochReceipt(peer.epoch.id, 1, ()),))),
            ]  # fmt: skip
            for payload in forged:
                peer.link.incoming.put_nowait((topic, payload))
            peer.link.incoming.put_nowait(("besace/v1/sac-05/down/receipt", real))
            peer.link.incoming.put_nowait((f"besace/v1/{BAG}/up/live", real))
            await peer.settle()
            assert peer.news == []
            assert peer.uplink.state.refused == len(forged) + 2
            assert peer.delivery.unreceipted() == 2
            for _ in range(2):
                peer.link.incoming.put_nowait((topic, real))
            await peer.settle()
            assert len(peer.news) == 1
            assert peer.uplink.state.refused == len(forged) + 3

        with_peer(tmp_path, test)

    def test_a_command_is_no_receipt_and_a_receipt_no_command(self, tmp_path):
        async def test(peer):
            await peer.hear(Command(1, Order.WATCH), lane=seal.Lane.RECEIPT)
            await peer.hear(Receipt((EpochReceipt(peer.epoch.id, 0, ()),)), lane=seal.Lane.COMMAND)
            assert (peer.commands, peer.news, peer.uplink.state.refused) == ([], [], 2)
            await peer.hear(Command(1, Order.WATCH), lane=seal.Lane.COMMAND)
            assert peer.commands == [Command(1, Order.WATCH)]

        with_peer(tmp_path, test)

    def test_another_hub_process_is_sent_what_the_one_before_did_not_receipt(self, tmp_path):
        async def test(peer):
            await peer.receipt(peer.epoch, 0)
            await peer.row()
            await peer.settle()
            assert peer.link.rows() == [(peer.epoch.id, 1)]
            restarted = keyring()
            await peer.receipt(peer.epoch, 0, hub=restarted)
            assert peer.link.rows() == [(peer.epoch.id, 1), (peer.epoch.id, 0), (peer.epoch.id, 1)]
            await peer.receipt(peer.epoch, 0)  # two hubs side by side are not two restarts a second
            await peer.receipt(peer.epoch, 0, hub=restarted)
            assert len(peer.link.rows()) == 3

        with_peer(tmp_path, test)

    def test_a_row_lost_on_the_way_follows_at_once(self, tmp_path):
        async def test(peer):
            await peer.receipt(peer.epoch, 0)
            for t in range(3):
                await peer.row(t)
            await peer.settle()
            await peer.receipt(peer.epoch, 0, (3, 3))
            assert peer.link.rows()[3:] == [(peer.epoch.id, 1), (peer.epoch.id, 2)]

        with_peer(tmp_path, test)


class TestGivingUp:
    def test_silence_while_something_is_outstanding(self, tmp_path):
        async def test(peer):
            await peer.receipt(peer.epoch, 0)
            await peer.row()
            await peer.settle()
            peer.clock.forward(SILENCE_S - 1)
            await peer.settle()
            assert len(peer.links) == 1
            peer.clock.forward(2)
            await peer.settle()
            assert len(peer.links) == 2

        with_peer(tmp_path, test)

    def test_also_when_rows_are_sent_again_meanwhile(self, tmp_path):
        async def test(peer):
            await peer.receipt(peer.epoch, 0)
            await peer.row()
            for _ in range(8):
                peer.clock.forward(5)
                await peer.settle()
            assert len(peer.links) == 2
            assert len(peer.links[0].rows()) > 1

        with_peer(tmp_path, test)

    def test_a_quiet_hub_with_nothing_to_say_is_not_away(self, tmp_path):
        async def test(peer):
            await peer.receipt(peer.epoch, 0)
            peer.clock.forward(3600)
            await peer.settle()
            await peer.row()
            await peer.settle()
            assert len(peer.links) == 1

        with_peer(tmp_path, test)

    def test_rows_that_no_hub_can_open_do_not_end_a_good_connection(self, tmp_path):
        """Sealed to a key that the hub lost, or damaged: they wait, the rest flows."""

        async def test(peer):
            await peer.receipt(peer.epoch, 0)
            for t in range(30):
                row = await peer.row(t)
                peer.clock.forward(5)
                await peer.settle()
                await peer.receipt(peer.epoch, row.seq)
            assert len(peer.links) == 1
            old = [row for row in peer.link.rows() if row[0] == peer.old.id]
            assert len(old) <= 5 * 4  # in two and a half minutes

        with_peer(tmp_path, test, old_rows=3)

    def test_a_broker_that_sends_nonsense(self, tmp_path):
        async def test(peer):
            for n in range(MOST_REFUSED):
                peer.link.incoming.put_nowait((RECEIPT, bytes([0x11]) + n.to_bytes(60)))
            await asyncio.sleep(0.3)
            assert len(peer.links) == 2

        with_peer(tmp_path, test)


class TestTime:
    def test_it_asks_once_the_hub_is_there_and_takes_the_answer(self, tmp_path):
        async def test(peer):
            assert peer.link.sent(topics.Up.TIME) == []
            await peer.receipt(peer.epoch, 0)
            (asked,) = peer.link.sent(topics.Up.TIME)
            ask = wire.decode(peer.hub.admit(BAG, peer.epoch.header.payload).up.open(asked)[1])
            assert ask == TimeAsk(peer.clock.t_ns // 1000)
            peer.clock.forward(0.1)
            for _ in range(2):
                await peer.hear(TimeAnswer(ask.asked_us, 1000, 1000), lane=seal.Lane.TIME_ANSWER)
            (anchor,) = peer.anchors
            assert (anchor.utc_us, anchor.uncertainty_us, anchor.source) == (1000, 51_000, Source.HUB)
            assert peer.uplink.state.refused == 0

        with_peer(tmp_path, test)


class TestPreview:
    """Pictures to be seen, not kept: none without a connection, and only the newest waits."""

    def test_only_the_newest_goes_and_none_is_queued_for_later(self, tmp_path):
        def picture(n):
            return Preview(n, bytes(16), "camera", b"jpeg")

        async def test(peer):
            for n in (1, 2, 3):
                peer.uplink.show(picture(n))
            await peer.settle()
            (sent,) = peer.link.sent(topics.Up.PREVIEW)
            head, plaintext = peer.hub.admit(BAG, peer.epoch.header.payload).up.open(sent)
            assert (head.lane, wire.decode(plaintext)) == (seal.Lane.PREVIEW, picture(3))
            peer.uplink.state.connected = False
            peer.uplink.show(picture(4))
            peer.uplink.state.connected = True
            await peer.settle()
            assert len(peer.link.sent(topics.Up.PREVIEW)) == 1

        with_peer(tmp_path, test)


class TestNewEpoch:
    """It begins with a check-out, a check-in, or after twelve hours: on the connection as it is."""

    async def begin(self, peer):
        peer.epoch = peer.bags.epoch()
        peer.uplink.announce(peer.epoch)
        await peer.outbox.call(peer.outbox.box.commit, [peer.epoch.header])
        peer.delivery.committed(peer.epoch.id, 0)

    def test_its_header_goes_before_any_row_of_it_and_is_retained(self, tmp_path):
        async def test(peer):
            await peer.receipt(peer.epoch, 0)
            old = peer.epoch
            peer.uplink.offer(old.row(batch(1)))
            await self.begin(peer)
            await peer.row()
            await peer.settle()
            assert len(peer.links) == 1
            (_, *rest) = [sent for sent in peer.link.published if sent[0] is not topics.Up.TIME]
            assert [name for name, *_ in rest] == [topics.Up.LIVE, topics.Up.STATE, topics.Up.LIVE]
            assert rest[1][2:] == (1, True)
            header, sealed = sequence.split(rest[1][1])
            assert header == peer.epoch.header.payload
            assert wire.decode(peer.hub.admit(BAG, header).up.open(sealed)[1]).online
            assert peer.link.rows() == [(old.id, 1), (peer.epoch.id, 1)]
            await peer.receipt(peer.epoch, 1)
            assert peer.delivery.unreceipted() == 0

        with_peer(tmp_path, test)

    def test_the_old_one_s_key_is_gone_though_the_connection_goes_on(self, tmp_path):
        async def test(peer):
            await peer.receipt(peer.epoch, 0)
            old = weakref.ref(peer.epoch)
            await self.begin(peer)
            await peer.row()
            await peer.settle()
            await peer.receipt(peer.epoch, 1)
            gc.collect()
            assert len(peer.links) == 1
            assert old() is None

        with_peer(tmp_path, test)

    def test_each_of_two_that_begin_at_once(self, tmp_path):
        async def test(peer):
            await peer.receipt(peer.epoch, 0)
            epochs = []
            for _ in range(2):
                await self.begin(peer)
                epochs.append(peer.epoch.header.payload)
            await peer.settle()
            assert [sequence.split(state)[0] for state in peer.link.sent(topics.Up.STATE)[1:]] == epochs

        with_peer(tmp_path, test)

    def test_one_that_begins_while_a_connection_is_made(self, tmp_path):
        async def test(peer):
            really = FakeLink.subscribe

            async def subscribe(link, topic, *, qos=0):
                await really(link, topic)
                await self.begin(peer)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(FakeLink, "subscribe", subscribe)
                peer.link.incoming.put_nowait(HubError("lost"))
                await peer.settle()
            assert len(peer.links) == 2
            header, _ = sequence.split(peer.link.sent(topics.Up.STATE)[-1])
            assert header == peer.epoch.header.payload
            assert sequence.split(peer.wills[-1].payload)[0] != header

        with_peer(tmp_path, test)
