"""The instruments a bag can carry: one row each, as data. `opening.py` opens one."""

import functools
from dataclasses import dataclass
from enum import Enum

from agent.model import Kind


class Transport(Enum):
    """How an instrument is reached."""

    SERIAL = "serial"
    BLE = "ble"
    SOUND = "sound"
    CAMERA = "camera"


NOT_CLINICAL = "Non clinique"


@dataclass(frozen=True, slots=True)
class Match:
    """What tells an instrument from others: parts of its /dev/serial/by-id name, of its radio name, its service."""

    by_id: tuple[str, ...] = ()
    radio_name: tuple[str, ...] = ()
    service: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of instrument.

    `decoder` is "module:class", imported when opened and given `options`; `site` the lead's or sensor site's name as
    screens print it; `ce_class` the medical CE class, "IVD" or "Non clinique"; `multi_patient`: its maker allows
    several patients; `essential`: a bag without it is not lendable; `tip` a key of display/fr.toml.
    `period_s`: how often it speaks by itself, None when it may be silent for ever. `start` and `repeat` are said to a
    serial instrument when it is opened and every 10 s; over the radio `write` is said once connected, and `repeat` on
    the first of its channels.
    """

    key: str
    model: str
    maker: str
    transport: Transport
    decoder: str
    match: Match
    site: str | None
    ce_class: str
    multi_patient: bool
    essential: bool
    kinds: tuple[Kind, ...]
    tip: str
    period_s: float | None = None
    baud: int = 115200
    parity: str = "N"
    start: bytes = b""
    repeat: bytes = b""
    notify: tuple[str, ...] = ()
    read: tuple[str, ...] = ()
    write: tuple[tuple[str, bytes], ...] = ()
    episodic: bool = False
    clock: str | None = None
    options: tuple[tuple[str, float], ...] = ()


# What oximeters share; a row may say otherwise.
_oximeter = functools.partial(
    Row,
    site="doigt",
    ce_class="IIb",
    multi_patient=True,
    essential=False,
    kinds=(Kind.SPO2, Kind.PULSE_RATE),
    tip="tip_finger_warm_still",
)

ROWS = (
    Row(
        key="and-ua651ble",
        model="UA-651BLE",
        maker="A&D Medical",
        transport=Transport.BLE,
        decoder="agent.drivers.gatt.blood_pressure:BloodPressureDecoder",
        match=Match(radio_name=("A&D_UA-651",), service="1810"),
        site="bras",
        ce_class="IIa",
        multi_patient=True,
        essential=True,
        kinds=(Kind.PRESSURE_SYSTOLIC, Kind.PRESSURE_DIASTOLIC, Kind.PRESSURE_MEAN, Kind.PULSE_RATE),
        tip="tip_cuff_start",
        notify=("2a35", "2a36"),
        episodic=True,
        clock="2a08",
    ),
    _oximeter(
        key="berry-bm1000",
        model="BM1000",
        maker="Shanghai Berry",
        transport=Transport.BLE,
        decoder="agent.drivers.berry:BciDecoder",
        match=Match(radio_name=("BerryMed",), service="49535343-fe7d-4ae5-8fa9-9fafd205e455"),
        essential=True,
        period_s=0.04,
        notify=("49535343-1e4d-4bd9-ba61-23c647249616",),
    ),
    Row(
        key="and-ut201ble",
        model="UT-201BLE",
        maker="A&D Medical",
        transport=Transport.BLE,
        decoder="agent.drivers.gatt.thermometer:ThermometerDecoder",
        match=Match(radio_name=("A&D_UT201", "A&D_UT-201"), service="1809"),
        site=None,
        ce_class="IIa",
        multi_patient=True,
        essential=True,
        kinds=(Kind.TEMPERATURE,),
        tip="tip_thermometer_on",
        notify=("2a1c",),
        read=("2a1d",),
        episodic=True,
        clock="2a08",
    ),
    Row(
        key="stethoscope",
        model="USB stethoscope",
        maker="any (USB Audio Class or line-in)",
        transport=Transport.SOUND,
        decoder="agent.drivers.stethoscope:StethoscopeDecoder",
        match=Match(),
        site=None,
        ce_class=NOT_CLINICAL,
        multi_patient=True,
        essential=True,
        kinds=(),
        tip="tip_stethoscope_skin",
        period_s=0.032,
    ),
    Row(
        key="healthypi-4",
        model="HealthyPi v4",
        maker="ProtoCentral",
        transport=Transport.SERIAL,
        decoder="agent.drivers.healthypi:HealthyPi4Decoder",
        match=Match(by_id=("Silicon_Labs_CP2102", "FTDI_FT231X")),
        site="DI",
        ce_class=NOT_CLINICAL,
        multi_patient=True,
        essential=False,
        kinds=(Kind.HEART_RATE, Kind.RESPIRATION_RATE, Kind.SPO2, Kind.TEMPERATURE),
        tip="tip_electrodes_moist",
        period_s=0.016,
    ),
    Row(
        key="camera",
        model="USB camera (otoscope, dermatoscope, wound)",
        maker="any (USB Video Class)",
        transport=Transport.CAMERA,
        decoder="agent.drivers.jpeg:FrameDecoder",
        match=Match(),
        site=None,
        ce_class=NOT_CLINICAL,
        multi_patient=True,
        essential=False,
        kinds=(),
        tip="tip_camera",
    ),
    Row(
        key="badge-scanner",
        model="USB-COM scanner",
        maker="any (CDC-ACM)",
        transport=Transport.SERIAL,
        decoder="agent.drivers.scanner:ScannerDecoder",
        match=Match(by_id=("Scanner", "Barcode", "Honeywell", "Datalogic", "Zebra")),
        site=None,
        ce_class=NOT_CLINICAL,
        multi_patient=True,
        essential=True,
        kinds=(),
        tip="tip_scan_badge",
    ),
    _oximeter(
        key="nonin-xpod",
        model="Xpod 3012 / OEM III (data format 7)",
        maker="Nonin",
        transport=Transport.SERIAL,
        decoder="agent.drivers.nonin:NoninDecoder",
        match=Match(by_id=("Nonin", "FTDI_FT232R")),
        period_s=1 / 3,
        baud=9600,
        start=bytes.fromhex("02 70 02 02 07 03"),
        options=(("wide", True),),
    ),
    _oximeter(
        key="nonin-df2",
        model="8500 / 9600 and other modules of data format 2",
        maker="Nonin",
        transport=Transport.SERIAL,
        decoder="agent.drivers.nonin:NoninDecoder",
        match=Match(by_id=("Nonin", "FTDI_FT232R")),
        period_s=1 / 3,
        baud=9600,
        start=bytes.fromhex("02 70 02 02 02 03"),
        options=(("wide", False),),
    ),
    _oximeter(
        key="nonin-spot",
        model="Onyx II 9560 and others of data format 13",
        maker="Nonin",
        transport=Transport.SERIAL,
        decoder="agent.drivers.nonin:NoninSpotDecoder",
        match=Match(by_id=("Nonin",)),
        baud=9600,
        start=bytes.fromhex("02 70 02 02 0d 03"),
    ),
    _oximeter(
        key="nonin-3150",
        model="WristOx2 3150 BLE",
        maker="Nonin",
        transport=Transport.BLE,
        decoder="agent.drivers.nonin3150:Nonin3150Decoder",
        match=Match(radio_name=("Nonin3150_",), service="46a970e0-0d5f-11e2-8b5e-0002a5d5c51b"),
        essential=True,
        kinds=(Kind.SPO2, Kind.PULSE_RATE, Kind.PERFUSION_INDEX),
        period_s=1.0,
        notify=("ec0a883a-4d24-11e7-b114-b2f933d5fe66", "0aad7ea0-0d60-11e2-8e3c-0002a5d5c51b"),
    ),
    _oximeter(
        key="contec-cms50-5byte",
        model="CMS50D / CMS60 (5-byte protocol)",
        maker="Contec",
        transport=Transport.SERIAL,
        decoder="agent.drivers.berry:BciDecoder",
        match=Match(by_id=("Silicon_Labs_CP2102",)),
        period_s=1 / 60,
        baud=19200,
        parity="O",
        options=(("fs_hz", 60.0),),
    ),
    _oximeter(
        key="contec-cms50-9byte",
        model="CMS50D+ / E / F, firmware 4.6 and later",
        maker="Contec",
        transport=Transport.SERIAL,
        decoder="agent.drivers.contec:ContecDecoder",
        match=Match(by_id=("Silicon_Labs_CP2102",)),
        period_s=1 / 60,
        start=bytes.fromhex("7d 81 a1 80 80 80 80 80 80"),
        repeat=bytes.fromhex("7d 81 af 80 80 80 80 80 80 7d 81 a1 80 80 80 80 80 80"),
    ),
    _oximeter(
        key="contec-ble",
        model="oximeters over BLE (CMS50D-BLE class, service FF12)",
        maker="Contec",
        transport=Transport.BLE,
        decoder="agent.drivers.contec_ble:ContecBleDecoder",
        match=Match(service="ff12"),
        period_s=1.0,
        notify=("ff02",),
        write=(("ff01", bytes.fromhex("9b 01 1c")),),
        repeat=bytes.fromhex("9b 01 1c"),
    ),
    _oximeter(
        key="plx-oximeter",
        model="any oximeter of the PLX profile",
        maker="any",
        transport=Transport.BLE,
        decoder="agent.drivers.gatt.pulse_oximeter:PulseOximeterDecoder",
        match=Match(service="1822"),
        kinds=(Kind.SPO2, Kind.PULSE_RATE, Kind.PERFUSION_INDEX),
        notify=("2a5f", "2a5e"),
        episodic=True,
        clock="2a2b",
    ),
    _oximeter(
        key="masimo-ascii1",
        model="Rad-5 / Rad-8 (ASCII 1)",
        maker="Masimo",
        transport=Transport.SERIAL,
        decoder="agent.drivers.masimo:MasimoDecoder",
        match=Match(by_id=("Prolific", "FTDI_FT232R")),
        kinds=(Kind.SPO2, Kind.PULSE_RATE, Kind.PERFUSION_INDEX),
        period_s=1.0,
        baud=9600,
    ),
    Row(
        key="heart-rate-strap",
        model="any strap of the Heart Rate profile",
        maker="any",
        transport=Transport.BLE,
        decoder="agent.drivers.gatt.heart_rate:HeartRateDecoder",
        match=Match(service="180d"),
        site="thorax",
        ce_class=NOT_CLINICAL,
        multi_patient=False,
        essential=False,
        kinds=(Kind.HEART_RATE,),
        tip="tip_strap_moist",
        period_s=1.0,
        notify=("2a37",),
    ),
    Row(
        key="polar-h10",
        model="H10",
        maker="Polar",
        transport=Transport.BLE,
        decoder="agent.drivers.polar:PolarDecoder",
        match=Match(radio_name=("Polar H10",), service="fb005c80-02e7-f387-1cad-8acd2d8df0c8"),
        site="dérivation non standard",
        ce_class=NOT_CLINICAL,
        multi_patient=False,
        essential=False,
        kinds=(),
        tip="tip_strap_moist",
        period_s=0.6,
        notify=("fb005c81-02e7-f387-1cad-8acd2d8df0c8", "fb005c82-02e7-f387-1cad-8acd2d8df0c8"),
        write=(("fb005c81-02e7-f387-1cad-8acd2d8df0c8", bytes.fromhex("02 00 00 01 82 00 01 01 0e 00")),),
    ),
    Row(
        key="and-uc352ble",
        model="UC-352BLE",
        maker="A&D Medical",
        transport=Transport.BLE,
        decoder="agent.drivers.gatt.weight_scale:WeightScaleDecoder",
        match=Match(radio_name=("A&D_UC-352",), service="181d"),
        site=None,
        ce_class=NOT_CLINICAL,
        multi_patient=True,
        essential=False,
        kinds=(Kind.WEIGHT,),
        tip="tip_scale_hard_floor",
        notify=("2a9d",),
        episodic=True,
        clock="2a08",
    ),
    Row(
        key="glucose-meter",
        model="any meter of the Glucose profile (Accu-Chek Guide class)",
        maker="any",
        transport=Transport.BLE,
        decoder="agent.drivers.gatt.glucose:GlucoseDecoder",
        match=Match(radio_name=("meter+",), service="1808"),
        site="doigt",
        ce_class="IVD",
        multi_patient=False,
        essential=False,
        kinds=(Kind.GLUCOSE,),
        tip="tip_strip_blood",
        notify=("2a18", "2a34", "2a52"),
        episodic=True,
        clock="2a2b",
    ),
    Row(
        key="healthypi-5",
        model="HealthyPi 5",
        maker="ProtoCentral",
        transport=Transport.SERIAL,
        decoder="agent.drivers.healthypi5:HealthyPi5Decoder",
        match=Match(by_id=("Protocentral", "HealthyPi")),
        site="DI",
        ce_class=NOT_CLINICAL,
        multi_patient=True,
        essential=False,
        kinds=(Kind.HEART_RATE, Kind.RESPIRATION_RATE, Kind.SPO2, Kind.TEMPERATURE),
        tip="tip_electrodes_moist",
        period_s=0.064,
    ),
)

CATALOGUE = {row.key: row for row in ROWS}
