"""The simulator's log survives a kill."""

import numpy as np

from agent.drivers.simulated.samplelog import LoggedReading, SampleLog, read_log, read_readings


def filled(path):
    log = SampleLog(path)
    log.stream("a", 2)
    log.stream("b", 4)
    log.samples("a", 10, 5_000, 100.0, np.array([1, -2, 32767], np.int32), given=True)
    log.samples("a", 13, 30_005_000, 100.0, np.array([4], np.int32), given=True)
    log.samples("a", 14, 40_005_000, 100.0, np.array([5, 6], np.int32), given=False)
    log.samples("b", 0, 7, 125.0, np.array([2**21 - 1, -(2**31)], np.int32), given=True)
    log.reading(LoggedReading("cuff", 9, given=True, values={"systolic": 128.0}))
    log.close()


def test_what_is_written_is_read(tmp_path):
    filled(tmp_path / "log")
    streams = read_log(tmp_path / "log")
    a = streams["a"]
    assert a.index.tolist() == [10, 11, 12, 13, 14, 15]
    assert a.values.tolist() == [1, -2, 32767, 4, 5, 6]
    assert a.given.tolist() == [True] * 4 + [False] * 2
    assert a.t_ns.tolist() == [5_000, 10_005_000, 20_005_000, 30_005_000, 40_005_000, 50_005_000]
    assert streams["b"].values.tolist() == [2**21 - 1, -(2**31)]
    assert read_readings(tmp_path / "log") == [LoggedReading("cuff", 9, given=True, values={"systolic": 128.0})]


def test_a_torn_tail_costs_the_last_record_only(tmp_path):
    filled(tmp_path / "log")
    data = (tmp_path / "log").read_bytes()
    whole = read_log(tmp_path / "log")
    for cut in range(len(data)):
        (tmp_path / "torn").write_bytes(data[:cut])
        for name, stream in read_log(tmp_path / "torn").items():
            n = len(stream.values)
            assert stream.values.tolist() == whole[name].values[:n].tolist()
        assert read_readings(tmp_path / "torn") in ([], read_readings(tmp_path / "log"))


def test_an_existing_log_is_continued(tmp_path):
    filled(tmp_path / "log")
    filled(tmp_path / "log")
    assert len(read_log(tmp_path / "log")["a"].values) == 12
    assert len(read_readings(tmp_path / "log")) == 2
