"""The serial driver on real pseudo-terminals."""

import asyncio
import contextlib
import os
import select
import termios
import tty
from datetime import datetime

import numpy as np
import pytest
from driver_rig import samples_of

from agent.drivers.catalogue import CATALOGUE, Transport
from agent.drivers.healthypi import HealthyPi4Decoder
from agent.drivers.opening import decoder_for, open_driver
from agent.drivers.serial_port import SerialDriver
from agent.drivers.simulated import frames
from agent.errors import InstrumentError, InstrumentReason
from agent.model import Gap, Instrument, InstrumentEvent, InstrumentState, Kind, Reading, SampleBlock, Scan
from tests.peers.waiting import until

FRAME = bytes.fromhex("0afa140002f4010cfe400d0300e0930400520d0f6248507800000b")
ECG = "healthypi-4.ecg"


class Cable:
    """A pseudo-terminal: `write` is the instrument's end, `path` the computer's."""

    def __init__(self) -> None:
        self.master, slave = os.openpty()
        tty.setraw(slave)
        self.path = os.ttyname(slave)
        os.close(slave)

    def write(self, data: bytes) -> None:
        os.write(self.master, data)

    def pull(self) -> None:
        os.close(self.master)


@pytest.fixture
def cable():
    one = Cable()
    yield one
    with contextlib.suppress(OSError):
        one.pull()


def states(items):
    return [i.state for i in items if isinstance(i, InstrumentEvent) and i.state]


def count(items, stream=ECG):
    return sum(len(i.samples) for i in items if isinstance(i, SampleBlock) and i.stream == stream)


def test_frames_arrive_and_a_pulled_cable_is_link_lost(cable):
    async def scenario():
        items = []
        driver = open_driver("healthypi-4", cable.path)
        task = asyncio.create_task(driver.run(items.append))
        await until(lambda: InstrumentState.READY in states(items))
        cable.write(FRAME * 3)
        await until(lambda: count(items) == 3)
        cable.pull()
        with pytest.raises(InstrumentError) as error:
            await asyncio.wait_for(task, 15)
        return items, error.value.reason

    items, reason = asyncio.run(scenario())
    assert reason is InstrumentReason.LINK_LOST
    assert states(items) == [InstrumentState.CONNECTING, InstrumentState.READY, InstrumentState.MEASURING]


def test_what_waited_before_the_port_was_opened_is_not_taken(cable):
    async def scenario():
        held = os.open(cable.path, os.O_RDWR | os.O_NOCTTY)  # somebody else had it open: the bytes are kept
        cable.write(FRAME * 5)
        items = []
        task = asyncio.create_task(open_driver("healthypi-4", cable.path).run(items.append))
        await until(lambda: InstrumentState.READY in states(items))
        await asyncio.sleep(0.05)
        stale = count(items)
        cable.write(FRAME)
        await until(lambda: count(items) > stale)
        task.cancel()
        os.close(held)
        return stale

    assert asyncio.run(scenario()) == 0


def test_a_port_in_use_is_busy(cable):
    async def scenario():
        items = []
        task = asyncio.create_task(open_driver("healthypi-4", cable.path).run(items.append))
        await until(lambda: InstrumentState.READY in states(items))
        with pytest.raises(InstrumentError) as error:
            await open_driver("healthypi-4", cable.path).run(lambda _: None)
        task.cancel()
        return error.value.reason

    assert asyncio.run(scenario()) is InstrumentReason.BUSY


def test_an_absent_port_is_awaited_then_not_found(tmp_path):
    def driver(path, patience_s):
        return SerialDriver(
            Instrument("healthypi-4", "x"), str(path), HealthyPi4Decoder("healthypi-4"), patience_s=patience_s
        )

    async def absent():
        await driver(tmp_path / "nothing", 0.3).run(lambda _: None)

    with pytest.raises(InstrumentError) as error:
        asyncio.run(absent())
    assert error.value.reason is InstrumentReason.NOT_FOUND

    async def late():
        items = []
        task = asyncio.create_task(driver(tmp_path / "later", 10).run(items.append))
        await asyncio.sleep(0.1)
        cable = Cable()
        (tmp_path / "later").symlink_to(cable.path)
        await until(lambda: InstrumentState.READY in states(items))
        task.cancel()
        cable.pull()

    asyncio.run(late())


def test_no_port_at_all_cannot_be_opened(tmp_path):
    (tmp_path / "file").write_text("no port")
    with pytest.raises(InstrumentError) as error:
        asyncio.run(open_driver("healthypi-4", str(tmp_path / "file")).run(lambda _: None))
    assert error.value.reason is InstrumentReason.CANNOT_OPEN


@pytest.mark.slow
def test_silence_is_noticed_after_two_seconds_and_samples_resume_behind_a_gap(cable):
    async def scenario():
        items = []
        driver = open_driver("healthypi-4", cable.path)
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(driver.run(items.append))
        await until(lambda: InstrumentState.READY in states(items))
        began_s = loop.time()
        cable.write(FRAME * 2)
        await until(lambda: count(items) == 2)
        cable.write(b"\x00\x01\x02" * 9)  # noise is no sign of life
        with pytest.raises(InstrumentError) as error:
            await asyncio.wait_for(task, 15)
        silent_s = loop.time() - began_s
        task = asyncio.create_task(driver.run(items.append))
        await until(lambda: states(items)[-1] is InstrumentState.READY)
        cable.write(FRAME * 2)
        await until(lambda: count(items) == 4)
        task.cancel()
        return items, error.value.reason, silent_s, loop.time() - began_s

    items, reason, silent_s, whole_s = asyncio.run(scenario())
    assert reason is InstrumentReason.SILENT
    assert silent_s > 1.7
    assert InstrumentState.SILENT in states(items)
    samples_of(items, ECG)  # blocks and gaps follow each other
    (gap,) = [i for i in items if isinstance(i, Gap) and i.stream == ECG]
    assert 225 <= gap.n <= 125 * whole_s


def test_a_badge_is_read(cable):
    async def scenario():
        items = []
        task = asyncio.create_task(open_driver("badge-scanner", cable.path).run(items.append))
        await until(lambda: InstrumentState.READY in states(items))
        cable.write(b"BSC1:ABC\r\n")
        await until(lambda: any(isinstance(i, Scan) for i in items))
        task.cancel()
        return [i.text for i in items if isinstance(i, Scan)]

    assert asyncio.run(scenario()) == ["BSC1:ABC"]


WAVE = np.arange(25, dtype=np.int32)
SENT = {
    "nonin-xpod": frames.nonin(WAVE, spo2=97, rate=72, wide=True),
    "nonin-df2": frames.nonin(WAVE, spo2=97, rate=72, wide=False),
    "nonin-spot": frames.nonin_spot(datetime(2026, 3, 9, 14, 20, 5), spo2=97, rate=72),  # noqa: DTZ001
    "contec-cms50-5byte": frames.bci(WAVE, spo2=97, rate=72),
    "contec-cms50-9byte": frames.contec(WAVE, spo2=97, rate=72),
    "masimo-ascii1": frames.masimo(spo2="097", rate="072", perfusion="03.60"),
    "healthypi-5": frames.healthypi5_openview(*[WAVE] * 4, temperature_cc=3650, numbers=bytes((15, 97, 72))),
}


@pytest.mark.parametrize("key", SENT)
def test_every_serial_instrument_speaks_once_it_is_told_to(key, cable):
    row = CATALOGUE[key]

    async def scenario():
        items = []
        task = asyncio.create_task(open_driver(key, cable.path).run(items.append))
        await until(lambda: InstrumentState.READY in states(items))
        if row.start:
            assert await asyncio.to_thread(os.read, cable.master, 100) == row.start
        cable.write(SENT[key])
        await until(lambda: any(isinstance(i, Reading) and i.kind is Kind.SPO2 for i in items))
        task.cancel()
        return items

    items = asyncio.run(scenario())
    assert {i.kind: i.number for i in items if isinstance(i, Reading)}[Kind.SPO2] == 97
    for stream in decoder_for(row).streams:
        assert count(items, stream.name) in {0, 13, 25}  # of every second one a respiration sample is new


def test_every_serial_row_is_heard_here():
    heard = {*SENT, "healthypi-4", "badge-scanner"}
    assert heard == {row.key for row in CATALOGUE.values() if row.transport is Transport.SERIAL}


def test_an_instrument_that_must_be_asked_is_asked_again_and_again(cable):
    async def scenario():
        driver = SerialDriver(
            Instrument("x", "x"), cable.path, HealthyPi4Decoder("x"), start=b"start", repeat=b"more", repeat_s=0.05
        )
        items, asked = [], b""
        task = asyncio.create_task(driver.run(items.append))
        await until(lambda: InstrumentState.READY in states(items))
        while len(asked) < len(b"startmoremoremore"):
            asked += await asyncio.to_thread(os.read, cable.master, 100)
        task.cancel()
        return asked

    asked = asyncio.run(scenario())
    assert asked.startswith(b"startmoremoremore")


def test_a_port_that_takes_no_bytes_is_not_waited_for(cable, monkeypatch):
    waits, refused, select_now, write = [], [], select.select, os.write

    def watched_select(reads, writes, other, timeout_s=None):
        waits.append(timeout_s)
        return select_now(reads, writes, other, 0)

    def watched_write(fd, data):
        try:
            return write(fd, data)
        except BlockingIOError:
            refused.append(fd)
            raise

    async def scenario():
        items = []
        driver = SerialDriver(
            Instrument("healthypi-4", "x"), cable.path, HealthyPi4Decoder("healthypi-4"),
            repeat=b"more" * 2048, repeat_s=0.01,
        )  # fmt: skip
        task = asyncio.create_task(driver.run(items.append))
        await until(lambda: len(refused) > 3)  # nobody reads at the other end
        cable.write(FRAME)
        await until(lambda: count(items) == 1)
        task.cancel()

    monkeypatch.setattr(select, "select", watched_select)
    monkeypatch.setattr(os, "write", watched_write)
    asyncio.run(scenario())
    assert not any(waits)


@pytest.mark.parametrize("fails", ["tcflush", "write"])
def test_unplugged_while_it_is_being_opened(cable, monkeypatch, fails):
    """The lock goes with the port: the next attempt, while the error is still known, finds it free."""

    async def scenario():
        with monkeypatch.context() as broken:
            if fails == "write":
                broken.setattr(os, "write", raising(OSError(5, "Input/output error")))
            else:
                broken.setattr(termios, "tcflush", raising(termios.error(5, "Input/output error")))
            with pytest.raises(InstrumentError) as error:
                await open_driver("nonin-xpod", cable.path).run(lambda _: None)
        items = []
        task = asyncio.create_task(open_driver("nonin-xpod", cable.path).run(items.append))
        await until(lambda: InstrumentState.READY in states(items))
        task.cancel()
        return error.value.reason

    assert asyncio.run(scenario()) is InstrumentReason.CANNOT_OPEN


def raising(error):
    def fail(*_):
        raise error

    return fail


def test_an_error_in_the_sink_ends_the_run(cable):
    items = []

    def sink(item):
        if isinstance(item, SampleBlock):
            raise ZeroDivisionError
        items.append(item)

    async def scenario():
        task = asyncio.create_task(open_driver("healthypi-4", cable.path).run(sink))
        await until(lambda: InstrumentState.READY in states(items))
        cable.write(FRAME)
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(task, 15)

    asyncio.run(scenario())


def test_a_flood_is_taken_whole(cable):
    """A second of 100 times the rate, written by a thread as fast as the port takes it."""

    async def scenario():
        items = []
        task = asyncio.create_task(open_driver("healthypi-4", cable.path).run(items.append))
        await until(lambda: InstrumentState.READY in states(items))
        await asyncio.to_thread(lambda: [cable.write(FRAME * 10) for _ in range(1250)])
        await until(lambda: count(items) == 12_500)
        task.cancel()
        return items

    items = asyncio.run(scenario())
    assert not [i for i in items if isinstance(i, Gap)]
    assert len(samples_of(items, ECG)) == 12_500


def test_cancelling_lets_go_of_the_port(cable):
    async def scenario():
        for _ in range(3):
            items = []
            task = asyncio.create_task(open_driver("healthypi-4", cable.path).run(items.append))
            await until(lambda items=items: InstrumentState.READY in states(items))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(scenario())
