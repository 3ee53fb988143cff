"""The whole tree right after any entry of the log, out of the index."""

from collections.abc import Iterator
from dataclasses import dataclass

from agentfs.errors import InvalidArgument, VersionGone
from agentfs.format.snapshot_rows import PLACE_CHUNKED, PLACE_INLINE, PLACE_NONE, InodeRow, SnapshotRows
from agentfs.history.names import PathNames, resolve
from agentfs.history.past import Xattrs, xattrs_of
from agentfs.history.places import COLUMNS, of_columns
from agentfs.model.records import ROOT_ID, Content, InodeId, Kind
from agentfs.replica.database import Connection, Row

_ATTRIBUTES = "kind, mode, uid, gid, mtime_ns, ctime_ns, birth_ns, rdev, target"
_ROOT_MODE = 0o755


@dataclass(frozen=True, slots=True)
class TreeRow:
    """A file or directory as it was."""

    path: PathNames
    inode: InodeId
    kind: Kind
    mode: int
    mtime_ns: int
    content: Content | None
    target: bytes
    size_bytes: int
    xattrs: Xattrs | None = ()
    """None: nobody knows them any more."""


def check_known(sql: Connection, sequence: int) -> Row:
    """The entry's row. Raises `InvalidArgument` when there is no such entry, `VersionGone` when it was collected."""
    row = sql.one("SELECT sequence, digest, time_ns, collected FROM entry WHERE sequence=?", (sequence,))
    if row is not None:
        return row
    later = sql.one("SELECT sequence, collected FROM entry WHERE sequence>? ORDER BY sequence LIMIT 1", (sequence,))
    if later is not None and 0 < later[1] <= sequence:
        raise VersionGone(
            f"the tree after commit {sequence} is gone: commits {later[1]} to {later[0] - 1} were "
            f"collected (the retention policy says when); the next that is known is {later[0]}"
        )
    last = sql.one("SELECT max(sequence) FROM entry")
    raise InvalidArgument(f"there is no commit {sequence}: the newest is {(last[0] if last else None) or 0}")


def tree_rows(sql: Connection, sequence: int, volume: str) -> SnapshotRows:
    """The tree right after `sequence`, as a snapshot has it: a replica can be filled with it
    (`replica.bulk.load_snapshot`). Raises as `check_known`."""
    entry = check_known(sql, sequence)
    links = [
        (row[0], row[1], row[2])
        for row in sql.rows(
            "SELECT parent, name, inode FROM name WHERE since<=?1 AND (until IS NULL OR until>?1) ORDER BY 1, 2",
            (sequence,),
        )
    ]
    named = {child for _, _, child in links}
    named.add(ROOT_ID)
    xattrs: dict[InodeId, list[tuple[bytes, bytes]]] = {}
    newest = "SELECT inode, max(sequence) AS sequence FROM record WHERE sequence<=? GROUP BY inode"
    for inode, name, value in sql.rows(
        f"SELECT inode, name, value FROM xattr JOIN ({newest}) USING (inode, sequence) ORDER BY 1, 2", (sequence,)
    ):
        xattrs.setdefault(inode, []).append((name, value))
    rows = sql.execute(
        f"SELECT inode, {_ATTRIBUTES}, {COLUMNS} FROM record JOIN ({newest}) USING (inode, sequence) ORDER BY inode",
        (sequence,),
    )
    inodes = [_inode_row(row, tuple(xattrs.get(row[0], ()))) for row in rows if row[0] in named]
    if not inodes or inodes[0][0] != ROOT_ID:  # a log that never changed the root does not say how it is
        time_ns = entry[2]
        root: InodeRow = (
            ROOT_ID, int(Kind.DIRECTORY), _ROOT_MODE, 0, 0, time_ns, time_ns, time_ns, 0, b"", (),
            PLACE_NONE, 0, b"", 0, 0, b"",
        )  # fmt: skip
        inodes.insert(0, root)
    return SnapshotRows(volume, sequence, entry[1], entry[2], inodes, links)


def _inode_row(row: Row, xattrs: Xattrs) -> InodeRow:
    inode, kind, mode, uid, gid, mtime, ctime, birth, rdev, target = row[:10]
    digest, size, at, offset, chunks = row[10:]
    place = PLACE_NONE if digest is None else PLACE_INLINE if at is not None else PLACE_CHUNKED
    return (
        inode, kind, mode, uid, gid, mtime, ctime, birth, rdev, target or b"", xattrs,
        place, size, digest or b"", at or 0, offset or 0, chunks or b"",
    )  # fmt: skip


def row_at(sql: Connection, path: PathNames, sequence: int) -> TreeRow | None:
    """What `path` meant right after `sequence`; None: nothing. The caller has checked `sequence`."""
    found = resolve(sql, path, sequence)
    return None if found is None else _tree_row(sql, path, found.inode, sequence)


def children_at(sql: Connection, path: PathNames, inode: InodeId, sequence: int) -> Iterator[TreeRow]:
    """What was in a directory right after `sequence`, by name."""
    rows = sql.rows(
        "SELECT name, inode FROM name WHERE parent=?1 AND since<=?2 AND (until IS NULL OR until>?2) ORDER BY name",
        (inode, sequence),
    )
    for name, child in rows:
        found = _tree_row(sql, (*path, name), child, sequence)
        if found is not None:
            yield found


def below_at(sql: Connection, path: PathNames, inode: InodeId, sequence: int) -> Iterator[TreeRow]:
    """Everything below a directory right after `sequence`, each directory before what is in it."""
    todo = [(path, inode)]
    while todo:
        above, directory = todo.pop()
        inside = list(children_at(sql, above, directory, sequence))
        yield from inside
        todo += [(row.path, row.inode) for row in reversed(inside) if row.kind is Kind.DIRECTORY]


def _tree_row(sql: Connection, path: PathNames, inode: InodeId, sequence: int) -> TreeRow | None:
    row = sql.one(
        f"SELECT kind, mode, mtime_ns, target, {COLUMNS}, sequence FROM record WHERE inode=? AND sequence<=? "
        "ORDER BY sequence DESC LIMIT 1",
        (inode, sequence),
    )
    if row is None:
        return TreeRow(path, inode, Kind.DIRECTORY, _ROOT_MODE, 0, None, b"", 0) if inode == ROOT_ID else None
    content, target = of_columns(row[4:9]), row[3] or b""
    size = content.size_bytes if content is not None else len(target)
    return TreeRow(path, inode, Kind(row[0]), row[1], row[2], content, target, size, xattrs_of(sql, inode, row[9]))
