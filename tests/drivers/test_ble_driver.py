"""Radio instruments of the catalogue over real GATT, in the odd ways they behave: bumble behind bleak, no radio."""

import asyncio
from datetime import datetime, timedelta

import numpy as np
import pytest
from driver_rig import samples_of

pytest.importorskip("bumble")

from bumble.core import UUID
from bumble.gatt import Characteristic, CharacteristicValue, Service
from radio_rig import BERRY, events, scenario

from agent.dating import OLD, Dating
from agent.drivers.ble_driver import BleDriver
from agent.drivers.catalogue import CATALOGUE
from agent.drivers.gatt.clock import clock_value
from agent.drivers.opening import open_driver
from agent.drivers.simulated import gatt_values
from agent.drivers.simulated.peripherals import Peripheral, about, indicating, notifying, readable_and_writable
from agent.model import InstrumentEvent, Kind, Reading
from tests.peers.waiting import until

HERE, THERE = "C0:00:00:00:02:01", "C0:00:00:00:02:02"
NOON = datetime(2026, 3, 9, 12, 0, 0)  # noqa: DTZ001


def numbers(items):
    return [(i.kind, i.number) for i in items if isinstance(i, Reading)]


def written(uuid, to):
    """A characteristic that gives `to` what is written into it."""
    value = CharacteristicValue(write=lambda _, data: to(bytes(data)))
    return Characteristic(UUID(uuid), Characteristic.WRITE | Characteristic.INDICATE, Characteristic.WRITEABLE, value)


async def there(rig, key, *characteristics, address=HERE, name="x"):
    """An instrument of this kind, advertising."""
    service = CATALOGUE[key].match.service
    services = [Service(UUID(service), list(characteristics)), *about("S-1", "1.0", 50)]
    peripheral = Peripheral(rig.link, name, address, service, services)
    await peripheral.start()
    return peripheral


@pytest.mark.parametrize(
    ("key", "channel", "value", "wanted"),
    [
        ("plx-oximeter", "2a5f", gatt_values.plx_continuous(97, 72, 0), {Kind.SPO2: 97, Kind.PULSE_RATE: 72}),
        ("heart-rate-strap", "2a37", gatt_values.heart_rate(72, [850]), {Kind.HEART_RATE: 72}),
        (
            "nonin-3150",
            "0aad7ea0-0d60-11e2-8e3c-0002a5d5c51b",
            gatt_values.nonin_numerics(97, 72, 250),
            {Kind.SPO2: 97, Kind.PULSE_RATE: 72, Kind.PERFUSION_INDEX: 2.5},
        ),
    ],
)
def test_what_notifies(key, channel, value, wanted):
    async def body(rig):
        characteristic = notifying(channel)
        instrument = await there(rig, key, characteristic)
        items, _ = rig.start(open_driver(key, HERE, radio=rig.radio))
        await until(lambda: instrument.subscribed(characteristic))
        await instrument.notify(characteristic, value)
        await until(lambda: bool(numbers(items)))
        return dict(numbers(items))

    assert scenario(body) == wanted


def test_a_scale_hands_over_one_weighing_in_pounds():
    async def body(rig):
        value, clock = indicating("2A9D"), readable_and_writable("2A08", clock_value("2a08", NOON))
        scale = await there(rig, "and-uc352ble", value, clock)
        items, _ = rig.start(open_driver("and-uc352ble", HERE, radio=rig.radio))
        await until(lambda: scale.subscribed(value))
        await scale.indicate(value, gatt_values.weight(15942, NOON, pounds=True))
        await until(lambda: bool(numbers(items)))
        return numbers(items), events(items)["clock"]

    assert scenario(body) == ([(Kind.WEIGHT, 72.312)], "2026-03-09T12:00:00")


def test_a_polar_strap_streams_once_it_is_asked():
    control, data = CATALOGUE["polar-h10"].notify

    async def body(rig):
        asked = []
        ecg = notifying(data)
        strap = await there(rig, "polar-h10", written(control, asked.append), ecg, name="Polar H10 1234")
        items, _ = rig.start(open_driver("polar-h10", HERE, radio=rig.radio))
        await until(lambda: bool(asked) and strap.subscribed(ecg))
        for k in range(3):
            await strap.notify(ecg, gatt_values.polar_ecg(round(k * 73 / 130.06 * 1e9), np.full(73, k - 1)))
        await until(lambda: len(samples_of(items, "polar-h10.ecg")) == 219)
        return asked, samples_of(items, "polar-h10.ecg").tolist()

    asked, samples = scenario(body)
    assert asked == [bytes.fromhex("02 00 00 01 82 00 01 01 0e 00")]
    assert samples == [-1] * 73 + [0] * 73 + [1] * 73


# --- a PLX oximeter's own clock --------------------------------------------------------------------------------


@pytest.mark.parametrize("shows", ["2000-01-01T00:05:00", "1970-01-01T00:05:00", "2031-07-01T09:00:00"])
@pytest.mark.parametrize("wall", [None, NOON])
def test_a_plx_spot_value_is_dated_by_the_instruments_own_clock_whatever_it_shows(shows, wall):
    """Three spot values from its memory: of this visit, of an earlier patient, and one its clock cannot have dated."""
    own = datetime.fromisoformat(shows)

    async def body(rig):
        value, clock = indicating("2A5E"), readable_and_writable("2A2B", clock_value("2a2b", own))
        oximeter = await there(rig, "plx-oximeter", value, clock)
        items, _ = rig.start(open_driver("plx-oximeter", HERE, radio=rig.radio, wall=lambda: wall))
        await until(lambda: oximeter.subscribed(value))
        for spo2, age_s in ((97, 10), (88, 4000), (79, -4000)):
            stored = gatt_values.plx_spot(spo2, 72, own - timedelta(seconds=age_s), 30)
            assert await oximeter.indicate(value, stored)
        await until(lambda: len(numbers(items)) == 9)
        return items, bytes(clock.value)

    items, clock = scenario(body)
    said = events(items)
    assert said["clock"] == shows
    assert said.get("clock_set") == (wall.isoformat() if wall else None)
    assert clock == clock_value("2a2b", wall or own)
    readings = [i for i in items if isinstance(i, Reading)]
    assert {r.instrument_time for r in readings[:3]} == {own - timedelta(seconds=10)}
    opened_ns = readings[0].t_ns - 60 * 10**9  # the visit, a minute ago
    kept = Dating().take([i for i in items if isinstance(i, (Reading, InstrumentEvent))], opened_ns)
    assert numbers(kept) == [(Kind.SPO2, 97), (Kind.PULSE_RATE, 72), (Kind.PERFUSION_INDEX, 3)]
    assert [i.detail for i in kept if isinstance(i, InstrumentEvent) and i.what == OLD] == ["before_visit", "undated"]


def test_a_plx_spot_value_of_a_clock_that_nobody_can_read_joins_no_visit():
    async def body(rig):
        value = indicating("2A5E")
        oximeter = await there(rig, "plx-oximeter", value)
        items, _ = rig.start(open_driver("plx-oximeter", HERE, radio=rig.radio, wall=lambda: NOON))
        await until(lambda: oximeter.subscribed(value))
        await oximeter.indicate(value, gatt_values.plx_spot(97, 72, NOON, 30))
        await until(lambda: len(numbers(items)) == 3)
        return items

    items = scenario(body)
    assert not {"clock", "clock_set"} & set(events(items))
    assert Dating().take([i for i in items if isinstance(i, Reading)], 0)[0].detail == "undated"


# --- a glucose meter's memory ----------------------------------------------------------------------------------


class Meter:
    """A glucose meter: records by number, asked for over its access point, and a battery that may fall out."""

    def __init__(self, records):
        self.records = dict(records)
        self.asked = []
        self.dies_after = None
        self.value, self.context = notifying("2A18"), notifying("2A34")
        self.access = written("2A52", self._ask)
        self.clock = readable_and_writable("2A2B", clock_value("2a2b", NOON))

    async def start(self, rig):
        self.peripheral = await there(
            rig, "glucose-meter", self.value, self.context, self.access, self.clock, name="meter+1"
        )

    def _ask(self, command):
        self.asked.append(command.hex())
        self.answered = asyncio.create_task(self._report(command))

    async def _report(self, command):
        await asyncio.sleep(0.02)
        if command == bytes.fromhex("01 06"):
            found = sorted(self.records)[-1:]
        else:
            assert command[:3] == bytes.fromhex("01 03 01")
            found = [number for number in sorted(self.records) if number >= int.from_bytes(command[3:5], "little")]
        for sent, number in enumerate(found):
            if sent == self.dies_after:
                self.dies_after = None
                await self.peripheral.unplug()
                return
            await self.peripheral.notify(self.value, gatt_values.glucose(number, self.records[number], NOON))
            await self.peripheral.notify(self.context, gatt_values.glucose_context(number, 3))
        await self.peripheral.indicate(self.access, gatt_values.access_answer(1, 1 if found else 6))


def test_a_battery_that_falls_out_amid_a_transfer_costs_no_record_and_doubles_none():
    async def body(rig):
        meter = Meter({1: 101, 2: 102, 3: 103})
        await meter.start(rig)
        items, task = rig.start(open_driver("glucose-meter", HERE, radio=rig.radio))
        await until(lambda: numbers(items) == [(Kind.GLUCOSE, 103)])  # a first meeting: the newest only
        await meter.peripheral.unplug()
        meter.records |= {4: 104, 5: 105, 6: 106}
        meter.dies_after = 1
        await meter.peripheral.plug()
        await until(lambda: meter.dies_after is None and not meter.peripheral.plugged)
        await meter.peripheral.plug()
        await until(lambda: len(numbers(items)) >= 4 and len(meals(items)) >= 4)
        await asyncio.sleep(0.1)
        assert not task.done()
        return [number for _, number in numbers(items)], meals(items), meter.asked

    def meals(items):
        return [i.detail for i in items if isinstance(i, InstrumentEvent) and i.what == "meal_fasting"]

    values, said, asked = scenario(body)
    assert values == [103, 104, 105, 106]
    assert said == ["3", "4", "5", "6"]
    assert asked == ["0106", "0103010400", "0103010500"]


def test_a_meter_whose_memory_was_cleared_counts_anew_and_its_next_value_is_taken():
    async def body(rig):
        meter = Meter({700: 103})
        await meter.start(rig)
        items, _ = rig.start(open_driver("glucose-meter", HERE, radio=rig.radio))
        await until(lambda: len(numbers(items)) == 1)
        for records, asked, taken in (({0: 144}, 3, 2), ({0: 144}, 5, 2), ({0: 144, 1: 155}, 6, 3)):
            await meter.peripheral.unplug()
            meter.records = records
            await meter.peripheral.plug()
            await until(lambda asked=asked: len(meter.asked) >= asked and meter.answered.done())
            await until(lambda taken=taken: len(numbers(items)) >= taken)
        await asyncio.sleep(0.1)  # and nothing more is asked
        return [number for _, number in numbers(items)], meter.asked

    values, asked = scenario(body)
    assert values == [103, 144, 155]
    assert asked == ["0106", "010301bd02", "0106", "0103010100", "0106", "0103010100"]


# --- which one it is -------------------------------------------------------------------------------------------


def test_of_two_alike_only_ours_is_heard_and_it_may_change_its_name():
    async def body(rig):
        ours, other = indicating("2A35"), indicating("2A35")
        mine = await there(rig, "and-ua651ble", ours, name="A&D_UA-651BLE_1")
        twin = await there(rig, "and-ua651ble", other, address=THERE, name="A&D_UA-651BLE_1")
        items, _ = rig.start(open_driver("and-ua651ble", HERE, radio=rig.radio))
        await until(lambda: mine.subscribed(ours))
        assert not twin.device.connections
        await mine.unplug()
        mine.device.advertising_data = b"\x02\x01\x06\x09\x09Kitchen7"
        await mine.plug()
        await until(lambda: mine.subscribed(ours))
        await mine.indicate(ours, gatt_values.blood_pressure(121, 81, 94, 66, NOON))
        await until(lambda: len(numbers(items)) == 4)
        return numbers(items)[0], bool(twin.device.connections)

    assert scenario(body) == ((Kind.PRESSURE_SYSTOLIC, 121), False)


def test_one_configured_where_another_kind_stands_is_unexpected_and_leaves_the_radio_to_others():
    async def body(rig):
        peripheral, value = await rig.berry()
        _, task = rig.start(open_driver("polar-h10", BERRY, radio=rig.radio))
        await asyncio.wait_for(asyncio.gather(task, return_exceptions=True), 15)
        rig.start(open_driver("berry-bm1000", BERRY, radio=rig.radio))
        await until(lambda: peripheral.subscribed(value))
        return type(task.exception()).__name__

    assert scenario(body) == "InstrumentError"


def test_a_cancellation_that_a_library_swallows_is_asked_for_again(monkeypatch):
    """Python 3.11's wait_for does so; a driver that waited for its reading would never end."""

    async def body(rig):
        reading, swallowed = asyncio.Event(), asyncio.Event()

        async def value(*_):
            reading.set()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                swallowed.set()
            return b"1"

        cuff_value = indicating("2A35")
        cuff = await there(rig, "and-ua651ble", cuff_value)
        _, task = rig.start(open_driver("and-ua651ble", HERE, radio=rig.radio))
        monkeypatch.setattr(BleDriver, "_value", value)
        await until(lambda: cuff.subscribed(cuff_value) and reading.is_set())
        task.cancel()
        await asyncio.wait({task}, timeout=10)
        return task.done(), swallowed.is_set()

    assert scenario(body) == (True, True)
