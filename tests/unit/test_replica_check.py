"""The rules of a replica: each notices the damage that it is there for."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentfs.clock import SystemClock
from agentfs.replica.check import _INODES, _NAMES, check
from agentfs.replica.replica import ROOT, Replica
from agentfs.tree.tree import Tree
from agentfs.tree.values import Caller

CALLER = Caller(0, 0)


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Replica]:
    """Root with directory `d` (with file `f` and directory `e`), symbolic link `l`, and `x.swp`, which is local."""
    with Replica.open(
        str(tmp_path / "replica"), volume_kind="home", volume_id="me", session_kind="test", clock=SystemClock()
    ) as replica:
        tree = Tree(replica)
        directory = tree.mkdir(ROOT, b"d", 0o755, CALLER).ino
        tree.mkdir(directory, b"e", 0o755, CALLER)
        tree.symlink(ROOT, b"l", b"target", CALLER)
        for parent, name in ((directory, b"f"), (ROOT, b"x.swp")):
            handle = tree.create(parent, name, 0o644, CALLER, os.O_RDWR)[1]
            tree.write(handle, 0, b"bytes")
            tree.flush(handle)
            tree.release(handle)
        tree.close()
        assert check(replica) == []
        yield replica


D, E, LINK, F, SWAP = (
    f"(SELECT ino FROM dentry WHERE name=x'{name.hex()}')" for name in (b"d", b"e", b"l", b"f", b"x.swp")
)
CONTENT = f"INSERT INTO content VALUES({F}, zeroblob(32), 5, 1, 0, NULL)"
DAMAGE = {
    "a name is in a directory that does not exist": [f"UPDATE dentry SET parent=999 WHERE ino={F}"],
    "a name is in something that is not a directory": [f"UPDATE dentry SET parent={LINK} WHERE ino={F}"],
    "a name means an inode that does not exist": [f"UPDATE dentry SET ino=999 WHERE ino={F}"],
    "the log's inode of a name does not exist": [f"UPDATE dentry SET base=999 WHERE ino={F}"],
    "a name is kept for nothing": [f"UPDATE dentry SET ino=NULL WHERE ino={F}"],
    "a name's pending mark is not the difference between here and the log": [
        f"UPDATE dentry SET pending=0 WHERE ino={F}"
    ],
    "a name is shown in a directory that is unlinked": [f"UPDATE inode SET nlink=0 WHERE ino={D}"],
    "a name that leaves this machine is in a directory that does not": [
        f"UPDATE inode SET local=1, pending=0 WHERE ino={D}"
    ],
    "a name that leaves this machine means an inode that does not": [
        f"UPDATE inode SET local=1, pending=0 WHERE ino={F}"
    ],
    "the number of links is wrong": [f"UPDATE inode SET nlink=2 WHERE ino={F}"],
    "a directory's number of links is wrong": [f"UPDATE inode SET nlink=2 WHERE ino={D}"],
    "a directory has several names": [f"INSERT INTO dentry VALUES(1, x'61', {E}, NULL, 1, 0, 0)"],
    "an inode is new and not pending": [f"UPDATE inode SET pending=0 WHERE ino={F}"],
    "an inode is pending and never leaves this machine": [f"UPDATE inode SET pending=3 WHERE ino={SWAP}"],
    "content is pending and the bytes are not here": [f"UPDATE inode SET residency=0 WHERE ino={F}"],
    "the bytes are neither here nor in the log": [f"UPDATE inode SET residency=0 WHERE ino={F}"],
    "a clean file's size is not its content's": [
        CONTENT,
        f"UPDATE content SET size_bytes=6 WHERE ino={F}",
        f"UPDATE inode SET pending=1 WHERE ino={F}",
    ],
    "content of something that is not a file": [CONTENT, f"UPDATE content SET ino={LINK} WHERE ino={F}"],
    "a symbolic link without a target": [f"UPDATE inode SET target=NULL WHERE ino={LINK}"],
    "a digest is not 32 bytes long": [CONTENT, "UPDATE content SET digest=x'00'"],
    "a content has no place, or two": [CONTENT, "UPDATE content SET chunks=zeroblob(32)"],
    "a row of content for an inode that does not exist": [CONTENT, "UPDATE content SET ino=999"],
    "a row of xattr for an inode that does not exist": ["INSERT INTO xattr VALUES(999, x'61', x'62')"],
    "a row of detached for an inode that does not exist": ["INSERT INTO detached VALUES(999, 1, x'61', NULL, 0)"],
    "a row of write_open for an inode that does not exist": ["INSERT INTO write_open VALUES(999, 1)"],
    "a row of live_database for an inode that does not exist": ["INSERT INTO live_database VALUES(999, '', 0)"],
    "a row of fork for an inode that does not exist": [
        "INSERT INTO fork VALUES(999, NULL, NULL, NULL, NULL, NULL, 1, 0)"
    ],
    "a row of left_with for an inode that does not exist": [
        "INSERT INTO left_with VALUES(999, zeroblob(32), 5, 1, 0, NULL, 1)"
    ],
    "a row of past for an inode that does not exist": [
        "INSERT INTO past(ino, content_change, digest, size_bytes, in_log, at_ns) "
        "VALUES(999, 1, zeroblob(32), 5, 1, 0)"
    ],
    "a file is to be merged whose bytes are not here, or that the log does not have": [
        f"INSERT INTO fork VALUES({F}, NULL, NULL, NULL, NULL, NULL, 1, 0)"
    ],
    "a directory is not reachable from the root": [f"UPDATE dentry SET parent={E} WHERE ino={D}"],
}


@pytest.mark.parametrize("rule", DAMAGE)
def test_each_rule_notices_its_damage(replica: Replica, rule: str) -> None:
    for statement in DAMAGE[rule]:
        replica.connection.execute(statement)
    assert rule in {finding.rule for finding in check(replica)}


def test_every_rule_is_tried() -> None:
    assert {rule for rule, _ in (*_NAMES, *_INODES)} <= DAMAGE.keys()


def test_backing_files_are_held_against_the_rows(replica: Replica) -> None:
    ino = Tree(replica).lookup(Tree(replica).lookup(ROOT, b"d").ino, b"f").ino
    with open(replica.files.path(ino), "ab") as file:
        file.write(b"more")
    assert [finding.rule for finding in check(replica)] == ["a backing file's size is not the inode's"]
    os.unlink(replica.files.path(ino))
    assert [finding.rule for finding in check(replica)] == ["a backing file is missing"]
    for number in (ino, 12345):
        os.close(replica.files.create(number))
    replica.connection.execute("UPDATE inode SET size_bytes=0 WHERE ino=?", (ino,))
    assert [finding.rule for finding in check(replica)] == ["a backing file of nothing"]
