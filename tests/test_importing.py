"""What may be brought into a visit: whole, what it says it is, and of this visit."""

from datetime import datetime, timedelta

import pytest

from agent.errors import StateError
from agent.importing import Document, of_this_visit, read_document, taken_from
from agent.model import Media
from agent.transport.files import LONGEST
from tests.peers.scp_writer import LEADS, WHOLE, bodies, file_of

OPENED = datetime(2026, 11, 21, 14, 10)  # noqa: DTZ001
NOW = OPENED + timedelta(minutes=15)
PDF = b"%PDF-1.7\n1 0 obj\n" + b"x" * 3000 + b"\ntrailer\n%%EOF\n"


def test_a_pdf_is_taken_as_it_is():
    assert read_document(PDF) == Document(Media.PDF, PDF, f"PDF, {len(PDF)} bytes")


def test_an_scp_ecg_file_is_read_and_passed_on_unchanged():
    found = read_document(WHOLE)
    assert (found.media, found.data) == (Media.SCP_ECG, WHOLE)
    assert found.said == "SCP-ECG, 2 leads, 0.0 s, 500 Hz, 2026-11-21T14:20:05"


def test_one_whose_samples_are_not_read_is_passed_on_and_said():
    found = read_document(file_of(bodies(LEADS, flags=0x05)))
    assert found.media is Media.SCP_ECG
    assert found.said == "SCP-ECG, passed on unread: stored with reference beat subtraction"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "0 bytes"),
        (bytes(LONGEST + 1), "at most 16 MiB"),
        (PDF[:-8], "the PDF has no end"),
        (b"hello", "neither a PDF nor an SCP-ECG file"),
        (WHOLE[:-1], "neither a PDF nor an SCP-ECG file"),
        (WHOLE[:200] + b"\xff" + WHOLE[201:], "CRC is wrong"),
    ],
    ids=range(6),
)
def test_what_is_damaged_or_something_else_is_refused(data, said):
    with pytest.raises(StateError, match=said) as error:
        read_document(data)
    assert "\nNext: " in str(error.value)


@pytest.mark.parametrize(
    ("taken_at", "taken"),
    [
        ("2026-11-21T14:20:05", True),
        ("2026-11-21T14:01:00", True),  # the cart's clock may be ten minutes off
        ("2026-11-21T13:59:00", False),
        ("2026-11-20T14:20:05", False),
        ("2026-11-21T14:36:00", False),
        (None, True),
    ],
)
def test_another_times_recording_is_refused(taken_at, taken):
    document = Document(Media.SCP_ECG, b"", "", taken_at)
    of_this_visit(document, opened=None, now=None)  # without the time of day nothing can be compared
    if taken:
        of_this_visit(document, opened=OPENED, now=NOW)
    else:
        with pytest.raises(StateError, match="another patient's\\?\nNext: the right file; or --anyway"):
            of_this_visit(document, opened=OPENED, now=NOW)


def test_what_was_left_is_read_once_and_erased(tmp_path):
    (tmp_path / "import-1").write_bytes(b"data")
    assert taken_from(tmp_path, "import-1") == b"data"
    with pytest.raises(StateError, match="cannot read"):
        taken_from(tmp_path, "import-1")


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "outbox.sqlite", "", "import-1/../../x"])
def test_no_other_file_is_touched(tmp_path, name):
    (tmp_path / "outbox.sqlite").write_bytes(b"data")
    with pytest.raises(StateError, match="no such file was left"):
        taken_from(tmp_path, name)
    assert (tmp_path / "outbox.sqlite").exists()
