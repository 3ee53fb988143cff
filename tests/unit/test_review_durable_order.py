"""What is durable before what: the calls are recorded in their order, by the name of the file that they are about."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "sim"))
from node import Node, TestClock

from agentfs.replica.pending import read_prepared
from agentfs.stores.memory import MemoryStore


class Recorded(MemoryStore):
    def __init__(self, calls: list[str]) -> None:
        super().__init__()
        self.calls = calls

    def put(self, name: str, data: bytes, **options: object) -> str:
        self.calls.append("put " + name.rsplit("/", 2)[-2])
        return super().put(name, data, **options)  # type: ignore[arg-type]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    sync, data_sync = os.fsync, os.fdatasync

    def said(fd: int) -> None:
        found.append("fsync " + os.path.basename(os.readlink(f"/proc/self/fd/{fd}")))

    monkeypatch.setattr(os, "fsync", lambda fd: (said(fd), sync(fd))[1])
    monkeypatch.setattr(os, "fdatasync", lambda fd: (said(fd), data_sync(fd))[1])
    return found


@pytest.fixture
def node(tmp_path: Path, calls: list[str]) -> Iterator[Node]:
    it = Node(tmp_path / "new" / "a", Recorded(calls), TestClock())
    yield it
    it.close()


def test_the_directories_of_a_new_replica_are_durable(node: Node, calls: list[str]) -> None:
    assert calls[0].startswith("fsync test_the_directories")  # the name `new`; then `a`, `sessions`, `files`, the 256
    assert calls[1:5] == ["fsync new", "fsync a", "fsync a", "fsync files"]


def test_a_commit_is_prepared_durably_by_one_fsync(node: Node, calls: list[str]) -> None:
    node.write("f", b"one")
    node.sync()
    calls.clear()
    prepared: list[int] = []
    node.engine._ground.failpoint = lambda name: (
        prepared.append(len(read_prepared(node.replica))) if name == "push.prepared" else None
    )
    node.write("f", b"two")
    node.sync()
    assert prepared == [1]
    assert calls == ["fsync replica.db-wal", "put log"]


def test_fsync_of_a_directory_waits_outside_the_lock(
    node: Node, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    held = []
    monkeypatch.setattr(os, "fsync", lambda _fd: held.append(node.replica.lock._is_owned()))
    node.mkdir("d")
    node.tree.fsync_directory(1)
    assert held and not any(held)
