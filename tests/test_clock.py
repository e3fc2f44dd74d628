"""The boot clock and what ties it to UTC."""

from pathlib import Path

import pytest

from agent.clock import DRIFT_PPM, NS, NTP_UNSYNCHRONISED_US, Anchor, BootClock, Source, Timekeeper, system_anchor
from tests.peers.cpts import HandClock


def test_the_machine_s_clock_only_goes_forward_and_knows_its_boot(tmp_path):
    boot_id = tmp_path / "boot_id"
    boot_id.write_text("01234567-89ab-cdef-0123-456789abcdef\n")
    clock = BootClock(boot_id)
    assert clock.boot_id == bytes.fromhex("0123456789abcdef0123456789abcdef")
    times = [clock.now_ns() for _ in range(100)]
    assert times == sorted(times)
    assert len(BootClock().boot_id) == 16


def test_an_anchor_dates_every_moment_of_its_boot():
    anchor = Anchor(t_ns=5_000_000_000, utc_us=1_000_000_000, uncertainty_us=100_000, source=Source.NTP)
    assert anchor.utc_at(5_000_000_000) == 1_000_000_000
    assert anchor.utc_at(6_500_000_000) == 1_001_500_000
    assert anchor.utc_at(4_000_000_000) == 999_000_000


@pytest.mark.parametrize(
    ("utc_us", "synchronised", "source", "uncertainty_us"),
    [
        (2_000_000_000_000_000, True, Source.NTP, 100_000),
        (2_000_000_000_000_000, False, Source.RTC, NTP_UNSYNCHRONISED_US),
        (0, True, Source.FLOOR, 2**53 - 1),  # a clock below the floor is wrong, whatever timesyncd says
        (0, False, Source.FLOOR, 2**53 - 1),
    ],
)
def test_what_the_system_clock_is_worth(tmp_path, utc_us, synchronised, source, uncertainty_us):
    marker = tmp_path / "synchronized"
    if synchronised:
        marker.touch()
    clock = HandClock(utc=utc_us, t_ns=7_000)
    anchor = system_anchor(clock, floor_us=1_700_000_000_000_000, synchronised=marker)
    assert (anchor.source, anchor.uncertainty_us, anchor.t_ns) == (source, uncertainty_us, 7_000)
    assert anchor.utc_us >= 1_700_000_000_000_000


def test_no_marker_file_means_not_synchronised():
    anchor = system_anchor(HandClock(), floor_us=0, synchronised=Path("/does/not/exist"))
    assert anchor.source is Source.RTC


class TestTimekeeper:
    """On a bag whose own clock says 1970."""

    FLOOR_US = 1_700_000_000_000_000
    NOW_US = 1_790_000_000_000_000

    def keeper(self, tmp_path, clock=None, **more):
        clock = clock or HandClock(utc=0)
        return clock, Timekeeper(clock, floor_us=self.FLOOR_US, synchronised=tmp_path / "synchronized", **more)

    def hub(self, clock, utc_us=NOW_US, uncertainty_us=20_000):
        return Anchor(clock.t_ns, utc_us, uncertainty_us, Source.HUB)

    def test_before_anybody_spoke_there_is_a_floor(self, tmp_path):
        _, keeper = self.keeper(tmp_path)
        assert (keeper.best().source, keeper.best().utc_us) == (Source.FLOOR, self.FLOOR_US)

    def test_the_hub_s_word_goes_on_and_ages(self, tmp_path):
        clock, keeper = self.keeper(tmp_path)
        assert keeper.hear(self.hub(clock))
        clock.forward(1000)
        best = keeper.best()
        assert (best.source, best.utc_us) == (Source.HUB, self.NOW_US + 1000 * 1_000_000)
        assert best.uncertainty_us == 20_000 + 1000 * DRIFT_PPM

    def test_a_worse_word_is_no_news_until_the_better_has_aged(self, tmp_path):
        clock, keeper = self.keeper(tmp_path)
        keeper.hear(self.hub(clock, uncertainty_us=5_000))
        clock.forward(60)
        assert not keeper.hear(self.hub(clock, uncertainty_us=20_000))
        clock.forward(600)
        assert keeper.hear(self.hub(clock, uncertainty_us=20_000))

    def test_ntp_comes_before_the_hub(self, tmp_path):
        clock, keeper = self.keeper(tmp_path, HandClock(utc=self.NOW_US))
        keeper.hear(self.hub(clock))
        assert keeper.best().source is Source.HUB
        (tmp_path / "synchronized").touch()
        assert keeper.best().source is Source.NTP

    def test_a_signed_card_raises_the_floor_and_the_hub_knows_better(self, tmp_path):
        clock, keeper = self.keeper(tmp_path)
        keeper.at_least(self.NOW_US)
        keeper.at_least(self.FLOOR_US)  # an older card says nothing new
        assert keeper.best().utc_us == self.NOW_US
        keeper.hear(self.hub(clock, self.NOW_US - 3600 * NS // 1000))
        assert keeper.floor_us < self.NOW_US

    def test_the_floor_rises_and_only_the_hub_takes_it_back(self, tmp_path):
        clock, keeper = self.keeper(tmp_path)
        keeper.hear(self.hub(clock))
        assert keeper.floor_us == self.NOW_US - 20_000
        clock, next_boot = self.keeper(tmp_path, HandClock(utc=self.FLOOR_US), kept_us=keeper.floor_us)
        assert next_boot.best().source is Source.FLOOR
        next_boot.hear(self.hub(clock, self.FLOOR_US + 3600 * NS // 1000))
        assert self.FLOOR_US < next_boot.floor_us < keeper.floor_us
        next_boot.hear(Anchor(clock.t_ns, 0, 1, Source.HUB))
        assert next_boot.floor_us == self.FLOOR_US
