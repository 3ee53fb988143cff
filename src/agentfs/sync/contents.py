"""Reading the bytes of pending files for a commit: whole, stable, and not while somebody writes them."""

import errno
import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from agentfs.errors import Unavailable
from agentfs.format.limits import FILE_BYTES_MAX
from agentfs.model.records import CHUNK_BYTES, INLINE_BYTES_MAX, ChunkedContent, Kind
from agentfs.replica.pending import PendingState
from agentfs.replica.replica import Replica
from agentfs.replica.settle import CapturedFork
from agentfs.replica.transaction import PENDING_CONTENT, RESIDENCY_LOCAL, InodeRow
from agentfs.sync.transfers import Later, Transfer, Transfers

_ZEROS = bytes(CHUNK_BYTES)
_ZEROS_DIGEST = hashlib.sha256(_ZEROS).digest()

PutAll = Callable[[Iterable[tuple[bytes, bytes]]], None]
"""Puts chunks (SHA-256, bytes), perhaps in parallel; returns when all are durable."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A file's bytes, as they go into a commit."""

    content: bytes | ChunkedContent
    """Bytes to be inlined, or chunks that are on the store."""
    mtime_ns: int
    content_change: int
    fork: CapturedFork | None = None
    """The bytes are a merge; ours stay in the backing file."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which files' bytes the next commit should carry."""

    size_bytes: dict[int, int]
    """By inode: what is to be read."""
    held: frozenset[int]
    """New files whose bytes cannot be had now."""
    unchanged: frozenset[int]
    """Files of the log whose new bytes cannot be had now."""
    absent: tuple[int, ...]
    """Of the held: the bytes are not on this machine and must be fetched first."""


def wanted_contents(
    replica: Replica, state: PendingState, *, may_take: Callable[[int], bool], forked: frozenset[int] = frozenset()
) -> Wanted:
    """Look at every pending file. `may_take` tells whether one that is open for writing may be read now. Of `forked`
    files nothing is committed before they are merged, but for open ones, which are merged as they are read."""
    size_bytes: dict[int, int] = {}
    held: set[int] = set()
    unchanged: set[int] = set()
    absent: list[int] = []
    for row in state.inodes.values():
        if row.ino in forked and (not row.nlink or row.local or row.ino not in state.write_open):
            (held if not row.nlink or row.local else unchanged).add(row.ino)
            continue
        if row.kind is not Kind.FILE or not row.nlink or row.local or not row.pending:
            continue
        if row.id is not None and not row.pending & PENDING_CONTENT:
            continue
        waiting = held if row.id is None else unchanged
        if row.ino in state.write_open and not may_take(row.ino):
            waiting.add(row.ino)
            continue
        facts = replica.files.stat(row.ino)
        if not row.pending & PENDING_CONTENT and row.residency != RESIDENCY_LOCAL:
            waiting.add(row.ino)
            absent.append(row.ino)
        elif facts is None:
            waiting.add(row.ino)
        else:
            size_bytes[row.ino] = facts.st_size
    return Wanted(size_bytes, frozenset(held), frozenset(unchanged), tuple(absent))


class Torn(Exception):
    """The file changed while it was read."""


def take(
    replica: Replica,
    row: InodeRow,
    *,
    is_open: bool,
    known: bytes,
    put_all: PutAll,
    transfers: Transfers,
    inline_max: int = INLINE_BYTES_MAX,
) -> Taken:
    """Read a file; put its chunks if it is larger than `inline_max`, as many as there is time for. `is_open`:
    somebody may be writing it. `known`: the chunks that the log has of it already, joined. Raises `Torn`, `Later`,
    `FileNotFoundError`, `StoreError`, `Unavailable`."""
    fd = replica.files.open(row.ino, write=False)
    try:
        if is_open:
            # Stores into a mapped page that is dirty already leave no trace in the file's times. After this each page
            # is clean, and the next store into it changes them (measured: ext4, Linux 6.18).
            os.fsync(fd)
        return take_from(fd, row, known=known, put_all=put_all, inline_max=inline_max, transfers=transfers)
    finally:
        os.close(fd)


def take_from(
    fd: int,
    row: InodeRow,
    *,
    known: bytes,
    put_all: PutAll,
    inline_max: int = INLINE_BYTES_MAX,
    transfers: Transfers | None = None,
) -> Taken:
    """As `take`, from any descriptor; without `transfers` all at once."""
    before = os.fstat(fd)
    if before.st_size > FILE_BYTES_MAX:
        raise Unavailable(
            f"inode {row.ino} has {before.st_size} bytes; a volume holds files of up to {FILE_BYTES_MAX}"
        )
    mtime_ns = row.mtime_ns if before.st_size == row.size_bytes else before.st_mtime_ns
    content: bytes | ChunkedContent
    if before.st_size <= inline_max:
        content = os.pread(fd, inline_max + 1, 0)
        length = len(content)
    else:
        stamp = (before.st_size, before.st_mtime_ns, row.content_change, known)
        transfer = Transfer(stamp) if transfers is None else transfers.of(row.ino, stamp)
        _put_chunks(fd, known, size_bytes=before.st_size, put_all=put_all, transfer=transfer, transfers=transfers)
        content = ChunkedContent(before.st_size, transfer.whole.digest(), tuple(transfer.digests))
        length = transfer.at
    after = os.fstat(fd)
    same = (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
    if not isinstance(content, bytes) and same and transfers is not None:
        transfers.keep(row.ino, transfer)
        if length < before.st_size:
            raise Later
    if length != before.st_size or not same:
        raise Torn
    return Taken(content, mtime_ns, row.content_change)


def _put_chunks(
    fd: int, known: bytes, *, size_bytes: int, put_all: PutAll, transfer: Transfer, transfers: Transfers | None
) -> None:
    """Go on with the transfer until it is done, or the time is up."""
    have = {known[at : at + 32] for at in range(0, len(known), 32)}.union(transfer.put)

    def missing() -> Iterable[tuple[bytes, bytes]]:
        data_at = transfer.at
        for at in range(transfer.at, size_bytes, CHUNK_BYTES):
            if transfers is not None and not transfers.goes_on():
                return
            length = min(CHUNK_BYTES, size_bytes - at)
            if data_at < at + length:
                data_at = _next_data(fd, at, size_bytes)
            if data_at >= at + CHUNK_BYTES and length == CHUNK_BYTES:  # a hole: not read, and digested once for all
                chunk, digest = _ZEROS, _ZEROS_DIGEST
            else:
                chunk = os.pread(fd, length, at)
                digest = hashlib.sha256(chunk).digest()
            transfer.whole.update(chunk)
            transfer.digests.append(digest)
            transfer.at += len(chunk)
            if digest not in have:
                have.add(digest)
                transfer.put.append(digest)
                yield digest, chunk

    put_all(missing())


def _next_data(fd: int, at: int, end: int) -> int:
    """Where the next byte at or after `at` is that is not in a hole; `end` when there is none."""
    try:
        return os.lseek(fd, at, os.SEEK_DATA)
    except OSError as error:
        return end if error.errno == errno.ENXIO else at


def file_digest(path: str) -> bytes | None:
    """SHA-256 of a local file; None when it is not there."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except FileNotFoundError:
        return None
