"""The boot clock and what ties it to UTC."""

from pathlib import Path

import pytest

from agent.clock import NTP_UNSYNCHRONISED_US, Anchor, BootClock, Source, system_anchor
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
