"""Large files do not hold small ones back, and are not sent twice."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "sim"))
from node import Node, TestClock

from agentfs.format import layout
from agentfs.format.collection import Announcement, BlobId
from agentfs.log.announcements import Announcements
from agentfs.log.chunk_names import ChunkNames
from agentfs.stores.memory import MemoryStore
from agentfs.sync.options import EngineOptions

MIB = 1 << 20
VOLUME = layout.volume_name("space", "sim")


class SlowStore(MemoryStore):
    """A put of a chunk takes a quarter of a second."""

    def __init__(self, clock: TestClock) -> None:
        super().__init__()
        self.clock = clock
        self.chunks: list[str] = []

    def put(self, name: str, data: bytes, **options: object) -> str:
        if "/blobs/" in name:
            self.clock.now_s += 0.25
            self.chunks.append(name)
        return super().put(name, data, **options)  # type: ignore[arg-type]


@pytest.fixture
def clock() -> TestClock:
    return TestClock()


@pytest.fixture
def store(clock: TestClock) -> SlowStore:
    return SlowStore(clock)


@pytest.fixture
def node(tmp_path: Path, clock: TestClock, store: SlowStore) -> Iterator[Callable[[str], Node]]:
    made: list[Node] = []

    def make(name: str) -> Node:
        made.append(Node(tmp_path / name, store, clock, agent=name, options=EngineOptions(parallel=1)))
        return made[-1]

    yield make
    for it in made:
        it.close()


def large(seed: int, chunks: int) -> bytes:
    return Random(seed).randbytes(chunks * MIB)


def test_small_changes_do_not_wait_for_a_large_file(node: Callable[[str], Node], store: SlowStore) -> None:
    a, b = node("a"), node("b")
    data = large(1, 30)
    a.write("large", data)
    a.write("small", b"1")
    a.settle(0.5)
    b.engine.pull_now()
    assert b.names() == ["small"]
    assert 0 < len(store.chunks) < 10, "a second's worth of it"
    for number in range(5):
        a.write(f"later-{number}", b"2")
        a.settle(0.6)
    b.engine.pull_now()
    assert "later-4" in b.names() and "large" not in b.names()
    a.settle(10)
    b.engine.pull_now()
    assert b.read("large") == data
    assert len(store.chunks) == 30, "each once"
    assert a.engine.status().pending_inodes == 0


def test_sync_waits_for_the_large_file_too(node: Callable[[str], Node], store: SlowStore) -> None:
    a, b = node("a"), node("b")
    data = large(2, 12)
    a.write("large", data)
    a.sync()
    b.engine.pull_now()
    assert b.read("large") == data and len(store.chunks) == 12


def test_a_file_that_changes_on_its_way_arrives_as_it_is_last(node: Callable[[str], Node], store: SlowStore) -> None:
    a, b = node("a"), node("b")
    data = large(3, 12)
    a.write("large", data)
    a.settle(0.5)
    assert 0 < len(store.chunks) < 12
    handle = a.open("large", os.O_WRONLY)
    a.tree.write(handle, 0, b"new beginning")
    a.tree.flush(handle)
    a.tree.release(handle)
    a.sync()
    b.engine.pull_now()
    assert b.read("large") == b"new beginning" + data[13:]
    assert len(store.chunks) == 13, "only the first again"


def test_the_loser_of_a_race_does_not_send_the_file_again(
    node: Callable[[str], Node], store: SlowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = node("a"), node("b")
    data = large(4, 3)
    a.write("large", data)
    log = a.engine.ground.log
    append = log.append
    races = iter(range(3))

    def too_late(*arguments: object) -> object:
        number = next(races, None)
        if number is not None:
            b.engine.pull_now()
            b.write(f"first-{number}", b"x")
            b.sync()
        return append(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(log, "append", too_late)
    a.sync()
    b.engine.pull_now()
    assert b.read("large") == data
    assert len(store.chunks) == 3


# ---- what was put, beside collections ----


def announce(store: MemoryStore, number: int, *blobs: BlobId) -> None:
    announcement = Announcement(
        volume=VOLUME, number=number, horizon=number, time_ns=0, author="x", policy="all", blobs=blobs, packs=()
    )
    assert Announcements(store, VOLUME).put(announcement)


def test_what_was_announced_to_go_counts_as_stored_no_more() -> None:
    store = MemoryStore()
    names, one, two = ChunkNames(store, VOLUME), b"1" * 32, b"2" * 32
    for digest in (one, two):
        names.stored(digest, names.name(digest, head=1))
    assert names.is_stored(one, head=1) and names.is_stored(two, head=5)
    announce(store, 1, BlobId(one, 0))
    assert not names.is_stored(one, head=6), "it may go: another name"
    assert names.is_stored(two, head=6)
    names.forget_stored()
    assert not names.is_stored(two, head=6)


def test_who_missed_an_announcement_relies_on_nothing() -> None:
    store = MemoryStore()
    names, one = ChunkNames(store, VOLUME), b"1" * 32
    names.stored(one, names.name(one, head=1))
    announce(store, 1, BlobId(one, 0))
    announce(store, 2)
    store.delete(layout.announcement_name(layout.prefix_of(VOLUME), 1))
    assert not names.is_stored(one, head=2), "the first was read by nobody here"


def test_chunks_that_are_not_there_any_more_are_put_again(node: Callable[[str], Node], store: SlowStore) -> None:
    """A collection in the middle of a transfer names what was put of it."""
    a, b = node("a"), node("b")
    data = large(5, 12)
    a.write("large", data)
    a.settle(0.5)
    put = list(store.chunks)
    assert 0 < len(put) < 12
    digests = sorted(bytes.fromhex(name.rsplit("/", 1)[1]) for name in put)
    announce(store, 1, *(BlobId(digest, 0) for digest in digests))
    for name in put:
        store.delete(name)
    b.write("barrier", b"x")
    b.sync()
    a.sync()
    b.engine.pull_now()
    assert b.read("large") == data


def test_what_is_known_is_forgotten_with_the_commit(node: Callable[[str], Node], store: SlowStore) -> None:
    a, b = node("a"), node("b")
    data = large(6, 2)
    a.write("one", data)
    a.sync()
    a.write("two", data)
    a.sync()
    assert len(store.chunks) == 4, "F-122: only what this commit waits for may be left out"
    b.engine.pull_now()
    assert b.read("two") == data
