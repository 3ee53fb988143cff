"""The core bound to the behaviour suite: a `Tree`, with the walking of paths that the kernel does for a mount."""

import errno
import os
import stat
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

from agentfs.errors import AgentFSError
from agentfs.model.records import Kind
from agentfs.testing.file_behaviour_binding import Capability, Entry, Facts
from agentfs.tree.tree import Tree
from agentfs.tree.values import AttributeChange, Attributes, Caller, Handle

ROOT = 1
_SYMLINKS_MAX = 40
_BATCH = 100


@contextmanager
def as_os_errors() -> Iterator[None]:
    """Our errors as `OSError`s with their errno."""
    try:
        yield
    except AgentFSError as error:
        raise OSError(error.errno, f"{error.code}: {error}") from error


def _failed(number: int) -> OSError:
    return OSError(number, os.strerror(number))


class TreeFiles:
    """A directory of a tree. `direct`: files are read and written past the tree, through the backing file's
    descriptor, as in passthrough."""

    capabilities = frozenset({Capability.OUR_LIMITS, Capability.OWNERS})

    def __init__(self, tree: Tree, *, directory: int = ROOT, direct: bool = False) -> None:
        self.tree = tree
        self.directory = directory
        self.direct = direct
        self.caller = Caller(os.geteuid(), os.getegid(), 0o022)
        self._numbers = count(1000)
        self._handles: dict[int, Handle] = {}
        self._listings: dict[int, tuple[int, int, deque[Entry]]] = {}

    # ---- paths ----

    def _child(self, parent: Attributes, name: bytes) -> Attributes | None:
        if parent.kind is not Kind.DIRECTORY:
            raise _failed(errno.ENOTDIR)
        with as_os_errors():
            try:
                return self.tree.lookup(parent.ino, name)
            except AgentFSError as error:
                if error.errno == errno.ENOENT:
                    return None
                raise

    def _walk(self, path: bytes, *, follow: bool) -> tuple[int, bytes, Attributes | None]:
        """The directory, the name in it, and what stands there. Links lead from the directory they lie in."""
        left = deque(part for part in path.split(b"/") if part)
        with as_os_errors():
            here = self.tree.attributes(self.directory)
        above: list[tuple[bytes, Attributes]] = []
        name, links = b".", 0
        while left:
            part = left.popleft()
            if here.kind is not Kind.DIRECTORY:
                raise _failed(errno.ENOTDIR)
            if part in (b"", b".", b".."):
                name, here = above.pop() if part == b".." and above else (name, here)
                continue
            found = self._child(here, part)
            if found is None:
                if left:
                    raise _failed(errno.ENOENT)
                return here.ino, part, None
            if found.kind is Kind.SYMLINK and (left or follow):
                links += 1
                if links > _SYMLINKS_MAX:
                    raise _failed(errno.ELOOP)
                left.extendleft(reversed(self.tree.readlink(found.ino).split(b"/")))
                continue
            above.append((name, here))
            name, here = part, found
        return (above[-1][1].ino if above else here.ino), name, here

    def _at(self, path: bytes, *, follow: bool = True) -> Attributes:
        found = self._walk(path, follow=follow)[2]
        if found is None:
            raise _failed(errno.ENOENT)
        return found

    def _place(self, path: bytes) -> tuple[int, bytes]:
        return self._walk(path, follow=False)[:2]

    # ---- bytes ----

    def open(self, path: bytes, flags: int, mode: int = 0o666) -> int:
        exclusive = bool(flags & os.O_CREAT and flags & os.O_EXCL)
        parent, name, found = self._walk(path, follow=not (exclusive or flags & os.O_NOFOLLOW))
        with as_os_errors():
            if found is None:
                if not flags & os.O_CREAT:
                    raise _failed(errno.ENOENT)
                return self._kept(self.tree.create(parent, name, mode, self.caller, flags, direct=self.direct)[1])
            if exclusive:
                raise _failed(errno.EEXIST)
            if found.kind is Kind.SYMLINK:
                raise _failed(errno.ELOOP)
            if flags & os.O_DIRECTORY and found.kind is not Kind.DIRECTORY:
                raise _failed(errno.ENOTDIR)
            return self._kept(self.tree.open(found.ino, flags & ~os.O_CREAT, direct=self.direct))

    def _kept(self, handle: Handle) -> int:
        number = next(self._numbers)
        self._handles[number] = handle
        return number

    def _handle(self, fd: int) -> Handle:
        found = self._handles.get(fd)
        if found is None:
            raise _failed(errno.EBADF)
        return found

    def close(self, fd: int) -> None:
        handle = self._handles.pop(fd)
        with as_os_errors():
            try:
                self.tree.flush(handle)
            finally:
                self.tree.release(handle)

    def flush(self, fd: int) -> None:
        """What `close` of a duplicate does."""
        with as_os_errors():
            self.tree.flush(self._handle(fd))

    def read(self, fd: int, size: int, offset: int) -> bytes:
        handle = self._handle(fd)
        if self.direct and handle.flags & os.O_ACCMODE != os.O_WRONLY:
            return os.pread(handle.fd, size, offset)
        with as_os_errors():
            return self.tree.read(handle, offset, size)

    def write(self, fd: int, data: bytes, offset: int) -> int:
        handle = self._handle(fd)
        if self.direct and handle.writable:
            return os.pwrite(handle.fd, data, offset)
        with as_os_errors():
            return self.tree.write(handle, offset, data)

    def truncate(self, path: bytes, size: int) -> None:
        self._set(self._at(path).ino, AttributeChange(size_bytes=size))

    def ftruncate(self, fd: int, size: int) -> None:
        handle = self._handle(fd)
        if not handle.writable:
            raise _failed(errno.EINVAL)
        self._set(handle.ino, AttributeChange(size_bytes=size), handle)

    def fsync(self, fd: int, *, data_only: bool = False) -> None:
        with as_os_errors():
            self.tree.fsync(self._handle(fd), data_only=data_only)

    def fsync_directory(self, path: bytes) -> None:
        with as_os_errors():
            self.tree.fsync_directory(self._at(path).ino)

    def fallocate(self, fd: int, mode: int, offset: int, length: int) -> None:
        with as_os_errors():
            self.tree.fallocate(self._handle(fd), mode, offset, length)

    def seek(self, fd: int, offset: int, whence: int) -> int:
        with as_os_errors():
            return self.tree.seek(self._handle(fd), offset, whence)

    def copy_range(self, source: int, source_offset: int, target: int, target_offset: int, length: int) -> int:
        with as_os_errors():
            return self.tree.copy_range(
                self._handle(source), source_offset, self._handle(target), target_offset, length
            )

    # ---- attributes ----

    def stat(self, path: bytes, *, follow: bool = True) -> Facts:
        return _facts(self._at(path, follow=follow))

    def fstat(self, fd: int) -> Facts:
        handle = self._handle(fd)
        with as_os_errors():
            return _facts(self.tree.attributes(handle.ino, handle))

    def _set(self, ino: int, change: AttributeChange, handle: Handle | None = None) -> None:
        with as_os_errors():
            self.tree.set_attributes(ino, change, handle=handle)

    def chmod(self, path: bytes, mode: int) -> None:
        self._set(self._at(path).ino, AttributeChange(mode=mode))

    def chown(self, path: bytes, uid: int, gid: int, *, follow: bool = True) -> None:
        change = AttributeChange(uid=None if uid == -1 else uid, gid=None if gid == -1 else gid)
        self._set(self._at(path, follow=follow).ino, change)

    def utime(self, path: bytes, atime_ns: int, mtime_ns: int, *, follow: bool = True) -> None:
        change = AttributeChange(atime_ns=atime_ns, mtime_ns=mtime_ns)
        self._set(self._at(path, follow=follow).ino, change)

    def futime(self, fd: int, atime_ns: int, mtime_ns: int) -> None:
        handle = self._handle(fd)
        self._set(handle.ino, AttributeChange(atime_ns=atime_ns, mtime_ns=mtime_ns), handle)

    def umask(self, mask: int) -> int:
        old = self.caller.umask
        self.caller = Caller(self.caller.uid, self.caller.gid, mask)
        return old

    # ---- names ----

    def mkdir(self, path: bytes, mode: int = 0o777) -> None:
        with as_os_errors():
            self.tree.mkdir(*self._place(path), mode & 0o1777, self.caller)  # as `vfs_mkdir` does

    def rmdir(self, path: bytes) -> None:
        with as_os_errors():
            self.tree.rmdir(*self._place(path))

    def mknod(self, path: bytes, mode: int, rdev: int = 0) -> None:
        with as_os_errors():
            self.tree.mknod(*self._place(path), mode, rdev, self.caller)

    def symlink(self, target: bytes, path: bytes) -> None:
        with as_os_errors():
            self.tree.symlink(*self._place(path), target, self.caller)

    def readlink(self, path: bytes) -> bytes:
        found = self._at(path, follow=False)
        with as_os_errors():
            return self.tree.readlink(found.ino)

    def link(self, old: bytes, new: bytes) -> None:
        found = self._at(old, follow=False)
        with as_os_errors():
            self.tree.link(found.ino, *self._place(new))

    def unlink(self, path: bytes) -> None:
        with as_os_errors():
            self.tree.unlink(*self._place(path))

    def rename(self, old: bytes, new: bytes, flags: int = 0) -> None:
        source = self._place(old)
        target = self._place(new)
        with as_os_errors():
            self.tree.rename(*source, *target, flags)

    # ---- directories ----

    def open_directory(self, path: bytes) -> int:
        found = self._at(path)
        with as_os_errors():
            number = self.tree.open_directory(found.ino)
        self._listings[number] = (number, 0, deque())
        return number

    def read_directory(self, number: int) -> Entry | None:
        handle, cookie, rows = self._listings[number]
        if not rows:
            with as_os_errors():
                batch = self.tree.read_directory(handle, cookie, _BATCH)
            if not batch:
                return None
            rows.extend(Entry(it.name, it.ino, _type_bits(it.kind)) for it in batch)
            self._listings[number] = (handle, batch[-1].cookie, rows)
        return rows.popleft()

    def rewind_directory(self, number: int) -> None:
        self._listings[number] = (number, 0, deque())

    def close_directory(self, number: int) -> None:
        del self._listings[number]
        self.tree.release_directory(number)

    # ---- the rest ----

    def get_xattr(self, path: bytes, name: str) -> bytes:
        found = self._at(path)
        with as_os_errors():
            return self.tree.get_xattr(found.ino, os.fsencode(name))

    def set_xattr(self, path: bytes, name: str, value: bytes, flags: int = 0) -> None:
        found = self._at(path)
        with as_os_errors():
            self.tree.set_xattr(found.ino, os.fsencode(name), value, flags)

    def list_xattrs(self, path: bytes) -> list[str]:
        found = self._at(path)
        with as_os_errors():
            return [os.fsdecode(name) for name in self.tree.list_xattrs(found.ino)]

    def remove_xattr(self, path: bytes, name: str) -> None:
        found = self._at(path)
        with as_os_errors():
            self.tree.remove_xattr(found.ino, os.fsencode(name))

    def statvfs(self) -> tuple[int, int, int]:
        facts = self.tree.statistics()
        return facts.name_bytes_max, facts.blocks, facts.blocks_available


def _facts(found: Attributes) -> Facts:
    return Facts(
        found.ino, found.st_mode, found.nlink, found.uid, found.gid, found.rdev, found.size_bytes,
        found.blocks, found.atime_ns, found.mtime_ns, found.ctime_ns,
    )  # fmt: skip


_TYPES = {
    Kind.FILE: stat.S_IFREG, Kind.DIRECTORY: stat.S_IFDIR, Kind.SYMLINK: stat.S_IFLNK, Kind.FIFO: stat.S_IFIFO,
    Kind.SOCKET: stat.S_IFSOCK, Kind.CHARACTER_DEVICE: stat.S_IFCHR, Kind.BLOCK_DEVICE: stat.S_IFBLK,
}  # fmt: skip


def _type_bits(kind: Kind) -> int:
    return _TYPES[kind]
