"""The log's whole tree into an empty replica, and out of one: what snapshots are loaded by and made from.

Loading goes by whole columns and `executemany`: 100,000 inodes in about a second, where one Python statement each
would take ten.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from agentfs.format.origins import parse_origins
from agentfs.format.snapshot_rows import PLACE_CHUNKED, PLACE_INLINE, InodeRow, LinkRow, SnapshotRows
from agentfs.model.records import ROOT_ID, InodeId, Kind
from agentfs.replica.database import translated
from agentfs.replica.journal import ChangeKind
from agentfs.replica.locks import lock_table, replace_table
from agentfs.replica.replica import Replica
from agentfs.replica.transaction import ROOT, Transaction

_INODE = (
    "INSERT INTO inode(ino,id,kind,mode,uid,gid,rdev,nlink,size_bytes,atime_ns,mtime_ns,ctime_ns,birth_ns,target) "
    "VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
)


def is_untouched(replica: Replica) -> bool:
    """Whether the replica is empty and never saw the log: a snapshot can be loaded in bulk."""
    with replica.lock:
        row = replica.connection.one(
            "SELECT (SELECT value FROM state WHERE key='head_sequence')=0 AND NOT EXISTS (SELECT 1 FROM dentry) "
            "AND NOT EXISTS (SELECT 1 FROM inode WHERE ino!=1)"
        )
    return row is not None and bool(row[0])


def load_snapshot(replica: Replica, snapshot: SnapshotRows) -> None:
    """Make `snapshot` the state of an untouched replica (`is_untouched`), in one transaction."""
    with replica.transaction(session=0) as tx:
        first = _reserve(tx, len(snapshot.inodes))
        inos: dict[InodeId, int] = {row[0]: first + at for at, row in enumerate(snapshot.inodes)}
        inos[ROOT_ID] = ROOT
        directories = {row[0] for row in snapshot.inodes if row[1] == Kind.DIRECTORY}
        names = Counter(child for _, _, child in snapshot.links)
        below = Counter(parent for parent, _, child in snapshot.links if child in directories)
        tx.sql.execute("DELETE FROM inode WHERE ino=?", (ROOT,))
        tx.sql.executemany(_INODE, _inode_rows(snapshot, inos, directories, names, below))
        tx.sql.executemany(
            "INSERT INTO content VALUES(?,?,?,?,?,?)",
            (
                (inos[row[0]], row[13], row[12], row[14] or None, row[15] if row[14] else None, row[16] or None)
                for row in snapshot.inodes
                if row[11] in (PLACE_INLINE, PLACE_CHUNKED)
            ),
        )
        tx.sql.executemany(
            "INSERT INTO xattr VALUES(?,?,?)",
            ((inos[row[0]], *pair) for row in snapshot.inodes if row[10] for pair in row[10]),
        )
        tx.sql.executemany(
            "INSERT INTO dentry(parent,name,ino,base) VALUES(?1,?2,?3,?3)",
            ((inos[parent], name, inos[child]) for parent, name, child in snapshot.links),
        )
        replace_table(tx, snapshot.locks)
        tx.sql.execute("DELETE FROM changed_field")
        tx.record(ChangeKind.ATTRIBUTES, ROOT)
        _record_root(tx, snapshot, inos)
        tx.sql.executemany(
            "INSERT OR REPLACE INTO state VALUES(?,?)",
            [
                ("head_sequence", snapshot.sequence),
                ("head_digest", snapshot.commit_digest),
                ("head_time_ns", snapshot.time_ns),
            ],
        )


def _reserve(tx: Transaction, count: int) -> int:
    row = tx.sql.one("UPDATE sqlite_sequence SET seq=seq+? WHERE name='inode' RETURNING seq", (count,))
    assert row is not None
    return int(row[0]) - count + 1


def _record_root(tx: Transaction, snapshot: SnapshotRows, inos: dict[InodeId, int]) -> None:
    """What a kernel may have looked up in vain before: names in the root."""
    for parent, name, child in snapshot.links:
        if parent == ROOT_ID:
            tx.record(ChangeKind.LINK, inos[child], ROOT, name)


def _inode_rows(
    snapshot: SnapshotRows,
    inos: dict[InodeId, int],
    directories: set[InodeId],
    names: Counter[InodeId],
    below: Counter[InodeId],
) -> Iterator[tuple[object, ...]]:
    for id_, kind, mode, uid, gid, mtime, ctime, birth, rdev, target, _, _, size, _, _, _, _ in snapshot.inodes:
        nlink = 2 + below[id_] if id_ in directories else names[id_]
        yield (
            inos[id_], id_, kind, mode, uid, gid, rdev, nlink, size or len(target), mtime, mtime, ctime, birth,
            target or None,
        )  # fmt: skip


# ---- out of a replica ----


def log_records(replica: Replica) -> dict[InodeId, InodeRow]:
    """The inodes of the log at head, as a snapshot has them. Attributes that are pending here are ours, not the
    log's: such an inode is left out, and a file's content is the log's in any case."""
    with replica.lock:
        sql = replica.connection
        xattrs: dict[int, list[tuple[bytes, bytes]]] = {}
        for ino, name, value in sql.rows(
            "SELECT x.* FROM xattr x JOIN inode USING(ino) WHERE id IS NOT NULL ORDER BY 1,2"
        ):
            xattrs.setdefault(ino, []).append((name, value))
        rows = sql.rows(
            "SELECT id,kind,mode,uid,gid,mtime_ns,ctime_ns,birth_ns,rdev,target,i.ino,c.size_bytes,c.digest,"
            "c.sequence,c.offset,c.chunks FROM inode i LEFT JOIN content c USING(ino) "
            "WHERE id IS NOT NULL AND pending=0"
        )
    return {row[0]: _log_row(row, tuple(xattrs.get(row[10], ()))) for row in rows}


def _log_row(row: tuple[object, ...], xattrs: tuple[tuple[bytes, bytes], ...]) -> InodeRow:
    size, digest, sequence, offset, chunks = row[11:]
    place = 0 if digest is None else PLACE_INLINE if sequence is not None else PLACE_CHUNKED
    return (  # type: ignore[return-value]  # SQLite's columns are untyped
        *row[:9],
        row[9] or b"",
        xattrs,
        place,
        size or 0,
        digest or b"",
        sequence or 0,
        offset or 0,
        chunks or b"",
    )


def log_links(replica: Replica) -> dict[tuple[InodeId, bytes], InodeId]:
    """The names of the log at head: (directory, name) → inode, in the log's numbers, in that order."""
    with replica.lock:
        rows = replica.connection.rows(
            "SELECT p.id, d.name, c.id FROM dentry d JOIN inode p ON p.ino=d.parent JOIN inode c ON c.ino=d.base "
            "WHERE d.base IS NOT NULL ORDER BY 1, 2"
        )
    return {(row[0], row[1]): row[2] for row in rows}


def has_pending(replica: Replica) -> bool:
    with replica.lock:
        row = replica.connection.one(
            "SELECT EXISTS (SELECT 1 FROM inode WHERE pending != 0 AND nlink > 0) "
            "OR EXISTS (SELECT 1 FROM dentry WHERE pending != 0) OR EXISTS (SELECT 1 FROM resolution)"
        )
    return row is not None and bool(row[0])


@contextmanager
def reading(replica: Replica) -> Iterator[None]:
    """All statements inside see the database as of one moment, whatever other processes commit; none of those waits.
    The caller holds `replica.lock`."""
    with translated(replica.connection.path):
        replica.connection.rows("BEGIN")
        try:
            yield
        finally:
            replica.connection.rows("ROLLBACK")


def snapshot_of(replica: Replica, volume: str) -> SnapshotRows | None:
    """The log's tree at head, while nothing is pending here (then the tables hold it exactly); None otherwise."""
    with replica.lock, reading(replica):
        if has_pending(replica):
            return None
        records, links = log_records(replica), log_links(replica)
        locks = sorted(lock_table(replica.connection).items())
        state: dict[str, Any] = dict(
            replica.connection.rows("SELECT key, value FROM state WHERE key LIKE 'head_%' OR key='origins'")
        )
    link_rows: list[LinkRow] = [(parent, name, child) for (parent, name), child in links.items()]
    return SnapshotRows(
        volume=volume,
        sequence=state["head_sequence"],
        commit_digest=state["head_digest"],
        time_ns=state["head_time_ns"],
        inodes=[records[id_] for id_ in sorted(records)],
        links=link_rows,
        origins=parse_origins(state.get("origins")),
        locks=locks,
    )
