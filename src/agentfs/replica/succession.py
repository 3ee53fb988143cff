"""A file that takes the name of another takes its place in the log as well.

Programs save in several ways: over the old bytes; into a new file that is then renamed over the old one; into a new
file after the old one was moved aside (and perhaps removed afterwards). To the log all of them are a change of one
file: its number goes to the file that stands at the name now, with the content that the log has as the base of what
was written. So an edit that another machine makes meanwhile meets the new file, and is merged with it, instead of
following the old one to a backup that is about to go; and the file's history is one. What was moved aside is a new
file.
"""

from collections.abc import Callable

from agentfs.model.records import Kind
from agentfs.replica.past import write_from
from agentfs.replica.transaction import PENDING_CONTENT, RESIDENCY_LOCAL, InodeRow, Transaction


def succeed(
    tx: Transaction, parent: int, name: bytes, new: int, *, seen: Callable[[int, int], int | None]
) -> int | None:
    """Call after `name` came to mean `new` here. If the log has another file there, and only there, and `new` is not
    in the log, `new` becomes that file. Returns the other one, if it may be purged now. `seen(ino, change)` tells
    which version before `change` of a file the program that does it saw last, if it saw none since (`past`)."""
    dentry = tx.dentry(parent, name)
    if dentry is not None and dentry.base == new:
        tx.sql.execute("DELETE FROM left_with WHERE ino=?", (new,))  # it is back
    if dentry is None or dentry.base is None or dentry.base == new or dentry.local:
        return None
    old, fresh = tx.inode(dentry.base), tx.inode(new)
    if old is None or fresh is None or old.kind is not Kind.FILE or fresh.kind is not Kind.FILE:
        return None
    if old.id is None or fresh.id is not None or fresh.local:
        return None
    if fresh.residency != RESIDENCY_LOCAL or (old.local and old.residency != RESIDENCY_LOCAL):
        return None  # its `content` tells where its bytes are: it cannot have another's
    if tx.sql.one("SELECT count(*) FROM dentry WHERE base=?", (old.ino,)) != (1,):
        return None  # it has other names in the log, and stays itself
    _pass_on(tx, old, fresh)
    change = seen(old.ino, old.content_change)
    if change is not None:
        write_from(tx, old.ino, change, into=new)
    tx.sql.execute("UPDATE dentry SET base=?3, pending=0 WHERE parent=?1 AND name=?2", (parent, name, new))
    return old.ino if old.nlink == 0 else None


def stand_for(tx: Transaction, new: int, replaced: int) -> None:
    """Call before `new` takes the name of the file `replaced`. Another machine may have moved the bytes that `new`
    came from into `replaced`, and given `new` others, which are still to be merged (as when both rotate a log): then
    what goes with `replaced` is here only, and nothing that `new` shows counts as removed by the log."""
    tx.sql.execute(
        "UPDATE fork SET digest=NULL, size_bytes=NULL, sequence=NULL, offset=NULL, chunks=NULL WHERE ino=?1 "
        "AND digest=(SELECT c.digest FROM content c JOIN inode i USING(ino) WHERE c.ino=?2 AND NOT i.pending & ?3)",
        (new, replaced, PENDING_CONTENT),
    )


def _pass_on(tx: Transaction, old: InodeRow, new: InodeRow) -> None:
    sql = tx.sql
    _remember_what_it_left_with(tx, old, new)
    pending = 0
    if old.nlink and not old.local:
        pending = 3 if old.residency == RESIDENCY_LOCAL else 1
    sql.execute(
        "UPDATE inode SET id=NULL, pending=?2, pending_at_ns=CASE WHEN pending THEN pending_at_ns ELSE ?3 END "
        "WHERE ino=?1",
        (old.ino, pending, tx.now_ns),
    )
    sql.execute("UPDATE inode SET id=? WHERE ino=?", (old.id, new.ino))
    if new.pending != 3:  # it was a file of the log once, and what is in it was fetched
        sql.execute("UPDATE inode SET pending=3, pending_at_ns=? WHERE ino=?", (tx.now_ns, new.ino))
    sql.execute("DELETE FROM content WHERE ino=?", (new.ino,))
    columns = "digest, size_bytes, sequence, offset, chunks"
    sql.execute(
        f"INSERT INTO content(ino, {columns}) SELECT ?2, {columns} FROM content WHERE ino=?1", (old.ino, new.ino)
    )
    if pending != 1:  # else it tells where the bytes are
        sql.execute("DELETE FROM content WHERE ino=?", (old.ino,))
    sql.execute("DELETE FROM changed_field WHERE ino=?", (old.ino,))
    sql.execute(
        "INSERT OR IGNORE INTO changed_field SELECT ino, CAST('x:' || name AS BLOB) FROM xattr WHERE ino=?",
        (new.ino,),
    )
    for field, ours, theirs in (
        (b"mode", new.mode, old.mode),
        (b"owner", (new.uid, new.gid), (old.uid, old.gid)),
    ):
        if ours != theirs:
            sql.execute("INSERT OR IGNORE INTO changed_field VALUES(?,?)", (new.ino, field))


def _remember_what_it_left_with(tx: Transaction, old: InodeRow, new: InodeRow) -> None:
    """What the new file came from is the content of the old one when it left the name; the log may have moved on.
    From nothing, if that was empty."""
    tx.sql.execute("DELETE FROM fork WHERE ino=?", (new.ino,))
    tx.sql.execute("UPDATE fork SET ino=?2 WHERE ino=?1", (old.ino, new.ino))
    tx.sql.execute(
        "INSERT OR IGNORE INTO fork(ino,digest,size_bytes,sequence,offset,chunks,met,at_ns) "
        "SELECT ?2, CASE WHEN size_bytes THEN digest END, size_bytes, sequence, offset, chunks, met, ?3 "
        "FROM left_with WHERE ino=?1",
        (old.ino, new.ino, tx.now_ns),
    )
    tx.sql.execute("DELETE FROM left_with WHERE ino=?", (old.ino,))
