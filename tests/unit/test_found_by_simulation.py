"""What the seeded simulation found (tests/sim), each in its shortest form."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "sim"))
from invariants import broken
from node import Node, TestClock

from agentfs.format import layout
from agentfs.fsck.store_check import StoreCheck
from agentfs.stores.memory import MemoryStore

Pair = tuple[Node, Node]


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def pair(tmp_path: Path, store: MemoryStore) -> Iterator[Pair]:
    clock = TestClock()
    a, b = (Node(tmp_path / name, store, clock, agent=name) for name in ("ann", "bob"))
    yield a, b
    for node in (a, b):
        node.close()


def findings(store: MemoryStore) -> list[str]:
    found = StoreCheck(store, "space", "sim", deep=True).run().findings.found
    return [f"{it.kind}: {it.detail}" for it in found if it.kind not in ("store-file", "blob-unused")]


def test_a_snapshot_has_the_time_that_an_open_file_was_committed_with(pair: Pair, store: MemoryStore) -> None:
    """A file that is taken while it is open bears the time of its backing file in the log."""
    a, b = pair
    handle = a.open("notes.md", os.O_WRONLY | os.O_CREAT)
    a.tree.write(handle, 0, b"open\n")
    a.sync()
    assert a.engine.snapshot()
    assert findings(store) == []
    a.tree.release(handle)
    a.sync()
    b.engine.pull_now()
    assert a.tree.attributes(a.at("notes.md")).mtime_ns == b.tree.attributes(b.at("notes.md")).mtime_ns


def test_merged_into_nothing_new_keeps_the_times_of_the_log(pair: Pair, store: MemoryStore) -> None:
    """Opened for writing, closed unchanged, while another's version came."""
    a, b = pair
    a.write("notes.md", b"one\n")
    a.sync()
    b.engine.pull_now()
    handle = b.open("notes.md", os.O_WRONLY | os.O_APPEND)
    a.append("notes.md", b"two\n")
    a.sync()
    b.clock.now_s += 10
    b.engine.pull_now()
    b.tree.release(handle)
    b.sync()
    assert b.read("notes.md") == b"one\ntwo\n"
    assert b.engine.snapshot()
    assert findings(store) == []


@pytest.mark.parametrize("back", ["committed", "renamed back"])
def test_a_save_comes_from_what_it_replaced_however_the_file_came_there(pair: Pair, back: str) -> None:
    """What a file left its name with counts for that name, and not for the next one."""
    a, b = pair
    a.write("notes.md", b"one\n")
    a.sync()
    b.engine.pull_now()
    b.rename("notes.md", "plan.md")
    a.append("notes.md", b"two\n")
    a.sync()
    b.engine.pull_now()
    if back == "committed":
        b.sync()
    else:
        b.rename("plan.md", "notes.md")
    name = "plan.md" if back == "committed" else "notes.md"
    assert b.read(name) == b"one\ntwo\n"
    b.write("new.md", b"one\n")
    b.rename("new.md", name)
    b.sync()
    a.engine.pull_now()
    assert a.read(name) == b.read(name) == b"one\n"


def test_written_after_another_deleted_it(pair: Pair) -> None:
    """An edit wins over a delete, also where nothing was written yet when the delete came: the file has its name."""
    a, b = pair
    a.write("notes.md", b"one\n")
    a.sync()
    b.engine.pull_now()
    handle = b.open("notes.md", os.O_WRONLY | os.O_APPEND)
    a.unlink("notes.md")
    a.sync()
    b.engine.pull_now()
    assert b.names() == []
    b.tree.write(handle, 0, b"two\n")
    b.tree.flush(handle)
    b.tree.release(handle)
    for node in (b, a):
        node.sync()
        assert node.names() == ["notes.md"]
        assert node.read("notes.md") == b"one\ntwo\n"


def test_replaced_at_one_of_two_names_while_the_log_changes_it(pair: Pair) -> None:
    """What replaces a file at one of its names came from what the file held then, however often it changes in the log
    before the names part."""
    a, b = pair
    a.mkdir("d")
    a.write("pic.bin", b"\0one")
    a.link("pic.bin", "d/pic.bin")
    a.sync()
    b.engine.pull_now()
    b.write("new.bin", b"\0ours")
    b.rename("new.bin", "d/pic.bin")
    a.write("pic.bin", b"\0theirs")
    a.sync()
    b.engine.pull_now()
    a.unlink("pic.bin")
    a.sync()
    b.engine.pull_now()
    for node in (b, a, b):
        node.sync()
    assert a.show() == b.show()
    found = {data for kind, _, data in a.show().values() if kind == "FILE"}
    assert found == {b"\0theirs", b"\0ours"}


def test_renamed_here_and_deleted_and_collected_elsewhere(pair: Pair) -> None:
    """Nothing waits for ever for bytes that are nowhere."""
    a, b = pair
    a.write("notes.md", b"one\n")
    a.write("other.md", b"stays\n")
    a.sync()
    b.engine.pull_now()
    b.engine.evict(cache_bytes=0)
    b.rename("notes.md", "plan.md")
    a.unlink("notes.md")
    a.write("other.md", b"stays, changed\n")
    a.sync()
    assert a.engine.snapshot()
    b.engine._ground.log.collect(1, snapshot=a.engine.status().head_sequence)
    b.engine.pull_now()
    assert b.names() == ["other.md", "plan.md"]  # perhaps it can still be fetched
    b.sync()
    a.engine.pull_now()
    assert a.show() == b.show()
    assert b.names() == ["other.md"]
    assert b.replica.connection.rows("SELECT kind, name FROM conflict") == [("delete", b"plan.md")]
    assert not broken(b.replica)


def test_a_large_file_that_is_only_a_name_here_is_given_up_too(pair: Pair, store: MemoryStore) -> None:
    """Nothing says of a chunk that it was collected; it is looked for wherever it could be, more than once."""
    a, b = pair
    a.write("pic.bin", bytes(200_000))
    a.sync()
    b.engine.pull_now()
    b.engine.evict(cache_bytes=0)
    b.rename("pic.bin", "photo.bin")
    a.unlink("pic.bin")
    a.sync()
    for entry in store.list(layout.blob_prefix(layout.volume_prefix("space", "sim"))):
        store.delete(entry.name)
    b.sync()
    a.engine.pull_now()
    assert a.show() == b.show() == {}
    assert b.replica.connection.rows("SELECT kind, name FROM conflict") == [("delete", b"photo.bin")]
    assert not broken(b.replica)


@pytest.mark.parametrize("how", ["sync", "long open"])
def test_a_log_that_stays_open_while_another_deletes_it(pair: Pair, how: str) -> None:
    """What was flushed reaches the others, also while the program that writes it has it open still."""
    a, b = pair
    a.write("job.log", b"one\n")
    a.sync()
    b.engine.pull_now()
    handle = b.open("job.log", os.O_WRONLY | os.O_APPEND)
    a.unlink("job.log")
    a.sync()
    b.engine.pull_now()
    b.sync()
    assert b.names() == []  # nothing was written
    b.tree.write(handle, 0, b"two\n")
    b.tree.flush(handle)
    b.sync() if how == "sync" else b.settle(20)
    a.engine.pull_now()
    assert a.read("job.log") == b"one\ntwo\n"
    b.tree.write(handle, 0, b"three\n")
    b.tree.flush(handle)
    b.tree.release(handle)
    b.sync()
    a.engine.pull_now()
    assert a.show() == b.show()
    assert a.read("job.log") == b"one\ntwo\nthree\n"
    assert not broken(b.replica)


def test_two_rotate_a_log_that_is_being_written(pair: Pair) -> None:
    """The bytes that one moved aside are those that the other renames over them: they stay."""
    a, b = pair
    a.write("job.log", b"old\n")
    a.sync()
    b.engine.pull_now()
    handle = b.open("job.log", os.O_WRONLY | os.O_APPEND)
    b.tree.write(handle, 0, b"bob\n")
    b.tree.flush(handle)
    a.rename("job.log", "job.log.1")
    a.write("job.log", b"ann\n")
    a.sync()
    b.engine.pull_now()
    assert (b.read("job.log.1"), b.read("job.log")) == (b"old\n", b"old\nbob\n")  # one is open, and to be merged
    b.rename("job.log", "job.log.1")
    b.tree.release(handle)
    b.sync()
    a.engine.pull_now()
    assert a.show() == b.show()
    assert a.read("job.log.1") == b"ann\nold\nbob\n"
    assert not broken(b.replica)


def test_a_file_is_not_committed_empty_in_the_middle_of_a_save(pair: Pair) -> None:
    """However long the program takes between emptying it and writing."""
    a, b = pair
    a.write("notes.md", b"one\n")
    a.sync()
    b.engine.pull_now()
    handle = b.open("notes.md", os.O_WRONLY | os.O_TRUNC)
    b.settle(60)
    a.engine.pull_now()
    assert a.read("notes.md") == b"one\n"
    b.tree.write(handle, 0, b"two\n")
    b.settle(20)
    a.engine.pull_now()
    assert a.read("notes.md") == b"two\n"
    b.tree.release(handle)


def test_chunks_of_a_file_that_left_the_log_are_put_again(pair: Pair, store: MemoryStore) -> None:
    """They were there when this machine fetched them, and were collected before it committed the file as its own."""
    a, b = pair
    a.write("pic.bin", bytes(200_000))
    a.sync()
    b.engine.pull_now()
    b.engine.evict(cache_bytes=0)
    b.rename("pic.bin", "photo.bin")
    a.unlink("pic.bin")
    a.sync()
    b.engine.pull_now()
    b.engine.hydrate(b.at("photo.bin"))
    for entry in store.list(layout.blob_prefix(layout.volume_prefix("space", "sim"))):
        store.delete(entry.name)
    b.sync()
    a.engine.pull_now()
    assert a.read("photo.bin") == bytes(200_000)
    assert findings(store) == []


@pytest.mark.parametrize("again", [True, False])
def test_what_was_never_shown_here_outlives_a_rename_over_its_name(pair: Pair, again: bool) -> None:
    """Two made a log. One has it open, so it does not show the other's line yet, and renames another file over it;
    then it makes that one anew, so that what stands at the log's name is a file of its own."""
    a, b = pair
    a.write("new.jsonl", b"moved\n")
    a.sync()
    b.sync()
    a.write("log.jsonl", b"of the other\n")
    a.sync()
    handle = b.open("log.jsonl", os.O_WRONLY | os.O_CREAT)
    b.tree.write(handle, 0, b"replaced\n")
    b.sync()
    b.rename("new.jsonl", "log.jsonl")
    if again:
        b.write("new.jsonl", b"again\n")
    a.append("log.jsonl", b"later\n")
    a.sync()
    b.sync()
    b.tree.release(handle)
    for _ in range(3):
        b.sync()
        a.sync()
    both = b"".join(data for _, _, data in b.show().values())
    assert b"of the other" in both, both
    assert b"moved" in both
    assert a.show() == b.show()
    assert broken(a.replica) == broken(b.replica) == []
