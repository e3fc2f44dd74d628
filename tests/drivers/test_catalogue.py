"""The catalogue's rows hold what the rest of the bag relies on."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.drivers.catalogue import CATALOGUE, NOT_CLINICAL, ROWS, Transport
from agent.drivers.opening import decoder_for
from agent.drivers.readings import PLAUSIBLE
from agent.model import Instrument, Reading, Scan
from agent.transport.records import RecordWriter


def test_keys_are_unique_and_plain():
    assert len(CATALOGUE) == len(ROWS)
    assert all(key == key.lower() and set(key) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") for key in CATALOGUE)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.key)
def test_a_row_is_complete(row):
    decoder = decoder_for(row)
    names = [stream.name for stream in decoder.streams]
    assert len(set(names)) == len(names)
    assert all(stream.instrument == row.key and stream.name.startswith(f"{row.key}.") for stream in decoder.streams)
    assert all(stream.fs_hz > 0 and stream.gain > 0 for stream in decoder.streams)
    assert all(kind in PLAUSIBLE for kind in row.kinds)
    assert row.ce_class in {"I", "Im", "IIa", "IIb", "IVD", NOT_CLINICAL}
    assert row.period_s is not None or not decoder.streams  # a stream that falls silent is noticed
    assert bool(row.notify) == (row.transport is Transport.BLE)
    assert not (row.episodic and row.period_s)
    assert row.tip.startswith("tip_")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.key)
@given(pieces=st.lists(st.binary(max_size=80), max_size=5), data=st.data())
@settings(max_examples=30, deadline=None)
def test_whatever_a_decoder_makes_of_anything_the_record_can_hold(row, pieces, data):
    decoder, writer = decoder_for(row), RecordWriter()
    writer.instrument(Instrument(row.key, row.model), 0)
    for stream in decoder.streams:
        writer.stream(stream, (), 0)
    for n, piece in enumerate(pieces):
        channel = data.draw(st.sampled_from((*row.notify, *row.read) or ("serial",)))
        for item in decoder.feed(channel, piece, n * 10**9):
            if not isinstance(item, Scan):
                writer.add(item)
    writer.cut(10**10, None)
    assert writer.unfit == 0


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.key)
def test_decoders_take_anything_on_any_channel(row):
    decoder = decoder_for(row)
    for channel in ("serial", "sound", *row.notify, *row.read):
        for data in (b"", b"\x00", b"\xff" * 30, bytes(range(256))):
            for item in decoder.feed(channel, data, 10**9):
                if isinstance(item, Reading):
                    assert item.instrument == row.key
        decoder.resume()


def test_a_bag_never_needs_more_links_than_the_on_board_radio_carries():
    """Each kind is configured once; those that only hand over a measurement come and go."""
    assert sum(row.transport is Transport.BLE and row.period_s is not None for row in ROWS) <= 5
