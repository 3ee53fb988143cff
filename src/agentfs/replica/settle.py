"""Our own commit stands in the log: what it captured is no longer pending."""

from collections.abc import Iterable
from dataclasses import dataclass

from agentfs.errors import HistoryBroken
from agentfs.model.records import ConflictId, Fence, InodeId, InodeRecord, Lock
from agentfs.replica.apply_base import BaseMove
from agentfs.replica.forks import set_local_base
from agentfs.replica.journal import ChangeKind
from agentfs.replica.locks import LockedFile, LockStep
from agentfs.replica.past import merges_are_in_log
from agentfs.replica.replica import Replica
from agentfs.replica.resolutions import forget_resolved


@dataclass(frozen=True, slots=True)
class CapturedFork:
    """Of a file that is open for writing, and was committed merged with the log's version (`replica.forks`)."""

    digest: bytes
    """Of our bytes as they were: what is written from now on differs from these."""
    size_bytes: int
    came_from: bytes | None
    """Digest of the base of the merge. Where the fork has another by now (a program that had seen less goes on from
    there), that stays."""
    detail: str
    """What both had changed; empty when nothing."""
    sides: bytes


@dataclass(frozen=True, slots=True)
class CapturedInode:
    ino: int
    record: InodeRecord
    """As committed; `record.id` is the number in the log, given by this commit if it was new."""
    change: int
    content_change: int
    """The inode's counters when it was captured: pending is cleared only as far as they did not move since."""
    with_content: bool
    """The bytes were captured, too."""
    fork: CapturedFork | None = None


@dataclass(frozen=True, slots=True)
class CapturedName:
    parent: int
    name: bytes
    ino: int | None
    """What the commit put there; None: it took the name away."""
    id: InodeId | None = None
    """Its number in the log, which another file may have by now (`succession`)."""


@dataclass(frozen=True, slots=True)
class Captured:
    """What a commit of ours contains, in this machine's numbers."""

    sequence: int
    time_ns: int
    inodes: tuple[CapturedInode, ...]
    names: tuple[CapturedName, ...]
    conflicts: tuple[int, ...] = ()
    """Rows of `conflict` that it reported."""
    resolved: tuple[ConflictId, ...] = ()
    """Conflicts that it reported as resolved."""
    locks: tuple[Lock, ...] = ()
    fences: tuple[Fence, ...] = ()
    locked: tuple[LockedFile, ...] = ()
    """The files here that it locked."""


def settle_commit(replica: Replica, captured: Captured, digest: bytes, *, parent: bytes | None) -> tuple[int, ...]:
    """Make our commit `digest` this replica's head. Returns the inodes that nothing names any more (`drop_stale`).

    Drops the prepared rows of all sequences up to it. `parent`, where it is known, must be the head's digest.
    """
    with replica.transaction(session=0) as tx:
        state: dict[str, object] = dict(
            tx.sql.rows("SELECT key, value FROM state WHERE key IN ('head_sequence','head_digest')")
        )
        if state["head_sequence"] != captured.sequence - 1 or parent not in (None, state["head_digest"]):
            raise HistoryBroken(f"our commit {captured.sequence} does not continue this replica's head")
        move = BaseMove(tx)
        locks = LockStep(move, captured.sequence, captured.locks, captured.fences)
        inos = {it.ino: _settle_inode(move, it) for it in captured.inodes}
        for name in captured.names:
            ino = None if name.ino is None else inos.get(name.ino, name.ino)
            if name.id is not None:
                ino = move.find(name.id) or ino
            move.set_base(inos.get(name.parent, name.parent), name.name, ino)
        move.find_gone()
        orphans = move.retire()
        locks.take_leases(captured.locked)
        locks.finish()
        locks.note(it.record for it in captured.inodes)
        move.tidy()
        _settle_conflicts(move, captured)
        forget_resolved(tx.sql, captured.resolved)
        move.set_head(captured.sequence, digest, captured.time_ns)
    return tuple(orphans)


def _settle_inode(move: BaseMove, captured: CapturedInode) -> int:
    """Returns the inode's number: another one if it was forgotten here after it was captured."""
    tx, ino, record = move.tx, captured.ino, captured.record
    holder = move.find(record.id)
    if holder is not None and holder != ino:
        # Another file took its place here since, coming from what was captured: what it changed is still pending.
        if captured.with_content and record.content is not None:
            move.set_content(holder, record.content)
        if captured.fork is not None:
            _settle_fork(move, holder, captured.fork)
        return holder
    row = tx.inode(ino)
    if row is None or row.id not in (None, record.id):
        return move.insert(record)  # forgotten since, or it has taken the place of another file of the log
    if row.id is None:
        tx.sql.execute("UPDATE inode SET id=? WHERE ino=?", (record.id, ino))
    move.remember(record.id, ino)
    if captured.with_content and record.content is not None:
        move.set_content(ino, record.content)
    if captured.fork is not None:
        _settle_fork(move, ino, captured.fork)
    if captured.with_content:
        merges_are_in_log(tx, ino, captured.content_change)
    pending = row.pending
    if captured.with_content and row.content_change == captured.content_change:
        pending &= ~2
    if row.change == captured.change:
        pending &= ~1
        tx.sql.execute("DELETE FROM changed_field WHERE ino=?", (ino,))
    if row.nlink == 0:
        pending = 0
    if pending != row.pending:
        tx.sql.execute("UPDATE inode SET pending=? WHERE ino=?", (pending, ino))
    if captured.with_content and not pending and row.nlink and row.mtime_ns != record.mtime_ns:
        # It was taken while it was open, with the time of its backing file: the row still has that of the last flush.
        tx.sql.execute("UPDATE inode SET mtime_ns=?, change=change+1 WHERE ino=?", (record.mtime_ns, ino))
        tx.record(ChangeKind.ATTRIBUTES, ino)
    return ino


def _settle_fork(move: BaseMove, ino: int, fork: CapturedFork) -> None:
    set_local_base(move.tx, ino, fork.digest, fork.size_bytes, came_from=fork.came_from)
    places = move.shown_at(ino)
    if fork.detail and places:
        move.tx.sql.execute(
            "INSERT INTO conflict(kind,parent,name,kept_as,detail,sequence,at_ns,sides) "
            "VALUES('content',?,?,x'',?,NULL,?,?)",
            (*places[0], fork.detail, move.tx.now_ns, fork.sides),
        )


def _settle_conflicts(move: BaseMove, captured: Captured) -> None:
    numbers: Iterable[tuple[int, int]] = ((captured.sequence, it) for it in captured.conflicts)
    move.tx.sql.executemany("UPDATE conflict SET sequence=? WHERE id=?", numbers)
