"""Figures of the instrument drivers, on the rigs that need no instrument: `python -m benchmarks.drivers`.

    [--seconds 600] [--cycles 100] [--decoders]

Radio: bumble's controllers behind bleak, the host's HCI over TCP, everything in one process (so its own cost is in
every figure). Serial: pseudo-terminals. Writes docs/benchmarks/drivers.md.
"""

import argparse
import asyncio
import math
import os
import platform
import random
import statistics
import tempfile
import time
import tty
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from bumble.core import UUID
from bumble.gatt import Service

from agent.drivers.ble import Radio
from agent.drivers.catalogue import CATALOGUE
from agent.drivers.opening import decoder_for, open_driver
from agent.drivers.simulated import frames, gatt_values
from agent.drivers.simulated.peripherals import HciServer, Link, Peripheral, about, notifying
from agent.drivers.simulated.radio import radio as virtual_radio
from agent.errors import InstrumentError
from agent.model import InstrumentEvent, InstrumentState, SampleBlock

if TYPE_CHECKING:
    from collections.abc import Callable

REPORT = Path(__file__).parent.parent / "docs" / "benchmarks" / "drivers.md"
BERRY_SERVICE = "49535343-FE7D-4AE5-8FA9-9FAFD205E455"
BERRY_VALUE = "49535343-1E4D-4BD9-BA61-23C647249616"


def sample_bytes() -> dict[str, tuple[str, bytes, int, float]]:
    """Per catalogue key: channel, bytes as they typically arrive, frames in them, seconds they take."""
    n = 4
    ints = np.arange(n, dtype=np.int32)
    healthypi = frames.healthypi4(ints, ints, ints, ints, temperature_cc=3650, numbers=bytes((15, 98, 72)))
    df7 = frames.nonin(4608 + np.arange(25), spo2=98, rate=72, wide=True)
    contec = frames.contec(ints + 51, spo2=97, rate=65)
    ppg = gatt_values.nonin_pleth(np.zeros(25, np.int32), 0)
    h10 = gatt_values.polar_ecg(0, np.zeros(73, np.int32))
    pressure = bytes.fromhex("1e80004c005d00ea0703090e14054800010500")
    return {
        "healthypi-4": ("serial", healthypi, n, n / 125),
        "berry-bm1000": (BERRY_VALUE.lower(), frames.bci(ints + 60, spo2=98, rate=72), n, n / 100),
        "nonin-xpod": ("serial", df7, 25, 1 / 3),
        "nonin-3150": ("ec0a883a-4d24-11e7-b114-b2f933d5fe66", ppg, 1, 1 / 3),
        "contec-cms50-9byte": ("serial", contec, n, n / 60),
        "polar-h10": ("fb005c82-02e7-f387-1cad-8acd2d8df0c8", h10, 1, 73 / 130),
        "stethoscope": ("sound", sound(0), 4, 0.128),
        "contec-ble": ("ff02", bytes.fromhex("eb01053e627f0010"), 1, 1.0),
        "and-ua651ble": ("2a35", pressure, 1, 30.0),
        "and-ut201ble": ("2a1c", bytes.fromhex("06750100ffea0703090e140509"), 1, 30.0),
        "masimo-ascii1": (
            "serial",
            b"03/09/26 14:20:05 SN=0000070628 SPO2=098% BPM=097 PI=03.60% EXC=000800\r\n",
            1,
            1.0,
        ),
    }


def sound(frame: int) -> bytes:
    """Four frames from this one on: the socket is read eight times a second."""
    return b"".join(frames.sound(512 * k, np.full(512, k % 100 - 50, np.int32)) for k in range(frame, frame + 4))


PIECES = 1000


def pieces(key: str) -> list[tuple[str, bytes, int]]:
    """Channel, bytes and arrival of PIECES pieces in a row, their numbers as different as an instrument's are."""
    channel, data, _, seconds = sample_bytes()[key]
    row = []
    for k in range(PIECES):
        piece = bytearray(data)
        match key:
            case "stethoscope":
                piece = bytearray(sound(4 * k))
            case "polar-h10":  # its own clock goes on
                piece[1:9] = round(k * 73 / 130.06 * 1e9).to_bytes(8, "little")
            case "and-ua651ble":  # another patient, another minute
                for at, number in (
                    (1, 100 + k % 90),
                    (3, 50 + k % 50),
                    (5, 70 + k % 60),
                    (12, k % 60),
                    (14, 40 + k % 90),
                ):
                    piece[at] = number
            case "and-ut201ble":
                piece[1:3] = (340 + k % 70).to_bytes(2, "little")
                piece[10] = k % 60
            case "masimo-ascii1":
                piece = bytearray(data.replace(b"BPM=097", b"BPM=%03d" % (40 + k % 100)))
        row.append((channel, bytes(piece), 10**9 + round(k * seconds * 1e9)))
    return row


def decode_times() -> list[tuple[str, int, float]]:
    """Key, frames a piece, processor time a frame in us (best of 25 runs of PIECES pieces)."""
    rows = []
    for key, (_, _, n, _) in sample_bytes().items():
        row, best = pieces(key), math.inf
        for _ in range(25):
            feed = decoder_for(CATALOGUE[key]).feed
            began = time.process_time()
            for channel, data, t_ns in row:
                feed(channel, data, t_ns)
            best = min(best, time.process_time() - began)
        rows.append((key, n, best / PIECES / n * 1e6))
    return rows


GOOD, BAD = 0x55, 0x2A  # waveform values of frames left alone and of frames about to be damaged


def marked(key: str, value: int) -> bytes:
    """One frame of `key` whose waveform sample is `value`."""
    ints = np.array([value], np.int32)
    match key:
        case "healthypi-4":
            return frames.healthypi4(ints, ints, ints, ints, temperature_cc=3650, numbers=bytes((15, 98, 72)))
        case "berry-bm1000":
            return frames.bci(ints, spo2=98, rate=72)
        case "nonin-xpod":
            body = bytes((0x80, 0, value, 0))
            return body + bytes((sum(body) & 0xFF,))
        case _:
            return bytes((1, 0xE0, 0x85, 0x80 | value, 0x96, 0xC1, 0xE1, 0xFF, 0xFF))


def damage(key: str, damaged: int = 20_000) -> tuple[int, int]:
    """Undamaged frames lost, of twice `damaged`: every third frame has a flipped bit, a hole, or is noise."""
    rng = random.Random(1)
    decoder = decoder_for(CATALOGUE[key])
    out = bytearray()
    for k in range(3 * damaged):
        frame = bytearray(marked(key, BAD if k % 3 == 1 else GOOD))
        size = len(frame)
        if k % 3 == 1:
            match rng.randrange(3):
                case 0:
                    frame[rng.randrange(size)] ^= 1 << rng.randrange(8)
                case 1:
                    at = rng.randrange(size)
                    del frame[at : at + rng.randrange(1, size)]
                case _:
                    frame = bytearray(rng.randbytes(size))
        out += frame
    items = decoder.feed("serial", bytes(out), 10**9)
    first = decoder.streams[0].name
    found = sum(int((i.samples == GOOD).sum()) for i in items if isinstance(i, SampleBlock) and i.stream == first)
    return 2 * damaged - found, damaged


class Berry:
    """A virtual oximeter that notifies 4 packets at `hz`."""

    def __init__(self, link: Link, address: str, hz: float) -> None:
        self.value = notifying(BERRY_VALUE)
        services = [Service(UUID(BERRY_SERVICE), [self.value]), *about("B-1", "1", 50)]
        self.peripheral = Peripheral(link, "BerryMed", address, BERRY_SERVICE, services)
        self._hz = hz
        self.sent = 0
        self.quiet = False

    async def run(self) -> None:
        """Notify until `quiet`, whoever listens."""
        await self.peripheral.start()
        loop = asyncio.get_running_loop()
        due = loop.time()
        while not self.quiet:
            data = bytes((0x88, self.sent // 4 & 0x7F, 7, 75, 98)) * 4
            if await self.peripheral.notify(self.value, data):
                self.sent += 4
            due += 1 / self._hz
            await asyncio.sleep(max(0.0, due - loop.time()))


class Reader:
    """A driver restarted at once, what it gave, and when."""

    def __init__(self, key: str, where: str, radio: Radio | None = None) -> None:
        self._driver = open_driver(key, where, radio=radio)
        self.samples = 0
        self.errors: list[float] = []
        self.first_after: list[float] = []
        self._waiting = False
        self.ready = asyncio.Event()

    def _sink(self, item: Any) -> None:
        if isinstance(item, SampleBlock):
            self.samples += len(item.samples)
            if self._waiting:
                self._waiting = False
                self.first_after.append(time.monotonic())
        elif isinstance(item, InstrumentEvent) and item.state is InstrumentState.READY:
            self.ready.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self._driver.run(self._sink)
            except InstrumentError:
                self.errors.append(time.monotonic())
                self._waiting = True


async def seven(seconds: float) -> dict[str, float]:
    """Seven oximeters at 20 notifications a second each."""
    link = Link()
    hci = HciServer(link)
    radio = virtual_radio(f"tcp-client:127.0.0.1:{await hci.start()}")
    addresses = [f"C0:00:00:00:00:{k:02X}" for k in range(1, 8)]
    berries = [Berry(link, address, 20) for address in addresses]
    readers = [Reader("berry-bm1000", address, radio) for address in addresses]
    tasks = [asyncio.create_task(one.run()) for one in (*berries, *readers)]
    await asyncio.gather(*(reader.ready.wait() for reader in readers))
    cpu, began = time.process_time(), time.monotonic()
    await asyncio.sleep(seconds)
    cpu = (time.process_time() - cpu) / (time.monotonic() - began)
    for berry in berries:
        berry.quiet = True
    await asyncio.gather(*tasks[:7])  # not cancelled: what is on its way counts as sent
    await asyncio.sleep(0.5)
    result = {
        "sent": sum(b.sent for b in berries),
        "got": sum(r.samples for r in readers),
        "drops": sum(len(r.errors) for r in readers),
        "cpu": 100 * cpu,
    }
    await ended(tasks, radio, hci)
    return result


async def drops(cycles: int) -> dict[str, list[float]]:
    """A link dropped again and again: seconds until seen, until the next sample."""
    link = Link()
    hci = HciServer(link)
    radio = virtual_radio(f"tcp-client:127.0.0.1:{await hci.start()}")
    berry, reader = Berry(link, "C0:00:00:00:00:01", 25), Reader("berry-bm1000", "C0:00:00:00:00:01", radio)
    tasks = [asyncio.create_task(one.run()) for one in (berry, reader)]
    await reader.ready.wait()
    rng, seen, back = random.Random(1), [], []
    for cycle in range(cycles):
        await asyncio.sleep(0.2 + rng.random() * 0.2)
        dropped = time.monotonic()
        berry.peripheral.controller.drop_links()
        while len(reader.first_after) <= cycle:  # noqa: ASYNC110
            await asyncio.sleep(0.002)
        seen.append(reader.errors[cycle] - dropped)
        back.append(reader.first_after[cycle] - dropped)
    await ended(tasks, radio, hci)
    return {"seen": seen, "back": back}


async def silence() -> float:
    """Seconds until a radio stream that falls silent on a standing link is noticed."""
    link = Link()
    hci = HciServer(link)
    radio = virtual_radio(f"tcp-client:127.0.0.1:{await hci.start()}")
    berry, reader = Berry(link, "C0:00:00:00:00:01", 25), Reader("berry-bm1000", "C0:00:00:00:00:01", radio)
    tasks = [asyncio.create_task(one.run()) for one in (berry, reader)]
    await reader.ready.wait()
    await asyncio.sleep(0.5)
    tasks[0].cancel()
    quiet = time.monotonic()
    while not reader.errors:  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    await ended(tasks, radio, hci)
    return reader.errors[0] - quiet


async def ended(tasks: list[asyncio.Task[None]], radio: Radio, hci: HciServer) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await radio.close()
    hci.close()


async def replug(folder: Path, cycles: int) -> list[float]:
    """Seconds from a serial port's return to its first sample."""
    where, back = folder / "port", []
    reader: Reader | None = None
    frame = sample_bytes()["healthypi-4"][1]
    for cycle in range(cycles):
        master, slave = os.openpty()
        tty.setraw(slave)
        where.unlink(missing_ok=True)
        where.symlink_to(os.ttyname(slave))
        os.close(slave)
        plugged = time.monotonic()
        if reader is None:
            reader = Reader("healthypi-4", str(where))
            task = asyncio.create_task(reader.run())
        while len(reader.first_after) < cycle and time.monotonic() - plugged < 10:
            os.write(master, frame)
            await asyncio.sleep(0.016)
        if cycle:
            back.append(reader.first_after[cycle - 1] - plugged)
        await asyncio.sleep(0.1)
        os.write(master, frame)
        await asyncio.sleep(0.05)
        where.unlink()
        os.close(master)
        await asyncio.sleep(0.3)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return back


def row(text: str, target: str, value: str, ok: bool) -> str:
    return f"| {text} | {target} | {value} | {'yes' if ok else '**no**'} |\n"


def percentiles(values: list[float]) -> tuple[float, float, float]:
    return statistics.median(values), float(np.percentile(values, 95)), max(values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--cycles", type=int, default=100)
    parser.add_argument("--decoders", action="store_true", help="print the decode times alone, write no report")
    arguments = parser.parse_args()
    if arguments.decoders:
        print("".join(f"| {key} | {n} | {micros:.1f} |\n" for key, n, micros in decode_times()), end="")
        return
    report = [
        "# Instrument drivers\n\n",
        "`python -m benchmarks.drivers`: real GATT over bumble's virtual controllers (HCI over TCP, both ends in one\n",
        "process), pseudo-terminals for serial.\n\n",
        f"{platform.machine()}, Python {platform.python_version()}, {os.cpu_count()} cores, ",
        f"load {os.getloadavg()[0]:.1f} when it ran.\n\n",
        "| what | target | reached | met |\n|---|---|---|---|\n",
    ]
    say: Callable[[str], None] = report.append

    result = asyncio.run(seven(arguments.seconds))
    lost = result["sent"] - result["got"]
    text = f"7 oximeters x 20 notifications/s for {arguments.seconds:g} s: samples lost of {result['sent']:,.0f}"
    say(
        row(
            text,
            "0",
            f"{lost:.0f} (both ends and radio: {result['cpu']:.0f} % of a core)",
            not lost and not result["drops"],
        )
    )

    found = asyncio.run(drops(arguments.cycles))
    middle, p95, most = percentiles(found["seen"])
    say(
        row(
            f"link drop seen, {arguments.cycles} drops",
            "<= 0.2 s",
            f"median {middle:.3f}, most {most:.3f} s",
            most <= 0.2,
        )
    )
    middle, p95, most = percentiles(found["back"])
    ok = middle <= 0.5 and p95 <= 1
    say(
        row(
            "first sample after a drop",
            "median <= 0.5, p95 <= 1 s",
            f"median {middle:.3f}, p95 {p95:.3f}, most {most:.3f} s",
            ok,
        )
    )

    quiet = asyncio.run(silence())
    say(row("silent stream noticed (period 0.04 s)", "<= 2.08 s", f"{quiet:.2f} s", quiet <= 2.1))

    with tempfile.TemporaryDirectory() as folder:
        middle, p95, most = percentiles(asyncio.run(replug(Path(folder), 11)))
    say(row("USB replug to first sample, 10 times", "<= 3 s", f"median {middle:.2f}, most {most:.2f} s", most <= 3))

    for key in ("healthypi-4", "berry-bm1000", "nonin-xpod", "contec-cms50-9byte"):
        gone, of = damage(key)
        text = f"{key}: undamaged frames lost, {of:,} damaged"
        say(row(text, f"<= {of // 1000}", str(max(0, gone)), gone <= of / 1000))

    say("\n| decoder | frames a piece | us of processor time a frame (target 5) |\n|---|---|---|\n")
    for key, n, micros in decode_times():
        say(f"| {key} | {n} | {micros:.1f} |\n")
    say(
        "\nA sound frame is 512 samples, most of its time the decimation to 4 kHz; a 3150 or H10 frame is 25 and 73\n"
        "samples. Numbers differ from piece to piece as an instrument's do.\n"
    )
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text("".join(report))
    print("".join(report))


if __name__ == "__main__":
    main()
