"""A backing file that the kernel reads and writes by itself stays in place until the last close."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from mounted import Mounted, mounted, needs_mount, open_directory, until

from agentfs.clock import SystemClock
from agentfs.replica.replica import Replica
from agentfs.tree.tree import Tree
from agentfs.volume.replacing import replace

pytestmark = [pytest.mark.mount, needs_mount]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Mounted]:
    with open_directory() as path:
        (path / "mnt").mkdir()
        with mounted("replicated.py", str(path / "r"), mountpoint=path / "mnt", log=path / "log") as it:
            yield it


def replaced(directory: Path, name: bytes, data: bytes) -> None:
    """Replace a file's bytes from another process of this machine, as the SDK does."""
    replica = Replica.open(
        str(directory), volume_kind="home", volume_id="test", session_kind="sdk", clock=SystemClock()
    )
    tree = Tree(replica)
    try:
        replace(replica, tree, parent=1, name=name, existing=tree.lookup(1, name), data=data)
    finally:
        tree.close()
        replica.close()


def test_an_open_after_a_replacement_meets_the_new_bytes_and_writes_them(running: Mounted) -> None:
    file = running.path / "f"
    file.write_bytes(b"old bytes")
    with open(file, "r+b", buffering=0) as writer:  # first, so that the inode is in passthrough …
        reader = os.open(file, os.O_RDONLY)
        writer.write(b"OLD")
    try:  # … and then only this reader keeps it there
        replaced(running.path.parent / "r", b"f", b"new bytes!")
        until(lambda: file.read_bytes() == b"new bytes!", "the new bytes are seen")
        with open(file, "r+b", buffering=0) as writer:
            writer.write(b"NEW")
        assert file.read_bytes() == b"NEW bytes!"
        assert os.pread(reader, 100, 0) == b"OLD bytes"
    finally:
        os.close(reader)
    assert file.read_bytes() == b"NEW bytes!"


def test_one_writer_is_remembered_however_many_come_and_go(running: Mounted) -> None:
    file = running.path / "log"
    with open(file, "ab", buffering=0), open(file, "rb", buffering=0) as reader:
        descriptors = f"/proc/{running.process.pid}/fd"
        before = len(os.listdir(descriptors))
        for _ in range(20):
            with open(file, "ab", buffering=0) as writer:
                writer.write(b"line\n")
        assert reader.read() == b"line\n" * 20
        until(lambda: len(os.listdir(descriptors)) <= before + 1, "released")
    until(lambda: not marks(running.path.parent / "r"), "the marks are gone")


def marks(directory: Path) -> list[tuple[int, int]]:
    replica = Replica.open(
        str(directory), volume_kind="home", volume_id="test", session_kind="sdk", clock=SystemClock()
    )
    try:
        return replica.connection.rows("SELECT * FROM write_open")
    finally:
        replica.close()
