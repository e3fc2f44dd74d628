"""A bag whose system clock is wrong, or jumps in flight: it connects, nothing is reordered, the hub dates it right.

The bag is a process of its own: recorder, outbox, uplink, TLS with dates of today. Its system clock, OpenSSL's too, is
moved by a preloaded shim (tests/peers/wrong_clock.c); boot time goes on, as a kernel sees to. The hub's clock is right.
Needs a C compiler; skipped without.
"""

import asyncio
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agent.clock import BootClock
from agent.model import Reading
from agent.transport import hubkeys, wire
from agent.transport.records import RecordReader
from hub.store import Store
from tests.hub.test_service import Hub, Part
from tests.peers.broker import TestBroker
from tests.peers.cpts import BAG, hub_key

ROOT = Path(__file__).parents[2]
SHIM = ROOT / "tests/peers/wrong_clock.c"
YEAR_S, DAY_S = 365 * 86400, 86400
READINGS = 12
RIGHT_WITHIN_US = 100_000

SET = f"READINGS, RIGHT_WITHIN_US = {READINGS}, {RIGHT_WITHIN_US}\n"
A_BAG = """
import asyncio, os, sys, time
from pathlib import Path
from agent.clock import BootClock, Source
from agent.model import Instrument, Kind, Reading, Unit, Visit
from agent.outbox import OutboxThread
from agent.recorder import Recorder
from agent.transport import identity
from agent.transport.delivery import Delivery
from agent.transport.link import Broker, connect
from agent.transport.uplink import Hooks, Uplink

here, port, certificate, key, root, sealing = Path(sys.argv[1]), int(sys.argv[2]), *map(Path, sys.argv[3:7])
steps = [int(step) for step in sys.argv[7].split(",")]
off = Path(os.environ["CLOCK_OFF"])


async def main():
    who = identity.load(certificate, key, sealing)
    clock = BootClock()
    outbox = OutboxThread(here / "outbox.sqlite")
    delivery = Delivery(outbox.now(outbox.box.unreceipted))
    recorder = Recorder(
        identity=who, clock=clock, outbox=outbox, delivery=delivery, demo=False,
        describe=lambda writer: writer.instrument(Instrument("berry-bm1000", "BM1000"), clock.now_ns()),
    )
    recorder.time._synchronised = here / "never"
    tls = identity.client_context(root, certificate, key, "hub")
    broker = Broker("127.0.0.1", port, tls)
    uplink = Uplink(
        lambda will: connect(broker, name=who.name, will=will), device=who.name, epoch=lambda: recorder.epoch,
        delivery=delivery, outbox=outbox, now_ns=clock.now_ns,
        hooks=Hooks(recorder.receipted, lambda _: None, time=recorder.hub_time),
    )
    recorder.offer, recorder.committed = uplink.offer, uplink.committed
    asyncio.create_task(uplink.run())
    recorder.open_visit(Visit(bytes(16), "0042", clock.now_ns()), resumed=False)
    for n in range(READINGS):
        off.write_text(str(steps[n * len(steps) // READINGS]))
        recorder.add([Reading("berry-bm1000", Kind.SPO2, Unit.PERCENT, clock.now_ns(), n)])
        await recorder.cut()
        await asyncio.sleep(0.1)
    await recorder.close_visit()
    async with asyncio.timeout(30):
        while recorder.time.best().source is not Source.HUB or recorder.time.best().uncertainty_us > RIGHT_WITHIN_US:
            await recorder.cut()
            await asyncio.sleep(0.1)
        await recorder.cut()  # and with it that word
        while delivery.unreceipted():
            await asyncio.sleep(0.1)
    print(time.time(), uplink.state.connections)
    os._exit(0)


asyncio.run(main())
"""


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler to make a wrong clock with")
    made = tmp_path_factory.mktemp("shim") / "wrong_clock.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", made, SHIM, "-ldl"], check=True)
    return made


async def live(folder, shim, steps, program=A_BAG):
    """Such a bag's life beside a broker and a hub: its exit status and its last words."""
    folder.mkdir()
    (folder / "bag").mkdir()
    (folder / "offset").write_text(str(steps[0]))
    sealing = folder / "sealing.pub"
    sealing.write_bytes(hubkeys.public_pem(hub_key().public_key()))
    async with TestBroker(folder).running() as broker:
        hub = Part(Hub(broker, folder).run)
        hub.start()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", SET + program, folder / "bag", str(broker.config.port),
            *broker.files(BAG), broker.root, sealing, ",".join(map(str, steps)),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env=os.environ | {"LD_PRELOAD": str(shim), "CLOCK_OFF": str(folder / "offset"), "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        said, erred = await process.communicate()
        await hub.kill()
        return process.returncode, said.decode(), erred.decode()


WRONG = {
    "1970": [30 - int(time.time())],
    "three years slow": [-3 * YEAR_S],
    "five years fast": [5 * YEAR_S],
    "a day to and fro": [0, DAY_S, -DAY_S, 0],
}


def test_the_hub_dates_it_right(tmp_path, monkeypatch, shim):
    monkeypatch.setattr("hub.service.RECEIPT_EVERY_S", 0.2)

    async def main():
        return await asyncio.gather(*(live(tmp_path / name, shim, steps) for name, steps in WRONG.items()))

    for (name, steps), (code, said, erred) in zip(WRONG.items(), asyncio.run(main()), strict=True):
        assert code == 0, erred
        its_time_s, connections = said.split()
        assert float(its_time_s) == pytest.approx(time.time() + steps[-1], abs=60)  # the shim did what it is for
        assert int(connections) == 1
        in_order_and_right(tmp_path / name)


def in_order_and_right(folder):
    """Every reading is at the hub, in its order and dated to a tenth of a second."""
    store = Store(folder / "hub.sqlite")
    ((epoch,),) = store._db.execute("SELECT DISTINCT epoch FROM rows").fetchall()
    dating = store.dating(BAG, BootClock().boot_id)
    boot_to_utc_us = (time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)) // 1000
    reader, seen = RecordReader(), []
    for _, plaintext in store.plaintexts(BAG, epoch):
        for item in reader.read(wire.decode(plaintext)):
            if isinstance(item, Reading):
                seen.append(item.value)
                t_us = item.t_ns // 1000
                assert abs(dating.utc(t_us).utc_us - (t_us + boot_to_utc_us)) < RIGHT_WITHIN_US
    assert seen == list(range(READINGS))
    store.close()


def test_negative_control_who_lets_openssl_look_at_dates_does_not_connect_in_1970(tmp_path, shim):
    looks = A_BAG.replace('    broker = Broker("', '    tls.verify_flags &= ~0x200000\n    broker = Broker("')
    program = looks.replace("timeout(30)", "timeout(10)")
    code, _, erred = asyncio.run(live(tmp_path / "1970", shim, WRONG["1970"], program))
    assert code != 0
    assert "not yet valid" in erred
