"""What the log speaks of: inodes, dentries, contents, commits and snapshots, as values.

Numbers. An inode's number *in the log* (`InodeId`) is `sequence << 24 | index`: the commit that created it and
its place there. A sequence is won once, so the number is unique even among cloned machines; nothing depends on
randomness or on a replica's id (HAZARDS: two replicas cloned from one image). The root is inode 1.
Names are bytes, as the kernel gives them; they need not be UTF-8.
"""

import enum
from dataclasses import dataclass
from typing import TypeAlias

InodeId: TypeAlias = int
INDEX_BITS = 24
ROOT_ID: InodeId = 1

NAME_BYTES_MAX = 255
INLINE_BYTES_MAX = 128 * 1024
"""Contents up to this size travel inside the commit."""
CHUNK_BYTES = 1024 * 1024
"""Larger contents are cut into chunks of this size (the last one shorter)."""
COMMIT_BYTES_MAX = 8 * 1024 * 1024
"""A commit's inline contents together; more pending changes become more commits."""
COMMIT_INODES_MAX = 50_000


def inode_id(sequence: int, index: int) -> InodeId:
    """The number of the `index`-th inode that commit `sequence` creates."""
    if not 0 <= index < 1 << INDEX_BITS:
        raise ValueError(f"index {index} does not fit {INDEX_BITS} bits")
    return sequence << INDEX_BITS | index


class Kind(enum.IntEnum):
    """What an inode is. The values are stored (docs/format.md)."""

    FILE = 1
    DIRECTORY = 2
    SYMLINK = 3
    FIFO = 4
    SOCKET = 5
    CHARACTER_DEVICE = 6
    BLOCK_DEVICE = 7


@dataclass(frozen=True, slots=True)
class InlineContent:
    """Bytes inside commit `sequence`, at `offset` of that object. Empty files have `size_bytes` 0 and are here."""

    size_bytes: int
    digest: bytes
    """SHA-256 of the bytes."""
    sequence: int
    offset: int


@dataclass(frozen=True, slots=True)
class ChunkedContent:
    """Bytes as chunks of `CHUNK_BYTES`, each a blob named by its SHA-256."""

    size_bytes: int
    digest: bytes
    """SHA-256 of the whole content."""
    chunks: tuple[bytes, ...]
    """SHA-256 of each chunk, in order. A chunk of zeros is a chunk like any other."""


Content: TypeAlias = InlineContent | ChunkedContent


@dataclass(frozen=True, slots=True)
class InodeRecord:
    """The whole state of one inode in the log. Commits carry whole records: applying one replaces the other."""

    id: InodeId
    kind: Kind
    mode: int
    """Permission bits only (07777)."""
    uid: int
    gid: int
    mtime_ns: int
    ctime_ns: int
    birth_ns: int
    rdev: int = 0
    target: bytes = b""
    """A symbolic link's target."""
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    """Sorted by name."""
    content: Content | None = None
    """Files have one; nothing else does."""


@dataclass(frozen=True, slots=True)
class Unlink:
    parent: InodeId
    name: bytes


@dataclass(frozen=True, slots=True)
class Link:
    """After the commit, `name` in `parent` is `child` (replacing whatever stood there)."""

    parent: InodeId
    name: bytes
    child: InodeId


@dataclass(frozen=True, slots=True)
class Conflict:
    """Something met and could not both keep its place. Written by the commit that settled it."""

    kind: str
    """`content`, `name`, `delete`, `rename`, `cycle`, `attributes`."""
    parent: InodeId
    name: bytes
    """Where it happened."""
    kept_as: bytes
    """The name, in the same directory, of the other version; empty when nothing had to be kept aside."""
    detail: str
    """One line for a person."""


@dataclass(frozen=True, slots=True)
class Sides:
    """The contents that met in a conflict of the same commit, kept for as long as the commit is."""

    conflict: int
    """Its place in `Commit.conflicts`."""
    met: int
    """The commit that came first; 0 when it is not known."""
    base: Content | None
    """What both began from; None when there was nothing."""
    earlier: Content | None
    """What the log had."""
    later: Content | None
    """What the writer of this commit had, before the two were put together. None of the three lies in this commit."""


@dataclass(frozen=True, slots=True)
class ConflictId:
    """A conflict in the log: the commit that reported it, and its place there."""

    sequence: int
    index: int


@dataclass(frozen=True, slots=True)
class Imported:
    """An object of the view that somebody changed in the bucket, as it was when a commit took it in."""

    name: str
    """Below the view's prefix (docs/view.md, V-10)."""
    digest: bytes
    """SHA-256 of the object's bytes."""
    modified_s: int
    """When it was written, by the store's clock: the same bytes, put again, are another change."""


LOCK_SECONDS_MAX = 86_400
"""How long a lock may be asked for at once."""


@dataclass(frozen=True, slots=True)
class Lock:
    """After the commit, `inode` (a file) is locked by `holder`; with 0 seconds it is not locked any more."""

    inode: InodeId
    holder: str
    """Who, for people."""
    seconds: int
    """How long others wait for a sign of life before they may take the lock over; 0: released."""


@dataclass(frozen=True, slots=True)
class Fence:
    """The writer of the commit acts under a lock: `token` is the sequence of the commit that took or used it last."""

    inode: InodeId
    token: int


@dataclass(frozen=True, slots=True)
class LockState:
    """A lock as the log has it."""

    holder: str
    token: int
    """Sequence of the commit that took or used the lock last."""
    seconds: int


@dataclass(frozen=True, slots=True)
class Commit:
    """One entry of the log. Applied in this order: `inodes` (upsert), `unlinks`, `links`; then inodes that no
    dentry names are gone, and dentries of gone directories with them."""

    volume: str
    sequence: int
    commit_id: bytes
    """16 random bytes."""
    parent: bytes
    """SHA-256 digest of log entry `sequence - 1`; 32 zero bytes for the first."""
    time_ns: int
    """Hybrid-logical time: always later than the parent's."""
    author: str
    replica: str
    inodes: tuple[InodeRecord, ...] = ()
    unlinks: tuple[Unlink, ...] = ()
    links: tuple[Link, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    sides: tuple[Sides, ...] = ()
    """At most one for each conflict."""
    resolved: tuple[ConflictId, ...] = ()
    """Conflicts of earlier commits that somebody settled."""
    imported: tuple[Imported, ...] = ()
    """What this commit took from the view's objects."""
    locks: tuple[Lock, ...] = ()
    fences: tuple[Fence, ...] = ()
    cause: str = ""
    """For people: what made it, where no agent did (a lifecycle rule, the end of memories). One line."""
    collection: int = 0
    """This commit is the barrier of the collection with this number (docs/format.md, F-117): it changes nothing."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The whole tree right after commit `sequence`."""

    volume: str
    sequence: int
    commit_digest: bytes
    """Digest of log entry `sequence`."""
    time_ns: int
    """Hybrid-logical time of that commit."""
    inodes: tuple[InodeRecord, ...]
    links: tuple[Link, ...]
    locks: tuple[tuple[InodeId, LockState], ...] = ()
    """By ascending inode."""
