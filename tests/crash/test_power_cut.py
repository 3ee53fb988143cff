"""Power cuts for real: the replica is on a file system of its own, on a loop device, and the device is copied while
the file system is mounted. The copy holds exactly what ext4 or XFS had *written to the disk* at that moment (its
journal, what fsync forced out), and nothing that was still in the page cache above it: what a disk holds after a
power cut. The timers that would write the rest out are longer than a test. Mounting the copy replays the journal.
"""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "sim"))
from node import Node, TestClock

from agentfs.fsck.store_check import StoreCheck
from agentfs.replica.check import check
from agentfs.replica.database import Connection
from agentfs.stores.memory import MemoryStore

SYSTEMS = {"ext4": ("mkfs.ext4", "-q", "-F"), "xfs": ("mkfs.xfs", "-q", "-f")}
OPTIONS = {"ext4": "loop,commit=900", "xfs": "loop,nouuid"}
SIZE_BYTES = 320 << 20
GOOD, NEWER = b"good version, in the log", b"n" * 40_000


def run(*command: str) -> bool:
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


class Disk:
    """An image file with a file system."""

    def __init__(self, directory: Path, system: str) -> None:
        self.directory, self.system = directory, system
        self.mounted: list[Path] = []

    def made(self) -> Path:
        image = self.directory / "image"
        with open(image, "wb") as file:
            file.truncate(SIZE_BYTES)
        if shutil.which(SYSTEMS[self.system][0]) is None or not run(*SYSTEMS[self.system], str(image)):
            pytest.skip(f"no {SYSTEMS[self.system][0]} here")
        return self.mount(image)

    def mount(self, image: Path) -> Path:
        place = image.with_name(image.name + ".mnt")
        place.mkdir()
        if not run("mount", "-t", self.system, "-o", OPTIONS[self.system], str(image), str(place)):
            pytest.skip("loop devices cannot be mounted here")
        self.mounted.append(place)
        return place

    def cut(self) -> Path:
        """The file system as a power cut at this moment would leave it, mounted."""
        copy = self.directory / f"copy-{len(self.mounted)}"
        shutil.copyfile(self.directory / "image", copy)
        return self.mount(copy)

    def close(self) -> None:
        for place in self.mounted:
            assert run("umount", str(place))


class World:
    def __init__(self, disk: Disk, directory: Path) -> None:
        self.disk, self.directory = disk, directory
        self.store, self.clock = MemoryStore(), TestClock()
        self.made: list[Node] = []
        self.root = disk.made()

    def node(self, directory: Path, name: str = "a") -> Node:
        self.made.append(Node(directory / name, self.store, self.clock, agent=name))
        return self.made[-1]

    def after_cut(self) -> Node:
        """The replica of `a` as the machine finds it when it is on again."""
        root = self.disk.cut()
        connection = Connection(str(root / "a" / "replica.db"))
        connection.execute("UPDATE session SET started='gone'")
        connection.execute("UPDATE state SET value='before' WHERE key='boot_id'")
        connection.close()
        found = self.node(root)
        assert not check(found.replica)
        return found

    def everywhere(self, node: Node) -> dict[str, bytes]:
        """What all machines show in the end."""
        node.settle(2)
        node.sync()
        b = self.node(self.directory, "b")
        b.engine.pull_now()
        assert b.show() == node.show()
        kinds = {it.kind for it in StoreCheck(self.store, "space", "sim", deep=True).run().findings.found}
        assert kinds <= {"store-file", "blob-unused"}
        return {os.fsdecode(name): data for name, (_, _, data) in b.show().items()}


@pytest.fixture(params=sorted(SYSTEMS))
def world(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    if os.geteuid() != 0:
        pytest.skip("needs root for loop devices")
    disk = Disk(tmp_path, request.param)
    found: World | None = None
    try:
        found = World(disk, tmp_path)
        yield found
    finally:
        for node in found.made if found is not None else ():
            with contextlib.suppress(Exception):
                node.close()
        disk.close()


def fsynced(node: Node, path: str, data: bytes) -> None:
    handle = node.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    node.tree.write(handle, 0, data)
    node.tree.fsync(handle, data_only=False)
    node.tree.flush(handle)
    node.tree.release(handle)


def test_what_was_synced_is_there(world: World) -> None:
    a = world.node(world.root)
    a.mkdir("d")
    fsynced(a, "d/f", NEWER)
    after = world.after_cut()
    assert after.read("d/f") == NEWER
    assert world.everywhere(after) == {"d": b"", "d/f": NEWER}


def test_a_directory_that_was_synced_is_there(world: World) -> None:
    a = world.node(world.root)
    fsynced(a, "f", NEWER)
    a.rename("f", "g")
    a.symlink("s", b"target")
    a.tree.fsync_directory(1)
    assert sorted(world.after_cut().names()) == ["g", "s"]


@pytest.mark.parametrize("by_rename", [False, True])
def test_rows_without_their_bytes_do_not_replace_the_good_version(world: World, by_rename: bool) -> None:
    """A closed file is not promised to survive; but another file's fsync makes its rows durable, not its bytes."""
    a = world.node(world.root)
    fsynced(a, "f", GOOD)
    a.sync()
    if by_rename:
        a.write("tmp", NEWER)
        a.rename("tmp", "f")
    else:
        a.write("f", NEWER)
    fsynced(a, "other", b"synced")
    after = world.after_cut()
    assert after.replica.files.stat(after.at("f")) is None or after.read("f") in (GOOD, NEWER)
    found = world.everywhere(after)
    assert found["f"] in (GOOD, NEWER)
    assert found["other"] == b"synced"


def test_synced_then_written_on(world: World) -> None:
    a = world.node(world.root)
    fsynced(a, "log", GOOD)
    a.sync()
    handle = a.open("log", os.O_WRONLY | os.O_APPEND)
    a.tree.write(handle, 0, b" synced")
    a.tree.fsync(handle, data_only=True)
    a.tree.write(handle, 0, b" not")
    found = world.everywhere(world.after_cut())
    assert found["log"].startswith(GOOD + b" synced")
    assert list(found) == ["log"]


class Cut(Exception):
    pass


@pytest.mark.parametrize("point", ["push.prepared", "push.appended", "push.settled"])
def test_a_commit_is_known_for_ours_after_a_cut(world: World, point: str) -> None:
    """F-42: prepared durably before the put. Else our own commit comes back as another's, and what was changed since
    becomes a conflict copy of ourselves."""
    a = world.node(world.root)
    fsynced(a, "f", b"one")

    def cut(name: str) -> None:
        if name == point:
            raise Cut

    a.engine._ground.failpoint = cut
    with pytest.raises(Cut):
        a.engine.push_until_clean(a.clock.monotonic() + 5)
    before = a.replica.state("replica_id")
    after = world.after_cut()
    fsynced(after, "f", b"two")
    assert world.everywhere(after) == {"f": b"two"}
    assert after.replica.state("replica_id") == before


def test_what_was_fetched_is_fetched_again(world: World) -> None:
    b = world.node(world.directory, "b")
    b.write("f", NEWER)
    b.sync()
    world.made.remove(b)
    b.close()
    a = world.node(world.root)
    a.engine.pull_now()
    assert a.read("f") == NEWER
    a.replica.sync()
    assert world.everywhere(world.after_cut()) == {"f": NEWER}
