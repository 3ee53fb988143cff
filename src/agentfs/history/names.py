"""Names at a moment: from a path to an inode, from an inode to its paths, and when a path last meant something.

All of them read one state of the index: the caller holds its lock (`HistoryIndex.reading`). A path is a tuple of
names from the root. `at` is a sequence: right after that entry.
"""

from dataclasses import dataclass
from typing import TypeAlias

from agentfs.model.records import ROOT_ID, InodeId
from agentfs.replica.database import Connection

PathNames: TypeAlias = tuple[bytes, ...]

_DEPTH_MAX = 4096
"""Of directories in each other: more can only be a circle, which no log has."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a path meant."""

    inode: InodeId
    since: int
    """The entry from which on the path means it, through the same directories."""
    parent: InodeId
    """The directory of the last name; the root's own number for the root."""
    name: bytes
    own_since: int
    """As `since`, but of the last name alone."""


def resolve(sql: Connection, path: PathNames, at: int) -> Found | None:
    """What `path` meant at `at`; None: nothing."""
    found = Found(ROOT_ID, 0, ROOT_ID, b"", 0)
    for name in path:
        row = sql.one(
            "SELECT inode, since, until FROM name WHERE parent=? AND name=? AND since<=? ORDER BY since DESC LIMIT 1",
            (found.inode, name, at),
        )
        if row is None or (row[2] is not None and row[2] <= at):
            return None
        found = Found(row[0], max(found.since, row[1]), found.inode, name, row[1])
    return found


def last_seen(sql: Connection, path: PathNames, upto: int, *, parent: InodeId = ROOT_ID) -> int | None:
    """The last entry up to `upto` right after which `path` (from the directory `parent`) meant something; None: it
    never did."""
    if not path:
        return upto
    rows = sql.rows(
        "SELECT inode, since, until FROM name WHERE parent=? AND name=? AND since<=? ORDER BY since DESC",
        (parent, path[0], upto),
    )
    for inode, since, until in rows:
        end = upto if until is None else min(upto, until - 1)
        seen = last_seen(sql, path[1:], end, parent=inode)
        if seen is not None and seen >= since:
            return seen
    return None


def names_of(sql: Connection, inode: InodeId, at: int) -> list[tuple[InodeId, bytes, int, int | None]]:
    """The names of an inode at `at`: directory, name, since and until, sorted."""
    rows = sql.rows(
        "SELECT parent, name, since, until FROM name WHERE inode=? AND since<=? AND (until IS NULL OR until>?) "
        "ORDER BY parent, name",
        (inode, at, at),
    )
    return [(row[0], row[1], row[2], row[3]) for row in rows]


def path_of(sql: Connection, inode: InodeId, at: int) -> PathNames | None:
    """The path of a directory at `at` (of anything else: one of its paths); None when it had none."""
    names: list[bytes] = []
    while inode != ROOT_ID:
        row = sql.one(
            "SELECT parent, name FROM name WHERE inode=? AND since<=? AND (until IS NULL OR until>?) "
            "ORDER BY parent, name LIMIT 1",
            (inode, at, at),
        )
        if row is None or len(names) > _DEPTH_MAX:
            return None
        names.append(row[1])
        inode = row[0]
    return tuple(reversed(names))


def path_in(sql: Connection, parent: InodeId, name: bytes, at: int) -> PathNames | None:
    """The path of `name` in the directory `parent` at `at`."""
    above = path_of(sql, parent, at)
    return None if above is None else (*above, name)
