"""The rig: all virtual instruments, their log and the control socket."""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

from agent.drivers.simulated.instruments import (
    BadgeScanner,
    Berry,
    BloodPressureMonitor,
    HealthyPi,
    Stethoscope,
    Thermometer,
)
from agent.drivers.simulated.peripherals import HciServer, Link
from agent.drivers.simulated.samplelog import SampleLog

FLUSH_S = 0.1
SPOT_EVERY_S, SPOT_AGAIN_S = 8.0, 1.0


class Rig:
    """Everything that `python -m agent.drivers.simulated` runs."""

    def __init__(self, directory: Path, seed: int) -> None:
        self._directory = directory
        self._random = random.Random(seed)  # noqa: S311 (a patient, not a secret)
        self._quit = asyncio.Event()
        self._quiet = asyncio.Event()
        self._log = SampleLog(directory / "samples.log")
        link = Link()
        self._hci = HciServer(link)
        self._healthypi = HealthyPi(directory / "healthypi", self._log, seed)
        self._scanner = BadgeScanner(directory / "scanner")
        self._stethoscope = Stethoscope(directory / "stethoscope.sock", self._log, seed + 10)
        self._berry = Berry(link, self._hci, self._log, seed + 20)
        self._pressure = BloodPressureMonitor(link, self._log)
        self._thermometer = Thermometer(link, self._log)
        streaming = (self._healthypi, self._stethoscope, self._berry)
        self._streaming = streaming
        self._all = {one.key: one for one in (*streaming, self._scanner, self._pressure, self._thermometer)}
        self._producing: list[asyncio.Task[None]] = []

    def quit(self) -> None:
        """End `run`."""
        self._quit.set()

    async def run(self) -> None:
        """Start everything, say so, run until `quit`."""
        for peripheral in (self._berry.peripheral, self._pressure.peripheral, self._thermometer.peripheral):
            await peripheral.start()
        for wired in (self._healthypi, self._scanner, self._stethoscope):
            await wired.plug()
        port = await self._hci.start()
        control = self._directory / "control.sock"
        control.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(self._control, control)
        self._producing = [
            asyncio.create_task(instrument.paced.run(), name=instrument.key) for instrument in self._streaming
        ]
        for first_s, measure in ((2.0, self._pressure_by_itself), (6.0, self._temperature_by_itself)):
            self._producing.append(asyncio.create_task(self._now_and_then(measure, first_s), name=measure.__name__))
        tasks = [*self._producing, asyncio.create_task(self._flush(), name="log")]
        for task in tasks:
            task.add_done_callback(self._ended)
        (self._directory / "hci.port").write_text(f"{port}\n")
        (self._directory / "ready").write_text("ready\n")
        await self._quit.wait()
        (self._directory / "ready").unlink(missing_ok=True)
        server.close()
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for wired in (self._healthypi, self._scanner, self._stethoscope):
            await wired.unplug()
        self._hci.close()
        self._log.close()
        for result in results:
            if isinstance(result, Exception):
                raise result

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception():
            self.quit()  # a fault in an instrument ends the process with its traceback

    async def _flush(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_S)
            self._log.flush()

    async def _now_and_then(self, measure: Callable[[], Awaitable[bool]], wait_s: float) -> None:
        """Measure by itself, and soon again where nobody took it: who was killed takes a while to be back."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._quiet.wait(), wait_s)
                return
            wait_s = SPOT_EVERY_S if await measure() else SPOT_AGAIN_S

    async def _temperature_by_itself(self) -> bool:
        return await self._thermometer.measure(self._random.randint(365, 378))

    async def _pressure_by_itself(self) -> bool:
        systolic, diastolic = self._random.randint(115, 140), self._random.randint(65, 85)
        mean = round((systolic + 2 * diastolic) / 3)
        return await self._pressure.measure(systolic, diastolic, mean, self._random.randint(62, 88))

    # --- control ---------------------------------------------------------------------------------------------

    async def _control(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while line := await reader.readline():
                writer.write(f"{await self._answer(line.decode().strip())}\n".encode())
                await writer.drain()
        writer.close()

    async def _answer(self, line: str) -> str:
        verb, _, rest = line.partition(" ")
        verbs: dict[str, Callable[[str], Awaitable[bool]]] = {
            "scan": self._do_scan,
            "bp": self._do_bp,
            "temperature": self._do_temperature,
            "quiet": self._do_quiet,
            "plug": self._do_plug,
            "unplug": self._do_unplug,
            "quit": self._do_quit,
        }
        try:
            taken = await verbs[verb](rest)
        except (KeyError, ValueError, TypeError):
            return f"error not understood: {line[:80]}"
        return "ok" if taken else "ok, but nobody listened"

    async def _do_scan(self, rest: str) -> bool:
        return self._scanner.scan(rest)

    async def _do_bp(self, rest: str) -> bool:
        return await self._pressure.measure(*(int(part) for part in rest.split()))

    async def _do_temperature(self, rest: str) -> bool:
        return await self._thermometer.measure(round(float(rest) * 10))

    async def _do_quiet(self, _rest: str) -> bool:
        self._quiet.set()
        for instrument in self._streaming:
            instrument.paced.quiet = True
        await asyncio.gather(*self._producing)
        for instrument in self._streaming:
            await instrument.drained()
        self._log.flush()
        return True

    async def _do_plug(self, rest: str) -> bool:
        await self._all[rest].plug()
        return True

    async def _do_unplug(self, rest: str) -> bool:
        await self._all[rest].unplug()
        return True

    async def _do_quit(self, _rest: str) -> bool:
        self.quit()
        return True
