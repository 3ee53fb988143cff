"""The kernel's FUSE protocol as bytes: numbers, layouts, and nothing that knows about files.

From `include/uapi/linux/fuse.h`, protocol 7.31 (Linux 5.4) to 7.45 (Linux 6.18). Every layout is native byte order,
standard sizes, no implicit padding. Structs are compiled once, here: `Struct.pack` of a whole reply (header
included) costs 0.3 µs where building it from parts costs 1 µs.
"""

from struct import Struct
from typing import Final

MAJOR: Final = 7
MINOR: Final = 45
"""What we offer; the session uses the smaller of this and the kernel's."""
MINOR_MIN: Final = 31
ROOT_NODE: Final = 1
PART_SHIFT: Final = 48
INO_MAX: Final = (1 << PART_SHIFT) - 1
"""The kernel's number of a node is `part << PART_SHIFT | ino` (`parts.Parts`)."""

# ---- opcodes ------------------------------------------------------------------------------------------------

LOOKUP: Final = 1
FORGET: Final = 2
GETATTR: Final = 3
SETATTR: Final = 4
READLINK: Final = 5
SYMLINK: Final = 6
MKNOD: Final = 8
MKDIR: Final = 9
UNLINK: Final = 10
RMDIR: Final = 11
RENAME: Final = 12
LINK: Final = 13
OPEN: Final = 14
READ: Final = 15
WRITE: Final = 16
STATFS: Final = 17
RELEASE: Final = 18
FSYNC: Final = 20
SETXATTR: Final = 21
GETXATTR: Final = 22
LISTXATTR: Final = 23
REMOVEXATTR: Final = 24
FLUSH: Final = 25
INIT: Final = 26
OPENDIR: Final = 27
READDIR: Final = 28
RELEASEDIR: Final = 29
FSYNCDIR: Final = 30
GETLK: Final = 31
SETLK: Final = 32
SETLKW: Final = 33
INTERRUPT: Final = 36
DESTROY: Final = 38
BATCH_FORGET: Final = 42
CREATE: Final = 35
FALLOCATE: Final = 43
READDIRPLUS: Final = 44
RENAME2: Final = 45
LSEEK: Final = 46
COPY_FILE_RANGE: Final = 47
SYNCFS: Final = 50
TMPFILE: Final = 51
STATX: Final = 52

OPCODE_COUNT: Final = 64
"""Opcodes at or above this are unknown, like 0."""

# ---- notifications (unique 0, code in the error field) -------------------------------------------------------

NOTIFY_INVAL_INODE: Final = 2
NOTIFY_INVAL_ENTRY: Final = 3
NOTIFY_DELETE: Final = 6
EXPIRE_ONLY: Final = 1
"""INVAL_ENTRY flag: ask again at the next use, but keep a directory that someone stands in."""

# ---- INIT ---------------------------------------------------------------------------------------------------

INIT_ASYNC_READ: Final = 1 << 0
INIT_POSIX_LOCKS: Final = 1 << 1
INIT_ATOMIC_O_TRUNC: Final = 1 << 3
INIT_BIG_WRITES: Final = 1 << 5
INIT_FLOCK_LOCKS: Final = 1 << 10
INIT_DO_READDIRPLUS: Final = 1 << 13
INIT_READDIRPLUS_AUTO: Final = 1 << 14
INIT_ASYNC_DIO: Final = 1 << 15
INIT_PARALLEL_DIROPS: Final = 1 << 18
INIT_MAX_PAGES: Final = 1 << 22
INIT_CACHE_SYMLINKS: Final = 1 << 23
INIT_EXPLICIT_INVAL_DATA: Final = 1 << 25
INIT_HANDLE_KILLPRIV_V2: Final = 1 << 28
INIT_EXT: Final = 1 << 30
# The next ones travel in flags2, shifted right by 32.
INIT_HAS_EXPIRE_ONLY: Final = 1 << 35
INIT_PASSTHROUGH: Final = 1 << 37

# ---- flags of single requests --------------------------------------------------------------------------------

GETATTR_FH: Final = 1 << 0

FATTR_MODE: Final = 1 << 0
FATTR_UID: Final = 1 << 1
FATTR_GID: Final = 1 << 2
FATTR_SIZE: Final = 1 << 3
FATTR_ATIME: Final = 1 << 4
FATTR_MTIME: Final = 1 << 5
FATTR_FH: Final = 1 << 6
FATTR_ATIME_NOW: Final = 1 << 7
FATTR_MTIME_NOW: Final = 1 << 8
FATTR_CTIME: Final = 1 << 10
FATTR_KILL_SUIDGID: Final = 1 << 11

FOPEN_DIRECT_IO: Final = 1 << 0
FOPEN_KEEP_CACHE: Final = 1 << 1
FOPEN_CACHE_DIR: Final = 1 << 3
FOPEN_STREAM: Final = 1 << 4
FOPEN_NOFLUSH: Final = 1 << 5
FOPEN_PASSTHROUGH: Final = 1 << 7

OPEN_KILL_SUIDGID: Final = 1 << 0
WRITE_KILL_SUIDGID: Final = 1 << 2
FSYNC_DATA_ONLY: Final = 1 << 0
LK_FLOCK: Final = 1 << 0

# ---- layouts ------------------------------------------------------------------------------------------------

IN_HEADER: Final = Struct("=IIQQIIII")
"""length, opcode, unique, node, uid, gid, pid, extension length"""
BODY: Final = IN_HEADER.size
OUT_HEADER: Final = Struct("=IiQ")
"""length, -errno (or the notification's code), unique"""

U64: Final = Struct("=Q")
INIT_IN: Final = Struct("=IIIII44x")
"""major, minor, max_readahead, flags, flags2"""
INIT_IN_SHORT: Final = Struct("=IIII")
INIT_OUT: Final = Struct("=IIIIHHIIHHII24x")
"""major, minor, max_readahead, flags, max_background, congestion_threshold, max_write, time_gran, max_pages,
map_alignment, flags2, max_stack_depth"""

_ATTR: Final = "QQQqqqIIIIIIIIII"
ATTR: Final = Struct("=" + _ATTR)
"""ino, size, blocks, atime, mtime, ctime, atimensec, mtimensec, ctimensec, mode, nlink, uid, gid, rdev, blksize,
flags. Seconds are signed here: the kernel casts, and times before 1970 exist."""
ENTRY_OUT: Final = Struct("=QQQQII" + _ATTR)
"""node, generation, entry seconds, attribute seconds, entry ns, attribute ns, then ATTR"""
ATTR_OUT: Final = Struct("=QII" + _ATTR)
"""attribute seconds, attribute ns, 0, then ATTR"""
OPEN_OUT: Final = Struct("=QIi")
"""handle, FOPEN flags, backing id"""

GETATTR_IN: Final = Struct("=IIQ")
SETATTR_IN: Final = Struct("=IIQQQqqqIIIIIIII")
"""valid, 0, handle, size, lock owner, atime, mtime, ctime, atimensec, mtimensec, ctimensec, mode, 0, uid, gid, 0"""
MKNOD_IN: Final = Struct("=IIII")
MKDIR_IN: Final = Struct("=II")
RENAME_IN: Final = Struct("=Q")
RENAME2_IN: Final = Struct("=QII")
LINK_IN: Final = Struct("=Q")
OPEN_IN: Final = Struct("=II")
CREATE_IN: Final = Struct("=IIII")
"""flags, mode, umask, open flags"""
READ_IN: Final = Struct("=QQII")
"""handle, offset, size, read flags (lock owner and open flags follow, unused)"""
WRITE_IN: Final = Struct("=QQIIQII")
"""handle, offset, size, write flags, lock owner, open flags, 0; then the bytes"""
WRITE_BYTES: Final = BODY + WRITE_IN.size
WRITE_OUT: Final = Struct("=II")
WRITE_REPLY: Final = Struct("=IiQII")
"""A whole reply: header, bytes written, 0"""
RELEASE_IN: Final = Struct("=QIIQ")
FLUSH_IN: Final = Struct("=QIIQ")
LK_IN: Final = Struct("=QQQQIIII")
"""handle, owner, first byte, last byte, type, process, lock flags, 0"""
LK_OUT: Final = Struct("=QQII")
"""first byte, last byte, type, process"""
FSYNC_IN: Final = Struct("=QII")
XATTR_IN: Final = Struct("=II")
"""size, flags; for set: the name, then the value"""
SIZE_OUT: Final = Struct("=II")
FALLOCATE_IN: Final = Struct("=QQQII")
LSEEK_IN: Final = Struct("=QQII")
COPY_IN: Final = Struct("=QQQQQQQ")
"""handle in, offset in, node out, handle out, offset out, length, flags"""
STATFS_OUT: Final = Struct("=QQQQQIIII24x")
"""blocks, free, available, inodes, inodes free, block bytes, name bytes, fragment bytes, 0"""
FORGET_ONE: Final = Struct("=QQ")
BATCH_FORGET_IN: Final = Struct("=II")
STATX_IN: Final = Struct("=IIQII")
_SX_TIME = "qIi"
STATX_OUT: Final = Struct("=QII16x" + "IIQIIIHHQQQQ" + _SX_TIME * 4 + "IIII112x")
"""attribute seconds, ns, flags; mask, blksize, attributes, nlink, uid, gid, mode, 0, ino, size, blocks,
attribute mask; access, birth, change and modification time as (seconds, ns, 0); rdev major, minor, dev major,
minor"""
STATX_BASIC_AND_BIRTH: Final = 0xFFF

DIRENT: Final = Struct("=QQII")
"""ino, cookie, name length, type; then the name, padded to 8 bytes"""
DIRENTPLUS: Final = Struct(ENTRY_OUT.format + "QQII")
"""ENTRY_OUT, then DIRENT"""
PADDING: Final = tuple(bytes(-length % 8) for length in range(8))
"""`PADDING[length % 8]` fills a name of that length up to 8 bytes."""

INVAL_INODE_OUT: Final = Struct("=IiQQqq")
"""A whole notification: header, node, offset, length. Offset -1: attributes only. Length 0: to the end."""
INVAL_ENTRY_OUT: Final = Struct("=IiQQII")
"""Header, parent, name length, flags; then the name and a zero byte"""
DELETE_OUT: Final = Struct("=IiQQQII")
"""Header, parent, child, name length, 0; then the name and a zero byte"""


def inval_inode(node: int, offset: int, length: int) -> bytes:
    """Forget the attributes of `node`, and its cached bytes (or a directory's cached listing) unless `offset` is
    -1. `length` 0 means to the end."""
    return INVAL_INODE_OUT.pack(INVAL_INODE_OUT.size, NOTIFY_INVAL_INODE, 0, node, offset, length)


def inval_entry(parent: int, name: bytes, flags: int) -> bytes:
    """Forget what `name` in `parent` stands for, be it something or nothing."""
    length = INVAL_ENTRY_OUT.size + len(name) + 1
    return INVAL_ENTRY_OUT.pack(length, NOTIFY_INVAL_ENTRY, 0, parent, len(name), flags) + name + b"\0"


def delete(parent: int, child: int, name: bytes) -> bytes:
    """`name` in `parent`, which was `child`, is gone. Tells inotify watchers too, which INVAL_ENTRY does not."""
    length = DELETE_OUT.size + len(name) + 1
    return DELETE_OUT.pack(length, NOTIFY_DELETE, 0, parent, child, len(name), 0) + name + b"\0"
