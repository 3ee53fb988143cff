"""A fork merged back is a machine that was offline since it began: the same rules, the same result."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "sim"))
from fork_worlds import Crash, HomeNode, World, crash_at, worlds
from invariants import broken

from agentfs.errors import Exists, StoreUnavailable, VolumeDeleted
from agentfs.format.commit import decode_commit
from agentfs.format.origins import Origin
from agentfs.replica.check import check_rows
from agentfs.replica.replica import Replica
from agentfs.volume.fork import forks_of
from agentfs.volume.snapshots import log_of
from agentfs.volume.trees import tree_at

BIG = bytes(range(256)) * 8192
MERGING = ("merge.staged", "merge.applied", "push.prepared", "push.appended", "merge.pushed", "merge.noted")


@pytest.fixture
def world() -> Iterator[World]:
    with worlds() as make:
        yield make()


def begin(world: World) -> tuple[HomeNode, HomeNode]:
    """alice, and her fork `exp`."""
    alice = world.node("alice")
    for directory in ("notes", "old", "old/deep"):
        alice.mkdir(directory)
    for name in ("notes/a.md", "notes/b.md", "notes/c.md", "old/x", "old/deep/y", "z"):
        alice.write(name, f"{name}\none\ntwo\nthree\n".encode())
    alice.write("big.bin", BIG)
    alice.symlink("link", b"z")
    alice.link("z", "hard")
    alice.sync()
    world.fork(alice, "exp")
    return alice, world.node("exp")


def change_the_fork(exp: HomeNode) -> None:
    """Every kind of change."""
    exp.write("notes/a.md", b"rewritten in the fork\n")
    exp.rename("notes/b.md", "b-moved.md")
    exp.unlink("notes/c.md")
    exp.rename("old", "kept")  # a directory with all in it
    exp.write("kept/deep/y", b"changed after its directory moved\n")
    exp.mkdir("new")
    exp.mkdir("new/er")
    exp.write("new/er/file", b"new\n")
    exp.symlink("new/link", b"er/file")
    exp.link("new/er/file", "new/second-name")
    exp.engine.hydrate(exp.at("big.bin"))
    exp.append("big.bin", b"tail")
    exp.chmod("z", 0o600)
    exp.unlink("link")
    exp.mkdir("link")  # another kind of thing under the same name
    exp.rename("hard", "t")
    exp.rename("notes/a.md", "hard")  # names that change places
    exp.rename("t", "notes/a.md")
    exp.sync()


def test_everything_that_the_fork_did_is_done(world: World) -> None:
    alice, exp = begin(world)
    change_the_fork(exp)
    expected = exp.show()
    merged = world.merge("exp", "alice", author="bob")
    alice.engine.pull_now()
    assert alice.show() == expected
    assert world.shown("alice") == world.shown("exp")
    assert (merged.fork_sequence, merged.into_sequence, merged.conflicts) == (exp.head, alice.head, 0)
    assert world.findings("alice", alice) == [] == world.findings("exp", exp)
    assert broken(alice.replica) == []
    data = log_of(world.store, "home-alice").read(alice.head)
    assert data is not None
    commit, _ = decode_commit(data, volume="home-alice", sequence=alice.head)
    assert commit.author == "bob"
    # What was renamed is the same file as before: its number in the log is.
    numbers = {name: child for _, name, child in tree_at(log_of(world.store, "home-alice"), world.store, 1).links}
    after = {
        name: child for _, name, child in tree_at(log_of(world.store, "home-alice"), world.store, alice.head).links
    }
    assert after[b"b-moved.md"] == numbers[b"b.md"]
    assert after[b"kept"] == numbers[b"old"]
    # The fork can go: what was merged is the parent's own.
    world.end("exp")
    assert world.findings("alice", alice) == []
    assert alice.show() == expected


def test_both_sides_live_on(world: World) -> None:
    alice, exp = begin(world)
    change_the_fork(exp)
    alice.write("z", b"z\none\ntwo\nthree\nfour, by alice\n")  # its mode was changed in the fork
    alice.write("notes/c.md", b"edited here, deleted there\n")
    alice.rename("notes/b.md", "notes/renamed-here.md")
    alice.write("old/deep/mine", b"in a directory that moved\n")
    alice.write("new", b"a file where the fork has a directory\n")
    alice.sync()
    merged = world.merge("exp", "alice")
    alice.engine.pull_now()
    shown = alice.show()
    assert shown[b"z"][1:] == (0o600, b"z\none\ntwo\nthree\nfour, by alice\n")
    assert shown[b"notes/c.md"][2] == b"edited here, deleted there\n"  # the edit wins
    assert shown[b"kept/deep/mine"][2] == b"in a directory that moved\n"
    assert b"new\n" in {data for _, _, data in shown.values()}
    assert b"a file where the fork has a directory\n" in {data for _, _, data in shown.values()}
    assert merged.conflicts >= 1
    assert world.findings("alice", alice) == []


def test_a_fork_without_changes(world: World) -> None:
    alice, _ = begin(world)
    alice.write("later", b"later\n")
    alice.sync()
    before = world.shown("alice")
    merged = world.merge("exp", "alice")
    assert (merged.changes, merged.conflicts) == (0, 0)
    assert world.shown("alice") == before
    alice.engine.pull_now()
    assert alice.head == merged.into_sequence == 2


def test_a_fork_is_merged_once(world: World) -> None:
    alice, exp = begin(world)
    exp.write("new", b"1\n")
    exp.sync()
    first = world.merge("exp", "alice")
    again = world.merge("exp", "alice")  # nothing came since: said, not done
    assert again.before and again.into_sequence == first.into_sequence
    (fork,) = forks_of(world.store, "home-alice")
    assert [(note.sequence, note.into, note.into_sequence) for note in fork.merges] == [(2, "home-alice", 2)]
    exp.write("new", b"2\n")
    exp.sync()
    with pytest.raises(Exists, match="went on since"):
        world.merge("exp", "alice")
    alice.engine.pull_now()
    assert alice.read("new") == b"1\n"


def test_into_a_grandparent(world: World) -> None:
    _, exp = begin(world)
    exp.write("in-exp", b"exp\n")
    exp.sync()
    world.fork(exp, "deeper")
    deeper = world.node("deeper")
    deeper.write("in-deeper", b"deeper\n")
    deeper.append("z", b"deeper\n")
    deeper.sync()
    world.merge("deeper", "alice")  # with what `exp` had when it was forked
    shown = world.shown("alice")
    assert (shown[b"in-exp"], shown[b"in-deeper"]) == (b"exp\n", b"deeper\n")
    assert shown[b"z"].endswith(b"deeper\n")
    world.merge("deeper", "exp")
    exp.engine.pull_now()
    assert exp.read("in-deeper") == b"deeper\n"
    assert log_of(world.store, "home-deeper").origins == (Origin("home-exp", 2), Origin("home-alice", 1))
    for volume in ("alice", "exp", "deeper"):
        assert world.findings(volume) == []


@pytest.mark.parametrize("at", MERGING)
def test_an_interrupted_merge_goes_on(world: World, at: str) -> None:
    alice, exp = begin(world)
    change_the_fork(exp)
    alice.write("meanwhile", b"m\n")
    alice.sync()
    with pytest.raises(Crash):
        world.merge("exp", "alice", failpoint=crash_at(at))
    alice.write("later", b"l\n")
    alice.sync()
    assert world.findings("alice", alice) == []
    merged = world.merge("exp", "alice")
    assert world.shown("alice") == world.shown("exp") | {b"meanwhile": b"m\n", b"later": b"l\n"}
    assert merged.fork_sequence == exp.head
    assert not [name for name in world.shown("alice") if b"conflict" in name]
    assert world.findings("alice", alice) == []
    left = world.root / "merge-exp-alice"
    assert [it.name for it in left.iterdir()] == ["engine.lock"]


def test_what_is_applied_is_a_sound_replica(world: World) -> None:
    _, exp = begin(world)
    change_the_fork(exp)
    with pytest.raises(Crash):
        world.merge("exp", "alice", failpoint=crash_at("merge.applied"))
    with Replica.open(
        str(world.root / "merge-exp-alice"),
        volume_kind="home",
        volume_id="alice",
        session_kind="cli",
        clock=world.clock,
    ) as replica:
        assert broken(replica) == []
        assert list(check_rows(replica.connection)) == []


def test_another_machine_takes_over_a_merge_that_was_half_done(world: World) -> None:
    alice, exp = begin(world)
    change_the_fork(exp)
    with pytest.raises(Crash):
        world.merge("exp", "alice", failpoint=crash_at("merge.pushed"))
    (world.root / "merge-exp-alice").rename(world.root / "on-another-machine")
    world.merge("exp", "alice")  # once more, from the beginning: the same changes twice are one
    alice.engine.pull_now()
    assert alice.show() == exp.show()
    assert world.findings("alice", alice) == []


def test_deleted_forks_are_not_merged(world: World) -> None:
    begin(world)
    world.end("exp")
    with pytest.raises(VolumeDeleted):
        world.merge("exp", "alice")


def test_the_store_goes_away(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    alice, exp = begin(world)
    change_the_fork(exp)

    def refuse(*_arguments: object, **_options: object) -> None:
        raise StoreUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(world.memory, "put", refuse)
        with pytest.raises(Exception, match=r"repeat|away|remote"):
            world.merge("exp", "alice")
    world.merge("exp", "alice")
    alice.engine.pull_now()
    assert alice.show() == exp.show()


# ---- the same as a machine that was offline ----


def edits(seed: int) -> Callable[[HomeNode], None]:
    """A sequence of operations that does the same on every machine that shows the same. What it changed it does not
    delete: a fork's merge knows nothing of it then, an offline machine has the changed bytes still, should the other
    side keep the file."""

    def run(node: HomeNode) -> None:
        random = Random(seed)
        touched: set[int] = set()
        for number in range(random.randrange(4, 14)):
            everything = sorted(node.show().items())
            files = [path.decode() for path, (kind, _, _) in everything if kind == "FILE" and path != b"big.bin"]
            directories = ["", *(f"{path.decode()}/" for path, (kind, _, _) in everything if kind == "DIRECTORY")]
            where = random.choice(directories)
            what = random.randrange(6)
            if what == 0:
                node.write(f"{where}{seed}-{number}", b"%d new\n" % number)
            elif what == 4:
                node.mkdir(f"{where}dir-{seed}-{number}")
            elif files:
                path, inode = (found := random.choice(files)), node.at(found)
                if what == 1:
                    node.append(path, b"line %d of %d\n" % (number, seed))
                elif what == 2 and inode not in touched:
                    node.unlink(path)
                elif what == 3:
                    node.rename(path, f"{where}moved-{seed}-{number}")
                elif what == 5:
                    node.chmod(path, random.choice((0o600, 0o640, 0o755)))
                touched.add(inode)

    return run


@pytest.mark.parametrize("seed", range(4))
def test_the_same_as_a_machine_that_was_offline(seed: int) -> None:
    results = []
    with worlds() as make:
        for way in ("fork", "offline"):
            world = make()
            alice, exp = begin(world)
            here, there = edits(1000 + seed), edits(2000 + seed)
            if way == "fork":
                there(exp)
                exp.sync()
                here(alice)
                alice.sync()
                world.merge("exp", "alice", author="exp")
            else:
                machine = world.node("alice", name="second", agent="exp")
                there(machine)
                here(alice)
                alice.sync()
                machine.sync()
            alice.engine.pull_now()
            # Conflict copies bear the time of the merge.
            results.append({path.split(b".conflict-")[0]: shown for path, shown in alice.show().items()})
            assert world.findings("alice", alice) == []
    assert results[0] == results[1]
