"""The sound driver on a real Unix socket."""

import asyncio
import struct

import numpy as np
import pytest
from driver_rig import samples_of

from agent.drivers.decimate import decimate
from agent.drivers.opening import open_driver
from agent.errors import InstrumentError, InstrumentReason
from agent.model import InstrumentEvent, InstrumentState
from tests.peers.waiting import until

SOUND = "stethoscope.sound"


def frame(index, samples):
    return struct.pack("<QI", index, len(samples)) + samples.astype("<i2").tobytes()


def served(handler, tmp_path, most_s=30):
    """Run the driver against a server whose connections `handler` serves; what it gave and how it ended."""
    path = tmp_path / "sound.sock"

    async def scenario():
        items = []

        async def serve(reader, writer):
            await handler(writer)

        server = await asyncio.start_unix_server(serve, path)
        async with server:
            try:
                await asyncio.wait_for(open_driver("stethoscope", f"pcm:{path}").run(items.append), most_s)
            except InstrumentError as error:
                return items, error.reason

    return asyncio.run(scenario())


def test_sound_arrives_decimated_and_the_end_is_link_lost(tmp_path):
    x = np.random.default_rng(0).integers(-32768, 32768, 8000).astype(np.int32)

    async def handler(writer):
        for at in range(0, 8000, 512):
            writer.write(frame(100 + at, x[at : at + 512]))
            await writer.drain()
        writer.close()

    items, reason = served(handler, tmp_path)
    assert (samples_of(items, SOUND) == decimate(x, 100)[1]).all()
    assert reason is InstrumentReason.LINK_LOST
    states = [i.state for i in items if isinstance(i, InstrumentEvent)]
    assert states == [InstrumentState.CONNECTING, InstrumentState.READY, InstrumentState.MEASURING]


def test_something_else_on_the_socket_is_unexpected(tmp_path):
    async def handler(writer):
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")

    _, reason = served(handler, tmp_path)
    assert reason is InstrumentReason.UNEXPECTED


def test_nobody_there_is_not_found(tmp_path):
    with pytest.raises(InstrumentError) as error:
        asyncio.run(open_driver("stethoscope", f"pcm:{tmp_path}/none").run(lambda _: None))
    assert error.value.reason is InstrumentReason.NOT_FOUND


@pytest.mark.slow
def test_a_silent_source_is_noticed(tmp_path):
    async def handler(writer):
        writer.write(frame(0, np.zeros(1000, np.int32)))
        await asyncio.sleep(4)

    items, reason = served(handler, tmp_path)
    assert reason is InstrumentReason.SILENT
    assert len(samples_of(items, SOUND)) == 203


def test_cancelling_closes_the_connection(tmp_path):
    async def scenario():
        closed = asyncio.Event()

        async def serve(reader, writer):
            await reader.read()
            closed.set()
            writer.close()

        async with await asyncio.start_unix_server(serve, tmp_path / "s"):
            items = []
            task = asyncio.create_task(open_driver("stethoscope", f"pcm:{tmp_path}/s").run(items.append))
            await until(lambda: len(items) == 2)
            task.cancel()
            await asyncio.wait_for(closed.wait(), 15)

    asyncio.run(scenario())
