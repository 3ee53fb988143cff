"""What is pending here, read in one transaction: the raw material of a commit."""

from dataclasses import dataclass
from typing import Any

from agentfs.model.records import ConflictId
from agentfs.replica.bulk import reading
from agentfs.replica.replica import Replica
from agentfs.replica.resolutions import read_resolved
from agentfs.replica.transaction import PENDING_ENDED, ContentRow, InodeRow, inode_row


@dataclass(frozen=True, slots=True)
class PendingName:
    """A name that differs from the log."""

    parent: int
    name: bytes
    ino: int | None
    base: int | None
    at_ns: int = 0
    """When it began to differ."""
    ended: bool = False
    """It was taken away because the file's time was over."""


@dataclass(frozen=True, slots=True)
class PendingConflict:
    """A conflict that was settled here and that no commit has reported yet."""

    id: int
    kind: str
    parent: int
    name: bytes
    kept_as: bytes
    detail: str
    sides: bytes | None
    """Packed (`replica.forks`)."""


@dataclass(frozen=True, slots=True)
class PendingState:
    """One consistent view of all that is to be committed."""

    head_sequence: int
    head_digest: bytes
    head_time_ns: int
    names: tuple[PendingName, ...]
    inodes: dict[int, InodeRow]
    """Every inode that `names` mentions, pending inodes that are shown, and directories that names stand in."""
    contents: dict[int, ContentRow]
    """The log's contents of the files among them."""
    xattrs: dict[int, tuple[tuple[bytes, bytes], ...]]
    write_open: frozenset[int]
    homes: dict[int, tuple[int, bytes]]
    """Directories that are not shown: where the log has them."""
    conflicts: tuple[PendingConflict, ...]
    conflict_parents: dict[int, int]
    """Their directories' numbers in the log, where they have one."""
    resolved: tuple[ConflictId, ...]
    """Conflicts of the log that were resolved here."""


_NAMES = f"SELECT parent, name, ino, base, pending_at_ns, pending={PENDING_ENDED} FROM dentry WHERE pending != 0"
_INODES = (
    "WITH wanted(ino) AS (SELECT ino FROM inode WHERE pending != 0 AND nlink > 0 AND local=0 "
    "UNION SELECT ino FROM dentry WHERE pending != 0 AND ino IS NOT NULL "
    "UNION SELECT base FROM dentry WHERE pending != 0 AND base IS NOT NULL "
    "UNION SELECT parent FROM dentry WHERE pending != 0) "
)


def pending_state(replica: Replica) -> PendingState:
    """Read everything that is pending, as of one moment."""
    with replica.lock, reading(replica):  # no write transaction: 100,000 pending files are read for half a second
        sql = replica.connection
        state: dict[str, Any] = dict(sql.rows("SELECT key, value FROM state WHERE key LIKE 'head_%'"))
        names = tuple(PendingName(*row) for row in sql.rows(_NAMES))
        inodes = {
            row[0]: inode_row(row) for row in sql.rows(_INODES + "SELECT inode.* FROM inode JOIN wanted USING(ino)")
        }
        contents = {
            row[0]: ContentRow._make(row)
            for row in sql.rows(_INODES + "SELECT content.* FROM content JOIN wanted USING(ino)")
        }
        xattrs: dict[int, list[tuple[bytes, bytes]]] = {}
        for ino, name, value in sql.rows(_INODES + "SELECT xattr.* FROM xattr JOIN wanted USING(ino) ORDER BY 1, 2"):
            xattrs.setdefault(ino, []).append((name, value))
        write_open = frozenset(row[0] for row in sql.rows("SELECT DISTINCT ino FROM write_open"))
        homes: dict[int, tuple[int, bytes]] = {}
        hidden = [row.ino for row in inodes.values() if row.nlink == 0 and row.kind == 2]
        while hidden:
            ino = hidden.pop()
            home = sql.one(
                "SELECT parent, name FROM dentry WHERE base=? AND base IS NOT NULL AND base IS NOT ino LIMIT 1",
                (ino,),
            )
            if home is None or ino in homes:
                continue
            homes[ino] = (home[0], home[1])
            above = sql.one("SELECT nlink FROM inode WHERE ino=?", (home[0],))
            if above is not None and above[0] == 0:
                hidden.append(home[0])
        conflicts = tuple(
            PendingConflict(*row)
            for row in sql.rows(
                "SELECT id,kind,parent,name,kept_as,detail,sides FROM conflict WHERE sequence IS NULL LIMIT 1000"
            )
        )
        parents = sql.rows(
            "SELECT ino, id FROM inode WHERE id IS NOT NULL "
            "AND ino IN (SELECT parent FROM conflict WHERE sequence IS NULL)"
        )
        resolved = read_resolved(sql)
    return PendingState(
        head_sequence=state["head_sequence"],
        head_digest=state["head_digest"],
        head_time_ns=state["head_time_ns"],
        names=names,
        inodes=inodes,
        contents=contents,
        xattrs={ino: tuple(pairs) for ino, pairs in xattrs.items()},
        write_open=write_open,
        homes=homes,
        conflicts=conflicts,
        conflict_parents={row[0]: row[1] for row in parents},
        resolved=resolved,
    )


def leaving_absent(replica: Replica, state: PendingState, *, limit: int) -> tuple[int, ...]:
    """Files that a commit of `state` would take out of the log although their bytes are only there: they got an
    ignored name here, or are in a directory that did. Fetch them first."""
    leaving = (state.inodes.get(it.base) for it in state.names if it.ino is None and it.base is not None)
    if not any(row is not None and row.local and row.nlink for row in leaving):
        return ()
    with replica.lock:
        rows = replica.connection.rows(
            "SELECT ino FROM inode JOIN content USING(ino) "
            "WHERE local=1 AND kind=1 AND nlink>0 AND residency!=1 LIMIT ?",
            (limit,),
        )
    return tuple(row[0] for row in rows)


def still_the_same(replica: Replica, captured: dict[int, int], *, open_allowed: frozenset[int]) -> set[int]:
    """Of captured contents (ino → content_change), those that changed or are being written since: torn."""
    torn = set()
    with replica.transaction(session=0) as tx:
        for ino, change in captured.items():
            row = tx.sql.one("SELECT content_change FROM inode WHERE ino=?", (ino,))
            if row is None or row[0] != change or (ino not in open_allowed and tx.is_write_open(ino)):
                torn.add(ino)
    return torn


def write_prepared(replica: Replica, digest: bytes, sequence: int, capture: bytes) -> None:
    """Remember a commit that is about to be put: it may be ours if it is found in the log."""
    with replica.transaction(session=0) as tx:
        tx.sql.execute("INSERT OR REPLACE INTO prepared VALUES(?,?,?,?)", (digest, sequence, capture, tx.now_ns))


def read_prepared(replica: Replica) -> dict[bytes, tuple[int, bytes]]:
    """Digest → sequence and capture of the commits that may have reached the store."""
    with replica.lock:
        rows = replica.connection.rows("SELECT digest, sequence, capture FROM prepared")
    return {row[0]: (row[1], row[2]) for row in rows}


def drop_prepared(replica: Replica, sequence: int) -> None:
    """Forget what was prepared for places up to `sequence`: what stands there is known."""
    with replica.transaction(session=0) as tx:
        tx.sql.execute("DELETE FROM prepared WHERE sequence<=?", (sequence,))
