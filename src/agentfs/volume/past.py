"""Words of the engine's desk for views of the past on a mount: one file, one directory, the root of a whole tree.

The bytes are asked for with `history-file`.
"""

import os
from collections.abc import Collection

from agentfs.errors import InvalidArgument, NotFound
from agentfs.history.names import PathNames, path_of, resolve
from agentfs.history.past import PastInode, children_after, inode_at, owner_of
from agentfs.history.trees import check_known
from agentfs.model.records import ROOT_ID, InodeId
from agentfs.replica.database import Connection
from agentfs.sync.engine import Engine
from agentfs.volume.history import PAGE_BYTES_MAX, Answer, HistoryService, Progress, moment_of, names_of
from agentfs.volume.messages import Message
from agentfs.volume.past_messages import PAST_DIRECTORY, PAST_FILE, PAST_TREE, past_message

_ROWS_MAX = 1000
_ROW_BYTES = 400


class PastAnswers:
    def __init__(self, history: HistoryService) -> None:
        self._history = history

    def answers(self) -> dict[str, Answer]:
        """By the word in `{"do": word}`."""
        return {PAST_FILE: self._file, PAST_TREE: self._tree, PAST_DIRECTORY: self._directory}

    def _file(self, engine: Engine, request: Message, progress: Progress) -> Message:
        """`path`, `moment`: what it was, and `sequence`. Raises `NotFound`, also for what was no file."""
        reader, _ = self._history.reader(engine, progress)
        path = names_of(request.get("path"))
        found = reader.at(path, moment_of(request.get("moment")))
        row = found.row
        if row.content is None:
            raise NotFound("that was no file then")
        head = reader.index.head()[0]
        with reader.index.reading() as sql:
            uid, gid = owner_of(sql, row.inode, found.sequence) or (0, 0)
            here = _above(sql, path, head)
            kept = _shared(sql, row.path, found.sequence, gid, here=here)
            last = _last_place(sql, row.inode, row.content.digest, found.sequence, head)
            kept |= _shared(sql, *last, gid, here=here) if last is not None else 0
        past = PastInode(
            row.inode,
            row.kind,
            row.mode & kept,
            uid,
            gid,
            row.mtime_ns,
            row.mtime_ns,
            row.mtime_ns,
            0,
            row.size_bytes,
            b"",
            1,
            row.xattrs or (),
        )
        return {"past": past_message(past), "sequence": found.sequence}

    def _tree(self, engine: Engine, request: Message, progress: Progress) -> Message:
        """`moment`: the root then, and `sequence`."""
        reader, _ = self._history.reader(engine, progress)
        sequence = reader.sequence_of(moment_of(request.get("moment")))
        with reader.index.reading() as sql:
            root = inode_at(sql, ROOT_ID, sequence)
        assert root is not None
        return {"past": past_message(root), "sequence": sequence}

    def _directory(self, engine: Engine, request: Message, progress: Progress) -> Message:
        """`inode`, `sequence`, `after` (a name, "" for the first page): `rows` of a name and what it was; `more`."""
        reader, _ = self._history.reader(engine, progress)
        inode, sequence, after = request.get("inode"), request.get("sequence"), request.get("after")
        if not (isinstance(inode, int) and isinstance(sequence, int) and isinstance(after, str)):
            raise InvalidArgument("a directory of the past has a number and a sequence")
        rows: list[list[object]] = []
        size = 0
        with reader.index.reading() as sql:
            check_known(sql, sequence)
            for name, past in children_after(sql, inode, sequence, os.fsencode(after), _ROWS_MAX):
                rows.append([os.fsdecode(name), past_message(past)])
                size += _ROW_BYTES + 6 * len(name) + sum(2 * len(value) for _, value in past.xattrs)
                if size > PAGE_BYTES_MAX:
                    return {"rows": rows, "more": True}
        return {"rows": rows, "more": len(rows) == _ROWS_MAX}


def _last_place(
    sql: Connection, inode: InodeId, digest: bytes, sequence: int, head: int
) -> tuple[PathNames, int] | None:
    """A path of a file when it last had what it had at `sequence`, and when; None: it had gone by then."""
    row = sql.one(
        "SELECT min(sequence) FROM record WHERE inode=? AND sequence>? AND digest IS NOT ?", (inode, sequence, digest)
    )
    last = head if row is None or row[0] is None else int(row[0]) - 1
    path = path_of(sql, inode, last)
    return None if path is None else (path, last)


def _above(sql: Connection, path: PathNames, sequence: int) -> list[InodeId]:
    """The directories that lead to a path right after a commit, as far as they were there."""
    found = (resolve(sql, path[:length], sequence) for length in range(1, len(path)))
    return [it.inode for it in found if it is not None]


def _shared(sql: Connection, path: PathNames, sequence: int, gid: int, *, here: Collection[InodeId]) -> int:
    """What may stay of the mode of a file that was at `path` then: who could not walk to it cannot read it now, at
    another place. Of the directories in `here` the kernel asks."""
    kept = 0o7777
    for directory in _above(sql, path, sequence):
        past = None if directory in here else inode_at(sql, directory, sequence)
        if past is not None:
            group = 0o010 if past.gid == gid else 0o001
            kept &= (0o7777 if past.mode & group else ~0o070) & (0o7777 if past.mode & 0o001 else ~0o007)
    return kept
