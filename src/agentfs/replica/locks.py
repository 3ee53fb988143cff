"""The log's locks on this machine (tables `lock`, `lease`, `lock_use`, `lost_lease`; docs/locks.md).

`lock` is what the log says, the same on every machine. A `lease` is a lock that this machine took: it is ours for as
long as its token is the lock's. When another's commit is about to end it, what was changed here under it is put aside
*before* that commit is applied: it can then neither be committed as that file's content nor merged into it.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from agentfs.merge.fencing import LockTable, after_commit
from agentfs.model.records import Commit, Fence, InodeId, InodeRecord, Lock, LockState
from agentfs.replica.apply_base import BaseMove, Name
from agentfs.replica.apply_show import Show
from agentfs.replica.database import Connection
from agentfs.replica.replica import Replica
from agentfs.replica.transaction import PENDING_CONTENT, InodeRow, Transaction

_LOG = logging.getLogger(__name__)

_LOST = "changed here under a lock that another machine took over meanwhile; it was kept aside"
_LOST_DELETE = "deleted here under a lock that another machine took over meanwhile; it was kept"


@dataclass(frozen=True, slots=True)
class Lease:
    """A lock that this machine took."""

    id: InodeId
    ino: int
    """The file here that it was taken for. Another one may have taken its place in the log since (`succession`)."""
    token: int
    """Of our last commit that took or used it."""
    epoch: int
    """Of the commit that took it: tells two leases of one file apart."""
    mtime_ns: int
    """The file's times as the log has them."""
    ctime_ns: int


@dataclass(frozen=True, slots=True)
class LockedFile:
    """What a commit that locks a file remembers of it for this machine."""

    id: InodeId
    ino: int
    mtime_ns: int
    ctime_ns: int


@dataclass(frozen=True, slots=True)
class LockUse:
    """Who on this machine uses the lease of a file. One at a time."""

    ino: int
    session: int
    number: int
    """Told apart by the session itself."""
    seconds: int
    """The lock is asked for with these."""


def lock_table(sql: Connection) -> dict[InodeId, LockState]:
    """The locks in force at the head."""
    return {row[0]: LockState(*row[1:]) for row in sql.rows("SELECT id,holder,token,seconds FROM lock ORDER BY id")}


def leases(sql: Connection) -> dict[InodeId, Lease]:
    """The leases that are ours as far as this machine knows."""
    rows = sql.rows("SELECT l.* FROM lease l JOIN lock k ON k.id=l.id AND k.token=l.token ORDER BY l.id")
    return {row[0]: Lease(*row) for row in rows}


def file_of(sql: Connection, inode: InodeId) -> int | None:
    """This machine's number of an inode of the log."""
    row = sql.one("SELECT ino FROM inode WHERE id=?", (inode,))
    return None if row is None else int(row[0])


def lock_uses(sql: Connection) -> dict[int, LockUse]:
    """By the file here."""
    return {row[0]: LockUse(*row) for row in sql.rows("SELECT ino,session,number,seconds FROM lock_use")}


def replace_table(tx: Transaction, table: Iterable[tuple[InodeId, LockState]]) -> None:
    """From now on the log has these locks. A lease whose lock is not among them, or has moved on, is no more."""
    tx.sql.execute("DELETE FROM lock")
    tx.sql.executemany(
        "INSERT INTO lock VALUES(?,?,?,?)", [(inode, it.holder, it.token, it.seconds) for inode, it in table]
    )
    for inode, ino, epoch in tx.sql.rows(
        "SELECT l.id, l.ino, l.epoch FROM lease l LEFT JOIN lock k ON k.id=l.id WHERE k.token IS NOT l.token"
    ):
        tx.sql.execute("DELETE FROM lease WHERE id=?", (inode,))
        if file_of(tx.sql, inode) is not None:  # else the file is gone, as it was meant
            _mark_lost(tx, ino, epoch)


def _mark_lost(tx: Transaction, ino: int, epoch: int) -> None:
    tx.sql.execute("INSERT OR REPLACE INTO lost_lease VALUES(?,?,?)", (ino, epoch, tx.now_ns))
    tx.sql.execute("DELETE FROM lock_use WHERE ino=?", (ino,))


# ---- a step of the log ----------------------------------------------------------------------------------------


class LockStep:
    """What one commit makes of the locks: make it before anything of the commit is applied, `finish` it after the
    log's side of inodes and names has moved. Costs two look-ups where nothing is locked."""

    def __init__(self, move: BaseMove, sequence: int, locks: Sequence[Lock], fences: Sequence[Fence]) -> None:
        self._move = move
        self._sequence = sequence
        self._locks = locks
        self._fences = fences
        self._before = lock_table(move.tx.sql)
        self._idle = not (self._before or locks or fences)
        self._states = {inode: self._state(inode) for inode in self._before}

    def _state(self, inode: InodeId) -> tuple[bytes | None, frozenset[Name]] | None:
        """Digest and names of a file in the log; None when it is not there."""
        tx = self._move.tx
        ino = file_of(tx.sql, inode)
        if ino is None:
            return None
        content = tx.content(ino)
        return None if content is None else content.digest, frozenset(self._move.names_of(ino))

    def finish(self) -> None:
        if self._idle:
            return
        tx = self._move.tx
        changed, gone = set(), set()
        for inode, before in self._states.items():
            now = self._state(inode)
            if now is None or before is None:
                gone.add(inode)
                changed.add(inode)
            elif now[0] != before[0] or not before[1] <= now[1]:
                changed.add(inode)
        gone |= {lock.inode for lock in self._locks if self._state(lock.inode) is None}
        table, broken = after_commit(
            self._before, self._sequence, locks=self._locks, fences=self._fences, changed=changed, gone=gone
        )
        for it in broken:
            _LOG.error("log entry %d breaks the lock of inode %d: %s", self._sequence, it.inode, it.reason)
            tx.sql.execute("INSERT OR REPLACE INTO lock_breach VALUES(?,?,?)", (self._sequence, it.inode, it.reason))
        replace_table(tx, sorted(table.items()))

    def take_leases(self, files: Iterable[LockedFile]) -> None:
        """The commit was ours: its locks are our leases now, its fences their newest use. Before `finish`. `files`:
        those that it locked."""
        tx = self._move.tx
        for lock in self._locks:
            if not lock.seconds:
                tx.sql.execute("DELETE FROM lease WHERE id=?", (lock.inode,))
        tx.sql.executemany(
            "INSERT OR REPLACE INTO lease VALUES(?1,?2,?3,?3,?4,?5)",
            [(it.id, it.ino, self._sequence, it.mtime_ns, it.ctime_ns) for it in files],
        )
        tx.sql.executemany(
            "UPDATE lease SET token=?1 WHERE id=?2 AND token=?3",
            [(self._sequence, it.inode, it.token) for it in self._fences],
        )

    def note(self, records: Iterable[InodeRecord]) -> None:
        """The log has these states of inodes now."""
        if not self._idle:
            self._move.tx.sql.executemany(
                "UPDATE lease SET mtime_ns=?, ctime_ns=? WHERE id=?",
                [(it.mtime_ns, it.ctime_ns, it.id) for it in records],
            )


# ---- losing a lease -------------------------------------------------------------------------------------------


def lose_leases(replica: Replica, commit: Commit, *, agent: str, table: LockTable | None = None) -> None:
    """Before a commit of another writer is applied: put aside what was changed here under leases that it ends.
    `table`: the commit is the difference to a snapshot with these locks. May be repeated."""
    with replica.lock:
        ours = replica.connection.rows("SELECT * FROM lease")
    for row in ours:
        lease = Lease(*row)
        if _ends(replica, lease, commit, table):
            _lose(replica, lease, agent)


def _ends(replica: Replica, lease: Lease, commit: Commit, table: LockTable | None) -> bool:
    if table is not None:
        return lease.id not in table or table[lease.id].token != lease.token
    if any(it.inode == lease.id for rows in (commit.locks, commit.fences) for it in rows):
        return True
    ino = file_of(replica.connection, lease.id)
    known = None if ino is None else replica.content(ino)
    return any(
        it.id == lease.id and it.content is not None and (known is None or it.content.digest != known.digest)
        for it in commit.inodes
    )


def _lose(replica: Replica, lease: Lease, agent: str) -> None:
    with replica.transaction(session=0) as tx:
        used = tx.sql.one("SELECT 1 FROM lock_use WHERE ino=?", (lease.ino,)) is not None
        tx.sql.execute("DELETE FROM lease WHERE id=?", (lease.id,))
        _mark_lost(tx, lease.ino, lease.epoch)
        aside = _Aside(tx, agent=agent, digests={})
        stale = aside.run(lease, used=used)
        purged = [ino for ino in aside.dropped if tx.purge(ino)]
        path = next((it[2] for it in aside.met), b"")
    for ino in (*stale, *purged):
        replica.files.remove(ino)
    _LOG.warning(
        "the lock of inode %d was taken over by another machine%s",
        lease.ino,
        f"; what was changed of {path!r} under it was kept aside" if path else "",
    )


class _Aside(Show):
    """Takes what was changed under a lost lease away from the file's names."""

    def run(self, lease: Lease, *, used: bool) -> list[int]:
        """`used`: a program believes to hold the lock, and may write through a handle that it has. Returns inodes
        whose backing files hold what is of no use any more."""
        ino = file_of(self.tx.sql, lease.id)
        row, known = (None, None) if ino is None else (self.tx.inode(ino), self.tx.content(ino))
        if row is None or known is None:
            return []
        stale: list[int] = []
        if row.nlink:
            self._put_aside(row, lease, known.digest, used=used)
        else:
            stale = self._restore(row, lease)
        self.tidy()
        self._write_conflicts()
        return stale

    def _put_aside(self, row: InodeRow, lease: Lease, opened_with: bytes, *, used: bool) -> None:
        """The log's version takes the names. Our bytes keep the open handles, and get the name of a conflict copy:
        now, or when the last writer closes them changed."""
        ours = row.pending & PENDING_CONTENT
        if not ours and not used and not self.tx.is_write_open(row.ino):
            return
        place = self.shown_at(row.ino)[0]
        self._as_in_log(self.part(row), lease)
        self.tx.sql.execute("DELETE FROM fork WHERE ino=?", (row.ino,))
        if ours:
            self.tx.sql.execute("UPDATE inode SET pending=3 WHERE ino=?", (row.ino,))
            self.meet("content", *place, self.show_aside(*place, row.ino), _LOST)
        else:
            self.tx.sql.execute("UPDATE inode SET pending=0 WHERE ino=?", (row.ino,))
            self.detach(row.ino, place, opened_with)

    def _as_in_log(self, ino: int, lease: Lease) -> None:
        """Nothing of an inode is pending but the attributes that were changed here."""
        self.tx.sql.execute(
            "UPDATE inode SET mtime_ns=?2, ctime_ns=?3, "
            "pending=EXISTS (SELECT 1 FROM changed_field f WHERE f.ino=inode.ino) WHERE ino=?1",
            (ino, lease.mtime_ns, lease.ctime_ns),
        )

    def _restore(self, row: InodeRow, lease: Lease) -> list[int]:
        """It was unlinked or replaced here: the log's version is at its names again."""
        places, ino, stale = self.names_of(row.ino), row.ino, []
        if self.tx.is_write_open(row.ino):
            ino = self.part(row)
            self.tx.sql.execute("UPDATE inode SET pending=0 WHERE ino=?", (row.ino,))
        else:
            self.tx.sql.execute(
                "UPDATE inode SET residency=0, pending=0, content_change=content_change+1, change=change+1, "
                "size_bytes=(SELECT size_bytes FROM content c WHERE c.ino=?1) WHERE ino=?1",
                (ino,),
            )
            stale = [ino]
        self._as_in_log(ino, lease)
        for place in places:
            if self.shown(*place) is None:
                self.meet("delete", *place, b"", _LOST_DELETE)
            self.place(*place, ino)
        return stale

    def _write_conflicts(self) -> None:
        self.tx.sql.executemany(
            "INSERT INTO conflict(kind,parent,name,kept_as,detail,sequence,at_ns) VALUES(?,?,?,?,?,NULL,?)",
            [(*it, self.tx.now_ns) for it in self.met],
        )


# ---- for those who ask ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LockFacts:
    """A lock as this machine sees it, for people."""

    id: InodeId
    path: bytes | None
    holder: str
    token: int
    seconds: int
    is_ours: bool
    used_by: int | None
    """Session of this machine that uses it."""


def lock_facts(sql: Connection) -> list[LockFacts]:
    """The locks in force, sorted by path. The caller is in a transaction or does not mind news in between."""
    rows: list[tuple[Any, ...]] = sql.rows(
        "SELECT k.id, i.ino, k.holder, k.token, k.seconds, l.token IS k.token, u.session FROM lock k "
        "LEFT JOIN inode i ON i.id=k.id LEFT JOIN lease l ON l.id=k.id LEFT JOIN lock_use u ON u.ino=l.ino"
    )
    found = [
        LockFacts(id_, None if ino is None else path_of(sql, ino), holder, token, seconds, bool(ours), user)
        for id_, ino, holder, token, seconds, ours, user in rows
    ]
    return sorted(found, key=lambda it: (it.path or b"", it.id))


def path_of(sql: Connection, ino: int) -> bytes | None:
    """One path of `ino` from the root; None when it has no name here."""
    names: list[bytes] = []
    while ino != 1:
        row = sql.one("SELECT parent, name FROM dentry WHERE ino=? AND ino IS NOT NULL LIMIT 1", (ino,))
        if row is None:
            return None
        ino = row[0]
        names.append(row[1])
    return b"/".join(reversed(names))
