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


@pytest.mark.parametrize("direct", [False, True], ids=["through us", "passthrough"])
@pytest.mark.parametrize("year", [2300, 1600])
def test_a_time_that_cannot_be_is_the_nearest_that_can(tree: Tree, year: int, direct: bool) -> None:
    """A file of a program whose clock was wrong, unpacked: what was written into it must not be lost at its close."""
    made, handle = tree.create(ROOT, b"file", 0o644, Caller(0, 0, 0), os.O_WRONLY, direct=direct)
    os.pwrite(handle.fd, b"bytes", 0) if direct else tree.write(handle, 0, memoryview(b"bytes"))
    at_ns = (year - 1970) * 365 * 86_400 * 10**9
    tree.set_attributes(made.ino, AttributeChange(mtime_ns=at_ns, atime_ns=at_ns), handle=handle)
    tree.flush(handle)
    tree.release(handle)
    found = tree.attributes(made.ino)
    assert found.size_bytes == 5
    assert found.mtime_ns > 2**62 if year == 2300 else found.mtime_ns < 0


def test_a_file_that_is_made_with_such_a_time_is_made(tree: Tree) -> None:
    made = tree.make_file(ROOT, b"file", b"bytes", 0o644, Caller(0, 0, 0), mtime_ns=10**20)
    assert (made.mtime_ns, made.size_bytes) == ((1 << 63) - 1, 5)


def test_a_backing_file_of_a_time_that_cannot_be_keeps_no_replica_closed(tmp_path: Path) -> None:
    """What finds out what was written by a program that was killed must be able to write it down."""

    def opened() -> Replica:
        place = str(tmp_path / "replica")
        return Replica.open(
            place, volume_kind="home", volume_id="times", session_kind="test", clock=SystemClock(), mountpoint=None
        )

    replica = opened()
    tree = Tree(replica)
    made, handle = tree.create(ROOT, b"file", 0o644, Caller(0, 0, 0), os.O_WRONLY, direct=True)
    os.pwrite(handle.fd, b"bytes", 0)
    far_ns = 330 * 365 * 86_400 * 10**9
    os.utime(handle.fd, ns=(far_ns, far_ns))
    replica.close()  # takes in what may have been written, as who opens it after a kill does
    replica = opened()
    assert Tree(replica).attributes(made.ino).size_bytes == 5
    replica.close()
