"""The behaviour suite's `FileSystem` over a directory (of any file system, a mount too) and over a `Tree`."""

import ctypes
import errno
import os
import time
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from agentfs.errors import AgentFSError, NotResident
from agentfs.model.records import ROOT_ID
from agentfs.testing.behaviour_case import Facts
from agentfs.tree.tree import Tree
from agentfs.tree.values import AttributeChange, Attributes, Caller, Handle

_TICK_SECONDS = 0.012
"""More than the kernel's clock tick (4 or 10 ms), which bounds how fine the times of a file system are."""
_AT_FDCWD = -100
_libc = ctypes.CDLL(None, use_errno=True)

P = ParamSpec("P")
R = TypeVar("R")


def system_features() -> frozenset[str]:
    """What can be asked of a Linux file system by this process."""
    features = {"xattrs", "holes", "exchange"}
    return frozenset(features | {"owners", "devices"} if os.geteuid() == 0 else features)


class OsFileSystem:
    """A directory, through system calls."""

    def __init__(self, root: str, *, features: frozenset[str] | None = None) -> None:
        self._root = os.fsencode(root)
        self.features = system_features() if features is None else features

    def _at(self, path: bytes) -> bytes:
        return os.path.join(self._root, path) if path else self._root

    def stat(self, path: bytes) -> Facts:
        return _facts(os.lstat(self._at(path)))

    def open(self, path: bytes, flags: int, mode: int = 0o644) -> int:
        previous = os.umask(0)
        try:
            return os.open(self._at(path), flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        finally:
            os.umask(previous)

    def close(self, file: int) -> None:
        os.close(file)

    def fstat(self, file: int) -> Facts:
        return _facts(os.fstat(file))

    def pread(self, file: int, size: int, offset: int) -> bytes:
        return os.pread(file, size, offset)

    def pwrite(self, file: int, data: bytes, offset: int) -> int:
        return os.pwrite(file, data, offset)

    def ftruncate(self, file: int, size: int) -> None:
        os.ftruncate(file, size)

    def fsync(self, file: int) -> None:
        os.fsync(file)

    def fallocate(self, file: int, mode: int, offset: int, length: int) -> None:
        if _libc.fallocate(file, mode, ctypes.c_int64(offset), ctypes.c_int64(length)) != 0:
            _raise_errno()

    def lseek(self, file: int, offset: int, whence: int) -> int:
        return os.lseek(file, offset, whence)

    def copy_range(self, source: int, source_offset: int, target: int, target_offset: int, length: int) -> int:
        return os.copy_file_range(source, target, length, source_offset, target_offset)

    def truncate(self, path: bytes, size: int) -> None:
        os.truncate(self._at(path), size)

    def mkdir(self, path: bytes, mode: int = 0o755) -> None:
        previous = os.umask(0)
        try:
            os.mkdir(self._at(path), mode)
        finally:
            os.umask(previous)

    def mknod(self, path: bytes, mode: int, rdev: int = 0) -> None:
        os.mknod(self._at(path), mode, rdev)

    def symlink(self, target: bytes, path: bytes) -> None:
        os.symlink(target, self._at(path))

    def readlink(self, path: bytes) -> bytes:
        return os.readlink(self._at(path))

    def link(self, path: bytes, new_path: bytes) -> None:
        os.link(self._at(path), self._at(new_path), follow_symlinks=False)

    def unlink(self, path: bytes) -> None:
        os.unlink(self._at(path))

    def rmdir(self, path: bytes) -> None:
        os.rmdir(self._at(path))

    def rename(self, path: bytes, new_path: bytes, flags: int = 0) -> None:
        if not flags:
            os.rename(self._at(path), self._at(new_path))
        elif _libc.renameat2(_AT_FDCWD, self._at(path), _AT_FDCWD, self._at(new_path), ctypes.c_uint(flags)) != 0:
            _raise_errno()

    def names(self, path: bytes) -> list[bytes]:
        return sorted(os.listdir(self._at(path)))

    def chmod(self, path: bytes, mode: int) -> None:
        os.chmod(self._at(path), mode)

    def chown(self, path: bytes, uid: int, gid: int) -> None:
        os.lchown(self._at(path), uid, gid)

    def utime(self, path: bytes, atime_ns: int, mtime_ns: int) -> None:
        os.utime(self._at(path), ns=(atime_ns, mtime_ns), follow_symlinks=False)

    def futime(self, file: int, atime_ns: int, mtime_ns: int) -> None:
        os.utime(file, ns=(atime_ns, mtime_ns))

    def fsync_directory(self, path: bytes) -> None:
        fd = os.open(self._at(path), os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def get_xattr(self, path: bytes, name: bytes) -> bytes:
        return os.getxattr(self._at(path), name, follow_symlinks=False)

    def set_xattr(self, path: bytes, name: bytes, value: bytes, flags: int = 0) -> None:
        os.setxattr(self._at(path), name, value, flags, follow_symlinks=False)

    def list_xattrs(self, path: bytes) -> list[bytes]:
        names = os.listxattr(self._at(path), follow_symlinks=False)
        return sorted(os.fsencode(name) for name in names if name.startswith("user."))

    def remove_xattr(self, path: bytes, name: bytes) -> None:
        os.removexattr(self._at(path), name, follow_symlinks=False)

    def free_bytes(self) -> int:
        facts = os.statvfs(self._root)
        return facts.f_bavail * facts.f_frsize

    def tick(self) -> None:
        time.sleep(_TICK_SECONDS)


def _raise_errno() -> None:
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number))


def _facts(found: os.stat_result) -> Facts:
    return Facts(
        found.st_ino,
        found.st_mode,
        found.st_nlink,
        found.st_uid,
        found.st_gid,
        found.st_rdev,
        found.st_size,
        found.st_blocks,
        found.st_atime_ns,
        found.st_mtime_ns,
        found.st_ctime_ns,
    )


def translated(operation: Callable[P, R]) -> Callable[P, R]:
    """Raise the core's errors as `OSError`."""

    @wraps(operation)
    def call(*arguments: P.args, **options: P.kwargs) -> R:
        try:
            return operation(*arguments, **options)
        except AgentFSError as error:
            raise OSError(error.errno, str(error)) from error

    return call


class TreeFileSystem:
    """A `Tree`, as a face would use it: missing bytes are fetched, close is flush and release. With `direct`, writes
    go past the tree to the backing file, as with passthrough."""

    def __init__(self, tree: Tree, *, direct: bool = False) -> None:
        self.features = system_features()
        self._tree = tree
        self._direct = direct
        self._files: dict[int, Handle] = {}
        self._caller = Caller.process()

    # ---- paths ----

    def _find(self, path: bytes) -> Attributes:
        found = self._tree.attributes(ROOT_ID)
        for part in path.split(b"/") if path else []:
            found = self._tree.lookup(found.ino, part)
        return found

    def _split(self, path: bytes) -> tuple[int, bytes]:
        above, _, name = path.rpartition(b"/")
        return self._find(above).ino, name

    def _file(self, file: int) -> Handle:
        if file not in self._files:
            raise OSError(errno.EBADF, "closed")
        return self._files[file]

    @translated
    def stat(self, path: bytes) -> Facts:
        return _shown(self._find(path))

    # ---- files ----

    @translated
    def open(self, path: bytes, flags: int, mode: int = 0o644) -> int:
        direct = self._direct and flags & os.O_ACCMODE != os.O_RDONLY
        if flags & os.O_CREAT:
            handle = self._tree.create(*self._split(path), mode, self._caller, flags, direct=direct)[1]
        else:
            ino = self._find(path).ino
            try:
                handle = self._tree.open(ino, flags, direct=direct)
            except NotResident:
                self._tree.hydrate(ino)
                handle = self._tree.open(ino, flags, direct=direct)
        self._files[handle.number] = handle
        return handle.number

    @translated
    def close(self, file: int) -> None:
        handle = self._file(file)
        try:
            self._tree.flush(handle)
        finally:
            del self._files[file]
            self._tree.release(handle)

    @translated
    def fstat(self, file: int) -> Facts:
        handle = self._file(file)
        return _shown(self._tree.attributes(handle.ino, handle))

    @translated
    def pread(self, file: int, size: int, offset: int) -> bytes:
        handle = self._file(file)
        try:
            return self._tree.read(handle, offset, size)
        except NotResident:
            self._tree.hydrate(handle.ino)
            return self._tree.read(handle, offset, size)

    @translated
    def pwrite(self, file: int, data: bytes, offset: int) -> int:
        handle = self._file(file)
        if handle.direct and handle.writable:
            return os.pwrite(handle.fd, data, offset)
        return self._tree.write(handle, offset, data)

    @translated
    def ftruncate(self, file: int, size: int) -> None:
        handle = self._file(file)
        if not handle.writable:
            raise OSError(errno.EINVAL, "not open for writing")
        self._tree.set_attributes(handle.ino, AttributeChange(size_bytes=size), handle=handle)

    @translated
    def fsync(self, file: int) -> None:
        self._tree.fsync(self._file(file), data_only=False)

    @translated
    def fallocate(self, file: int, mode: int, offset: int, length: int) -> None:
        self._tree.fallocate(self._file(file), mode, offset, length)

    @translated
    def lseek(self, file: int, offset: int, whence: int) -> int:
        return self._tree.seek(self._file(file), offset, whence)

    @translated
    def copy_range(self, source: int, source_offset: int, target: int, target_offset: int, length: int) -> int:
        one, other = self._file(source), self._file(target)
        return self._tree.copy_range(one, source_offset, other, target_offset, length)

    @translated
    def truncate(self, path: bytes, size: int) -> None:
        self._tree.set_attributes(self._find(path).ino, AttributeChange(size_bytes=size))

    # ---- names ----

    @translated
    def mkdir(self, path: bytes, mode: int = 0o755) -> None:
        self._tree.mkdir(*self._split(path), mode, self._caller)

    @translated
    def mknod(self, path: bytes, mode: int, rdev: int = 0) -> None:
        self._tree.mknod(*self._split(path), mode, rdev, self._caller)

    @translated
    def symlink(self, target: bytes, path: bytes) -> None:
        self._tree.symlink(*self._split(path), target, self._caller)

    @translated
    def readlink(self, path: bytes) -> bytes:
        return self._tree.readlink(self._find(path).ino)

    @translated
    def link(self, path: bytes, new_path: bytes) -> None:
        self._tree.link(self._find(path).ino, *self._split(new_path))

    @translated
    def unlink(self, path: bytes) -> None:
        self._tree.unlink(*self._split(path))

    @translated
    def rmdir(self, path: bytes) -> None:
        self._tree.rmdir(*self._split(path))

    @translated
    def rename(self, path: bytes, new_path: bytes, flags: int = 0) -> None:
        self._tree.rename(*self._split(path), *self._split(new_path), flags)

    @translated
    def names(self, path: bytes) -> list[bytes]:
        number, found = self._tree.open_directory(self._find(path).ino), []
        cookie = 0
        while entries := self._tree.read_directory(number, cookie, 100):
            found += [entry.name for entry in entries]
            cookie = entries[-1].cookie
        self._tree.release_directory(number)
        if found[:2] != [b".", b".."]:
            raise AssertionError(f"a listing starts with {found[:2]}")
        return sorted(found[2:])

    @translated
    def fsync_directory(self, path: bytes) -> None:
        self._tree.fsync_directory(self._find(path).ino)

    # ---- facts ----

    @translated
    def chmod(self, path: bytes, mode: int) -> None:
        self._tree.set_attributes(self._find(path).ino, AttributeChange(mode=mode))

    @translated
    def chown(self, path: bytes, uid: int, gid: int) -> None:
        change = AttributeChange(uid=None if uid < 0 else uid, gid=None if gid < 0 else gid)
        self._tree.set_attributes(self._find(path).ino, change)

    @translated
    def utime(self, path: bytes, atime_ns: int, mtime_ns: int) -> None:
        change = AttributeChange(atime_ns=atime_ns, mtime_ns=mtime_ns)
        self._tree.set_attributes(self._find(path).ino, change)

    @translated
    def futime(self, file: int, atime_ns: int, mtime_ns: int) -> None:
        handle = self._file(file)
        self._tree.set_attributes(handle.ino, AttributeChange(atime_ns=atime_ns, mtime_ns=mtime_ns), handle=handle)

    @translated
    def get_xattr(self, path: bytes, name: bytes) -> bytes:
        return self._tree.get_xattr(self._find(path).ino, name)

    @translated
    def set_xattr(self, path: bytes, name: bytes, value: bytes, flags: int = 0) -> None:
        self._tree.set_xattr(self._find(path).ino, name, value, flags)

    @translated
    def list_xattrs(self, path: bytes) -> list[bytes]:
        return self._tree.list_xattrs(self._find(path).ino)

    @translated
    def remove_xattr(self, path: bytes, name: bytes) -> None:
        self._tree.remove_xattr(self._find(path).ino, name)

    def free_bytes(self) -> int:
        facts = self._tree.statistics()
        return facts.blocks_available * facts.block_bytes

    def tick(self) -> None:
        time.sleep(_TICK_SECONDS)


def _shown(found: Attributes) -> Facts:
    return Facts(
        found.ino,
        found.st_mode,
        found.nlink,
        found.uid,
        found.gid,
        found.rdev,
        found.size_bytes,
        found.blocks,
        found.atime_ns,
        found.mtime_ns,
        found.ctime_ns,
    )
