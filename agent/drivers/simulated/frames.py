"""The instruments' own bytes, written from their specifications and independently of the decoders."""

import struct
from datetime import datetime

import numpy as np

from agent.model import Samples

HEALTHYPI4 = np.dtype(
    [
        ("start", "S2"), ("length", "<u2"), ("kind", "u1"),
        ("ecg", "<i2"), ("respiration", "<i2"), ("infrared", "<i4"), ("red", "<i4"), ("temperature", "<u2"),
        ("respiration_rate", "u1"), ("spo2", "u1"), ("heart_rate", "u1"),
        ("systolic", "u1"), ("diastolic", "u1"), ("leads", "u1"), ("stop", ">u2"),
    ]
)  # fmt: skip


def healthypi4(
    ecg: Samples, respiration: Samples, infrared: Samples, red: Samples, *, temperature_cc: int, numbers: bytes
) -> bytes:
    """HealthyPi v4 frames; `temperature_cc` in hundredths of a degree, `numbers` breaths, SpO2, heart rate."""
    frames = np.zeros(len(ecg), HEALTHYPI4)
    frames["start"] = b"\x0a\xfa"
    frames["length"] = 20
    frames["kind"] = 2
    frames["ecg"] = ecg
    frames["respiration"] = respiration
    frames["infrared"] = infrared
    frames["red"] = red
    frames["temperature"] = temperature_cc
    frames["respiration_rate"], frames["spo2"], frames["heart_rate"] = numbers
    frames["systolic"] = 80
    frames["diastolic"] = 120
    frames["stop"] = 0x000B
    return frames.tobytes()


def bci(pleth: Samples, *, spo2: int, rate: int, strength: int = 8) -> bytes:
    """BCI packets of 5 bytes: one per pleth sample (0..127)."""
    packets = np.zeros((len(pleth), 5), np.uint8)
    packets[:, 0] = 0x80 | strength & 0x0F
    packets[:, 1] = pleth
    packets[:, 2] = (np.minimum(pleth // 8, 15) | (rate >> 7 & 1) << 6).astype(np.uint8)
    packets[:, 3] = rate & 0x7F
    packets[:, 4] = spo2
    return packets.tobytes()


def sound(index: int, samples: Samples) -> bytes:
    """A frame of the sound socket."""
    return struct.pack("<QI", index, len(samples)) + samples.astype("<i2").tobytes()


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
