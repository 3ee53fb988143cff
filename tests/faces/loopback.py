"""The tree API over a local directory: the face without a replica under it.

The face must be right, and can be timed, independently of the replica. An inode is an `O_PATH` descriptor (one per
inode that the kernel refers to), so names may move under it as they like. As root only.
"""

import argparse
import cProfile
import ctypes
import errno
import json
import os
import stat
import threading
from itertools import count

from agentfs import errors
from agentfs.errors import AgentFSError
from agentfs.fuse import wire
from agentfs.fuse.mount import FuseMount
from agentfs.fuse.options import FuseOptions
from agentfs.model.records import Kind
from agentfs.replica.journal import JournalRow
from agentfs.tree.values import (
    KIND_OF_TYPE,
    AttributeChange,
    Attributes,
    Caller,
    DirectoryEntry,
    Handle,
    Statistics,
)

ROOT = 1
AT_EMPTY_PATH = 0x1000
UTIME_OMIT = (1 << 30) - 2
libc = ctypes.CDLL(None, use_errno=True)
NAMES = {
    value: name
    for name, value in vars(wire).items()
    if type(value) is int
    and name.isupper()
    and ("_" not in name or name in ("BATCH_FORGET", "COPY_FILE_RANGE"))
    and name not in ("MAJOR", "MINOR", "BODY")
}
_BY_ERRNO = {
    cls.errno: cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, errors.TreeError)
}
_BY_ERRNO[errno.EIO] = AgentFSError


def translated(error: OSError) -> AgentFSError:
    known = _BY_ERRNO.get(error.errno or errno.EIO)
    if known is None:
        known = type("Other", (AgentFSError,), {"errno": error.errno, "code": "other"})
    return known(str(error))


def check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def guarded(method):
    def call(*args, **kwargs):
        try:
            return method(*args, **kwargs)
        except OSError as error:
            raise translated(error) from None

    return call


class Loopback:
    def __init__(self, directory: str) -> None:
        self._device = os.stat(directory).st_dev
        self._fds = {ROOT: os.open(directory, os.O_PATH | os.O_DIRECTORY)}
        self._real_root = os.stat(directory).st_ino
        self._numbers = count(1)
        self._listings: dict[int, tuple[int, list[DirectoryEntry]]] = {}
        self._lock = threading.RLock()
        self.calls: dict[str, int] = {}

    # ---- inodes ----

    def _attributes(self, info: os.stat_result) -> Attributes:
        return Attributes(
            ROOT if info.st_ino == self._real_root else info.st_ino,
            KIND_OF_TYPE[stat.S_IFMT(info.st_mode)],
            stat.S_IMODE(info.st_mode),
            info.st_nlink,
            info.st_uid,
            info.st_gid,
            info.st_rdev,
            info.st_size,
            info.st_blocks,
            info.st_atime_ns,
            info.st_mtime_ns,
            info.st_ctime_ns,
            info.st_ctime_ns,
            info.st_mtime_ns ^ info.st_ctime_ns,
        )

    def _path(self, ino: int) -> str:
        return f"/proc/self/fd/{self._fds[ino]}"

    @guarded
    def lookup(self, parent: int, name: bytes) -> Attributes:
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=self._fds[parent])
        found = self._attributes(os.fstat(fd))
        with self._lock:
            if found.ino in self._fds:
                os.close(fd)
            else:
                self._fds[found.ino] = fd
        return found

    def forget(self, ino: int) -> None:
        with self._lock:
            fd = self._fds.pop(ino, None) if ino != ROOT else None
        if fd is not None:
            os.close(fd)

    @guarded
    def attributes(self, ino: int, handle: Handle | None = None) -> Attributes:
        return self._attributes(os.fstat(self._fds[ino] if handle is None else handle.fd))

    @guarded
    def set_attributes(self, ino: int, change: AttributeChange, *, handle: Handle | None = None) -> Attributes:
        path = self._path(ino)
        if change.uid is not None or change.gid is not None:
            uid, gid = (-1 if v is None else v for v in (change.uid, change.gid))
            self._chown(ino, uid, gid)
        if change.mode is not None:
            os.chmod(path, change.mode)
        if change.size_bytes is not None:
            os.truncate(path if handle is None else handle.fd, change.size_bytes)
        if change.atime_ns is not None or change.mtime_ns is not None:
            times = (ctypes.c_long * 4)()
            for at, ns in enumerate((change.atime_ns, change.mtime_ns)):
                times[2 * at : 2 * at + 2] = (0, UTIME_OMIT) if ns is None else divmod(ns, 10**9)
            check(libc.utimensat(self._fds[ino], b"", times, AT_EMPTY_PATH))
        return self.attributes(ino)

    def _chown(self, ino: int, uid: int, gid: int) -> None:
        check(libc.fchownat(self._fds[ino], b"", uid, gid, AT_EMPTY_PATH))

    def _own(self, parent: int, name: bytes, caller: Caller) -> Attributes:
        os.chown(name, caller.uid, self._group(parent, caller), dir_fd=self._fds[parent], follow_symlinks=False)
        return self.lookup(parent, name)

    def _group(self, parent: int, caller: Caller) -> int:
        info = os.fstat(self._fds[parent])
        return info.st_gid if info.st_mode & stat.S_ISGID else caller.gid

    # ---- files ----

    def _handle(self, ino: int, fd: int, flags: int, direct: bool) -> Handle:
        writable = flags & os.O_ACCMODE != os.O_RDONLY
        return Handle(next(self._numbers), ino, fd, flags, writable, direct, os.fstat(fd).st_mtime_ns)

    @guarded
    def create(self, parent, name, mode, caller, flags, *, direct=False, reader=0):
        fd = os.open(name, (flags | os.O_CREAT) & ~os.O_DIRECT, mode, dir_fd=self._fds[parent])
        if (caller.uid, caller.gid) != (0, 0):
            os.fchown(fd, caller.uid, self._group(parent, caller))
        if mode & 0o6000:
            os.fchmod(fd, mode)
        attributes = self.lookup(parent, name)
        return attributes, self._handle(attributes.ino, fd, flags, direct)

    @guarded
    def open(self, ino: int, flags: int, *, direct: bool = False, reader: int = 0) -> Handle:
        wanted = flags & ~(os.O_NOFOLLOW | os.O_CREAT | os.O_EXCL | os.O_DIRECT)
        return self._handle(ino, os.open(self._path(ino), wanted), flags, direct)

    def hydrate(self, ino: int) -> None:
        raise AssertionError("everything is here")

    @guarded
    def read(self, handle: Handle, offset: int, size: int) -> bytes:
        return os.pread(handle.fd, size, offset)

    @guarded
    def write(self, handle: Handle, offset: int, data: memoryview) -> int:
        return os.pwrite(handle.fd, data, offset)

    def flush(self, handle: Handle) -> None:
        handle.content_change = os.fstat(handle.fd).st_mtime_ns

    @guarded
    def fsync(self, handle: Handle, *, data_only: bool) -> None:
        (os.fdatasync if data_only else os.fsync)(handle.fd)

    def release(self, handle: Handle) -> None:
        os.close(handle.fd)

    @guarded
    def fallocate(self, handle: Handle, mode: int, offset: int, length: int) -> None:
        if mode:
            raise OSError(errno.EOPNOTSUPP, "only plain allocation")
        os.posix_fallocate(handle.fd, offset, length)

    @guarded
    def seek(self, handle: Handle, offset: int, whence: int) -> int:
        return os.lseek(handle.fd, offset, whence)

    @guarded
    def copy_range(self, source, source_offset, target, target_offset, length):
        return os.copy_file_range(source.fd, target.fd, length, source_offset, target_offset)

    # ---- names ----

    @guarded
    def mkdir(self, parent: int, name: bytes, mode: int, caller: Caller) -> Attributes:
        os.mkdir(name, mode, dir_fd=self._fds[parent])
        found = self._own(parent, name, caller)
        if os.fstat(self._fds[parent]).st_mode & stat.S_ISGID:
            mode |= stat.S_ISGID
        return self.set_attributes(found.ino, AttributeChange(mode=mode))

    @guarded
    def mknod(self, parent: int, name: bytes, mode: int, rdev: int, caller: Caller) -> Attributes:
        os.mknod(name, mode, rdev, dir_fd=self._fds[parent])
        return self._own(parent, name, caller)

    @guarded
    def symlink(self, parent: int, name: bytes, target: bytes, caller: Caller) -> Attributes:
        os.symlink(target, name, dir_fd=self._fds[parent])
        return self._own(parent, name, caller)

    @guarded
    def link(self, ino: int, parent: int, name: bytes) -> Attributes:
        os.link(self._path(ino), name, dst_dir_fd=self._fds[parent], follow_symlinks=True)
        return self.lookup(parent, name)

    @guarded
    def unlink(self, parent: int, name: bytes) -> None:
        os.unlink(name, dir_fd=self._fds[parent])

    @guarded
    def rmdir(self, parent: int, name: bytes) -> None:
        os.rmdir(name, dir_fd=self._fds[parent])

    @guarded
    def rename(self, parent, name, new_parent, new_name, flags=0, *, reader=0) -> None:
        if flags:
            rename2(self._fds[parent], name, self._fds[new_parent], new_name, flags)
        else:
            os.rename(name, new_name, src_dir_fd=self._fds[parent], dst_dir_fd=self._fds[new_parent])

    @guarded
    def readlink(self, ino: int) -> bytes:
        return os.fsencode(os.readlink("", dir_fd=self._fds[ino]))

    # ---- directories ----

    @guarded
    def _listing(self, ino: int) -> list[DirectoryEntry]:
        rows = [(b".", ino, KIND_OF_TYPE[stat.S_IFDIR]), (b"..", ROOT, KIND_OF_TYPE[stat.S_IFDIR])]
        with os.scandir(self._path(ino)) as scan:
            for entry in scan:
                kind = Kind.DIRECTORY if entry.is_dir(follow_symlinks=False) else Kind.FILE
                kind = Kind.SYMLINK if entry.is_symlink() else kind
                rows.append((os.fsencode(entry.name), entry.inode(), kind))
        return [DirectoryEntry(n, i, k, cookie) for cookie, (n, i, k) in enumerate(rows, 1)]

    def open_directory(self, ino: int) -> int:
        number = next(self._numbers)
        self._listings[number] = (ino, [])
        return number

    def read_directory(self, number: int, cookie: int, limit: int) -> list[DirectoryEntry]:
        ino, rows = self._listings[number]
        if cookie == 0:
            rows = self._listing(ino)
            self._listings[number] = (ino, rows)
        return rows[cookie : cookie + limit]

    def read_directory_plus(self, number, cookie, limit):
        ino = self._listings[number][0]
        rows = []
        for entry in self.read_directory(number, cookie, limit):
            try:
                dots = entry.name in (b".", b"..")
                rows.append((entry, self.attributes(ROOT) if dots else self.lookup(ino, entry.name)))
            except errors.NotFound:
                continue
        return rows

    def release_directory(self, number: int) -> None:
        del self._listings[number]

    @guarded
    def fsync_directory(self, ino: int) -> None:
        fd = os.open(self._path(ino), os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)

    # ---- the rest ----

    @guarded
    def get_xattr(self, ino: int, name: bytes) -> bytes:
        return os.getxattr(self._path(ino), name)

    @guarded
    def set_xattr(self, ino: int, name: bytes, value: bytes, flags: int) -> None:
        os.setxattr(self._path(ino), name, value, flags)

    @guarded
    def list_xattrs(self, ino: int) -> list[bytes]:
        return [os.fsencode(name) for name in os.listxattr(self._path(ino))]

    @guarded
    def remove_xattr(self, ino: int, name: bytes) -> None:
        os.removexattr(self._path(ino), name)

    def statistics(self) -> Statistics:
        s = os.statvfs(self._path(ROOT))
        return Statistics(s.f_frsize, s.f_blocks, s.f_bfree, s.f_bavail, s.f_files, s.f_ffree, s.f_namemax)

    def changes_since(self, journal_id: int, limit: int) -> list[JournalRow]:
        return []


def rename2(source_fd: int, name: bytes, target_fd: int, new_name: bytes, flags: int) -> None:
    check(libc.renameat2(source_fd, name, target_fd, new_name, ctypes.c_uint(flags)))


def become(uid: int) -> None:
    """Give up root. The process stays dumpable, or it could not open its own /proc/self/fd."""
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
    pr_set_dumpable = 4
    check(libc.prctl(pr_set_dumpable, 1, 0, 0, 0))


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser()
    made.add_argument("directory")
    made.add_argument("mountpoint")
    made.add_argument("--passthrough", default="auto")
    made.add_argument("--allow-other", action="store_true")
    made.add_argument("--read-only", action="store_true")
    made.add_argument("--owner", default="preserve")
    made.add_argument("--uid", type=int)
    made.add_argument("--profile")
    return made


def options_of(arguments: argparse.Namespace) -> FuseOptions:
    return FuseOptions(
        allow_other=arguments.allow_other,
        read_only=arguments.read_only,
        passthrough=arguments.passthrough,
        owner=arguments.owner,
    )


def served(mount: FuseMount, profile: str | None = None) -> None:
    """Say when there is something to answer, answer until the unmount, and say how many requests of each kind
    there were."""
    mount.session.on_ready.append(lambda negotiated: print("ready", flush=True))
    if profile:
        cProfile.runctx("mount.serve()", {}, {"mount": mount}, profile)
    else:
        mount.serve()
    print(json.dumps(counted(mount)), flush=True)


def counted(mount: FuseMount) -> dict[str, int]:
    return {NAMES.get(n, str(n)): count for n, count in enumerate(mount.session.requests) if count}


def main() -> None:
    arguments = parser().parse_args()
    os.umask(0)
    if arguments.uid is not None:
        become(arguments.uid)
    tree = Loopback(arguments.directory)
    served(FuseMount(tree, arguments.mountpoint, options_of(arguments)), arguments.profile)


if __name__ == "__main__":
    main()
