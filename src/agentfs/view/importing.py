"""What other tools did to the view's objects, as one commit (docs/view.md, V-80 ff.). No store, no clock.

How it could lose data, and what prevents it. An edit that is merged from a wrong base would take back what others
wrote: a claim counts only if the log has exactly that version, and without one the base is old rather than new. An
edit that is taken twice: the commit says what it took (`Commit.imported`), and that is asked first. An edit that is
overlooked: only what the log has byte for byte as a version is passed over. A version that cannot be merged: it is
kept beside the file. An object that is gone because something else went wrong: the caller believes only what two
looks saw, and little of it at once.
"""

import enum
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from agentfs.errors import Corrupt
from agentfs.merge.conflict_names import conflict_name
from agentfs.merge.contents import MERGE_BYTES_MAX, Merged, merge_contents
from agentfs.model.ignore import IgnorePatterns
from agentfs.model.names import shown as shown_name
from agentfs.model.records import (
    CHUNK_BYTES,
    COMMIT_BYTES_MAX,
    INLINE_BYTES_MAX,
    ROOT_ID,
    ChunkedContent,
    Commit,
    Conflict,
    Content,
    Imported,
    InodeId,
    InodeRecord,
    Kind,
    Link,
    Sides,
    Unlink,
    inode_id,
)
from agentfs.view.claims import FoundObject, bears_out, content_of, is_leftover, moved_from, was_shown
from agentfs.view.facts import ViewFacts
from agentfs.view.log_tree import LogTree

AUTHOR = "bucket"
REPLICA = "view"
BASE_AGE_NS = 30 * 1_000_000_000
"""An edit that does not say what it is of comes from what was in the log so long before it was written."""
LATE_NS = 3600 * 1_000_000_000
"""So long after a name has come back, a deletion of our own may still arrive, of the time when it was free."""
OBJECTS_MAX = 500
"""Of one commit; the rest comes in the next."""
_BYTES_MAX = COMMIT_BYTES_MAX // 2
_DETAIL_MAX = 1000
_FILE_MODE, _DIRECTORY_MODE = 0o644, 0o755
_SET_ID = 0o6000
_LOCKED = "the file is locked"
_CANNOT = "changed in the bucket and here, and cannot be merged; the bucket's version was kept aside"
_BASE_GONE = "changed in the bucket and here, and the version they came from is gone; the bucket's was kept aside"
_UNSEEN = "put in the bucket at the name of a file that the bucket does not show; it was kept aside"


class Taken(enum.Enum):
    """What became of an object."""

    CREATED = "created"
    EDITED = "edited"
    MERGED = "merged"
    KEPT_ASIDE = "kept aside"
    DELETED = "deleted"
    RENAMED = "renamed"
    RIGHT = "right"
    """It shows what the log has, or what it says is in the file already."""
    STALE = "stale"
    """An earlier version, and nothing else: it is written again, or removed."""
    WAITS = "waits"
    LEFT_ALONE = "left alone"
    """It is no file's: a directory or a link stands at its path."""


@dataclass(frozen=True, slots=True)
class GoneObject:
    """An object that was there, and two looks did not see any more."""

    name: str
    path: bytes
    file: InodeId
    digest: bytes
    """Of the file's bytes that it showed."""


@dataclass(frozen=True, slots=True)
class Outcome:
    name: str
    taken: Taken
    file: InodeId = 0
    """The file that its name means now, or whose object it was; 0: none."""
    why: str = ""


@dataclass(slots=True)
class Import:
    """What `imported` decided."""

    commit: Commit | None
    """To be put right after the tree's entry; None: nothing is to be changed."""
    contents: dict[InodeId, bytes]
    """Its inline contents (`format.commit.encode_commit`)."""
    chunks: dict[bytes, bytes]
    """By SHA-256: on the store before the commit."""
    outcomes: list[Outcome]
    rest: bool
    """There is more; it belongs on top of this commit."""


def imported(
    tree: LogTree,
    found: Iterable[FoundObject],
    gone: Iterable[GoneObject] = (),
    *,
    ignore: IgnorePatterns | None = None,
    now_ns: int | None = None,
) -> Import:
    """The commit that takes in what was found. The same for the same arguments, on every machine. `now_ns`: this
    machine's clock; None: every deletion is believed. Raises `StoreError`."""
    importing = _Importing(tree, ignore or IgnorePatterns(()), now_ns)
    objects = sorted(found, key=lambda it: it.name)
    missing = sorted(gone, key=lambda it: it.name)
    importing.moved(objects, missing)
    for it in missing:
        if importing.is_full:
            break
        importing.gone(it)
    for one in objects:
        if importing.is_full:
            break
        importing.found(one)
    return importing.made(len(objects) + len(missing))


@dataclass(slots=True)
class _Importing:
    tree: LogTree
    ignore: IgnorePatterns
    now_ns: int | None
    records: dict[InodeId, InodeRecord] = field(default_factory=dict)
    """New states, by inode."""
    inline: dict[InodeId, bytes] = field(default_factory=dict)
    chunks: dict[bytes, bytes] = field(default_factory=dict)
    names: dict[tuple[InodeId, bytes], InodeId | None] = field(default_factory=dict)
    """What names mean after this commit, where that changes."""
    conflicts: list[Conflict] = field(default_factory=list)
    sides: list[Sides] = field(default_factory=list)
    took: list[Imported] = field(default_factory=list)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    time_ns: int = 0
    _index: int = 0

    @property
    def is_full(self) -> bool:
        inline = sum(map(len, self.inline.values()))
        return len(self.outcomes) >= OBJECTS_MAX or inline + sum(map(len, self.chunks.values())) >= _BYTES_MAX

    # ---- the tree as it will be ----

    def _child(self, parent: InodeId, name: bytes) -> InodeId | None:
        key = (parent, name)
        return self.names[key] if key in self.names else self.tree.child(parent, name)

    def _record(self, inode: InodeId) -> InodeRecord:
        record = self.records.get(inode) or self.tree.record(inode)
        if record is None:
            raise Corrupt(f"a name in {self.tree.volume} means inode {inode}, which is not there")
        return record

    def _new(self, kind: Kind, mode: int, parent: InodeId, at_ns: int) -> InodeRecord:
        self._index += 1
        above = self._record(parent)
        return InodeRecord(
            id=inode_id(self.tree.sequence + 1, self._index),
            kind=kind,
            mode=mode,
            uid=above.uid,
            gid=above.gid,
            mtime_ns=at_ns,
            ctime_ns=at_ns,
            birth_ns=at_ns,
        )

    def _resolve(self, path: bytes) -> tuple[InodeId, list[bytes], InodeId | None]:
        """The deepest directory that is there, what is missing below it, and what the path means. Raises
        `_NoPlace`."""
        parent, parts = ROOT_ID, path.split(b"/")
        for at, part in enumerate(parts):
            child = self._child(parent, part)
            if at == len(parts) - 1:
                return parent, [part], child
            if child is None:
                return parent, parts[at:], None
            if self._record(child).kind is not Kind.DIRECTORY:
                raise _NoPlace(f"{shown_name(b'/'.join(parts[: at + 1]))} is not a directory")
            parent = child
        raise AssertionError

    def _directory(self, parent: InodeId, missing: list[bytes], one: FoundObject) -> InodeId:
        """The directory that the last of `missing`, names of `one`'s path, goes into. Those that are not there are
        made; one that was there before is as private as it was."""
        parts = one.path.split(b"/")
        for end, part in enumerate(missing[:-1], start=len(parts) - len(missing) + 1):
            record = self._new(Kind.DIRECTORY, _DIRECTORY_MODE, parent, self._time(one))
            was = self.tree.last_directory(b"/".join(parts[:end]))
            if was is not None:
                record = replace(record, mode=was.mode, uid=was.uid, gid=was.gid)
            self.records[record.id] = record
            self.names[parent, part] = record.id
            parent = record.id
        return parent

    def _time(self, one: FoundObject) -> int:
        return one.modified_ns or self.tree.time_ns + 1

    # ---- contents ----

    def _content(self, inode: InodeId) -> tuple[Content | None, bytes | None]:
        """What the file has now: a place in the log, or bytes that this commit gives it."""
        if inode in self.inline:
            return None, self.inline[inode]
        content = self._record(inode).content
        return content, self._bytes(content)

    def _bytes(self, content: Content | None) -> bytes | None:
        """None: they were collected, or are too many to be merged."""
        if content is None or content.size_bytes > MERGE_BYTES_MAX:
            return None
        if isinstance(content, ChunkedContent) and all(it in self.chunks for it in content.chunks):
            return b"".join(self.chunks[it] for it in content.chunks)
        return self.tree.bytes_of(content)

    def _holds(self, inode: InodeId, digest: bytes) -> bool:
        if inode in self.inline:
            return hashlib.sha256(self.inline[inode]).digest() == digest
        content = self._record(inode).content
        return content is not None and content.digest == digest

    def _write(self, record: InodeRecord, data: bytes, at_ns: int) -> None:
        self.inline.pop(record.id, None)
        content = None
        if len(data) <= INLINE_BYTES_MAX:
            self.inline[record.id] = data
        else:
            content = self._chunked(data)
        self.records[record.id] = replace(record, content=content, mtime_ns=at_ns, ctime_ns=at_ns)

    def _chunked(self, data: bytes) -> ChunkedContent:
        pieces = [data[at : at + CHUNK_BYTES] for at in range(0, len(data), CHUNK_BYTES)]
        digests = [hashlib.sha256(piece).digest() for piece in pieces]
        self.chunks.update(zip(digests, pieces, strict=True))
        return ChunkedContent(len(data), hashlib.sha256(data).digest(), tuple(digests))

    # ---- what is gone ----

    def moved(self, objects: list[FoundObject], missing: list[GoneObject]) -> None:
        """Objects that were copied unchanged to a free name while their own is gone: the file is renamed. One that
        does not say what it is of, where a store or a tool keeps no metadata, is told by its bytes."""
        versions = {(it.file, it.digest): it for it in missing}
        for one in objects:
            there = moved_from(one, versions)
            if there is None or self._is_known(one):
                continue
            if one.was is not None and one.was.volume != self.tree.volume:
                continue
            try:
                parent, names, target = self._resolve(one.path)
                old_parent, old_names, old = self._resolve(there.path)
            except _NoPlace:
                continue
            if target is not None or old != there.file or len(old_names) > 1 or not self._holds(old, there.digest):
                continue
            if self.tree.is_locked(old) or self._ignored(one.path):
                continue
            del versions[there.file, there.digest]
            self.names[old_parent, old_names[0]] = None
            self.names[self._directory(parent, names, one), names[-1]] = old
            self._took(one)
            self.outcomes[one.name] = Outcome(one.name, Taken.RENAMED, old)
            self.outcomes[there.name] = Outcome(there.name, Taken.RENAMED)

    def gone(self, it: GoneObject) -> None:
        if it.name not in self.outcomes:
            self.outcomes[it.name] = self._gone(it)

    def _gone(self, it: GoneObject) -> Outcome:
        try:
            parent, names, inode = self._resolve(it.path)
        except _NoPlace:
            inode = None
        if inode is None:
            return Outcome(it.name, Taken.RIGHT)
        if inode != it.file or not self._holds(inode, it.digest):
            return Outcome(it.name, Taken.STALE, inode, "it was changed since: it is written again")
        back_ns = None if self.now_ns is None else self.tree.came_back_ns(it.path)
        if back_ns is not None and self.now_ns is not None and self.now_ns < back_ns + LATE_NS:
            why = "its name was free not long ago, and the deletion may be of then: it is written again"
            return Outcome(it.name, Taken.STALE, inode, why)
        if self.tree.is_locked(inode):
            return Outcome(it.name, Taken.WAITS, inode, _LOCKED)
        self.names[parent, names[0]] = None
        return Outcome(it.name, Taken.DELETED)

    # ---- what is there ----

    def found(self, one: FoundObject) -> None:
        if one.name not in self.outcomes:
            self.outcomes[one.name] = self._found(one)

    def _found(self, one: FoundObject) -> Outcome:
        if self._ignored(one.path):
            return Outcome(one.name, Taken.LEFT_ALONE, why="its name is ignored (the setting ignore)")
        try:
            parent, names, inode = self._resolve(one.path)
        except _NoPlace as error:
            return Outcome(one.name, Taken.LEFT_ALONE, why=str(error))
        if inode is not None and self._record(inode).kind is not Kind.FILE:
            return Outcome(one.name, Taken.LEFT_ALONE, why=f"{shown_name(one.path)} is no file")
        if self._is_known(one):
            return Outcome(one.name, Taken.STALE, inode or 0, "it was taken in before")
        if inode is None:
            return self._found_free(one, parent, names)
        return self._found_file(one, (parent, names[0]), inode)

    def _found_free(self, one: FoundObject, parent: InodeId, names: list[bytes]) -> Outcome:
        """At a name that has no file."""
        was = self._version(one)
        stood_here = was is not None and self._stood_at(was, one.path)
        left = was.file if was is not None and stood_here and not one.edited else was_shown(self.tree, one)
        if left is not None and not one.appeared and is_leftover(self.tree, one.path, one.modified_ns):
            return Outcome(one.name, Taken.STALE, left, "what is left of a file that is not here any more")
        if was is not None and stood_here and one.edited and (place := self.tree.place(was.file)) is not None:
            # the file was renamed meanwhile: it gets the edit where it is now
            return self._found_file(one, place, was.file)
        directory = self._directory(parent, names, one)
        record = self._new(Kind.FILE, _FILE_MODE, directory, self._time(one))
        if was is not None:
            record = _like(record, self.tree.record(was.file), whole=stood_here)
        self._write(record, one.data, self._time(one))
        self.names[directory, names[-1]] = record.id
        self._took(one)
        return Outcome(one.name, Taken.CREATED, record.id)

    def _found_file(self, one: FoundObject, place: tuple[InodeId, bytes], inode: InodeId) -> Outcome:
        digest = hashlib.sha256(one.data).digest()
        if self._holds(inode, digest):
            return Outcome(one.name, Taken.RIGHT, inode)
        was = self._version(one)
        stood_here = was is not None and (was.file == inode or self._stood_at(was, one.path))
        if stood_here and not one.edited:
            return Outcome(one.name, Taken.STALE, inode, "an earlier version")
        if not stood_here and digest in self.tree.digests_since(inode, one.modified_ns - BASE_AGE_NS):
            # where a store keeps no metadata, a late object of ours looks like this
            return Outcome(one.name, Taken.STALE, inode, "what the file was a moment before")
        if self.tree.is_locked(inode):
            return Outcome(one.name, Taken.WAITS, inode, _LOCKED)
        if one.hidden and not stood_here:
            return self._keep_aside(one, place, inode, detail=_UNSEEN)
        if was is None and self._is_of_collected(one, inode):
            return self._keep_aside(one, place, inode, detail=_BASE_GONE)
        base = content_of(self.tree, was) if was is not None and stood_here else self._seen(one, inode)
        return self._edit(one, place, inode, base)

    def _before(self, one: FoundObject) -> bytes | None:
        """What whoever writes on and on has added to: in the file already."""
        was = one.before
        return was.data if was is not None and self.tree.was_put(one.name, was.digest) else None

    def _seen(self, one: FoundObject, inode: InodeId) -> Content | None:
        """What the file was when whoever wrote the object looked at it: without a claim, some time before; or what
        another tool put there itself."""
        content = self._record(inode).content
        if content is not None and self.tree.was_put(one.name, content.digest):
            return content
        before_ns = one.modified_ns - BASE_AGE_NS
        guess = self.tree.newest_before(inode, before_ns)
        if one.stood is None:
            return guess
        if one.stood.file != inode:
            return None  # the bucket has not shown this file here
        shown = self.tree.content_at(inode, one.stood.sequence)
        if shown is None:
            return guess if self.tree.collected_ns(one.stood.sequence) is not None else None
        return guess if shown.digest in self.tree.digests_since(inode, before_ns) else shown  # the older of the two

    def _edit(self, one: FoundObject, place: tuple[InodeId, bytes], inode: InodeId, base: Content | None) -> Outcome:
        now, data = self._content(inode)
        before = self._before(one)
        base, base_bytes = (base, self._bytes(base)) if before is None else (None, before)
        unknown = base is not None and base_bytes is None and base.size_bytes <= MERGE_BYTES_MAX
        merged: Merged | None = None
        if base is not None and now is not None and base.digest == now.digest:
            merged = Merged(one.data, ())
        elif base is None and data and one.data.startswith(data):
            merged = Merged(one.data, ())  # a file that somebody writes on and on: all that is here is in it
        elif data is not None and (base is None or base_bytes is not None) and len(one.data) <= MERGE_BYTES_MAX:
            merged = merge_contents(place[1], base_bytes, data, one.data)
        if merged is None:
            return self._keep_aside(one, place, inode, detail=_BASE_GONE if unknown else _CANNOT)
        if self._holds(inode, hashlib.sha256(merged.data).digest()):
            return Outcome(one.name, Taken.RIGHT, inode)
        if merged.clashes:
            detail = "; ".join(merged.clashes)[:_DETAIL_MAX]
            self._conflict(place, b"", detail, (base, now, self._aside(one.data)))
        self._write(self._record(inode), merged.data, self._time(one))
        self._took(one)
        return Outcome(one.name, Taken.EDITED if merged.data == one.data else Taken.MERGED, inode)

    def _keep_aside(self, one: FoundObject, place: tuple[InodeId, bytes], inode: InodeId, *, detail: str) -> Outcome:
        parent, name = place
        copy = conflict_name(
            name, agent=AUTHOR, at_ns=self._time(one), taken=lambda it: self._child(parent, it) is not None
        )
        record = _like(self._new(Kind.FILE, _FILE_MODE, parent, self._time(one)), self._record(inode), whole=True)
        self._write(record, one.data, self._time(one))
        self.names[parent, copy] = record.id
        self._conflict(place, copy, detail, None)
        self._took(one)
        return Outcome(one.name, Taken.KEPT_ASIDE, inode, shown_name(copy))

    def _conflict(
        self,
        place: tuple[InodeId, bytes],
        kept_as: bytes,
        detail: str,
        sides: tuple[Content | None, Content | None, Content | None] | None,
    ) -> None:
        if sides is not None:
            self.sides.append(Sides(len(self.conflicts), self.tree.sequence, *sides))
        self.conflicts.append(Conflict("content", *place, kept_as, detail))

    def _aside(self, data: bytes) -> Content | None:
        """Bytes that a conflict shows: a side does not lie in its own commit."""
        return self._chunked(data) if data else None

    # ---- what an object says ----

    def _version(self, one: FoundObject) -> ViewFacts | None:
        """What the object says it is of, if the log bears that out."""
        was = one.was
        return was if was is not None and self._is_borne_out(one, was) else None

    def _is_borne_out(self, one: FoundObject, was: ViewFacts) -> bool:
        return bears_out(self.tree, was, edited=one.edited, modified_ns=one.modified_ns)

    def _stood_at(self, was: ViewFacts, path: bytes) -> bool:
        """Whether the file had the path then; nobody knows where commits were collected."""
        return self.tree.was_at(was.file, was.sequence, path) or self.tree.collected_ns(was.sequence) is not None

    def _is_of_collected(self, one: FoundObject, inode: InodeId) -> bool:
        """Whether it says to be of a version of the file that the log has forgotten."""
        was = one.was
        if was is None or was.volume != self.tree.volume or was.file != inode:
            return False
        return self.tree.collected_ns(was.sequence) is not None

    def _is_known(self, one: FoundObject) -> bool:
        return self.tree.was_imported(one.name, one.digest, one.put_s)

    def _ignored(self, path: bytes) -> bool:
        parts = path.split(b"/")
        return any(
            self.ignore.matches_path(b"/".join(parts[:at]), directory=at < len(parts))
            for at in range(1, len(parts) + 1)
        )

    # ---- the end ----

    def _took(self, one: FoundObject) -> None:
        self.took.append(Imported(one.name, one.digest, one.put_s))
        self.time_ns = max(self.time_ns, one.modified_ns)

    def made(self, asked: int) -> Import:
        outcomes = list(self.outcomes.values())
        rest = len(outcomes) < asked
        if not self.names and not self.records:
            return Import(None, {}, {}, outcomes, rest)
        tree = self.tree
        commit = Commit(
            volume=tree.volume,
            sequence=tree.sequence + 1,
            commit_id=bytes(16),
            parent=tree.digest,
            time_ns=max(self.time_ns, tree.time_ns + 1),
            author=AUTHOR,
            replica=REPLICA,
            inodes=tuple(self.records[it] for it in sorted(self.records)),
            unlinks=tuple(Unlink(*key) for key, child in sorted(self.names.items()) if child is None),
            links=tuple(Link(*key, child) for key, child in sorted(self.names.items()) if child is not None),
            conflicts=tuple(self.conflicts),
            sides=tuple(self.sides),
            imported=tuple(sorted(self.took, key=lambda it: it.name)),
        )
        return Import(replace(commit, commit_id=self._id(commit)), self.inline, self.chunks, outcomes, rest)

    def _id(self, commit: Commit) -> bytes:
        """The same for whoever finds the same in the same place of the log."""
        digest = hashlib.sha256(b"imported\0" + commit.volume.encode() + b"\0" + commit.parent)
        for it in commit.imported:
            digest.update(it.name.encode() + b"\0" + it.digest + it.modified_s.to_bytes(8, "big"))
        for unlink in commit.unlinks:
            digest.update(unlink.parent.to_bytes(8, "big") + unlink.name + b"\0")
        return digest.digest()[:16]


def _like(record: InodeRecord, other: InodeRecord | None, *, whole: bool) -> InodeRecord:
    """As private as the file that it comes from, and as executable; with `whole` also its extended attributes. Never
    set-user-id: an outsider changed the bytes."""
    if other is None or other.kind is not Kind.FILE:
        return record
    xattrs = other.xattrs if whole else ()
    return replace(record, mode=other.mode & ~_SET_ID, uid=other.uid, gid=other.gid, xattrs=xattrs)


class _NoPlace(Exception):
    """No file can be at that path."""
