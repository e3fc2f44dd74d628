"""Values of GATT characteristics, written from their specifications and independently of the decoders."""

import struct
from collections.abc import Iterable
from datetime import datetime

from agent.model import Samples


def sfloat(mantissa: int, exponent: int = 0) -> bytes:
    """A 16-bit 11073 float."""
    return ((exponent & 0xF) << 12 | mantissa & 0xFFF).to_bytes(2, "little")


def float32(mantissa: int, exponent: int = 0) -> bytes:
    """A 32-bit 11073 float."""
    return ((exponent & 0xFF) << 24 | mantissa & 0xFFFFFF).to_bytes(4, "little")


def date_time(when: datetime) -> bytes:
    """A GATT Date Time."""
    return struct.pack("<HBBBBB", when.year, when.month, when.day, when.hour, when.minute, when.second)


def blood_pressure(systolic: int, diastolic: int, mean: int, pulse: int, when: datetime, status: int = 0) -> bytes:
    """A Blood Pressure Measurement in mmHg with time, pulse and status."""
    pressures = sfloat(systolic) + sfloat(diastolic) + sfloat(mean)
    return b"\x16" + pressures + date_time(when) + sfloat(pulse) + status.to_bytes(2, "little")


def temperature(tenths: int, when: datetime, site: int) -> bytes:
    """A Temperature Measurement in degrees Celsius with time and site."""
    return b"\x06" + float32(tenths, -1) + date_time(when) + bytes((site,))


def plx_spot(spo2: int, rate: int, when: datetime, amplitude_tenths: int, *, clock_set: bool = True) -> bytes:
    """A PLX Spot-check Measurement with time and pulse amplitude."""
    flags = 0x01 | 0x08 | (0x00 if clock_set else 0x10)
    return bytes((flags,)) + sfloat(spo2) + sfloat(rate) + date_time(when) + sfloat(amplitude_tenths, -1)


def plx_continuous(spo2: int, rate: int, status: int) -> bytes:
    """A PLX Continuous Measurement: normal and fast pair, measurement status."""
    pair = sfloat(spo2) + sfloat(rate)
    return b"\x05" + pair + sfloat(99) + sfloat(199) + status.to_bytes(2, "little")


def heart_rate(rate: int, intervals_1024: Iterable[int] = ()) -> bytes:
    """A Heart Rate Measurement, contact known and good, with RR intervals in 1/1024 s."""
    wide = rate > 255
    head = bytes((0x16 | wide,)) + rate.to_bytes(2 if wide else 1, "little")
    return head + b"".join(interval.to_bytes(2, "little") for interval in intervals_1024)


def weight(counts: int, when: datetime, *, pounds: bool = False, user: int = 0xFF) -> bytes:
    """A Weight Measurement in counts of 5 g (or 0.01 lb) with time and user."""
    return bytes((0x06 | pounds,)) + counts.to_bytes(2, "little") + date_time(when) + bytes((user,))


def glucose(sequence: int, mg_per_dl: int, when: datetime, *, offset_min: int = 0, sample: int = 0x11) -> bytes:
    """A Glucose Measurement in kg/L with time offset, sample type and location, and status."""
    head = b"\x0b" + sequence.to_bytes(2, "little") + date_time(when) + struct.pack("<h", offset_min)
    return head + sfloat(mg_per_dl, -5) + bytes((sample, 0, 0))


def glucose_context(sequence: int, meal: int) -> bytes:
    """A Glucose Measurement Context with carbohydrates, meal and health."""
    return b"\x07" + sequence.to_bytes(2, "little") + b"\x01" + sfloat(80, -3) + bytes((meal, 0x51))


def access_answer(asked: int, code: int) -> bytes:
    """The Record Access Control Point's response to the operation `asked`."""
    return bytes((0x06, 0x00, asked, code))


def nonin_pleth(pleth: Samples, counter: int) -> bytes:
    """A Nonin 3150's notification of 25 samples."""
    return b"\x35" + pleth.astype(">u2").tobytes() + counter.to_bytes(2, "big")


def nonin_numerics(spo2: int, rate: int, amplitude_hundredths: int, *, status: int = 0x14, battery: int = 29) -> bytes:
    """A Nonin 3150's numerics; `status` says SmartPoint and finger unless told, `battery` in 0.1 V."""
    return struct.pack(">BBBHHBH", 10, status, battery, amplitude_hundredths, 7, spo2, rate)


def contec(spo2: int, rate: int) -> bytes:
    """A measurement of a Contec oximeter over the air."""
    body = (0xEB, 0x01, rate >> 7 << 1, rate & 0x7F, spo2, 0, 0)
    return bytes((*body, sum(body) & 0x7F))


def polar_ecg(own_ns: int, microvolts: Samples) -> bytes:
    """An ECG frame of Polar's PMD; `own_ns`: of the last sample, since 2000."""
    samples = b"".join(value.to_bytes(3, "little", signed=True) for value in microvolts.tolist())
    return struct.pack("<BQB", 0, own_ns, 0) + samples
