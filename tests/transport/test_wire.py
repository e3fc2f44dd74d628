"""Messages: what is written is read back; anything else is WireError, never a half-understood message."""

import dataclasses
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import WireError
from agent.transport import wire
from agent.transport.messages import Batch, Command, Order, Receipt, Record, VisitBody, VisitStep, Waveform
from tests.peers.cpts import MESSAGES

ENCODED = {name: wire.encode(message) for name, message in MESSAGES.items()}


@pytest.mark.parametrize("name", MESSAGES)
def test_every_kind_is_read_as_it_was_written(name):
    assert wire.decode(ENCODED[name]) == MESSAGES[name]


def test_the_samples_here_hold_every_message_and_every_body():
    kinds = {type(message) for message in MESSAGES.values()}
    bodies = {type(r.body) for m in MESSAGES.values() if isinstance(m, Batch) for r in m.records}
    assert kinds == wire._MESSAGE.kinds
    assert bodies == wire._BODY.kinds


@pytest.mark.parametrize(
    ("message", "encoded"),
    [
        (Command(3, Order.UNWATCH), "83030301"),
        (Receipt(()), "820280"),
        (Batch(1, None, ()), "840101f680"),
        (
            Batch(1, None, (Record(0, 0, -1, VisitBody(VisitStep.OPEN, "0042")),)),
            "840101f6840000208406006430303432f6",
        ),
        (
            Batch(1, None, (Record(0, 0, -1, VisitBody(VisitStep.OPEN, "0042", b"nurse1")),)),
            "840101f6840000208406006430303432466e7572736531",
        ),
    ],
)  # fmt: skip
def test_the_bytes_themselves(message, encoded):
    assert wire.encode(message).hex() == encoded


def read_or_refused(data):
    """What must hold of any bytes at all."""
    try:
        message = wire.decode(data)
    except WireError:
        return
    assert wire.encode(message) == data


@pytest.mark.parametrize("name", ENCODED)
def test_every_single_byte_change_is_refused_or_another_message_s_only_form(name):
    data = ENCODED[name]
    chance = random.Random(name)
    for at in range(len(data)):
        flips = {data[at] ^ 1 << bit for bit in range(8)}
        others = set(range(256)) if len(data) < 32 else flips | set(chance.sample(range(256), 8))
        for byte in others - {data[at]}:
            read_or_refused(data[:at] + bytes([byte]) + data[at + 1 :])


@pytest.mark.parametrize("name", ENCODED)
def test_every_truncation_and_every_appended_byte_is_refused(name):
    data = ENCODED[name]
    for at in range(len(data)):
        with pytest.raises(WireError):
            wire.decode(data[:at])
    for byte in range(256):
        with pytest.raises(WireError):
            wire.decode(data + bytes([byte]))


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_any_bytes(data):
    read_or_refused(data)


@pytest.mark.parametrize(
    ("encoded", "why"),
    [
        ("", "nothing"), ("80", "no kind"), ("8163", "cut"), ("8100", "an unknown kind"), ("8118ff", "an unknown kind"),
        ("84f501f680", "true is no kind"), ("840120f680", "a negative time"),
        ("84011bffffffffffffffff" + "f680", "2^64-1"),
        ("840101" + "41ff" + "80", "a visit id of one byte"), ("85" + "0101f680" + "00", "one item more"),
        ("8301" + "01f6", "one less"), ("840101f6a0", "a map of records"), ("9f0101f680ff", "indefinite"),
        ("84190001" + "01f680", "a kind in three bytes"),
        ("840101f6840000" + "1a80000000" + "4101", "dt of 2^31"), ("840101f6830000" + "00", "a record cut off"),
        ("840101f684000000" + "40", "no waveform"), ("8202818346" + "00" * 6 + "21" + "80", "upto -2"),
        ("8202818346" + "00" * 6 + "00" + "81820403", "a range backwards"),
    ],
)  # fmt: skip
def test_refused(encoded, why):
    with pytest.raises(WireError):
        wire.decode(bytes.fromhex(encoded))


def test_a_message_longer_than_the_limit_is_neither_written_nor_read():
    long = Batch(0, None, (Record(1, 0, 0, Waveform(bytes(wire.MAX_BYTES))),))
    with pytest.raises(ValueError):
        wire.encode(long)
    with pytest.raises(WireError):
        wire.decode(bytes(wire.MAX_BYTES + 1))


def test_a_list_longer_than_its_limit_is_not_written():
    receipt = MESSAGES["receipt"].epochs[0]
    with pytest.raises(ValueError):
        wire.encode(Receipt((receipt,) * 257))
    with pytest.raises(ValueError):
        wire.encode(Receipt((dataclasses.replace(receipt, ranges=((5, 5),) * 257),)))


@pytest.mark.parametrize(
    "change", [{"stream": 2**32}, {"stream": -1}, {"seq": -1}, {"dt_ms": 2**31}, {"body": Waveform(b"")}]
)
def test_a_record_that_does_not_fit_is_known_before_it_spoils_a_batch(change):
    record = Record(0, 0, 0, VisitBody(VisitStep.OPEN, "0042"))
    assert wire.fits(record)
    assert not wire.fits(dataclasses.replace(record, **change))
