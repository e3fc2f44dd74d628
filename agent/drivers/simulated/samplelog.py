"""The simulator's log of every sample and reading it produced: written to survive a kill, read by a checker.

A file of records, little endian, appended whole:

    u8 kind | u32 length of what follows | payload
    kind 1, stream:  u16 number, u8 bytes per sample (2 or 4), UTF-8 name
    kind 2, samples: u16 stream number, u8 given, u64 index of the first, i64 t_ns of the first, f64 fs_hz, samples
    kind 3, reading: UTF-8 JSON object {"instrument", "t_ns", "given", "values": {...}}

`given` says whether a connected reader was handed the samples. A torn last record is ignored.
"""

import json
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.model import Samples

PREFIX = struct.Struct("<BI")
STREAM = struct.Struct("<HB")
SAMPLES = struct.Struct("<HBQqd")
KIND_STREAM, KIND_SAMPLES, KIND_READING = 1, 2, 3
TYPES: dict[int, np.dtype[np.signedinteger[Any]]] = {2: np.dtype("<i2"), 4: np.dtype("<i4")}


@dataclass(frozen=True, slots=True, eq=False)
class LoggedStream:
    """Every sample of one stream: index, boot time, value, whether a reader was given it."""

    index: NDArray[np.int64]
    t_ns: NDArray[np.int64]
    values: Samples
    given: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class LoggedReading:
    """A measurement as it was sent; `values` by the name of their Kind."""

    instrument: str
    t_ns: int
    given: bool
    values: dict[str, float]


class SampleLog:
    """Collects runs of samples and appends them at every `flush`."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._numbers: dict[str, tuple[int, int]] = {}
        self._pending = bytearray()
        self._runs: dict[str, tuple[bool, int, int, float, int, list[Samples]]] = {}

    def stream(self, name: str, sample_bytes: int) -> None:
        """Announce a stream."""
        number = len(self._numbers)
        self._numbers[name] = (number, sample_bytes)
        self._put(KIND_STREAM, STREAM.pack(number, sample_bytes) + name.encode())

    def samples(self, name: str, index: int, t_ns: int, fs_hz: float, values: Samples, *, given: bool) -> None:
        """Log consecutive samples."""
        run = self._runs.get(name)
        if run and (run[0] is not given or run[1] + run[4] != index):
            self._end(name)
            run = None
        if run is None:
            run = (given, index, t_ns, fs_hz, 0, [])
        run[5].append(values)
        self._runs[name] = (*run[:4], run[4] + len(values), run[5])

    def reading(self, reading: LoggedReading) -> None:
        """Log a measurement."""
        record = {
            "instrument": reading.instrument,
            "t_ns": reading.t_ns,
            "given": reading.given,
            "values": reading.values,
        }
        self._put(KIND_READING, json.dumps(record).encode())

    def flush(self) -> None:
        """Append what has been collected."""
        for name in list(self._runs):
            self._end(name)
        if self._pending:
            os.write(self._fd, self._pending)
            self._pending.clear()

    def close(self) -> None:
        """Flush and close."""
        self.flush()
        os.close(self._fd)

    def _end(self, name: str) -> None:
        given, index, t_ns, fs_hz, _, parts = self._runs.pop(name)
        number, sample_bytes = self._numbers[name]
        values = np.concatenate(parts).astype(TYPES[sample_bytes])
        self._put(KIND_SAMPLES, SAMPLES.pack(number, given, index, t_ns, fs_hz) + values.tobytes())

    def _put(self, kind: int, payload: bytes) -> None:
        self._pending += PREFIX.pack(kind, len(payload)) + payload


def _records(path: Path) -> list[tuple[int, bytes]]:
    data = path.read_bytes()
    records, at = [], 0
    while at + PREFIX.size <= len(data):
        kind, length = PREFIX.unpack_from(data, at)
        at += PREFIX.size
        if at + length > len(data):
            break
        records.append((kind, data[at : at + length]))
        at += length
    return records


def read_log(path: Path) -> dict[str, LoggedStream]:
    """Every stream of a log by name."""
    names: dict[int, tuple[str, int]] = {}
    parts: dict[str, list[tuple[int, int, float, Samples, bool]]] = {}
    for kind, payload in _records(path):
        if kind == KIND_STREAM:
            number, sample_bytes = STREAM.unpack_from(payload)
            names[number] = (payload[STREAM.size :].decode(), sample_bytes)
            parts.setdefault(names[number][0], [])
        elif kind == KIND_SAMPLES:
            number, given, index, t_ns, fs_hz = SAMPLES.unpack_from(payload)
            name, sample_bytes = names[number]
            values = np.frombuffer(payload, TYPES[sample_bytes], offset=SAMPLES.size).astype(np.int32)
            parts[name].append((index, t_ns, fs_hz, values, bool(given)))
    return {name: _joined(runs) for name, runs in parts.items()}


def _joined(runs: list[tuple[int, int, float, Samples, bool]]) -> LoggedStream:
    if not runs:
        empty = np.empty(0, np.int64)
        return LoggedStream(empty, empty, np.empty(0, np.int32), np.empty(0, np.bool_))
    return LoggedStream(
        np.concatenate([index + np.arange(len(values)) for index, _, _, values, _ in runs]),
        np.concatenate(
            [t_ns + np.round(np.arange(len(v)) * 1e9 / fs_hz).astype(np.int64) for _, t_ns, fs_hz, v, _ in runs]
        ),
        np.concatenate([values for _, _, _, values, _ in runs]),
        np.concatenate([np.full(len(values), given) for _, _, _, values, given in runs]),
    )


def read_readings(path: Path) -> list[LoggedReading]:
    """Every measurement of a log, in order."""
    return [LoggedReading(**json.loads(payload)) for kind, payload in _records(path) if kind == KIND_READING]
