"""What remembering costs, counted: transactions, statements, files and syncs. Its time is a benchmark's."""

import os
from pathlib import Path
from typing import Any

import pytest

from agentfs.config.settings import load
from agentfs.memory.documents import document
from agentfs.memory.index import Entry, Index
from agentfs.memory.tokens import default_counter
from agentfs.replica.database import Connection
from agentfs.sdk.home import Home


class Statements:
    """Those that a connection runs."""

    def __init__(self, connection: Connection) -> None:
        self._connection: Any = connection._connection
        self.seen: list[str] = []

    def __enter__(self) -> list[str]:
        self._connection.exec_trace = lambda _cursor, sql, _bindings: self.seen.append(sql) or True
        return self.seen

    def __exit__(self, *_: object) -> None:
        self._connection.exec_trace = None


def kinds(statements: list[str]) -> list[str]:
    return [sql.split()[0] for sql in statements]


def test_a_memory_is_one_transaction_and_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "store").mkdir()
    given = {"store": str(tmp_path / "store"), "state_dir": str(tmp_path / "state"), "index": False}
    settings = load(given, environment={"HOME": str(tmp_path)})
    opens: list[str] = []
    syncs: list[int] = []
    real_open = os.open

    def counting_open(path: Any, *rest: Any) -> int:
        opens.append(str(path))
        return real_open(path, *rest)

    with Home.open("me", settings=settings, engine="none") as home:
        home.remember("The first one makes the directory of the month.")
        monkeypatch.setattr(os, "open", counting_open)
        monkeypatch.setattr(os, "fsync", syncs.append)
        with Statements(home._volume.replica.connection) as seen:
            made = home.remember("Deploys go out on Tuesdays.", title="Deploys", tags=["ops"], importance=0.7)
        monkeypatch.undo()
        # Four find the directory and that the name is free.
        write = ["BEGIN", "SELECT", "INSERT", "INSERT", "UPDATE", "INSERT", "INSERT", "COMMIT"]
        assert kinds(seen) == ["SELECT"] * 4 + write
        assert len(opens) == 1
        assert syncs == []
        assert home.stat(made.path) == made, "it is told as it is"


def test_a_memory_in_the_index_is_one_transaction(tmp_path: Path) -> None:
    index = Index(str(tmp_path), counter=default_counter())
    try:
        index.put([_entry(1, "The first one opens the file.")], position=1)
        with Statements(index._file._open()[0]) as seen:
            index.put([_entry(2, "Deploys go out on Tuesdays.")], position=2)
        # Its tag, its one passage, its words.
        assert kinds(seen) == ["BEGIN", "SELECT", "INSERT", "INSERT", "INSERT", "INSERT", "UPDATE", "COMMIT"]
    finally:
        index.close()


def _entry(ino: int, text: str) -> Entry:
    path, data = b"memories/2026-11/%d.md" % ino, f"---\ntags: [work]\n---\n{text}\n".encode()
    made = document(path, data, {}, mtime_ns=ino)
    assert made is not None
    return Entry(ino, path, bytes(32), ino, made)
