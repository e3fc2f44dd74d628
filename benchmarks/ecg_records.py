"""ECG recordings with reference beats: reading them, adding the Noise Stress Test's noise, matching beats.

Reads WFDB headers, signals of formats 212 and 16, and MIT annotations (physionet.org/physiotools/wag), as far as
MIT-BIH and its like need. The data are no part of the project: `../shared/data`, or the folder $BESACE_DATA.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

DATA = Path(os.environ.get("BESACE_DATA") or Path(__file__).parent.parent.parent / "shared" / "data")
FOLDS = Path(__file__).parent.parent / "build" / "ecg-folds"  # by number of folds: networks and what each has not seen
TOLERANCE_S = 0.150  # ANSI/AAMI EC57
BEAT_CODES = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 25, 30, 34, 35, 38, 41})
VF_ON, VF_OFF = 32, 33
NOISY_FROM_S, NOISY_TURN_S = 300, 120


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """One lead in mV with its reference beats (samples) and stretches of ventricular flutter or fibrillation."""

    name: str
    fs_hz: float
    mv: np.ndarray
    beats: np.ndarray
    flutter: tuple[tuple[int, int], ...]


def folder() -> Path:
    """Return the folder of records: <data>/ecg/mitdb, or the data folder itself when records lie in it."""
    inside = DATA / "ecg" / "mitdb"
    return inside if inside.is_dir() else DATA


def names(where: Path) -> list[str]:
    """Return the records that have reference beats."""
    return sorted(p.stem for p in where.glob("*.hea") if p.with_suffix(".atr").exists()) if where.is_dir() else []


def read(where: Path, name: str, channel: int = 0) -> Record:
    """Read one channel of a record."""
    lines = [line for line in (where / f"{name}.hea").read_text().splitlines() if line and line[0] != "#"]
    first = lines[0].split()
    leads, fs_hz = int(first[1]), float(first[2].split("/")[0])
    signals = [line.split() for line in lines[1 : 1 + leads]]
    raw = np.fromfile(where / signals[channel][0], np.uint8)
    adc = _format_212(raw) if signals[channel][1].startswith("212") else raw.view("<i2").astype(np.int32)
    adc = adc[: len(adc) // leads * leads].reshape(-1, leads)[:, channel]
    gain_and_base = signals[channel][2].split("/")[0]
    gain = float(gain_and_base.split("(")[0]) or 200.0
    base = float(gain_and_base.split("(")[1].rstrip(")")) if "(" in gain_and_base else float(signals[channel][4])
    beats, flutter = _annotations((where / f"{name}.atr").read_bytes(), len(adc))
    return Record(name, fs_hz, (adc - base) / gain, beats, flutter)


def _format_212(raw: np.ndarray) -> np.ndarray:
    a, b, c = (raw[k : len(raw) // 3 * 3 : 3].astype(np.int32) for k in range(3))
    out = np.empty(2 * len(a), np.int32)
    out[0::2], out[1::2] = a | (b & 0x0F) << 8, c | (b & 0xF0) << 4
    return np.where(out > 2047, out - 4096, out)


def _annotations(data: bytes, n: int) -> tuple[np.ndarray, tuple[tuple[int, int], ...]]:
    words = np.frombuffer(data[: len(data) // 2 * 2], "<u2").tolist()
    at, k, beats, flutter, began = 0, 0, [], [], None
    while k < len(words):
        code, value = words[k] >> 10, words[k] & 0x3FF
        k += 1
        if code == 0 and value == 0:
            break
        if code == 59:  # SKIP: a long interval follows, high word first
            at += np.int32(np.uint32(words[k] << 16 | words[k + 1])).item()
            k += 2
        elif code == 63:  # AUX text
            k += (value + 1) // 2
        elif code < 50:
            at += value
            if code in BEAT_CODES:
                beats.append(at)
            elif code == VF_ON:
                began = at
            elif code == VF_OFF and began is not None:
                flutter.append((began, at))
                began = None
    if began is not None:
        flutter.append((began, n))
    return np.array(beats, np.int64), tuple(flutter)


def noises() -> dict[str, np.ndarray]:
    """Return the three noises in mV at 360 Hz, empty when absent."""
    path = DATA / "ecg" / "noise" / "nstdb_ch0.npz"
    if not path.exists():
        return {}
    with np.load(path) as table:
        return {kind: table[kind] / 200.0 for kind in table}


def gain_for(record: Record, noise: np.ndarray, snr_db: float) -> float:
    """Return the factor on a noise for a signal-to-noise ratio as PhysioNet's nst defines it, to within 4 %.

    Signal: an eighth of the squared mean peak-to-peak QRS over 100 ms. Noise: its mean square over seconds, their
    means removed, without the 5 % largest and smallest. Both over the first 300 (beats, seconds).
    """
    half = round(0.05 * record.fs_hz)
    beats = record.beats[(record.beats > half) & (record.beats < len(record.mv) - half)][:300]
    sizes = np.sort([np.ptp(record.mv[r - half : r + half + 1]) for r in beats])
    trim = len(sizes) // 20
    seconds = noise[: min(300, len(noise) // 360) * 360].reshape(-1, 360)
    rms = np.sort(seconds.std(axis=1))
    rms = rms[len(rms) // 20 : -(len(rms) // 20)]
    return float(np.sqrt(sizes[trim : len(sizes) - trim].mean() ** 2 / 8 / 10 ** (snr_db / 10)) / rms.mean())


def stated_gain(kind: str, name: str, snr_db: int) -> float | None:
    """Return PhysioNet's own factor for records it publishes, None for others."""
    path = DATA / "ecg" / "noise" / "gains_ch0.json"
    table = json.loads(path.read_text()) if path.exists() else {}
    gain = table.get(kind, {}).get(name, {}).get(str(snr_db))
    return None if gain is None else float(gain)


def with_noise(record: Record, noise: np.ndarray, gain: float) -> Record:
    """Add noise in every other two minutes from 5:00 on."""
    turn = (np.arange(len(record.mv)) - NOISY_FROM_S * record.fs_hz) // (NOISY_TURN_S * record.fs_hz)
    n = min(len(noise), len(record.mv))
    mv = record.mv.copy()
    mv[:n] += np.where((turn[:n] >= 0) & (turn[:n] % 2 == 0), gain * noise[:n], 0.0)
    return Record(record.name, record.fs_hz, mv, record.beats, record.flutter)


def match(reference: np.ndarray, found: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """Pair beats one to one within a tolerance in samples, nearest pairs first; return indices of both."""
    pairs = []
    first = np.searchsorted(found, reference - tolerance, "left")
    last = np.searchsorted(found, reference + tolerance, "right")
    for k in np.flatnonzero(last > first).tolist():
        pairs += [(abs(int(found[j]) - int(reference[k])), k, j) for j in range(int(first[k]), int(last[k]))]
    taken_r, taken_f, out = set(), set(), []
    for _, k, j in sorted(pairs):
        if k not in taken_r and j not in taken_f:
            taken_r.add(k)
            taken_f.add(j)
            out.append((k, j))
    both = np.array(sorted(out), np.int64).reshape(-1, 2)
    return both[:, 0], both[:, 1]


@dataclass(frozen=True, slots=True, eq=False)
class Score:
    """Counts of one record and the time errors (ms, found minus reference) of the matched beats."""

    tp: int
    fp: int
    fn: int
    errors_ms: np.ndarray

    @property
    def f1(self) -> float:
        """F1 in per cent."""
        return 200 * self.tp / max(1, 2 * self.tp + self.fp + self.fn)


def score(record: Record, found: np.ndarray, *, from_s: float = 0.0, flutter: bool = True) -> Score:
    """Score beats against the reference; `flutter=False` leaves out what lies in ventricular flutter."""
    found = np.unique(np.asarray(found, np.int64))
    r, f = match(record.beats, found, TOLERANCE_S * record.fs_hz)
    start = from_s * record.fs_hz
    count_r, count_f = record.beats >= start, found >= start
    for begin, end in () if flutter else record.flutter:
        count_r &= (record.beats < begin) | (record.beats > end)
        count_f &= (found < begin) | (found > end)
    hit_r, hit_f = np.zeros(len(record.beats), bool), np.zeros(len(found), bool)
    hit_r[r], hit_f[f] = True, True
    errors = (found[f] - record.beats[r])[count_r[r]] * 1000.0 / record.fs_hz
    return Score(int((hit_r & count_r).sum()), int((~hit_f & count_f).sum()), int((~hit_r & count_r).sum()), errors)


def pooled(scores: list[Score]) -> Score:
    """Add counts and put errors together."""
    return Score(
        sum(s.tp for s in scores),
        sum(s.fp for s in scores),
        sum(s.fn for s in scores),
        np.concatenate([s.errors_ms for s in scores] or [np.empty(0)]),
    )
