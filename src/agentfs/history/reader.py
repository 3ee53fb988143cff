"""Questions about a volume's history, answered from the index, which is brought to the replica's head first.

While the store cannot be reached, what the index knows is answered, and `behind` says how many commits are missing.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from agentfs.errors import (
    InvalidArgument,
    NotFound,
    StoreError,
    Unavailable,
    VersionGone,
)
from agentfs.format.snapshot_rows import SnapshotRows
from agentfs.history.catching_up import Progress, catch_up
from agentfs.history.changes import Change, ChangeWhat, CommitChanges, sequences_of, within
from agentfs.history.conflicts import ConflictLine, SideName, conflict_lines, pending_conflicts, side_content
from agentfs.history.events import PathEvent, path_events
from agentfs.history.index import HistoryIndex
from agentfs.history.moments import Moment
from agentfs.history.names import PathNames
from agentfs.history.past import Xattrs, xattrs_of
from agentfs.history.places import COLUMNS, of_columns
from agentfs.history.rendering import path_text
from agentfs.history.trees import TreeRow, below_at, check_known, children_at, row_at, tree_rows
from agentfs.log.contents import Contents
from agentfs.log.log import Log
from agentfs.model.records import ConflictId, Content, InodeId, Kind
from agentfs.replica.database import Connection, Row
from agentfs.replica.replica import Replica
from agentfs.replica.resolutions import read_resolved

PATHS_MAX = 100_000
"""Of a commit that touched more, the paths beyond are not looked for when a log is filtered by path."""

SnapshotNames = Callable[[str], int | None]
"""The sequence that a named snapshot stands for; None when there is none of that name."""


@dataclass(frozen=True, slots=True)
class CommitLine:
    """One entry of the log."""

    sequence: int
    time_ns: int
    author: str
    replica: str
    cause: str
    """What made it, where no agent did; empty for all others."""
    digest: bytes
    counts: dict[ChangeWhat, int]
    """How many files and directories, by what happened to them; with a filter by path, those at or below it."""
    changes: Sequence[Change]
    """Some of them."""
    conflicts: int
    resolved: int
    collected: int
    """Not 0: the commits from this one on up to `sequence` were collected, and are told as one."""


@dataclass(frozen=True, slots=True)
class At:
    """What a path was at a moment."""

    row: TreeRow
    sequence: int
    version: int | None
    """None for the root."""


class HistoryReader:
    """Safe from any thread."""

    def __init__(
        self,
        index: HistoryIndex,
        log: Log,
        replica: Replica,
        contents: Contents,
        *,
        author: str,
        snapshot_names: SnapshotNames | None = None,
    ) -> None:
        self.index = index
        self._log = log
        self._replica = replica
        self._contents = contents
        self._author = author
        self._snapshot_names = snapshot_names or (lambda _name: None)
        self._listed: tuple[tuple[PathNames, int, bool], list[TreeRow]] | None = None
        self._events: tuple[tuple[PathNames, int, bool], Sequence[PathEvent]] | None = None

    def catch_up(self, progress: Progress | None = None) -> int:
        """Bring the index to the replica's head. Returns how many commits are missing because the store cannot be
        reached. Raises `Unavailable` when nothing at all is known then, and what `catching_up.catch_up` raises."""
        head = self._head()
        try:
            catch_up(self.index, self._log, head, contents=self._contents, progress=progress)
        except StoreError as error:
            known = self.index.head()[0]
            if not known and head[0]:
                raise Unavailable(
                    f"the history is not on this machine, and cannot be fetched now: {error}"
                ) from error
            return max(0, head[0] - known)
        return 0

    def _head(self) -> tuple[int, bytes]:
        with self._replica.lock:
            state: dict[str, Any] = dict(
                self._replica.connection.rows(
                    "SELECT key, value FROM state WHERE key IN ('head_sequence','head_digest')"
                )
            )
        return int(state["head_sequence"]), bytes(state["head_digest"])

    @contextmanager
    def _reading(self) -> Iterator[tuple[Connection, int]]:
        """The index and its head; what the replica does not have yet is not told."""
        head = self._head()[0]
        with self.index.reading() as sql:
            row = sql.one("SELECT max(sequence) FROM entry WHERE sequence<=?", (head,))
            yield sql, (row[0] or 0) if row else 0

    # ---- a path ----

    def events(self, path: PathNames, *, attributes: bool = False) -> Sequence[PathEvent]:
        """The history of a path, oldest first. Raises `NotFound` when it has none."""
        with self._reading() as (sql, head):
            events = self._path_events(sql, path, head, attributes)
        if not events and path:
            raise NotFound(f"{path_text(path)} has no history: nothing of it is in the log")
        return events

    def _path_events(self, sql: Connection, path: PathNames, head: int, attributes: bool) -> Sequence[PathEvent]:
        key = (path, head, attributes)
        if self._events is None or self._events[0] != key:  # a long history is asked for in pages
            self._events = (key, path_events(sql, path, head, attributes=attributes))
        return self._events[1]

    def at(self, path: PathNames, moment: Moment) -> At:
        """What `path` was at `moment`: renames are followed back, so it may have had another name.

        Raises `NotFound` (it did not exist then, or has no such version), `VersionGone` (that was collected),
        `InvalidArgument` (there is no such moment).
        """
        with self._reading() as (sql, head):
            if moment.kind == "version":
                return self._version(sql, path, moment.number, head)
            sequence = self._sequence(sql, moment, head)
            check_known(sql, sequence)
            if not path:
                row = row_at(sql, path, sequence)
                assert row is not None
                return At(row, sequence, None)
            event = self._event_at(sql, path, sequence, head)
            found = row_at(sql, event.path, sequence)
            if found is None:
                raise NotFound(f"{path_text(path)} was not there right after commit {sequence}")
            return At(found, sequence, event.version)

    def _event_at(self, sql: Connection, path: PathNames, sequence: int, head: int) -> PathEvent:
        events = self._path_events(sql, path, head, False)
        before = [event for event in events if event.sequence <= sequence]
        if before and before[-1].what != "deleted":
            return before[-1]
        if not events:
            raise NotFound(f"{path_text(path)} has no history: nothing of it is in the log")
        if not before and events[0].beginning:
            raise VersionGone(
                f"what {path_text(path)} was right after commit {sequence} is gone: commits up to "
                f"{events[0].sequence} were collected"
            )
        since = f"it was deleted by commit {before[-1].sequence}" if before else f"it came with {events[0].sequence}"
        raise NotFound(f"{path_text(path)} was not there right after commit {sequence}: {since}")

    def _version(self, sql: Connection, path: PathNames, number: int, head: int) -> At:
        events = self._path_events(sql, path, head, True)
        for place, event in enumerate(events):
            if event.version == number and event.content_changed:
                mode, xattrs = _last_attributes(sql, events[place:], head)
                row = TreeRow(
                    event.path, event.inode, event.kind, mode, event.mtime_ns, event.content, event.target,
                    event.size_bytes, xattrs,
                )  # fmt: skip
                return At(row, event.sequence, number)
        last = max((event.version or 0 for event in events), default=0)
        if not last:
            raise NotFound(f"{path_text(path)} has no history: nothing of it is in the log")
        raise NotFound(f"{path_text(path)} has no version {number}: there are 1 to {last}")

    # ---- moments ----

    def sequence_of(self, moment: Moment) -> int:
        """The entry right after which it was `moment`. Raises as `at`; `InvalidArgument` for a version."""
        with self._reading() as (sql, head):
            sequence = self._sequence(sql, moment, head)
            check_known(sql, sequence)
        return sequence

    def _sequence(self, sql: Connection, moment: Moment, head: int) -> int:
        if moment.kind == "now":
            return head
        if moment.kind == "sequence":
            if moment.number > head:
                raise InvalidArgument(f"there is no commit {moment.number}: the newest is {head}")
            return moment.number
        if moment.kind == "time":
            return _at_time(sql, moment, head)
        if moment.kind == "version":
            raise InvalidArgument(f"{moment.text} is a version of a file: give a sequence (@1234) or a time")
        sequence = self._snapshot_names(moment.text)
        if sequence is None:
            raise InvalidArgument(
                f"{moment.text!r} is no moment: give a version (v3), a sequence (@1234), a time (2026-11-21T10:00, "
                "2h, yesterday) or the name of a snapshot"
            )
        return sequence

    # ---- trees ----

    def tree_at(self, sequence: int) -> SnapshotRows:
        """The whole tree right after `sequence`, without the locks that were held: an empty replica can be filled
        with it (`replica.bulk.load_snapshot`). 100,000 files take about a second."""
        with self._reading() as (sql, _):
            return tree_rows(sql, sequence, self._log.volume)

    def listing(self, path: PathNames, moment: Moment, *, recursive: bool = False) -> tuple[At, list[TreeRow]]:
        """What was in the directory `path` at `moment`; for a file, itself. Raises as `at`."""
        found = self.at(path, moment)
        if found.row.kind is not Kind.DIRECTORY:
            return found, [found.row]
        key = (path, found.sequence, recursive)
        held = self._listed
        if held is None or held[0] != key:  # a large one is asked for in pages
            look = below_at if recursive else children_at
            with self.index.reading() as sql:
                held = (key, list(look(sql, found.row.path, found.row.inode, found.sequence)))
            self._listed = held
        return found, held[1]

    def forget_listing(self) -> None:
        """The last page of it was given."""
        self._listed = None

    def content(self, inode: InodeId, sequence: int) -> Content | None:
        """What the bytes of an inode were right after `sequence`."""
        with self.index.reading() as sql:
            row = sql.one(f"SELECT {COLUMNS} FROM kept WHERE inode=? AND sequence=?", (inode, sequence)) or sql.one(
                f"SELECT {COLUMNS} FROM record WHERE inode=? AND sequence<=? ORDER BY sequence DESC LIMIT 1",
                (inode, sequence),
            )
        return None if row is None else of_columns(row[:5])

    # ---- the log ----

    def commits(
        self,
        *,
        before: int | None = None,
        limit: int = 100,
        path: PathNames = (),
        since_ns: int | None = None,
        author: str | None = None,
        paths_max: int = 3,
    ) -> tuple[list[CommitLine], int | None]:
        """Entries of the log, newest first, and where to go on (`before`); None: there are no more."""
        found: list[CommitLine] = []
        with self._reading() as (sql, head):
            top = head + 1 if before is None else before
            sequences, paths = sequences_of(sql, path, head) if path else (None, frozenset[PathNames]())
            looked = iter([it for it in sequences if it < top]) if sequences is not None else None
            while len(found) < limit:
                at = next(looked, None) if looked is not None else top - 1
                if at is None:
                    return found, None
                row = sql.one(_ENTRY, (at,))
                if row is None or (since_ns is not None and row[1] < since_ns):
                    return found, None
                top = row[0]
                if author is None or row[2] == author:
                    line = _commit_line(sql, row, paths if path else None, paths_max)
                    if line is not None:
                        found.append(line)
        return found, top

    # ---- conflicts ----

    def conflicts(self, path: PathNames = (), *, resolved: bool = False) -> list[ConflictLine]:
        """What met at or below `path`, newest first: what no commit has reported yet, then those of the log. With
        `resolved` also what is settled."""
        pending = [line for line in pending_conflicts(self._replica, self._author) if line.path[: len(path)] == path]
        with self._replica.lock:
            settled = {f"{it.sequence}.{it.index}" for it in read_resolved(self._replica.connection)}
        with self._reading() as (sql, _):
            found = list(conflict_lines(sql, resolved=resolved, path=path))
        marked = [
            replace(line, resolved=0) if line.id in settled and line.resolved is None else line for line in found
        ]
        return pending + [line for line in marked if resolved or line.resolved is None]

    def conflict(self, conflict: ConflictId) -> ConflictLine:
        """One of the log. Raises `NotFound`."""
        name = f"{conflict.sequence}.{conflict.index}"
        found = next((line for line in self.conflicts(resolved=True) if line.id == name), None)
        if found is None:
            raise NotFound(f"there is no conflict {name}: see agentfs conflicts --all")
        return found

    def side(self, conflict: ConflictId, side: SideName) -> Content:
        """What a side was. Raises `NotFound` when it has no bytes."""
        with self._reading() as (sql, _):
            content = side_content(sql, conflict, side)
        if content is None:
            raise NotFound(f"conflict {conflict.sequence}.{conflict.index} has no side {side!r}")
        return content


_ENTRY = (
    "SELECT sequence, time_ns, a.author, a.replica, digest, collected, cause "
    "FROM entry JOIN author a ON a.id=entry.author "
    "WHERE sequence<=? ORDER BY sequence DESC LIMIT 1"
)


def _commit_line(sql: Connection, row: Row, paths: frozenset[PathNames] | None, paths_max: int) -> CommitLine | None:
    """None when the entry changed nothing at or below `paths`."""
    sequence, time_ns, author, replica, digest, collected, cause = row
    changes: Sequence[Change] = ()
    counts: dict[ChangeWhat, int] = {}
    if not collected:
        found = CommitChanges(sql, sequence)
        if paths is None:
            counts, changes = found.counts(), found.first(paths_max)
        else:
            inside = within(found.first(PATHS_MAX), paths)
            if not inside:
                return None
            for change in inside:
                counts[change.what] = counts.get(change.what, 0) + 1
            changes = inside[:paths_max]
    conflicts = sql.one("SELECT count(*) FROM conflict WHERE sequence=?", (sequence,))
    resolved = sql.one("SELECT count(*) FROM conflict WHERE resolved=?", (sequence,))
    return CommitLine(
        sequence=sequence,
        time_ns=time_ns,
        author=author,
        replica=replica,
        cause=cause,
        digest=digest,
        counts=counts,
        changes=changes,
        conflicts=conflicts[0] if conflicts else 0,
        resolved=resolved[0] if resolved else 0,
        collected=collected,
    )


def _last_attributes(sql: Connection, events: Sequence[PathEvent], head: int) -> tuple[int, Xattrs | None]:
    """The mode and extended attributes that a version, which began with the first of `events`, had last: they are
    often set after the bytes were written. None for the latter where its last commits were collected: packs keep
    none."""
    began = last = events[0]
    end = head
    for event in events[1:]:
        if event.content_changed or event.what == "deleted":
            end = event.sequence - 1
            break
        last = event
    row = sql.one(
        "SELECT sequence, mode, digest FROM record WHERE inode=? AND sequence<=? ORDER BY sequence DESC LIMIT 1",
        (last.inode, end),
    )
    gone = sql.one("SELECT 1 FROM entry WHERE collected>0 AND collected<=?1 AND sequence>?1", (end,)) is not None
    if gone or row is None or (row[2] or b"") != began.digest:
        return began.mode, None
    return row[1], xattrs_of(sql, last.inode, row[0])


def _at_time(sql: Connection, moment: Moment, head: int) -> int:
    row = sql.one(
        "SELECT sequence FROM entry WHERE time_ns<=? AND sequence<=? ORDER BY sequence DESC LIMIT 1",
        (moment.number, head),
    )
    found = row[0] if row is not None else 0
    following = sql.one("SELECT sequence, collected FROM entry WHERE sequence>? ORDER BY sequence LIMIT 1", (found,))
    if following is not None and 0 < following[1] < following[0]:
        raise VersionGone(
            f"{moment.text}: what was then is gone: commits {following[1]} to {following[0] - 1} were collected"
        )
    if not found:
        raise NotFound(f"{moment.text} is before the first commit")
    return int(found)
