"""What a case of the behaviour suite is: a function over a file system, given as operations on paths.

A case uses nothing but `FileSystem`, which raises `OSError`, and plain assertions. It gets an empty directory as its
root. Paths are relative to it, as bytes, and never follow a symbolic link in their last part.
"""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

ROOT = b""
RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2
FALLOCATE_KEEP_SIZE = 1
FALLOCATE_PUNCH_HOLE = 2
FALLOCATE_ZERO_RANGE = 16


class Facts(NamedTuple):
    """What a case looks at of `stat`."""

    ino: int
    mode: int
    """Type and permission bits."""
    nlink: int
    uid: int
    gid: int
    rdev: int
    size: int
    blocks: int
    atime_ns: int
    mtime_ns: int
    ctime_ns: int


class FileSystem(Protocol):
    """The operations under test, with the meaning and the errors of the system calls they are named after."""

    features: frozenset[str]
    """What of `xattrs`, `owners` (this process is root), `devices`, `holes`, `exchange` can be asked."""

    def stat(self, path: bytes) -> Facts: ...
    def open(self, path: bytes, flags: int, mode: int = 0o644) -> int: ...
    def close(self, file: int) -> None: ...
    def fstat(self, file: int) -> Facts: ...
    def pread(self, file: int, size: int, offset: int) -> bytes: ...
    def pwrite(self, file: int, data: bytes, offset: int) -> int: ...
    def ftruncate(self, file: int, size: int) -> None: ...
    def fsync(self, file: int) -> None: ...
    def fallocate(self, file: int, mode: int, offset: int, length: int) -> None: ...
    def lseek(self, file: int, offset: int, whence: int) -> int: ...
    def copy_range(self, source: int, source_offset: int, target: int, target_offset: int, length: int) -> int: ...
    def truncate(self, path: bytes, size: int) -> None: ...
    def mkdir(self, path: bytes, mode: int = 0o755) -> None: ...
    def mknod(self, path: bytes, mode: int, rdev: int = 0) -> None: ...
    def symlink(self, target: bytes, path: bytes) -> None: ...
    def readlink(self, path: bytes) -> bytes: ...
    def link(self, path: bytes, new_path: bytes) -> None: ...
    def unlink(self, path: bytes) -> None: ...
    def rmdir(self, path: bytes) -> None: ...
    def rename(self, path: bytes, new_path: bytes, flags: int = 0) -> None: ...
    def names(self, path: bytes) -> list[bytes]:
        """Sorted, without `.` and `..`."""
        ...

    def chmod(self, path: bytes, mode: int) -> None: ...
    def chown(self, path: bytes, uid: int, gid: int) -> None: ...
    def utime(self, path: bytes, atime_ns: int, mtime_ns: int) -> None: ...
    def futime(self, file: int, atime_ns: int, mtime_ns: int) -> None: ...
    def fsync_directory(self, path: bytes) -> None: ...
    def get_xattr(self, path: bytes, name: bytes) -> bytes: ...
    def set_xattr(self, path: bytes, name: bytes, value: bytes, flags: int = 0) -> None: ...
    def list_xattrs(self, path: bytes) -> list[bytes]:
        """Sorted, `user.*` only."""
        ...

    def remove_xattr(self, path: bytes, name: bytes) -> None: ...
    def free_bytes(self) -> int: ...
    def tick(self) -> None:
        """Let so much time pass that two changes bear different times."""
        ...


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    run: Callable[[FileSystem], None]
    needs: frozenset[str]


Body = TypeVar("Body", bound=Callable[[FileSystem], None])


class Cases:
    """A module's cases, in the order of their definition."""

    def __init__(self) -> None:
        self.found: list[Case] = []

    def __call__(self, *needs: str) -> Callable[[Body], Body]:
        def add(body: Body) -> Body:
            self.found.append(Case(body.__name__, body, frozenset(needs)))
            return body

        return add


@contextmanager
def refused(*numbers: int) -> Iterator[None]:
    """The block must fail with one of these errors."""
    try:
        yield
    except OSError as error:
        assert error.errno in numbers, f"{_name(error.errno)} instead of {', '.join(map(_name, numbers))}"
    else:
        raise AssertionError(f"nothing was refused; {', '.join(map(_name, numbers))} was expected")


def _name(number: int | None) -> str:
    return errno.errorcode.get(number or 0, str(number))


def write(fs: FileSystem, path: bytes, data: bytes) -> None:
    """Make or replace a file's bytes, as a program does that opens with `O_TRUNC`."""
    file = fs.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        done = 0
        while done < len(data):
            done += fs.pwrite(file, data[done:], done)
    finally:
        fs.close(file)


def read(fs: FileSystem, path: bytes) -> bytes:
    """A file's bytes, whole."""
    file = fs.open(path, os.O_RDONLY)
    try:
        made = b""
        while piece := fs.pread(file, 1 << 20, len(made)):
            made += piece
        return made
    finally:
        fs.close(file)
