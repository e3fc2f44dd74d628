import numpy as np
import pytest

from benchmarks.ecg_records import Record, gain_for, match, names, pooled, read, score, with_noise

HEADER = (
    "toy 2 360 4 0:0:0\ntoy.dat 212 200 11 1024 995 0 0 MLII\ntoy.dat 212 100(0)/mV 11 1024 5 0 0 V1\n# a comment\n"
)
# Two channels, four samples: pairs of 12-bit two's complement in three bytes.
SAMPLES = bytes.fromhex("e33305 0003 00 ff0f 01 0000 08".replace(" ", ""))
# N at 100, then SKIP of 70,000 to a V, a rhythm change with text, VF from 70,200 to 70,300, an end of file.
NOTES = b"".join(
    word.to_bytes(2, "little")
    for word in (1 << 10 | 100, 59 << 10, 1, 70_000 - 65_536, 5 << 10 | 0, 28 << 10 | 50, 63 << 10 | 4, 0x4128, 0x4946)
) + b"".join(word.to_bytes(2, "little") for word in (32 << 10 | 50, 31 << 10 | 10, 33 << 10 | 90, 0))


@pytest.fixture
def toy(tmp_path):
    (tmp_path / "toy.hea").write_text(HEADER)
    (tmp_path / "toy.dat").write_bytes(SAMPLES)
    (tmp_path / "toy.atr").write_bytes(NOTES)
    return tmp_path


def test_reads_signals_beats_and_flutter(toy):
    assert names(toy) == ["toy"]
    first, second = read(toy, "toy", 0), read(toy, "toy", 1)
    assert first.fs_hz == 360.0
    np.testing.assert_allclose(first.mv[:2] * 200 + 1024, [0x3E3, 0x300])
    assert first.mv[2] * 200 + 1024 == -1
    np.testing.assert_allclose(second.mv[:2] * 100, [0x305, 0])
    assert first.beats.tolist() == [100, 70_100]  # neither the rhythm change nor the flutter wave is a beat
    assert first.flutter == ((70_200, 70_300),)


def test_nearest_pairs_match_one_to_one():
    r, f = match(np.array([100, 200, 300]), np.array([90, 105, 260, 341]), 40)
    assert list(zip(r.tolist(), f.tolist(), strict=True)) == [(0, 1), (2, 2)]
    assert match(np.array([]), np.array([5]), 40)[0].size == 0


def test_score_counts_and_leaves_out_flutter():
    record = Record("x", 1000.0, np.zeros(10_000), np.array([1000, 2000, 3000]), ((4000, 5000),))
    found = np.array([1003, 2500, 3000, 4500, 4600])
    whole, quiet = score(record, found), score(record, found, flutter=False)
    assert (whole.tp, whole.fp, whole.fn) == (2, 3, 1)
    assert (quiet.tp, quiet.fp, quiet.fn) == (2, 1, 1)
    assert whole.errors_ms.tolist() == [3.0, 0.0]
    assert quiet.f1 == pytest.approx(66.67, abs=0.01)
    assert pooled([whole, quiet]).tp == 4


def test_noise_is_on_every_other_two_minutes_from_5_min_at_the_stated_ratio():
    fs_hz = 360.0
    beats = np.arange(180, 600 * 360, 360)
    mv = np.zeros(600 * 360)
    mv[beats] = 1.0
    record = Record("x", fs_hz, mv, beats, ())
    noise = np.random.default_rng(0).normal(size=len(mv))
    gain = gain_for(record, noise, 6.0)
    assert 10 * np.log10(1 / 8 / gain**2) == pytest.approx(6.0, abs=0.1)
    noisy = with_noise(record, noise, gain).mv - mv
    on = np.flatnonzero(noisy) / fs_hz
    assert (on.min(), on.max()) == (pytest.approx(300, abs=0.01), pytest.approx(600, abs=0.01))
    assert not ((on > 420.01) & (on < 539.99)).any()
