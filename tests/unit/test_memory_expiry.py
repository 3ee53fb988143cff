"""Memories that are over are deleted: at the moment, on their own word, and never on anything else."""

import os
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "sim"))
from memory_world import Indexed
from node import Node, TestClock

from agentfs.errors import AgentFSError, Replaced
from agentfs.memory.rows import Filters
from agentfs.model.records import Commit
from agentfs.replica import backing
from agentfs.replica.check import check
from agentfs.replica.locks import LockUse
from agentfs.stores.memory import MemoryStore
from agentfs.sync.lock_steps import Granted
from agentfs.sync.options import EngineOptions

Make = Callable[..., Indexed]
LAZY = EngineOptions(parallel=1, poll_idle_max_s=4, prefetch=False)


@pytest.fixture
def clock() -> TestClock:
    return TestClock()


@pytest.fixture
def machine(tmp_path: Path, clock: TestClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    monkeypatch.setattr(backing, "DIRECTORIES", 4)
    made: list[Indexed] = []
    store = MemoryStore(clock=clock)

    def make(
        name: str,
        *,
        options: EngineOptions | None = None,
        clock: TestClock = clock,
        commits: list[Commit] | None = None,
    ) -> Indexed:
        """`commits`: gets all that the machine makes and hears of."""
        heard = () if commits is None else (lambda commit, _: commits.append(commit),)
        made.append(Indexed(Node(tmp_path / name, store, clock, agent=name, options=options, observers=heard)))
        return made[-1]

    yield make
    for it in made:
        it.close()
        it.node.close()


def until(clock: TestClock, seconds: float) -> bytes:
    """A memory that is over so many seconds from now."""
    end = datetime.fromtimestamp(clock.wall_ns() // 10**9 + seconds, UTC)
    return b"---\nexpires: %s\n---\n\nThe code is 4711.\n" % end.strftime("%Y-%m-%dT%H:%M:%SZ").encode()


def turn(it: Indexed) -> int:
    it.catch_up()
    gone = it.expiry.run()
    it.catch_up()
    return gone


def test_a_memory_goes_at_its_moment_and_everywhere(machine: Make, clock: TestClock) -> None:
    a, b = machine("a"), machine("b")
    a.node.write("code.md", until(clock, 60))
    a.node.write("kept.md", b"for ever")
    a.node.sync()
    b.node.sync()
    assert (turn(a), turn(b)) == (0, 0)
    assert a.expiry.next_ns() == clock.wall_ns() // 10**9 * 10**9 + 60 * 10**9
    clock.now_s += 59
    assert (turn(a), turn(b)) == (0, 0)
    clock.now_s += 1
    assert turn(a) == 1
    assert a.node.names() == ["kept.md"]
    assert [os.fsdecode(it.path) for it in a.index.documents()] == ["kept.md"]
    assert a.expiry.next_ns() is None
    a.node.sync()
    b.node.sync()
    assert b.node.names() == ["kept.md"]
    assert turn(b) == 0


def test_two_machines_delete_the_same_memory(machine: Make, clock: TestClock) -> None:
    a, b = machine("a"), machine("b")
    a.node.write("code.md", until(clock, 5))
    a.node.sync()
    b.node.sync()
    clock.now_s += 6
    assert (turn(a), turn(b)) == (1, 1)
    for it in (a, b, a):
        it.node.sync()
    assert a.node.names() == b.node.names() == []


def test_many_machines_that_delete_the_same_memories_make_one_commit(machine: Make, clock: TestClock) -> None:
    many = [machine(name) for name in "abcd"]
    for name in ("notes", "old"):
        many[0].node.mkdir(name)
        many[0].node.write(f"{name}/code.md", until(clock, 5))
    many[0].node.write("code.md", until(clock, 5))
    many[0].node.write("notes/kept.md", b"for ever")
    for it in many:
        it.node.sync()
    clock.now_s += 6
    assert [turn(it) for it in many] == [3] * 4
    many[3].node.chmod("old", 0o700)  # what nobody else did is told all the same
    for it in many:
        clock.now_s += 1
        it.node.sync()
    for it in many:
        it.node.sync()
        assert it.node.names() == ["notes", "old"]
        assert it.node.tree.attributes(it.node.at("old")).mode & 0o777 == 0o700
    heads = [int(it.node.replica.state("head_sequence")) for it in many]
    assert heads == [3] * 4  # the files, their deletion, the mode
    assert len({it.node.tree.attributes(it.node.at("notes")).mtime_ns for it in many}) == 1


def test_what_became_over_while_nobody_was_here_goes_first(machine: Make, clock: TestClock) -> None:
    it = machine("a")
    it.node.write("code.md", until(clock, 5))
    it.catch_up()
    it.close()
    clock.now_s += 100
    it._open()
    assert it.expiry.run() == 1
    assert it.node.names() == []


def test_an_edit_that_prolongs_a_life_wins(machine: Make, clock: TestClock) -> None:
    a, b = machine("a"), machine("b")
    for name in ("here.md", "there.md"):
        a.node.write(name, until(clock, 5))
    a.node.sync()
    b.node.sync()
    turn(a)
    turn(b)
    clock.now_s += 6
    a.node.write("here.md", until(clock, 1000))  # not indexed yet
    b.node.write("there.md", until(clock, 1000))
    assert a.expiry.run() == 1  # there.md, as this machine knows it
    assert a.node.names() == ["here.md"]
    for it in (b, a, b, a):
        it.node.sync()
    for it in (a, b):
        turn(it)
        assert it.node.names() == ["here.md", "there.md"]


def test_an_attribute_that_is_taken_away_saves_a_file(machine: Make, clock: TestClock) -> None:
    it = machine("a")
    it.node.write("code.txt", b"the code is 4711")
    it.node.tree.set_xattr(it.node.at("code.txt"), b"user.agentfs.ttl", b"5s", 0)
    it.catch_up()
    clock.now_s += 6
    it.node.tree.remove_xattr(it.node.at("code.txt"), b"user.agentfs.ttl")
    assert it.expiry.run() == 0
    it.catch_up()
    assert it.expiry.next_ns() is None
    assert it.node.names() == ["code.txt"]


def said(commits: list[Commit]) -> list[tuple[str, list[bytes], list[bytes]]]:
    """Of each commit its cause, the names that go and those that come."""
    return [(it.cause, sorted(u.name for u in it.unlinks), sorted(link.name for link in it.links)) for it in commits]


def test_the_commit_that_deletes_says_that_its_time_was_over(machine: Make, clock: TestClock) -> None:
    commits: list[Commit] = []
    a, b = machine("a", commits=commits), machine("b")
    a.node.mkdir("d")
    for name in ("code.md", "d/again.md", "d/two.md", "d/moved.md"):
        a.node.write(name, until(clock, 60))
    a.node.link("d/two.md", "three.md")
    a.node.write("d/other.md", b"for ever")
    a.node.sync()
    b.node.sync()
    a.catch_up()
    del commits[:]
    a.node.rename("d/moved.md", "moved.md")  # not in the log yet: what goes there is a move, too
    clock.now_s += 61
    assert turn(a) == 4
    a.node.write("d/again.md", b"another")
    a.node.unlink("d/other.md")
    b.node.write("d/b.md", b"meanwhile, in the same directory")
    b.node.sync()
    path, store = a.node.directory, a.node.engine.ground.store
    a.close()
    a.node.close()
    again = Node(path, store, clock, agent="a", observers=(lambda commit, _: commits.append(commit),))
    try:
        again.sync()
        assert check(again.replica) == []
        b.node.sync()
        assert b.node.names() == again.names() == ["d"]
        assert b.node.read("d/again.md") == b"another"
        assert b.node.names("d") == again.names("d") == ["again.md", "b.md"]
    finally:
        again.close()
    assert said(commits) == [
        ("", [], [b"b.md"]),
        ("expired", [b"code.md", b"three.md", b"two.md"], []),
        ("", [b"moved.md", b"other.md"], []),  # what is at again.md is the same file with other bytes, to the log
    ]


def test_what_somebody_locked_and_what_went_with_its_directory_is_an_ordinary_deletion(
    machine: Make, clock: TestClock
) -> None:
    commits: list[Commit] = []
    it = machine("a", commits=commits)
    it.node.mkdir("d")
    it.node.write("d/code.md", until(clock, 60))
    it.node.write("locked.md", until(clock, 60))
    it.node.sync()
    use = LockUse(it.node.at("locked.md"), it.node.replica.session, 1, 1000)
    assert isinstance(it.node.engine.in_turn(lambda _: it.node.engine.locks.take(use)), Granted)
    it.catch_up()
    del commits[:]
    clock.now_s += 61
    assert turn(it) == 2
    it.node.rmdir("d")
    it.node.sync()
    assert it.node.names() == []
    assert said(commits) == [("", [b"d", b"locked.md"], [])]


def test_a_file_that_is_being_written_waits(machine: Make, clock: TestClock) -> None:
    it = machine("a")
    it.node.write("code.md", until(clock, 5))
    it.catch_up()
    clock.now_s += 6
    handle = it.node.open("code.md", os.O_RDWR)
    assert turn(it) == 0
    assert "writing" in it.expiry.problem
    assert it.expiry.run() == 0
    assert (it.worker.behind, it.worker.behind_of(it.expiry.staying)) == (1, 0), "it is looked at, and is nothing new"
    it.node.tree.write(handle, 0, until(clock, 100))
    it.node.tree.flush(handle)
    it.node.tree.release(handle)
    clock.now_s += 6
    assert turn(it) == 0
    assert it.expiry.problem == ""
    clock.now_s += 100
    assert turn(it) == 1


def test_facts_that_cannot_be_read_delete_nothing(machine: Make, clock: TestClock) -> None:
    a, b = machine("a"), machine("b", options=LAZY)
    a.node.write("code.md", until(clock, 5))
    a.node.sync()
    b.node.sync()
    b.catch_up()
    clock.now_s += 6
    b.away = True
    assert b.expiry.run() == 0
    assert "away" in b.expiry.problem
    assert b.node.names() == ["code.md"]
    b.away = False
    assert b.expiry.run() == 0, "not at once again"
    clock.now_s += 6
    assert b.expiry.run() == 1
    assert b.node.names() == []


def test_all_names_of_a_file_go(machine: Make, clock: TestClock) -> None:
    it = machine("a")
    it.node.write("b.md", until(clock, 5))
    it.node.mkdir("d")
    it.node.link("b.md", "d/a.md")
    it.catch_up()
    clock.now_s += 6
    assert turn(it) == 1
    assert it.node.names() == ["d"]
    assert it.node.names("d") == []


def test_a_change_between_the_look_and_the_deletion_keeps_the_file(machine: Make, clock: TestClock) -> None:
    it = machine("a")
    it.node.write("code.md", until(clock, 5))
    it.catch_up()
    clock.now_s += 6
    unlink = it.expiry._unlink

    def late(directory: int, name: bytes, ino: int, change: int) -> None:
        it.expiry._unlink = unlink
        it.node.write("code.md", until(clock, 500))
        with pytest.raises(Replaced):
            unlink(directory, name, ino, change)
        raise Replaced("as it says")

    it.expiry._unlink = late
    assert turn(it) == 0
    assert it.node.names() == ["code.md"]
    assert it.expiry.next_ns() is not None


def test_a_machine_that_may_not_write_deletes_nothing(machine: Make, clock: TestClock) -> None:
    it = machine("a")
    it.node.write("code.md", until(clock, 5))
    it.catch_up()
    it.expiry._unlink = None
    clock.now_s += 6
    assert it.expiry.run() == 0
    assert it.expiry.next_ns() is None


def test_a_deletion_that_fails_is_tried_again(machine: Make, clock: TestClock) -> None:
    it = machine("a")
    it.node.write("code.md", until(clock, 5))
    it.catch_up()
    clock.now_s += 6
    unlink = it.expiry._unlink

    def refuse(*_: object) -> None:
        raise AgentFSError("no")

    it.expiry._unlink = refuse
    assert turn(it) == 0
    assert it.expiry.next_ns() > clock.wall_ns()
    it.expiry._unlink = unlink
    clock.now_s += 6
    assert turn(it) == 1


class Skewed(TestClock):
    """Of a machine: goes with another one, ahead of it by so many seconds."""

    def __init__(self, clock: TestClock, ahead_s: float) -> None:
        super().__init__()
        self._clock = clock
        self.ahead_s = ahead_s

    def wall_ns(self) -> int:
        return self._clock.wall_ns() + int(self.ahead_s * 1e9)

    def monotonic(self) -> float:
        return self._clock.monotonic()

    def wait(self, event: threading.Event, seconds: float) -> bool:
        return self._clock.wait(event, seconds)


@pytest.mark.parametrize("ahead_s", [40.0, 86400.0])
def test_a_clock_that_is_ahead_ends_nothing_early(machine: Make, clock: TestClock, ahead_s: float) -> None:
    a, b = machine("a"), machine("b", clock=Skewed(clock, ahead_s))
    a.node.write("code.md", until(clock, 30))
    a.node.write("photo.jpg", b"\xff\xd8\0")
    a.node.tree.set_xattr(a.node.at("photo.jpg"), b"user.agentfs.expires", until(clock, 30).split()[2], 0)
    a.node.sync()
    b.node.sync()
    for _ in range(3):
        assert turn(b) == 0
        assert len(b.index.documents(Filters(now_ns=b.time.now_ns()))) == 2, "nor is it hidden"
        clock.now_s += 6
    assert f"{ahead_s:.0f} s ahead" in b.time.problem
    assert b.expiry.next_ns() == b.index.next_expiry()
    clock.now_s += 12
    b.node.sync()
    assert turn(b) == 2, "at the moment of the store's clock, which is everybody's"
    assert b.node.names() == []


def test_while_the_store_does_not_tell_its_time_nothing_ends_for_others(machine: Make, clock: TestClock) -> None:
    a, b = machine("a"), machine("b", clock=Skewed(clock, 3600))
    a.node.write("code.md", until(clock, 600))
    a.node.sync()
    b.node.sync()
    b.node.write("own.md", until(clock, 3605))
    b.catch_up()
    b.node.replica.set_state("online", 0)
    clock.now_s += 6
    assert b.expiry.run() == 1, "what no commit has is its own"
    assert b.node.names() == ["code.md"]
    assert "what time it is" in b.expiry.problem
    assert b.index.documents(Filters(now_ns=b.time.now_ns())) == [], "it is not found meanwhile"
    b.node.write("code.md", until(clock, 600) + b"\nand more\n")  # pending here, and others have it
    b.catch_up()
    clock.now_s += 6
    assert b.expiry.run() == 0
    b.node.replica.set_state("online", 1)
    clock.now_s += 6
    assert (turn(b), turn(b)) == (0, 0)
    assert b.expiry.problem == ""
    assert len(b.index.documents(Filters(now_ns=b.time.now_ns()))) == 1


def test_the_store_is_asked_once_and_again_when_a_clock_was_set(machine: Make, clock: TestClock) -> None:
    own = Skewed(clock, 0)
    it = machine("a", clock=own)
    it.node.write("code.md", until(clock, 600))
    it.node.sync()
    it.catch_up()

    def prepared() -> int:
        before = it.node.engine.status().requests
        it.expiry.prepare()
        it.expiry.run()
        return it.node.engine.status().requests - before

    assert [prepared() for _ in range(3)] == [2, 0, 0]
    own.ahead_s = 86400
    assert [prepared() for _ in range(2)] == [2, 0]
    assert it.node.names() == ["code.md"]
    clock.now_s += 300
    it.node.replica.set_state("online", 0)  # known before the store went away
    clock.now_s += 300
    assert turn(it) == 1
    assert prepared() == 0, "nothing is left that ends"
