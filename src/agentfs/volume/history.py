"""Words of the engine's desk for the history: questions of other processes of this machine, and their answers.

An answer is one line of JSON, so lists come in pages, and bytes of versions as the path of a file in the replica's
directory (`history.versions`): whoever asked opens it at once, and asks again should it be gone by then. Paths are
text as Python shows file names (`os.fsdecode`).
"""

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, cast

from agentfs.errors import InvalidArgument, NotFound
from agentfs.format.snapshot import encode_snapshot_rows
from agentfs.history.catching_up import catch_up
from agentfs.history.conflicts import SIDES, ConflictLine, SideName
from agentfs.history.events import PathEvent
from agentfs.history.index import HistoryIndex
from agentfs.history.moments import Moment, MomentKind
from agentfs.history.names import PathNames
from agentfs.history.reader import At, CommitLine, HistoryReader, SnapshotNames
from agentfs.history.trees import TreeRow
from agentfs.history.versions import Versions
from agentfs.log.contents import Contents
from agentfs.model.records import Commit, ConflictId
from agentfs.replica.replica import Replica
from agentfs.replica.resolutions import mark_resolved
from agentfs.replica.transaction import PENDING_CONTENT, ROOT
from agentfs.sync.engine import Engine
from agentfs.sync.ground import EngineGround
from agentfs.volume.messages import Message
from agentfs.volume.past_messages import xattrs_message

_T = TypeVar("_T")
Progress = Callable[[Message], None]
Answer = Callable[[Engine, Message, Progress], Message]

PAGE_BYTES_MAX = 512 * 1024
"""Of the rows of one answer, about: a line may have twice as many."""
TEXT_CHARACTERS_MAX = 150_000
"""Of a text for reading: each may take six bytes in JSON."""
_ROW_BYTES = 400
"""What a row takes beside its paths."""
_CATCH_UP_MAX = 4096
"""A gap of more commits waits until somebody asks for the history."""
_CATCH_UP_STEP = 64
"""Entries read in one quiet moment."""
_MOMENTS = ("version", "sequence", "time", "snapshot", "now")


class HistoryService:
    """The history of one engine's volume."""

    def __init__(self, replica: Replica, *, author: str, snapshot_names: SnapshotNames | None = None) -> None:
        self._replica = replica
        self._author = author
        self._snapshot_names = snapshot_names
        self.index = HistoryIndex(replica.directory)
        self._made: tuple[EngineGround, HistoryReader, Versions] | None = None

    # ---- beside the engine's work ----

    def observe(self, commit: Commit, digest: bytes) -> None:
        """Every commit, right after it became the head. One that does not follow what is indexed is left for
        `catch_up`."""
        if commit.sequence == 1 or (self.index.exists and self.index.head()[0] == commit.sequence - 1):
            self.index.add([(commit, digest)])

    def chore(self, ground: EngineGround) -> None:
        """Close a small gap that a crash or a jump left in an index that is in use."""
        if not self.index.exists:
            return
        head = int(self._replica.state("head_sequence"))
        known = self.index.head()[0]
        if 0 < known < head <= known + _CATCH_UP_MAX:
            digest = bytes(self._replica.state("head_digest"))
            catch_up(
                self.index,
                ground.log,
                (head, digest),
                contents=Contents(ground.store, ground.log),
                entries_max=_CATCH_UP_STEP,
            )

    def step(self, engine: Engine, entries_max: int) -> bool:
        """Bring the index a little nearer to the replica's head, from nothing if need be. Returns whether it is
        there. Raises `StoreError`, `FormatError`, `NoSpace`."""
        ground = engine.ground
        head = int(self._replica.state("head_sequence")), bytes(self._replica.state("head_digest"))
        contents = Contents(ground.store, ground.log)
        return catch_up(self.index, ground.log, head, contents=contents, entries_max=entries_max)

    def reader(self, engine: Engine, progress: Progress | None = None) -> tuple[HistoryReader, int]:
        """A reader that has caught up, and how many commits it lacks while the store is away."""
        reader = self._parts(engine)[1]

        def say(done: int, end: int) -> None:
            if progress is not None:
                progress({"entries": done, "of": end})

        return reader, reader.catch_up(say)

    def versions(self, engine: Engine) -> Versions:
        return self._parts(engine)[2]

    def _parts(self, engine: Engine) -> tuple[EngineGround, HistoryReader, Versions]:
        ground = engine.ground
        if self._made is None or self._made[0] is not ground:
            contents = Contents(ground.store, ground.log)
            reader = HistoryReader(
                self.index,
                ground.log,
                self._replica,
                contents,
                author=self._author,
                snapshot_names=self._snapshot_names,
            )
            self._made = (ground, reader, Versions(self._replica, ground.log, contents))
        return self._made

    def close(self) -> None:
        self.index.close()

    # ---- words ----

    def answers(self) -> dict[str, Answer]:
        """By the word in `{"do": word}`."""
        return {
            "history": self._history,
            "history-at": self._at,
            "history-list": self._list,
            "history-file": self._file,
            "history-tree": self._tree,
            "history-log": self._log,
            "conflicts": self._conflicts,
            "conflict-side": self._side,
            "resolve": self._resolve,
        }

    def _history(self, engine: Engine, request: Message, progress: Progress) -> Message:
        """`path`, `attributes`, `skip`: events, newest first, from the `skip`-th on; `more`: there are older ones."""
        reader, behind = self.reader(engine, progress)
        path, skip = names_of(request.get("path")), _number(request, "skip", 0)
        changed = is_pending(self._replica, path)
        try:
            events = reader.events(path, attributes=bool(request.get("attributes")))
        except NotFound:
            if not changed:
                raise
            events = []
        newest = list(reversed(events))[skip:]
        page = _page(newest, event_message)
        more = len(page) < len(newest)
        return {"events": page, "more": more, "behind": behind, "pending": changed}

    def _at(self, engine: Engine, request: Message, progress: Progress) -> Message:
        """`path`, `moment`, `bytes`: what it was; with `bytes` also a `file` that has its content."""
        reader, behind = self.reader(engine, progress)
        found = reader.at(names_of(request.get("path")), moment_of(request.get("moment")))
        answer = at_message(found) | {"behind": behind}
        if request.get("bytes") and found.row.content is not None:
            answer["file"] = self.versions(engine).file(found.row.content)
        return answer

    def _list(self, engine: Engine, request: Message, progress: Progress) -> Message:
        """`path`, `moment`, `recursive`, `skip`: what was in a directory. `sequence` tells the moment: give it for
        the pages that follow."""
        reader, behind = self.reader(engine, progress)
        found, rows = reader.listing(
            names_of(request.get("path")), moment_of(request.get("moment")), recursive=bool(request.get("recursive"))
        )
        rows = rows[_number(request, "skip", 0) :]
        page = _page(rows, row_message)
        more = len(page) < len(rows)
        if not more:
            reader.forget_listing()
        return {"top": at_message(found), "rows": page, "more": more, "sequence": found.sequence, "behind": behind}

    def _file(self, engine: Engine, request: Message, _progress: Progress) -> Message:
        """`inode`, `sequence` (as `history-list` gives them): a `file` with its content."""
        reader = self._parts(engine)[1]
        content = reader.content(_number(request, "inode"), _number(request, "sequence"))
        if content is None:
            raise NotFound("that is no file")
        return {"file": self.versions(engine).file(content)}

    def _tree(self, engine: Engine, request: Message, progress: Progress) -> Message:
        """`moment`: a `file` that holds the whole tree then, as a snapshot (`format.snapshot`)."""
        reader, behind = self.reader(engine, progress)
        sequence = reader.sequence_of(moment_of(request.get("moment")))
        data = encode_snapshot_rows(reader.tree_at(sequence))
        return {"file": self.versions(engine).keep(data), "sequence": sequence, "behind": behind}

    def _log(self, engine: Engine, request: Message, progress: Progress) -> Message:
        """`before`, `limit`, `path`, `since_ns`, `author`, `paths`: commits, newest first; `next`: go on with it as
        `before`, null at the end."""
        reader, behind = self.reader(engine, progress)
        lines, following = reader.commits(
            before=request.get("before"),
            limit=min(_number(request, "limit", 100), 500),
            path=names_of(request.get("path")),
            since_ns=request.get("since_ns"),
            author=request.get("author"),
            paths_max=min(_number(request, "paths", 3), 2000),
        )
        page = _page(lines, lambda line: _shortened(commit_message(line)))
        if len(page) < len(lines):
            following = page[-1]["sequence"]
        return {"commits": page, "next": following, "behind": behind}

    def _conflicts(self, engine: Engine, request: Message, progress: Progress) -> Message:
        """`path`, `all`, `skip`: conflicts, newest first."""
        reader, behind = self.reader(engine, progress)
        lines = reader.conflicts(names_of(request.get("path")), resolved=bool(request.get("all")))
        lines = lines[_number(request, "skip", 0) :]
        page = _page(lines, conflict_message)
        return {"conflicts": page, "more": len(page) < len(lines), "behind": behind}

    def _side(self, engine: Engine, request: Message, progress: Progress) -> Message:
        """`id`, `side`: a `file` with the bytes of that side."""
        reader, _ = self.reader(engine, progress)
        conflict, side = conflict_of(request.get("id")), request.get("side")
        if side not in SIDES:
            raise InvalidArgument(f"a conflict's sides are {', '.join(SIDES)}")
        content = reader.side(conflict, cast(SideName, side))
        return {"file": self.versions(engine).file(content), "size_bytes": content.size_bytes}

    def _resolve(self, engine: Engine, request: Message, progress: Progress) -> Message:
        """`ids`: say with the next commit that these are resolved. On return it survives `kill -9`."""
        reader, _ = self.reader(engine, progress)
        wanted = [conflict_of(it) for it in request.get("ids") or ()]
        known = [(conflict, reader.conflict(conflict)) for conflict in wanted]
        mark_resolved(self._replica, (conflict for conflict, line in known if line.resolved is None))
        engine.wake()
        return {"resolved": [line.id for _, line in known]}


# ---- messages ----


def names_of(path: object) -> PathNames:
    """The names of a path in a request."""
    if not isinstance(path, str):
        raise InvalidArgument("a path is needed")
    return tuple(part for part in os.fsencode(path).split(b"/") if part)


def moment_of(message: object) -> Moment:
    """The reverse of `past_messages.moment_message`. Raises `InvalidArgument`."""
    fields = message if isinstance(message, Mapping) else {}
    kind, number, text = fields.get("kind"), fields.get("number"), fields.get("text")
    if kind not in _MOMENTS or not isinstance(number, int) or not isinstance(text, str):
        raise InvalidArgument("a moment is needed")
    return Moment(cast(MomentKind, kind), number, text)


def conflict_of(text: object) -> ConflictId:
    """`sequence.place`. Raises `InvalidArgument`."""
    sequence, _, place = str(text).partition(".")
    if not (sequence.isdigit() and place.isdigit() and len(sequence) < 16 and len(place) < 10):
        raise InvalidArgument(f"{text} is not the id of a conflict: agentfs conflicts shows them, such as 345.0")
    return ConflictId(int(sequence), int(place))


def event_message(event: PathEvent) -> Message:
    return {
        "version": event.version,
        "sequence": event.sequence,
        "time_ns": event.time_ns,
        "author": event.author,
        "cause": event.cause,
        "what": event.what,
        "path": _text(event.path),
        "other": None if event.other is None else _text(event.other),
        "kind": event.kind.name.lower(),
        "mode": event.mode,
        "size_bytes": event.size_bytes,
        "digest": event.digest.hex(),
        "conflict": None if event.conflict is None else f"{event.conflict.sequence}.{event.conflict.index}",
        "content_changed": event.content_changed,
        "beginning": event.beginning,
    }


def row_message(row: TreeRow) -> Message:
    return {
        "path": _text(row.path),
        "inode": row.inode,
        "kind": row.kind.name.lower(),
        "mode": row.mode,
        "mtime_ns": row.mtime_ns,
        "size_bytes": row.size_bytes,
        "digest": row.content.digest.hex() if row.content is not None else "",
        "target": os.fsdecode(row.target),
        "xattrs": None if row.xattrs is None else xattrs_message(row.xattrs),
    }


def at_message(found: At) -> Message:
    return row_message(found.row) | {"sequence": found.sequence, "version": found.version}


def commit_message(line: CommitLine) -> Message:
    return {
        "sequence": line.sequence,
        "time_ns": line.time_ns,
        "author": line.author,
        "replica": line.replica,
        "cause": line.cause,
        "digest": line.digest.hex(),
        "counts": dict(line.counts),
        "changes": [
            {
                "what": it.what,
                "path": _text(it.path),
                "other": None if it.other is None else _text(it.other),
                "kind": it.kind.name.lower(),
                "size_bytes": it.size_bytes,
            }
            for it in line.changes
        ],
        "conflicts": line.conflicts,
        "resolved": line.resolved,
        "collected": line.collected,
    }


def conflict_message(line: ConflictLine) -> Message:
    return {
        "id": line.id,
        "kind": line.kind,
        "path": _text(line.path),
        "copy": None if line.copy is None else _text(line.copy),
        "detail": line.detail,
        "sequence": line.sequence,
        "time_ns": line.time_ns,
        "earlier_author": line.earlier_author,
        "later_author": line.later_author,
        "met": line.met,
        "resolved": line.resolved,
        "sides": list(line.sides),
    }


def _text(path: PathNames) -> str:
    return os.fsdecode(b"/".join(path))


def _shortened(commit: Message) -> Message:
    """With as many of its changes as fit half a page."""
    size = 0
    for at, change in enumerate(commit["changes"]):
        size += _size(change) + _ROW_BYTES // 4
        if size > PAGE_BYTES_MAX // 2:
            commit["changes"] = commit["changes"][:at]
            break
    return commit


def _page(rows: Iterable[_T], message: Callable[[_T], Message]) -> list[Message]:
    """As many rows as fit one answer; at least one."""
    page: list[Message] = []
    size = 0
    for row in rows:
        found = message(row)
        size += _ROW_BYTES + _size(found)
        if page and size > PAGE_BYTES_MAX:
            break
        page.append(found)
    return page


def _size(value: Any) -> int:
    """About what a value's texts take in JSON, where a character may be six."""
    if isinstance(value, str):
        return len(value) if value.isascii() else 6 * len(value)
    if isinstance(value, Mapping):
        return sum(_size(it) + 24 for it in value.values())
    if isinstance(value, list):
        return sum(map(_size, value))
    return 8


def _number(request: Message, name: str, default: int | None = None) -> int:
    value = request.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise InvalidArgument(f"{name} must be a number")
    return value


def is_pending(replica: Replica, path: PathNames) -> bool:
    """Whether what `path` shows here differs from the log: it is new, its bytes changed, or it was renamed."""
    ino = ROOT
    with replica.lock:
        for name in path:
            row = replica.connection.one("SELECT ino, pending FROM dentry WHERE parent=? AND name=?", (ino, name))
            if row is None:
                return False
            if row[1]:
                return True
            if row[0] is None:
                return False
            ino = row[0]
        row = replica.connection.one("SELECT pending FROM inode WHERE ino=?", (ino,))
    return row is not None and bool(row[0] & PENDING_CONTENT)
