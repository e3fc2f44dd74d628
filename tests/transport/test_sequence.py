"""Rows joined into one backlog message: a CBOR sequence of byte strings, read back strictly."""

from io import BytesIO

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import WireError
from agent.transport import sequence

ROWS = st.lists(st.binary(min_size=1, max_size=80), max_size=6)


@given(ROWS)
def test_what_is_joined_is_split(rows):
    assert sequence.split(sequence.join(rows)) == rows


def test_any_cbor_library_reads_it():
    rows = [b"a", b"b" * 70_000]
    stream = BytesIO(sequence.join(rows))
    assert [cbor2.load(stream), cbor2.load(stream)] == rows


@given(st.binary(max_size=60))
def test_any_bytes_are_a_sequence_or_refused(data):
    try:
        assert sequence.join(sequence.split(data)) == data
    except WireError:
        pass


@given(ROWS.filter(bool), st.data())
def test_a_cut_sequence_is_refused_or_shorter(rows, data):
    whole = sequence.join(rows)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    try:
        assert sequence.split(cut) == rows[: len(sequence.split(cut))]
    except WireError:
        pass


@pytest.mark.parametrize("hostile", ["5a00000001ff", "590000", "59ffff00", "5affffffff00", "41ff", "5f41ffff", "00"])
def test_refused(hostile):
    with pytest.raises(WireError):
        sequence.split(bytes.fromhex(hostile))
