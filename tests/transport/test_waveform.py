"""The lossless waveform codec: every int32 input comes back bit for bit, hostile bytes raise WireError."""

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import WireError
from agent.transport.waveform import decode, encode

INT32 = np.iinfo(np.int32)


@given(hnp.arrays(np.int32, st.integers(0, 300)))
def test_any_int32_comes_back(x):
    assert np.array_equal(decode(encode(x)), x)


@given(hnp.arrays(np.int32, st.integers(0, 300), elements=st.integers(-50, 50)))
def test_small_values_come_back(x):
    assert np.array_equal(decode(encode(x)), x)


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_hostile_bytes_raise_only_wire_error(data):
    try:
        x = decode(data)
    except WireError:
        return
    assert x.dtype == np.int32


@given(hnp.arrays(np.int32, st.integers(2, 80), elements=st.integers(-500, 500)), st.data())
def test_damaged_blocks_raise_only_wire_error(x, data):
    block = bytearray(encode(x))
    block[data.draw(st.integers(0, len(block) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        decode(bytes(block))
    except WireError:
        return


def test_extremes():
    x = np.array([INT32.min, INT32.max] * 100, np.int32)
    assert np.array_equal(decode(encode(x)), x)


def test_wrong_type_is_refused():
    with pytest.raises(ValueError):
        encode(np.zeros(3))
