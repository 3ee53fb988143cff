"""A disk without room: the writer hears ENOSPC, what was acknowledged stays, and room can be made by deleting."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from agentfs.clock import SystemClock
from agentfs.errors import NoSpace
from agentfs.replica.check import check
from agentfs.replica.replica import ROOT, Replica
from agentfs.tree.tree import Tree
from agentfs.tree.values import Caller

CALLER = Caller(0, 0)
CREATE = os.O_RDWR | os.O_CREAT
MNT_DETACH = 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    libc = ctypes.CDLL(None, use_errno=True)
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() != 0 or libc.mount(b"tmpfs", os.fsencode(disk), b"tmpfs", 0, b"size=3m") != 0:
        pytest.skip("no tmpfs can be mounted here")
    try:
        yield disk
    finally:
        assert libc.umount2(os.fsencode(disk), MNT_DETACH) == 0


def open_replica(disk: Path) -> Replica:
    return Replica.open(
        str(disk / "replica"), volume_kind="home", volume_id="me", session_kind="test", clock=SystemClock()
    )


def write(tree: Tree, name: bytes, data: bytes) -> None:
    handle = tree.create(ROOT, name, 0o644, CALLER, CREATE)[1]
    try:
        done = 0
        while done < len(data):
            done += tree.write(handle, done, data[done:])
        tree.flush(handle)
    finally:
        tree.release(handle)


def read(tree: Tree, name: bytes) -> bytes:
    handle = tree.open(tree.lookup(ROOT, name).ino, os.O_RDONLY)
    try:
        return tree.read(handle, 0, 1 << 22)
    finally:
        tree.release(handle)


@pytest.mark.parametrize("size", [0, 700, 50_000], ids=["the database", "both", "the backing files"])
@pytest.mark.parametrize("way", ["unlink", "truncate", "rename over"])
def test_a_full_disk(small_disk: Path, size: int, way: str) -> None:
    acknowledged: dict[bytes, bytes] = {}
    with open_replica(small_disk) as replica:
        tree = Tree(replica)
        write(tree, b"kept", b"k" * 40_000)
        with pytest.raises(NoSpace):  # never another error, and it comes
            for number in range(20_000):
                name, data = b"%d" % number, b"%d/" % number * (size // 6)
                write(tree, name, data)
                acknowledged[name] = data
        for _ in range(20):  # and it stays a clear answer
            with suppress(NoSpace):  # what a failed write gave back is room for another
                write(tree, b"more", os.urandom(60_000))
        assert read(tree, b"kept") == b"k" * 40_000
        assert all(read(tree, name) == data for name, data in acknowledged.items())

        if way == "unlink":
            tree.unlink(ROOT, b"kept")
        elif way == "rename over":
            tree.rename(ROOT, b"0", ROOT, b"kept")
            acknowledged[b"kept"] = acknowledged.pop(b"0")
        else:
            tree.release(tree.open(tree.lookup(ROOT, b"kept").ino, os.O_WRONLY | os.O_TRUNC))
            acknowledged[b"kept"] = b""
        write(tree, b"after", b"a" * 500)
        acknowledged[b"after"] = b"a" * 500
        assert all(read(tree, name) == data for name, data in acknowledged.items())
        tree.close()
        assert os.stat(replica.directory + "/reserve").st_size > 0
    with open_replica(small_disk) as replica:
        assert check(replica) == []
        tree = Tree(replica)
        assert all(read(tree, name) == data for name, data in acknowledged.items())
        tree.close()
