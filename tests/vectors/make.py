"""Writes delivery.json beside this file: fixed keys, what is on the wire, and what a receiver must get out of it.

    python -m tests.vectors.make

The epoch key, the X25519 keys and every message are fixed; the device's signature is not (ECDSA is random), so running
this again changes `header` alone. tests/transport/test_vectors.py reads the file with nothing of the project's.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from agent.clock import Anchor, Source
from agent.model import Gap, GapReason, Instrument, Kind, Reading, SampleBlock, Signal, Stream, Unit
from agent.transport import epoch as epochs
from agent.transport import seal, sequence, wire
from agent.transport.identity import Identity
from agent.transport.messages import (
    Command,
    EpochReason,
    EpochReceipt,
    Order,
    PreviousEpoch,
    Receipt,
    State,
    VisitBody,
    VisitStep,
)
from agent.transport.records import RecordWriter
from provisioning.authority import certificate_pem
from tests.peers.cpts import BAG, authority, identity

PATH = Path(__file__).with_name("delivery.json")
SESSION = bytes.fromhex("a0a1a2a3a4a5a6a7a8a9aaabacadaeaf")
NOW_NS = 3_600_000_000_000


def _fixed(label: str, size: int) -> bytes:
    return hashlib.sha512(label.encode()).digest()[:size]


def _batches():
    writer = RecordWriter()
    ecg = Stream("healthypi-4.ecg", Signal.ECG, "healthypi-4", 125.0, 1.5625e-05, "mV", "II", 131_330, 24)
    writer.instrument(Instrument("healthypi-4", "HealthyPi v4"), NOW_NS)
    writer.stream(ecg, (), NOW_NS)
    writer.add(Anchor(NOW_NS, 1_790_000_000_000_000, 100_000, Source.NTP))
    yield from writer.cut(NOW_NS, None)
    visit = _fixed("visit", 16)
    writer.bag(VisitBody(VisitStep.OPEN, "0042", _fixed("badge", 6)), NOW_NS)
    samples = np.round(2000 * np.sin(np.arange(125) / 5)).astype(np.int32)
    writer.add(SampleBlock(ecg.name, 0, NOW_NS, samples))
    writer.add(Gap(ecg.name, 125, 25, NOW_NS + 10**9, GapReason.LINK))
    writer.add(Reading("healthypi-4", Kind.TEMPERATURE, Unit.DEGC, NOW_NS + 5 * 10**8, 364, -1))
    yield from writer.cut(NOW_NS + 2 * 10**9, visit)


def vectors() -> dict[str, object]:
    hub = X25519PrivateKey.from_private_bytes(_fixed("hub", 32))
    me = identity()
    me = Identity(me.certificate, me.key, hub.public_key())
    randoms = iter([_fixed("epoch", 6), _fixed("epoch key", 32)])
    usual, epochs.os.urandom = epochs.os.urandom, lambda _: next(randoms)
    try:
        epoch = epochs.Epoch(
            me, boot_id=_fixed("boot", 16), t_us=NOW_NS // 1000, reason=EpochReason.START, chain=_fixed("chain", 8),
            number=7, previous=PreviousEpoch(_fixed("before", 6), 41), demo=True,
        )  # fmt: skip
    finally:
        epochs.os.urandom = usual
    key = _fixed("epoch key", 32)
    hub_side = seal.DownSealer(epoch.id, key, BAG, SESSION)
    state = wire.encode(State(online=True, session=1, software="0.1.0"))
    batches = [wire.encode(batch) for batch in _batches()]
    rows = [epoch.up.seal(seal.Lane.ROW, seq, plaintext) for seq, plaintext in enumerate(batches, 1)]
    receipt = wire.encode(Receipt((EpochReceipt(epoch.id, 1, ((3, 4),)),)))
    command = wire.encode(Command(1, Order.WATCH))
    sealed_state = epoch.up.seal(seal.Lane.STATE, 1, state)
    up, down = f"besace/v1/{BAG}/up/", f"besace/v1/{BAG}/down/"
    return {
        "device": BAG,
        "root_pem": certificate_pem(authority().certificate).decode(),
        "hub_private_x25519": hub.private_bytes_raw().hex(),
        "epoch": epoch.id.hex(),
        "epoch_key": key.hex(),
        "messages": [
            {"topic": up + "state", "payload": sequence.join([epoch.header.payload, sealed_state]).hex(),
             "rows": ["", state.hex()]},
            {"topic": up + "live", "payload": rows[0].hex(), "rows": [batches[0].hex()]},
            {"topic": up + "backlog", "payload": sequence.join([epoch.header.payload, *rows]).hex(),
             "rows": ["", *(plaintext.hex() for plaintext in batches)]},
            {"topic": down + "receipt", "payload": hub_side.seal(seal.Lane.RECEIPT, receipt).hex(),
             "rows": [receipt.hex()]},
            {"topic": down + "command", "payload": hub_side.seal(seal.Lane.COMMAND, command).hex(),
             "rows": [command.hex()]},
        ],
    }  # fmt: skip


if __name__ == "__main__":
    PATH.write_text(json.dumps(vectors(), indent=1) + "\n")
