"""What one commit changed, in paths; and which commits changed something at or below a path."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from agentfs.history.events import path_events
from agentfs.history.names import PathNames, names_of, path_in
from agentfs.model.records import InodeId, Kind
from agentfs.replica.database import Connection, Row

ChangeWhat: TypeAlias = Literal["created", "changed", "renamed", "attributes", "deleted"]

_STATE = "kind, digest, target, rdev, mode, uid, gid"


@dataclass(frozen=True, slots=True)
class Change:
    """One file or directory that a commit changed."""

    what: ChangeWhat
    path: PathNames
    """After the commit; of what it deleted, before."""
    other: PathNames | None
    """Renamed: the path before."""
    kind: Kind
    size_bytes: int


@dataclass(frozen=True, slots=True)
class _Place:
    what: ChangeWhat
    inode: InodeId
    parent: InodeId
    name: bytes
    old: tuple[InodeId, bytes] | None = None


class CommitChanges:
    """The changes of entry `sequence`. Counting them costs a few queries; paths are looked up when asked for."""

    def __init__(self, sql: Connection, sequence: int) -> None:
        self._sql = sql
        self._sequence = sequence
        self._places = self._found()

    def counts(self) -> dict[ChangeWhat, int]:
        counts: dict[ChangeWhat, int] = {}
        for place in self._places:
            counts[place.what] = counts.get(place.what, 0) + 1
        return counts

    def first(self, limit: int) -> list[Change]:
        """Up to `limit` of them, with paths, sorted."""
        found = [change for place in self._places[:limit] if (change := self._change(place)) is not None]
        return sorted(found, key=lambda it: it.path)

    def _found(self) -> list[_Place]:
        sql, at = self._sql, self._sequence
        opened = sql.rows("SELECT parent, name, inode FROM name WHERE since=? ORDER BY parent, name", (at,))
        closed = {
            (row[0], row[1]): row[2]
            for row in sql.rows("SELECT parent, name, inode FROM name WHERE until=? ORDER BY parent, name", (at,))
        }
        left = dict(closed)
        lost: dict[InodeId, list[tuple[InodeId, bytes]]] = {}
        for place, inode in closed.items():
            lost.setdefault(inode, []).append(place)
        found: list[_Place] = []
        come: set[InodeId] = set()
        for parent, name, inode in opened:
            come.add(inode)
            replaced = left.pop((parent, name), None)
            if lost.get(inode):
                old = lost[inode].pop(0)
                left.pop(old, None)
                found.append(_Place("renamed", inode, parent, name, old))
            else:
                found.append(_Place("created" if replaced is None else "changed", inode, parent, name))
        found += [_Place("deleted", inode, *place) for place, inode in left.items()]
        return found + self._records(come)

    def _records(self, come: set[InodeId]) -> list[_Place]:
        """Inodes that kept their names and have another state."""
        found = []
        sql, at = self._sql, self._sequence
        for row in sql.rows(f"SELECT inode, {_STATE} FROM record WHERE sequence=? ORDER BY inode", (at,)):
            inode = row[0]
            before = sql.one(
                f"SELECT {_STATE} FROM record WHERE inode=? AND sequence<? ORDER BY sequence DESC LIMIT 1",
                (inode, at),
            )
            if inode in come or before is None:
                continue
            what = _difference(before, row[1:])
            names = names_of(sql, inode, at) if what is not None else []
            if what is not None and names:
                found.append(_Place(what, inode, names[0][0], names[0][1]))
        return found

    def _change(self, place: _Place) -> Change | None:
        sql, at = self._sql, self._sequence
        deleted = place.what == "deleted"
        path = path_in(sql, place.parent, place.name, at - 1 if deleted else at)
        row = sql.one(
            "SELECT kind, size_bytes, target FROM record WHERE inode=? AND sequence<=? "
            "ORDER BY sequence DESC LIMIT 1",
            (place.inode, at),
        )
        if path is None or row is None:
            return None
        old = path_in(sql, *place.old, at - 1) if place.old is not None else None
        return Change(place.what, path, old, Kind(row[0]), row[1] or len(row[2] or b""))


def _difference(before: Row, after: Row) -> ChangeWhat | None:
    """A directory's times move with what is in it: that is no change of it."""
    if before[:4] != after[:4]:
        return "changed"
    if after[0] == Kind.DIRECTORY and before == after:
        return None
    return "attributes"


def sequences_of(sql: Connection, path: PathNames, head: int) -> tuple[list[int], frozenset[PathNames]]:
    """The entries that may have changed something at `path` or below it, newest first, and every path that it had."""
    events = path_events(sql, path, head, attributes=True)
    found = {event.sequence for event in events}
    paths = {path, *(event.path for event in events)}
    paths.update(event.other for event in events if event.what == "renamed" and event.other is not None)
    directories = {event.inode for event in events if event.kind is Kind.DIRECTORY}
    for inode in directories:
        found.update(row[0] for row in sql.rows(_BELOW, (inode,)))
    return sorted(found, reverse=True), frozenset(paths)


_BELOW = """
WITH RECURSIVE below(inode) AS (
    VALUES(?)
    UNION SELECT n.inode FROM below JOIN name n ON n.parent=below.inode
)
SELECT since FROM below JOIN name ON name.parent=below.inode
UNION SELECT until FROM below JOIN name ON name.parent=below.inode WHERE until IS NOT NULL
UNION SELECT r.sequence FROM below JOIN record r USING (inode)
"""


def within(changes: Iterable[Change], paths: frozenset[PathNames]) -> Sequence[Change]:
    """Those at or below one of `paths`."""

    def is_in(path: PathNames | None) -> bool:
        return path is not None and any(path[:end] in paths for end in range(len(path) + 1))

    return [change for change in changes if is_in(change.path) or is_in(change.other)]
