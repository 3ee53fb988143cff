"""Forks: made in a constant number of requests, read and written like any home, checked, deleted; whatever is
interrupted is finished by doing it again."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "sim"))
from fork_worlds import Crash, HomeNode, World, crash_at, worlds
from invariants import broken

from agentfs.errors import (
    AgentIdInvalid,
    Corrupt,
    Exists,
    InvalidArgument,
    NewerFormat,
    NotEmpty,
    NotFound,
    VolumeDeleted,
)
from agentfs.format import layout
from agentfs.format.framing import ObjectKind, check_features, open_frame
from agentfs.format.origins import Origin, origins_text, parse_origins
from agentfs.format.snapshot import decode_snapshot_rows, encode_snapshot_rows
from agentfs.format.stub import decode_stub, encode_stub, end_entry, origin_entry
from agentfs.log.pins import Pins
from agentfs.stores.counted import Counts
from agentfs.volume.fork import READY, UNFINISHED, Wish, check_wish, forks_of
from agentfs.volume.pinned import mend_pinned
from agentfs.volume.snapshots import check_snapshot_name, log_of

BIG = bytes(range(256)) * 8192  # 2 MiB: chunks
FORKING = ("pin.put", "pin.checked", "fork.pinned", "fork.checked", "fork.made")
ENDING = ("end.ended", "end.shut", "end.marked", "end.dropped")


@pytest.fixture
def world() -> Iterator[World]:
    with worlds() as make:
        yield make()


@pytest.fixture
def alice(world: World) -> HomeNode:
    node = world.node("alice")
    node.mkdir("notes")
    node.write("notes/a.md", b"alpha\n")
    node.write("big.bin", BIG)
    node.sync()
    node.write("notes/b.md", b"beta\n")
    node.sync()
    return node


CONTENTS = {b"notes": b"", b"notes/a.md": b"alpha\n", b"notes/b.md": b"beta\n", b"big.bin": BIG}


# ---- the format ----


def test_an_origin_entry_is_read_back() -> None:
    origins = (Origin("home-p", 7), Origin("home-g", 7), Origin("space-s", 2))
    stub = origin_entry("home-f", origins, fork_id=b"i" * 16, digest=b"d" * 32, time_ns=5)
    data = encode_stub(stub)
    assert decode_stub(data, volume="home-f", sequence=1) == stub
    assert parse_origins(origins_text(origins)) == origins
    header = open_frame(data, kind=ObjectKind.STUB).header
    with pytest.raises(NewerFormat, match="'origin'"):
        check_features(header["requires"], known=frozenset())  # a reader from before


@pytest.mark.parametrize(
    "origins",
    [
        (Origin("home-p", 3), Origin("home-g", 4)),
        (Origin("home-p", 3), Origin("home-p", 2)),
        (Origin("home-f", 3),),
        (Origin("nothing", 3),),
        (Origin("home-p", 0),),
        tuple(Origin(f"home-{n}", 3) for n in range(33)),
    ],
)
def test_origins_that_cannot_be(origins: tuple[Origin, ...]) -> None:
    with pytest.raises(ValueError):
        encode_stub(origin_entry("home-f", origins, fork_id=b"i" * 16, digest=b"d" * 32, time_ns=5))


def test_only_a_fork_ends() -> None:
    entry = end_entry("home-f", (Origin("home-p", 3),), sequence=9, time_ns=5)
    assert decode_stub(encode_stub(entry), volume="home-f", sequence=9).ended
    with pytest.raises(ValueError, match="no fork"):
        encode_stub(end_entry("home-f", (), sequence=9, time_ns=5))


# ---- making ----


def test_a_fork_is_the_parent_as_it_was(world: World, alice: HomeNode) -> None:
    fork = world.fork(alice, "exp", note="try it")
    assert (fork.agent_id, fork.parent, fork.sequence, fork.state) == ("exp", "home-alice", alice.head, READY)
    assert world.shown("exp") == CONTENTS
    exp = world.node("exp")
    assert exp.show() == alice.show()
    assert exp.head == alice.head
    assert world.findings("exp", exp) == [] == world.findings("alice", alice)
    assert broken(exp.replica) == []


def test_both_go_on_by_themselves(world: World, alice: HomeNode) -> None:
    world.fork(alice, "exp")
    exp = world.node("exp")
    exp.write("notes/a.md", b"changed in the fork\n")
    exp.rename("notes/b.md", "b.md")
    exp.write("big.bin", BIG + b"more")
    exp.write("new.md", b"new\n")
    exp.sync()
    alice.unlink("notes/a.md")
    alice.write("other.md", b"other\n")
    alice.sync()
    assert world.shown("exp") == {
        b"notes": b"",
        b"notes/a.md": b"changed in the fork\n",
        b"b.md": b"beta\n",
        b"big.bin": BIG + b"more",
        b"new.md": b"new\n",
    }
    assert world.shown("alice") == {b"notes": b"", b"notes/b.md": b"beta\n", b"big.bin": BIG, b"other.md": b"other\n"}
    later = world.node("exp", name="later")  # a machine that comes now
    assert later.show() == exp.show()
    for volume, node in (("exp", exp), ("exp", later), ("alice", alice)):
        assert world.findings(volume, node) == []
    assert later.replica.state("origins") == exp.replica.state("origins")


def test_chunks_that_the_parent_has_are_not_put_again(world: World, alice: HomeNode) -> None:
    world.fork(alice, "exp")
    exp = world.node("exp")
    exp.engine.hydrate(exp.at("big.bin"))
    exp.append("big.bin", b"tail")
    exp.sync()
    assert len(world.objects(".agentfs/volumes/home-exp/blobs/")) == 1
    assert world.shown("exp")[b"big.bin"] == BIG + b"tail"


def test_a_snapshot_of_its_own(world: World, alice: HomeNode) -> None:
    world.fork(alice, "exp")
    exp = world.node("exp")
    exp.write("new.md", b"new\n")
    exp.sync()
    assert exp.engine.snapshot()
    assert world.node("exp", name="later").show() == exp.show()
    assert world.findings("exp", exp) == []


def test_a_fork_of_a_fork(world: World, alice: HomeNode) -> None:
    world.fork(alice, "one")
    one = world.node("one")
    world.fork(one, "twin")  # of a fork in which nothing has happened
    one.write("one.md", b"1\n")
    one.sync()
    world.fork(one, "two")
    two = world.node("two")
    two.write("two.md", b"2\n")
    two.append("big.bin", b"2")
    two.sync()
    assert log_of(world.store, "home-two").origins == (Origin("home-one", one.head), Origin("home-alice", alice.head))
    assert world.shown("two") == CONTENTS | {b"one.md": b"1\n", b"two.md": b"2\n", b"big.bin": BIG + b"2"}
    assert (world.shown("twin") == CONTENTS == world.node("twin").show().keys() and world.shown("twin")) or CONTENTS
    for volume in ("one", "two", "twin"):
        assert world.findings(volume) == []


def test_a_fork_of_what_was(world: World, alice: HomeNode) -> None:
    world.fork(alice, "then", at=1)
    assert world.shown("then") == {b"notes": b"", b"notes/a.md": b"alpha\n", b"big.bin": BIG}
    assert world.findings("then") == [] == world.findings("alice", alice)
    world.fork(alice, "exp")
    exp = world.node("exp")
    exp.write("x", b"x")
    exp.sync()
    fork = world.fork(exp, "before", at=1)  # before `exp` began: that is alice's
    assert (fork.parent, fork.sequence) == ("home-alice", 1)
    assert world.shown("before") == world.shown("then")


def test_the_number_of_requests_is_constant(world: World) -> None:
    counts = {}
    for name, files in (("small", 2), ("large", 300)):
        home = world.node(name)
        for number in range(files):
            home.write(f"file-{number}", b"%d" % number * 50)
        home.write("big.bin", BIG * (1 if files < 100 else 4))
        home.sync()
        before = world.store.counts
        world.fork(home, f"{name}-fork")
        counts[name] = world.store.counts - before

    def kinds(done: Counts) -> tuple[int, ...]:
        return done.gets, done.puts, done.creates, done.lists, done.deletes

    assert kinds(counts["small"]) == kinds(counts["large"])
    gets, puts, creates, lists, deletes = kinds(counts["large"])
    assert (creates, puts, deletes) == (2, 2, 0)  # the pin and the fork; the snapshot, and the pin that holds
    assert (gets, lists) == (6, 4)
    assert counts["large"].bytes_written < 60_000  # the snapshot, and nothing of the contents


def test_opening_a_fork_costs_four_requests(world: World, alice: HomeNode) -> None:
    world.fork(alice, "exp")
    before = world.store.counts
    world.node("exp")
    assert (world.store.counts - before).requests <= 7  # two looks for a snapshot, its origin, the tree, the tail


@pytest.mark.parametrize("at", FORKING)
def test_an_interrupted_fork_is_finished(world: World, alice: HomeNode, at: str) -> None:
    with pytest.raises(Crash):
        world.fork(alice, "exp", failpoint=crash_at(at))
    kept = alice.head
    alice.write("later.md", b"later\n")
    alice.sync()
    assert world.findings("alice", alice) == []
    if at == "fork.made":
        with pytest.raises(Exists):
            world.fork(alice, "exp")
    else:
        (begun,) = forks_of(world.store, "home-alice")
        assert begun.state == UNFINISHED
        assert world.fork(alice, "exp").sequence == kept
    (fork,) = forks_of(world.store, "home-alice")
    assert (fork.state, fork.sequence) == (READY, kept)
    assert world.shown("exp") == CONTENTS
    assert world.findings("exp") == []


def test_another_state_than_was_begun_is_refused(world: World, alice: HomeNode) -> None:
    with pytest.raises(Crash):
        world.fork(alice, "exp", failpoint=crash_at("fork.pinned"))
    with pytest.raises(Exists, match="--at 2"):
        world.fork(alice, "exp", at=1)
    assert world.fork(alice, "exp", at=2).sequence == 2


def test_a_name_that_is_taken(world: World, alice: HomeNode) -> None:
    bob = world.node("bob")
    bob.write("b", b"b")
    bob.sync()
    with pytest.raises(Exists):
        world.fork(alice, "bob")
    world.fork(alice, "exp")
    with pytest.raises(Exists):
        world.fork(alice, "exp")
    with pytest.raises(Exists):
        world.fork(bob, "exp")
    assert [it.name for it in Pins(world.store, "home-alice").list()] == ["home-exp"]
    assert Pins(world.store, "home-bob").list() == []


def test_who_is_slower_to_a_name_leaves_nothing(world: World, alice: HomeNode) -> None:
    bob = world.node("bob")
    bob.write("b", b"b")
    bob.sync()

    def meanwhile(reached: str) -> None:
        if reached == "fork.checked":
            world.fork(alice, "exp")

    with pytest.raises(Exists):
        world.fork(bob, "exp", failpoint=meanwhile)
    assert Pins(world.store, "home-bob").list() == []
    assert world.shown("exp") == CONTENTS


def test_a_home_that_was_begun_offline_becomes_the_fork(world: World, alice: HomeNode) -> None:
    early = world.node("exp")  # somebody opened it before it was forked
    early.write("mine.md", b"mine\n")
    world.fork(alice, "exp")
    early.sync()
    assert world.shown("exp") == CONTENTS | {b"mine.md": b"mine\n"}
    assert early.show().keys() == world.shown("exp").keys()
    assert world.findings("exp", early) == []


def test_what_cannot_be_forked(world: World, alice: HomeNode) -> None:
    empty = world.node("empty")
    with pytest.raises(NotFound):
        world.fork(empty, "exp")
    with pytest.raises(NotFound):
        world.fork(alice, "exp", at=99)
    with pytest.raises(NotFound):
        world.fork(alice, "exp", snapshot="nowhere")
    assert Pins(world.store, "home-alice").list() == []


# ---- deleting ----


def test_a_deleted_fork_leaves_only_names(world: World, alice: HomeNode) -> None:
    before = world.objects()
    world.fork(alice, "exp")
    exp = world.node("exp")
    exp.write("x.md", b"x\n")
    exp.append("big.bin", b"2")
    exp.sync()
    exp.engine.snapshot()
    snapshots = set(world.objects(".agentfs/volumes/home-alice/snapshots/"))
    for name in (".agentfs/volumes/home-exp/view", "agents/exp/x.md", "agents/exp/a/b.md", "agents/exper/x.md"):
        world.store.put(name, b"of a view")
    world.end("exp")
    after = world.objects()
    assert after.pop("agents/exper/x.md") == b"of a view"
    left = after.keys() - before.keys() - snapshots
    assert left == {layout.log_name(".agentfs/volumes/home-exp/", at) for at in (1, 3, 4)}
    assert sum(len(after[name]) for name in left) < 2000
    assert world.shown("alice") == CONTENTS
    assert world.findings("exp") == [] == world.findings("alice", alice)
    with pytest.raises(VolumeDeleted):
        log_of(world.store, "home-exp")
    with pytest.raises(Exists):
        world.fork(alice, "exp")  # the name stays taken
    world.end("exp")  # repeating it is harmless


def test_nobody_commits_to_a_deleted_fork(world: World, alice: HomeNode) -> None:
    world.fork(alice, "exp")
    fast, slow, fresh = world.node("exp"), world.node("exp", name="slow"), world.node("exp", name="fresh")
    for number in range(3):
        fast.write("f", b"%d" % number)
        fast.sync()
    slow.engine.pull_now()
    world.end("exp")
    for node in (fast, slow, fresh):
        node.write("lost.md", b"kept here\n")
        with pytest.raises(VolumeDeleted):
            node.sync()
        assert node.engine.status().broken
        assert node.read("lost.md") == b"kept here\n"  # and here it stays
    with pytest.raises(VolumeDeleted):
        world.node("exp", name="new")


def test_a_fork_with_forks_is_not_deleted(world: World, alice: HomeNode) -> None:
    world.fork(alice, "one")
    one = world.node("one")
    one.write("one.md", b"1\n")
    one.sync()
    world.fork(one, "two")
    with pytest.raises(NotEmpty, match="home-two"):
        world.end("one")
    assert world.shown("two")[b"one.md"] == b"1\n"
    world.end("two")
    world.end("one")


@pytest.fixture
def parent(world: World, alice: HomeNode) -> HomeNode:
    """A fork of alice's that is about to be forked, and deleted."""
    world.fork(alice, "parent")
    node = world.node("parent")
    node.write("p.md", b"p\n")
    node.sync()
    return node


@pytest.mark.parametrize("at", ["pin.put", "fork.pinned", "fork.checked"])
def test_a_parent_is_not_deleted_while_it_is_forked(world: World, parent: HomeNode, at: str) -> None:
    def meanwhile(reached: str) -> None:
        if reached == at:
            with pytest.raises(NotEmpty):
                world.end("parent")

    world.fork(parent, "child", failpoint=meanwhile)
    assert world.shown("child")[b"p.md"] == b"p\n"


@pytest.mark.parametrize("at", ENDING)
def test_a_parent_is_forked_while_it_is_deleted(world: World, parent: HomeNode, at: str) -> None:
    """A fork that exists can be read, or none was made."""
    state = parent.keep()

    def meanwhile(reached: str) -> None:
        if reached != at:
            return
        if at == "end.ended":  # nothing says so yet at entry 1: the fork is made, and kept
            world.fork(parent, "child", at=state.sequence)
        else:
            with pytest.raises(VolumeDeleted):
                world.fork(parent, "child", at=state.sequence)

    if at == "end.ended":
        with pytest.raises(NotEmpty):
            world.end("parent", failpoint=meanwhile)
        assert world.shown("child")[b"p.md"] == b"p\n"
        world.end("child")
    else:
        world.end("parent", failpoint=meanwhile)
    world.end("parent")
    assert forks_of(world.store, "home-alice") == []


def test_the_end_comes_between_the_pin_and_the_fork(world: World, parent: HomeNode) -> None:
    """The pin is put when the deletion has looked for pins for the last time: the fork is not made."""

    def meanwhile(reached: str) -> None:
        if reached == "pin.put":
            stub = log_of(world.store, "home-parent").origin()
            assert stub is not None
            ended = end_entry("home-parent", stub.origins, sequence=1, time_ns=0)
            world.memory.put(layout.log_name(".agentfs/volumes/home-parent/", 1), encode_stub(ended))

    with pytest.raises(VolumeDeleted):
        world.fork(parent, "child", failpoint=meanwhile)
    assert Pins(world.store, "home-parent").list() == []
    assert world.objects(".agentfs/volumes/home-child/") == {}


@pytest.mark.parametrize("at", ENDING)
def test_an_interrupted_deletion_is_finished(world: World, alice: HomeNode, at: str) -> None:
    world.fork(alice, "exp")
    exp = world.node("exp")
    exp.write("x.md", b"x\n")
    exp.sync()
    with pytest.raises(Crash):
        world.end("exp", failpoint=crash_at(at))
    exp.write("y.md", b"y\n")
    with pytest.raises(VolumeDeleted):
        exp.sync()
    assert world.findings("alice", alice) == []
    assert [it.state for it in forks_of(world.store, "home-alice")] != [READY] or at == "end.ended"
    world.end("exp")
    assert forks_of(world.store, "home-alice") == []
    assert world.shown("alice") == CONTENTS


@pytest.mark.parametrize("at", FORKING[:4])
def test_a_fork_that_was_only_begun_can_be_deleted(world: World, alice: HomeNode, at: str) -> None:
    with pytest.raises(Crash):
        world.fork(alice, "exp", failpoint=crash_at(at))
    with pytest.raises(NotFound):
        world.end("exp")
    world.end("exp", parent_id="alice")
    assert Pins(world.store, "home-alice").list() == []
    with pytest.raises(Exists):
        world.fork(alice, "exp")


def test_what_is_no_fork_is_not_deleted(world: World, alice: HomeNode) -> None:
    before = world.objects()
    with pytest.raises(NotFound, match="only forks"):
        world.end("alice")
    assert world.objects() == before


def test_wishes_that_are_refused() -> None:
    with pytest.raises(AgentIdInvalid):
        check_wish(Wish("../x"))
    with pytest.raises(AgentIdInvalid):
        check_wish(Wish("x" * 127))  # `home-` and this is too long for the name of a pin
    with pytest.raises(InvalidArgument):
        check_wish(Wish("exp", at=1, snapshot="s"))
    with pytest.raises(InvalidArgument):
        check_wish(Wish("exp", at=0))


@pytest.mark.parametrize("name", ["v12", "1234", "2026-01-01", "now", "yesterday", "2h", "a/b", "", ".x", "x" * 128])
def test_names_of_snapshots_that_mean_something_else(name: str) -> None:
    with pytest.raises((AgentIdInvalid, InvalidArgument)):
        check_snapshot_name(name)
    assert check_snapshot_name("before-cleanup.2") == "before-cleanup.2"


# ---- mending ----


@pytest.mark.parametrize("damage", ["lost", "damaged", "another"])
def test_the_snapshot_that_a_fork_begins_with_is_made_again(world: World, alice: HomeNode, damage: str) -> None:
    world.fork(alice, "exp")
    alice.write("later.md", b"later\n")
    alice.sync()
    name = layout.snapshot_name(".agentfs/volumes/home-alice/", 2)
    data = world.memory.get(name).data
    if damage == "lost":
        world.memory.delete(name)
    elif damage == "damaged":
        world.memory.put(name, data[:60] + bytes([data[60] ^ 1]) + data[61:])
    else:
        other = decode_snapshot_rows(data, volume="home-alice")
        world.memory.put(name, encode_snapshot_rows(replace(other, commit_digest=b"?" * 32)))
    assert {it.kind for it in world.findings("exp")} >= {"origin-damaged"}
    assert {it.kind for it in world.findings("alice")} >= {"pin-broken"}
    with pytest.raises(Corrupt, match=r"begins with|damaged"):
        world.node("exp")
    (line,) = mend_pinned(world.store, "home-alice")
    assert "home-exp" in line
    assert mend_pinned(world.store, "home-alice") == []
    assert world.shown("exp") == CONTENTS
    assert world.findings("exp") == [] == world.findings("alice", alice)
