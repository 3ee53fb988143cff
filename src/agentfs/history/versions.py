"""The bytes of any version, as files of this machine: fetched once, verified, in a directory of bounded size.

    <replica's directory>/versions/<SHA-256 in hex>

A file here is never changed: whoever opened one keeps it, also when it is dropped to make room.
"""

import contextlib
import hashlib
import os
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor

from agentfs.errors import (
    BucketNotFound,
    Corrupt,
    ObjectNotFound,
    StoreDenied,
    StoreError,
    StoreUnavailable,
    Unavailable,
    VersionGone,
)
from agentfs.log.contents import Contents
from agentfs.log.log import Log
from agentfs.model.records import CHUNK_BYTES, ChunkedContent, Content, InlineContent
from agentfs.replica.backing import translate
from agentfs.replica.replica import Replica

BYTES_MAX = 512 * 1024**2
_PARALLEL = 8
_READ_BYTES = 1024 * 1024
_STAGED = "staged-"


class Versions:
    """Safe from any thread."""

    def __init__(self, replica: Replica, log: Log, contents: Contents, *, bytes_max: int = BYTES_MAX) -> None:
        self._directory = os.path.join(replica.directory, "versions")
        self._replica = replica
        self._log = log
        self._contents = contents
        self._bytes_max = bytes_max
        self._lock = threading.Lock()
        self._prepared = False

    def file(self, content: Content) -> str:
        """The path of a file with exactly these bytes: open it at once; one that is gone by then is asked for again.

        Raises `VersionGone` (they were collected), `Unavailable` (not here, and the store does not answer),
        `StoreDenied`, `Corrupt`, `NoSpace`.
        """
        path = os.path.join(self._directory, content.digest.hex())
        if _holds(path, content):
            with contextlib.suppress(OSError):
                os.utime(path)
            return path
        try:
            self._make(path, content)
        except StoreError as error:
            if self._copy_local(path, content):
                return path
            if isinstance(error, StoreDenied | BucketNotFound):
                raise
            raise Unavailable(
                f"the bytes of this version are not on this machine and cannot be fetched now: {error}"
            ) from error
        self._trim(path)
        return path

    def keep(self, data: bytes) -> str:
        """A file of this directory that has `data`, which is made from the history. Raises `NoSpace`."""
        digest = hashlib.sha256(data).digest()
        content = InlineContent(len(data), digest, 0, 0)
        path = os.path.join(self._directory, digest.hex())
        if not _holds(path, content):
            self._make(path, content, data=data)
            self._trim(path)
        return path

    def _make(self, path: str, content: Content, *, data: bytes | None = None) -> None:
        fd, staged = self._stage()
        try:
            try:
                if data is None:
                    self._fetch(content, fd)
                else:
                    write_all(fd, data)
            finally:
                os.close(fd)
            if not _holds(staged, content):
                raise Corrupt("the bytes of this version do not match their digest; they were not used")
            os.replace(staged, path)
        except OSError as error:
            raise translate(error, path) from error
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(staged)

    def _stage(self) -> tuple[int, str]:
        try:
            with self._lock:
                if not self._prepared:
                    os.makedirs(self._directory, mode=0o700, exist_ok=True)
                    self._clear_staged()
                    self._prepared = True
            return tempfile.mkstemp(prefix=_STAGED, dir=self._directory)
        except OSError as error:
            raise translate(error, self._directory) from error

    def _clear_staged(self) -> None:
        """What a crash left: nobody else stages here, there is one engine."""
        for name in os.listdir(self._directory):
            if name.startswith(_STAGED):
                os.unlink(os.path.join(self._directory, name))

    # ---- from the store ----

    def _fetch(self, content: Content, fd: int) -> None:
        try:
            if isinstance(content, InlineContent):
                write_all(fd, self._contents.inline(content))
                return
            with ThreadPoolExecutor(min(_PARALLEL, len(content.chunks)), "agentfs-version") as pool:
                chunks = pool.map(lambda at: self._chunk(content, at, fd), range(len(content.chunks)))
                for _ in chunks:
                    pass
        except ObjectNotFound as error:
            self._must_be_the_store()
            raise VersionGone(
                f"the bytes of this version were collected, as the retention policy says: {error}"
            ) from error

    def _chunk(self, content: ChunkedContent, at: int, fd: int) -> None:
        os.pwrite(fd, self._contents.chunk(content, at), at * CHUNK_BYTES)

    def _must_be_the_store(self) -> None:
        """What is missing was collected only if the log is there."""
        head = int(self._replica.state("head_sequence"))
        if head and self._log.digest_at(head) is None:
            raise StoreUnavailable(
                f"{self._log.name(head)} is not in the store: it is empty, or another one (is the disk mounted?)"
            )

    # ---- from this machine ----

    def _copy_local(self, path: str, content: Content) -> bool:
        """Make it from a backing file that has these bytes, if there is one."""
        with self._replica.lock:
            rows = self._replica.connection.rows("SELECT ino FROM content WHERE digest=? LIMIT 8", (content.digest,))
        for (ino,) in rows:
            source = self._replica.files.path(ino)
            fd, staged = self._stage()
            try:
                with open(fd, "wb") as target, open(source, "rb") as file:
                    while piece := file.read(_READ_BYTES):
                        target.write(piece)
                if _holds(staged, content):
                    os.replace(staged, path)
                    return True
            except OSError:
                continue
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(staged)
        return False

    # ---- the size ----

    def _trim(self, keep: str) -> None:
        """Drop what was not asked for the longest, beyond the size."""
        with self._lock, contextlib.suppress(FileNotFoundError):
            found = []
            for entry in os.scandir(self._directory):
                if entry.name.startswith(_STAGED):
                    continue
                with contextlib.suppress(FileNotFoundError):
                    facts = entry.stat()
                    found.append((facts.st_mtime_ns, facts.st_size, entry.path))
            total = sum(size for _, size, _ in found)
            for _, size, path in sorted(found):
                if total <= self._bytes_max:
                    break
                if path != keep:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(path)
                    total -= size


def write_all(fd: int, data: bytes) -> None:
    """All of `data` at the descriptor's place."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _holds(path: str, content: Content) -> bool:
    """Whether the file at `path` has exactly these bytes: a power cut may have shortened what was never synced."""
    try:
        if os.stat(path).st_size != content.size_bytes:
            return False
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").digest() == content.digest
    except OSError:
        return False
