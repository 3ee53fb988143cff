"""New files with all their bytes in one transaction: what they cost, and what is left when one is not made."""

import os
import signal
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from agentfs.clock import SystemClock
from agentfs.errors import Exists, NoSpace, NotFound, NotSupported
from agentfs.replica import backing
from agentfs.replica.check import check
from agentfs.replica.journal import ChangeKind
from agentfs.replica.replica import ROOT, Replica
from agentfs.tree.tree import Tree
from agentfs.tree.values import Caller

CALLER = Caller(0, 0)


def opened(directory: Path) -> Replica:
    return Replica.open(str(directory), volume_kind="home", volume_id="me", session_kind="test", clock=SystemClock())


@pytest.fixture(autouse=True)
def few_directories(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new replica makes them all, and syncs that."""
    monkeypatch.setattr(backing, "DIRECTORIES", 4)


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Replica]:
    with opened(tmp_path / "replica") as replica:
        yield replica


def content(tree: Tree, name: bytes) -> bytes:
    handle = tree.open(tree.lookup(ROOT, name).ino, os.O_RDONLY)
    try:
        return tree.read(handle, 0, 1 << 20)
    finally:
        tree.release(handle)


def staged(replica: Replica) -> list[str]:
    return os.listdir(os.path.join(replica.directory, "files", "staging"))


def test_it_has_its_bytes_and_attributes(replica: Replica) -> None:
    tree = Tree(replica)
    end = replica.journal_end()
    made = tree.make_file(
        ROOT, b"note", b"some text", 0o640, CALLER, mtime_ns=10**18, xattrs={b"user.a": b"1", b"user.b": b"2"}
    )
    assert made == tree.lookup(ROOT, b"note")._replace(change=made.change, ctime_ns=made.ctime_ns)
    assert (made.size_bytes, made.mtime_ns, stat.S_IMODE(made.mode)) == (9, 10**18, 0o640)
    assert content(tree, b"note") == b"some text"
    assert {name: tree.get_xattr(made.ino, name) for name in tree.list_xattrs(made.ino)} == {
        b"user.a": b"1",
        b"user.b": b"2",
    }
    kinds = [row.kind for row in replica.journal_after(end) if row.ino == made.ino]
    assert kinds == [ChangeKind.LINK, ChangeKind.ATTRIBUTES, ChangeKind.ATTRIBUTES, ChangeKind.CONTENT]
    row = replica.inode(made.ino)
    assert row is not None
    assert row.pending == 3, "all of it is to be pushed"
    assert staged(replica) == []
    assert check(replica) == []


def test_it_takes_one_transaction_and_one_new_file(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = Tree(replica)
    tree.make_file(ROOT, b"first", b"1", 0o644, CALLER)  # reserves numbers, and marks the directory
    statements: list[str] = []
    opens: list[str] = []
    syncs: list[int] = []
    transactions: list[None] = []
    real_open = os.open

    def counting_open(path: Any, *rest: Any) -> int:
        opens.append(str(path))
        return real_open(path, *rest)

    monkeypatch.setattr(os, "open", counting_open)
    monkeypatch.setattr(os, "fsync", syncs.append)
    replica.changed.append(lambda: transactions.append(None))
    replica.connection._connection.exec_trace = lambda _cursor, sql, _bindings: statements.append(sql) or True
    try:
        tree.make_file(ROOT, b"second", b"2", 0o644, CALLER)
    finally:
        replica.connection._connection.exec_trace = None
    assert len(transactions) == 1
    assert len(statements) == 8, statements
    assert len(opens) == 1
    assert syncs == []


@pytest.mark.parametrize(
    ("name", "xattrs", "error"),
    [(b"taken", {}, Exists), (b"free", {b"system.x": b""}, NotSupported)],
    ids=["the name is taken", "an attribute that cannot be kept"],
)
def test_nothing_is_left_of_one_that_is_refused(
    replica: Replica, name: bytes, xattrs: dict[bytes, bytes], error: type[Exception]
) -> None:
    tree = Tree(replica)
    tree.make_file(ROOT, b"taken", b"as it was", 0o644, CALLER)
    numbers = set(replica.files.numbers())
    with pytest.raises(error):
        tree.make_file(ROOT, name, b"refused", 0o644, CALLER, xattrs=xattrs)
    with pytest.raises(NotFound):
        tree.lookup(ROOT, b"free")
    assert content(tree, b"taken") == b"as it was"
    assert set(replica.files.numbers()) == numbers
    assert staged(replica) == []
    assert check(replica) == []


def test_nothing_is_left_where_the_commit_fails(replica: Replica) -> None:
    """As on a full disk: the number that another process may get by then keeps that one's file."""
    tree = Tree(replica)
    numbers = set(replica.files.numbers())
    execute = replica.connection.execute

    def failing(sql: str, *rest: Any) -> Any:
        if sql == "COMMIT":
            replica.connection.execute = execute
            raise apsw.FullError("the disk is full")
        return execute(sql, *rest)

    replica.connection.execute = failing
    with pytest.raises(NoSpace):
        tree.make_file(ROOT, b"note", b"text", 0o644, CALLER)
    with replica.transaction():  # it was rolled back, and the door is open
        pass
    assert set(replica.files.numbers()) == numbers
    assert staged(replica) == []
    tree.make_file(ROOT, b"note", b"text", 0o644, CALLER)
    assert content(tree, b"note") == b"text"
    assert check(replica) == []


def test_another_process_has_the_number_by_then(replica: Replica, tmp_path: Path) -> None:
    tree = Tree(replica)
    made = tree.make_file(ROOT, b"theirs", b"their bytes", 0o644, CALLER)
    tree._ground.remove_unmade(made.ino)  # late: that number is in use
    assert content(tree, b"theirs") == b"their bytes"
    unused = made.ino + 10_000
    os.close(replica.files.create(unused))
    tree._ground.remove_unmade(unused)
    assert unused not in set(replica.files.numbers())


POINTS = [f"{name}.{when}" for name in ("stage_bytes", "adopt", "COMMIT") for when in ("before", "after")]


def die_at(point: str, directory: Path) -> None:
    """In a process of its own."""
    replica = opened(directory)
    tree = Tree(replica)
    tree.make_file(ROOT, b"before", b"acknowledged", 0o644, CALLER)

    def around(name: str, act: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: Any) -> Any:
            if point == f"{name}.before":
                os.kill(os.getpid(), signal.SIGKILL)
            result = act(*arguments)
            if point == f"{name}.after":
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return watched

    replica.files.stage_bytes = around("stage_bytes", replica.files.stage_bytes)  # type: ignore[method-assign]
    replica.files.adopt = around("adopt", replica.files.adopt)  # type: ignore[method-assign]
    execute = replica.connection.execute
    commit = around("COMMIT", lambda: execute("COMMIT"))
    replica.connection.execute = lambda sql, *rest: commit() if sql == "COMMIT" else execute(sql, *rest)
    tree.make_file(ROOT, b"note", b"all of it", 0o644, CALLER)


@pytest.mark.parametrize("point", POINTS)
def test_killed_anywhere_it_is_whole_or_not_there(tmp_path: Path, point: str) -> None:
    child = os.fork()
    if child == 0:
        try:
            die_at(point, tmp_path / "replica")
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    with opened(tmp_path / "replica") as replica:
        tree = Tree(replica)
        assert content(tree, b"before") == b"acknowledged"
        if point == "COMMIT.after":
            assert content(tree, b"note") == b"all of it"
        else:
            with pytest.raises(NotFound):
                tree.lookup(ROOT, b"note")
        resident = {row[0] for row in replica.connection.rows("SELECT ino FROM inode WHERE kind=1")}
        assert set(replica.files.numbers()) == resident
        assert staged(replica) == []
        assert check(replica) == []
