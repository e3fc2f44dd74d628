"""A file from the command line to the recorder."""

import asyncio
from datetime import datetime

import pytest

from agent.commands.importing import import_file
from agent.config import parse
from agent.control import serve_control
from agent.errors import ConfigError, StateError
from agent.model import Visit
from agent.taking import take_import
from tests.peers.scp_writer import WHOLE
from tests.peers.waiting import until

PDF = b"%PDF-1.7\n" + b"x" * 3000 + b"\n%%EOF\n"

BAG = (
    '[bag]\nname = "s"\nstate_dir = "{dir}"\nruntime_dir = "{dir}"\n'
    '[hub]\nhost = "h"\nca = "a"\ncertificate = "b"\nkey = "c"\nsealing_key = "d"\n'
)


class Recorder:
    """Takes files while a visit is open."""

    def __init__(self, visit):
        self.visit = visit
        self.stored = []

    async def store_file(self, instrument, parts):
        self.stored.append((instrument.key, list(parts)))


def bring(folder, recorder, path, *, anyway=False):
    """The command in a thread, the agent's verb in the loop, over a real control socket."""

    async def import_(asked):
        return await take_import(
            asked, folder=folder, recorder=recorder, now_ns=lambda: 60 * 10**9,
            wall=lambda t_ns: datetime.fromtimestamp(1_790_000_000 + t_ns / 1e9).astimezone(),
        )  # fmt: skip

    async def main():
        config = parse(BAG.format(dir=folder))
        server = asyncio.create_task(serve_control(config.bag.control_socket, {"import": import_}))
        await until(config.bag.control_socket.exists)
        try:
            return await asyncio.to_thread(import_file, config, path, anyway=anyway)
        finally:
            server.cancel()
            await asyncio.gather(server, return_exceptions=True)

    return asyncio.run(main())


@pytest.fixture
def pdf(tmp_path):
    path = tmp_path / "mine" / "report.pdf"
    path.parent.mkdir()
    path.write_bytes(PDF)
    return path


def test_a_file_reaches_the_recorder_whole(tmp_path, pdf):
    recorder = Recorder(Visit(bytes(16), "0042", 0))
    said = bring(tmp_path, recorder, pdf)
    ((key, parts),) = recorder.stored
    assert key == "imported-file"
    assert b"".join(part.data for part in parts) == PDF
    assert said == f"PDF, {len(PDF)} bytes  sha256 {parts[0].digest.hex()}"
    assert pdf.read_bytes() == PDF
    assert not list(tmp_path.glob("import-*"))


def test_without_a_visit_it_is_refused_and_nothing_is_left(tmp_path, pdf):
    with pytest.raises(StateError, match="a file belongs to a visit, and none is open\nNext: besace visit new"):
        bring(tmp_path, Recorder(None), pdf)
    assert not list(tmp_path.glob("import-*"))


def test_another_times_recording_wants_anyway(tmp_path):
    path = tmp_path / "ecg.scp"
    path.write_bytes(WHOLE)
    recorder = Recorder(Visit(bytes(16), "0042", 0))
    with pytest.raises(StateError, match="another patient's"):
        bring(tmp_path, recorder, path)
    assert recorder.stored == []
    assert bring(tmp_path, recorder, path, anyway=True).startswith("SCP-ECG, 2 leads")


def test_no_file_and_no_agent_are_said(tmp_path, pdf):
    config = parse(BAG.format(dir=tmp_path))
    with pytest.raises(ConfigError, match="cannot read .*none.pdf"):
        import_file(config, tmp_path / "none.pdf", anyway=False)
    with pytest.raises(StateError, match="no agent answers"):
        import_file(config, pdf, anyway=False)
    assert not list(tmp_path.glob("import-*"))
