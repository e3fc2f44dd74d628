"""wire.cddl says exactly what wire.py does: every message both write, and what one refuses the other refuses."""

import random
from pathlib import Path

import pytest
from cddl_verifier import Validator

import agent.transport
from agent.errors import WireError
from agent.transport import cbor, wire
from tests.peers.cpts import MESSAGES

SCHEMA_FILE = Path(agent.transport.__file__).parent / "wire.cddl"
TEXT = SCHEMA_FILE.read_text()
SCHEMA = Validator(TEXT)
ENCODED = {name: wire.encode(message) for name, message in MESSAGES.items()}


@pytest.mark.parametrize("name", ENCODED)
def test_every_message_is_as_the_schema_says(name):
    result = SCHEMA.validate(ENCODED[name])
    assert result.valid, result.diagnostics


def mutations(item):
    """Every message that differs from `item` in one place: a value changed, left out, doubled, or of another kind."""
    if isinstance(item, list):
        for i, inner in enumerate(item):
            yield item[:i] + item[i + 1 :]
            yield [*item[:i], inner, *item[i:]]
            yield from ([*item[:i], changed, *item[i + 1 :]] for changed in mutations(inner))
    elif isinstance(item, dict):
        for key, inner in item.items():
            yield {k: v for k, v in item.items() if k != key}
            yield from (item | {key: changed} for changed in mutations(inner))
        yield item | {99: 0}
    elif isinstance(item, bool):
        yield from (0, None)
    elif isinstance(item, int):
        yield from (-item - 1, item + 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**32, 300, None, b"", "x", True)
    elif isinstance(item, bytes):
        yield from (item[:-1], item + b"\0", b"", 0, None, "text")
    elif isinstance(item, str):
        yield from (item[:-1], "", b"", 0, None)
    else:
        yield from (0, False, b"", "")


def understood(data):
    try:
        wire.decode(data)
    except WireError:
        return False
    return True


def backwards(item):
    """Whether a range in a receipt ends before it begins: CDDL cannot compare."""
    return any(r[0] > r[1] for _, _, ranges in item[1] for r in ranges if len(r) == 2 and None not in r)


@pytest.mark.parametrize("name", ENCODED)
def test_both_agree_on_what_is_not(name):
    """On every small change but the lengths of texts, which CDDL counts in bytes."""
    found = list(mutations(cbor.loads(ENCODED[name], max_bytes=1 << 20)))
    for changed in random.Random(name).sample(found, min(len(found), 60)):
        try:
            data = cbor.dumps(changed)
        except ValueError:  # nested too deep, or beyond 64 bits: no CBOR of ours
            continue
        if name == "receipt" and SCHEMA.validate(data).valid and backwards(changed):
            continue
        assert SCHEMA.validate(data).valid == understood(data), (name, changed)


def test_every_rule_is_used():
    rules = {line.split(" = ")[0] for line in TEXT.splitlines() if " = " in line and not line.startswith((" ", ";"))}
    for rule in rules - {"message"}:
        assert sum(rule in line.split(";")[0] for line in TEXT.splitlines()) > 1, rule
