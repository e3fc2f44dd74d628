"""The hub's receiver at work over MQTT: rows in, commits in their own thread; receipts, orders and the time out."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, suppress

from agent.errors import HubError, StateError
from agent.supervisor import Backoff, attempt, side_by_side
from agent.transport import topics
from agent.transport.link import Link
from agent.transport.messages import Order
from hub.receiver import Heard, Pending, Receiver

log = logging.getLogger(__name__)

RECEIPT_EVERY_S = 4.7  # with the wait for a bag's next row below its keepalive of 6 s: no ping is needed
NO_MORE_ROWS_S = 0.95  # a bag that sends nothing more is told what it sent last this much later
RECEIPT_WATCHED_S = 0.25
WATCH_AGAIN_S = 5.0  # a watch order is repeated: a bag forgets it when it stops coming
COMMIT_AGAIN_S = 2.0


class Service:
    """A receiver at work over MQTT, with its store in a thread of its own."""

    def __init__(
        self,
        receiver: Receiver,
        *,
        connect_once: Callable[[], AbstractAsyncContextManager[Link]],
        commit: Callable[[Pending], Awaitable[object]],
        heard: Callable[[Heard], None],
        watched: Callable[[], set[str]],
    ) -> None:
        self._receiver = receiver
        self._connect_once = connect_once
        self._commit = commit
        self._heard = heard
        self._watched = watched
        self._arrived = asyncio.Event()
        self._committed = asyncio.Event()
        self._told_s: dict[str, float] = {}
        self.connected = asyncio.Event()

    async def run(self) -> None:
        """Serve until cancelled, through any number of connections."""
        await side_by_side(self._commit_loop(), self._connect_loop())

    async def _connect_loop(self) -> None:
        backoff = Backoff(first_s=0.2, longest_s=1.5)
        while True:
            error = await attempt(self._connection(backoff))
            log.warning("broker=down error=%r", str(error), exc_info=None if isinstance(error, HubError) else error)
            self.connected.clear()
            await asyncio.sleep(backoff.next_s())

    async def _connection(self, backoff: Backoff) -> None:
        async with self._connect_once() as link:
            await link.subscribe(topics.UP_FILTER, qos=0)
            log.info("broker=up")
            backoff.reset()
            for device in self._receiver.have:
                self._receiver.tell_all(device)
            self.connected.set()
            await side_by_side(self._speak(link), self._listen(link))

    async def _listen(self, link: Link) -> None:
        async for topic, payload in link.messages():
            self._receiver.take(topic, payload)
            self._arrived.set()
        raise HubError("the broker closed the connection")

    async def _commit_loop(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while pending := self._receiver.collect():
                try:
                    await self._commit(pending)
                except StateError as error:
                    log.error("commit=failed error=%r rows=%d", str(error), len(pending.keys))
                    self._receiver.dropped(pending)
                    await asyncio.sleep(COMMIT_AGAIN_S)
                    continue
                self._receiver.committed(pending)
                # Behind a row, so that it goes with the broker's TCP acknowledgement of that row: a packet less.
                self._receiver.prompt |= self._due({device for device, _, _ in pending.keys}, RECEIPT_EVERY_S)
                if self._receiver.prompt:
                    self._committed.set()
                for heard in pending.heard:
                    self._heard(heard)

    def _due(self, devices: Iterable[str], pause_s: float) -> set[str]:
        """Those who were told nothing for this long."""
        now_s = asyncio.get_running_loop().time()
        return {device for device in devices if now_s - self._told_s.get(device, 0.0) >= pause_s}

    async def _speak(self, link: Link) -> None:
        """Receipts, at a pace; the time; watch orders, repeated while a doctor looks."""
        loop = asyncio.get_running_loop()
        looked_s = watch_s = 0.0
        number = 0
        orders: dict[str, Order] = {}
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(RECEIPT_WATCHED_S / 2):
                    await self._committed.wait()
            self._committed.clear()
            for answer in self._receiver.answers():
                await link.publish(*answer)
            watched, now_s = self._watched(), loop.time()
            wanted = dict.fromkeys(orders, Order.UNWATCH) | dict.fromkeys(watched, Order.WATCH)
            again = now_s - watch_s >= WATCH_AGAIN_S
            for device, order in wanted.items():
                if order is not orders.get(device) or (again and order is Order.WATCH):
                    number += 1
                    for command in self._receiver.order(device, order, number):
                        await link.publish(*command)
                        orders[device] = order
            watch_s = now_s if again else watch_s
            due = watched | self._receiver.prompt
            if now_s - looked_s >= NO_MORE_ROWS_S / 2:
                looked_s = now_s
                due |= self._due(self._receiver.waiting(), RECEIPT_EVERY_S + NO_MORE_ROWS_S)
            self._told_s |= dict.fromkeys(due, now_s)
            for receipt in self._receiver.receipts(due):
                await link.publish(*receipt)
