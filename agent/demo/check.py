"""The checker: what the simulated instruments gave, held against what the hub has on disk.

Each sample the instruments produced while a visit was open must be in the hub's database exactly once and equal, or
inside a gap that was declared: a Gap record (link, damage) of at most a second, or a restart of the agent (from the
last row of one epoch to the first of the next that heard the instrument, or to the end: for each restart at most a
second of samples that a reader had been given, and all that were given to nobody). Between two visits nothing is
stored, on purpose. Everything else is lost. Samples are matched by value, so it does not matter what the agent or the
hub believe of time; the simulator's dither makes every stretch unique.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from sqlite3 import connect
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.drivers.decimate import decimate, ratio
from agent.drivers.simulated.samplelog import LoggedStream, read_log, read_readings
from agent.errors import StateError, WireError
from agent.model import USUAL_UNIT, Analysis, Gap, Reading, SampleBlock, Samples
from agent.transport import wire
from agent.transport.messages import Batch, VisitBody, VisitStep
from agent.transport.records import Born, Read, RecordReader

MOST_DECLARED_S = 1.0
ANCHOR = 48  # samples that must be unique for a stretch to find its place


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """Stored samples of one stream without a gap."""

    epoch: int
    visit: bytes | None
    values: Samples
    declared_before: int  # samples of a Gap record right before it


@dataclass(slots=True)
class Stored:
    """What the hub has of one bag."""

    stretches: dict[str, list[Stretch]] = field(default_factory=lambda: defaultdict(list))
    fs_hz: dict[str, float] = field(default_factory=dict)
    readings: list[Reading] = field(default_factory=list)
    beats: int = 0
    latest: dict[str, float | None] = field(default_factory=dict)
    latencies_ms: list[NDArray[np.float64]] = field(default_factory=list)
    repeated: int = 0
    unreadable: int = 0
    epochs: int = 0
    spans_ns: list[tuple[int, int]] = field(default_factory=list)  # first to last row of each epoch with a visit
    closed_ns: int | None = None  # when the last visit was closed; None: it is open


@dataclass(slots=True)
class Verdict:
    """The outcome; `lost` and `stored_twice` must be 0."""

    samples_produced: int = 0
    samples_stored: int = 0
    lost: int = 0
    stored_twice: int = 0
    changed: int = 0
    gaps_s: float = 0.0
    readings_given: int = 0
    readings_lost: int = 0
    streams: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows ever committed on the bag, as far as two databases tell, and those still on board."""

    committed: int
    on_board: int


def count_rows(outbox: Path, hub: Path) -> Rows:
    """Count the rows of a bag's outbox and of the hub, each once.

    An epoch's header (row 0) stays on board for as long as its epoch: it is unreceipted only when the hub lacks it.
    """
    db = connect(f"file:{outbox}?mode=ro", uri=True)
    try:
        db.execute("ATTACH ? AS hub", (f"file:{hub}?mode=ro",))
        there = db.execute("SELECT count(*) FROM hub.rows").fetchone()[0]
        on_board, at_both = db.execute(
            "SELECT count(*), count(h.seq) FROM rows JOIN epochs ON no = place >> 32"
            " LEFT JOIN hub.rows AS h ON h.epoch = epochs.epoch AND h.seq = place & 0xffffffff"
        ).fetchone()
        headers = db.execute(
            "SELECT count(*) FROM rows JOIN epochs ON no = place >> 32"
            " JOIN hub.rows AS h ON h.epoch = epochs.epoch AND h.seq = 0 WHERE place & 0xffffffff = 0"
        ).fetchone()[0]
    finally:
        db.close()
    return Rows(there + on_board - at_both, on_board - headers)


def read_hub(path: Path) -> Stored:
    """Decode everything in a hub's database, as strictly as the hub did."""
    stored = Stored()
    db = connect(f"file:{path}?mode=ro", uri=True)
    try:
        ended = dict(db.execute("SELECT no, ended_us FROM commits WHERE ended_us IS NOT NULL"))
        epochs = [epoch for (epoch,) in db.execute("SELECT epoch FROM rows WHERE seq = 0 ORDER BY t_us")]
        stored.epochs = len(epochs)
        for number, epoch in enumerate(epochs):
            rows = db.execute(
                "SELECT plaintext, in_commit FROM rows WHERE epoch = ? AND seq > 0 ORDER BY seq", (epoch,)
            ).fetchall()
            _read_epoch(stored, number, ((plaintext, ended.get(commit)) for plaintext, commit in rows))
    finally:
        db.close()
    return stored


def _read_epoch(stored: Stored, epoch: int, rows: Iterator[tuple[bytes, int | None]]) -> None:
    reader = RecordReader()
    blocks: dict[tuple[str, bytes | None], list[SampleBlock]] = defaultdict(list)
    times_ns: list[int] = []
    gaps: dict[str, list[Gap]] = defaultdict(list)
    for plaintext, ended_us in rows:
        batch = wire.decode(plaintext)
        if not isinstance(batch, Batch):
            raise StateError("the hub stored something that is no batch")
        if batch.visit is not None:
            times_ns.append(batch.t_us * 1000)
        try:
            items = reader.read(batch)
        except WireError:  # what would describe it is missing: its samples cannot be told from lost ones
            stored.unreadable += 1
            continue
        for item in items:
            if isinstance(item, Born):
                stored.fs_hz[item.stream.name] = item.stream.fs_hz
            elif isinstance(item, SampleBlock):
                blocks[item.stream, batch.visit].append(item)
                if ended_us is not None and item.stream in stored.fs_hz:
                    taken_us = item.t_ns / 1000 + np.arange(len(item.samples)) * 1e6 / stored.fs_hz[item.stream]
                    stored.latencies_ms.append((ended_us - taken_us) / 1000)
            elif isinstance(item, Gap):
                gaps[item.stream].append(item)
            elif isinstance(item, VisitBody):
                stored.closed_ns = batch.t_us * 1000 if item.step is VisitStep.CLOSE else None
            else:
                _note(stored, item)
    if times_ns:
        stored.spans_ns.append((times_ns[0], times_ns[-1]))
    for (stream, visit), found in blocks.items():
        stored.stretches[stream] += _stretches(stored, epoch, visit, found, gaps[stream])


def _note(stored: Stored, item: Read) -> None:
    """What the outcome tells besides samples."""
    if isinstance(item, Reading):
        stored.readings.append(item)
        stored.latest[item.kind.name.lower()] = item.number
    elif isinstance(item, Analysis):
        stored.beats += len(item.beats)
        if item.rate is not None:
            stored.latest[f"rate {item.stream}"] = item.rate.bpm


def _stretches(
    stored: Stored, epoch: int, visit: bytes | None, blocks: list[SampleBlock], gaps: list[Gap]
) -> list[Stretch]:
    """Join an epoch's blocks by index; samples under an index that was already there count as repeated."""
    declared = {gap.index + gap.n: gap.n for gap in gaps}
    made: list[Stretch] = []
    parts: list[Samples] = []
    start = upto = 0
    for block in sorted(blocks, key=lambda b: b.index):
        if parts and block.index < upto:
            stored.repeated += min(len(block.samples), upto - block.index)
            continue
        if parts and block.index > upto:
            made.append(Stretch(epoch, visit, np.concatenate(parts), declared.get(start, 0)))
            parts = []
        if not parts:
            start = block.index
        parts.append(block.samples)
        upto = block.index + len(block.samples)
    if parts:
        made.append(Stretch(epoch, visit, np.concatenate(parts), declared.get(start, 0)))
    return made


def _find(values: Samples, needle: Samples, from_: int) -> int | None:
    """Where `needle` stands in `values` at or after `from_`."""
    head = needle[:ANCHOR]
    last = len(values) - len(needle)
    candidates = np.arange(from_, last + 1)
    for offset in range(len(head)):
        candidates = candidates[values[candidates + offset] == head[offset]]
        if len(candidates) <= 1:
            break
    for at in candidates:
        if np.array_equal(values[at : at + len(needle)], needle):
            return int(at)
    return None


@dataclass(frozen=True, slots=True, eq=False)
class Produced:
    """What an instrument produced, at the rate at which the agent stores it."""

    values: Samples
    given: NDArray[np.bool_]
    t_ns: NDArray[np.int64]


def _logged(name: str, log: dict[str, LoggedStream]) -> Produced:
    stream = log[name]
    if not name.endswith(".sound"):
        return Produced(stream.values, stream.given, stream.t_ns)
    first, values = decimate(stream.values, int(stream.index[0]))
    centres = (first + np.arange(len(values))) * ratio(16_000).down - int(stream.index[0])
    return Produced(values, stream.given[centres], stream.t_ns[centres])


def check(simulator_log: Path, hub_database: Path) -> tuple[Verdict, Stored]:
    """Compare the two; see the module for what counts as lost."""
    log = read_log(simulator_log)
    stored = read_hub(hub_database)
    verdict = Verdict(stored_twice=stored.repeated)
    for name in sorted(log):
        _check_stream(verdict, name, _logged(name, log), stored)
    _check_readings(verdict, simulator_log, stored)
    return verdict, stored


def _check_stream(verdict: Verdict, name: str, logged: Produced, stored: Stored) -> None:
    produced, given = logged.values, logged.given
    fs_hz = stored.fs_hz.get(name, 1.0)
    stretches = stored.stretches.get(name, [])
    if not stretches:
        lost = int(np.count_nonzero(given))  # an instrument that nobody listened to loses nothing
        verdict.streams[name] = {"produced": len(produced), "stored": 0, "lost": lost}
        verdict.lost += lost
        return
    lost = excused = held = 0
    first: int | None = None
    upto = 0
    before: Stretch | None = None
    for stretch in stretches:
        at = _find(produced, stretch.values, upto)
        if at is None:
            # Found nowhere after what came before: either changed on the way, or here for the second time.
            again = _find(produced, stretch.values, 0) is not None
            verdict.stored_twice += len(stretch.values) if again else 0
            verdict.changed += 0 if again else len(stretch.values)
            lost += 0 if again else len(stretch.values)
            continue
        if before is not None:
            missing = at - upto
            allowed = _allowed(before, stretch, given[upto:at], fs_hz)
            lost += max(0, missing - allowed)
            excused += min(missing, allowed)
        first = at if first is None else first
        upto = at + len(stretch.values)
        held += len(stretch.values)
        before = stretch
    if first is not None:
        closed_ns = stored.closed_ns if stored.closed_ns is not None else int(logged.t_ns[-1]) + 1
        missing = int(np.count_nonzero(given[upto:] & (logged.t_ns[upto:] < closed_ns)))
        restarts = stored.epochs - 1 - stretches[-1].epoch  # after which the instrument was not heard again
        allowed = min(missing, restarts * int(MOST_DECLARED_S * fs_hz))
        lost += missing - allowed
        excused += allowed
        verdict.samples_produced += len(produced) - first
    verdict.samples_stored += held
    verdict.lost += lost
    verdict.gaps_s = max(verdict.gaps_s, excused / fs_hz)
    verdict.streams[name] = {
        "produced": len(produced) - (first or 0), "stored": held, "lost": lost, "in_gaps_s": round(excused / fs_hz, 3)
    }  # fmt: skip


def _allowed(before: Stretch, after: Stretch, given: NDArray[np.bool_], fs_hz: float) -> int:
    """How many samples between two stretches are excused."""
    if after.visit != before.visit:
        return len(given)
    most = int(MOST_DECLARED_S * fs_hz) * max(1, after.epoch - before.epoch)  # a second for each restart between
    if after.epoch != before.epoch:
        return int(np.count_nonzero(~given)) + min(most, int(np.count_nonzero(given)))
    return min(after.declared_before, most + int(np.count_nonzero(~given)))


def _check_readings(verdict: Verdict, simulator_log: Path, stored: Stored) -> None:
    """Each value of a spot measurement that a reader was given is there as what it is, in its usual unit.

    But for those that fell into a restart.
    """
    have = {(r.instrument, r.kind.name, r.number) for r in stored.readings if r.unit is USUAL_UNIT[r.kind]}
    for reading in read_readings(simulator_log):
        if not reading.given or not any(first <= reading.t_ns < last for first, last in stored.spans_ns):
            continue
        verdict.readings_given += 1
        verdict.readings_lost += any(
            (reading.instrument, kind, value) not in have for kind, value in reading.values.items()
        )
    verdict.lost += verdict.readings_lost
