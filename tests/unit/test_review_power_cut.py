"""A power cut leaves rows without the bytes that they speak of: what is left never replaces a good version."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "sim"))
from node import CALLER, ROOT, Node, TestClock

from agentfs.replica.check import check
from agentfs.stores.memory import MemoryStore

GOOD, NEWER = b"good version", b"newer version, closed, not synced"


class World:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.store, self.clock = MemoryStore(), TestClock()
        self.made: list[Node] = []

    def node(self, name: str = "a") -> Node:
        self.made.append(Node(self.directory / name, self.store, self.clock, agent=name))
        return self.made[-1]

    def cut(self, node: Node, sizes: dict[str, int | None]) -> Node:
        """The machine goes down with the rows written and of these files only the first bytes (None: no name)."""
        paths = {node.replica.files.path(node.at(it)): size for it, size in sizes.items()}
        node.replica.set_state("boot_id", "before the power cut")
        node.replica.connection.execute("UPDATE session SET pid=1, started='x'")
        node.engine.close()
        node.replica.door.session = 0
        node.replica.connection.close()
        self.made.remove(node)
        for path, size in paths.items():
            if size is None:
                os.unlink(path)
            else:
                times = os.stat(path)
                os.truncate(path, size)
                os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        again = self.node()
        assert not check(again.replica)
        return again


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    it = World(tmp_path)
    yield it
    for node in it.made:
        assert not check(node.replica)
        node.close()


def everywhere(world: World, a: Node) -> dict[str, bytes]:
    """What both machines show in the end: name → bytes."""
    b = world.node("b")
    a.settle(3)
    a.sync()
    b.engine.pull_now()
    assert a.show() == b.show()
    return {os.fsdecode(name): data for name, (_, _, data) in b.show().items()}


def copies(found: dict[str, bytes]) -> list[bytes]:
    return [data for name, data in found.items() if ".conflict-" in name]


@pytest.mark.parametrize("left", [None, 0, 7])
def test_the_version_of_the_log_comes_back(world: World, left: int | None) -> None:
    a = world.node()
    a.write("f", GOOD)
    a.sync()
    a.write("f", NEWER)
    a.chmod("f", 0o600)
    found = everywhere(world, world.cut(a, {"f": left}))
    assert found["f"] == GOOD
    assert copies(found) == ([NEWER[:left]] if left else [])
    assert world.made[0].replica.connection.one("SELECT count(*) FROM conflict")[0] >= 1
    assert all(mode == 0o600 for _, mode, _ in world.made[0].show().values())


@pytest.mark.parametrize("left", [None, 0, 7])
def test_a_file_renamed_over_the_good_one(world: World, left: int | None) -> None:
    """As most editors and agents save."""
    a = world.node()
    a.write("f", GOOD)
    a.sync()
    a.write("f.tmp", NEWER)
    a.rename("f.tmp", "f")
    found = everywhere(world, world.cut(a, {"f": left}))
    assert found["f"] == GOOD
    assert copies(found) == ([NEWER[:left]] if left else [])


@pytest.mark.parametrize("left", [None, 0, 7])
def test_a_file_that_the_log_never_had_keeps_what_is_left(world: World, left: int | None) -> None:
    a = world.node()
    a.write("f", NEWER)
    a = world.cut(a, {"f": left})
    assert a.read("f") == NEWER[: left or 0]
    assert a.replica.connection.one("SELECT detail FROM conflict")[0].endswith(
        f"{left or 0} of {len(NEWER)} are left"
    )
    assert everywhere(world, a) == {"f": NEWER[: left or 0]}


def test_half_a_rewrite_does_not_replace_the_good_version(world: World) -> None:
    a = world.node()
    a.write("f", GOOD)
    a.sync()
    handle = a.open("f", os.O_WRONLY | os.O_TRUNC)
    a.tree.write(handle, 0, NEWER)
    found = everywhere(world, world.cut(a, {"f": 5}))
    assert found["f"] == GOOD and copies(found) == [NEWER[:5]]


def test_what_was_synced_stays_at_its_name(world: World) -> None:
    """A log or a database: open for long, synced now and then, and written on since."""
    a = world.node()
    a.write("f", GOOD)
    a.sync()
    handle = a.open("f", os.O_RDWR)
    a.tree.write(handle, 0, NEWER)
    a.tree.fsync(handle, data_only=False)
    a.tree.write(handle, len(NEWER), b" and more")
    found = everywhere(world, world.cut(a, {"f": len(NEWER) + 4}))
    assert found == {"f": NEWER + b" and"}


def test_a_clean_file_open_for_writing_is_fetched_again(world: World) -> None:
    """Bytes that were fetched are never synced: they may be gone, and are in the store."""
    b = world.node("b")
    b.write("f", GOOD)
    b.sync()
    a = world.node()
    a.engine.pull_now()
    a.read("f")
    a.open("f", os.O_RDWR)
    a = world.cut(a, {"f": 3})
    assert not a.replica.pending().inodes
    assert a.tree.hydrate(a.at("f")) is None
    assert a.read("f") == GOOD
    assert a.names() == ["f"]


def test_other_bytes_under_the_old_time_are_kept(world: World) -> None:
    """`O_DSYNC` and fdatasync promise bytes; the time of a file may be lost."""
    a = world.node()
    a.write("f", GOOD)
    a.sync()
    handle = a.open("f", os.O_RDWR)
    os.pwrite(handle.fd, b"GOOD", 0)  # as the kernel does in passthrough
    row = a.replica.inode(handle.ino)
    assert row is not None
    os.utime(handle.fd, ns=(0, row.mtime_ns))
    found = everywhere(world, world.cut(a, {}))
    assert found["f"] == GOOD and copies(found) == [b"GOOD version"]


def test_files_that_never_leave_the_machine_can_be_read_after_a_restart(world: World) -> None:
    a = world.node()
    a.write("x.swp", GOOD)
    a.write("y.swp", NEWER)
    a.sync()
    a = world.cut(a, {"y.swp": 5})
    assert a.read("x.swp") == GOOD
    assert a.read("y.swp") == NEWER[:5]
    assert a.tree.attributes(a.at("y.swp")).size_bytes == 5


def test_a_hard_link_and_attributes_follow_the_good_version(world: World) -> None:
    a = world.node()
    a.write("f", GOOD)
    a.tree.set_xattr(a.at("f"), b"user.a", b"1", 0)
    a.link("f", "g")
    a.sync()
    a.write("f", NEWER)
    a.tree.set_xattr(a.at("f"), b"user.b", b"2", 0)
    a = world.cut(a, {"f": 4})
    found = everywhere(world, a)
    assert found["f"] == found["g"] == GOOD
    b = world.made[-1]
    assert b.at("f") == b.at("g")
    assert b.tree.get_xattr(b.at("f"), b"user.b") == b"2"


def test_a_second_start_changes_nothing(world: World) -> None:
    a = world.node()
    a.tree.mkdir(ROOT, b"d", 0o755, CALLER)
    a.write("d/f", GOOD)
    a.sync()
    a.write("d/f", NEWER)
    a = world.cut(a, {"d/f": 4})
    before = a.show()
    a = world.cut(a, {})
    assert a.show() == before
