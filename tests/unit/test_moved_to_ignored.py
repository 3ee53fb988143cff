"""A directory that one machine moves to an ignored name while another writes into it: the rest goes on."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "sim"))
from node import Node, TestClock

from agentfs.errors import SyncTimedOut
from agentfs.stores.memory import MemoryStore


@pytest.mark.parametrize("ignored", ["node_modules", "x.swp"])
def test_what_is_written_into_it_meanwhile_keeps_nothing_else_from_the_store(tmp_path: Path, ignored: str) -> None:
    clock = TestClock()
    store = MemoryStore(clock=clock)
    a, b = (Node(tmp_path / name, store, clock, agent=name) for name in "ab")
    try:
        a.mkdir("p")
        a.write("p/x", b"one")
        a.sync()
        b.sync()
        a.rename("p", ignored)
        b.write("p/y", b"two")
        b.sync()
        a.sync()
        b.sync()
        a.write("other", b"three")
        with pytest.raises(SyncTimedOut):  # what b wrote waits in the directory that is a's own now
            a.sync()
        b.sync()
        assert b.read("other") == b"three"
        assert a.read(f"{ignored}/y") == b"two"
        a.rename(f"{ignored}/y", "y")
        a.sync()
        b.sync()
        assert b.read("y") == b"two"
        assert a.replica.pending().inodes == 0
    finally:
        a.close()
        b.close()
