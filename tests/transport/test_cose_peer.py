"""What the bag seals opens with python-cwt, a COSE library that knows nothing of us.

It needs an environment of its own: `make build/peers-cose/done`, or BESACE_COSE_PYTHON names its python.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest

from agent.transport import seal

ROOT = Path(__file__).parents[2]
PYTHON = Path(os.environ.get("BESACE_COSE_PYTHON", ROOT / "build/peers-cose/bin/python"))
KEY, DEVICE = bytes(range(32)), "sac-04"
UP = seal.UpKeys(b"epoch1", KEY, DEVICE)


def opened(*asked):
    lines = "\n".join(json.dumps({name: value.hex() for name, value in one.items()}) for one in asked)
    reader = ROOT / "tests/peers/cose_reader.py"
    done = subprocess.run([PYTHON, reader], input=lines, capture_output=True, text=True, timeout=60, check=True)
    return [None if line == "refused" else bytes.fromhex(line) for line in done.stdout.splitlines()]


def ask(lane, sealed, **changed):
    key = seal.lane_key(KEY, DEVICE, lane)
    usual = {"key": key.key, "base_iv": key.base_iv, "device": DEVICE.encode(), "message": UP.cose(sealed)}
    return usual | changed


@pytest.mark.skipif(not PYTHON.exists(), reason="python-cwt's environment is not there: make build/peers-cose/done")
def test_python_cwt_opens_every_lane_and_refuses_what_was_changed():
    said = [
        (lane, counter, os.urandom(n)) for lane in sorted(seal.UP_LANES) for counter, n in ((1, 0), (2**32 - 1, 900))
    ]
    asked = [ask(lane, UP.seal(lane, counter, plaintext)) for lane, counter, plaintext in said]
    good = asked[1]
    flipped = good["message"][:-1] + bytes([good["message"][-1] ^ 1])
    asked += [good | {"device": b"sac-05"}, good | {"key": bytes(32)}, good | {"message": flipped}]
    assert opened(*asked) == [*(plaintext for _, _, plaintext in said), None, None, None]
