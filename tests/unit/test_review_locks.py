"""The engine's lock, and programs that fork."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "sim"))
from node import Node, TestClock

from agentfs.replica.lock_file import LockFile
from agentfs.replica.pending import pending_state
from agentfs.replica.replica import Replica
from agentfs.stores.memory import MemoryStore


def test_a_forked_child_does_not_hold_the_lock(tmp_path: Path) -> None:
    """It has none of the engine's threads: nobody would push, and nobody else could."""
    path = str(tmp_path / "engine.lock")
    lock = LockFile.acquire(path)
    assert lock is not None
    wait, go = os.pipe()
    said, say = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(go)
        os.write(say, b"here")
        os.read(wait, 1)
        os._exit(0)
    os.read(said, 4)
    try:
        lock.abandon()  # as when the parent is killed
        found = LockFile.acquire(path)
        assert found is not None
        assert LockFile.acquire(path) is None
        found.release()
    finally:
        os.close(go)
        for fd in (wait, said, say):
            os.close(fd)
        os.waitpid(child, 0)


def test_looking_at_what_is_pending_keeps_no_writer_waiting(tmp_path: Path) -> None:
    clock = TestClock()
    node = Node(tmp_path / "a", MemoryStore(), clock)
    other = Replica.open(str(tmp_path / "a"), volume_kind="space", volume_id="sim", session_kind="sdk", clock=clock)
    node.write("f", b"x")
    try:
        with other.transaction() as tx:
            tx.sql.execute("INSERT OR REPLACE INTO state VALUES('x', 1)")
            assert len(pending_state(node.replica).names) == 1
    finally:
        other.close()
        node.close()
