"""Conflicts that somebody settled here, until a commit says so (docs/format.md, F-39)."""

from collections.abc import Iterable

from agentfs.model.records import ROOT_ID, ConflictId
from agentfs.replica.database import Connection
from agentfs.replica.journal import ChangeKind
from agentfs.replica.replica import Replica

_READ_MAX = 1000
"""In one commit; the others go with the next."""


def mark_resolved(replica: Replica, conflicts: Iterable[ConflictId]) -> None:
    """Have the next commit say that these are resolved. On return it survives `kill -9`."""
    with replica.transaction() as tx:
        tx.sql.executemany(
            "INSERT OR IGNORE INTO resolution VALUES(?,?,?)", ((it.sequence, it.index, tx.now_ns) for it in conflicts)
        )
        tx.record(ChangeKind.ATTRIBUTES, ROOT_ID)  # it wakes the engine, and tells nobody anything new


def read_resolved(sql: Connection) -> tuple[ConflictId, ...]:
    """Those that wait for a commit. The caller holds the replica's lock."""
    rows = sql.rows(
        "SELECT sequence, place FROM resolution "
        "WHERE sequence <= (SELECT value FROM state WHERE key='head_sequence') ORDER BY 1, 2 LIMIT ?",
        (_READ_MAX,),
    )
    return tuple(ConflictId(*row) for row in rows)


def forget_resolved(sql: Connection, conflicts: Iterable[ConflictId]) -> None:
    """A commit in the log says it."""
    sql.executemany(
        "DELETE FROM resolution WHERE sequence=? AND place=?", ((it.sequence, it.index) for it in conflicts)
    )
