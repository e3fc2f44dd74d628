"""The catalogue's rows hold what the rest of the bag relies on."""

import pytest

from agent.drivers.catalogue import CATALOGUE, NOT_CLINICAL, ROWS, Transport
from agent.drivers.opening import decoder_for
from agent.drivers.readings import PLAUSIBLE
from agent.model import Reading


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
def test_decoders_take_anything_on_any_channel(row):
    decoder = decoder_for(row)
    for channel in ("serial", "sound", *row.notify, *row.read):
        for data in (b"", b"\x00", b"\xff" * 30, bytes(range(256))):
            for item in decoder.feed(channel, data, 10**9):
                if isinstance(item, Reading):
                    assert item.instrument == row.key
        decoder.resume()
