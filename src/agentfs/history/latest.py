"""The commit that brought the content which a file has now; the names that it had."""

from dataclasses import dataclass

from agentfs.format.limits import SEQUENCE_MAX
from agentfs.history.names import PathNames
from agentfs.model.records import ROOT_ID, InodeId
from agentfs.replica.database import Connection


@dataclass(frozen=True, slots=True)
class Latest:
    digest: bytes
    sequence: int
    """The commit; where commits were collected, what stands for them."""
    author: str
    """Of the commit; empty where commits were collected."""
    mtime_ns: int
    """The file's time of modification then."""


def latest_content(sql: Connection, inode: InodeId) -> Latest | None:
    """None: the index knows no such file."""
    found = None
    for sequence, digest, mtime_ns in sql.execute(
        "SELECT sequence, digest, mtime_ns FROM record WHERE inode=? ORDER BY sequence DESC", (inode,)
    ):
        if digest is None or (found is not None and digest != found[0]):
            break
        found = digest, sequence, mtime_ns
    if found is None:
        return None
    row = sql.one("SELECT a.author FROM entry JOIN author a ON a.id=entry.author WHERE sequence=?", (found[1],))
    return Latest(found[0], found[1], row[0] if row is not None else "", found[2])


def had_path(sql: Connection, inode: InodeId, path: PathNames, *, since: int = 0) -> bool:
    """Whether the file had that path right after entry `since` or any later one; directories were renamed, too."""
    meant: list[tuple[InodeId, int, int]] = [(ROOT_ID, since, SEQUENCE_MAX + 1)]
    for name in path:
        meant = [
            (child, max(begin, first), end if until is None else min(end, until))
            for parent, begin, end in meant
            for child, first, until in sql.rows(
                "SELECT inode, since, until FROM name WHERE parent=? AND name=?", (parent, name)
            )
        ]
        meant = [it for it in meant if it[1] < it[2]]
    return any(child == inode for child, _, _ in meant)
