"""Files of visits: recordings and reports brought in, pictures; put together from their pieces, checked by their hash.

`VisitFiles` keeps those of one bag's newest visits in memory for the doctor's page; `besace-hub files` writes those of
a visit from the database.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from agent.errors import StateError, WireError
from agent.model import FilePart, Media
from agent.transport import wire
from agent.transport.files import Assembly, WholeFile
from agent.transport.messages import Batch, FileBody, InstrumentBirth
from agent.transport.records import RecordReader
from hub.store import Store

ENDING = {Media.PDF: "pdf", Media.SCP_ECG: "scp", Media.JPEG: "jpg", Media.MOTION_JPEG: "mjpeg"}
KEPT_BYTES = 64 << 20


@dataclass(slots=True)
class VisitFiles:
    """The whole files of one bag, newest visits first to be kept; the database keeps all."""

    _assembly: Assembly = field(default_factory=Assembly)
    _files: dict[tuple[bytes | None, bytes], WholeFile] = field(default_factory=dict)

    def take(self, visit: bytes | None, piece: FilePart) -> WholeFile | None:
        """One piece of a file of `visit`; the file when it has become whole."""
        whole = self._assembly.take(piece)
        if whole is not None:
            self._files[visit, whole.digest] = whole
            while sum(len(one.data) for one in self._files.values()) > KEPT_BYTES and len(self._files) > 1:
                del self._files[next(iter(self._files))]
        return whole

    def of(self, visit: bytes) -> list[WholeFile]:
        """The files of a visit, in order of time."""
        found = [one for (whose, _), one in self._files.items() if whose == visit]
        return sorted(found, key=lambda one: one.t_ns)


def name_of(one: WholeFile) -> str:
    """A name for a file that says where it came from and tells it from others."""
    return f"{one.instrument}-{one.digest.hex()[:12]}.{ENDING[one.media]}"


def stored_files(store: Store, device: str, visit: bytes) -> Iterator[WholeFile]:
    """Every whole file of a visit on disk; waveforms are not even decoded.

    What a file's rows need to be read (its instrument's birth) stands in front of them in the same visit.
    """
    assembly = Assembly()
    readers: dict[bytes, RecordReader] = {}
    for epoch, plaintext in store.visit_rows(device, visit):
        try:
            batch = wire.decode(plaintext)
            assert isinstance(batch, Batch)
            wanted = tuple(one for one in batch.records if isinstance(one.body, InstrumentBirth | FileBody))
            items = readers.setdefault(epoch, RecordReader()).read(replace(batch, records=wanted))
        except WireError:  # a newer bag's row: stored, not understood
            continue
        for item in items:
            if isinstance(item, FilePart) and (whole := assembly.take(item)) is not None:
                yield whole


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Add the command to besace-hub's."""
    parser = commands.add_parser("files", help="write the files of a visit: recordings, reports, pictures")
    parser.add_argument("device", help="the bag, e.g. sac-04")
    parser.add_argument("code", help="the visit's four digits, or its id in hex")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    return parser


def write_files(store: Store, device: str, code: str, folder: Path, *, as_json: bool) -> list[str]:
    """Write the files of every visit of this bag with this code (or id) into `folder`; lines for the command."""
    visits = [visit for visit, known in store.visit_codes(device) if code in {known, visit.hex()}]
    if not visits:
        raise StateError(f"{device} has no visit {code}\nNext: besace-hub visits")
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for visit in visits:
        for one in stored_files(store, device, visit):
            path = folder / name_of(one)
            path.write_bytes(one.data)
            said = {"file": str(path), "visit": visit.hex(), "media": one.media.value, "bytes": len(one.data)}
            said["sha256"] = one.digest.hex()
            lines.append(json.dumps(said) if as_json else f"{path}  {len(one.data)} bytes  sha256 {said['sha256']}")
    return lines
