"""Merging files of which the log has another version than the one that was changed here (`replica.forks`).

What it promises: our bytes are never dropped before they are in merged bytes that took their place, or in a conflict
copy; the log's version is never committed over, because nothing of a forked file is committed but its merge. How it
could lose data, and what prevents it: a program writes while we merge (the swap is one transaction that looks at the
file's size, time and version, and at the marks of writers); a crash between the rename of the merged file and the
commit (the file is marked as being written: recovery takes it as it is; merging it again changes nothing); a power
cut after the swap (the merged file was synced before); the version that both came from is gone (both are kept).
"""

import hashlib
import os
from collections import OrderedDict
from dataclasses import dataclass, field

from agentfs.errors import Corrupt, NoSpace, ObjectNotFound
from agentfs.merge.contents import MERGE_BYTES_MAX, Merged, merge_contents
from agentfs.model.names import shown
from agentfs.model.records import CHUNK_BYTES, ChunkedContent, Content
from agentfs.replica.apply_base import content_of
from agentfs.replica.forks import (
    Forked,
    Outcome,
    any_forks,
    bring_back,
    finish_merge,
    nothing_new,
    pack_sides,
    part_from_ours,
    read_forks,
    split_fork,
)
from agentfs.replica.past import past_bases, trim_past
from agentfs.replica.pending import read_prepared
from agentfs.replica.settle import CapturedFork
from agentfs.replica.transaction import ContentRow
from agentfs.sync.contents import PutAll, Taken, Torn, take_from
from agentfs.sync.ground import EngineGround
from agentfs.sync.hydration import Hydration

_ROUNDS_MAX = 3
"""A file that replaced a forked one is merged with it in a second round."""
_DETAIL_MAX = 1000
_TROUBLE_S = 10.0
_CANNOT = "both changed and cannot be merged; the version that came later was kept aside"
_BASE_GONE = "both changed, and the version they came from is gone; the version that came later was kept aside"
_RECENT_BYTES_MAX = 16 * 1024 * 1024


class Recent:
    """Contents that passed by, by digest: what is merged next was mostly committed or pulled just now."""

    def __init__(self) -> None:
        self._held: OrderedDict[bytes, bytes] = OrderedDict()
        self._size = 0

    def add(self, digest: bytes, data: bytes) -> None:
        """Hold `data`, whose SHA-256 is `digest`, for a while."""
        if digest in self._held or len(data) > _RECENT_BYTES_MAX // 4:
            return
        self._held[digest] = data
        self._size += len(data)
        while self._size > _RECENT_BYTES_MAX:
            self._size -= len(self._held.popitem(last=False)[1])

    def get(self, digest: bytes) -> bytes | None:
        return self._held.get(digest)


@dataclass(slots=True)
class _Read:
    data: bytes
    stamp: tuple[int, int]


class _BaseGone(Exception):
    pass


@dataclass(slots=True)
class Converge:
    """Ends forks. Called in the engine's turn."""

    ground: EngineGround
    hydration: Hydration
    recent: Recent = field(default_factory=Recent)
    merged: int = 0
    """Files merged here since the start."""
    trouble: dict[int, str] = field(default_factory=dict)
    """Files that cannot be merged now: why."""
    _not_before: dict[int, float] = field(default_factory=dict)

    def is_due(self) -> bool:
        """Whether a file waits that nobody is writing."""
        return any_forks(self.ground.replica)

    def run(self) -> None:
        """Merge every file that nobody is writing. Raises `StoreError` when the store does not answer; what was
        merged before stays merged. A file whose versions are missing or damaged there waits alone."""
        for _ in range(_ROUNDS_MAX):
            again = False
            for forked in read_forks(self.ground.replica):
                if forked.write_open:
                    continue
                if forked.row.local and part_from_ours(self.ground.replica, forked, agent=self.ground.author):
                    again = True
                elif forked.place is None:
                    again = bring_back(self.ground.replica, forked, agent=self.ground.author) or again
                else:
                    self._try(forked)
            if not again:
                break
        for gone in self.trouble.keys() - {it.row.ino for it in read_forks(self.ground.replica)}:
            del self.trouble[gone]
            self._not_before.pop(gone, None)

    def _try(self, forked: Forked) -> None:
        ino, now = forked.row.ino, self.ground.clock.monotonic()
        if now < self._not_before.get(ino, 0.0):
            return
        try:
            self._end(forked)
        except (ObjectNotFound, Corrupt, NoSpace, OSError) as error:
            self.trouble[ino] = f"{shown(forked.place[1] if forked.place else b'')}: cannot be merged: {error}"
            self._not_before[ino] = now + _TROUBLE_S

    def tidy(self) -> None:
        """Drop kept bytes that no merge can need any more."""
        replica = self.ground.replica
        with replica.transaction(session=0) as tx:
            trim_past(tx)
            bases = past_bases(tx)
        if not read_prepared(replica):  # one of those may make its base a fork's yet
            bases |= {it.base.digest for it in read_forks(replica) if it.base is not None}
            replica.files.drop_bases(bases)

    def _end(self, forked: Forked) -> None:
        replica = self.ground.replica
        ours = self._ours(forked)
        if ours is None:
            return
        assert forked.place is not None
        try:
            merged = None if len(ours.data) > MERGE_BYTES_MAX else self._merge(forked, ours.data)
            detail = _CANNOT
        except _BaseGone:
            merged, detail = None, _BASE_GONE
        if merged is None:
            split_fork(replica, forked, agent=self.ground.author, detail=detail)
            return
        outcome = self._outcome(forked, ours.data, merged)
        self.ground.failpoint("merge.staged")
        try:
            if finish_merge(replica, forked, ours.stamp, outcome):
                self.merged += 1
                self.trouble.pop(forked.row.ino, None)
        finally:
            if outcome.staged is not None and os.path.exists(outcome.staged):
                os.unlink(outcome.staged)
        self.ground.failpoint("merge.done")

    def _outcome(self, forked: Forked, ours: bytes, merged: Merged) -> Outcome:
        detail, sides = self._conflict(forked, ours, merged)
        staged, digest = None, hashlib.sha256(ours).digest()
        if merged.data != ours:
            self.ground.replica.files.keep_base(digest, ours)
            staged = self._stage(merged.data)
        is_theirs = hashlib.sha256(merged.data).digest() == forked.theirs.digest
        return Outcome(staged, len(merged.data), (digest, len(ours)), is_theirs, detail, sides)

    def _stage(self, data: bytes) -> str:
        fd, path = self.ground.replica.files.stage()
        with open(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        return path

    # ---- the three versions ----

    def _ours(self, forked: Forked, *, sync: bool = False) -> _Read | None:
        """Our bytes, whole; None while they change. Too many are cut: they are not merged."""
        try:
            fd = self.ground.replica.files.open(forked.row.ino, write=False)
        except FileNotFoundError:
            self.trouble[forked.row.ino] = "its backing file is lost: run agentfs fsck"
            return None
        try:
            if sync:  # as `contents.take`: later stores into mapped pages must show in the times
                os.fsync(fd)
            before = os.fstat(fd)
            data = (
                b"".join(iter(lambda: os.read(fd, CHUNK_BYTES), b""))
                if before.st_size <= MERGE_BYTES_MAX
                else (os.pread(fd, MERGE_BYTES_MAX + 1, 0))
            )
            after = os.fstat(fd)
        finally:
            os.close(fd)
        stamp = (before.st_size, before.st_mtime_ns)
        whole = len(data) == min(before.st_size, MERGE_BYTES_MAX + 1)
        return _Read(data, stamp) if whole and stamp == (after.st_size, after.st_mtime_ns) else None

    def _merge(self, forked: Forked, ours: bytes) -> Merged | None:
        """Raises `_BaseGone`, `StoreError`."""
        assert forked.place is not None
        if hashlib.sha256(ours).digest() == forked.theirs.digest:
            return Merged(ours, ())
        if forked.theirs.size_bytes > MERGE_BYTES_MAX:
            return None
        base = self._base(forked, ours)
        marked = self.ground.options.conflict_markers
        return merge_contents(forked.place[1], base, self._bytes(forked.theirs), ours, marked=marked)

    def _base(self, forked: Forked, ours: bytes) -> bytes | None:
        base = forked.base
        if base is None:
            return None
        if base.digest == hashlib.sha256(ours).digest():
            return ours
        if base.sequence is None and base.chunks is None:
            path = self.ground.replica.files.base_path(base.digest)
            try:
                with open(path, "rb") as file:
                    data = file.read()
            except FileNotFoundError as error:
                raise _BaseGone from error
            if hashlib.sha256(data).digest() != base.digest:
                raise _BaseGone
            return data
        if base.size_bytes > MERGE_BYTES_MAX:
            raise _BaseGone
        try:
            return self._bytes(base)
        except (ObjectNotFound, Corrupt) as error:
            raise _BaseGone from error

    def _bytes(self, content: ContentRow) -> bytes:
        """Raises `ObjectNotFound`, `Corrupt`, `StoreError`."""
        data = self.recent.get(content.digest)
        if data is None:
            data = self.hydration.read(content)
            self.recent.add(content.digest, data)
        return data

    # ---- what both changed ----

    def _conflict(self, forked: Forked, ours: bytes, merged: Merged) -> tuple[str, bytes]:
        """The detail and the sides of a conflict row; empty when nothing clashed. Puts our version where it can be
        read from for as long as the history is."""
        if not merged.clashes:
            return "", b""
        base = None
        if forked.base is not None and not (forked.base.sequence is None and forked.base.chunks is None):
            base = content_of(forked.base)
        sides = pack_sides(forked.met, base, content_of(forked.theirs), self._kept(ours))
        return "; ".join(merged.clashes)[:_DETAIL_MAX], sides

    def _kept(self, data: bytes) -> Content | None:
        if not data:
            return None
        pieces = [data[at : at + CHUNK_BYTES] for at in range(0, len(data), CHUNK_BYTES)]
        chunks = tuple(hashlib.sha256(piece).digest() for piece in pieces)
        self.ground.put_all(zip(chunks, pieces, strict=True))
        return ChunkedContent(len(data), hashlib.sha256(data).digest(), chunks)

    # ---- files that are being written ----

    def capture(self, forked: Forked, *, put_all: PutAll, inline_max: int) -> Taken | None:
        """For a commit: the merge of a file that is open for writing, as it is now; it stays forked, with what was
        taken as the new base. None when it cannot be merged while it is open, or nothing is new. Raises `Torn`,
        `StoreError`."""
        ours = self._ours(forked, sync=True)
        if ours is None:
            raise Torn
        try:
            merged = None if len(ours.data) > MERGE_BYTES_MAX else self._merge(forked, ours.data)
        except _BaseGone:
            merged = None
        if merged is None:
            return None
        files = self.ground.replica.files
        base = (hashlib.sha256(ours.data).digest(), len(ours.data))
        files.keep_base(base[0], ours.data)
        if hashlib.sha256(merged.data).digest() == forked.theirs.digest:
            nothing_new(self.ground.replica, forked, ours.stamp, base)
            return None
        detail, sides = self._conflict(forked, ours.data, merged)
        staged = self._stage(merged.data)
        try:
            with open(staged, "rb", buffering=0) as file:
                taken = take_from(file.fileno(), forked.row, known=b"", put_all=put_all, inline_max=inline_max)
        finally:
            os.unlink(staged)
        came_from = None if forked.base is None else forked.base.digest
        fork = CapturedFork(*base, came_from, detail, sides)
        return Taken(taken.content, ours.stamp[1], forked.row.content_change, fork)
