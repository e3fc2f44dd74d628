"""Files that a person brings into a visit: a 12-lead ECG as its maker stored it (SCP-ECG), or a PDF report.

The file goes to the hub unchanged, with its hash. What is checked here: that it is what it says, whole, and (where the
recording says when it was taken and the bag knows the time) that it was taken in this visit: a cart holds other
patients' recordings too. Of a PDF nothing but its form is known.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from agent.drivers.scp_ecg import ScpError, UnsupportedError, parse_scp
from agent.errors import StateError
from agent.model import Instrument, Media
from agent.transport.files import LONGEST

IMPORTED = Instrument("imported-file", "a file, by besace import")
PDF_HEAD, PDF_END = b"%PDF-", b"%%EOF"
PDF_END_WITHIN = 1024  # ISO 32000-1, 7.5.5: readers look for it there
CLOCKS_APART_S = 600.0  # how far a cart's clock and the bag's may be apart


@dataclass(frozen=True, slots=True)
class Document:
    """A file that may be taken: what is said of it, and when it was recorded where it says so (local, ISO)."""

    media: Media
    data: bytes
    said: str
    taken_at: str | None = None


def read_document(data: bytes) -> Document:
    """What a file is; StateError with the reason when it must not be taken."""
    if not 0 < len(data) <= LONGEST:
        raise StateError(
            f"a file of {len(data)} bytes: at most {LONGEST >> 20} MiB are taken\nNext: a shorter recording"
        )
    if data.startswith(PDF_HEAD):
        if PDF_END not in data[-PDF_END_WITHIN:]:
            raise StateError("the PDF has no end: it is damaged\nNext: have the cart write it again")
        return Document(Media.PDF, data, f"PDF, {len(data)} bytes")
    try:
        found = parse_scp(data)
    except UnsupportedError as error:
        return Document(Media.SCP_ECG, data, f"SCP-ECG, passed on unread: {error}")
    except ScpError as error:
        raise StateError(f"neither a PDF nor an SCP-ECG file: {error}\nNext: have the cart write it again") from None
    seconds = max(len(lead.samples) for lead in found.leads) / found.fs_hz
    said = f"SCP-ECG, {len(found.leads)} leads, {seconds:.1f} s, {found.fs_hz:g} Hz"
    if found.taken_at:
        said += f", {found.taken_at}"
    return Document(Media.SCP_ECG, data, said, found.taken_at)


def of_this_visit(document: Document, *, opened: datetime | None, now: datetime | None) -> None:
    """StateError when a recording says that it was not taken between the visit's opening and now (both local time)."""
    if document.taken_at is None or opened is None or now is None:
        return
    taken = datetime.fromisoformat(document.taken_at)
    begin, end = opened.replace(tzinfo=None), now.replace(tzinfo=None)
    if (begin - taken).total_seconds() > CLOCKS_APART_S or (taken - end).total_seconds() > CLOCKS_APART_S:
        raise StateError(
            f"recorded {taken:%Y-%m-%d %H:%M} by the cart's clock, this visit opened {begin:%Y-%m-%d %H:%M}: "
            "another patient's?\nNext: the right file; or --anyway, if the cart's clock is wrong"
        )


def taken_from(folder: Path, name: str) -> bytes:
    """The bytes of a file left for us in `folder`, which is then erased; StateError for any other name or a failure."""
    path = folder / name
    if path.parent != folder or not name.startswith("import-"):
        raise StateError("no such file was left here\nNext: besace import FILE")
    try:
        return path.read_bytes()
    except OSError as error:
        raise StateError(f"cannot read what was left in {folder}: {error}\nNext: ls -l {folder}") from None
    finally:
        path.unlink(missing_ok=True)
