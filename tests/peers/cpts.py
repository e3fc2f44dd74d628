"""A small health community for tests: an authority, bags, a hub's keys, every kind of message, a hand-driven clock."""

import os
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from agent.clock import Source
from agent.model import (
    Cause,
    ChainStage,
    GapReason,
    Happening,
    InstrumentState,
    Kind,
    Media,
    NoValue,
    ReadingQuality,
    Signal,
    Unit,
)
from agent.transport import seal
from agent.transport.epoch import Epoch
from agent.transport.identity import Identity
from agent.transport.messages import (
    AnalysisBody,
    AnchorBody,
    Batch,
    Command,
    CustodyBody,
    EpochHeader,
    EpochReason,
    EpochReceipt,
    EventBody,
    FileBody,
    GapBody,
    GaveWayBody,
    InstrumentBirth,
    Lacks,
    Order,
    Preview,
    PreviousEpoch,
    ReadingBody,
    Receipt,
    Record,
    Scaled,
    SignedHeader,
    State,
    StreamBirth,
    TimeAnswer,
    TimeAsk,
    VisitBody,
    VisitStep,
    Waveform,
    WireBeat,
    WireEvent,
    WirePulse,
    WireQuality,
    WireSound,
    WireSpo2,
)
from hub.keys import Keyring
from provisioning.authority import Authority, certificate_pem, key_pem

BAG = "sac-04"


@dataclass
class HandClock:
    """A clock that moves when a test says so; it begins an hour after the boot."""

    boot_id: bytes = bytes(range(16))
    t_ns: int = 3_600_000_000_000
    utc: int = 1_790_000_000_000_000

    def now_ns(self) -> int:
        return self.t_ns

    def utc_us(self) -> int:
        return self.utc + self.t_ns // 1000

    def forward(self, seconds: float) -> None:
        self.t_ns += round(seconds * 1e9)


_roots = cache(Authority.new)
_hub_keys = cache(lambda _name: X25519PrivateKey.generate())


def authority(name: str = "CPTS") -> Authority:
    """One root of this name for the whole test run."""
    return _roots(name)


def hub_key(name: str = "hub") -> X25519PrivateKey:
    return _hub_keys(name)


@cache
def _identity(name: str, by: str, hub: str) -> Identity:
    key = ec.generate_private_key(ec.SECP256R1())
    return Identity(authority(by).issue_client(name, key.public_key()), key, hub_key(hub).public_key())


def identity(name: str = BAG, *, by: str = "CPTS", hub: str = "hub") -> Identity:
    return _identity(name, by, hub)


def write_identity(folder: Path) -> None:
    """The bag's files as enrolment leaves them."""
    me = identity()
    (folder / "sac-04.pem").write_bytes(certificate_pem(me.certificate))
    (folder / "sac-04.key").write_bytes(key_pem(me.key))
    public = me.hub_key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (folder / "hub.pub").write_bytes(public)
    (folder / "root.pem").write_bytes(certificate_pem(authority().certificate))


def keyring() -> Keyring:
    """A hub process's keys: each has a session id of its own."""
    return Keyring(authority().certificate, hub_key())


@dataclass
class Bags:
    """Begins epochs as a bag's outbox would, one after the other."""

    name: str = BAG
    chain: bytes = field(default_factory=lambda: os.urandom(8))
    number: int = 0
    boot_id: bytes = bytes(range(16))

    def epoch(self, previous: PreviousEpoch | None = None, **changed) -> Epoch:
        self.number += 1
        settings = {
            "boot_id": self.boot_id,
            "t_us": 1_000_000 * self.number,
            "reason": EpochReason.START,
            "chain": self.chain,
            "number": self.number,
            "previous": previous,
        }
        return Epoch(identity(self.name), **{**settings, **changed})


def batch(t_ms: int = 1, visit: bytes | None = None, *records: Record) -> Batch:
    return Batch(t_ms, visit, records or (Record(0, 0, 0, VisitBody(VisitStep.OPEN, "0042")),))


BODIES = {
    "waveform": Waveform(b"\x01\x02\x03"),
    "stream birth": StreamBirth(
        "h.ecg", Signal.ECG, "h", 125_000, Scaled(-25, -5), "mV", 24, (ChainStage("EcgFilter", "0.5-40 Hz", 1),), "II",
        131_330,
    ),
    "stream birth, least": StreamBirth("p", Signal.PLETH, "b", 1, Scaled(1, 0), "1", 1, ()),
    "instrument birth": InstrumentBirth("berry-bm1000", "BM1000", "1234", "é2"),
    "instrument birth, least": InstrumentBirth("k", ""),
    "gap": GapBody(125, GapReason.LINK),
    "reading": ReadingBody(Kind.SPO2, 97),
    "reading, all of it": ReadingBody(
        Kind.PRESSURE_SYSTOLIC, 128, Unit.KG, -1, ReadingQuality.QUESTIONABLE, "arm", "2026-11-21T20:00:00", 7,
        ("irregular pulse",),
    ),
    "reading, none": ReadingBody(Kind.SPO2, NoValue.PROBE_OFF, quality=ReadingQuality.NONE),
    "analysis": AnalysisBody(
        beats=(WireBeat(17, 1), WireBeat(140, -61)), pulses=(WirePulse(-5, None), WirePulse(9, 250)),
        sounds=(WireSound(0, 1), WireSound(300_000, 2)),
        quality=(WireQuality(0, 0, Lacks(b"\x61", Cause.NOISE)), WireQuality(125, 125, Lacks(b"\2\0", None))),
        events=(WireEvent(4, Happening.LEAD_OFF),), rate=723, spo2=WireSpo2(1, 975, 400),
    ),
    "analysis, none": AnalysisBody(rate=NoValue.NO_BEATS, spo2=WireSpo2(0, NoValue.MOTION, 0)),
    "event": EventBody(InstrumentState.FAILED, "failed", "silent"),
    "event, least": EventBody(None, "", ""),
    "visit": VisitBody(VisitStep.OPEN, "0042", b"nurse1"),
    "visit, of nobody's bag": VisitBody(VisitStep.CLOSE, "0042"),
    "anchor": AnchorBody(1_790_000_000_000_000, 100_000, Source.NTP),
    "custody": CustodyBody(b"entry"),
    "gave way": GaveWayBody(b"epoch0", 7, 9),
    "file": FileBody(Media.SCP_ECG, bytes(32), 1, 2, b"end"),
}  # fmt: skip

HEADER = EpochHeader(
    BAG, b"epoch1", b"hubkeyid", bytes(80), bytes(64), bytes(16), 5, "0.1.0", EpochReason.START, True, b"outbox-1", 1,
    PreviousEpoch(b"epoch0", -1),
)  # fmt: skip

MESSAGES = {
    **{f"batch: {name}": Batch(2**40, bytes(16), (Record(3, 2**33, -1000, body),)) for name, body in BODIES.items()},
    "batch: outside a visit": Batch(0, None, ()),
    "batch: several records": Batch(
        5,
        None,
        (
            Record(1, 0, -999, BODIES["waveform"]),
            Record(2, 0, -1003, BODIES["waveform"]),
            Record(2, 0, 1, BODIES["gap"]),
        ),
    ),
    "receipt": Receipt((EpochReceipt(b"epoch1", -1, ()), EpochReceipt(b"epoch2", 7, ((9, 9), (11, 2**32 - 1))))),
    "receipt: none": Receipt(()),
    "command": Command(3, Order.WATCH),
    "state": State(True, 3, "0.1.0"),
    "time ask": TimeAsk(123),
    "preview": Preview(123, bytes(16), "camera", b"\xff\xd8\xff\xd9"),
    "time answer": TimeAnswer(123, -1, 2**62),
    "header": HEADER,
    "header: the first": EpochHeader(
        BAG, b"epoch1", b"hubkeyid", bytes(80), bytes(64), bytes(16), 0, "", EpochReason.AGE, False, bytes(8), 0
    ),
    "signed header": SignedHeader(bytes(64), bytes(64)),
}


def bit_flips(data: bytes):
    """Every message that differs from `data` in one bit."""
    for at in range(len(data)):
        for bit in range(8):
            yield data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]


def sealed_row(epoch: Epoch, seq: int, plaintext: bytes) -> bytes:
    """A row as `Epoch.row` seals it, with any content."""
    return epoch.up.seal(seal.Lane.ROW, seq, plaintext)
