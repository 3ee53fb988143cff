"""Versions of files that the log, or a merge, replaced on this machine a while ago (the table `past`).

A program that read one of them and writes the file now has not seen what came since: its version is merged with that,
from the one it read (`tree.seen`). The base of a merge must be something that the log's version came from, too. What
a merge replaced is that once the merge is committed; until then it is the version that both were merged from.
Kept for an hour, and not for files that were never here.
"""

from agentfs.replica.transaction import ContentRow, Transaction

KEPT_NS = 3600 * 10**9
_VERSIONS_MAX = 2000

_WRITE_FROM = (
    "INSERT INTO fork(ino,digest,size_bytes,sequence,offset,chunks,met,at_ns) "
    "SELECT ?3, iif(in_log,digest,base_digest), iif(in_log,size_bytes,base_size_bytes), "
    "iif(in_log,sequence,base_sequence), iif(in_log,offset,base_offset), iif(in_log,chunks,base_chunks), "
    "(SELECT value FROM state WHERE key='head_sequence'), ?4 FROM past WHERE ino=?1 AND content_change=?2 "
    "AND at_ns>?5 AND EXISTS (SELECT 1 FROM inode i JOIN content c USING(ino) "
    "WHERE i.ino=?3 AND i.id IS NOT NULL AND i.local=0) "
    "ON CONFLICT(ino) DO UPDATE SET digest=excluded.digest, size_bytes=excluded.size_bytes, "
    "sequence=excluded.sequence, offset=excluded.offset, chunks=excluded.chunks"
)
_LOCAL = "SELECT {0}digest FROM past WHERE {0}digest IS NOT NULL AND {0}sequence IS NULL AND {0}chunks IS NULL"


def keep_past(tx: Transaction, ino: int, content_change: int, content: ContentRow) -> None:
    """Remember a version of the log that another one of the log replaced: what the file held while its counter was
    `content_change`."""
    tx.sql.execute(
        "INSERT OR REPLACE INTO past VALUES(?,?,?,?,?,?,?,1,NULL,NULL,NULL,NULL,NULL,?)",
        (ino, content_change, *tuple(content)[1:6], tx.now_ns),
    )


def keep_merged(
    tx: Transaction, ino: int, content_change: int, *, ours: tuple[bytes, int], base: ContentRow | None
) -> None:
    """Remember our bytes that were merged with the log's: their digest and length (a file of this machine holds
    them), and the version of the log that they came from."""
    place = (None,) * 5 if base is None else tuple(base)[1:6]
    tx.sql.execute(
        "INSERT OR REPLACE INTO past VALUES(?,?,?,?,NULL,NULL,NULL,0,?,?,?,?,?,?)",
        (ino, content_change, *ours, *place, tx.now_ns),
    )


def merges_are_in_log(tx: Transaction, ino: int, content_change: int) -> None:
    """A commit carries what the file held at `content_change`."""
    tx.sql.execute("UPDATE past SET in_log=1 WHERE ino=? AND content_change<=?", (ino, content_change))


def write_from(tx: Transaction, ino: int, content_change: int, *, into: int | None = None) -> None:
    """A program that saw version `content_change` of `ino` last is about to write it (or `into`, which has taken its
    place): what the log has now is to be merged with what it writes. Without effect when that version was not
    replaced by the log's or a merge."""
    tx.sql.execute(_WRITE_FROM, (ino, content_change, ino if into is None else into, tx.now_ns, tx.now_ns - KEPT_NS))


def is_past(tx: Transaction, ino: int, content_change: int) -> bool:
    """Whether `write_from` this version would have an effect."""
    row = tx.sql.one(
        "SELECT 1 FROM past WHERE ino=? AND content_change=? AND at_ns>?", (ino, content_change, tx.now_ns - KEPT_NS)
    )
    return row is not None


def trim_past(tx: Transaction) -> None:
    """Forget what is too old, or too much."""
    tx.sql.execute(
        "DELETE FROM past WHERE at_ns<?1 OR at_ns>?2 "
        "OR at_ns<(SELECT at_ns FROM past ORDER BY at_ns DESC LIMIT 1 OFFSET ?3)",
        (tx.now_ns - KEPT_NS, tx.now_ns + KEPT_NS, _VERSIONS_MAX),
    )


def past_bases(tx: Transaction) -> set[bytes]:
    """Digests of those versions that are files of this machine (`BackingFiles.base_path`)."""
    return {row[0] for prefix in ("", "base_") for row in tx.sql.rows(_LOCAL.format(prefix))}
