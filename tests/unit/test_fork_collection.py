"""Collection beside names and forks: what a pin holds is there for ever, what it does not hold goes."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "sim"))
from fork_worlds import HomeNode, World, worlds

from agentfs.errors import VersionGone
from agentfs.format import layout
from agentfs.log.pins import Pins
from agentfs.volume.snapshots import log_of
from agentfs.volume.trees import tree_at

BIG = bytes(range(256)) * 8192
PREFIX = ".agentfs/volumes/home-alice/"


@pytest.fixture
def world() -> Iterator[World]:
    with worlds() as make:
        yield make()


def begin(world: World) -> HomeNode:
    alice = world.node("alice")
    alice.mkdir("notes")
    alice.write("notes/a.md", b"first\n")
    alice.write("gone.md", b"deleted later\n")
    alice.write("big.bin", BIG)
    alice.sync()
    return alice


def go_on(world: World, alice: HomeNode) -> None:
    """Nothing of the beginning is left in the newest state, and it is old."""
    for number in range(3):
        alice.write("notes/a.md", b"version %d\n" % number)
        alice.sync()
    alice.unlink("gone.md")
    alice.unlink("big.bin")
    alice.sync()
    assert alice.engine.snapshot()
    world.clock.now_s += 400 * 86_400
    alice.write("now.md", b"now\n")
    alice.sync()


BEGINNING = {b"notes": b"", b"notes/a.md": b"first\n", b"gone.md": b"deleted later\n", b"big.bin": BIG}


def test_what_a_fork_begins_with_outlives_every_collection(world: World) -> None:
    alice = begin(world)
    world.fork(alice, "exp")
    go_on(world, alice)
    assert world.collect("alice", "30d").commits == 5
    world.collect("alice", "30d")
    with pytest.raises(VersionGone):
        tree_at(log_of(world.store, "home-alice"), world.store, 3)  # it did collect
    assert world.shown("exp") == BEGINNING
    exp = world.node("exp")
    assert exp.read("big.bin") == BIG
    exp.append("big.bin", b"more")
    exp.rename("notes/a.md", "moved.md")
    exp.sync()
    assert world.findings("exp", exp) == [] == world.findings("alice")
    # Forked again, when the parent's beginning is in packs already.
    world.fork(exp, "deeper")
    assert world.shown("deeper") == world.shown("exp")
    assert world.findings("deeper") == []
    merged = world.merge("exp", "alice")
    alice.engine.pull_now()
    assert alice.read("big.bin") == BIG + b"more"  # changed there, deleted here: it lives
    assert b"first\n" not in alice.show().values()
    assert merged.changes > 0
    assert world.findings("alice", alice) == []


def test_collecting_in_a_fork_touches_nothing_else(world: World) -> None:
    alice = begin(world)
    world.fork(alice, "exp")
    exp = world.node("exp")
    for number in range(4):
        exp.write("notes/a.md", b"in the fork %d\n" % number)
        exp.append("big.bin", b"%d" % number)
        exp.sync()
    exp.unlink("gone.md")
    exp.sync()
    assert exp.engine.snapshot()
    world.clock.now_s += 400 * 86_400
    exp.write("now.md", b"now\n")
    exp.sync()
    before = world.objects(PREFIX)
    expected = world.shown("exp")
    assert world.collect("exp", "30d").commits == 5
    world.collect("exp", "30d")
    assert world.objects(PREFIX) == before
    assert world.shown("exp") == expected
    assert world.node("exp", name="later").show().keys() == expected.keys()
    assert world.findings("exp", exp) == [] == world.findings("alice", alice)
    world.end("exp")
    assert [name for name in world.objects(".agentfs/volumes/home-exp/") if "/log/" not in name] == []


def test_a_deleted_fork_holds_nothing_any_more(world: World) -> None:
    alice = begin(world)
    world.fork(alice, "exp")
    go_on(world, alice)
    world.collect("alice", "30d")
    held = set(world.objects(f"{PREFIX}blobs/"))
    assert held
    world.end("exp")
    assert Pins(world.store, "home-alice").list() == []
    alice.write("more.md", b"more\n")
    alice.sync()
    assert alice.engine.snapshot()
    world.clock.now_s += 400 * 86_400
    alice.write("more.md", b"and more\n")
    alice.sync()
    world.collect("alice", "30d")
    assert set(world.objects(f"{PREFIX}blobs/")) == set()
    assert layout.snapshot_name(PREFIX, 1) not in world.objects()
    assert world.findings("alice", alice) == []
