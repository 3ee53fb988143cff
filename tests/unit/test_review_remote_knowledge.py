"""What is taken for remote really was put; what was lost there is healed; a failed put takes nothing away."""

import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "sim"))
from node import Node, TestClock

from agentfs.errors import AgentFSError, ObjectExists, StoreUnavailable, SyncTimedOut, Unavailable
from agentfs.format.layout import blob_prefix, volume_prefix
from agentfs.fsck.repair import upload_missing
from agentfs.fsck.store_check import StoreCheck
from agentfs.model.records import CHUNK_BYTES
from agentfs.stores.local import LocalStore
from agentfs.stores.memory import MemoryStore
from agentfs.sync.options import EngineOptions

PREFIX = volume_prefix("space", "sim")
BLOBS = blob_prefix(PREFIX)


class Watched(MemoryStore):
    """Records puts and deletes; puts whose name contains `refuse` fail, after they took effect if `late`."""

    def __init__(self) -> None:
        super().__init__()
        self.puts: list[str] = []
        self.deletes: list[str] = []
        self.refuse = ""
        self.late = False

    def put(self, name: str, data: bytes, **options: object) -> str:
        refused = bool(self.refuse) and self.refuse in name
        if not refused or self.late:
            tag = super().put(name, data, **options)  # type: ignore[arg-type]
            self.puts.append(name)
        if refused:
            raise StoreUnavailable("no answer")
        return tag

    def delete(self, name: str) -> None:
        self.deletes.append(name)
        super().delete(name)

    def blobs(self) -> int:
        return len([name for name in self.puts if name.startswith(BLOBS)])


class World:
    def __init__(self, directory: Path) -> None:
        self.directory, self.store, self.clock = directory, Watched(), TestClock()
        self.made: list[Node] = []

    def node(self, name: str) -> Node:
        options = EngineOptions(parallel=1, prefetch=False)
        self.made.append(Node(self.directory / name, self.store, self.clock, agent=name, options=options))
        return self.made[-1]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    it = World(tmp_path)
    yield it
    for node in it.made:
        node.close()


def large(*chunks: bytes) -> bytes:
    return b"".join(it * CHUNK_BYTES for it in chunks)


def test_a_chunk_that_the_log_claims_and_the_store_lost(world: World) -> None:
    """It is not noticed by the next capture, which trusts the log; but nobody reads wrong bytes, fsck finds it, and
    every machine that has the file can put it back."""
    a, b = world.node("a"), world.node("b")
    a.write("f", large(b"a", b"b", b"c"))
    a.sync()
    (lost,) = [it.name for it in world.store.list(BLOBS, limit=10) if world.store.get(it.name).data[:1] == b"a"]
    world.store.delete(lost)
    handle = a.open("f", os.O_RDWR)
    a.tree.write(handle, CHUNK_BYTES, b"X")
    a.tree.flush(handle)
    a.tree.release(handle)
    a.sync()
    b.engine.pull_now()
    with pytest.raises(Unavailable):
        b.tree.hydrate(b.at("f"))
    state = StoreCheck(world.store, "space", "sim", deep=True).run()
    assert {it.kind for it in state.findings.found if it.severity == "loss"} == {"blob-missing"}
    assert upload_missing(world.store, "space-sim", str(a.directory), state.missing_blobs) == 1
    assert not StoreCheck(world.store, "space", "sim", deep=True).run().missing_blobs
    b.tree.hydrate(b.at("f"))
    assert b.read("f") == a.read("f")


def test_only_the_log_itself_saves_an_upload(world: World) -> None:
    a = world.node("a")
    data = large(b"a", b"b")
    a.write("f", data)
    a.sync()
    assert world.store.blobs() == 2
    a.write("copy", data)  # known on this machine, and in the store: but of this file the log has nothing
    a.sync()
    assert world.store.blobs() == 4
    handle = a.open("f", os.O_RDWR)
    a.tree.write(handle, 0, b"X")
    a.tree.flush(handle)
    a.tree.release(handle)
    a.sync()
    assert world.store.blobs() == 5


@pytest.mark.parametrize("late", [False, True])
def test_nothing_is_remembered_of_a_put_that_failed(world: World, late: bool) -> None:
    a, b = world.node("a"), world.node("b")
    data = large(b"a", b"b")
    a.write("f", data)
    world.store.refuse, world.store.late = BLOBS, late
    with pytest.raises(SyncTimedOut):
        a.engine.push_until_clean(a.clock.monotonic() + 2)
    assert not world.store.deletes
    world.store.refuse = ""
    for entry in world.store.list(BLOBS, limit=10):  # what was never acknowledged is not there
        world.store._objects.pop(entry.name)
    a.sync()
    b.engine.pull_now()
    b.tree.hydrate(b.at("f"))
    assert b.read("f") == data
    assert not world.store.deletes


def test_chunks_that_were_put_are_put_once_however_often_the_commit_fails(world: World) -> None:
    a, b = world.node("a"), world.node("b")
    data = large(b"a", b"b")
    a.write("f", data)
    world.store.refuse = "/log/"
    for _ in range(3):
        with pytest.raises(SyncTimedOut):
            a.engine.push_until_clean(a.clock.monotonic() + 2)
    world.store.refuse = ""
    a.sync()
    assert world.store.blobs() == 2
    b.engine.pull_now()
    b.tree.hydrate(b.at("f"))
    assert b.read("f") == data


@pytest.mark.parametrize("create_only", [False, True])
def test_a_put_that_fails_late_takes_nothing_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, create_only: bool
) -> None:
    """The name is shared: what stands there may be another's, or what a retry has stored."""
    store = LocalStore(str(tmp_path / "store"))

    def broken(_path: str) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(store._sync, "sync", broken)
        with pytest.raises(AgentFSError):
            store.put("log/1", b"bytes", create_only=create_only)
    if create_only:
        with pytest.raises(ObjectExists):
            store.put("log/1", b"other", create_only=True)
    assert store.get("log/1").data == b"bytes"
