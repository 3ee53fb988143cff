"""A SQLite database and what its program left beside it, when another machine's version comes."""

import os
import sqlite3
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "sim"))
from node import Node, TestClock

from agentfs.stores.memory import MemoryStore

Rows = list[tuple[int]]
NEW: Rows = [(number,) for number in range(100, 2000)]


@pytest.fixture
def machines(tmp_path: Path):
    store, clock = MemoryStore(), TestClock()
    a, b = (Node(tmp_path / name, store, clock, agent=name) for name in "ab")
    yield a, b
    a.close()
    b.close()


def left_by_a_killed_program(directory: Path) -> tuple[bytes, bytes]:
    """A database of three rows that are in its `-wal` only."""
    path = directory / "src.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE t(x)")
    connection.commit()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.executemany("INSERT INTO t VALUES(?)", [(1,), (2,), (3,)])
    connection.commit()
    found = path.read_bytes(), (directory / "src.db-wal").read_bytes()
    connection.close()
    return found


def opened(directory: Path, node: Node, name: str) -> Rows:
    """What SQLite finds in the database and what lies beside it."""
    copy = directory / f"copy-{len(os.listdir(directory))}"
    copy.mkdir()
    for file in node.names():
        if file.startswith(name):
            (copy / file).write_bytes(node.read(file))
    connection = sqlite3.connect(copy / name)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    found = connection.execute("SELECT x FROM t ORDER BY x").fetchall()
    connection.close()
    return found


def rewritten(directory: Path, node: Node) -> None:
    path = directory / "b.db"
    path.write_bytes(node.read("x.db"))
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=DELETE")
    connection.execute("DELETE FROM t")
    connection.executemany("INSERT INTO t VALUES(?)", NEW)
    connection.commit()
    connection.close()
    node.write("x.db", path.read_bytes())
    node.sync()


def test_a_wal_that_was_captured_goes_when_a_newer_version_comes(tmp_path: Path, machines: tuple[Node, Node]) -> None:
    a, b = machines
    database, wal = left_by_a_killed_program(tmp_path)
    a.write("x.db", database)
    a.write("x.db-wal", wal)
    a.settle(5)
    a.sync()
    b.engine.pull_now()
    assert opened(tmp_path, b, "x.db") == [(1,), (2,), (3,)]
    rewritten(tmp_path, b)
    a.engine.pull_now()
    assert opened(tmp_path, a, "x.db") == NEW
    assert a.names() == ["x.db"]


def test_a_wal_of_an_open_database_follows_it_to_the_conflict_copy(
    tmp_path: Path, machines: tuple[Node, Node]
) -> None:
    a, b = machines
    database, wal = left_by_a_killed_program(tmp_path)
    a.write("x.db", database)
    a.sync()
    b.engine.pull_now()
    rewritten(tmp_path, b)
    handle = a.open("x.db", os.O_RDWR)
    a.write("x.db-wal", wal)  # all that its program has written so far
    a.engine.pull_now()
    assert opened(tmp_path, a, "x.db") == NEW
    (kept,) = (name for name in a.names() if "conflict" in name and name.endswith(".db"))
    assert opened(tmp_path, a, kept) == [(1,), (2,), (3,)]
    a.tree.release(handle)
    a.settle(10)
    a.sync()
    b.engine.pull_now()
    assert opened(tmp_path, b, kept) == [(1,), (2,), (3,)]


def test_a_name_like_a_wal_beside_what_is_no_database_stays(machines: tuple[Node, Node]) -> None:
    a, b = machines
    a.write("notes", b"one")
    a.write("notes-wal", b"mine")
    a.sync()
    b.engine.pull_now()
    b.write("notes", b"two")
    b.sync()
    a.engine.pull_now()
    assert a.read("notes-wal") == b"mine"
