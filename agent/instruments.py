"""The instruments of this bag: each opened from the catalogue and run under a supervisor of its own."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any

from agent.config import InstrumentConfig, RadioConfig
from agent.drivers.base import Driver, Sink, WallClock, no_wall_clock
from agent.errors import InstrumentError, InstrumentReason
from agent.model import InstrumentEvent, InstrumentState, Stream
from agent.supervisor import Counters, supervise

if TYPE_CHECKING:
    from agent.drivers.ble import Radio


BATTERY_LOW_PCT = 20


def _below(percent: str, least: int) -> bool:
    return percent.isdecimal() and int(percent) < least


def load_radio(config: RadioConfig) -> "Radio":
    """The radio that the configuration names.

    In a thread, where a loop runs: a radio stack takes long enough to import that the loop must not wait for it.
    """
    if config.backend == "bumble":
        from agent.drivers.simulated.radio import radio  # noqa: PLC0415 - demo and tests

        return radio(config.transport)
    from agent.drivers.ble import Radio  # noqa: PLC0415 - bleak only where a radio is used

    return Radio.bluez()


class Instruments:
    """Opens and runs them; `opened` is called once for each, before its first byte.

    `wall` gives the local time of day once it is known, for instruments whose clock may be set.
    """

    def __init__(
        self,
        wanted: Iterable[InstrumentConfig],
        radio: RadioConfig,
        *,
        sink: Sink,
        opened: Callable[[Driver], None],
        now_ns: Callable[[], int],
        wall: WallClock = no_wall_clock,
    ) -> None:
        self._wanted = tuple(wanted)
        self._radio_config = radio
        self._radio: Radio | None = None
        self._sink = sink
        self._opened = opened
        self._now_ns = now_ns
        self._wall = wall
        self._counters: dict[str, Counters] = {}
        self._states: dict[str, InstrumentState] = {}
        self.drivers: dict[str, Driver] = {}
        self.low_batteries: set[str] = set()

    async def run(self) -> None:
        """Work until cancelled; an instrument that fails is tried again, the others do not notice."""
        from agent.drivers.opening import open_driver  # noqa: PLC0415 - after READY: transports cost time to import

        async with asyncio.TaskGroup() as group:
            for wanted in self._wanted:
                counters = self._counters[wanted.key] = Counters()
                try:
                    driver = open_driver(wanted.key, wanted.where, radio=await self._radio_for(wanted), wall=self._wall)
                except InstrumentError as error:  # an unknown key, a missing library: said, and the others work
                    counters.last_error = str(error)
                    self._failed(wanted.key)(error)
                    continue
                self.drivers[wanted.key] = driver
                self._opened(driver)
                group.create_task(
                    supervise(wanted.key, self._runner(driver), counters=counters, on_failure=self._failed(wanted.key)),
                    name=f"instrument {wanted.key}",
                )
            await asyncio.get_running_loop().create_future()  # a bag without instruments still is a bag

    async def _radio_for(self, wanted: InstrumentConfig) -> "Radio | None":
        """The one radio of this bag, made when the first instrument needs it."""
        from agent.drivers.catalogue import CATALOGUE, Transport  # noqa: PLC0415

        row = CATALOGUE.get(wanted.key)
        if row is None or row.transport is not Transport.BLE:
            return None
        if self._radio is None:
            self._radio = await asyncio.to_thread(load_radio, self._radio_config)
        return self._radio

    def _runner(self, driver: Driver) -> Callable[[], Coroutine[Any, Any, None]]:
        return lambda: driver.run(self._sink)

    def _failed(self, key: str) -> Callable[[Exception], None]:
        def failed(error: Exception) -> None:
            why = error.reason if isinstance(error, InstrumentError) else InstrumentReason.UNEXPECTED
            self._sink(InstrumentEvent(key, self._now_ns(), InstrumentState.FAILED, "failed", why.value))

        return failed

    def saw(self, event: InstrumentEvent) -> None:
        """Remember an instrument's state for status, and whether its own battery is to be charged."""
        if event.state is not None:
            self._states[event.instrument] = event.state
        if event.what == "battery_low" or (event.what == "battery" and _below(event.detail, BATTERY_LOW_PCT)):
            self.low_batteries.add(event.instrument)
        elif event.what == "battery":
            self.low_batteries.discard(event.instrument)

    def serial(self, key: str) -> str | None:
        """An instrument's serial number, once it has said it."""
        driver = self.drivers.get(key)
        return driver.instrument.serial if driver is not None else None

    def states(self) -> list[InstrumentEvent]:
        """Where each instrument stands now, as events."""
        now = self._now_ns()
        return [InstrumentEvent(key, now, state) for key, state in self._states.items()]

    def streams(self, key: str) -> tuple[Stream, ...]:
        """What an instrument gives without pause; none for one that speaks now and then."""
        driver = self.drivers.get(key)
        return driver.streams if driver is not None else ()

    def status(self) -> dict[str, dict[str, Any]]:
        """Each instrument's state and what its supervisor went through."""
        return {
            key: {
                "state": self._states.get(key, InstrumentState.OFF).value,
                "starts": counters.starts,
                "failures": counters.failures,
                "last_error": counters.last_error,
            }
            for key, counters in self._counters.items()
        }
