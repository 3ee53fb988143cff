"""Fetching bytes into backing files: on demand, from a commit at hand, and checking suspect ones.

Bytes are verified by digest and length before they are adopted, and adopted in a transaction that checks that they
are still the content (a pull or a local writer may have been faster).
"""

import hashlib
import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass

from agentfs.errors import AgentFSError, Corrupt, NotFound, ObjectNotFound, StoreError, Unavailable
from agentfs.log.contents import Contents
from agentfs.model.records import CHUNK_BYTES, InlineContent
from agentfs.replica.backing import translate
from agentfs.replica.transaction import (
    PENDING_CONTENT,
    RESIDENCY_LOCAL,
    RESIDENCY_REMOTE,
    RESIDENCY_SUSPECT,
    ContentRow,
)
from agentfs.sync.contents import file_digest
from agentfs.sync.ground import EngineGround

_TRIES_MAX = 8


@dataclass(slots=True)
class _Fetch:
    done: threading.Event
    error: AgentFSError | None = None


class Hydration:
    """Safe from any thread. Two calls for one inode share one fetch."""

    def __init__(self, ground: EngineGround) -> None:
        self._ground = ground
        self._contents = Contents(ground.store, ground.log)
        self._lock = threading.Lock()
        self._running: dict[int, _Fetch] = {}

    def hydrate(self, ino: int) -> None:
        """On return the backing file of `ino` holds its content. Raises `Unavailable` when the bytes cannot be had
        now, `Corrupt` when what the store has is damaged, `NotFound` when there is no such file."""
        with self._lock:
            fetch = self._running.get(ino)
            mine = fetch is None
            if fetch is None:
                fetch = self._running[ino] = _Fetch(threading.Event())
        if not mine:
            fetch.done.wait()
            if fetch.error is not None:
                raise fetch.error
            return
        fetch.error = Unavailable(f"fetching the bytes of inode {ino} failed: see the log")
        try:
            self._hydrate(ino)
            fetch.error = None
        except AgentFSError as error:
            fetch.error = error
            raise
        finally:
            with self._lock:
                del self._running[ino]
            fetch.done.set()

    def _hydrate(self, ino: int) -> None:
        for _ in range(_TRIES_MAX):
            content = self._missing(ino)
            if content is None:
                return
            try:
                fd, path = self._ground.replica.files.stage()
            except FileNotFoundError as error:
                raise Unavailable("the replica is closed") from error
            try:
                try:
                    self._fetch(content, fd)
                finally:
                    os.close(fd)
                self._ground.failpoint("hydrate.staged")
                if self.adopt([(ino, content.digest, path)]):
                    return
            except ObjectNotFound as error:
                raise Unavailable(f"the bytes of inode {ino} are not on the store: {error}") from error
            except StoreError as error:
                raise Unavailable(f"the bytes of inode {ino} cannot be fetched now: {error}") from error
            finally:
                if os.path.exists(path):
                    os.unlink(path)
        raise Unavailable(f"inode {ino} keeps changing; try again")

    def _missing(self, ino: int) -> ContentRow | None:
        """What is to be fetched; None when the bytes are here (checked first if they are suspect)."""
        replica = self._ground.replica
        row = replica.inode(ino)
        if row is None:
            raise NotFound(f"there is no inode {ino}")
        if row.pending & PENDING_CONTENT:
            return None
        content = replica.content(ino)
        facts = replica.files.stat(ino)
        if row.residency == RESIDENCY_LOCAL and facts is not None:
            return None
        if content is None:
            raise Unavailable(f"nothing tells where the bytes of inode {ino} are: run agentfs fsck")
        suspect = row.residency == RESIDENCY_SUSPECT and facts is not None and facts.st_size == content.size_bytes
        if suspect and file_digest(replica.files.path(ino)) == content.digest:
            with replica.transaction(session=0) as tx:
                tx.sql.execute(
                    "UPDATE inode SET residency=? WHERE ino=? AND residency=? AND content_change=?",
                    (RESIDENCY_LOCAL, ino, RESIDENCY_SUSPECT, row.content_change),
                )
            return self._missing(ino)
        return content

    # ---- fetching ----

    def read(self, content: ContentRow) -> bytes:
        """The verified bytes of a content of the log. Raises `ObjectNotFound`, `Corrupt`, `StoreError`, `NoSpace`."""
        fd, path = self._ground.replica.files.stage()
        try:
            self._fetch(content, fd)
            return os.pread(fd, content.size_bytes, 0)
        finally:
            os.close(fd)
            os.unlink(path)

    def _fetch(self, content: ContentRow, fd: int) -> None:
        if content.sequence is not None:
            self._fetch_inline(content, fd)
            return
        assert content.chunks is not None
        chunks = [
            (content.chunks[at * 32 : at * 32 + 32], at * CHUNK_BYTES) for at in range(len(content.chunks) // 32)
        ]
        self._ground.each(
            lambda it: self._fetch_chunk(it[1], int(it[0]), content.size_bytes, fd),
            ((str(offset), digest) for digest, offset in chunks),
        )
        if os.fstat(fd).st_size != content.size_bytes:
            raise Corrupt("a file's chunks do not add up to its size; it was not used")

    def _fetch_inline(self, content: ContentRow, fd: int) -> None:
        assert content.sequence is not None and content.offset is not None
        data = b""
        if content.size_bytes:
            place = InlineContent(content.size_bytes, content.digest, content.sequence, content.offset)
            data = self._contents.inline(place)
        _write_all(fd, data, 0)

    def _fetch_chunk(self, digest: bytes, offset: int, size_bytes: int, fd: int) -> None:
        data = self._ground.log.chunk(digest)
        if len(data) != min(CHUNK_BYTES, size_bytes - offset) or hashlib.sha256(data).digest() != digest:
            raise Corrupt(f"chunk {digest.hex()} does not match its digest; it was not used")
        _write_all(fd, data, offset)

    # ---- adopting ----

    def adopt_bytes(self, files: Iterable[tuple[int, bytes, bytes]]) -> None:
        """Bytes at hand (ino, digest, bytes), verified by the caller: make them the backing files, where they are
        wanted still."""
        staged = []
        try:
            for ino, digest, data in files:
                fd, path = self._ground.replica.files.stage()
                staged.append((ino, digest, path))
                try:
                    _write_all(fd, data, 0)
                finally:
                    os.close(fd)
            if staged:
                self.adopt(staged)
        finally:
            for _, _, path in staged:
                if os.path.exists(path):
                    os.unlink(path)

    def adopt(self, staged: list[tuple[int, bytes, str]]) -> bool:
        """Make staged files (ino, digest, path) the backing files, each if it is still the content of an unchanged
        inode that lacks it. Returns whether all were."""
        replica = self._ground.replica
        every = True
        with replica.transaction(session=0) as tx:
            for ino, digest, path in staged:
                row, content = tx.inode(ino), tx.content(ino)
                if row is None or content is None or content.digest != digest or row.pending & PENDING_CONTENT:
                    every = False
                    continue
                here = row.residency == RESIDENCY_LOCAL and replica.files.stat(ino) is not None
                if here or tx.is_write_open(ino):
                    every = every and here
                    continue
                os.utime(path, ns=(row.atime_ns, row.mtime_ns))
                replica.files.adopt(path, ino)
                tx.sql.execute(
                    "UPDATE inode SET residency=?, used_at_ns=max(used_at_ns, ?) WHERE ino=?",
                    (RESIDENCY_LOCAL, tx.now_ns if row.residency == RESIDENCY_REMOTE else 0, ino),
                )
        return every


def _write_all(fd: int, data: bytes, offset: int) -> None:
    """Raises `NoSpace`, `ReplicaDamaged`."""
    view = memoryview(data)
    try:
        while view:
            written = os.pwrite(fd, view, offset)
            offset += written
            view = view[written:]
    except OSError as error:
        raise translate(error, "a file's bytes") from error
