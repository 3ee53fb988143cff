"""Ways to lose or mix data that a review found, each as small as it gets."""

import errno
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "sim"))
from node import CALLER, ROOT, Node, TestClock

from agentfs.errors import FileTooBig, NoSpace, NotResident
from agentfs.format.limits import FILE_BYTES_MAX
from agentfs.replica.pending import read_prepared
from agentfs.stores.memory import MemoryStore
from agentfs.sync.options import EngineOptions
from agentfs.tree.values import AttributeChange

Make = Callable[..., Node]
NO_PREFETCH = EngineOptions(parallel=1, prefetch=False)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Make]:
    made: list[Node] = []
    store, clock = MemoryStore(), TestClock()

    def make(name: str, **options: object) -> Node:
        made.append(Node(tmp_path / name, store, clock, agent=name, **options))
        return made[-1]

    yield make
    for it in made:
        it.close()


def synced(a: Node, *others: Node) -> None:
    a.sync()
    for it in others:
        it.engine.pull_now()


def write_at(node: Node, handle, offset: int, data: bytes) -> None:
    """As the face does: what is not here is fetched, and the write tried again."""
    try:
        node.tree.write(handle, offset, data)
    except NotResident as error:
        node.tree.hydrate(error.ino)
        node.tree.write(handle, offset, data)


# ---- handles that live on after a flush (a child that inherited the descriptor ended) ----


def flushed(node: Node):
    handle = node.open("f", os.O_RDWR | os.O_CREAT)
    node.tree.write(handle, 0, b"one")
    node.tree.flush(handle)
    node.sync()
    return handle


def test_a_backing_file_is_not_evicted_under_a_flushed_handle(node: Make) -> None:
    a = node("a")
    handle = flushed(a)
    a.engine.evict(cache_bytes=0)
    write_at(a, handle, 3, b"two")
    a.tree.flush(handle)
    a.tree.release(handle)
    assert a.read("f") == b"onetwo"


def test_two_handles_of_one_file_write_one_backing_file(node: Make) -> None:
    a = node("a")
    one = flushed(a)
    a.engine.evict(cache_bytes=0)
    assert a.read("f") == b"one"
    other = a.open("f", os.O_RDWR)
    a.tree.write(other, 0, b"ONE")
    assert a.tree.read(one, 0, 10) == b"ONE"
    write_at(a, one, 3, b"two")
    for handle in (one, other):
        a.tree.flush(handle)
        a.tree.release(handle)
    assert a.read("f") == b"ONEtwo"


def test_a_pull_does_not_put_its_bytes_under_a_flushed_handle(node: Make) -> None:
    a, b = node("a"), node("b")
    handle = flushed(b)
    a.engine.pull_now()
    a.write("f", b"\0other bytes")
    synced(a, b)
    write_at(b, handle, 3, b"two")
    b.tree.flush(handle)
    b.tree.release(handle)
    synced(b, a)
    assert a.read("f") == b"\0other bytes"
    assert sorted(data for _, _, data in a.show().values()) == [b"\0other bytes", b"onetwo"]
    assert a.show() == b.show()


def test_a_reader_of_an_old_version_does_not_fill_pages_of_the_new_one(node: Make) -> None:
    a, b = node("a"), node("b")
    a.write("f", b"version one")
    synced(a, b)
    reader = b.open("f", os.O_RDONLY)
    a.write("f", b"VERSION TWO")
    synced(a, b)
    writer = b.open("f", os.O_RDWR)
    assert b.tree.read(writer, 0, 50) == b.tree.read(reader, 0, 50) == b"VERSION TWO"


# ---- what leaves the log and comes back ----


@pytest.mark.parametrize("pushed_between", [False, True])
def test_a_file_whose_bytes_are_remote_survives_an_ignored_name(node: Make, pushed_between: bool) -> None:
    a, b = node("a"), node("b", options=NO_PREFETCH)
    a.write("f", b"bytes")
    synced(a, b)
    b.rename("f", "f.swp")
    if pushed_between:
        b.sync()
    b.rename("f.swp", "f")
    synced(b, a)
    assert a.read("f") == b.read("f") == b"bytes"


@pytest.mark.parametrize("whole_directory", [False, True])
def test_bytes_are_fetched_before_the_log_forgets_them(node: Make, whole_directory: bool) -> None:
    """What an ignored name holds on to may be collected from the store once the log has forgotten it."""
    a, b = node("a"), node("b", options=NO_PREFETCH)
    a.mkdir("d")
    a.write("d/f", b"bytes")
    a.write("d/g", b"other bytes")
    synced(a, b)
    if whole_directory:
        b.rename("d", "node_modules")
    else:
        b.rename("d/f", "f.swp")
    b.sync()
    row = b.replica.inode(b.at("node_modules/f" if whole_directory else "f.swp"))
    assert row is not None and row.local and row.residency == 1
    b.engine.evict(cache_bytes=0)
    assert b.read("node_modules/f" if whole_directory else "f.swp") == b"bytes"
    if not whole_directory:
        rest = b.replica.inode(b.at("d/g"))
        assert rest is not None and rest.residency == 0  # nothing is fetched that the log keeps


# ---- crashes ----


def test_a_crash_while_a_database_is_captured_does_not_lock_the_replica(node: Make, tmp_path: Path) -> None:
    a = node("a")
    a.write("f", b"x")
    a.close()
    left = tmp_path / "a" / "files" / "staging" / "tmp1"
    left.mkdir()
    (left / "copy").write_bytes(b"half a database")
    assert node("a").read("f") == b"x"
    assert not left.exists()


class Crash(Exception):
    pass


def test_a_crash_after_a_lost_race_leaves_nothing_unsettled(node: Make) -> None:
    """What was prepared for a place goes in the transaction that takes in what stands there: left behind, it kept
    `sync` waiting for an answer that never comes."""
    a, b = node("a"), node("b")
    a.write("f", b"equal")
    b.write("f", b"equal")
    a.sync()

    def crash(name: str) -> None:
        if name == "pull.applied":
            raise Crash

    b.engine._ground.failpoint = crash
    with pytest.raises(Crash):
        b.engine.push_until_clean(b.clock.monotonic() + 5)
    assert not read_prepared(b.replica)


# ---- a full disk here ----


def full(*_: object) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_said_to_who_fetches_and_stops_nothing_else(
    node: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = node("a"), node("b")
    a.write("f", b"bytes")
    a.sync()
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        b.settle(3)
        with pytest.raises(NoSpace):
            b.tree.hydrate(b.at("f"))
    b.symlink("mine", b"target")
    synced(b, a)
    assert a.show() == b.show()


# ---- limits of the format ----


def test_what_the_format_cannot_hold_is_refused_at_once(node: Make) -> None:
    a = node("a")
    handle = a.open("f", os.O_RDWR | os.O_CREAT)
    with pytest.raises(FileTooBig):
        a.tree.set_attributes(handle.ino, AttributeChange(size_bytes=FILE_BYTES_MAX + 1), handle=handle)
    with pytest.raises(FileTooBig):
        a.tree.write(handle, FILE_BYTES_MAX, b"x")
    with pytest.raises(FileTooBig):
        a.tree.fallocate(handle, 0, FILE_BYTES_MAX, 1)
    for number in range(1024):
        a.tree.set_xattr(handle.ino, b"user.%d" % number, b"", 0)
    with pytest.raises(NoSpace):
        a.tree.set_xattr(handle.ino, b"user.more", b"", 0)
    a.tree.set_xattr(handle.ino, b"user.0", b"other", 0)
    a.tree.release(handle)
    a.sync()


def test_a_file_that_grew_too_big_behind_our_back_holds_up_nothing_else(node: Make) -> None:
    a, b = node("a"), node("b")
    handle = a.open("big", os.O_RDWR | os.O_CREAT)
    os.ftruncate(handle.fd, FILE_BYTES_MAX + 1)  # as the kernel does in passthrough
    handle.direct = True
    a.tree.flush(handle)
    a.tree.release(handle)
    a.write("small", b"x")
    a.settle(3)
    b.engine.pull_now()
    assert b.names() == ["small"]
    assert a.engine.status().waiting_files


def test_many_extended_attributes_are_spread_over_commits(node: Make) -> None:
    a, b = node("a"), node("b")
    for number in range(300):
        a.tree.mknod(ROOT, b"%d" % number, 0o644, 0, CALLER)
        for attribute in range(4):
            a.tree.set_xattr(a.at(str(number)), b"user.%d" % attribute, os.urandom(60_000), 0)
    synced(a, b)
    assert len(b.names()) == 300


# ---- files that never come to rest ----


def test_a_log_that_is_written_all_the_time_leaves_the_machine(node: Make) -> None:
    a, b = node("a"), node("b")
    handle = a.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for _ in range(200):
        a.tree.write(handle, 0, b"line\n")
        a.settle(0.5)
    b.engine.pull_now()
    assert len(b.read("log")) > 100 * len(b"line\n")
    a.tree.release(handle)
    synced(a, b)
    assert b.read("log") == b"line\n" * 200


def test_a_store_into_a_mapped_page_is_seen_after_the_page_was_captured(node: Make) -> None:
    """Stores into a page that is dirty already do not change the file's times; so the capture cleans it first."""
    import mmap  # noqa: PLC0415

    a, b = node("a"), node("b")
    handle = a.open("f", os.O_RDWR | os.O_CREAT)
    handle.direct = True  # as in passthrough: stores reach the backing file, and nobody tells us
    os.ftruncate(handle.fd, 4096)
    with mmap.mmap(handle.fd, 4096) as mapped:
        mapped[:3] = b"one"
        a.tree.flush(handle)  # close(2); the mapping keeps the file open
        os.utime(handle.fd, ns=(10**18, 10**18))  # long ago: no doubt about one tick of the clock
        a.tree.flush(handle)
        a.sync()
        mapped[3:6] = b"two"
    a.tree.release(handle)  # munmap
    synced(a, b)
    assert b.read("f").rstrip(b"\0") == b"onetwo"


# ---- what others must hear ----


def test_a_mount_hears_of_the_conflict_copy_that_its_own_close_made(node: Make) -> None:
    a, b = node("a"), node("b")
    a.write("f", b"one")
    synced(a, b)
    handle = b.open("f", os.O_RDWR)
    a.write("f", b"\0two!")
    synced(a, b)
    told = b.replica.journal_end()
    b.tree.write(handle, 0, b"MINE")
    b.tree.flush(handle)
    b.tree.release(handle)
    b.settle()
    (kept,) = (name for name in b.names() if "conflict" in name)
    assert kept.encode() in [row.name for row in b.tree.changes_since(told, 100)]


def test_no_journal_row_is_trimmed_before_its_readers_had_a_minute(node: Make) -> None:
    a = node("a", options=EngineOptions(parallel=1, journal_rows_max=5))
    start = a.replica.journal_end()
    for number in range(20):
        a.mkdir(str(number))
    a.engine._upkeep.trim()
    assert len(a.replica.journal_after(start)) == 20
    a.clock.now_s += 100
    a.mkdir("later")
    a.engine._upkeep.trim()
    assert len(a.replica.journal_after(start)) == 5


def test_fsync_through_a_reader_covers_what_a_writer_wrote(node: Make) -> None:
    a = node("a")
    a.write("f", b"one")
    a.sync()
    writer, reader = a.open("f", os.O_RDWR), a.open("f", os.O_RDONLY)
    a.tree.write(writer, 0, b"ONE")
    a.tree.fsync(reader, data_only=False)
    assert a.replica.pending().inodes
    a.tree.release(writer)
    a.tree.release(reader)
