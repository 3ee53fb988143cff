"""Steps of lifecycle rules as a commit, for the place in the log right after this replica's head.

Such a commit is put like another machine's: it never goes through what is pending here. It is legal only if the log
is still where this replica is; whoever else commits first wins the place, and everything is looked at again. So no
machine needs to know what others are doing, and a step is done once however many want to do it.

How it could lose data, and what prevents it:

- *A file changed since it was looked at.* Its `change` is compared in the transaction that the commit is made in, and
  the log's entry before is named in the commit: there is no time between.
- *It changes here right after.* That change is pending, and meets the deletion as another machine's would: edits win.
- *A crash.* The commit is one put. It stands, and every machine applies it, or it does not.
"""

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from agentfs.clock import hybrid_time_ns
from agentfs.format.commit import EncodedCommit, encode_commit
from agentfs.model.records import (
    NAME_BYTES_MAX,
    ROOT_ID,
    Commit,
    InodeId,
    InodeRecord,
    Kind,
    Link,
    Unlink,
    inode_id,
)
from agentfs.replica.bulk import reading
from agentfs.replica.database import Connection
from agentfs.replica.replica import Replica
from agentfs.replica.transaction import ROOT
from agentfs.retention.lifecycle import Directory, Step, still_stands

AUTHOR = "lifecycle"
"""Of every commit that a rule made."""
_NAMES_MAX = 10_000
_CAUSE_CHARACTERS_MAX = 300


@dataclass(frozen=True, slots=True)
class Drafted:
    """A commit, and what it does."""

    encoded: EncodedCommit
    steps: tuple[Step, ...]


@dataclass(slots=True)
class _Place:
    """A directory of the archive: one that is there, or one that the commit makes."""

    id: InodeId
    ino: int | None
    taken: set[bytes] = field(default_factory=set)
    """Names that the commit gives in it."""


class _Blocked(Exception):
    """The archive cannot be made or entered now."""


def drafted(
    replica: Replica, steps: Sequence[Step], *, volume: str, commit_id: bytes, wall_ns: int, replica_name: str
) -> Drafted | None:
    """The commit that does `steps`, which are of one rule; those that cannot be done any more, or not now, are left
    out. None: nothing is left. Changes nothing."""
    with replica.lock, reading(replica):
        sql = replica.connection
        state: dict[str, Any] = dict(sql.rows("SELECT key, value FROM state WHERE key LIKE 'head_%'"))
        draft = _Draft(sql, int(state["head_sequence"]) + 1, hybrid_time_ns(wall_ns, int(state["head_time_ns"])))
        done = tuple(step for step in steps if still_stands(sql, step.file) and draft.add(step))
        records = draft.records()
    if not done:
        return None
    commit = Commit(
        volume=volume,
        sequence=draft.sequence,
        commit_id=commit_id,
        parent=bytes(state["head_digest"]),
        time_ns=draft.time_ns,
        author=AUTHOR,
        replica=replica_name,
        inodes=records,
        unlinks=tuple(draft.unlinks),
        links=tuple(draft.links),
        cause=cause_of(steps[0]),
    )
    return Drafted(encode_commit(commit, {}), done)


def cause_of(step: Step) -> str:
    """What a commit says made it."""
    text = "".join(it if it.isprintable() else "?" for it in f"rule {step.rule.text}")
    return text if len(text) <= _CAUSE_CHARACTERS_MAX else text[: _CAUSE_CHARACTERS_MAX - 1] + "…"


@dataclass(slots=True)
class _Draft:
    sql: Connection
    sequence: int
    time_ns: int
    unlinks: list[Unlink] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    made: list[InodeRecord] = field(default_factory=list)
    touched: set[int] = field(default_factory=set)
    """Directories that are there, of which a name goes or in which one comes."""
    places: dict[bytes, _Place] = field(default_factory=dict)

    def add(self, step: Step) -> bool:
        """Whether it can be done now."""
        file = step.file
        if step.action == "archive":
            try:
                place = self._archive(step)
            except _Blocked:
                return False
            name = self._free(place, file.name)
            place.taken.add(name)
            self.links.append(Link(place.id, name, file.id))
            if place.ino is not None:
                self.touched.add(place.ino)
        self.unlinks.append(Unlink(file.directory.id, file.name))
        self.touched.add(file.directory.ino)
        return True

    def records(self) -> tuple[InodeRecord, ...]:
        """Of the directories that are new, and the new times of the others; those whose attributes are pending here
        get theirs with that change."""
        return (*self.made, *(it for ino in sorted(self.touched) if (it := self._touched(ino)) is not None))

    # ---- the archive ----

    def _archive(self, step: Step) -> _Place:
        """The directory that the file goes to. Raises `_Blocked` before anything was made."""
        assert step.rule.to
        head = step.rule.to.encode("utf-8", "surrogateescape").split(b"/")
        chain: list[Directory] = []
        directory = step.file.directory
        while directory.above is not None:
            chain.insert(0, directory)
            directory = directory.above
        like = [ROOT] * len(head) + [it.ino for it in chain]
        parts = [*head, *(it.name for it in chain)]
        place, path = _Place(ROOT_ID, ROOT), b""
        made: list[tuple[bytes, _Place]] = []
        new: list[InodeRecord] = []
        links: list[Link] = []
        for name, model in zip(parts, like, strict=True):
            path = posixpath.join(path, name)
            found = self.places.get(path)
            if found is None:
                found = self._there(place, name)
                if found is None:
                    found = _Place(inode_id(self.sequence, len(self.made) + len(new)), None)
                    new.append(self._new(found.id, model))
                    links.append(Link(place.id, name, found.id))
                    if place.ino is not None:
                        self.touched.add(place.ino)
                made.append((path, found))
            place = found
        self.places.update(made)
        self.made += new
        self.links += links
        return place

    def _there(self, place: _Place, name: bytes) -> _Place | None:
        """The directory of this name, in the log and here; None: the name is free."""
        if place.ino is None:
            return None
        row = self.sql.one(
            "SELECT d.ino, d.base, d.pending, d.local, i.kind, i.id FROM dentry d LEFT JOIN inode i ON i.ino=d.ino "
            "WHERE d.parent=? AND d.name=?",
            (place.ino, name),
        )
        if row is None:
            return None
        ino, base, pending, local, kind, id_ = row
        if ino is None or ino != base or pending or local or kind != Kind.DIRECTORY or id_ is None:
            raise _Blocked
        return _Place(id_, ino)

    def _free(self, place: _Place, name: bytes) -> bytes:
        """`name`, or where that is taken `name-2`, `name-3`, … before the ending."""
        stem, ending = posixpath.splitext(name)
        for number in range(1, _NAMES_MAX):
            mark = b"-%d" % number if number > 1 else b""
            room = NAME_BYTES_MAX - len(mark) - len(ending)
            wanted = stem[:room] + mark + ending if room > 0 else (name[: NAME_BYTES_MAX - len(mark)] + mark)
            if wanted not in place.taken and not self._is_taken(place, wanted):
                return wanted
        raise _Blocked

    def _is_taken(self, place: _Place, name: bytes) -> bool:
        query = "SELECT 1 FROM dentry WHERE parent=? AND name=?"
        return place.ino is not None and self.sql.one(query, (place.ino, name)) is not None

    # ---- records ----

    def _new(self, id_: InodeId, model: int) -> InodeRecord:
        """A directory with the owner and the mode of another: who may not look into that may not look into this."""
        row = self.sql.one("SELECT mode, uid, gid FROM inode WHERE ino=?", (model,))
        assert row is not None
        now = self.time_ns
        return InodeRecord(id_, Kind.DIRECTORY, row[0], row[1], row[2], now, now, now)

    def _touched(self, ino: int) -> InodeRecord | None:
        row = self.sql.one("SELECT id, mode, uid, gid, birth_ns FROM inode WHERE ino=? AND pending=0", (ino,))
        if row is None or row[0] is None:
            return None
        xattrs = self.sql.rows("SELECT name, value FROM xattr WHERE ino=? ORDER BY name", (ino,))
        return InodeRecord(
            id=row[0],
            kind=Kind.DIRECTORY,
            mode=row[1],
            uid=row[2],
            gid=row[3],
            mtime_ns=self.time_ns,
            ctime_ns=self.time_ns,
            birth_ns=row[4],
            xattrs=tuple((bytes(name), bytes(value)) for name, value in xattrs),
        )
