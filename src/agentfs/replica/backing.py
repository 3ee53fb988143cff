"""Backing files: one local file per inode whose bytes are on this machine.

`files/<low byte of ino, hex>/<ino, hex>`. The name never changes while the inode lives; bytes that come from the log
replace a backing file by rename, so a reader's descriptor keeps the bytes it opened. The 256 directories are made
once, so a create costs no lookup of its own.
"""

import contextlib
import errno
import os
from collections.abc import Container, Iterator

from agentfs.errors import NoSpace, ReadOnly, ReplicaDamaged

DIRECTORIES = 256
"""Among which the files are divided. Fixed for a replica; simulations, which make thousands of them, set fewer."""

_MODE = 0o600
_DATABASE = b"SQLite format 3\0"


class BackingFiles:
    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._staging = os.path.join(directory, "staging")
        self._bases = os.path.join(directory, "bases")

    def prepare(self) -> None:
        """Make the directories; on return new ones survive a power cut. Repeating it is harmless."""
        make_directory(self._directory)
        made = [it for it in ("staging", "bases", *(f"{low:02x}" for low in range(DIRECTORIES))) if self._made(it)]
        if made:
            sync_directory(self._directory)

    def _made(self, name: str) -> bool:
        try:
            os.mkdir(os.path.join(self._directory, name), mode=0o700)
        except FileExistsError:
            return False
        return True

    def path(self, ino: int) -> str:
        return f"{self._directory}/{ino % DIRECTORIES:02x}/{ino:x}"

    def create(self, ino: int) -> int:
        """A descriptor, for reading and writing, of a new empty backing file (what stood there is emptied)."""
        return self._open(ino, os.O_RDWR | os.O_CREAT | os.O_TRUNC)

    def open(self, ino: int, *, write: bool) -> int:
        """A descriptor of an existing backing file. Raises FileNotFoundError when the bytes are not here."""
        return self._open(ino, os.O_RDWR if write else os.O_RDONLY)

    def _open(self, ino: int, flags: int) -> int:
        try:
            return os.open(self.path(ino), flags | os.O_CLOEXEC, _MODE)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise translate(error, self.path(ino)) from error

    def stat(self, ino: int) -> os.stat_result | None:
        try:
            return os.stat(self.path(ino))
        except FileNotFoundError:
            return None

    def is_database(self, ino: int) -> bool:
        """Whether the bytes that are here begin as a SQLite database does."""
        try:
            with open(self.path(ino), "rb", buffering=0) as file:
                return file.read(len(_DATABASE)) == _DATABASE
        except OSError:
            return False

    def remove(self, ino: int) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path(ino))

    def numbers(self) -> Iterator[int]:
        """The inodes that have a backing file, in no order."""
        for low in range(DIRECTORIES):
            with os.scandir(os.path.join(self._directory, f"{low:02x}")) as entries:
                for entry in entries:
                    with contextlib.suppress(ValueError):  # not ours
                        yield int(entry.name, 16)

    def stage(self) -> tuple[int, str]:
        """A new temporary file on the same file system: descriptor and path, for `adopt`."""
        path = os.path.join(self._staging, os.urandom(8).hex())
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE), path
        except OSError as error:
            raise translate(error, path) from error

    def stage_bytes(self, data: bytes) -> str:
        """A new temporary file with `data` in it: its path, for `adopt`. Raises `NoSpace`; nothing is left then."""
        fd, path = self.stage()
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(fd, rest) :]
        except OSError as error:
            os.unlink(path)
            raise translate(error, path) from error
        finally:
            os.close(fd)
        return path

    def adopt(self, staged: str, ino: int) -> None:
        """Make a staged file the backing file of `ino`, atomically."""
        os.rename(staged, self.path(ino))

    def base_path(self, digest: bytes) -> str:
        """Where bytes are kept that an open file came from, and that no commit holds by themselves."""
        return f"{self._bases}/{digest.hex()}"

    def keep_base(self, digest: bytes, data: bytes) -> None:
        """Keep them; on return they survive a power cut."""
        fd, staged = self.stage()
        try:
            with open(fd, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.rename(staged, self.base_path(digest))
            sync_directory(self._bases)
        except OSError as error:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(staged)
            raise translate(error, staged) from error

    def drop_bases(self, keep: Container[bytes]) -> None:
        """Remove the kept bytes whose digest is not in `keep`."""
        with os.scandir(self._bases) as entries:
            for entry in entries:
                if bytes.fromhex(entry.name) not in keep:
                    os.unlink(entry.path)

    def move(self, ino: int, to: int) -> None:
        """Give the backing file of `ino` to inode `to`."""
        os.rename(self.path(ino), self.path(to))

    def sync(self, ino: int, fd: int) -> None:
        """Make the bytes and the name of the backing file survive a power cut."""
        os.fsync(fd)
        self.sync_directory(ino)

    def sync_directory(self, ino: int) -> None:
        sync_directory(os.path.dirname(self.path(ino)))

    def clear_staging(self) -> None:
        """Drop what a crash left half-made (the capture of a database is a directory). Only while no other process
        has the replica open."""
        with os.scandir(self._staging) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    import shutil  # noqa: PLC0415 - 10 ms, and seldom needed

                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    os.unlink(entry.path)


def make_directory(path: str) -> None:
    """Make a directory, for its owner alone, and those above it; on return new ones survive a power cut."""
    missing = []
    while path and not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for path in reversed(missing):
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, mode=0o700)
        with contextlib.suppress(PermissionError):  # a directory that we may write and not read
            sync_directory(os.path.dirname(path) or ".")


def sync_directory(path: str) -> None:
    """Make the names in a directory survive a power cut."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def translate(error: OSError, path: str) -> NoSpace | ReadOnly | ReplicaDamaged:
    """An error of the local file system, in our words."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpace(f"the disk that holds {path} is full: free some space")
    if error.errno == errno.EROFS:
        return ReadOnly(f"{path} is on a read-only file system")
    return ReplicaDamaged(f"{path}: {error.strerror}")
