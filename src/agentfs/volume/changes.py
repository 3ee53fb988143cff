"""Words of the engine's desk: what became of a file, what changed lately at or below a path, and what met there, as
far as somebody may know of it.

Of a file that is there somebody may know who may read it; of what is gone or is no file, who may list where it was.
"""

import os
from collections.abc import Sequence
from dataclasses import replace

from agentfs.errors import InvalidArgument
from agentfs.history.changes import Change
from agentfs.history.names import PathNames
from agentfs.history.reader import CommitLine
from agentfs.history.rendering import conflicts_text, history_text
from agentfs.memory.access import Reader
from agentfs.memory.sources import Sources
from agentfs.model.records import Kind
from agentfs.replica.replica import ROOT, Replica
from agentfs.sync.engine import Engine
from agentfs.volume.history import (
    TEXT_CHARACTERS_MAX,
    Answer,
    HistoryService,
    Progress,
    commit_message,
    is_pending,
    names_of,
)
from agentfs.volume.messages import Message
from agentfs.volume.virtual_words import CHANGES, CONFLICTS, HISTORY

_COMMITS_MAX = 200
_PATHS_MAX = 100
"""Of one commit."""
_WAITING_MAX = 200
_WAITING = (
    "SELECT ino FROM inode WHERE pending!=0 AND local=0 UNION "
    "SELECT ino FROM dentry WHERE pending!=0 AND ino IS NOT NULL AND local=0 LIMIT 2000"
)


class ChangesAnswer:
    def __init__(self, replica: Replica, history: HistoryService) -> None:
        self._replica = replica
        self._history = history
        self._sources = Sources(replica)

    def close(self) -> None:
        self._sources.close()

    def answers(self) -> dict[str, Answer]:
        """By the word in `{"do": word}`."""
        return {CHANGES: self._changes, CONFLICTS: self._conflicts, HISTORY: self._history_of}

    def _history_of(self, engine: Engine, request: Message, progress: Progress) -> Message:
        """`path`, and who asks, as for `changes`. `text`: what `:history` says of a file. Where it came from and went
        to is said only to who may know of that place."""
        reader, behind = self._history.reader(engine, progress)
        path = names_of(request.get("path"))
        known = _Known(self._replica, reader_of(self._sources, request))
        events = [
            it if it.other is None or known.may_know(it.other) else replace(it, other=None)
            for it in reader.events(path)
        ]
        notes = []
        if behind:
            notes.append(f"The store cannot be reached: the last {behind} commits are not known here.")
        if is_pending(self._replica, path):
            notes.append("It has changed here since; that is not in the log yet.")
        return {"text": history_text(path, events, note=" ".join(notes))[:TEXT_CHARACTERS_MAX]}

    def _conflicts(self, engine: Engine, request: Message, progress: Progress) -> Message:
        """`path`, and who asks, as for `changes`. `text`: what `:conflicts` says."""
        reader, _ = self._history.reader(engine, progress)
        path = names_of(request.get("path"))
        known = _Known(self._replica, reader_of(self._sources, request))
        lines = [it for it in reader.conflicts(path) if known.may_know(it.path)]
        return {"text": conflicts_text(lines, path=path)[:TEXT_CHARACTERS_MAX]}

    def _changes(self, engine: Engine, request: Message, progress: Progress) -> Message:
        """`path`, `since_ns`; `uid`, `gids`, `owner` of who asks (no `uid`: everything may be known).

        `waiting`: paths that the store does not have yet as they are here; `commits`: newest first; `behind`."""
        reader, behind = self._history.reader(engine, progress)
        since_ns = request.get("since_ns")
        if not isinstance(since_ns, int):
            raise InvalidArgument("since_ns must be a number")
        path = names_of(request.get("path"))
        known = _Known(self._replica, reader_of(self._sources, request))
        lines, following = reader.commits(limit=_COMMITS_MAX, path=path, since_ns=since_ns, paths_max=_PATHS_MAX)
        commits = [line for line in map(known.part_of, lines) if line.changes]
        return {
            "waiting": [os.fsdecode(it) for it in self._waiting(path, known)],
            "commits": [commit_message(line) for line in commits],
            "more": following is not None and bool(lines),
            "behind": behind,
        }

    def _waiting(self, path: PathNames, known: "_Known") -> Sequence[bytes]:
        with self._replica.lock:
            inos = [ino for (ino,) in self._replica.connection.rows(_WAITING)]
        found: list[bytes] = []
        for ino in inos:
            at = self._replica.path_of(ino)
            if at and _is_below(tuple(at.split(b"/")), path) and known.may_know(tuple(at.split(b"/"))):
                found.append(at)
            if len(found) == _WAITING_MAX:
                break
        return sorted(found)


class _Known:
    """What somebody may know of. Remembers what it found: for one question."""

    def __init__(self, replica: Replica, reader: Reader | None) -> None:
        self._replica = replica
        self._reader = reader
        self._found: dict[PathNames, bool] = {}

    def part_of(self, line: CommitLine) -> CommitLine:
        """A commit without what may not be known."""
        if self._reader is None:
            return line
        return replace(line, changes=[change for change in line.changes if self._may_know_of(change)], counts={})

    def _may_know_of(self, change: Change) -> bool:
        return self.may_know(change.path) and (change.other is None or self.may_know(change.other))

    def may_know(self, path: PathNames) -> bool:
        if self._reader is None:
            return True
        found = self._found.get(path)
        if found is None:
            found = self._found[path] = self._looked(path, self._reader)
        return found

    def _looked(self, path: PathNames, reader: Reader) -> bool:
        directory = ROOT
        for name in path[:-1]:
            below = self._replica.child(directory, name)
            if below is None or below.kind is not Kind.DIRECTORY:
                return False
            directory = below.ino
        there = self._replica.child(directory, path[-1]) if path else None
        if there is not None and there.kind is Kind.FILE:
            return reader(there.ino)
        return reader.lists(directory)


def _is_below(path: PathNames, above: PathNames) -> bool:
    return path[: len(above)] == above


def reader_of(sources: Sources, request: Message) -> Reader | None:
    """Who asks, by `uid`, `gids` and `owner` of a request; None: somebody who may read
    everything. Raises
    `InvalidArgument`."""
    uid, gids, owner = request.get("uid"), request.get("gids") or [], request.get("owner")
    if uid is None:
        return None
    numbers = [uid, *gids, *(owner or ())] if isinstance(gids, list) and isinstance(owner, list | None) else [""]
    if not all(type(it) is int for it in numbers) or (owner is not None and len(owner) != 2):
        raise InvalidArgument("uid, gids and owner are numbers")
    if uid == 0:
        return None
    return Reader(sources, uid=uid, gids=frozenset(gids), owner=None if owner is None else (owner[0], owner[1]))
