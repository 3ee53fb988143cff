"""Attributes and directory entries as the kernel wants them."""

import os

from agentfs.fuse.options import FuseOptions
from agentfs.fuse.wire import (
    ATTR_OUT,
    DIRENT,
    DIRENTPLUS,
    ENTRY_OUT,
    PADDING,
    PART_SHIFT,
    STATX_BASIC_AND_BIRTH,
    STATX_OUT,
)
from agentfs.model.records import Kind
from agentfs.tree.values import Attributes, DirectoryEntry

_SECOND = 1_000_000_000
_BLOCK_BYTES = 128 * 1024
"""`st_blksize`: stdio and Python size their buffers by it, so 4 KiB would mean 32 times the write requests."""

_TYPE = {
    Kind.FILE: 0o10,
    Kind.DIRECTORY: 0o04,
    Kind.SYMLINK: 0o12,
    Kind.FIFO: 0o01,
    Kind.SOCKET: 0o14,
    Kind.CHARACTER_DEVICE: 0o02,
    Kind.BLOCK_DEVICE: 0o06,
}
_MODE = {kind: bits << 12 for kind, bits in _TYPE.items()}


def _split(seconds: float) -> tuple[int, int]:
    whole, nanoseconds = divmod(round(seconds * _SECOND), _SECOND)
    return whole, nanoseconds


class Replies:
    """Packs replies with a mount's lifetimes, its idea of who owns things, and a part's number."""

    def __init__(self, options: FuseOptions, *, part: int = 0) -> None:
        self.base = part << PART_SHIFT
        """What the kernel's number of a node is greater by than the inode's."""
        self._entry_s, self._entry_ns = _split(options.entry_seconds)
        self._attr_s, self._attr_ns = _split(options.attribute_seconds)
        self._owner = (os.getuid(), os.getgid()) if options.owner == "me" else None
        negative_s, negative_ns = _split(options.negative_seconds)
        self.negative: bytes | None = None
        """The reply that says "no such name, and you may remember that"; None when it must be asked each time."""
        if options.negative_seconds > 0:
            self.negative = ENTRY_OUT.pack(0, 0, negative_s, 0, negative_ns, 0, *(0,) * 16)

    def _fields(self, a: Attributes) -> tuple[int, ...]:
        ino, kind, mode, nlink, uid, gid, rdev, size, blocks, atime_ns, mtime_ns, ctime_ns, _, _ = a
        if self._owner is not None:
            uid, gid = self._owner
        atime, atime_ns = divmod(atime_ns, _SECOND)
        mtime, mtime_ns = divmod(mtime_ns, _SECOND)
        ctime, ctime_ns = divmod(ctime_ns, _SECOND)
        mode |= _MODE[kind]
        times = (atime, mtime, ctime, atime_ns, mtime_ns, ctime_ns)
        return (self.base + ino, size, blocks, *times, mode, nlink, uid, gid, rdev, _BLOCK_BYTES, 0)

    def attributes(self, a: Attributes) -> bytes:
        return ATTR_OUT.pack(self._attr_s, self._attr_ns, 0, *self._fields(a))

    def entry(self, a: Attributes) -> bytes:
        fields = self._fields(a)
        return ENTRY_OUT.pack(fields[0], 0, self._entry_s, self._attr_s, self._entry_ns, self._attr_ns, *fields)

    def statx(self, a: Attributes) -> bytes:
        """Everything `statx` can ask, the time of birth included, which GETATTR cannot say."""
        uid, gid = self._owner or (a.uid, a.gid)
        times = [
            field for ns in (a.atime_ns, a.birth_ns, a.ctime_ns, a.mtime_ns) for field in (*divmod(ns, _SECOND), 0)
        ]
        return STATX_OUT.pack(
            self._attr_s,
            self._attr_ns,
            0,
            STATX_BASIC_AND_BIRTH,
            _BLOCK_BYTES,
            0,
            a.nlink,
            uid,
            gid,
            _MODE[a.kind] | a.mode,
            0,
            self.base + a.ino,
            a.size_bytes,
            a.blocks,
            0,
            *times,
            os.major(a.rdev),
            os.minor(a.rdev),
            0,
            0,
        )


def dirent(entry: DirectoryEntry, base: int = 0) -> bytes:
    """A row of READDIR. `base`: see `Replies`."""
    name = entry.name
    length = len(name)
    return DIRENT.pack(base + entry.ino, entry.cookie, length, _TYPE[entry.kind]) + name + PADDING[length % 8]


_NO_ENTRY = bytes(ENTRY_OUT.size)


def direntplus(entry: DirectoryEntry, packed: bytes | None, base: int = 0) -> bytes:
    """A row of READDIRPLUS; `packed` is the entry's `Replies.entry`, None for what the kernel shall look up itself
    (or has: `.` and `..`). Same size either way."""
    return (packed or _NO_ENTRY) + dirent(entry, base)


def direntplus_bytes(name: bytes) -> int:
    return DIRENTPLUS.size + len(name) + len(PADDING[len(name) % 8])
