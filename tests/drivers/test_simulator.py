"""The simulator as its own process, read by the drivers that the agent uses: every sample against its log."""

import asyncio
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from driver_rig import samples_of

pytest.importorskip("bumble")

from radio_rig import ended

from agent.drivers import simulated
from agent.drivers.decimate import decimate
from agent.drivers.opening import open_driver
from agent.drivers.simulated.radio import radio as virtual_radio
from agent.drivers.simulated.samplelog import read_log, read_readings
from agent.errors import InstrumentError
from agent.model import Gap, InstrumentEvent, InstrumentState, Kind, Reading, SampleBlock, Scan
from tests.peers.waiting import WITHIN_S, until, wait_until

pytestmark = pytest.mark.slow
STREAMS = ("ecg", "respiration", "infrared", "red")


class Simulator:
    """The process and its control socket."""

    def __init__(self, directory) -> None:
        self.directory = directory
        command = [sys.executable, "-m", "agent.drivers.simulated", "--dir", str(directory), "--seed", "7"]
        self.process = subprocess.Popen(command)
        wait_until(lambda: (directory / "ready").exists() or self.process.poll() is not None)
        assert self.process.poll() is None

    def tell(self, line: str) -> str:
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(WITHIN_S)
            control.connect(str(self.directory / "control.sock"))
            control.sendall(f"{line}\n".encode())
            return control.makefile().readline().strip()

    @property
    def where(self):
        return simulated.where(self.directory)


@pytest.fixture
def simulator(tmp_path):
    one = Simulator(tmp_path)
    yield one
    if one.process.poll() is None:
        assert one.tell("quit") == "ok"
    assert one.process.wait(WITHIN_S) == 0


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    one = Simulator(tmp_path_factory.mktemp("simulator"))
    yield one
    assert one.tell("quit") == "ok"
    assert one.process.wait(WITHIN_S) == 0


class Agent:
    """Every driver under a plain restart loop."""

    def __init__(self, simulator, keys=None) -> None:
        self.items = []
        self.simulator = simulator
        self.keys = keys or list(simulator.where)
        self.errors = []

    async def __aenter__(self):
        self.radio = virtual_radio(simulated.transport(self.simulator.directory))
        self.tasks = [asyncio.create_task(self.run(key)) for key in self.keys]
        return self

    async def __aexit__(self, *_):
        await ended(self.tasks, self.radio)

    async def run(self, key):
        driver = open_driver(key, self.simulator.where[key], radio=self.radio)
        while True:
            try:
                await driver.run(self.items.append)
            except InstrumentError as error:
                self.errors.append((key, error.reason))
                await asyncio.sleep(0.05)

    def count(self, stream):
        return sum(len(i.samples) for i in self.items if isinstance(i, SampleBlock) and i.stream == stream)

    def of(self, kind):
        return [i for i in self.items if isinstance(i, kind)]

    async def quiet(self):
        """Let the instruments fall silent, and wait until the last sample that was sent is here."""
        assert await self.tell("quiet") == "ok"
        log = read_log(self.simulator.directory / "samples.log")
        last = {stream: sent(log, stream)[-50:].tolist() for stream in log}
        await until(lambda: all(samples_of(self.items, name)[-50:].tolist() == end for name, end in last.items()))

    async def tell(self, line):
        return await asyncio.to_thread(self.simulator.tell, line)


def sent(log, stream: str) -> np.ndarray:
    """The stream's samples as the driver must give them."""
    values = log[stream].values
    return decimate(values)[1] if stream == "stethoscope.sound" else values


def place(needle: np.ndarray, hay: np.ndarray) -> int:
    """Where `needle`'s beginning stands in `hay`: exactly one place."""
    n = min(len(needle), 200)
    windows = np.lib.stride_tricks.sliding_window_view(hay, n)
    found = np.flatnonzero((windows == needle[:n]).all(axis=1))
    assert len(found) == 1
    return int(found[0])


def check(items, log, stream, *, to_the_end=True) -> int:
    """Every sample of `stream` equals the log's, in order and without holes; how many there are."""
    got = samples_of(items, stream)
    logged = sent(log, stream)
    assert not [i for i in items if isinstance(i, Gap) and i.stream == stream]
    at = place(got, logged)
    assert (got == logged[at : at + len(got)]).all()
    if to_the_end:
        assert at + len(got) == len(logged)
    return len(got)


def test_every_sample_and_reading_arrives_as_it_was_sent(simulator):
    enough = {f"healthypi-4.{name}": 300 for name in STREAMS} | {"berry-bm1000.pleth": 250, "stethoscope.sound": 10_000}

    async def body():
        async with Agent(simulator) as agent:
            await until(lambda: agent.count("berry-bm1000.pleth") > 0)
            measuring = InstrumentState.MEASURING
            await until(lambda: len({i.instrument for i in agent.of(InstrumentEvent) if i.state is measuring}) == 3)
            await until(lambda: len([i for i in agent.of(InstrumentEvent) if i.what == "battery"]) == 3)
            assert await agent.tell("scan BSC1:6BF+70790T9WJWG") == "ok"
            assert await agent.tell("bp 128 76 93") == "ok"
            assert await agent.tell("temperature 37.1") == "ok"
            await until(lambda: all(agent.count(stream) > n for stream, n in enough.items()))
            await until(lambda: {128.0, 37.1} <= {reading.number for reading in agent.of(Reading)})
            await agent.quiet()
            return agent

    agent = asyncio.run(body())
    log = read_log(simulator.directory / "samples.log")
    for stream, n in enough.items():
        assert check(agent.items, log, stream) > n
    assert agent.errors == []
    assert [i.text for i in agent.of(Scan)] == ["BSC1:6BF+70790T9WJWG"]

    given = [r for r in read_readings(simulator.directory / "samples.log") if r.given]
    read = {
        kind: [i.number for i in agent.of(Reading) if i.kind is kind and i.instrument[:3] == "and"] for kind in Kind
    }
    pressures = [r.values for r in given if r.instrument == "and-ua651ble"]
    expected = {"PRESSURE_SYSTOLIC": 128.0, "PRESSURE_DIASTOLIC": 76.0, "PRESSURE_MEAN": 93.0, "PULSE_RATE": 72.0}
    assert expected in pressures
    for kind in (Kind.PRESSURE_SYSTOLIC, Kind.PRESSURE_DIASTOLIC, Kind.PRESSURE_MEAN, Kind.PULSE_RATE):
        assert read[kind] == [v[kind.name] for v in pressures]
    assert read[Kind.TEMPERATURE] == [r.values["TEMPERATURE"] for r in given if r.instrument == "and-ut201ble"]
    assert 37.1 in read[Kind.TEMPERATURE]


CLIENT = """
import asyncio, sys
from pathlib import Path
from agent.drivers import simulated
from agent.drivers.simulated.radio import radio as virtual_radio
from agent.drivers.opening import open_driver
from agent.model import SampleBlock

async def main(directory):
    radio = virtual_radio(simulated.transport(directory))
    streams = set()
    def sink(item):
        if isinstance(item, SampleBlock):
            streams.add(item.stream)
    places = simulated.where(directory).items()
    tasks = [asyncio.create_task(open_driver(key, place, radio=radio).run(sink)) for key, place in places]
    while len(streams) < 6:
        await asyncio.sleep(0.01)
    print("all", flush=True)
    await asyncio.gather(*tasks)

asyncio.run(main(Path(sys.argv[1])))
"""


def test_a_killed_agent_finds_every_instrument_again(simulator):
    for _ in range(3):
        command = [sys.executable, "-c", CLIENT, str(simulator.directory)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:
            assert client.stdout.readline() == "all\n"
            client.send_signal(signal.SIGKILL)
    assert simulator.process.poll() is None

    async def body():
        async with Agent(simulator) as agent:
            await until(lambda: agent.count("berry-bm1000.pleth") > 100)
            await agent.quiet()
            return agent

    agent = asyncio.run(body())
    log = read_log(simulator.directory / "samples.log")
    for stream in log:
        check(agent.items, log, stream)
        given = log[stream].given
        assert given[-50:].all()
        assert not given.all()  # nobody listened between the kills
    assert agent.errors == []


def test_unplugging_and_plugging_each_instrument(shared):
    keys = ["healthypi-4", "stethoscope", "berry-bm1000"]
    stream = {
        "healthypi-4": "healthypi-4.ecg",
        "stethoscope": "stethoscope.sound",
        "berry-bm1000": "berry-bm1000.pleth",
    }

    async def body():
        async with Agent(shared, keys) as agent:
            for key in keys:
                await until(lambda key=key: agent.count(stream[key]) > 50)
                assert await agent.tell(f"unplug {key}") == "ok"
                await until(lambda key=key: key in [k for k, _ in agent.errors])
                before = agent.count(stream[key])
                assert await agent.tell(f"plug {key}") == "ok"
                await until(lambda key=key, before=before: agent.count(stream[key]) > before)
            assert (await agent.tell("unplug kettle")).startswith("error")
            return agent

    agent = asyncio.run(body())
    for name in stream.values():
        samples_of(agent.items, name)  # no holes: what is missing is a declared gap
        assert [i for i in agent.of(Gap) if i.stream == name]


def test_an_agent_that_stalls_catches_up(shared):
    """An event loop that stands for 1.5 s finds everything in the kernel's buffers: no sample lost, no gap made up."""
    keys, path = ["healthypi-4", "stethoscope"], shared.directory / "samples.log"

    async def body():
        async with Agent(shared, keys) as agent:
            await until(lambda: agent.count("healthypi-4.ecg") > 100 and agent.count("stethoscope.sound") > 1000)
            time.sleep(1.5)
            await until(lambda: agent.count("healthypi-4.ecg") > 250 and agent.count("stethoscope.sound") > 6000)
        closed_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        await until(lambda: all(stream.t_ns[-1] > closed_ns for stream in read_log(path).values()))
        return agent

    agent = asyncio.run(body())
    log = read_log(path)
    assert check(agent.items, log, "healthypi-4.ecg", to_the_end=False) > 250
    assert check(agent.items, log, "stethoscope.sound", to_the_end=False) > 6000
    assert agent.errors == []
