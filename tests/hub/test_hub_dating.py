"""Dating from anchors: never further off than said, surer with each anchor, whatever the crystal does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.clock import DRIFT_PPM, Anchor, Source
from agent.transport.messages import AnchorBody, Batch, Record
from hub.dating import Dating
from hub.store import Store

UTC_US = 1_790_000_000_000_000
HOUR_S = 3600


def anchor(t_s, *, drift_ppm=0.0, doubt_us=20_000, off_us=0, source=Source.HUB):
    """What an exchange at boot time `t_s` would say when the boot clock runs slow by `drift_ppm`."""
    return Anchor(round(t_s * 1e9), UTC_US + round(t_s * (1e6 + drift_ppm)) + off_us, doubt_us, source)


def true_us(t_s, drift_ppm):
    return UTC_US + t_s * (1e6 + drift_ppm)


def test_without_an_anchor_there_is_no_date():
    assert Dating().utc(0) is None


@pytest.mark.parametrize("source", [Source.RTC, Source.FLOOR])
def test_the_bag_s_own_guess_is_taken_where_nobody_vouched_and_named(source):
    dating = Dating([anchor(0, doubt_us=16_000_000, source=source)])
    assert dating.utc(0).source is source
    dating.add(anchor(HOUR_S, off_us=10**12))
    assert (dating.utc(0).source, dating.utc(0).uncertainty_us) == (Source.HUB, 20_000 + HOUR_S * DRIFT_PPM)


@given(
    st.floats(-DRIFT_PPM, DRIFT_PPM),
    st.lists(st.tuples(st.integers(3600, 90_000), st.integers(0, 500_000), st.floats(-1, 1)), min_size=1, max_size=8),
    st.integers(0, 100_000),
)
def test_it_is_never_further_off_than_it_says(drift_ppm, spoken, t_s):
    dating = Dating(
        anchor(at_s, drift_ppm=drift_ppm, doubt_us=doubt_us, off_us=int(doubt_us * share))
        for at_s, doubt_us, share in spoken
    )
    dated = dating.utc(t_s * 1_000_000)
    assert abs(dated.utc_us - true_us(t_s, drift_ppm)) <= dated.uncertainty_us + 2


def test_an_hour_before_the_first_anchor_is_surer_with_every_hour_online():
    dating, doubts = Dating(), []
    for hours in (1, 2, 5, 9):
        dating.add(anchor(hours * HOUR_S, drift_ppm=20))
        doubts.append(dating.utc(0).uncertainty_us)
    assert doubts == sorted(doubts, reverse=True)
    assert doubts[0] == 20_000 + HOUR_S * DRIFT_PPM
    assert doubts[-1] < 60_000
    assert abs(dating.utc(0).utc_us - true_us(0, 20)) <= doubts[-1]


def test_an_anchor_that_contradicts_the_nearest_changes_nothing():
    dating = Dating([anchor(HOUR_S)])
    before = dating.utc(0)
    dating.add(anchor(HOUR_S + 60, off_us=10**9))
    assert dating.utc(0) == before


def test_anchors_are_stored_with_the_rows_once(tmp_path):
    store = Store(tmp_path / "hub.sqlite")
    batch = Batch(10_000, None, (Record(0, 0, -500, AnchorBody(UTC_US, 9, Source.NTP)),))
    for _ in range(2):
        store.commit(batches=[("sac-04", bytes(16), batch)])
    assert store.dating("sac-04", bytes(16)).utc(9_500_000).utc_us == UTC_US
    assert store.dating("sac-04", bytes([1] * 16)).utc(0) is None
    store.close()
