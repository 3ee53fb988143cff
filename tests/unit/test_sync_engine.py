"""Two machines over one store: what is pushed, what is pulled, and how many requests that takes."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "sim"))
from node import Node, TestClock  # noqa: E402

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
