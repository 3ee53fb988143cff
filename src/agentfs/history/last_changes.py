"""When a file came to be, and when it last changed, by the log: by the times of commits, whatever clocks said."""

from collections.abc import Iterable

from agentfs.model.records import INDEX_BITS, InodeId
from agentfs.replica.database import Connection

Name = tuple[InodeId, bytes, InodeId]
"""Directory, name, what it means."""


def last_change(sql: Connection, inode: InodeId, names: Iterable[Name]) -> tuple[int, int] | None:
    """The time of the commit that last changed a file's record or gave one of `names` (its own, and those of the
    directories above it) its meaning; and that of the one that created it. None: the index does not know it so.

    Where commits were collected the times are those of what stands for them: later ones."""
    found = [sql.one("SELECT max(sequence) FROM record WHERE inode=?", (inode,))]
    found += [
        sql.one("SELECT since FROM name WHERE parent=? AND name=? AND inode=? AND until IS NULL", name)
        for name in names
    ]
    sequences = [int(row[0]) for row in found if row is not None and row[0] is not None]
    if len(sequences) < len(found):
        return None
    changed, created = _time(sql, max(sequences)), _time(sql, inode >> INDEX_BITS)
    return None if changed is None or created is None else (changed, created)


def _time(sql: Connection, sequence: int) -> int | None:
    row = sql.one("SELECT time_ns FROM entry WHERE sequence>=? ORDER BY sequence LIMIT 1", (sequence,))
    return None if row is None else int(row[0])
