"""The wiring: the one file that imports every layer, and where every task has its name.

instrument -> driver -> dsp -> visit -> outbox -> uplink; receipts and commands come back, nothing else does.
"""

import asyncio
import logging
import signal
import time
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any

from agent.clock import VOUCHED, BootClock, Clock
from agent.config import Config
from agent.control import serve_control
from agent.display.board import Board, LinkState
from agent.display.views import spoken
from agent.display.words import Words
from agent.drivers.base import just_after_read_s, unlost_s
from agent.errors import StateError
from agent.guard import guard
from agent.instruments import Instruments
from agent.intake import Intake
from agent.lending.wiring import Lending
from agent.notify import notify, watchdog_s
from agent.outbox import Lock, OutboxThread
from agent.recorder import Recorder
from agent.signals import Signals
from agent.software import software
from agent.status import resources, since_exec_s
from agent.supervisor import supervise
from agent.transport import identity as identities
from agent.transport.delivery import Delivery
from agent.transport.link import Broker, Link, Will, connect
from agent.transport.messages import Command, Order
from agent.transport.records import RecordWriter
from agent.transport.uplink import Hooks, Uplink
from agent.visiting import Visiting

log = logging.getLogger(__name__)

WATCH_FORGOTTEN_S = 15.0
DRAIN_S = 5.0


class Agent:
    """One bag at work."""

    def __init__(self, config: Config, *, clock: Clock | None = None) -> None:
        self._config = config
        self._clock = clock or BootClock()
        self._lock = Lock(config.bag.state_dir)
        hub = config.hub
        self._identity = identities.load(hub.certificate, hub.key, hub.sealing_key)
        if self._identity.name != config.bag.name:
            raise StateError(
                f"the certificate is {self._identity.name!r}, the configuration says {config.bag.name!r}\n"
                "Next: correct bag.name, or besace-provision enrol again"
            )
        identities.client_context(hub.ca, hub.certificate, hub.key, hub.server_name)  # wrong files are said now
        self._outbox = OutboxThread(config.bag.state_dir / "outbox.sqlite", cap_bytes=config.bag.outbox_mb << 20)
        self._delivery = Delivery(self._outbox.now(self._outbox.box.unreceipted))
        self.board = Board(
            Words.load(),
            demo=config.bag.demo,
            bag=spoken(config.bag.name),
            now_ns=self._clock.now_ns,
            wall=self._wall,
        )
        self._intake = Intake(self._clock, self.board)
        self._instruments = Instruments(
            config.instrument, config.radio, sink=self._intake.take, opened=self._intake.opened,
            now_ns=self._clock.now_ns, wall=lambda: self._wall(self._clock.now_ns()),
        )  # fmt: skip
        self._signals = Signals(described=self._intake.described, found=self._intake.found, watched=self._looked_at)
        self._watched_until_s = 0.0
        self._stopping = asyncio.Event()
        self._recorder = Recorder(
            identity=self._identity,
            clock=self._clock,
            outbox=self._outbox,
            delivery=self._delivery,
            demo=config.bag.demo,
            describe=self._describe,
        )
        self._uplink = Uplink(
            self._connect,
            device=config.bag.name,
            epoch=lambda: self._recorder.epoch,
            delivery=self._delivery,
            outbox=self._outbox,
            hooks=Hooks(self._recorder.receipted, self._command, self._show_link, self._recorder.hub_time),
            now_ns=self._clock.now_ns,
            floor_us=self._identity.not_before_us,
        )
        self._recorder.offer = self._uplink.offer
        self._recorder.announce = self._uplink.announce
        self._recorder.committed = self._uplink.committed
        self._visiting = Visiting(
            self._recorder,
            clock=self._clock,
            board=self.board,
            instruments=self._instruments,
            signals=self._signals,
            demo=config.bag.demo,
            placed_anew=lambda stream: self._intake.described(stream, self._signals.stages(stream.name)),
            holder=lambda: self._lending.holder,
            closing=self._intake.visit_closes,
        )
        self._lending = Lending(
            config,
            clock=self._clock,
            identity=self._identity,
            outbox=self._outbox,
            delivery=self._delivery,
            recorder=self._recorder,
            instruments=self._instruments,
            board=self.board,
            link=self._uplink.state,
            visit=lambda: self._visiting.state,
            handed_over=self._visiting.handed_over,
        )
        self._intake.tie(
            recorder=self._recorder,
            instruments=self._instruments,
            signals=self._signals,
            visiting=self._visiting,
            scanned=self._lending.scanned,
            spoke=self._lending.spoke,
            watched=self._watched,
            show=self._uplink.show,
        )

    def _connect(self, will: Will) -> AbstractAsyncContextManager[Link]:
        """One connection to the broker, with the certificate as it is now: it renews itself."""
        hub = self._config.hub
        tls = identities.client_context(hub.ca, hub.certificate, hub.key, hub.server_name)
        return connect(Broker(hub.host, hub.port, tls), name=self._config.bag.name, will=will)

    # --- the life of the process ------------------------------------------------------------------------------

    async def run(self) -> None:
        """Work until SIGTERM or SIGINT; then store, send what can be sent, and end."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        self._visiting.resume_or_ready()
        tasks = {
            "cut": supervise("cut", self._cut),
            "uplink": supervise("uplink", self._uplink.run),
            "signals": supervise("signals", self._signals.run, on_failure=self._signals.failed),
            "instruments": self._instruments.run(),
            "control": serve_control(self._config.bag.control_socket, self._verbs()),
            "watchdog": self._watchdog(),
            "guard": guard(),
            "microphone": self._visiting.close_microphone(),
        } | self._lending.tasks()
        if self._config.page.enabled:
            tasks["page"] = self._page()
        running = [loop.create_task(part, name=name) for name, part in tasks.items()]
        stop = loop.create_task(self._stopping.wait(), name="stop")
        notify("READY=1")
        log.info("ready=1 version=%s since_exec_s=%.3f", software(), since_exec_s())
        done, _ = await asyncio.wait([stop, *running], return_when=asyncio.FIRST_COMPLETED)
        notify("STOPPING=1")
        failed = [task for task in done if task is not stop]
        await self._end(running)
        for task in failed:
            task.result()

    async def _end(self, running: list[asyncio.Task[None]]) -> None:
        """Instruments first, then the last cut, then what the hub still takes."""
        kept = {"uplink", "cut"}
        for task in running:
            if task.get_name() not in kept:
                task.cancel()
        await asyncio.wait([task for task in running if task.get_name() not in kept], timeout=DRAIN_S)
        await self._recorder.cut()
        self._uplink.leave()
        deadline = time.monotonic() + DRAIN_S
        while (  # noqa: ASYNC110 - a few turns, once, at the end
            self._uplink.state.connected and self._delivery.unreceipted() and time.monotonic() < deadline
        ):
            await asyncio.sleep(0.05)
        await self._recorder.cut()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await self._recorder.cut()
        log.info("stopped=1 unreceipted=%d", self._delivery.unreceipted())
        self._outbox.close()
        self._lock.release()

    async def _watchdog(self) -> None:
        """Feed systemd's watchdog, but only while samples are worked on."""
        every = watchdog_s()
        while True:
            await asyncio.sleep((every or 10.0) / 2)
            if not self._signals.late():
                notify("WATCHDOG=1")

    def _wall(self, t_ns: int) -> datetime | None:
        """A boot time as local time of day, once the clock is vouched for; in a demonstration it is this machine's."""
        anchor = self._recorder.time.best()
        if anchor.source not in VOUCHED and not self._config.bag.demo:
            return None
        return datetime.fromtimestamp(anchor.utc_at(t_ns) / 1e6).astimezone()

    def _describe(self, writer: RecordWriter) -> None:
        """Say everything known of instruments and streams, at the start of an epoch."""
        now = self._clock.now_ns()
        for driver in self._instruments.drivers.values():
            writer.instrument(driver.instrument, now)
            for stream in driver.streams:
                writer.stream(self._visiting.listening.placed(stream), self._signals.stages(stream.name), now)

    # --- the hub ------------------------------------------------------------------------------------------------

    def _watched(self) -> bool:
        """Whether a doctor looks."""
        return time.monotonic() < self._watched_until_s

    def _looked_at(self) -> bool:
        """Whether anybody does."""
        return self._watched() or self.board.looked_at()

    async def _cut(self) -> None:
        await self._recorder.cut_every(self._interval_s, just_after_read_s, patient=lambda: not self._watched())

    def _interval_s(self) -> float:
        """From cut to cut. What waits to be read, or for the commit, is lost with the power too."""
        pace = self._config.pace
        return pace.watched_s if self._watched() else unlost_s(pace.batch_s, self._recorder.commit_s)

    def _command(self, command: Command) -> None:
        if command.order is Order.WATCH:
            self._watched_until_s = time.monotonic() + WATCH_FORGOTTEN_S
            self._recorder.urgent.set()
        elif command.order is Order.UNWATCH:
            self._watched_until_s = 0.0
        elif command.order is Order.IDENTIFY:
            self.identify()
        self._show_link()

    def identify(self) -> None:
        """Say on this bag that it is the one that is looked for."""
        log.info("identify=1")
        self.board.identify()
        if self._lending.signs is not None:
            self._lending.signs.identify()

    def _show_link(self) -> None:
        state = self._uplink.state
        if state.connected:
            here = LinkState.WATCHED if self._watched() else LinkState.CONNECTED
            self.board.link(here, state.receipted_until_ns or None)
        else:
            away = LinkState.OFFLINE if state.connections or state.last_error else LinkState.STARTING
            self.board.link(away, state.receipted_until_ns or None)
        if not self._delivery.unreceipted():
            self._visiting.drained()

    # --- the page and the control socket ------------------------------------------------------------------------

    async def _page(self) -> None:
        from agent.display.page import serve_nurse  # noqa: PLC0415 - starlette only where there is a page

        page, lending = self._config.page, self._lending
        await serve_nurse(
            self.board, self._visiting, silence=lending.silence, desk=lending.desk,
            camera=lambda: self._intake.pictures, host=page.host, port=page.port,
        )  # fmt: skip

    def _verbs(self) -> dict[str, Any]:
        async def status(_: dict[str, Any]) -> dict[str, Any]:
            return self.status()

        async def new_visit(_: dict[str, Any]) -> dict[str, Any]:
            await self._visiting.new_visit()
            return {"code": self._visiting.code}

        async def end_visit(_: dict[str, Any]) -> dict[str, Any]:
            await self._visiting.end_visit()
            return {}

        async def identify(_: dict[str, Any]) -> dict[str, Any]:
            self.identify()
            return {}

        async def probe(_: dict[str, Any]) -> dict[str, Any]:
            from agent.probe import probe_hub  # noqa: PLC0415 - for a technician, now and then

            return {"receipt_s": await probe_hub(self._recorder, self._delivery, lambda: self._uplink.state.last_error)}

        async def import_(asked: dict[str, Any]) -> dict[str, Any]:
            from agent.taking import take_import  # noqa: PLC0415 - now and then, by hand

            folder, now_ns = self._config.bag.runtime_dir, self._clock.now_ns
            return await take_import(asked, folder=folder, recorder=self._recorder, now_ns=now_ns, wall=self._wall)

        return {
            "status": status,
            "new_visit": new_visit,
            "end_visit": end_visit,
            "identify": identify,
            "probe": probe,
            "import": import_,
        } | self._lending.verbs()

    def status(self) -> dict[str, Any]:
        """What `besace status` prints."""
        return {
            "bag": self._config.bag.name,
            "version": software(),
            "visit": self._visiting.state.value,
            "code": self._visiting.code,
            "connected": self._uplink.state.connected,
            "connections": self._uplink.state.connections,
            "link_error": self._uplink.state.last_error,
            "records_committed": self._recorder.rows_committed,
            "records_receipted": self._delivery.receipted_rows,
            "unreceipted": self._delivery.unreceipted(),
            "wire_bytes_up": self._uplink.state.wire_up,
            "wire_bytes_down": self._uplink.state.wire_down,
            "refused": self._uplink.state.refused,
            "disk_error": self._recorder.disk_error,
            "rows_given_way": self._recorder.rows_given_way,
            **self._lending.status(),
            **dict(self._intake.tally),
            "instruments": self._instruments.status(),
            **resources(),
        }


def run(config: Config) -> None:
    """Run the agent until it is told to stop."""
    asyncio.run(_run(config))


async def _run(config: Config) -> None:
    await Agent(config).run()
