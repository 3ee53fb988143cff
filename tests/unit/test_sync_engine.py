"""Two machines over one store: what is pushed, what is pulled, and how many requests that takes."""

import os
import shutil
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "sim"))
from faults import FaultyStore, Network
from invariants import broken
from node import Node, TestClock

from agentfs.errors import Corrupt, SyncTimedOut
from agentfs.format.commit import decode_commit, encode_commit
from agentfs.format.layout import blob_prefix, log_name, volume_prefix
from agentfs.stores.counted import CountedStore, Counts
from agentfs.stores.memory import MemoryStore

Make = Callable[..., Node]


@pytest.fixture
def clock() -> TestClock:
    return TestClock()


@pytest.fixture
def store() -> CountedStore:
    return CountedStore(MemoryStore())


@pytest.fixture
def node(tmp_path: Path, clock: TestClock, store: CountedStore) -> Iterator[Make]:
    made: list[Node] = []

    def make(name: str, **options: object) -> Node:
        made.append(Node(tmp_path / name, store, clock, agent=name, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for it in made:
        it.close()


def counted(store: CountedStore, before: Counts) -> Counts:
    return store.counts - before


def test_a_file_reaches_the_other_machine(node: Make) -> None:
    a, b = node("a"), node("b")
    a.mkdir("d")
    a.write("d/f", b"hello")
    a.sync()
    b.engine.pull_now()
    assert b.show() == a.show() == {b"d": ("DIRECTORY", 0o755, b""), b"d/f": ("FILE", 0o644, b"hello")}
    b.append("d/f", b" world")
    b.sync()
    a.engine.pull_now()
    assert a.read("d/f") == b"hello world"


def test_a_hundred_files_are_one_put(node: Make, store: CountedStore) -> None:
    a, b = node("a"), node("b")
    for number in range(100):
        a.write(f"f{number}", b"%d" % number * 100)
    before = store.counts
    a.settle(1)
    done = counted(store, before)
    assert (done.creates, done.puts) == (1, 0)
    assert a.engine.status().pending_inodes == 0
    before = store.counts
    b.engine.pull_now()
    assert counted(store, before).gets == 2
    assert len(b.show()) == 100
    assert counted(store, before).gets == 2


def test_a_directory_rename_is_one_put(node: Make, store: CountedStore) -> None:
    a, b = node("a"), node("b")
    a.mkdir("d")
    for number in range(50):
        a.write(f"d/f{number}", b"x")
    a.sync()
    before = store.counts
    a.rename("d", "e")
    a.engine.push_until_clean(10)
    done = counted(store, before)
    assert (done.requests, done.creates) == (1, 1)
    b.engine.pull_now()
    assert len(b.names("e")) == 50


def test_created_and_deleted_is_nothing(node: Make, store: CountedStore) -> None:
    a = node("a")
    a.write("keep", b"x")
    a.sync()
    head = a.engine.status().head_sequence
    a.write("tmp", b"x")
    a.unlink("tmp")
    a.sync()
    assert "tmp" not in a.names()
    assert a.engine.status().head_sequence <= head + 1  # the directory's times


def test_idle_poll_is_one_get(node: Make, store: CountedStore) -> None:
    a = node("a")
    a.write("f", b"x")
    a.settle(60)
    before, start = store.counts, a.clock.now_s
    a.settle(60)
    done = counted(store, before)
    assert done.requests == done.gets
    assert done.gets <= (a.clock.now_s - start) / 4 + 1


def test_a_large_file_travels_in_chunks(node: Make, store: CountedStore) -> None:
    a, b = node("a"), node("b")
    data = bytes(range(256)) * 4096 * 3 + b"end"
    a.write("big", data)
    before = store.counts
    a.sync()
    done = counted(store, before)
    assert done.puts == 2, "equal chunks are put once"
    assert done.creates == 1
    b.engine.pull_now()
    assert b.read("big") == data
    handle = a.open("big", os.O_WRONLY)
    a.tree.write(handle, 0, b"changed")
    a.tree.flush(handle)
    a.tree.release(handle)
    before = store.counts
    a.sync()
    assert counted(store, before).puts == 1, "only the chunk that changed"
    b.engine.pull_now()
    assert b.read("big") == b"changed" + data[7:]


def test_more_than_one_commit_holds(node: Make, store: CountedStore) -> None:
    a, b = node("a"), node("b")
    a.mkdir("d")
    a.mkdir("d/e")
    for number in range(100):
        a.write(f"d/e/{number}", os.urandom(120_000))
    a.rename("d", "moved")
    a.sync()
    assert a.engine.status().head_sequence == 2
    b.engine.pull_now()
    assert b.show() == a.show()


def test_the_answer_of_a_put_is_lost(tmp_path: Path, clock: TestClock) -> None:
    network = Network(MemoryStore(), Random(1), fault_chance=0.0)
    a = Node(tmp_path / "a", FaultyStore(network), clock)
    a.write("f", b"x")
    network.fault_chance = 0.9
    for _ in range(200):
        a.settle(5)
        if not a.engine.status().pending_names:
            break
    network.fault_chance = 0.0
    a.sync()
    assert a.names() == ["f"]
    b = Node(tmp_path / "b", network.store, clock)
    b.engine.bootstrap()
    assert b.show() == a.show()
    for it in (a, b):
        it.close()


@pytest.mark.slow
def test_a_store_that_is_down_for_an_hour(tmp_path: Path, clock: TestClock) -> None:
    network = Network(MemoryStore(), Random(1), fault_chance=0.0)
    a = Node(tmp_path / "a", FaultyStore(network), clock)
    a.write("before", b"x")
    a.settle(2)
    a.engine._ground.store._store.partition = True
    a.write("during", b"y")
    a.settle(3600)
    status = a.engine.status()
    assert not status.online and status.last_error is not None and "partition" in status.last_error
    assert status.oldest_pending_age_s is not None and status.oldest_pending_age_s >= 3500
    assert status.requests < 600, "it waits up to 15 s between tries"
    with pytest.raises(SyncTimedOut):
        a.engine.push_until_clean(clock.monotonic() + 1)
    a.engine._ground.store._store.partition = False
    a.settle(20)
    assert a.engine.status().online
    assert a.engine.status().pending_inodes == 0
    a.close()


def test_hydrate_and_evict(node: Make, store: CountedStore) -> None:
    a, b = node("a"), node("b")
    a.write("f", b"content")
    a.sync()
    b.engine.pull_now()
    ino = b.at("f")
    assert b.replica.inode(ino).residency == 1
    assert b.engine.evict(cache_bytes=0) == 7
    assert b.replica.inode(ino).residency == 0
    assert b.replica.files.stat(ino) is None
    before = store.counts
    assert b.read("f") == b"content"
    assert counted(store, before).requests == 1
    b.write("f", b"mine")
    assert b.engine.evict(cache_bytes=0) == 0, "pending bytes are never dropped"


def test_many_threads_share_one_fetch(node: Make, store: CountedStore) -> None:
    a, b = node("a"), node("b")
    a.write("f", b"content")
    a.sync()
    b.engine.pull_now()
    b.engine.evict(cache_bytes=0)
    before = store.counts
    threads = [threading.Thread(target=b.engine.hydrate, args=(b.at("f"),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert b.replica.inode(b.at("f")).residency == 1
    assert counted(store, before).gets <= 2


def test_suspect_bytes_are_checked(node: Make) -> None:
    a = node("a")
    a.write("good", b"good")
    a.write("bad", b"bad")
    a.sync()
    with a.replica.transaction() as tx:
        tx.sql.execute("UPDATE inode SET residency=2 WHERE kind=1")
    Path(a.replica.files.path(a.at("bad"))).write_bytes(b"BAD")
    assert a.read("good") == b"good"
    assert a.read("bad") == b"bad"


def test_damaged_content_is_not_used(node: Make, store: CountedStore) -> None:
    a, b = node("a"), node("b")
    a.write("big", os.urandom(200_000))
    a.sync()
    b.engine.pull_now()
    name = store.list(blob_prefix(volume_prefix("space", "sim")))[0].name
    store.put(name, b"x" * 200_000)
    with pytest.raises(Corrupt):
        b.read("big")


def test_a_snapshot_starts_a_newcomer(node: Make, store: CountedStore) -> None:
    a = node("a")
    for number in range(5):
        a.write(f"f{number}", b"%d" % number)
        a.sync()
    assert a.engine.snapshot()
    assert not a.engine.snapshot()
    a.write("tail", b"t")
    a.sync()
    b = node("b")
    before = store.counts
    b.engine.bootstrap()
    assert counted(store, before).requests == 4
    assert broken(b.replica) == []
    assert b.show() == a.show()


def test_a_replica_that_fell_behind_a_collected_log(node: Make) -> None:
    a, b = node("a"), node("b")
    a.mkdir("d")
    a.write("d/old", b"old")
    a.write("edited", b"1")
    a.sync()
    b.sync()
    b.engine.hydrate(b.at("d/old"))
    b.write("edited", b"\0by b")
    b.write("new", b"new")
    b.rename("d", "e")
    for number in range(4):
        a.write("f0", b"%d" % number)
        a.sync()
    a.write("edited", b"by a")
    a.sync()
    a.engine.snapshot()
    log = a.engine._ground.log
    for sequence in (2, 3):
        log.collect(sequence, snapshot=a.engine.status().head_sequence)
    b.sync()
    assert broken(b.replica) == []
    a.engine.pull_now()
    assert a.show() == b.show()
    names = b.names()
    assert {"e", "new", "edited", "f0"} <= set(names)
    assert any(it.startswith("edited.conflict-b-") for it in names)


def test_another_history_is_refused(node: Make, store: CountedStore) -> None:
    a, b = node("a"), node("b")
    a.write("f", b"1")
    a.sync()
    b.engine.pull_now()
    a.write("f", b"2")
    a.sync()
    name = log_name(volume_prefix("space", "sim"), 1)
    data = store.get(log_name(volume_prefix("space", "sim"), 2)).data
    commit, _ = decode_commit(data, volume="space-sim", sequence=2)
    foreign = encode_commit(replace(commit, parent=b"x" * 32), {it.id: b"3" for it in commit.inodes if it.content})
    store.put(log_name(volume_prefix("space", "sim"), 2), foreign.data)
    shown = b.show()
    b.settle(5)
    assert b.engine.status().broken
    assert "history-broken" in (b.engine.status().last_error or "")
    assert b.show() == shown
    b.write("g", b"4")
    before = store.counts
    b.settle(10)
    assert counted(store, before).requests == 0
    assert name


def test_files_open_for_writing(node: Make) -> None:
    a, b = node("a"), node("b")
    handle = a.open("log", os.O_WRONLY | os.O_CREAT)
    a.tree.write(handle, 0, b"one")
    a.settle(3)
    b.engine.pull_now()
    assert b.names() == [], "still being written"
    a.settle(6)
    b.engine.pull_now()
    assert b.read("log") == b"one", "open for long, and quiet"
    a.tree.write(handle, 3, b" two")
    a.settle(4)
    b.engine.pull_now()
    assert b.read("log") == b"one two"
    a.tree.write(handle, 7, b" three")
    a.tree.fsync(handle, data_only=False)
    a.sync()
    b.engine.pull_now()
    assert b.read("log") == b"one two three"
    a.tree.release(handle)


def test_a_replaced_file_is_replaced_in_one_commit(node: Make) -> None:
    a, b = node("a"), node("b")
    a.write("f", b"old")
    a.sync()
    b.sync()
    a.write("f.tmp", os.urandom(100_000))
    a.rename("f.tmp", "f")
    a.sync()
    b.engine.pull_now()
    assert b.show() == a.show()
    assert b.engine.status().head_sequence == 2


def test_a_clone_commits_what_its_twin_committed(node: Make, tmp_path: Path, store: CountedStore) -> None:
    a = node("a")
    a.write("f", b"1")
    a.sync()
    a.write("f", b"2")
    a.write("new", b"n")
    shutil.copytree(tmp_path / "a", tmp_path / "twin")
    twin = node("twin")
    a.sync()
    twin.sync()
    a.engine.pull_now()
    assert twin.show() == a.show()
    assert sorted(a.names()) == ["f", "new"]


def test_a_database_left_with_a_wal_is_recovered(node: Make, tmp_path: Path) -> None:
    a, b = node("a"), node("b")
    path = tmp_path / "source.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=wal")
    connection.execute("CREATE TABLE t(x)")
    connection.execute("INSERT INTO t VALUES(42)")
    connection.commit()
    a.write("my.db", path.read_bytes())
    a.write("my.db-wal", Path(f"{path}-wal").read_bytes())
    connection.close()
    a.sync()
    b.engine.pull_now()
    assert b.names() == ["my.db"]
    copy = tmp_path / "copy.db"
    copy.write_bytes(b.read("my.db"))
    found = sqlite3.connect(copy)
    assert found.execute("SELECT x FROM t").fetchall() == [(42,)]
    found.close()


def test_a_directory_emptied_by_moves_and_removed(node: Make) -> None:
    """The removal depends on every move; all of them with their new bytes do not fit one commit."""
    a, b = node("a"), node("b")
    a.mkdir("d")
    for number in range(90):
        a.write(f"d/{number}", b"old")
    a.sync()
    b.sync()
    a.mkdir("e")
    for number in range(90):
        a.write(f"d/{number}", os.urandom(120_000))
        a.rename(f"d/{number}", f"e/{number}")
    a.rmdir("d")
    a.sync()
    assert not a.engine.status().last_error
    b.engine.pull_now()
    assert b.show() == a.show()
    assert len(b.names("e")) == 90 and "d" not in b.names()


def test_fetching_ahead_waits_for_the_store(tmp_path: Path, clock: TestClock) -> None:
    network = Network(MemoryStore(), Random(1), fault_chance=0.0)
    a = Node(tmp_path / "a", network.store, clock)
    a.write("big", os.urandom(200_000))
    a.sync()
    b = Node(tmp_path / "b", FaultyStore(network), clock)
    b.engine.bootstrap()
    b.engine._ground.store._store.partition = True
    b.settle(30)
    b.engine._ground.store._store.partition = False
    b.settle(30)
    assert b.replica.inode(b.at("big")).residency == 1
    for it in (a, b):
        it.close()


def test_a_database_in_use_is_copied_by_sqlite(tmp_path: Path, clock: TestClock) -> None:
    """The mount is played by a symbolic link to the backing file, and its `-wal` by a hard link: the application and
    the engine open the same path, as on a mount."""
    store, mount = MemoryStore(), tmp_path / "mount"
    mount.mkdir()
    a = Node(tmp_path / "a", store, clock, mountpoint=lambda: str(mount))
    b = Node(tmp_path / "b", store, clock, agent="b")
    handle = a.open("my.db", os.O_RDWR | os.O_CREAT)
    backing = a.replica.files.path(handle.ino)
    (mount / "my.db").symlink_to(backing)
    wal = a.open("my.db-wal", os.O_RDWR | os.O_CREAT)
    os.link(a.replica.files.path(wal.ino), f"{backing}-wal")
    application = sqlite3.connect(mount / "my.db", isolation_level=None)
    application.execute("PRAGMA journal_mode=wal")
    application.execute("CREATE TABLE t(x)")

    def rows_at_b() -> list[tuple[int]]:
        a.settle(15)
        b.engine.pull_now()
        copy = tmp_path / "copy.db"
        copy.write_bytes(b.read("my.db"))
        found = sqlite3.connect(copy)
        try:
            return found.execute("SELECT x FROM t").fetchall()
        finally:
            found.close()

    application.execute("INSERT INTO t VALUES(1)")
    application.execute("PRAGMA wal_checkpoint")
    a.tree.fsync(handle, data_only=False)
    assert rows_at_b() == [(1,)]
    application.execute("INSERT INTO t VALUES(2)")
    application.execute("BEGIN IMMEDIATE")
    application.execute("INSERT INTO t VALUES(3)")
    assert rows_at_b() == [(1,), (2,)], "what is committed is copied, and nothing else"
    application.execute("COMMIT")
    application.close()
    a.tree.release(handle)
    a.tree.release(wal)
    for it in (a, b):
        it.close()
