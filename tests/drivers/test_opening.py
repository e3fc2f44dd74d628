"""Opening an instrument imports what its transport needs, and nothing before."""

import subprocess
import sys

import pytest

from agent.drivers.opening import open_driver
from agent.errors import InstrumentError, InstrumentReason


def test_unknown_keys_and_a_missing_radio_are_said():
    with pytest.raises(InstrumentError) as error:
        open_driver("thermomix", "/dev/null")
    assert error.value.reason is InstrumentReason.NOT_FOUND
    with pytest.raises(InstrumentError) as error:
        open_driver("berry-bm1000", "C0:00:00:00:00:01")
    assert error.value.reason is InstrumentReason.STACK_DOWN


def test_importing_it_imports_no_transport():
    code = "import sys, agent.drivers.opening; print(sorted({'bleak','serial','scipy','bumble'} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
