"""Moving inodes across the line between what leaves this machine and what does not."""

from collections.abc import Callable

from agentfs.model.records import Kind
from agentfs.replica.transaction import Transaction

Ignored = Callable[[int, bytes, bool], bool]
"""(directory, name, is a directory) → whether the name itself is ignored."""


def settle(tx: Transaction, ino: int, kind: int, ignored: Ignored) -> None:
    """Make `ino` local when only local names show it, and synced when a synced name does; with a directory all that
    is in it, except (when it becomes synced) names that are ignored by themselves.

    A local inode that the log has keeps its `id` and content row until the commit that takes it out of the log.
    """
    work = [(ino, kind)]
    while work:
        ino, kind = work.pop()
        local = tx.sql.one("SELECT 1 FROM dentry WHERE ino=? AND ino IS NOT NULL AND local=0 LIMIT 1", (ino,)) is None
        row = tx.sql.one("SELECT local FROM inode WHERE ino=?", (ino,))
        if row is None or bool(row[0]) == local:
            continue
        tx.set_local(ino, local)
        if kind != Kind.DIRECTORY:
            continue
        children = tx.sql.rows(
            "SELECT d.name, d.ino, d.base, i.kind FROM dentry d LEFT JOIN inode i ON i.ino=d.ino WHERE d.parent=?",
            (ino,),
        )
        for name, child, base, child_kind in children:
            child_local = local or (base is None and ignored(ino, name, child_kind == Kind.DIRECTORY))
            tx.set_dentry_local(ino, name, child_local)
            if child is not None:
                work.append((child, child_kind))
