"""Inodes that lost their name to the log's version while they were open for writing here (the table `detached`).

Whoever ends the last write handle settles them: unchanged bytes are forgotten, changed ones come back, at the name
where it is free (an edit wins over a delete), else beside it as a conflict copy. After a crash the next opening of
the replica does it. Changed ones that stay open come back when the engine takes what is open (`sync.open_files`).
"""

import hashlib

from agentfs.merge.conflict_names import conflict_name
from agentfs.model.records import Kind
from agentfs.replica.backing import BackingFiles
from agentfs.replica.journal import LOG_SESSION, ChangeKind
from agentfs.replica.transaction import ROOT, Transaction


def file_digest(files: BackingFiles, ino: int) -> bytes | None:
    """SHA-256 of the backing file; None when there is none."""
    try:
        with open(files.path(ino), "rb", buffering=0) as file:
            return hashlib.file_digest(file, "sha256").digest()
    except FileNotFoundError:
        return None


def settle_detached(tx: Transaction, ino: int, *, digest: bytes | None, agent: str, while_open: bool = False) -> bool:
    """Give a detached inode whose bytes are now `digest` (None: not here) a name again if they are not what it was
    opened with. Returns whether it has one; if not, the caller purges it. Does nothing to an inode that is not
    detached, nor to one that somebody still writes, unless `while_open`: then it gets a name if it has changed."""
    row = tx.sql.one(
        "SELECT d.parent, d.name, d.digest, i.size_bytes FROM detached d JOIN inode i USING(ino) WHERE d.ino=?",
        (ino,),
    )
    if row is None or (tx.is_write_open(ino) and not while_open):
        return False
    parent, name, opened_with, size_bytes = row
    changed = digest is not None and digest != opened_with
    if changed or not while_open:
        tx.sql.execute("DELETE FROM detached WHERE ino=?", (ino,))
    if not changed:
        return False
    directory, place, kind, kept_as = _standing(tx, parent), bytes(name), "delete", b""
    detail = "changed by one and deleted by the other; it was kept"
    if directory != parent or tx.dentry(directory, place) is not None:
        place = kept_as = conflict_name(
            place, agent=agent, at_ns=tx.now_ns, taken=lambda wanted: tx.dentry(directory, wanted) is not None
        )
        kind = "content"
        detail = f"changed here ({size_bytes} bytes) while another machine's version took the name"
    local = tx.sql.one("SELECT local FROM inode WHERE ino=?", (directory,))
    assert local is not None
    tx.sql.execute(
        "UPDATE inode SET local=?2, pending=CASE WHEN ?2 THEN 0 ELSE 3 END, pending_at_ns=?3 WHERE ino=?1",
        (ino, local[0], tx.now_ns),
    )
    tx.link(directory, place, ino, directory=False, local=bool(local[0]))
    if (
        tx.session != LOG_SESSION
    ):  # a mount skips its own rows: the kernel asked for this change, but not for this one
        tx.sql.execute(
            "INSERT INTO journal(session,kind,ino,parent,name,at_ns) VALUES(?,?,?,?,?,?)",
            (LOG_SESSION, int(ChangeKind.LINK), ino, directory, place, tx.now_ns),
        )
    tx.record(ChangeKind.CONTENT, ino)
    tx.sql.execute(
        "INSERT INTO conflict(kind,parent,name,kept_as,detail,sequence,at_ns) VALUES(?,?,?,?,?,NULL,?)",
        (kind, directory, name, kept_as, detail, tx.now_ns),
    )
    return True


def _standing(tx: Transaction, parent: int) -> int:
    """`parent` if it is still a directory in the tree, else the root."""
    row = tx.sql.one("SELECT 1 FROM inode WHERE ino=? AND kind=? AND nlink>=2", (parent, int(Kind.DIRECTORY)))
    return parent if row is not None else ROOT
