"""Findings of a review, each as small as it gets."""

import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "sim"))
from node import ROOT, Node, TestClock

from agentfs.errors import AgentFSError, NoSpace
from agentfs.model.records import CHUNK_BYTES
from agentfs.replica import database
from agentfs.replica.check import check
from agentfs.replica.database import SQLITE_VERSION_MIN, Connection
from agentfs.replica.transaction import Transaction
from agentfs.stores.memory import MemoryStore
from agentfs.volume.replacing import replace

Make = Callable[[str], Node]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Make]:
    made: list[Node] = []
    store, clock = MemoryStore(), TestClock()

    def make(name: str) -> Node:
        made.append(Node(tmp_path / name, store, clock, agent=name))
        return made[-1]

    yield make
    for it in made:
        assert not check(it.replica)
        it.close()


def test_the_bundled_sqlite_is_past_the_bug_that_corrupts_databases() -> None:
    assert tuple(map(int, apsw.sqlite_lib_version().split("."))) >= SQLITE_VERSION_MIN >= (3, 51, 3)


def test_an_older_sqlite_opens_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database.apsw, "sqlite_lib_version", lambda: "3.51.2")
    with pytest.raises(AgentFSError, match=r"3\.51\.3 is needed"):
        Connection(str(tmp_path / "db"))
    assert not (tmp_path / "db").exists()


def test_a_replacement_that_cannot_be_committed_leaves_the_old_bytes(
    node: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = node("a")
    a.write("f", b"old bytes")
    existing = a.tree.lookup(ROOT, b"f")
    written = Transaction.content_written

    def full(self: Transaction, ino: int, **values: int) -> None:
        written(self, ino, **values)
        raise NoSpace("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Transaction, "content_written", full)
        with pytest.raises(NoSpace):
            replace(a.replica, a.tree, parent=ROOT, name=b"f", existing=existing, data=b"new")
    assert a.read("f") == b"old bytes"
    assert not a.replica.connection.rows("SELECT * FROM write_open")
    assert not os.listdir(a.directory / "files" / "staging")
    replace(a.replica, a.tree, parent=ROOT, name=b"f", existing=existing, data=b"new")
    assert a.read("f") == b"new"
    assert not os.listdir(a.directory / "files" / "staging")


def test_holes_are_not_read(node: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = node("a"), node("b")
    size = 32 * CHUNK_BYTES + 5
    handle = a.open("sparse", os.O_RDWR | os.O_CREAT)
    a.tree.write(handle, 20 * CHUNK_BYTES + 7, b"in the middle")
    a.tree.write(handle, size - 3, b"end")
    a.tree.flush(handle)
    a.tree.release(handle)
    read, pread = [], os.pread

    def counted(fd: int, length: int, offset: int) -> bytes:
        read.append(offset // CHUNK_BYTES)
        return pread(fd, length, offset)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", counted)
        a.sync()
    assert sorted(read) == [20, 32]
    b.engine.pull_now()
    assert hashlib.sha256(b.read("sparse")).digest() == hashlib.sha256(a.read("sparse")).digest()
    assert len(b.read("sparse")) == size


def test_attributes_that_give_way_to_those_of_an_equal_file_are_reported(node: Make) -> None:
    a, b = node("a"), node("b")
    for it, mode in ((a, 0o600), (b, 0o640)):
        it.write("f", b"equal")
        it.chmod("f", mode)
        it.mkdir("d")
    b.tree.set_xattr(b.at("d"), b"user.x", b"1", 0)
    a.sync()
    b.sync()
    assert sorted(b.replica.connection.rows("SELECT kind, name FROM conflict")) == [
        ("attributes", b"d"),
        ("attributes", b"f"),
    ]
    a.engine.pull_now()
    assert a.show() == b.show()
