"""A commit out of what is pending, and the memory of it that settles it later. No I/O."""

import msgpack

from agentfs.errors import ReplicaDamaged
from agentfs.format.commit import EncodedCommit, encode_commit
from agentfs.format.limits import CONFLICT_DETAIL_BYTES_MAX
from agentfs.format.snapshot import inode_record, inode_row
from agentfs.model.records import (
    ChunkedContent,
    Commit,
    Conflict,
    ConflictId,
    Content,
    Fence,
    InodeId,
    InodeRecord,
    Kind,
    Link,
    Lock,
    Sides,
    Unlink,
    inode_id,
)
from agentfs.replica.apply_base import content_of
from agentfs.replica.forks import unpack_sides
from agentfs.replica.locks import LockedFile
from agentfs.replica.pending import PendingState
from agentfs.replica.settle import Captured, CapturedFork, CapturedInode, CapturedName
from agentfs.replica.transaction import InodeRow
from agentfs.sync.batch import Batch
from agentfs.sync.contents import Taken
from agentfs.sync.leases import LockPlan


class Draft:
    """A commit being put together: `build` gives the bytes and the capture."""

    def __init__(
        self, state: PendingState, batch: Batch, taken: dict[int, Taken], locks: LockPlan | None = None
    ) -> None:
        self._state = state
        self._lock_plan = locks or LockPlan()
        self._batch = batch
        self._taken = taken
        self.sequence = state.head_sequence + 1
        new = [ino for ino in batch.inodes if state.inodes[ino].id is None]
        self._ids: dict[int, InodeId] = {ino: inode_id(self.sequence, at) for at, ino in enumerate(new)}

    def build(
        self, *, volume: str, commit_id: bytes, time_ns: int, author: str, replica: str, cause: str = ""
    ) -> tuple[EncodedCommit, Captured]:
        state, batch = self._state, self._batch
        records = {ino: self._record(state.inodes[ino]) for ino in batch.inodes}
        inline = {
            self._id(ino): taken.content
            for ino, taken in self._taken.items()
            if ino in records and isinstance(taken.content, bytes)
        }
        conflicts = self._conflicts()
        locks, fences, locked = self._lock_plan.rows(batch.inodes, state.inodes, self._id)
        commit = Commit(
            volume=volume,
            sequence=self.sequence,
            commit_id=commit_id,
            parent=state.head_digest,
            time_ns=time_ns,
            author=author,
            replica=replica,
            inodes=tuple(records.values()),
            unlinks=tuple(
                Unlink(self._id(it.parent), it.name) for it in batch.names if it.ino is None and it.base is not None
            ),
            links=tuple(
                Link(self._id(it.parent), it.name, self._id(it.ino)) for it in batch.names if it.ino is not None
            ),
            conflicts=tuple(conflicts.values()),
            sides=self._sides(tuple(conflicts)),
            resolved=state.resolved,
            locks=locks,
            fences=fences,
            cause=cause,
        )
        encoded = encode_commit(commit, inline)
        resolved = {record.id: record for record in encoded.commit.inodes}
        captured = Captured(
            sequence=self.sequence,
            time_ns=time_ns,
            inodes=tuple(self._captured(state.inodes[ino], resolved[self._id(ino)]) for ino in batch.inodes),
            names=tuple(
                CapturedName(it.parent, it.name, it.ino, None if it.ino is None else self._id(it.ino))
                for it in batch.names
            ),
            conflicts=tuple(conflicts),
            resolved=state.resolved,
            locks=locks,
            fences=fences,
            locked=locked,
        )
        return encoded, captured

    def _id(self, ino: int) -> InodeId:
        known = self._state.inodes[ino].id
        return known if known is not None else self._ids[ino]

    def _record(self, row: InodeRow) -> InodeRecord:
        taken = self._taken.get(row.ino)
        content: Content | None = None
        if row.kind is Kind.FILE:
            if taken is not None and isinstance(taken.content, ChunkedContent):
                content = taken.content
            elif taken is None:
                base = self._state.contents.get(row.ino)
                if base is None:
                    raise ReplicaDamaged(f"inode {row.ino} is in the log without a content: run agentfs fsck")
                content = content_of(base)
        return InodeRecord(
            id=self._id(row.ino),
            kind=row.kind,
            mode=row.mode & 0o7777,
            uid=row.uid,
            gid=row.gid,
            mtime_ns=taken.mtime_ns if taken is not None else row.mtime_ns,
            ctime_ns=row.ctime_ns,
            birth_ns=row.birth_ns,
            rdev=row.rdev,
            target=row.target or b"",
            xattrs=self._state.xattrs.get(row.ino, ()),
            content=content,
        )

    def _captured(self, row: InodeRow, record: InodeRecord) -> CapturedInode:
        taken = self._taken.get(row.ino)
        fork = taken.fork if taken is not None else None
        return CapturedInode(row.ino, record, row.change, row.content_change, taken is not None, fork)

    def _conflicts(self) -> dict[int, Conflict]:
        found = {}
        for it in self._state.conflicts:
            directory = self._state.conflict_parents.get(it.parent)
            directory = directory if directory is not None else self._ids.get(it.parent)
            if directory is not None:
                detail = it.detail.encode()[:CONFLICT_DETAIL_BYTES_MAX].decode("utf-8", "ignore")
                found[it.id] = Conflict(it.kind, directory, it.name, it.kept_as, detail)
        return found

    def _sides(self, reported: tuple[int, ...]) -> tuple[Sides, ...]:
        """What met in the conflicts that this commit reports."""
        packed = {it.id: it.sides for it in self._state.conflicts if it.sides}
        return tuple(
            Sides(place, *unpack_sides(packed[number])) for place, number in enumerate(reported) if number in packed
        )


def pack_capture(captured: Captured) -> bytes:
    """For the `prepared` row."""
    packed = msgpack.packb(
        {
            "sequence": captured.sequence,
            "time": captured.time_ns,
            "inodes": [
                [it.ino, inode_row(it.record), it.change, it.content_change, it.with_content, _packed_fork(it.fork)]
                for it in captured.inodes
            ],
            "names": [[it.parent, it.name, it.ino, it.id] for it in captured.names],
            "conflicts": list(captured.conflicts),
            "resolved": [[it.sequence, it.index] for it in captured.resolved],
            "locks": [[it.inode, it.holder, it.seconds] for it in captured.locks],
            "fences": [[it.inode, it.token] for it in captured.fences],
            "locked": [[it.id, it.ino, it.mtime_ns, it.ctime_ns] for it in captured.locked],
        }
    )
    assert isinstance(packed, bytes)
    return packed


def _packed_fork(fork: CapturedFork | None) -> list[object] | None:
    return None if fork is None else [fork.digest, fork.size_bytes, fork.came_from, fork.detail, fork.sides]


def unpack_capture(data: bytes) -> Captured:
    """The reverse. The data is this machine's own."""
    fields = msgpack.unpackb(data, use_list=False, strict_map_key=True)
    return Captured(
        sequence=fields["sequence"],
        time_ns=fields["time"],
        inodes=tuple(
            CapturedInode(
                ino, inode_record(row), change, content_change, with_content, CapturedFork(*fork) if fork else None
            )
            for ino, row, change, content_change, with_content, fork in fields["inodes"]
        ),
        names=tuple(CapturedName(*it) for it in fields["names"]),
        conflicts=tuple(fields["conflicts"]),
        resolved=tuple(ConflictId(*it) for it in fields.get("resolved", ())),
        locks=tuple(Lock(*it) for it in fields.get("locks", ())),
        fences=tuple(Fence(*it) for it in fields.get("fences", ())),
        locked=tuple(LockedFile(*it) for it in fields.get("locked", ())),
    )
