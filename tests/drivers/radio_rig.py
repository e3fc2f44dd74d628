"""A radio without a radio, for tests: bumble's controllers behind bleak, HCI over TCP."""

import asyncio

from bumble.core import UUID
from bumble.gatt import Service

from agent.drivers.simulated.peripherals import HciServer, Link, Peripheral, about, notifying
from agent.drivers.simulated.radio import radio as virtual_radio
from agent.model import InstrumentEvent, SampleBlock

BERRY = "C0:00:00:00:00:01"


async def ended(tasks, radio):
    """Cancel the drivers, again where a library swallows it as the supervisor does, and let go of their radio."""
    running = set(tasks)
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=1)
    await radio.close()


class Rig:
    """A link with an offered controller and a radio on it."""

    def __init__(self) -> None:
        self.link = Link()
        self.hci = HciServer(self.link)

    async def __aenter__(self):
        self.port = await self.hci.start()
        self.radio = virtual_radio(f"tcp-client:127.0.0.1:{self.port}")
        self.tasks = []
        return self

    async def __aexit__(self, *_):
        await ended(self.tasks, self.radio)
        self.hci.close()

    async def berry(self, address=BERRY):
        value = notifying("49535343-1E4D-4BD9-BA61-23C647249616")
        service = "49535343-FE7D-4AE5-8FA9-9FAFD205E455"
        services = [Service(UUID(service), [value]), *about("BM-7", "2.1", 64)]
        peripheral = Peripheral(self.link, "BerryMed", address, service, services)
        await peripheral.start()
        return peripheral, value

    def start(self, driver):
        items = []
        task = asyncio.create_task(driver.run(items.append))
        self.tasks.append(task)
        return items, task


def scenario(body):
    async def run():
        async with asyncio.timeout(120), Rig() as rig:
            return await body(rig)

    return asyncio.run(run())


def states(items):
    return [i.state for i in items if isinstance(i, InstrumentEvent) and i.state]


def events(items):
    return {i.what: i.detail for i in items if isinstance(i, InstrumentEvent) and i.what}


def pleth(items):
    return sum(len(i.samples) for i in items if isinstance(i, SampleBlock))
