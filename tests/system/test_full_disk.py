"""A full disk under the replica: the writer hears ENOSPC, nothing else breaks."""

import contextlib
import ctypes
import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from machines import Fleet, Machine, tree, until, until_equal

from agentfs.testing.servers import S3Server

_MIB = 1 << 20


@contextlib.contextmanager
def small_disk(path: Path, size_bytes: int) -> Iterator[Path]:
    """A file system of that size."""
    libc = ctypes.CDLL(None, use_errno=True)
    path.mkdir()
    if libc.mount(b"tmpfs", os.fsencode(path), b"tmpfs", 0, f"size={size_bytes}".encode()) != 0:
        pytest.skip(f"no tmpfs here: {os.strerror(ctypes.get_errno())}")
    try:
        yield path
    finally:
        assert libc.umount2(os.fsencode(path), 2) == 0  # MNT_DETACH


def _has_room(machine: Machine, name: str, data: bytes) -> bool:
    try:
        machine.write(name, data)
    except OSError as error:
        assert error.errno == errno.ENOSPC
        return False
    return True


def test_full_disk(machines: Fleet, ministack_server: S3Server, bucket: str) -> None:
    machine = machines.machine(ministack_server, bucket)
    with small_disk(machine.root / "disk", 28 * _MIB) as disk:
        machine.state = disk / "state"
        machine.mount()
        machine.write("kept", b"k" * 100_000)
        ballast = disk / "ballast"  # somebody else's
        ballast.write_bytes(bytes(12 * _MIB))
        with pytest.raises(OSError) as caught:
            for number in range(64):
                machine.write(f"fill-{number}", os.urandom(_MIB))
        assert caught.value.errno == errno.ENOSPC
        with pytest.raises(OSError) as caught:  # not even small ones, for ever; and never another error
            for number in range(10_000):
                machine.write(f"small-{number}", os.urandom(5000))
        assert caught.value.errno == errno.ENOSPC
        assert machine.read("kept") == b"k" * 100_000  # the mount lives
        assert os.stat(machine.path("kept")).st_size == 100_000
        names = os.listdir(machine.path())
        whole = {name for name in names if name.startswith(b"fill-") and os.stat(machine.path(name)).st_size == _MIB}
        assert whole
        machine.kill("mount", "engine")  # and it can be mounted again
        machine.mount()
        assert machine.read("kept") == b"k" * 100_000
        os.unlink(machine.path(sorted(whole)[0]))  # room can be made through the mount itself
        assert not os.path.exists(machine.path(sorted(whole)[0]))
        # What is being uploaded keeps its bytes until it is read. Where the engine was first, on a slow machine, its
        # database has taken what became free, and room comes with the end of the ballast.
        deadline = time.monotonic() + 20
        while not _has_room(machine, "in the room", b"r" * 500_000) and time.monotonic() < deadline:
            time.sleep(0.05)
        os.unlink(ballast)
        until(lambda: _has_room(machine, "in the room", b"r" * 500_000), "there is room")
        machine.write("after", b"a" * 300_000)
        assert machine.read("after") == b"a" * 300_000
        machine.sync()
        expected = tree(machine.path())
        machine.unmount()
        machine.fsck("--deep")
        machine.mount()
        assert tree(machine.path()) == expected
        fresh = machines.machine(ministack_server, bucket)
        fresh.mount()
        until_equal(machine, fresh)
        assert tree(fresh.path()) == expected
        fresh.unmount()
        machine.unmount()
        fresh.fsck("--deep")


def test_the_disk_of_a_reader_is_full(machines: Fleet, ministack_server: S3Server, bucket: str) -> None:
    """A home larger than the disk: names are there, what fits is read, and nothing pending is dropped for it."""
    writer = machines.machine(ministack_server, bucket)
    writer.mount()
    for number in range(16):
        writer.write(f"file-{number:02}", os.urandom(2 * _MIB))
    writer.unmount()
    reader = machines.machine(ministack_server, bucket)
    with small_disk(reader.root / "disk", 16 * _MIB) as disk:
        reader.state = disk / "state"
        (reader.root / "config.toml").write_text('[default]\ncache_size = "6MiB"\n')
        reader.mount()
        assert len(os.listdir(reader.path())) == 16
        reader.write("mine", b"small")
        reader.sync()
        for number in range(16):  # the cache turns over: each can be read in its turn
            assert len(reader.read(f"file-{number:02}")) == 2 * _MIB
        assert reader.read("mine") == b"small"
        reader.unmount()
        reader.fsck()
