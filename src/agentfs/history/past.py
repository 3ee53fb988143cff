"""Inodes as they were right after an entry of the log, with everything that `stat` shows: for views of the past.

By number and not by path, so that a view can be read a directory at a time, however large the tree is.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from agentfs.model.records import ROOT_ID, InodeId, Kind
from agentfs.replica.database import Connection, Row

_ATTRIBUTES = (
    "r.inode, r.sequence, r.kind, r.mode, r.uid, r.gid, r.mtime_ns, r.ctime_ns, r.birth_ns, r.rdev, r.target, "
    "r.digest, r.size_bytes"
)
_NEWEST = "r.sequence=(SELECT max(sequence) FROM record WHERE inode=r.inode AND sequence<=?2)"
_ROOT_MODE = 0o755
_THERE = "since<=?2 AND (until IS NULL OR until>?2)"

Xattrs: TypeAlias = tuple[tuple[bytes, bytes], ...]
"""Extended attributes, sorted by name."""


@dataclass(frozen=True, slots=True)
class PastInode:
    inode: InodeId
    kind: Kind
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    ctime_ns: int
    birth_ns: int
    rdev: int
    size_bytes: int
    target: bytes
    """Of a symbolic link."""
    links: int
    """Names of a file; 1 for a directory."""
    xattrs: Xattrs = ()


def inode_at(sql: Connection, inode: InodeId, sequence: int) -> PastInode | None:
    """What an inode was right after `sequence`; None when nothing is known of it."""
    row = sql.one(f"SELECT {_ATTRIBUTES}, 1 FROM record r WHERE r.inode=?1 AND {_NEWEST}", (inode, sequence))
    if row is not None:
        return _past(row, xattrs_of(sql, inode, row[1]))
    if inode != ROOT_ID:
        return None
    found = sql.one("SELECT time_ns FROM entry WHERE sequence<=? ORDER BY sequence DESC LIMIT 1", (sequence,))
    time_ns = found[0] if found is not None else 0  # a log that never changed the root does not say how it is
    return PastInode(ROOT_ID, Kind.DIRECTORY, _ROOT_MODE, 0, 0, time_ns, time_ns, time_ns, 0, 0, b"", 1)


def xattrs_of(sql: Connection, inode: InodeId, sequence: int) -> Xattrs:
    """The extended attributes of the record that entry `sequence` gave."""
    rows = sql.rows("SELECT name, value FROM xattr WHERE inode=? AND sequence=? ORDER BY name", (inode, sequence))
    return tuple((row[0], row[1]) for row in rows)


def owner_of(sql: Connection, inode: InodeId, sequence: int) -> tuple[int, int] | None:
    """Whose a file was then, or, where that was collected, at the first moment that is known."""
    row = sql.one(
        "SELECT uid, gid FROM record WHERE inode=?1 ORDER BY sequence>?2, abs(sequence-?2) LIMIT 1", (inode, sequence)
    )
    return None if row is None else (row[0], row[1])


def children_after(
    sql: Connection, directory: InodeId, sequence: int, after: bytes, limit: int
) -> Iterator[tuple[bytes, PastInode]]:
    """What was in a directory right after `sequence`: names behind `after`, in order, at most `limit`."""
    place = (directory, sequence, after, limit)
    inside = f"(SELECT name, inode FROM name WHERE parent=?1 AND {_THERE} AND name>?3 ORDER BY name LIMIT ?4) n"
    xattrs: dict[InodeId, list[tuple[bytes, bytes]]] = {}
    for inode, name, value in sql.rows(
        f"SELECT x.inode, x.name, x.value FROM (SELECT DISTINCT inode FROM {inside}) n JOIN record r USING (inode) "
        f"JOIN xattr x USING (inode, sequence) WHERE {_NEWEST} ORDER BY 1, 2",
        place,
    ):
        xattrs.setdefault(inode, []).append((name, value))
    names = f"(SELECT count(*) FROM name WHERE inode=r.inode AND {_THERE})"
    rows = sql.rows(
        f"SELECT {_ATTRIBUTES}, {names}, n.name FROM {inside} JOIN record r ON r.inode=n.inode AND {_NEWEST} "
        "ORDER BY n.name",
        place,
    )
    for row in rows:
        yield row[-1], _past(row, tuple(xattrs.get(row[0], ())))


def _past(row: Row, xattrs: Xattrs) -> PastInode:
    inode, _, kind, mode, uid, gid, mtime_ns, ctime_ns, birth_ns, rdev, target, digest, size, names = row[:14]
    if digest is None:
        size = len(target or b"")
    return PastInode(
        inode, Kind(kind), mode, uid, gid, mtime_ns, ctime_ns, birth_ns, rdev, size, target or b"",
        names if kind == Kind.FILE else 1, xattrs,
    )  # fmt: skip
