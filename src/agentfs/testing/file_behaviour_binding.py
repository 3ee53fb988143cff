"""What the file-system behaviour suite asks of a binding, and the binding to a directory that the kernel serves.

Paths are bytes, relative to the test's own directory (`b""` is that directory), with `/` between names. Every
operation means what the system call of that name means on Linux, and raises `OSError` with its errno.
"""

import contextlib
import ctypes
import enum
import errno
import os
import stat
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol, TypeVar

import pytest

RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2
FALLOC_KEEP_SIZE = 1
FALLOC_PUNCH_HOLE = 2
_AT_FDCWD = -100
_libc = ctypes.CDLL(None, use_errno=True)
_Case = TypeVar("_Case", bound=Callable[..., None])


class Capability(enum.Enum):
    """What not every binding has. A case that needs what is lacking is not collected there, and the binding's
    declaration (`FileBehaviour.left_out`) names it."""

    KERNEL = "any program may open the paths: mmap, locks, `.` and `..`, open directories, O_DIRECT"
    OUR_LIMITS = "the limits and refusals of docs/posix.md; a local file system has its own"
    OWNERS = "runs as root: owners can be changed and devices made"


class Facts(NamedTuple):
    """What `stat` shows."""

    ino: int
    mode: int
    """With the type bits."""
    nlink: int
    uid: int
    gid: int
    rdev: int
    size_bytes: int
    blocks: int
    atime_ns: int
    mtime_ns: int
    ctime_ns: int

    @property
    def permissions(self) -> int:
        return stat.S_IMODE(self.mode)


class Entry(NamedTuple):
    """What `readdir` shows."""

    name: bytes
    ino: int
    type_bits: int
    """As in `stat.S_IFMT`."""


class Files(Protocol):
    """A binding. Descriptors are its own numbers: only its own methods take them."""

    capabilities: frozenset[Capability]

    def open(self, path: bytes, flags: int, mode: int = 0o666) -> int: ...
    def close(self, fd: int) -> None: ...
    def read(self, fd: int, size: int, offset: int) -> bytes: ...
    def write(self, fd: int, data: bytes, offset: int) -> int:
        """`pwrite`: with `O_APPEND` at the end, whatever the offset."""
        ...

    def truncate(self, path: bytes, size: int) -> None: ...
    def ftruncate(self, fd: int, size: int) -> None: ...
    def fsync(self, fd: int, *, data_only: bool = False) -> None: ...
    def fsync_directory(self, path: bytes) -> None: ...
    def fallocate(self, fd: int, mode: int, offset: int, length: int) -> None: ...
    def seek(self, fd: int, offset: int, whence: int) -> int:
        """`lseek` with `SEEK_DATA`, `SEEK_HOLE` or `SEEK_END`."""
        ...

    def copy_range(self, source: int, source_offset: int, target: int, target_offset: int, length: int) -> int: ...

    def stat(self, path: bytes, *, follow: bool = True) -> Facts: ...
    def fstat(self, fd: int) -> Facts: ...
    def chmod(self, path: bytes, mode: int) -> None: ...
    def chown(self, path: bytes, uid: int, gid: int, *, follow: bool = True) -> None:
        """-1 leaves one as it is."""
        ...

    def utime(self, path: bytes, atime_ns: int, mtime_ns: int, *, follow: bool = True) -> None: ...
    def futime(self, fd: int, atime_ns: int, mtime_ns: int) -> None: ...
    def umask(self, mask: int) -> int: ...

    def mkdir(self, path: bytes, mode: int = 0o777) -> None: ...
    def rmdir(self, path: bytes) -> None: ...
    def mknod(self, path: bytes, mode: int, rdev: int = 0) -> None: ...
    def symlink(self, target: bytes, path: bytes) -> None: ...
    def readlink(self, path: bytes) -> bytes: ...
    def link(self, old: bytes, new: bytes) -> None:
        """A symbolic link is linked itself, as `link(2)` does on Linux."""
        ...

    def unlink(self, path: bytes) -> None: ...
    def rename(self, old: bytes, new: bytes, flags: int = 0) -> None: ...

    def open_directory(self, path: bytes) -> int: ...
    def read_directory(self, number: int) -> Entry | None:
        """The next entry, `.` and `..` among them; None at the end."""
        ...

    def rewind_directory(self, number: int) -> None: ...
    def close_directory(self, number: int) -> None: ...

    def get_xattr(self, path: bytes, name: str) -> bytes: ...
    def set_xattr(self, path: bytes, name: str, value: bytes, flags: int = 0) -> None: ...
    def list_xattrs(self, path: bytes) -> list[str]: ...
    def remove_xattr(self, path: bytes, name: str) -> None: ...

    def statvfs(self) -> tuple[int, int, int]:
        """Longest name in bytes, blocks, blocks available."""
        ...


def needs(capability: Capability) -> Callable[[_Case], _Case]:
    """Mark a case as one that makes sense only where there is `capability`."""

    def marked(case: _Case) -> _Case:
        case.__dict__["needs"] = capability
        return case

    return marked


# ---- the kernel's own ----


class _Dirent(ctypes.Structure):
    _fields_ = (
        ("d_ino", ctypes.c_uint64),
        ("d_off", ctypes.c_int64),
        ("d_reclen", ctypes.c_uint16),
        ("d_type", ctypes.c_uint8),
        ("d_name", ctypes.c_char * 256),
    )


_libc.opendir.restype = ctypes.c_void_p
_libc.readdir.restype = ctypes.POINTER(_Dirent)
for _name in ("readdir", "rewinddir", "closedir"):
    getattr(_libc, _name).argtypes = (ctypes.c_void_p,)


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _facts(info: os.stat_result) -> Facts:
    return Facts(
        info.st_ino, info.st_mode, info.st_nlink, info.st_uid, info.st_gid, info.st_rdev, info.st_size,
        info.st_blocks, info.st_atime_ns, info.st_mtime_ns, info.st_ctime_ns,
    )  # fmt: skip


class KernelFiles:
    """A directory that the kernel serves: a local one, or one on a mount."""

    def __init__(self, directory: bytes, capabilities: frozenset[Capability]) -> None:
        self.directory = directory
        self.capabilities = capabilities
        self._directories: dict[int, int] = {}

    def path(self, path: bytes) -> bytes:
        """Where any program finds `path`."""
        return self.directory + b"/" + path if path else self.directory

    # ---- bytes ----

    def open(self, path: bytes, flags: int, mode: int = 0o666) -> int:
        return os.open(self.path(path), flags, mode)

    def close(self, fd: int) -> None:
        os.close(fd)

    def read(self, fd: int, size: int, offset: int) -> bytes:
        return os.pread(fd, size, offset)

    def write(self, fd: int, data: bytes, offset: int) -> int:
        return os.pwrite(fd, data, offset)

    def truncate(self, path: bytes, size: int) -> None:
        os.truncate(self.path(path), size)

    def ftruncate(self, fd: int, size: int) -> None:
        os.ftruncate(fd, size)

    def fsync(self, fd: int, *, data_only: bool = False) -> None:
        (os.fdatasync if data_only else os.fsync)(fd)

    def fsync_directory(self, path: bytes) -> None:
        fd = os.open(self.path(path), os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def fallocate(self, fd: int, mode: int, offset: int, length: int) -> None:
        _check(_libc.fallocate(fd, mode, ctypes.c_int64(offset), ctypes.c_int64(length)))

    def seek(self, fd: int, offset: int, whence: int) -> int:
        return os.lseek(fd, offset, whence)

    def copy_range(self, source: int, source_offset: int, target: int, target_offset: int, length: int) -> int:
        return os.copy_file_range(source, target, length, source_offset, target_offset)

    # ---- attributes ----

    def stat(self, path: bytes, *, follow: bool = True) -> Facts:
        return _facts(os.stat(self.path(path), follow_symlinks=follow))

    def fstat(self, fd: int) -> Facts:
        return _facts(os.fstat(fd))

    def chmod(self, path: bytes, mode: int) -> None:
        os.chmod(self.path(path), mode)

    def chown(self, path: bytes, uid: int, gid: int, *, follow: bool = True) -> None:
        os.chown(self.path(path), uid, gid, follow_symlinks=follow)

    def utime(self, path: bytes, atime_ns: int, mtime_ns: int, *, follow: bool = True) -> None:
        os.utime(self.path(path), ns=(atime_ns, mtime_ns), follow_symlinks=follow)

    def futime(self, fd: int, atime_ns: int, mtime_ns: int) -> None:
        os.utime(fd, ns=(atime_ns, mtime_ns))

    def umask(self, mask: int) -> int:
        return os.umask(mask)

    # ---- names ----

    def mkdir(self, path: bytes, mode: int = 0o777) -> None:
        os.mkdir(self.path(path), mode)

    def rmdir(self, path: bytes) -> None:
        os.rmdir(self.path(path))

    def mknod(self, path: bytes, mode: int, rdev: int = 0) -> None:
        os.mknod(self.path(path), mode, rdev)

    def symlink(self, target: bytes, path: bytes) -> None:
        os.symlink(target, self.path(path))

    def readlink(self, path: bytes) -> bytes:
        return os.readlink(self.path(path))

    def link(self, old: bytes, new: bytes) -> None:
        os.link(self.path(old), self.path(new), follow_symlinks=False)

    def unlink(self, path: bytes) -> None:
        os.unlink(self.path(path))

    def rename(self, old: bytes, new: bytes, flags: int = 0) -> None:
        if flags == 0:
            os.rename(self.path(old), self.path(new))
        else:
            _check(_libc.renameat2(_AT_FDCWD, self.path(old), _AT_FDCWD, self.path(new), ctypes.c_uint(flags)))

    # ---- directories ----

    def open_directory(self, path: bytes) -> int:
        stream = _libc.opendir(self.path(path))
        if not stream:
            _check(-1)
        number = max(self._directories, default=0) + 1
        self._directories[number] = stream
        return number

    def read_directory(self, number: int) -> Entry | None:
        row = _libc.readdir(self._directories[number])
        if not row:
            return None
        name = ctypes.string_at(ctypes.addressof(row.contents) + _Dirent.d_name.offset)
        return Entry(name, row.contents.d_ino, row.contents.d_type << 12)

    def rewind_directory(self, number: int) -> None:
        _libc.rewinddir(self._directories[number])

    def close_directory(self, number: int) -> None:
        _libc.closedir(self._directories.pop(number))

    # ---- the rest ----

    def get_xattr(self, path: bytes, name: str) -> bytes:
        return os.getxattr(self.path(path), name)

    def set_xattr(self, path: bytes, name: str, value: bytes, flags: int = 0) -> None:
        os.setxattr(self.path(path), name, value, flags)

    def list_xattrs(self, path: bytes) -> list[str]:
        return os.listxattr(self.path(path))

    def remove_xattr(self, path: bytes, name: str) -> None:
        os.removexattr(self.path(path), name)

    def statvfs(self) -> tuple[int, int, int]:
        facts = os.statvfs(self.path(b""))
        return facts.f_namemax, facts.f_blocks, facts.f_bavail


# ---- what the cases are written with ----


@contextlib.contextmanager
def refused(number: int) -> Iterator[None]:
    """The block must raise OSError with this errno."""
    with pytest.raises(OSError) as caught:
        yield
    got = caught.value.errno or 0
    assert got == number, f"{errno.errorcode.get(got)} instead of {errno.errorcode[number]}"


@contextlib.contextmanager
def opened(files: Files, path: bytes, flags: int = os.O_RDWR | os.O_CREAT, mode: int = 0o644) -> Iterator[int]:
    """A descriptor, closed at the end."""
    fd = files.open(path, flags, mode)
    try:
        yield fd
    finally:
        files.close(fd)


def put(files: Files, path: bytes, data: bytes = b"") -> None:
    """Make or replace a whole file."""
    with opened(files, path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as fd:
        done = 0
        while done < len(data):
            done += files.write(fd, data[done:], done)


def get(files: Files, path: bytes) -> bytes:
    """A whole file."""
    with opened(files, path, os.O_RDONLY) as fd:
        return read_all(files, fd)


def read_all(files: Files, fd: int) -> bytes:
    """All that a descriptor shows."""
    pieces: list[bytes] = []
    offset = 0
    while piece := files.read(fd, 1 << 20, offset):
        pieces.append(piece)
        offset += len(piece)
    return b"".join(pieces)


def names(files: Files, path: bytes = b"") -> list[bytes]:
    """What is in a directory, sorted, without `.` and `..`."""
    return sorted(entry.name for entry in entries(files, path) if entry.name not in (b".", b".."))


def entries(files: Files, path: bytes = b"") -> list[Entry]:
    """The whole listing, in the directory's order."""
    number = files.open_directory(path)
    try:
        return list(iter(lambda: files.read_directory(number), None))
    finally:
        files.close_directory(number)


def shown(files: Files, path: bytes = b"") -> dict[bytes, tuple[int, int, bytes]]:
    """All below `path`: path → mode with type, links, bytes or target."""
    found: dict[bytes, tuple[int, int, bytes]] = {}
    for name in names(files, path):
        below = path + b"/" + name if path else name
        facts = files.stat(below, follow=False)
        data = b""
        if stat.S_ISREG(facts.mode):
            data = get(files, below)
        elif stat.S_ISLNK(facts.mode):
            data = files.readlink(below)
        elif stat.S_ISDIR(facts.mode):
            found.update(shown(files, below))
        found[below] = facts.mode, facts.nlink, data
    return found
