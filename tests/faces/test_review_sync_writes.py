"""A write through `O_SYNC` or `O_DSYNC` is durable when it returns: bytes, and the rows that tell of them."""

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from mounted import Mounted, mounted, needs_mount, open_directory

pytestmark = [pytest.mark.mount, needs_mount]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Mounted]:
    with open_directory() as path:
        (path / "mnt").mkdir()
        with mounted("replicated.py", str(path / "r"), mountpoint=path / "mnt", log=path / "log") as it:
            yield it


def size_row(running: Mounted, file: Path) -> int:
    """The size that the replica's rows tell, before any close."""
    with sqlite3.connect(running.path.parent / "r" / "replica.db") as connection:
        return connection.execute("SELECT size_bytes FROM inode WHERE ino=?", (file.stat().st_ino,)).fetchone()[0]


@pytest.mark.parametrize("flag", [os.O_SYNC, os.O_DSYNC])
@pytest.mark.parametrize("exists", [False, True])
def test_the_rows_are_there_when_the_write_returns(running: Mounted, flag: int, exists: bool) -> None:
    file = running.path / "f"
    if exists:
        file.write_bytes(b"old")
    fd = os.open(file, os.O_WRONLY | os.O_CREAT | flag)
    try:
        os.write(fd, b"durable")
        assert size_row(running, file) == 7
        os.pwrite(fd, b"more", 7)
        assert size_row(running, file) == 11
    finally:
        os.close(fd)
    assert file.read_bytes() == b"durablemore"


def test_where_another_writer_is_in_passthrough_the_mark_is_durable(running: Mounted) -> None:
    file = running.path / "f"
    with open(file, "wb", buffering=0) as other:
        other.write(b"bytes that nobody synced")
        assert size_row(running, file) == 0
        fd = os.open(file, os.O_WRONLY | os.O_DSYNC)
        assert size_row(running, file) == 24
        os.write(fd, b"BYTES")
        os.close(fd)
    assert file.read_bytes() == b"BYTES that nobody synced"
