"""A second tool reads wire.cddl: zcbor, which shares no line with the one of test_cddl.py, comes to the same verdicts.

It needs an environment of its own: `make build/peers-cddl/done`, or BESACE_CDDL_PYTHON names its python.
"""

import os
import random
import subprocess
from pathlib import Path

import pytest

from agent.transport import cbor
from tests.transport.test_cddl import ENCODED, SCHEMA, SCHEMA_FILE, backwards, mutations, understood

ROOT = Path(__file__).parents[2]
PYTHON = Path(os.environ.get("BESACE_CDDL_PYTHON", ROOT / "build/peers-cddl/bin/python"))
CHANGES = 4  # of each message: the tool takes a tenth of a second for one


def valid(messages):
    """Whether zcbor takes each of them."""
    done = subprocess.run(
        [PYTHON, ROOT / "tests/peers/cddl_reader.py", SCHEMA_FILE], input="\n".join(m.hex() for m in messages),
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    said = done.stdout.splitlines()
    assert set(said) <= {"valid", "refused"}
    return [word == "valid" for word in said]


def changed(name):
    """Some messages that differ from one of ours in one place, and whether wire.py understands them."""
    item = cbor.loads(ENCODED[name], max_bytes=1 << 20)
    for other in random.Random(name).sample(list(mutations(item)), CHANGES):
        try:
            data = cbor.dumps(other)
        except ValueError:  # nested too deep, or beyond 64 bits: no CBOR of ours
            continue
        if name == "receipt" and SCHEMA.validate(data).valid and backwards(other):
            continue
        yield data, understood(data)


@pytest.mark.skipif(not PYTHON.exists(), reason="zcbor's environment is not there: make build/peers-cddl/done")
def test_zcbor_takes_every_message_and_refuses_what_we_refuse():
    assert all(valid(ENCODED.values())), list(ENCODED)
    messages, ours = zip(*(pair for name in ENCODED for pair in changed(name)), strict=True)
    assert not all(ours)
    differing = [m.hex() for m, us, them in zip(messages, ours, valid(messages), strict=True) if us != them]
    assert differing == []
