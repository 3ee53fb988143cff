"""Versions of files that the log, or a merge, replaced on this machine a while ago (the table `past`).

A program that read one of them and writes the file now has not seen what came since: its version is merged with that,
from the one it read (`tree.seen`). Kept for an hour, and not for files that were never here.
"""

from agentfs.replica.transaction import ContentRow, Transaction

KEPT_NS = 3600 * 10**9
_VERSIONS_MAX = 2000


def keep_past(tx: Transaction, ino: int, content_change: int, content: ContentRow) -> None:
    """Remember what the file held while its counter was `content_change`."""
    tx.sql.execute(
        "INSERT OR REPLACE INTO past VALUES(?,?,?,?,?,?,?,?)", (ino, content_change, *tuple(content)[1:6], tx.now_ns)
    )


def write_from(tx: Transaction, ino: int, content_change: int, *, into: int | None = None) -> None:
    """A program that saw version `content_change` of `ino` last is about to write it (or `into`, which has taken its
    place): what the log has now is to be merged with what it writes. Without effect when that version was not
    replaced by the log's or a merge."""
    tx.sql.execute(
        "INSERT OR IGNORE INTO fork(ino,digest,size_bytes,sequence,offset,chunks,met,at_ns) "
        "SELECT ?3, digest, size_bytes, sequence, offset, chunks, "
        "(SELECT value FROM state WHERE key='head_sequence'), ?4 FROM past WHERE ino=?1 AND content_change=?2 "
        "AND at_ns>?5 AND EXISTS (SELECT 1 FROM inode i JOIN content c USING(ino) "
        "WHERE i.ino=?3 AND i.id IS NOT NULL AND i.local=0)",
        (ino, content_change, ino if into is None else into, tx.now_ns, tx.now_ns - KEPT_NS),
    )


def trim_past(tx: Transaction) -> None:
    """Forget what is too old, or too much."""
    tx.sql.execute(
        "DELETE FROM past WHERE at_ns<?1 OR at_ns>?2 "
        "OR at_ns<(SELECT at_ns FROM past ORDER BY at_ns DESC LIMIT 1 OFFSET ?3)",
        (tx.now_ns - KEPT_NS, tx.now_ns + KEPT_NS, _VERSIONS_MAX),
    )


def past_bases(tx: Transaction) -> set[bytes]:
    """Digests of those versions that are files of this machine (`BackingFiles.base_path`)."""
    return {row[0] for row in tx.sql.rows("SELECT digest FROM past WHERE sequence IS NULL AND chunks IS NULL")}
