"""The commit that brought the content which a file has now; the names that it had."""

from dataclasses import dataclass

from agentfs.history.names import PathNames, path_in
from agentfs.model.records import InodeId
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


def had_path(sql: Connection, inode: InodeId, path: PathNames) -> bool:
    """Whether the file ever had that path, right when it got a name or right before it lost one."""
    for parent, name, since, until in sql.rows("SELECT parent, name, since, until FROM name WHERE inode=?", (inode,)):
        moments = (since,) if until is None else (since, until - 1)
        if path[-1:] == (name,) and any(path_in(sql, parent, name, at) == path for at in moments):
            return True
    return False
