"""A replica that was restored from an old backup, or cloned: recognised by the log, nothing lost, nothing doubled."""

import logging
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "sim"))
from node import Node, TestClock

from agentfs.replica.check import check
from agentfs.stores.memory import MemoryStore


class World:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.store, self.clock = MemoryStore(), TestClock()
        self.made: list[Node] = []

    def node(self, name: str) -> Node:
        self.made.append(Node(self.directory / name, self.store, self.clock, agent=name))
        return self.made[-1]

    def end(self, node: Node) -> None:
        node.close()
        self.made.remove(node)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    it = World(tmp_path)
    yield it
    for node in it.made:
        assert not check(node.replica)
        node.close()


def restored(world: World, node: Node) -> Node:
    world.end(node)
    shutil.rmtree(world.directory / "a")
    shutil.copytree(world.directory / "backup", world.directory / "a")
    return world.node("a")


def backed_up(world: World, node: Node) -> Node:
    world.end(node)
    shutil.copytree(world.directory / "a", world.directory / "backup")
    return world.node("a")


def test_a_clean_backup_catches_up(world: World, caplog: pytest.LogCaptureFixture) -> None:
    a = world.node("a")
    a.write("f", b"one")
    a.write("old", b"x")
    a.sync()
    a = backed_up(world, a)
    a.write("f", b"two")
    a.write("g", b"new")
    a.unlink("old")
    a.sync()
    a.write("g", b"newer")
    a.sync()
    shown, before = a.show(), a.replica.state("replica_id")
    a = restored(world, a)
    assert a.replica.state("replica_id") == before and a.engine.status().copied_ns is None
    with caplog.at_level(logging.WARNING):
        a.engine.pull_now()
    assert a.show() == shown
    assert not a.replica.pending().inodes and not a.replica.connection.rows("SELECT * FROM conflict")
    assert a.replica.state("replica_id") != before and a.engine.status().copied_ns is not None
    assert len([it for it in caplog.messages if "restored from a backup" in it]) == 1
    a.write("h", b"goes on")
    a.sync()
    b = world.node("b")
    b.engine.pull_now()
    assert b.show() == a.show()


def test_what_was_pending_in_the_backup_and_pushed_since_is_not_doubled(world: World) -> None:
    a = world.node("a")
    a.write("f", b"one")
    a.sync()
    a.write("f", b"two")
    a.write("made", b"made")
    a.mkdir("d")
    a.write("d/inside", b"i")
    a = backed_up(world, a)
    a.sync()
    a.write("f", b"three")
    a.sync()
    shown = a.show()
    a = restored(world, a)
    assert a.replica.pending().inodes
    a.sync()
    assert a.show() == shown


def test_what_only_the_backup_has_is_not_lost(world: World) -> None:
    a = world.node("a")
    a.write("f", b"one")
    a.sync()
    a.write("f", b"only in the backup")
    a.write("bytes", b"\0only in the backup")
    a.write("mine", b"only in the backup, too")
    a = backed_up(world, a)
    a.write("f", b"went on")  # the backup's version was never pushed
    a.write("bytes", b"\0went on")
    a.unlink("mine")
    a.sync()
    a = restored(world, a)
    a.sync()
    b = world.node("b")
    b.engine.pull_now()
    assert sorted(data for _, _, data in b.show().values()) == [
        b"\0only in the backup", b"\0went on", b"only in the backup, too", b"went on\nonly in the backup",
    ]  # fmt: skip
    assert b.read("bytes") == b"\0went on" and a.show() == b.show()


def test_a_commit_in_doubt_at_the_backup_is_settled(world: World) -> None:
    """The backup holds a commit that was prepared and never put; the log has the same changes in another one."""
    a = world.node("a")
    a.write("f", b"one")

    class Cut(Exception):
        pass

    def cut(name: str) -> None:
        if name == "push.prepared":
            raise Cut

    a.engine._ground.failpoint = cut
    with pytest.raises(Cut):
        a.engine.push_until_clean(a.clock.monotonic() + 5)
    a = backed_up(world, a)
    a.sync()
    a = restored(world, a)
    a.sync()
    assert {name: data for name, (_, _, data) in a.show().items()} == {b"f": b"one"}


def test_of_two_clones_one_takes_a_new_identity(world: World) -> None:
    a = world.node("a")
    a.write("f", b"one")
    a.sync()
    world.end(a)
    shutil.copytree(world.directory / "a", world.directory / "twin")
    a, twin = world.node("a"), world.node("twin")
    a.write("a", b"a")
    a.sync()
    twin.engine.pull_now()
    twin.write("twin", b"twin")
    twin.sync()
    a.engine.pull_now()
    assert a.replica.state("replica_id") != twin.replica.state("replica_id")
    assert a.engine.status().copied_ns is None
    assert a.show() == twin.show()
