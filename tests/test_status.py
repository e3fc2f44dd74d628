"""Status: what the agent counts, and what the kernel says of it."""

import time

import numpy as np

from agent.model import Analysis, Beat, Gap, GapReason, Kind, Rate, Reading, SampleBlock, Scan, Unit
from agent.status import Tally, resources, since_exec_s


def test_a_tally_counts_each_kind():
    tally = Tally()
    tally.count(SampleBlock("a", 0, 0, np.zeros(5, np.int32)))
    tally.count(SampleBlock("a", 5, 0, np.zeros(3, np.int32)))
    tally.count(Reading("t", Kind.TEMPERATURE, Unit.DEGC, 0, 371, -1))
    tally.count(Gap("a", 8, 2, 0, GapReason.LINK))
    tally.count(Scan(0, "BSC1:X"))
    tally.analysed(Analysis("a", 0, beats=(Beat(1, 0.0), Beat(2, 0.1)), rate=Rate(72.0)), "ecg")
    assert dict(tally) == {
        "samples": {"a": 8}, "latest": {"temperature": 37.1, "ecg_rate": 72.0}, "beats": 2, "readings": 1, "gaps": 1,
        "scans": 1,
    }  # fmt: skip


def test_the_kernel_knows_since_when_and_how_much():
    before = since_exec_s()
    time.sleep(0.05)
    assert before < since_exec_s() < before + 5
    assert resources()["rss_mib"] > 5
    assert resources()["cpu_s"] > 0
