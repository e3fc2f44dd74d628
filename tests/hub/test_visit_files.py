"""Files at the hub: from the rows of a visit, and for the doctor who has entered it."""

import json
from pathlib import Path

import pytest

from agent.display.words import Words
from agent.errors import StateError
from agent.importing import IMPORTED
from agent.model import Kind, Media, Reading, SampleBlock, Signal, Stream, Unit
from agent.transport import wire
from agent.transport.files import cut_file
from agent.transport.messages import VisitBody, VisitStep
from agent.transport.records import RecordWriter
from hub import visit_files
from hub.files_page import document
from hub.store import Arrived, Store, VisitChange
from hub.visit_files import VisitFiles, stored_files, write_files
from tests.display.preview import Room

BAG = "sac-04"
VISIT, OTHER = b"v" * 16, b"w" * 16
PDF = b"%PDF-1.7 " + bytes(range(256)) * 600 + b"%%EOF"
SCP = b"scp" * 50


def batches(visit, *what):
    writer = RecordWriter()
    writer.instrument(IMPORTED, 0)
    for item in what:
        writer.bag(item, 0) if isinstance(item, VisitBody) else writer.add(item)
    return writer.cut(10**9, visit)


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "hub.sqlite")
    yield store
    store.close()


def keep(store, visit, code, made, epoch=b"epochA", first=1):
    rows = [
        Arrived(BAG, epoch, first + n, batch.t_us, visit, wire.encode(batch), 9) for n, batch in enumerate(made)
    ]  # fmt: skip
    store.commit(rows=rows, visits=[VisitChange(BAG, visit, code, True, demo=False)])
    return first + len(rows)


def pdf_parts():
    return cut_file(IMPORTED.key, 5, Media.PDF, PDF)


def test_the_files_of_a_visit_are_written_whole(store, tmp_path):
    after = keep(store, VISIT, "4821", batches(VISIT, VisitBody(VisitStep.OPEN, "4821"), *pdf_parts()))
    keep(store, OTHER, "1111", batches(OTHER, *cut_file(IMPORTED.key, 5, Media.SCP_ECG, SCP)), first=after)
    (line,) = write_files(store, BAG, "4821", tmp_path / "out", as_json=True)
    said = json.loads(line)
    path = tmp_path / "out" / f"imported-file-{said['sha256'][:12]}.pdf"
    assert said["file"] == str(path)
    assert said["bytes"] == len(PDF)
    assert path.read_bytes() == PDF
    assert write_files(store, BAG, OTHER.hex(), tmp_path / "out", as_json=False)[0].endswith(
        cut_file("", 0, Media.PDF, SCP)[0].digest.hex()
    )


def test_a_file_that_is_not_whole_yet_is_not_written(store):
    keep(store, VISIT, "4821", batches(VISIT, *pdf_parts()[:-1]))
    assert list(stored_files(store, BAG, VISIT)) == []


def test_rows_of_a_newer_bag_are_passed_over(store):
    after = keep(store, VISIT, "4821", batches(VISIT, *pdf_parts()))
    store.commit(rows=[Arrived(BAG, b"epochA", after, 5, VISIT, b"\x82\x18\x63\x00", 9)])
    assert [one.data for one in stored_files(store, BAG, VISIT)] == [PDF]


def test_an_unknown_visit_is_said(store, tmp_path):
    with pytest.raises(StateError, match="sac-04 has no visit 0000\nNext: besace-hub visits"):
        write_files(store, BAG, "0000", tmp_path, as_json=False)


def test_a_doctor_sees_the_files_of_one_visit_only():
    kept = VisitFiles()
    for part in pdf_parts():
        kept.take(VISIT, part)
    (scp,) = cut_file(IMPORTED.key, 4, Media.SCP_ECG, SCP)
    kept.take(VISIT, scp)
    kept.take(OTHER, cut_file(IMPORTED.key, 4, Media.JPEG, b"other")[0])
    assert [(one.media, one.data) for one in kept.of(VISIT)] == [(Media.SCP_ECG, SCP), (Media.PDF, PDF)]
    assert [one.data for one in kept.of(VISIT) if one.digest == scp.digest] == [SCP]
    assert all(one.digest != scp.digest for one in kept.of(OTHER))


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(visit_files, "KEPT_BYTES", 100)
    kept = VisitFiles()
    for n in range(5):
        kept.take(VISIT, cut_file("camera", n, Media.JPEG, bytes([n]) * 60)[0])
    assert [one.t_ns for one in kept.of(VISIT)] == [4]


def test_the_list_names_each_kind_and_links_to_it():
    kept = VisitFiles()
    whole = [kept.take(VISIT, part) for part in pdf_parts()][-1]
    page = document(Room(None, title="<Sac>", files=[whole]), Words.load()).decode()
    assert "&lt;Sac&gt;" in page
    assert f'<a href="/files/{whole.digest.hex()}">Compte rendu (PDF)</a> 151 ko' in page
    assert "Aucun document" in document(Room(None), Words.load()).decode()


def test_every_kind_has_a_name_and_an_ending():
    words = Words.load()
    for media in Media:
        assert words(f"media.{media.name.lower()}")
        assert visit_files.ENDING[media]


def test_waveforms_of_the_visit_are_not_even_decoded(store, monkeypatch):
    """A visit of hours has thousands of rows of samples; a file must not wait for them."""
    ecg = Stream("h.ecg", Signal.ECG, "h", 125.0, 1.0, "uV")
    writer = RecordWriter()
    writer.stream(ecg, (), 0)
    writer.add(SampleBlock("h.ecg", 0, 0, files_samples()))
    keep(store, VISIT, "4821", [*writer.cut(10**9, VISIT), *batches(VISIT, *pdf_parts())])
    monkeypatch.setattr("agent.transport.waveform.decode", lambda _: pytest.fail("decoded"))
    assert [one.data for one in stored_files(store, BAG, VISIT)] == [PDF]


def files_samples():
    import numpy as np

    return np.arange(100, dtype=np.int32)


def test_readings_beside_the_pieces_do_no_harm(store):
    reading = Reading(IMPORTED.key, Kind.SPO2, Unit.PERCENT, 5, 97)
    keep(store, VISIT, "4821", batches(VISIT, reading, *pdf_parts()))
    assert [one.data for one in stored_files(store, BAG, VISIT)] == [PDF]
    assert Path(visit_files.name_of(next(stored_files(store, BAG, VISIT)))).suffix == ".pdf"
