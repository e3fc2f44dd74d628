"""The virtual instruments: each produces on its own clock, logs what it produced and whether somebody was there."""

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from pathlib import Path

from bumble.core import UUID
from bumble.gatt import Service

from agent.drivers.base import boot_ns
from agent.drivers.gatt.clock import DATE_TIME, clock_value
from agent.drivers.simulated import BLE_ADDRESSES, frames, gatt_values
from agent.drivers.simulated.patient import Signal, auscultation, breathing, recording
from agent.drivers.simulated.peripherals import HciServer, Link, Peripheral, about, indicating, notifying, own_clock
from agent.drivers.simulated.ports import Pty
from agent.drivers.simulated.samplelog import LoggedReading, SampleLog
from agent.model import Kind

NO_CLIENT_READS = 1 << 16  # bytes of sound that wait for a client before samples are dropped


class Paced:
    """Calls `produce(index, n, t_ns)` for the samples that have become due, in bursts of `burst_s`."""

    def __init__(self, fs_hz: float, burst_s: float, produce: Callable[[int, int, int], Awaitable[None]]) -> None:
        self.fs_hz = fs_hz
        self._burst_s = burst_s
        self._produce = produce
        self.index = 0
        self.quiet = False

    async def run(self) -> None:
        """Produce until `quiet` is set, on this instrument's own crystal (the boot clock)."""
        start_ns = boot_ns() - round(self.index * 1e9 / self.fs_hz)
        while not self.quiet:
            now_ns = boot_ns()
            due = int((now_ns - start_ns) * self.fs_hz / 1e9)
            if n := due - self.index:
                await self._produce(self.index, n, start_ns + round(self.index * 1e9 / self.fs_hz))
                self.index = due
            await asyncio.sleep(self._burst_s - (boot_ns() - start_ns) / 1e9 % self._burst_s)


class HealthyPi:
    """A HealthyPi v4 on a pseudo-terminal."""

    key = "healthypi-4"
    fs_hz = 125.0

    def __init__(self, link: Path, log: SampleLog, seed: int) -> None:
        self._link = link
        self._log = log
        self._pty: Pty | None = None
        word = -(1 << 15), (1 << 15) - 1
        light = 0, (1 << 21) - 1
        pulse = recording("pleth", self.fs_hz) / 10000
        self._signals = {
            "ecg": Signal(recording("ecg", self.fs_hz), 1 / 6.154, 0, 2, word, seed),
            "respiration": Signal(breathing(self.fs_hz), 4000, 0, 20, word, seed + 1),
            "infrared": Signal(pulse, -6000, 420_000, 40, light, seed + 2),
            "red": Signal(pulse, -2600, 310_000, 40, light, seed + 3),
        }
        for name in self._signals:
            log.stream(f"{self.key}.{name}", 2 if name in {"ecg", "respiration"} else 4)
        self.paced = Paced(self.fs_hz, 0.016, self._produce)

    async def plug(self) -> None:
        """Plug the USB cable in."""
        self._pty = self._pty or Pty(self._link)

    async def unplug(self) -> None:
        """Pull it."""
        if self._pty:
            self._pty.close()
        self._pty = None

    async def _produce(self, index: int, n: int, t_ns: int) -> None:
        values = {name: signal.take(n) for name, signal in self._signals.items()}
        temperature_cc = 3410 + index // 1250 % 7
        data = frames.healthypi4(**values, temperature_cc=temperature_cc, numbers=bytes((15, 97, 86)))
        size = len(data) // n
        given = [bool(self._pty and self._pty.write(data[at : at + size])) for at in range(0, len(data), size)]
        for start, end in runs(given):
            for name, samples in values.items():
                first_ns = t_ns + round(start * 1e9 / self.fs_hz)
                self._log.samples(
                    f"{self.key}.{name}", index + start, first_ns, self.fs_hz, samples[start:end], given=given[start]
                )

    async def drained(self) -> None:
        """A pseudo-terminal's buffer is the reader's."""


class BadgeScanner:
    """A badge scanner on a pseudo-terminal."""

    key = "badge-scanner"

    def __init__(self, link: Path) -> None:
        self._link = link
        self._pty: Pty | None = None

    async def plug(self) -> None:
        """Plug the USB cable in."""
        self._pty = self._pty or Pty(self._link)

    async def unplug(self) -> None:
        """Pull it."""
        if self._pty:
            self._pty.close()
        self._pty = None

    def scan(self, text: str) -> bool:
        """Read a badge; False when nobody has the port open."""
        return bool(self._pty and self._pty.write(f"{text}\r\n".encode()))


class Stethoscope:
    """A 16 kHz microphone on a Unix socket."""

    key = "stethoscope"
    fs_hz = 16_000.0

    def __init__(self, path: Path, log: SampleLog, seed: int) -> None:
        self._path = path
        self._log = log
        word = -(1 << 15), (1 << 15) - 1
        self._signal = Signal(auscultation(self.fs_hz), 1, 0, 2, word, seed)
        self._clients: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        log.stream(f"{self.key}.sound", 2)
        self.paced = Paced(self.fs_hz, 0.032, self._produce)

    async def plug(self) -> None:
        """Listen."""
        if self._server is None:
            self._path.unlink(missing_ok=True)
            self._server = await asyncio.start_unix_server(self._client, self._path)

    async def unplug(self) -> None:
        """Drop everybody."""
        if self._server:
            self._server.close()
        for writer in self._clients:
            writer.transport.abort()
        self._server = None
        self._path.unlink(missing_ok=True)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients.add(writer)
        with contextlib.suppress(OSError):
            while await reader.read(1024):
                pass
        self._clients.discard(writer)
        writer.close()

    async def _produce(self, index: int, n: int, t_ns: int) -> None:
        samples = self._signal.take(n)
        data = frames.sound(index, samples)
        given = False
        for writer in self._clients:
            if not writer.is_closing() and writer.transport.get_write_buffer_size() < NO_CLIENT_READS:
                writer.write(data)
                given = True
        self._log.samples(f"{self.key}.sound", index, t_ns, self.fs_hz, samples, given=given)

    async def drained(self) -> None:
        """Wait until the kernel has every byte."""
        await until(lambda: not any(w.transport.get_write_buffer_size() for w in self._clients if not w.is_closing()))


class Berry:
    """A Berry BM1000 oximeter: 4 packets of 5 bytes per notification."""

    key = "berry-bm1000"
    fs_hz = 100.0
    service = "49535343-FE7D-4AE5-8FA9-9FAFD205E455"

    def __init__(self, link: Link, hci: HciServer, log: SampleLog, seed: int) -> None:
        self._hci = hci
        self._log = log
        self._value = notifying("49535343-1E4D-4BD9-BA61-23C647249616")
        services = [Service(UUID(self.service), [self._value]), *about("SIM-BM-0001", "2.1.3", 85)]
        self.peripheral = Peripheral(link, "BerryMed", BLE_ADDRESSES[self.key], self.service, services)
        self._signal = Signal(recording("pleth", self.fs_hz) / 20000, 80, 45, 1, (1, 100), seed)
        log.stream(f"{self.key}.pleth", 2)
        self.paced = Paced(self.fs_hz, 0.04, self._produce)

    async def plug(self) -> None:
        """Switch on."""
        await self.peripheral.plug()

    async def unplug(self) -> None:
        """Out of reach."""
        await self.peripheral.unplug()

    async def _produce(self, index: int, n: int, t_ns: int) -> None:
        samples = self._signal.take(n)
        data = frames.bci(samples, spo2=97, rate=82)
        for start in range(0, n, 4):
            piece = slice(start, min(start + 4, n))
            free = self._hci.queued < NO_CLIENT_READS
            given = free and await self.peripheral.notify(self._value, data[5 * start : 5 * (start + 4)])
            first_ns = t_ns + round(start * 1e9 / self.fs_hz)
            self._log.samples(f"{self.key}.pleth", index + start, first_ns, self.fs_hz, samples[piece], given=given)

    async def drained(self) -> None:
        """Wait until the kernel has every byte."""
        await until(lambda: not self._hci.queued)
        await asyncio.sleep(0.05)  # notifications pass through four queues of the event loop


class Spot:
    """What instruments share that indicate one measurement now and then."""

    key: str

    def __init__(self, link: Link, log: SampleLog, name: str, service: str, value: str, serial: str) -> None:
        self._log = log
        self._value = indicating(value)
        clock = own_clock(DATE_TIME, lambda: clock_value(DATE_TIME, now()))
        services = [Service(UUID(service), [self._value, clock]), *about(serial, "1.0.0", 90)]
        self.peripheral = Peripheral(link, name, BLE_ADDRESSES[self.key], service, services)

    async def plug(self) -> None:
        """Switch on."""
        await self.peripheral.plug()

    async def unplug(self) -> None:
        """Out of reach."""
        await self.peripheral.unplug()

    async def _send(self, data: bytes, values: Mapping[Kind, float]) -> bool:
        t_ns = boot_ns()
        given = await self.peripheral.indicate(self._value, data)
        self._log.reading(
            LoggedReading(self.key, t_ns, given, {kind.name: float(value) for kind, value in values.items()})
        )
        return given


class BloodPressureMonitor(Spot):
    """An A&D UA-651BLE."""

    key = "and-ua651ble"

    def __init__(self, link: Link, log: SampleLog) -> None:
        super().__init__(link, log, "A&D_UA-651BLE_000001", "1810", "2A35", "SIM-UA-0001")

    async def measure(self, systolic: int, diastolic: int, mean: int, pulse: int = 72) -> bool:
        """Hand over a measurement; False when nobody took it."""
        data = gatt_values.blood_pressure(systolic, diastolic, mean, pulse, now())
        values = {
            Kind.PRESSURE_SYSTOLIC: systolic, Kind.PRESSURE_DIASTOLIC: diastolic, Kind.PRESSURE_MEAN: mean,
            Kind.PULSE_RATE: pulse,
        }  # fmt: skip
        return await self._send(data, values)


class Thermometer(Spot):
    """An A&D UT-201BLE, held in the ear."""

    key = "and-ut201ble"

    def __init__(self, link: Link, log: SampleLog) -> None:
        super().__init__(link, log, "A&D_UT201BLE_000001", "1809", "2A1C", "SIM-UT-0001")

    async def measure(self, tenths: int) -> bool:
        """Hand over a measurement in tenths of a degree; False when nobody took it."""
        return await self._send(gatt_values.temperature(tenths, now(), 9), {Kind.TEMPERATURE: tenths / 10})


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition that nothing announces."""
    while not condition():  # noqa: ASYNC110 (asyncio says nothing when a write buffer has become empty)
        await asyncio.sleep(0.01)


def now() -> datetime:
    """The time on an instrument's own clock: local, without a zone."""
    return datetime.now()  # noqa: DTZ005


def runs(flags: list[bool]) -> list[tuple[int, int]]:
    """Start and end of each run of equal flags."""
    edges = [0, *(i for i in range(1, len(flags)) if flags[i] is not flags[i - 1]), len(flags)]
    return list(itertools.pairwise(edges))
