"""A directory as a store: every object is a plain file that any tool can read. Works on NFS.

Order of a put: write a temporary file, fsync it, give it its name (`link` for create-only, which fails if the
name is taken; `rename` otherwise), fsync the directory. A crash at any point leaves the old object, the new one,
or a temporary file that a later put removes; never an empty or partial object.

A symbolic link that somebody put into the root is never followed, neither to read nor to write: only the two upper
levels may be links, which are the owner's.

An object `a` beside objects `a/…`: a file cannot share its name with a directory, so the bytes of `a` are then
in `a/.agentfs-self`. The change from one to the other is one atomic exchange (renameat2).
"""

import errno
import fcntl
import os
import secrets
import stat
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from urllib.parse import quote

from agentfs.errors import (
    AgentFSError,
    BucketNotFound,
    Corrupt,
    NoSpace,
    ObjectBusy,
    ObjectChanged,
    ObjectExists,
    ObjectNotFound,
    OutcomeUnknown,
    StoreDenied,
    StoreError,
    StoreUnavailable,
)
from agentfs.stores.directory_sync import DirectorySync, fsync_directory
from agentfs.stores.directory_walk import SELF, TEMPORARY, tag_of, walk
from agentfs.stores.exchange import exchange
from agentfs.stores.names import NAME_BYTES_MAX, check_attributes, check_object_name, name_bytes
from agentfs.stores.open_writers import has_writer
from agentfs.stores.protocol import Entry, StoredObject

STALE_SECONDS = 24 * 3600
"""A temporary file that old, by the file system's own clock, belongs to nobody."""
_TRIES_MAX = 100
"""How often a put starts again because others made or removed its directory meanwhile."""
_PART_BYTES_MAX = 255
_OWN_LEVELS = 2
"""Directories in the root, and in those, may be links."""


class LocalStore:
    """The store contract on a directory. Attributes are dropped.

    The directory itself is made by the first put if its parent exists; a missing parent is `BucketNotFound` (an
    unmounted disk, a typing error). A full disk is `NoSpace`, a read-only one `StoreDenied`.
    """

    def __init__(self, root: str) -> None:
        self._root = os.path.abspath(root)
        self.url = "file://" + quote(self._root)
        self._sync = DirectorySync()
        self._lock = threading.Lock()
        self._durable: dict[str, tuple[int, int]] = {}  # directories whose own name is known to be durable
        self._cleaned = False

    def __repr__(self) -> str:
        return f"LocalStore({self.url!r})"

    @property
    def name_bytes_max(self) -> int:
        """See `Store.name_bytes_max`."""
        return NAME_BYTES_MAX

    def head(self, name: str) -> StoredObject:
        """See `Store.head`."""
        return self.get(name, length=0)

    def get(self, name: str, *, start: int = 0, length: int | None = None) -> StoredObject:
        """See `Store.get`."""
        path = self._path(name)
        try:
            descriptor = self._open_object(path)
            try:
                status = os.fstat(descriptor)
                stop = status.st_size if length is None else start + length
                if not 0 <= start <= stop <= status.st_size:
                    raise Corrupt(f"{name} has {status.st_size} bytes; {start} to {stop} were asked for")
                data = _read(descriptor, start, stop - start)
            finally:
                os.close(descriptor)
        except (FileNotFoundError, NotADirectoryError):
            self._check_parent()
            raise ObjectNotFound(f"{self.url} has no object {name}") from None
        except OSError as error:
            raise self._translated(error, name) from error
        if len(data) != stop - start:
            raise Corrupt(f"{name} gave {len(data)} bytes where {stop - start} were asked for")
        return StoredObject(data, status.st_size, status.st_mtime_ns / 1e9, tag=tag_of(status))

    def _open_object(self, path: str) -> int:
        """A descriptor of the object's file. Opening a FIFO or a device is refused, and never blocks."""
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW
        for candidate in (path, f"{path}/{SELF}"):
            descriptor = os.open(candidate, flags)
            status = os.fstat(descriptor)
            if status.st_mode & 0o170000 == 0o100000:
                return descriptor
            os.close(descriptor)
            if status.st_mode & 0o170000 != 0o040000:
                break
        raise FileNotFoundError(errno.ENOENT, "not a regular file", path)

    def put(
        self,
        name: str,
        data: bytes,
        *,
        create_only: bool = False,
        replacing: str | None = None,
        attributes: Mapping[str, str] | None = None,
    ) -> str:
        """See `Store.put`."""
        path = self._path(name)
        check_attributes(attributes)
        temporary = ""
        named = False
        try:
            temporary = self._write_temporary(data)
            tag = tag_of(os.stat(temporary))
            if replacing is None:
                directory = self._give_name(temporary, path, create_only=create_only)
            else:
                directory = self._replace(temporary, path, replacing, name)
            named = True
            self._make_durable(directory)
            return tag
        except FileExistsError:
            raise ObjectExists(f"{self.url} already has an object {name}") from None
        except OSError as error:
            if named:
                raise OutcomeUnknown(f"{name} is in {self.url}, but perhaps not durable: {error}") from error
            raise self._translated(error, name) from error
        finally:
            if temporary:
                _unlink_if_there(temporary)

    def _write_temporary(self, data: bytes) -> str:
        """The path of a new, durable file with `data`, outside the names of objects."""
        folder = os.path.join(self._root, TEMPORARY)
        if not self._cleaned:
            self._prepare(folder)
        path = f"{folder}/{os.getpid()}-{secrets.token_hex(8)}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            descriptor = os.open(path, flags, 0o666)
        except FileNotFoundError:
            self._prepare(folder)
            descriptor = os.open(path, flags, 0o666)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        except BaseException:
            os.close(descriptor)
            _unlink_if_there(path)
            raise
        os.close(descriptor)
        return path

    def _prepare(self, folder: str) -> None:
        """Make the root (if its parent is there) and the folder for temporary files; remove stale ones."""
        self._check_parent()
        # A root that several users share is made, with its mode, by who shares it; ours is for our eyes.
        for directory, mode in ((self._root, 0o700), (folder, 0o777)):
            try:
                os.mkdir(directory, mode)
            except FileExistsError:
                continue
            fsync_directory(os.path.dirname(directory))
        self._remove_stale(folder)
        self._cleaned = True

    def _remove_stale(self, folder: str) -> None:
        probe = f"{folder}/{os.getpid()}-{secrets.token_hex(8)}"
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
        now = os.stat(probe).st_mtime  # the file system's clock, not this machine's
        os.unlink(probe)
        with os.scandir(folder) as entries:
            for entry in entries:
                try:
                    if entry.stat(follow_symlinks=False).st_mtime < now - STALE_SECONDS:
                        os.unlink(entry.path)
                except FileNotFoundError:
                    continue

    def _give_name(self, temporary: str, path: str, *, create_only: bool) -> str:
        """Move `temporary` to its name; returns the directory that must be made durable.

        Raises `FileExistsError` if `create_only` and the name is taken.
        """
        for _ in range(_TRIES_MAX):
            try:
                with self._names_locked(fcntl.LOCK_SH):
                    target = f"{path}/{SELF}" if _is_directory(path) else path
                    if create_only:
                        os.link(temporary, target)
                    else:
                        os.rename(temporary, target)
                    return os.path.dirname(target)
            except (FileNotFoundError, NotADirectoryError):
                if not os.path.exists(temporary):
                    raise
                self._make_directories(os.path.dirname(path))
        raise OSError(errno.EAGAIN, "the directory keeps changing")

    def _replace(self, temporary: str, path: str, tag: str, name: str) -> str:
        """Like `_give_name`, if the object is still that version, and nobody writes it; raises `ObjectChanged` and
        `ObjectBusy`."""
        with self._names_locked(fcntl.LOCK_EX):
            target = f"{path}/{SELF}" if _is_directory(path) else path
            self._check_unwritten(target)
            try:
                found = tag_of(os.lstat(target))
            except (FileNotFoundError, NotADirectoryError):
                found = ""
            if found != tag:
                raise ObjectChanged(f"{name} in {self.url} is not the version that was to be replaced")
            os.rename(temporary, target)
            return os.path.dirname(target)

    def _make_directories(self, directory: str) -> None:
        """Like makedirs below the root; a file in the way becomes the directory's own object."""
        relative = os.path.relpath(directory, self._root)
        current = self._root
        with self._names_locked(fcntl.LOCK_EX):
            for part in [] if relative == "." else relative.split("/"):
                current = f"{current}/{part}"
                try:
                    os.mkdir(current)
                except FileExistsError:
                    if not os.path.isdir(current):
                        self._turn_into_directory(current)

    def _turn_into_directory(self, path: str) -> None:
        """Atomically replace file `path` by a directory that holds it as `.agentfs-self`, so that no moment is
        without it: a create-only put of the same name must never win twice. Needs the exclusive lock."""
        fresh = f"{self._root}/{TEMPORARY}/{os.getpid()}-{secrets.token_hex(8)}"
        os.mkdir(fresh)
        try:
            os.link(path, f"{fresh}/{SELF}", follow_symlinks=False)
            fsync_directory(fresh)
            exchange(fresh, path)
        except OSError:
            _unlink_if_there(f"{fresh}/{SELF}")
            os.rmdir(fresh)
            raise
        os.unlink(fresh)
        self._make_durable(path)

    @contextmanager
    def _names_locked(self, kind: int) -> Iterator[None]:
        """Shared to give or take away a name, exclusive to make directories: between the processes of one machine.

        Where locks are missing (some network file systems) every step is still safe alone; only turning a file
        into a directory needs the lock, and `exchange` refuses there.
        """
        try:
            descriptor = os.open(f"{self._root}/{TEMPORARY}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            yield
            return
        try:
            with suppress(OSError):
                fcntl.flock(descriptor, kind)
            yield
        finally:
            os.close(descriptor)

    def _make_durable(self, directory: str) -> None:
        """fsync `directory`, and those above it whose names are not known to be durable."""
        try:
            self._sync.sync(directory)
            while len(directory) > len(self._root):
                status = os.stat(directory)
                identity = (status.st_dev, status.st_ino)
                with self._lock:
                    if self._durable.get(directory) == identity:
                        return
                self._sync.sync(os.path.dirname(directory))
                with self._lock:
                    self._durable[directory] = identity
                directory = os.path.dirname(directory)
        except FileNotFoundError:
            return  # a delete of everything in it came after us and removed the directory

    def delete(self, name: str) -> None:
        """See `Store.delete`. Directories that became empty are removed."""
        self.delete_many([name])

    def delete_many(self, names: Sequence[str]) -> None:
        """See `Store.delete_many`. Each directory is given to the disk once. What a program is writing stays: raises
        `ObjectBusy` when the others are gone."""
        directories: set[str] = set()
        busy: ObjectBusy | None = None
        for name, path in [(name, self._path(name)) for name in names]:
            try:
                directories.add(self._unlink(path))
            except ObjectBusy as error:
                busy = error
            except (FileNotFoundError, NotADirectoryError):
                self._check_parent()
            except OSError as error:
                raise self._translated(error, name) from error
        for directory in directories:
            try:
                self._make_durable(directory)
            except OSError as error:
                raise self._translated(error, os.path.relpath(directory, self._root)) from error
        if busy is not None:
            raise busy

    def _unlink(self, path: str) -> str:
        """Take the object's name away; the directory that must be made durable. Raises `ObjectBusy`."""
        with self._names_locked(fcntl.LOCK_SH):
            target = f"{path}/{SELF}" if _is_directory(path) else path
            self._check_unwritten(target)
            os.unlink(target)
            return self._prune(os.path.dirname(target))

    def _check_unwritten(self, path: str) -> None:
        """A program that has the file open would write on in one that has no name any more."""
        if has_writer(path):
            name = os.path.relpath(path, self._root)
            raise ObjectBusy(f"a program has {name} in {self.url} open for writing")

    def _prune(self, directory: str) -> str:
        """Remove empty directories upwards; returns the lowest that stays."""
        while len(directory) > len(self._root):
            try:
                os.rmdir(directory)
            except OSError:
                break
            with self._lock:
                self._durable.pop(directory, None)
            directory = os.path.dirname(directory)
        return directory

    def list(self, prefix: str, *, after: str = "", limit: int = 1000, foreign: bool = False) -> Sequence[Entry]:
        """See `Store.list`. Empty directories are no objects."""
        found: list[Entry] = []
        if limit < 1:
            return found
        try:
            for entry in walk(self._root, prefix=prefix, after=after, limit=limit, foreign=foreign):
                found.append(entry)
                if len(found) == limit:
                    break
        except OSError as error:
            raise self._translated(error, prefix) from error
        if not found:
            self._check_parent()
        return found

    def _path(self, name: str) -> str:
        parts = check_object_name(name).split("/")
        if parts[0] == TEMPORARY or SELF in parts:
            raise StoreError(f"{name} is a name that a directory store needs for itself")
        if max(map(name_bytes, parts)) > _PART_BYTES_MAX:
            raise StoreError(f"a part of {name[:80]}… is longer than {_PART_BYTES_MAX} bytes: no file can have it")
        path = self._root
        for level, part in enumerate(parts[:-1]):
            path = f"{path}/{part}"
            if level >= _OWN_LEVELS and os.path.islink(path):
                link = os.path.relpath(path, self._root)
                raise StoreError(f"{link} in {self.url} is a symbolic link: it is not followed")
        return f"{self._root}/{name}"

    def _check_parent(self) -> None:
        parent = os.path.dirname(self._root)
        if not os.path.isdir(self._root) and not os.path.isdir(parent):
            raise BucketNotFound(f"{self.url}: {parent} does not exist (is the disk mounted?)")

    def _translated(self, error: OSError, name: str) -> AgentFSError:
        reason = os.strerror(error.errno) if error.errno else str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return NoSpace(f"{self.url} is full: {reason}")
        if error.errno == errno.ELOOP:
            return StoreError(f"{name} in {self.url} is a symbolic link: it is not followed")
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            return StoreDenied(f"{self.url} refused access to {name}: {reason}; check its owner, mode and mount")
        if error.errno == errno.ENOTDIR:
            return BucketNotFound(f"{self.url} is not a directory")
        return StoreUnavailable(f"{self.url} failed for {name}: {reason}")


def _read(descriptor: int, start: int, length: int) -> bytes:
    pieces = []
    while length > 0:
        piece = os.pread(descriptor, length, start)
        if not piece:
            break
        pieces.append(piece)
        start, length = start + len(piece), length - len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _is_directory(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False


def _unlink_if_there(path: str) -> None:
    """Best effort: what stays behind is removed as stale later."""
    with suppress(OSError):
        os.unlink(path)
