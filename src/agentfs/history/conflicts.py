"""What met, when, and what became of both sides."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from agentfs.errors import NotFound
from agentfs.history.names import PathNames, path_in
from agentfs.history.places import COLUMNS, of_columns
from agentfs.model.records import ConflictId, Content, InodeId
from agentfs.replica.database import Connection, Row
from agentfs.replica.replica import Replica

SideName: TypeAlias = Literal["base", "earlier", "later", "merged"]
SIDES: tuple[SideName, ...] = ("base", "earlier", "later", "merged")


@dataclass(frozen=True, slots=True)
class ConflictLine:
    """One conflict, for people and programs."""

    id: str
    """`sequence.place`; of one that no commit has reported yet `pending.number`."""
    kind: str
    path: PathNames
    """Where it happened, as it was called then."""
    copy: PathNames | None
    """Where the other version was kept; None: nothing had to be kept aside."""
    detail: str
    sequence: int | None
    """The commit that settled it; None: pending."""
    time_ns: int
    earlier_author: str
    """Who was first; empty when that is not known."""
    later_author: str
    met: int
    """The commit that came first; 0 when it is not known."""
    resolved: int | None
    """The commit that says it is resolved; None: it is open. 0: resolved here, and not in a commit yet."""
    sides: tuple[SideName, ...]
    """Those whose bytes are known."""


def conflict_lines(sql: Connection, *, resolved: bool, path: PathNames = ()) -> Iterator[ConflictLine]:
    """Those of the log, newest first; at or below `path`. With `resolved` also what is settled."""
    rows = sql.rows(
        "SELECT c.sequence, c.place, c.kind, c.parent, c.name, c.kept_as, c.detail, c.met, c.resolved, "
        "coalesce(c.time_ns, e.time_ns), coalesce(c.author, a.author), "
        "(SELECT b.author FROM entry m JOIN author b ON b.id=m.author WHERE m.sequence=c.met) "
        "FROM conflict c LEFT JOIN entry e USING (sequence) LEFT JOIN author a ON a.id=e.author "
        f"{'' if resolved else 'WHERE c.resolved IS NULL '}ORDER BY c.sequence DESC, c.place DESC"
    )
    for row in rows:
        line = _line(sql, row)
        if line.path[: len(path)] == path or (line.copy is not None and line.copy[: len(path)] == path):
            yield line


def _line(sql: Connection, row: Row) -> ConflictLine:
    sequence, place, kind, parent, name, kept_as, detail, met, resolved, time_ns, author, earlier = row
    if not met and kept_as:  # what kept the name was first
        met, earlier = _first(sql, parent, name, sequence)
    path = path_in(sql, parent, name, sequence) or path_in(sql, parent, name, sequence - 1)
    if path is None:  # its commit was collected: where it is according to what is known next
        known = sql.one("SELECT min(sequence) FROM entry WHERE sequence>=?", (sequence,))
        path = (path_in(sql, parent, name, known[0]) if known and known[0] else None) or (name,)
    return ConflictLine(
        id=f"{sequence}.{place}",
        kind=kind,
        path=path,
        copy=(*path[:-1], kept_as) if kept_as else None,
        detail=detail,
        sequence=sequence,
        time_ns=time_ns,
        earlier_author=earlier or "",
        later_author=author,
        met=met,
        resolved=resolved,
        sides=tuple(side for side in SIDES if side_content(sql, ConflictId(sequence, place), side) is not None),
    )


def _first(sql: Connection, parent: InodeId, name: bytes, sequence: int) -> tuple[int, str]:
    """The commit below `sequence` that gave a name what it means there, and its author; 0 when that is not known."""
    row = sql.one(
        "SELECT r.sequence, a.author FROM name n JOIN record r ON r.inode=n.inode AND r.sequence<?3 "
        "JOIN entry e ON e.sequence=r.sequence JOIN author a ON a.id=e.author "
        "WHERE n.parent=?1 AND n.name=?2 AND n.since<?3 AND (n.until IS NULL OR n.until>=?3) "
        "ORDER BY r.sequence DESC LIMIT 1",
        (parent, name, sequence),
    )
    return (row[0], row[1]) if row is not None else (0, "")


def side_content(sql: Connection, conflict: ConflictId, side: SideName) -> Content | None:
    """What a side was; None where there was nothing, or nobody knows."""
    row = sql.one(
        f"SELECT {COLUMNS} FROM side WHERE sequence=? AND place=? AND side=?", (*conflict_key(conflict), side)
    )
    if row is not None:
        return of_columns(row[:5])
    row = sql.one(
        "SELECT parent, name, kept_as, EXISTS (SELECT 1 FROM side s WHERE s.sequence=c.sequence AND s.place=c.place) "
        "FROM conflict c WHERE sequence=? AND place=?",
        conflict_key(conflict),
    )
    if row is None:
        raise NotFound(f"there is no conflict {conflict.sequence}.{conflict.index}: see agentfs conflicts --all")
    parent, name, kept_as, has_sides = row
    if side == "merged" or (side == "earlier" and kept_as and not has_sides):
        return _named(sql, parent, name, conflict.sequence)
    if side == "later" and kept_as:
        return _named(sql, parent, kept_as, conflict.sequence)
    return None


def conflict_key(conflict: ConflictId) -> tuple[int, int]:
    return conflict.sequence, conflict.index


def _named(sql: Connection, parent: InodeId, name: bytes, at: int) -> Content | None:
    row = sql.one(
        f"SELECT {COLUMNS} FROM name n JOIN record r ON r.inode=n.inode AND r.sequence<=?3 "
        "WHERE n.parent=?1 AND n.name=?2 AND n.since<=?3 AND (n.until IS NULL OR n.until>?3) "
        "ORDER BY r.sequence DESC LIMIT 1",
        (parent, name, at),
    )
    return None if row is None else of_columns(row[:5])


# ---- what no commit has reported yet ----


def pending_conflicts(replica: Replica, author: str) -> list[ConflictLine]:
    """Conflicts that were settled on this machine and wait for a commit."""
    with replica.lock:
        sql = replica.connection
        rows = sql.rows(
            "SELECT id, kind, parent, name, kept_as, detail, at_ns FROM conflict WHERE sequence IS NULL "
            "ORDER BY id DESC LIMIT 1000"
        )
        found = []
        for number, kind, parent, name, kept_as, detail, at_ns in rows:
            above = _shown_path(sql, parent)
            found.append(
                ConflictLine(
                    id=f"pending.{number}",
                    kind=kind,
                    path=(*above, name),
                    copy=(*above, kept_as) if kept_as else None,
                    detail=detail,
                    sequence=None,
                    time_ns=at_ns,
                    earlier_author="",
                    later_author=author,
                    met=0,
                    resolved=None,
                    sides=(),
                )
            )
    return found


def _shown_path(sql: Connection, ino: int) -> PathNames:
    """The path of a directory as this machine shows it; what it knows of it where that is gone."""
    names: list[bytes] = []
    while ino != 1:
        row = sql.one("SELECT parent, name FROM dentry WHERE ino=? AND ino IS NOT NULL LIMIT 1", (ino,))
        if row is None:
            break
        names.append(row[1])
        ino = row[0]
    return tuple(reversed(names))
