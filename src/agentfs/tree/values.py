"""The values that tree operations take and give."""

import os
import stat
from dataclasses import dataclass
from typing import NamedTuple

from agentfs.model.records import Kind

_TYPE_BITS = {
    Kind.FILE: stat.S_IFREG,
    Kind.DIRECTORY: stat.S_IFDIR,
    Kind.SYMLINK: stat.S_IFLNK,
    Kind.FIFO: stat.S_IFIFO,
    Kind.SOCKET: stat.S_IFSOCK,
    Kind.CHARACTER_DEVICE: stat.S_IFCHR,
    Kind.BLOCK_DEVICE: stat.S_IFBLK,
}
KIND_OF_TYPE = {bits: kind for kind, bits in _TYPE_BITS.items()}


class Attributes(NamedTuple):
    """What `stat` shows of an inode. A named tuple, because making one is a part of every request: 0.4 µs, where a
    frozen dataclass takes 2."""

    ino: int
    """This machine's number: stable for the life of the replica, never reused."""
    kind: Kind
    mode: int
    """Permission bits only (07777)."""
    nlink: int
    uid: int
    gid: int
    rdev: int
    size_bytes: int
    blocks: int
    """512-byte units really used; of the backing file, or as if full where the bytes are remote."""
    atime_ns: int
    mtime_ns: int
    ctime_ns: int
    birth_ns: int
    change: int
    """Grows with every change of content or attributes, local or pulled."""

    @property
    def st_mode(self) -> int:
        return _TYPE_BITS[self.kind] | self.mode


@dataclass(frozen=True, slots=True)
class AttributeChange:
    """What `set_attributes` is asked to change; `None` leaves a thing as it is."""

    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    size_bytes: int | None = None
    atime_ns: int | None = None
    mtime_ns: int | None = None
    ctime_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: what new inodes belong to."""

    uid: int
    gid: int
    umask: int = 0

    @classmethod
    def process(cls) -> "Caller":
        """This process, with its umask already left to the kernel (0)."""
        return cls(uid=os.geteuid(), gid=os.getegid())


@dataclass(slots=True, eq=False)
class Handle:
    """An open file. The descriptor is the backing file's: the face may read and write it directly (passthrough),
    as long as it says so by `Tree.open(..., direct=True)`."""

    number: int
    ino: int
    fd: int
    flags: int
    """The `O_*` flags that it was opened with."""
    writable: bool
    direct: bool
    """Writes may bypass `Tree.write`: whether the content changed is found by `fstat` at flush and release."""
    content_change: int = 0
    """The version of the content that the descriptor shows: equal numbers of one inode mean equal bytes."""
    reader: int = 0
    """The thread that opened it; 0: this process."""


@dataclass(frozen=True, slots=True)
class DirectoryEntry:
    """One row of a directory listing. `cookie` resumes after it."""

    name: bytes
    ino: int
    kind: Kind
    cookie: int


@dataclass(frozen=True, slots=True)
class Statistics:
    """What `statfs` shows: the file system under the replica, and the volume's count of inodes."""

    block_bytes: int
    blocks: int
    blocks_free: int
    blocks_available: int
    inodes: int
    inodes_free: int
    name_bytes_max: int
