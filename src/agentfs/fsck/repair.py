"""What can be repaired: derived things are dropped, what a replica still has is uploaded again, a damaged replica is
set aside so that a new one can be made, with every byte saved that the log does not have."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

from agentfs.errors import AgentFSError
from agentfs.fsck.replica_check import is_intact
from agentfs.log.chunk_names import ChunkNames
from agentfs.model.records import CHUNK_BYTES
from agentfs.replica.backing import BackingFiles
from agentfs.replica.database import Connection, translated
from agentfs.stores.protocol import Store

RECOVERED = b"recovered"
"""Directory of the home for bytes whose name is not known any more."""


@dataclass(frozen=True, slots=True)
class Saved:
    """A file whose bytes were only on this machine."""

    path: bytes
    """Where it stood in the home, or below `RECOVERED`."""
    backing: str
    """The file that holds the bytes now."""


def upload_missing(store: Store, volume: str, directory: str, missing: set[bytes]) -> int:
    """Put chunks that the store lost and a clean file of this replica still holds. Returns how many."""
    uploaded = 0
    names = ChunkNames(store, volume)
    with _reading(directory) as connection:
        rows = connection.rows(
            "SELECT i.ino, c.chunks FROM inode i JOIN content c USING(ino) "
            "WHERE i.residency=1 AND i.pending & 2 = 0 AND c.chunks IS NOT NULL"
        )
    files = BackingFiles(os.path.join(directory, "files"))
    for ino, joined in rows:
        for at in range(len(joined) // 32):
            digest = joined[32 * at : 32 * at + 32]
            if digest not in missing:
                continue
            data = _piece(files.path(ino), at)
            if hashlib.sha256(data).digest() == digest:
                store.put(names.name(digest, head=0), data)
                missing.discard(digest)
                uploaded += 1
    return uploaded


def _piece(path: str, at: int) -> bytes:
    try:
        with open(path, "rb") as file:
            file.seek(at * CHUNK_BYTES)
            return file.read(CHUNK_BYTES)
    except OSError:
        return b""


def drop_damaged_backing(directory: str) -> int:
    """Forget clean bytes on this machine that are not what the log has: they are fetched again. Returns how many.

    The caller holds the engine's lock."""
    files = BackingFiles(os.path.join(directory, "files"))
    path = os.path.join(directory, "replica.db")
    dropped = 0
    connection = Connection(path)
    try:
        with translated(path):
            rows = connection.rows(
                "SELECT i.ino, c.digest, c.size_bytes FROM inode i JOIN content c USING(ino) WHERE i.kind=1 "
                "AND i.residency=1 AND i.pending & 2 = 0 "
                "AND NOT EXISTS (SELECT 1 FROM write_open w WHERE w.ino=i.ino)"
            )
            for ino, digest, size_bytes in rows:
                if not is_intact(files.path(ino), digest, size_bytes):
                    connection.execute("UPDATE inode SET residency=0 WHERE ino=? AND pending & 2 = 0", (ino,))
                    files.remove(ino)
                    dropped += 1
    finally:
        connection.close()
    return dropped


def set_aside(directory: str, *, stamp: str, known: set[bytes]) -> list[Saved]:
    """Move a damaged replica's database and files to `damaged-<stamp>/`, and say which files' bytes were only here.

    `known` are the digests of contents that the log has. Where the database can be read, pending files are saved
    under their paths; where it cannot, every file whose bytes the log does not have, below `RECOVERED`. The caller
    holds the engine's lock and knows that nobody else has the replica open. Nothing is deleted.
    """
    aside = os.path.join(directory, f"damaged-{stamp}")
    os.makedirs(aside, mode=0o700)
    try:
        pending = _pending(directory)
    except AgentFSError:
        pending = None
    for name in ("replica.db", "replica.db-wal", "replica.db-shm", "files"):
        with contextlib.suppress(FileNotFoundError):
            os.rename(os.path.join(directory, name), os.path.join(aside, name))
    files = BackingFiles(os.path.join(aside, "files"))
    if pending is not None:
        return [Saved(path, files.path(ino)) for path, ino in pending if os.path.exists(files.path(ino))]
    return [
        Saved(RECOVERED + b"/" + os.fsencode(f"{stamp}-{os.path.basename(path)}"), path)
        for path in _all_files(os.path.join(aside, "files"))
        if os.path.getsize(path) and _digest(path) not in known
    ]


def _pending(directory: str) -> list[tuple[bytes, int]]:
    found = []
    with _reading(directory) as connection:
        rows = connection.rows(
            "SELECT ino FROM inode WHERE kind=1 AND local=0 AND residency=1 AND (pending & 2 != 0 OR id IS NULL "
            "OR EXISTS (SELECT 1 FROM write_open w WHERE w.ino=inode.ino))"
        )
        for (ino,) in rows:
            path = _path(connection, ino)
            found.append((RECOVERED + b"/" + f"{ino:x}".encode() if path is None else path, ino))
    return found


def _path(connection: Connection, ino: int) -> bytes | None:
    names: list[bytes] = []
    for _ in range(1000):
        if ino == 1:
            return b"/".join(reversed(names))
        row = connection.one("SELECT parent, name FROM dentry WHERE ino=? AND ino IS NOT NULL LIMIT 1", (ino,))
        if row is None:
            return None
        ino = row[0]
        names.append(row[1])
    return None


def _all_files(root: str) -> Iterator[str]:
    for directory, _, names in os.walk(root):
        for name in sorted(names):
            yield os.path.join(directory, name)


def _digest(path: str) -> bytes:
    seen = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            seen.update(piece)
    return seen.digest()


@contextlib.contextmanager
def _reading(directory: str) -> Iterator[Connection]:
    path = os.path.join(directory, "replica.db")
    connection = Connection(path, read_only=True)
    try:
        with translated(path):
            yield connection
    finally:
        connection.close()
