"""The history of a path: what it meant, from its first version to now.

It follows the *name* and the *file*. An editor that writes a temporary file and renames it over the old one makes a
new inode each time: these are versions of the path, because the name was taken right before. Where the name was free,
a file that came under another name is followed back to that name; so is a file whose directory was moved. What was
deleted and came again is one history with a hole in it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from agentfs.history.names import Found, PathNames, last_seen, names_of, path_in, resolve
from agentfs.history.places import COLUMNS, of_columns
from agentfs.model.records import ConflictId, Content, InodeId, Kind
from agentfs.replica.database import Connection, Row

What: TypeAlias = Literal["created", "changed", "restored", "merged", "renamed", "attributes", "deleted"]

_RECORD = f"SELECT sequence, kind, mode, mtime_ns, rdev, target, {COLUMNS} FROM record WHERE inode=? "


_VALUES_MAX = 500
"""Of one statement."""


@dataclass(frozen=True, slots=True)
class PathEvent:
    """One line of a path's history."""

    version: int | None
    """1 for the oldest content, one more for each later one; None where the path meant nothing afterwards. A rename
    and a change of attributes have the number of the content they left as it was."""
    sequence: int
    what: What
    path: PathNames
    """As it was called then."""
    other: PathNames | None
    """Renamed: the path before. Deleted: where the file lives on under another name."""
    inode: InodeId
    kind: Kind
    mode: int
    mtime_ns: int
    content: Content | None
    """Of a file. For `deleted`: what it was before."""
    target: bytes
    """Of a symbolic link."""
    conflict: ConflictId | None = None
    """A conflict that was settled by this."""
    beginning: bool = False
    """What came before is not known any more: its commits were collected."""
    content_changed: bool = False
    """This is where `version` begins."""
    size_bytes: int = 0
    digest: bytes = b""
    time_ns: int = 0
    """Of the commit."""
    author: str = ""
    """Of the commit; empty where commits were collected."""
    cause: str = ""
    """Of the commit: what made it, where no agent did."""


_State: TypeAlias = tuple[object, ...]
"""What two states of a file are compared by: kind, digest, target, device."""


def path_events(sql: Connection, path: PathNames, head: int, *, attributes: bool = False) -> Sequence[PathEvent]:
    """The history of `path` at `head`, oldest first; empty when it never meant anything. With `attributes` also
    changes of nothing but attributes."""
    walk = _Walk(sql, attributes)
    walk.back(path, head)
    return _signed(sql, _numbered(list(reversed(walk.events))))


@dataclass(slots=True)
class _Raw:
    """A record of an inode."""

    sequence: int
    kind: Kind
    mode: int
    mtime_ns: int
    state: _State
    content: Content | None
    target: bytes


class _Walk:
    """From the newest to the oldest. `events` are unnumbered."""

    def __init__(self, sql: Connection, attributes: bool) -> None:
        self.sql = sql
        self.attributes = attributes
        self.events: list[PathEvent] = []
        self.holes: dict[int, int] = dict(sql.rows("SELECT sequence, collected FROM entry WHERE collected > 0"))
        """Where commits were collected: the entry that stands for them, and the first of them."""
        self.kept_as: tuple[InodeId, bytes] | None = None
        """Under which name packs keep what they keep of the file's history."""
        self._resolved: tuple[tuple[PathNames, int], Found | None] | None = None
        self._conflicts: dict[tuple[InodeId, bytes], dict[int, tuple[ConflictId, bool]]] = {}

    def back(self, path: PathNames, at: int) -> None:
        while at > 0:
            found = self._resolve(path, at)
            if found is None:
                seen = last_seen(self.sql, path, at)
                if seen is None or seen < 1:
                    return
                self._deleted(path, seen)
                at = seen
                continue
            if not path:
                return  # the root is there from the beginning
            now = self._while_it_meant(found, path, at)
            if now is not None:
                path = self._how_it_came(found, path, now)
            at = found.since - 1

    def _deleted(self, path: PathNames, seen: int) -> None:
        found = resolve(self.sql, path, seen)
        assert found is not None
        end = seen + 1
        last = self._record(found.inode, seen)
        if last is None:
            return
        now = names_of(self.sql, found.inode, end)
        now.sort(key=lambda it: it[2] != end)  # the name it got by this, rather than one it had
        other = path_in(self.sql, now[0][0], now[0][1], end) if now else None
        self.events.append(self._event("deleted", end, path, last, found, other=other))

    def _while_it_meant(self, found: Found, path: PathNames, at: int) -> _Raw | None:
        """Changes of the inode itself after it came to this path. Returns what it was when it came, with the place of
        its content according to the newest record of it: that place is there for longer."""
        rows = self.sql.rows(
            _RECORD + "AND sequence>? AND sequence<=? ORDER BY sequence", (found.inode, found.since, at)
        )
        before = self._record(found.inode, found.since)
        came = before
        events: list[PathEvent] = []
        begun = -1
        for raw in map(_raw, rows):
            if before is None or raw.state != before.state:
                kept, whole = self._kept(found, path, raw)
                events += kept
                begun = len(events)
                if not whole:
                    events.append(self._event("changed", raw.sequence, path, raw, found, content_changed=True))
                else:
                    begun -= 1
            else:
                if begun < 0 and came is not None:
                    came.content = raw.content
                elif begun >= 0:
                    events[begun] = replace(events[begun], content=raw.content)
                if self.attributes:
                    events.append(self._event("attributes", raw.sequence, path, raw, found))
            before = raw
        self.events += reversed(events)
        return came

    def _how_it_came(self, found: Found, path: PathNames, now: _Raw) -> PathNames:
        """The event at `found.since`; returns the path to go on with before it."""
        at = found.since
        before = self._resolve(path, at - 1)
        if before is not None:
            was = self._record(before.inode, at - 1)
            if was is None or was.state != now.state:
                kept, whole = self._kept(found, path, now)
                if not whole:
                    self.events.append(self._event("changed", at, path, now, found, content_changed=True))
                self.events += reversed(kept)
            elif self.attributes and (was.sequence != now.sequence or before.inode != found.inode):
                self.events.append(self._event("attributes", at, path, now, found))
            return path
        old = self._old_path(found, at - 1)
        if old is None:
            kept, whole = self._kept(found, path, now)
            if not whole:
                beginning = at in self.holes and not kept
                self.events.append(
                    self._event("created", at, path, now, found, content_changed=True, beginning=beginning)
                )
            if kept and self.holes[at] == 1:
                kept[0] = replace(kept[0], beginning=True)
            self.events += reversed(kept)
            return path
        was = self._record(found.inode, at - 1)
        kept, whole = self._kept(found, path, now)
        changed = not whole and (was is None or was.state != now.state)
        self.events.append(self._event("renamed", at, path, now, found, other=old, content_changed=changed))
        self.events += reversed(kept)
        return old

    def _kept(self, found: Found, path: PathNames, now: _Raw) -> tuple[list[PathEvent], bool]:
        """What packs keep of the commits that `now.sequence` stands for, oldest first; and whether the last of it is
        `now` itself."""
        if now.sequence not in self.holes:
            return [], False
        rows: list[Row] = []
        for place in dict.fromkeys(it for it in (self.kept_as, (found.parent, found.name)) if it is not None):
            rows = self.sql.rows(
                f"SELECT sequence, time_ns, author, at_parent, at_name, inode, mode, mtime_ns, {COLUMNS} FROM kept "
                "WHERE parent=? AND name=? AND sequence BETWEEN ? AND ? ORDER BY sequence",
                (*place, self.holes[now.sequence], now.sequence),
            )
            if rows:
                self.kept_as = place
                break
        events = [self._kept_event(row, path, now) for row in rows]
        return events, bool(events) and events[-1].digest == (now.content.digest if now.content else b"")

    def _kept_event(self, row: Row, path: PathNames, now: _Raw) -> PathEvent:
        sequence, time_ns, author, parent, name, inode, mode, mtime_ns = row[:8]
        content = of_columns(row[8:13])
        return PathEvent(
            version=None,
            sequence=sequence,
            what="changed",
            path=path_in(self.sql, parent, name, now.sequence) or path,
            other=None,
            inode=inode,
            kind=Kind.FILE,
            mode=mode,
            mtime_ns=mtime_ns,
            content=content,
            target=b"",
            content_changed=True,
            size_bytes=row[9],
            digest=row[8],
            time_ns=time_ns,
            author=author,
        )

    def _old_path(self, found: Found, at: int) -> PathNames | None:
        """Where the inode was at `at`, before it came to its path."""
        sql = self.sql
        names = names_of(sql, found.inode, at)
        if not names:
            return None
        for parent, name, _, _ in names:
            if (parent, name) == (found.parent, found.name):  # a directory above was moved
                return path_in(sql, parent, name, at)
        names.sort(key=lambda it: it[3] != at + 1)  # the name that it lost, rather than one that it kept
        return path_in(sql, names[0][0], names[0][1], at)

    # ---- rows ----

    def _resolve(self, path: PathNames, at: int) -> Found | None:
        """As `resolve`; what came before one event is asked for again as what is there after the next."""
        if self._resolved is None or self._resolved[0] != (path, at):
            self._resolved = ((path, at), resolve(self.sql, path, at))
        return self._resolved[1]

    def _record(self, inode: InodeId, at: int) -> _Raw | None:
        row = self.sql.one(_RECORD + "AND sequence<=? ORDER BY sequence DESC LIMIT 1", (inode, at))
        return None if row is None else _raw(row)

    def _event(
        self,
        what: What,
        sequence: int,
        path: PathNames,
        raw: _Raw,
        found: Found,
        *,
        other: PathNames | None = None,
        content_changed: bool = False,
        beginning: bool = False,
    ) -> PathEvent:
        conflict = self._conflict(sequence, found)
        if conflict is not None and what == "changed" and conflict[1]:
            what = "merged"
        return PathEvent(
            version=None,
            sequence=sequence,
            what=what,
            path=path,
            other=other,
            inode=found.inode,
            kind=raw.kind,
            mode=raw.mode,
            mtime_ns=raw.mtime_ns,
            content=raw.content,
            target=raw.target,
            conflict=conflict[0] if conflict is not None else None,
            beginning=beginning,
            content_changed=content_changed,
            size_bytes=raw.content.size_bytes if raw.content is not None else len(raw.target),
            digest=raw.content.digest if raw.content is not None else b"",
        )

    def _conflict(self, sequence: int, found: Found) -> tuple[ConflictId, bool] | None:
        """A conflict at this name that the entry settled, and whether its sides were put together there."""
        place = (found.parent, found.name)
        if place not in self._conflicts:
            rows = self.sql.rows(
                "SELECT c.sequence, c.place, length(c.kept_as)=0 AND EXISTS (SELECT 1 FROM side s "
                "WHERE s.sequence=c.sequence AND s.place=c.place) FROM conflict c WHERE c.parent=? AND c.name=? "
                "ORDER BY c.sequence, c.place DESC",
                place,
            )
            self._conflicts[place] = {row[0]: (ConflictId(row[0], row[1]), bool(row[2])) for row in rows}
        return self._conflicts[place].get(sequence)


def _raw(row: Row) -> _Raw:
    sequence, kind, mode, mtime_ns, rdev, target = row[:6]
    return _Raw(
        sequence=sequence,
        kind=Kind(kind),
        mode=mode,
        mtime_ns=mtime_ns,
        state=(kind, row[6], target, rdev),
        content=of_columns(row[6:11]),
        target=target or b"",
    )


def _signed(sql: Connection, events: Sequence[PathEvent]) -> Sequence[PathEvent]:
    """With the times and authors of their commits."""
    known: dict[int, tuple[int, str, str]] = {}
    for start in range(0, len(events), _VALUES_MAX):
        sequences = sorted({event.sequence for event in events[start : start + _VALUES_MAX]})
        rows = sql.rows(
            "SELECT sequence, time_ns, a.author, cause FROM entry JOIN author a ON a.id=entry.author "
            f"WHERE sequence IN ({','.join('?' * len(sequences))})",
            tuple(sequences),
        )
        known.update((row[0], row[1:]) for row in rows)
    return [
        replace(
            event,
            time_ns=known[event.sequence][0],
            author=known[event.sequence][1],
            cause=known[event.sequence][2],
        )
        if not event.time_ns and event.sequence in known
        else event
        for event in events
    ]


def _numbered(events: list[PathEvent]) -> list[PathEvent]:
    """With version numbers, and `restored` where bytes came back that an earlier version had."""
    found: list[PathEvent] = []
    seen: set[_State] = set()
    version = 0
    for event in events:
        what = event.what
        state: _State = (event.kind, event.digest, event.target)
        if event.content_changed:
            version += 1
            if what in ("changed", "created") and state in seen and event.kind is not Kind.DIRECTORY:
                what = "restored"
            seen.add(state)
        number = None if what == "deleted" else version
        found.append(replace(event, version=number, what=what))
    return found
