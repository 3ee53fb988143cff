"""A snapshot of a replica is what the log says, as fsck judges it."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "sim"))
from node import Node, TestClock

from agentfs.format.commit import decode_commit
from agentfs.fsck.replay import LogTree
from agentfs.replica.bulk import snapshot_of
from agentfs.stores.memory import MemoryStore


@pytest.mark.parametrize("what", ["rename", "link", "ignored", "chmod"])
def test_a_snapshot_agrees_with_the_replayed_log(tmp_path: Path, what: str) -> None:
    clock = TestClock()
    node = Node(tmp_path / "a", MemoryStore(), clock, agent="a")
    node.mkdir("d")
    node.write("d/f", b"1")
    node.sync()
    clock.now_s += 10
    match what:
        case "rename":
            node.rename("d/f", "d/g")
        case "link":
            node.link("d/f", "g")
        case "ignored":
            node.write("d/x.swp", b"1")
        case _:
            node.chmod("d/f", 0o600)
    node.sync()
    tree = LogTree()
    for sequence in range(1, node.engine.status().head_sequence + 1):
        data = node.engine._ground.log.read(sequence)
        tree.apply(decode_commit(data, volume="space-sim", sequence=sequence)[0])
    snapshot = snapshot_of(node.replica, "space-sim")
    assert snapshot is not None
    assert tree.differences(snapshot) == []
    tree.inodes.popitem()
    assert tree.differences(snapshot) != []
    node.close()
