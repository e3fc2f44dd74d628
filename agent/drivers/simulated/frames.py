"""Instruments' own frames over wire and air, written from their specifications and independently of the decoders."""

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


HEALTHYPI5_OPENVIEW = np.dtype(
    [
        ("ecg", "<i4"), ("respiration", "<i4"), ("skip", "u1"), ("red", "<i4"), ("infrared", "<i4"),
        ("temperature", "<i2"), ("spo2", "u1"), ("heart_rate", "u1"), ("respiration_rate", "u1"),
    ]
)  # fmt: skip


def healthypi5_openview(
    ecg: Samples, respiration: Samples, infrared: Samples, red: Samples, *, temperature_cc: int, numbers: bytes
) -> bytes:
    """HealthyPi 5 frames of type 2, arguments as `healthypi4`'s; every second respiration sample is a new one."""
    bodies = np.zeros(len(ecg), HEALTHYPI5_OPENVIEW)
    bodies["ecg"], bodies["respiration"] = ecg, respiration
    bodies["skip"] = np.where(np.arange(len(ecg)) % 2, 0xFF, 0)
    bodies["red"], bodies["infrared"], bodies["temperature"] = red, infrared, temperature_cc
    bodies["respiration_rate"], bodies["spo2"], bodies["heart_rate"] = numbers
    return b"".join(_healthypi5(2, body.tobytes()) for body in bodies)


def healthypi5_ecg(ecg: Samples, respiration: Samples, *, rate: int, breaths: int) -> bytes:
    """A HealthyPi 5 frame of type 3: 8 ECG and 4 respiration samples, heart rate, breaths."""
    body = struct.pack("<8i4iBB", *ecg.tolist(), *respiration.tolist(), rate, breaths)
    return _healthypi5(3, body)


def healthypi5_pleth(pleth: Samples, *, spo2: int, temperature_cc: int) -> bytes:
    """A HealthyPi 5 frame of type 4: 8 samples, SpO2, and the upper byte of the temperature twice, as it does."""
    return _healthypi5(4, struct.pack("<8hB", *pleth.tolist(), spo2) + bytes((temperature_cc >> 8,)) * 2)


def _healthypi5(kind: int, body: bytes) -> bytes:
    return b"\x0a\xfa" + struct.pack("<HB", len(body), kind) + body + b"\x00\x0b"


def nonin(pleth: Samples, *, spo2: int, rate: int, wide: bool, status: int = 0, battery_low: bool = False) -> bytes:
    """A packet of Nonin's format 7 (`wide`) or 2: 25 frames; SpO2 127 and rate 511 stand for none."""
    high, low = rate >> 7 & 0x03, rate & 0x7F
    floats = {1: high, 2: low, 3: spo2, 4: 48, 8: battery_low, 9: spo2, 14: high, 15: low, 16: spo2, 20: high, 21: low}
    packet = bytearray()
    for n, sample in enumerate(pleth.tolist(), 1):
        flags = 0x80 | status | (n == 1)
        body = [flags, *divmod(sample, 256)] if wide else [1, flags, sample]
        body.append(floats.get(n, 0))
        packet += bytes((*body, sum(body) % 256))
    return bytes(packet)


def nonin_spot(when: datetime, *, spo2: int, rate: int, smart_point: bool = True, from_memory: bool = False) -> bytes:
    """A packet of Nonin's format 13."""
    status = smart_point << 9 | from_memory << 4
    clock = (when.year // 100, when.year % 100, when.month, when.day, when.hour, when.minute, when.second, 0)
    data = bytes(clock) + struct.pack(">HHBB", status, rate, 0, spo2)
    return bytes.fromhex("0002000d000e") + data + bytes((sum(data) % 256, 3))


def contec(pleth: Samples, *, spo2: int, rate: int, status: int = 8, searching: bool = False) -> bytes:
    """Contec's packets of 9 bytes: one per pleth sample (0..127)."""
    packets = bytearray()
    for sample in pleth.tolist():
        plain = (status, sample | searching << 7, sample >> 3, rate, spo2, 0, 0)
        tops = sum((byte >> 7) << place for place, byte in enumerate(plain))
        packets += bytes((0x01, 0x80 | tops, *(0x80 | byte for byte in plain)))
    return bytes(packets)


def masimo(*, spo2: str = "---", rate: str = "---", perfusion: str = "--.--", exceptions: int = 0x800) -> bytes:
    """A line of Masimo's ASCII 1; three dashes are no value."""
    fixed = "DESAT=-- PIDELTA=+-- ALARM=0000"
    text = f"03/09/26 14:20:05 SN=0000070628 SPO2={spo2}% BPM={rate} PI={perfusion}% {fixed} EXC={exceptions:06X}"
    return f"{text}\r\n".encode()
