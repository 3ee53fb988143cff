"""`kill -9` of a process that changes a tree, again and again on one replica: what it was told is done, is there."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from agentfs.clock import SystemClock
from agentfs.errors import NotFound
from agentfs.replica.check import check
from agentfs.replica.replica import ROOT, Replica
from agentfs.tree.tree import Tree

CHILD = Path(__file__).with_name("tree_child.py")


class Acknowledged:
    """What the dead processes were told."""

    def __init__(self) -> None:
        self.exact: dict[bytes, bytes | None] = {}
        self.at_least: dict[bytes, int] = {}
        self.whole_or_not: dict[bytes, bytes] = {}
        self.count = 0

    def take(self, line: bytes) -> None:
        name, _, said = line.rpartition(b" ")
        if name == b"ready":
            return
        if said == b"?":
            self.exact.pop(name, None)
        elif said.startswith(b"~"):
            self.whole_or_not[name] = bytes.fromhex(said[1:].decode())
        elif said.startswith(b">="):
            self.at_least[name] = int(said[2:])
        else:
            self.exact[name] = None if said == b"-" else bytes.fromhex(said.decode())
            self.count += 1

    def verify(self, tree: Tree) -> None:
        for name, data in self.exact.items():
            assert content(tree, name) == data, name
        for name, data in self.whole_or_not.items():
            assert content(tree, name) in (data, None), name
        for name, size in self.at_least.items():
            found = content(tree, name)
            assert found is not None
            assert len(found) >= size, name
            assert all(len(line) == 8 for line in found[:size].splitlines())


def content(tree: Tree, name: bytes) -> bytes | None:
    try:
        found = tree.lookup(ROOT, name)
    except NotFound:
        return None
    handle = tree.open(found.ino, os.O_RDONLY)
    data = tree.read(handle, 0, 1 << 24)
    tree.release(handle)
    assert len(data) == found.size_bytes, name
    return data


def run_and_kill(directory: Path, run: int, seed: int, way: str, acknowledged: Acknowledged, lines: int) -> None:
    child = subprocess.Popen(
        [sys.executable, str(CHILD), str(directory), f"run{run}", str(seed), way],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert child.stdout is not None
    for _ in range(lines):
        line = child.stdout.readline()
        assert line.endswith(b"\n"), "the child died by itself"
        acknowledged.take(line[:-1])
    os.kill(child.pid, signal.SIGKILL)
    for line in child.stdout:  # said before it died
        if line.endswith(b"\n"):
            acknowledged.take(line[:-1])
    assert child.wait() == -signal.SIGKILL
    child.stdout.close()


@pytest.mark.parametrize("way", ["through", "direct"])
@pytest.mark.parametrize("seed", range(int(os.environ.get("AGENTFS_CRASH_SEEDS", "3"))))
def test_what_was_acknowledged_survives_kill_9(tmp_path: Path, seed: int, way: str) -> None:
    entropy = Random(seed)
    acknowledged = Acknowledged()
    for run in range(8):
        run_and_kill(tmp_path / "replica", run, seed, way, acknowledged, entropy.randrange(2, 400))
        with Replica.open(
            str(tmp_path / "replica"), volume_kind="home", volume_id="me", session_kind="test", clock=SystemClock()
        ) as replica:
            assert check(replica) == []
            assert replica.connection.rows("SELECT * FROM write_open") == []
            tree = Tree(replica)
            acknowledged.verify(tree)
            tree.close()
            unsent = replica.connection.rows(
                "SELECT ino FROM inode WHERE kind=1 AND nlink>0 AND local=0 AND pending!=3"
            )
            assert unsent == [], "all of it is still to be pushed"
    assert acknowledged.count > 20
