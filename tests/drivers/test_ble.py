"""The radio and its drivers over real GATT: bumble's controllers behind bleak, HCI over TCP, no radio."""

import asyncio
import contextlib
import dataclasses
from datetime import datetime

import pytest
from driver_rig import samples_of

pytest.importorskip("bumble")

from bumble.core import UUID
from bumble.gatt import Characteristic, CharacteristicValue, Service
from radio_rig import BERRY, events, pleth, scenario, states

from agent.drivers.berry import BciDecoder
from agent.drivers.ble import Radio
from agent.drivers.ble_driver import BleDriver, Profile, uuid
from agent.drivers.opening import open_driver
from agent.drivers.simulated.peripherals import (
    Peripheral,
    about,
    indicating,
    notifying,
    readable_and_writable,
    reading,
)
from agent.drivers.simulated.radio import radio as virtual_radio
from agent.errors import InstrumentError, InstrumentReason
from agent.model import Gap, Instrument, InstrumentState, Reading, SampleBlock
from tests.peers.waiting import until

CUFF = "C0:00:00:00:00:02"
EAR = "C0:00:00:00:00:03"
PLETH = "berry-bm1000.pleth"
PACKET = bytes.fromhex("883c074b62")
PRESSURE = bytes.fromhex("1e80004c005d00ea0703090e140548000100 00".replace(" ", ""))


def test_what_is_nearby_is_listed_by_address_and_name():
    async def body(rig):
        await rig.berry()
        await rig.berry("C0:00:00:00:00:09")
        return await rig.radio.nearby(3.0)

    found = scenario(body)
    assert [(one.address, one.name) for one in found] == [(BERRY, "BerryMed"), ("C0:00:00:00:00:09", "BerryMed")]


def test_find_connect_subscribe_and_say_who_it_is():
    async def body(rig):
        peripheral, value = await rig.berry()
        driver = open_driver("berry-bm1000", BERRY, radio=rig.radio)
        items, _ = rig.start(driver)
        await until(lambda: peripheral.subscribed(value))
        for _ in range(3):
            await peripheral.notify(value, PACKET * 4)
        await until(lambda: pleth(items) == 12 and "battery" in events(items))
        return items, driver.instrument

    items, instrument = scenario(body)
    assert states(items) == [InstrumentState.CONNECTING, InstrumentState.READY, InstrumentState.MEASURING]
    assert events(items) == {"identity": "serial=BM-7 firmware=2.1", "battery": "64"}
    assert (instrument.serial, instrument.firmware) == ("BM-7", "2.1")
    assert set(samples_of(items, PLETH).tolist()) == {60}


def test_a_dropped_link_is_lost_and_the_next_one_opens_with_a_gap():
    async def body(rig):
        peripheral, value = await rig.berry()
        driver = open_driver("berry-bm1000", BERRY, radio=rig.radio)
        items, task = rig.start(driver)
        await until(lambda: peripheral.subscribed(value))
        await peripheral.notify(value, PACKET * 4)
        await until(lambda: pleth(items) == 4)
        for _ in range(5):
            peripheral.controller.drop_links()
            with pytest.raises(InstrumentError) as error:
                await asyncio.wait_for(task, 15)
            assert error.value.reason is InstrumentReason.LINK_LOST
            more, task = rig.start(driver)
            await until(lambda: peripheral.subscribed(value))
            await peripheral.notify(value, PACKET * 4)
            await until(lambda more=more: pleth(more) == 4)
            items += more
        return items

    items = scenario(body)
    gaps = [i for i in items if isinstance(i, Gap)]
    assert len(gaps) == 5
    assert len(samples_of(items, PLETH)) == 24


@pytest.mark.slow
def test_a_silent_instrument_is_noticed_though_the_link_stands():
    async def body(rig):
        peripheral, value = await rig.berry()
        items, task = rig.start(open_driver("berry-bm1000", BERRY, radio=rig.radio))
        await until(lambda: peripheral.subscribed(value))
        loop = asyncio.get_running_loop()
        since = loop.time()
        await peripheral.notify(value, PACKET)
        with pytest.raises(InstrumentError) as error:
            await asyncio.wait_for(task, 15)
        return error.value.reason, loop.time() - since, states(items)

    reason, seconds, said = scenario(body)
    assert reason is InstrumentReason.SILENT
    assert seconds > 1.7
    assert said[-1] is InstrumentState.SILENT


def test_an_episodic_instrument_may_go_and_come_back():
    async def body(rig):
        value = indicating("2A35")
        cuff = Peripheral(rig.link, "A&D_UA-651BLE_1", CUFF, "1810", [Service(UUID("1810"), [value])])
        items, task = rig.start(open_driver("and-ua651ble", CUFF, radio=rig.radio))
        await cuff.start()
        for _ in range(2):
            await until(lambda: cuff.subscribed(value))
            assert await cuff.indicate(value, PRESSURE)
            await cuff.unplug()  # it sleeps after every measurement
            await asyncio.sleep(0.05)
            assert not task.done()
            await cuff.plug()
        return items

    items = scenario(body)
    assert [i.number for i in items if isinstance(i, Reading)] == [128.0, 76.0, 93.0, 72.0] * 2
    assert {i.group for i in items if isinstance(i, Reading)} == {1, 2}


def test_a_thermometer_names_its_site_by_the_type_characteristic():
    async def body(rig):
        value = indicating("2A1C")
        services = [Service(UUID("1809"), [value, reading("2A1D", b"\x06")])]
        ear = Peripheral(rig.link, "A&D_UT201BLE_1", EAR, "1809", services)
        await ear.start()
        items, _ = rig.start(open_driver("and-ut201ble", EAR, radio=rig.radio))
        await until(lambda: ear.subscribed(value))
        await ear.indicate(value, bytes.fromhex("006c0100ff"))
        await until(lambda: any(isinstance(i, Reading) for i in items))
        return [(i.number, i.site) for i in items if isinstance(i, Reading)]

    assert scenario(body) == [(36.4, "bouche")]


def test_what_keeps_an_instrument_speaking_is_said_again_and_again():
    async def body(rig):
        asked = []
        write = Characteristic(
            UUID("FF01"), Characteristic.WRITE, Characteristic.WRITEABLE,
            CharacteristicValue(write=lambda _, data: asked.append(bytes(data))),
        )  # fmt: skip
        value = notifying("FF02")
        contec = Peripheral(rig.link, "SpO2", BERRY, "FF12", [Service(UUID("FF12"), [value, write])])
        await contec.start()
        driver = open_driver("contec-ble", BERRY, radio=rig.radio)
        driver._profile = dataclasses.replace(driver._profile, repeat_s=0.1)
        items, _ = rig.start(driver)
        await until(lambda: len(asked) >= 3)
        await contec.notify(value, bytes.fromhex("eb01053e627f0010"))
        await until(lambda: any(isinstance(i, Reading) for i in items))
        return set(asked), [i.number for i in items if isinstance(i, Reading)]

    assert scenario(body) == ({bytes.fromhex("9b011c")}, [98.0, 62.0])


def test_the_cuffs_clock_is_read_and_set():
    async def body(rig):
        value, clock = indicating("2A35"), readable_and_writable("2A08", bytes.fromhex("e407 01 01 00 00 00"))
        services = [Service(UUID("1810"), [value, clock])]
        cuff = Peripheral(rig.link, "A&D_UA-651BLE_1", CUFF, "1810", services)
        await cuff.start()
        wall = datetime(2026, 3, 9, 14, 20, 5)  # noqa: DTZ001
        items, _ = rig.start(open_driver("and-ua651ble", CUFF, radio=rig.radio, wall=lambda: wall))
        await until(lambda: cuff.subscribed(value))
        return events(items)["clock"], events(items)["clock_set"], bytes(clock.value)

    said, put, now = scenario(body)
    assert said == "2020-01-01T00:00:00"
    assert put == "2026-03-09T14:20:05"
    assert now == bytes.fromhex("ea07 03 09 0e 14 05")


def test_a_link_that_carries_nothing_any_more_is_probed(monkeypatch):
    """bluetoothd can die without a word; an instrument that may be silent for hours is asked now and then."""
    monkeypatch.setattr("agent.drivers.ble_driver.PROBE_S", 0.05)
    monkeypatch.setattr("agent.drivers.ble_driver.OPERATION_S", 0.2)

    async def body(rig):
        value = indicating("2A35")
        services = [Service(UUID("1810"), [value]), *about("UA-1", "1.0", 50)]
        cuff = Peripheral(rig.link, "A&D_UA-651BLE_1", CUFF, "1810", services)
        await cuff.start()
        items, _ = rig.start(open_driver("and-ua651ble", CUFF, radio=rig.radio))
        await until(lambda: cuff.subscribed(value) and "battery" in events(items))
        rig.hci._connection._source.set_packet_sink(None)  # the controller hears no host any more
        await until(lambda: rig.radio._wanted)  # it looks out for the cuff again

    scenario(body)


def test_an_error_in_the_sink_ends_the_run():
    async def body(rig):
        peripheral, value = await rig.berry()

        def sink(item):
            if isinstance(item, SampleBlock):
                raise ZeroDivisionError

        task = asyncio.create_task(open_driver("berry-bm1000", BERRY, radio=rig.radio).run(sink))
        await until(lambda: peripheral.subscribed(value))
        await peripheral.notify(value, PACKET)
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(task, 15)

    scenario(body)


def test_several_instruments_at_once_lose_nothing():
    async def body(rig):
        addresses = [f"C0:00:00:00:01:{k:02X}" for k in range(5)]
        made = [await rig.berry(address) for address in addresses]
        drivers = [open_driver("berry-bm1000", address, radio=rig.radio) for address in addresses]
        for driver in drivers:  # the first says nothing until the last is found: no silence for once
            driver._profile = dataclasses.replace(driver._profile, period_s=None)
        running = [rig.start(driver) for driver in drivers]
        await until(lambda: all(p.subscribed(v) for p, v in made))
        for k in range(100):
            for peripheral, value in made:
                await peripheral.notify(value, bytes((0x88, k, 7, 75, 98)))
            await asyncio.sleep(0.005)
        await until(lambda: all(pleth(items) == 100 for items, _ in running))
        return [samples_of(items, PLETH).tolist() for items, _ in running]

    assert scenario(body) == [list(range(100))] * 5


def test_a_streaming_instrument_that_never_advertises_is_not_found():
    async def body(rig):
        driver = BleDriver(
            Instrument("x", "x"), BERRY, BciDecoder("x"), Profile(notify=("2a35",)), rig.radio, patience_s=0.2
        )
        _, task = rig.start(driver)
        with pytest.raises(InstrumentError) as error:
            await task
        return error.value.reason

    assert scenario(body) is InstrumentReason.NOT_FOUND


def test_another_instrument_at_the_address_is_unexpected():
    async def body(rig):
        peripheral = Peripheral(rig.link, "Kettle", BERRY, "180A", about("K-1", "1", 9))
        await peripheral.start()
        _, task = rig.start(open_driver("berry-bm1000", BERRY, radio=rig.radio))
        with pytest.raises(InstrumentError) as error:
            await task
        return error.value.reason

    assert scenario(body) is InstrumentReason.UNEXPECTED


def test_no_adapter_is_stack_down():
    async def body(rig):
        dead = virtual_radio("tcp-client:127.0.0.1:1")
        reasons = []
        for key, address in (("berry-bm1000", BERRY), ("and-ua651ble", CUFF)):
            _, task = rig.start(open_driver(key, address, radio=dead))
            with pytest.raises(InstrumentError) as error:
                await task
            reasons.append(error.value.reason)
        await dead.close()
        return reasons

    assert scenario(body) == [InstrumentReason.STACK_DOWN] * 2


@pytest.mark.parametrize("address", ["unix:path=/nonexistent", "nonsense"])
def test_no_bluetooth_daemon_is_stack_down(monkeypatch, address):
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)

    async def run():
        radio = Radio.bluez()
        with pytest.raises(InstrumentError) as error:
            await asyncio.wait_for(open_driver("berry-bm1000", BERRY, radio=radio).run(lambda _: None), 30)
        await radio.close()
        return error.value.reason

    assert asyncio.run(run()) is InstrumentReason.STACK_DOWN


def test_a_stream_leaves_scanning_short_windows_only():
    async def body(rig):
        peripheral, value = await rig.berry()
        items, _ = rig.start(open_driver("berry-bm1000", BERRY, radio=rig.radio))
        await until(lambda: "battery" in events(items))
        rig.start(open_driver("and-ua651ble", CUFF, radio=rig.radio))  # never there: looked for all the time
        loop = asyncio.get_running_loop()
        seen_s = [[]]  # when each window was seen open
        while len(seen_s) < 3:
            await peripheral.notify(value, PACKET)
            if rig.hci.controller.le_scan_enable:
                seen_s[-1].append(loop.time())
            elif seen_s[-1]:
                seen_s.append([])
            await asyncio.sleep(0.01)
        return seen_s[:2]

    first, second = scenario(body)
    assert len(first) <= 100  # 0.6 s, looked at every 10 ms
    assert len(second) <= 100
    assert second[0] - first[-1] > 2.0


def test_the_adapter_may_die_and_come_back():
    async def body(rig):
        peripheral, value = await rig.berry()
        driver = open_driver("berry-bm1000", BERRY, radio=rig.radio)
        _, task = rig.start(driver)
        await until(lambda: peripheral.subscribed(value))
        rig.hci._connection.transport.abort()
        with pytest.raises(InstrumentError) as error:
            await asyncio.wait_for(task, 15)
        assert error.value.reason is InstrumentReason.LINK_LOST
        await until(lambda: not peripheral.subscribed(value))
        items, _ = rig.start(driver)
        await until(lambda: peripheral.subscribed(value))
        await peripheral.notify(value, PACKET)
        await until(lambda: pleth(items) == 1)

    scenario(body)


def test_an_operation_that_never_ends_is_bounded(monkeypatch):
    """A read that hangs (BlueZ does so for 200 s when pairing is needed) costs its timeout, not the stream."""
    monkeypatch.setattr("agent.drivers.ble_driver.OPERATION_S", 0.2)

    async def body(rig):
        async def never(_connection):
            await asyncio.sleep(60)

        value = notifying("49535343-1E4D-4BD9-BA61-23C647249616")
        from bumble.att import AttributeValueV2 as Dynamic

        stuck = Characteristic(UUID("2A25"), Characteristic.READ, Characteristic.READABLE, Dynamic(read=never))
        service = "49535343-FE7D-4AE5-8FA9-9FAFD205E455"
        services = [Service(UUID(service), [value]), Service(UUID("180A"), [stuck])]
        peripheral = Peripheral(rig.link, "BerryMed", BERRY, service, services)
        await peripheral.start()
        items, task = rig.start(open_driver("berry-bm1000", BERRY, radio=rig.radio))
        await until(lambda: peripheral.subscribed(value))
        while "identity" not in events(items):
            await peripheral.notify(value, PACKET)
            await asyncio.sleep(0.02)
        assert not task.done()
        return events(items)["identity"]

    assert scenario(body) == "serial=None firmware=None"


def test_cancelling_ends_the_link():
    async def body(rig):
        peripheral, value = await rig.berry()
        _, task = rig.start(open_driver("berry-bm1000", BERRY, radio=rig.radio))
        await until(lambda: peripheral.subscribed(value))
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await until(lambda: not peripheral.controller.le_connections)

    scenario(body)


def test_cancelling_while_connecting_leaves_the_adapter_usable():
    async def body(rig):
        peripheral, value = await rig.berry()
        for delay_s in (0.0, 0.02, 0.05, 0.1, 0.15):
            _, task = rig.start(open_driver("berry-bm1000", BERRY, radio=rig.radio))
            await asyncio.sleep(delay_s)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        rig.start(open_driver("berry-bm1000", BERRY, radio=rig.radio))
        await until(lambda: peripheral.subscribed(value))

    scenario(body)


def test_short_and_long_uuids():
    assert uuid("2A35") == "00002a35-0000-1000-8000-00805f9b34fb"
    assert uuid("49535343-1E4D-4BD9-BA61-23C647249616") == "49535343-1e4d-4bd9-ba61-23c647249616"
