"""Times that were set stay set, whatever closing finds out afterwards."""

import os
from pathlib import Path

import pytest

from agentfs.clock import SystemClock
from agentfs.replica.replica import Replica
from agentfs.tree.tree import Tree
from agentfs.tree.values import AttributeChange, Caller

ROOT = 1
LONG_AGO_NS = 946_684_799_123_456_789


@pytest.fixture
def tree(tmp_path: Path):
    replica = Replica.open(
        str(tmp_path / "replica"),
        volume_kind="home",
        volume_id="times",
        session_kind="test",
        clock=SystemClock(),
        mountpoint=None,
    )
    tree = Tree(replica)
    yield tree
    tree.close()
    replica.close()


@pytest.mark.parametrize("direct", [False, True], ids=["through us", "passthrough"])
def test_time_set_while_writing_outlives_flush_release_and_link(tree: Tree, direct: bool) -> None:
    """As tar and cp -p do: write, set the time on the descriptor, close. The file is milliseconds old then, so that
    its stamps cannot tell whether it was written again."""
    made, handle = tree.create(ROOT, b"file", 0o644, Caller(0, 0, 0), os.O_WRONLY, direct=direct)
    os.pwrite(handle.fd, b"bytes", 0) if direct else tree.write(handle, 0, memoryview(b"bytes"))
    tree.set_attributes(made.ino, AttributeChange(mtime_ns=LONG_AGO_NS), handle=handle)
    tree.flush(handle)
    tree.release(handle)
    assert tree.attributes(made.ino).mtime_ns == LONG_AGO_NS
    assert tree.link(made.ino, ROOT, b"second").mtime_ns == LONG_AGO_NS
    assert tree.attributes(made.ino).size_bytes == 5


def test_write_after_the_time_was_set_moves_it(tree: Tree) -> None:
    made, handle = tree.create(ROOT, b"file", 0o644, Caller(0, 0, 0), os.O_WRONLY, direct=True)
    os.pwrite(handle.fd, b"bytes", 0)
    tree.set_attributes(made.ino, AttributeChange(mtime_ns=LONG_AGO_NS), handle=handle)
    os.pwrite(handle.fd, b"more bytes", 0)
    tree.flush(handle)
    tree.release(handle)
    found = tree.attributes(made.ino)
    assert found.mtime_ns > LONG_AGO_NS
    assert found.size_bytes == 10
