"""How concurrent edits meet: what must not be lost, and what must not be committed over."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "sim"))
from invariants import broken
from node import Node, TestClock
from test_review_power_cut import World

from agentfs.errors import ObjectNotFound
from agentfs.replica.check import check
from agentfs.stores.memory import MemoryStore
from agentfs.tree.values import AttributeChange

Pair = tuple[Node, Node]
NOTES = b"# Plan\n\nfirst\n\nsecond\n\nthird\n"


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def pair(tmp_path: Path, store: MemoryStore) -> Iterator[Pair]:
    clock = TestClock()
    a, b = (Node(tmp_path / name, store, clock, agent=name) for name in ("ann", "bob"))
    a.mkdir("d")
    a.write("notes.md", NOTES)
    a.sync()
    b.engine.pull_now()
    yield a, b
    for node in (a, b):
        node.close()


def meet(pair: Pair) -> None:
    a, b = pair
    for node in (a, b, a, b):
        node.sync()
        assert broken(node.replica) == []
        assert check(node.replica) == []
    assert a.show() == b.show()


def once(node: Node, point: str, do) -> None:
    armed = [True]

    def failpoint(name: str) -> None:
        if armed[0] and name == point:
            armed[0] = False
            do()

    node.engine._ground.failpoint = failpoint


# ---- a file that takes another's place, while it is on its way itself ----


@pytest.mark.parametrize("point", ["push.captured", "push.prepared", "push.appended"])
def test_a_new_file_on_its_way_is_renamed_over_another(pair: Pair, point: str) -> None:
    a, b = pair
    b.write("notes.md.part", b"downloaded\n")
    once(b, point, lambda: b.rename("notes.md.part", "notes.md"))
    b.sync()
    assert broken(b.replica) == [] and check(b.replica) == []
    assert b.read("notes.md") == b"downloaded\n"
    meet(pair)
    assert a.read("notes.md") == b"downloaded\n"
    assert a.names() == ["d", "notes.md"]


def test_a_new_file_on_its_way_is_renamed_over_one_that_another_edits(pair: Pair) -> None:
    a, b = pair
    b.read("notes.md")
    b.write("notes.md.part", NOTES.replace(b"first", b"bob"))

    def meanwhile() -> None:
        b.rename("notes.md.part", "notes.md")
        a.append("notes.md", b"ann\n")
        a.sync()

    once(b, "push.appended", meanwhile)
    b.engine._push.push(force=True)
    b.engine.pull_now()
    assert broken(b.replica) == [] and check(b.replica) == []
    meet(pair)
    assert a.read("notes.md") == NOTES.replace(b"first", b"bob") + b"ann\n"
    assert a.names() == ["d", "notes.md"]


@pytest.mark.parametrize("fetched", [False, True])
def test_a_backup_that_comes_back_has_its_own_bytes(pair: Pair, fetched: bool) -> None:
    a, b = pair
    b.engine.evict(cache_bytes=0)
    b.rename("notes.md", "notes.bak")
    b.write("notes.md", b"new\n")
    if fetched:
        assert b.read("notes.bak") == NOTES
    a.append("notes.md", b"ann\n")
    a.sync()
    b.engine.pull_now()
    b.rename("notes.bak", "notes.md")
    assert b.read("notes.md") == NOTES
    assert check(b.replica) == []
    meet(pair)
    assert a.names() == ["d", "notes.md"]
    assert a.read("notes.md") == (NOTES + b"ann\n" if fetched else NOTES)


@pytest.mark.parametrize("committed", [False, True])
@pytest.mark.parametrize("fetched", [False, True])
def test_a_backup_comes_back_after_a_change(pair: Pair, fetched: bool, committed: bool) -> None:
    a, b = pair
    b.engine.evict(cache_bytes=0)
    b.write("notes.md", b"second\n")
    b.sync()
    b.engine.evict(cache_bytes=0)
    b.rename("notes.md", "notes.bak")
    b.write("notes.md", b"third\n")
    if fetched:
        b.read("notes.bak")
    if committed:
        once(b, "push.prepared", lambda: b.rename("notes.bak", "notes.md"))
        b.sync()
    else:
        b.rename("notes.bak", "notes.md")
    assert b.read("notes.md") == b"second\n"
    meet(pair)
    assert a.read("notes.md") == b"second\n"


# ---- who opens for reading and writing sees what is there ----


def rewrite(node: Node, path: str, change) -> None:
    """Read, and write over it, by one handle."""
    handle = node.open(path, os.O_RDWR)
    data = change(node.tree.read(handle, 0, 1 << 20))
    node.tree.write(handle, 0, data)
    node.tree.set_attributes(handle.ino, AttributeChange(size_bytes=len(data)), handle=handle)
    node.tree.flush(handle)
    node.tree.release(handle)


def test_who_saw_a_line_by_the_handle_that_writes_may_delete_it(pair: Pair) -> None:
    a, b = pair
    b.read("notes.md")
    a.append("notes.md", b"ann\n")
    a.sync()
    b.engine.pull_now()
    rewrite(b, "notes.md", lambda data: data.replace(b"ann\n", b"bob\n"))
    meet(pair)
    assert a.read("notes.md") == NOTES + b"bob\n"


def test_a_database_that_two_use_in_turns_is_no_conflict(pair: Pair) -> None:
    a = pair[0]
    page = b"SQLite format 3\0" + bytes(4000)
    a.write("memory.db", page)
    for number in range(4):
        for node in pair:
            node.sync()
            rewrite(node, "memory.db", lambda data, number=number: data[:4000] + b"%d" % number)
            node.sync()
    meet(pair)
    assert a.names() == ["d", "memory.db", "notes.md"]


# ---- what a process has seen ----


def test_a_line_that_was_read_through_an_old_handle_may_be_deleted(pair: Pair) -> None:
    a, b = pair
    handle = b.open("notes.md", os.O_RDONLY)
    a.append("notes.md", b"ann\n")
    a.sync()
    b.engine.pull_now()
    assert b.tree.read(handle, 0, 1 << 20) == NOTES + b"ann\n"
    b.write("notes.md", NOTES)
    b.tree.release(handle)
    meet(pair)
    assert a.read("notes.md") == NOTES


def test_an_append_shows_nobody_what_came_before_it(pair: Pair) -> None:
    a, b = pair
    memory = b.read("notes.md")
    a.append("notes.md", b"ann\n")
    a.sync()
    b.engine.pull_now()
    b.append("notes.md", b"bob 1\n")
    memory += b"bob 1\n"
    b.write("notes.md", memory + b"bob 2\n")
    meet(pair)
    assert sorted(a.read("notes.md")[len(NOTES) :].splitlines()) == [b"ann", b"bob 1", b"bob 2"]


def test_to_open_and_write_nothing_shows_nobody_anything(pair: Pair) -> None:
    a, b = pair
    memory = b.read("notes.md")
    a.append("notes.md", b"ann\n")
    a.sync()
    b.engine.pull_now()
    b.tree.release(b.open("notes.md", os.O_WRONLY))
    b.settle(1)
    b.write("notes.md", memory + b"bob\n")
    meet(pair)
    assert sorted(a.read("notes.md")[len(NOTES) :].splitlines()) == [b"ann", b"bob"]


# ---- the swap ----


def test_opened_for_writing_while_it_is_merged(pair: Pair) -> None:
    a, b = pair
    a.append("notes.md", b"ann\n")
    a.sync()
    b.append("notes.md", b"bob 1\n")
    handles = []

    def open_it() -> None:
        handles.append(b.open("notes.md", os.O_WRONLY | os.O_APPEND))

    once(b, "merge.staged", open_it)
    b.sync()
    assert handles
    b.tree.write(handles[0], 0, b"bob 2\n")
    b.tree.flush(handles[0])
    assert b.replica.connection.rows("SELECT * FROM write_open"), "the mark of an open handle stays"
    b.tree.release(handles[0])
    meet(pair)
    assert sorted(a.read("notes.md")[len(NOTES) :].splitlines()) == [b"ann", b"bob 1", b"bob 2"]


# ---- names that others do not see ----


def test_changed_there_and_moved_to_a_name_that_stays_here(pair: Pair) -> None:
    a, b = pair
    handle = b.open("notes.md", os.O_WRONLY)
    a.append("notes.md", b"ann\n")
    a.sync()
    b.engine.pull_now()
    b.rename("notes.md", "notes.swp")
    b.tree.release(handle)
    for node in (b, a, b):
        node.sync()
        assert broken(node.replica) == [] and check(node.replica) == []
    assert a.read("notes.md") == NOTES + b"ann\n" == b.read("notes.md"), "changed there and removed here: it lives"
    assert b.read("notes.swp") == NOTES
    assert a.names() == ["d", "notes.md"]


@pytest.mark.parametrize("fetched", [False, True])
def test_moved_to_a_name_that_stays_here_before_another_edits(pair: Pair, fetched: bool) -> None:
    a, b = pair
    if not fetched:
        b.engine.evict(cache_bytes=0)
    b.rename("notes.md", "notes.swp")
    a.append("notes.md", b"ann\n")
    a.sync()
    for node in (b, a, b):
        node.sync()
        assert broken(node.replica) == [] and check(node.replica) == []
    assert a.read("notes.md") == NOTES + b"ann\n" == b.read("notes.md")
    assert b.read("notes.swp") == NOTES


def test_moved_aside_to_a_name_that_stays_here_while_another_edits(pair: Pair) -> None:
    a, b = pair
    a.append("notes.md", b"ann\n")
    a.sync()
    b.rename("notes.md", "notes.swp")
    b.write("notes.md", NOTES.replace(b"first", b"bob"))
    b.sync()
    b.unlink("notes.swp")
    meet(pair)
    assert a.read("notes.md") == NOTES.replace(b"first", b"bob") + b"ann\n"


def test_swapped_with_a_new_file_while_another_edits(pair: Pair) -> None:
    a, b = pair
    a.append("notes.md", b"ann\n")
    a.sync()
    b.write("notes.new", NOTES.replace(b"first", b"bob"))
    b.rename("notes.new", "notes.md", 2)
    b.engine.pull_now()
    b.unlink("notes.new")
    meet(pair)
    assert a.read("notes.md") == NOTES.replace(b"first", b"bob") + b"ann\n"


# ---- one file that cannot be merged now ----


def test_a_version_that_is_missing_on_the_store_holds_up_no_other_file(pair: Pair) -> None:
    a, b = pair
    large = b"".join(b"line %d of many\n" % it for it in range(20_000))
    a.write("large.md", large)
    a.sync()
    b.sync()
    b.read("large.md")
    a.append("large.md", b"ann\n")
    a.sync()
    b.append("large.md", b"bob\n")
    b.write("other.md", b"other\n")
    log = b.engine._ground.log
    real = log.chunk

    base, theirs = (bytes(node.replica.content(node.at("large.md")).chunks) for node in (b, a))

    def missing(digest: bytes) -> bytes:
        if digest in theirs and digest not in base:
            raise ObjectNotFound("nobody has it")
        return real(digest)

    log.chunk = missing  # type: ignore[method-assign]
    b.settle(5)
    a.engine.pull_now()
    assert a.read("other.md") == b"other\n"
    assert any("large.md" in it for it in b.engine.status().waiting_files)
    assert b.read("large.md") == large + b"bob\n"
    log.chunk = real  # type: ignore[method-assign]
    b.settle(30)
    meet(pair)
    assert a.read("large.md") == large + b"ann\nbob\n"
    assert not b.engine.status().waiting_files


# ---- power cuts ----


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    it = World(tmp_path)
    yield it
    for node in it.made:
        node.close()


def forked(world: World) -> tuple[Node, Node]:
    """Of bob's file, which is open and written, the log has another version."""
    ann, bob = world.node("ann"), world.node("a")
    ann.write("notes.md", NOTES)
    ann.sync()
    bob.engine.pull_now()
    handle = bob.open("notes.md", os.O_WRONLY | os.O_APPEND)
    bob.tree.write(handle, 0, b"bob\n")
    bob.tree.fsync(handle, data_only=False)
    ann.append("notes.md", b"ann\n")
    ann.sync()
    bob.engine.pull_now()
    assert bob.replica.connection.rows("SELECT * FROM fork")
    return ann, bob


@pytest.mark.parametrize("committed", [False, True])
def test_a_power_cut_while_two_versions_wait(world: World, committed: bool) -> None:
    ann, bob = forked(world)
    if committed:
        bob.sync()
    bob = world.cut(bob, {})
    for node in (bob, ann):
        node.sync()
        assert node.read("notes.md") == NOTES + b"ann\nbob\n"
        assert node.names() == ["notes.md"]


@pytest.mark.parametrize("left", [None, 5])
@pytest.mark.parametrize("committed", [False, True])
def test_a_power_cut_takes_bytes_of_a_file_of_which_two_versions_wait(
    world: World, left: int | None, committed: bool
) -> None:
    ann, bob = forked(world)
    if committed:
        bob.sync()
    bob = world.cut(bob, {"notes.md": left})
    for node in (bob, ann):
        node.sync()
        assert broken(node.replica) == [] and check(node.replica) == []
        assert node.read("notes.md") == NOTES + b"ann\n" + (b"bob\n" if committed else b"")
    assert bob.replica.connection.rows("SELECT * FROM fork") == []


# ---- directories that stay here ----


def test_merged_in_a_directory_that_stays_here(pair: Pair) -> None:
    a, b = pair
    a.write("d/n.md", NOTES)
    a.sync()
    b.engine.pull_now()
    handle = b.open("d/n.md", os.O_WRONLY | os.O_APPEND)
    b.tree.write(handle, 0, b"bob\n")
    b.tree.flush(handle)
    a.append("d/n.md", b"ann\n")
    a.sync()
    b.engine.pull_now()
    b.rename("d", "node_modules")
    b.tree.release(handle)
    for node in (b, a, b):
        node.sync()
        assert broken(node.replica) == [] and check(node.replica) == []
    assert b.read("node_modules/n.md").startswith(NOTES) and b"bob\n" in b.read("node_modules/n.md")


# ---- what is committed while a file waits to be merged ----


def test_a_directory_is_not_removed_over_a_version_that_waits(pair: Pair) -> None:
    a, b = pair
    a.write("d/n.md", NOTES)
    a.sync()
    b.engine.pull_now()
    handle = b.open("d/n.md", os.O_WRONLY)
    a.append("d/n.md", b"ann\n")
    a.sync()
    b.engine.pull_now()
    b.unlink("d/n.md")
    b.rmdir("d")
    b.settle(20)
    a.engine.pull_now()
    assert a.read("d/n.md") == NOTES + b"ann\n"
    b.tree.release(handle)
    meet(pair)
    assert a.read("d/n.md") == NOTES + b"ann\n", "changed there and removed here: it lives"


def test_evicted_between_reading_and_writing(pair: Pair) -> None:
    a, b = pair
    memory = b.read("notes.md")
    b.engine.evict(cache_bytes=0)
    a.append("notes.md", b"ann\n")
    a.sync()
    b.engine.pull_now()
    b.write("notes.md", memory + b"bob\n")
    meet(pair)
    assert sorted(a.read("notes.md")[len(NOTES) :].splitlines()) == [b"ann", b"bob"]


@pytest.mark.parametrize("by_rename", [False, True])
def test_a_stale_program_writes_while_the_merge_of_an_open_file_is_on_its_way(pair: Pair, by_rename: bool) -> None:
    a, b = pair
    memory = b.read("notes.md")
    a.append("notes.md", b"ann 1\n")
    a.sync()
    b.engine.pull_now()
    other = b.tree.open(b.at("notes.md"), os.O_WRONLY | os.O_APPEND, reader=1)
    b.tree.write(other, 0, b"bob 1\n")
    b.tree.flush(other)
    a.append("notes.md", b"ann 2\n")
    a.sync()

    def stale() -> None:
        if by_rename:
            b.write("notes.tmp", memory + b"bob 2\n")
            b.rename("notes.tmp", "notes.md")
        else:
            b.write("notes.md", memory + b"bob 2\n")

    b.engine.pull_now()
    once(b, "push.prepared", stale)
    b.engine.push_until_clean(b.clock.monotonic() + 60)
    b.tree.release(other)
    meet(pair)
    assert set(a.read("notes.md")[len(NOTES) :].splitlines()) >= {b"ann 1", b"ann 2", b"bob 2"}
