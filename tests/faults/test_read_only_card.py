"""A card whose file system goes read-only under way: the bag says so, streams live, and lost nothing that it promised.

A real ext4 on a loop device, made to fail by the kernel's own trigger. Needs the right to mount; skipped without.
"""

import asyncio
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.outbox import Outbox
from tests.test_recorder import Bag


def sh(*command):
    return subprocess.run(command, capture_output=True, text=True, check=False)


@contextmanager
def card(image, at):
    """The card in its place; its device's name."""
    at.mkdir(exist_ok=True)
    if sh("mount", "-o", "loop,errors=remount-ro", image, at).returncode:
        pytest.skip("mounting a card is not allowed here")
    try:
        yield Path(sh("findmnt", "-no", "SOURCE", at).stdout.strip()).name
    finally:
        assert sh("umount", at).returncode == 0


@pytest.fixture
def image(tmp_path):
    if shutil.which("mkfs.ext4", path="/usr/sbin:/sbin") is None:
        pytest.skip("mkfs.ext4 is not installed")
    with (tmp_path / "image").open("wb") as file:
        file.truncate(32 << 20)
    assert sh("mkfs.ext4", "-q", "-F", tmp_path / "image").returncode == 0
    return tmp_path / "image"


def test_the_card_goes_read_only_in_a_visit(tmp_path, image, caplog):
    at = tmp_path / "card"

    async def second(bag):
        bag.clock.forward(1)
        bag.recorder.add([bag.reading(97), bag.block(0)])
        await bag.recorder.cut()

    async def visit(bag, device):
        bag.recorder.open_visit(bag.visit(), resumed=False)
        for _ in range(5):
            await second(bag)
        assert bag.recorder.disk_error == ""
        promised = bag.on_board()
        trigger = Path("/sys/fs/ext4") / device / "trigger_fs_error"
        if not trigger.exists():
            pytest.skip("this kernel's ext4 has no trigger_fs_error")
        trigger.write_text("1")
        sent = len(bag.offered)
        for _ in range(5):
            await second(bag)
        assert len(bag.offered) >= sent + 5  # live rows flow on
        assert "disk I/O error" in bag.recorder.disk_error or "readonly" in bag.recorder.disk_error
        assert "outbox=failing" in caplog.text
        return promised

    with card(image, at) as device:
        bag = Bag(at)
        try:
            promised = asyncio.run(visit(bag, device))
        finally:
            bag.outbox.close()
    assert sh("e2fsck", "-fy", image).returncode in {0, 1}  # as a boot does
    with card(image, at):
        box = Outbox(at / "outbox.sqlite", ballast_bytes=0)
        assert box.unreceipted() == promised
        box.close()


def test_negative_control_without_the_fault_everything_is_written(tmp_path, image):
    async def visit(bag):
        bag.recorder.open_visit(bag.visit(), resumed=False)
        bag.recorder.add([bag.reading(97)])
        await bag.recorder.cut()
        assert bag.recorder.disk_error == ""

    with card(image, tmp_path / "card"):
        bag = Bag(tmp_path / "card")
        asyncio.run(visit(bag))
        bag.outbox.close()
