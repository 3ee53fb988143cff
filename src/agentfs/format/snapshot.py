"""Snapshots as bytes (docs/format.md, F-50 ff.): the whole tree in pages of columns, each page deflated.

Two ways in and out: rows for bulk work (`decode_snapshot_rows`: 100,000 files without a dataclass each), and
`model.Snapshot` for everything else.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from agentfs.errors import Corrupt
from agentfs.format.commit import split_digests
from agentfs.format.fields import integer, octets, required, row, rows, text
from agentfs.format.framing import COLLECTION_FEATURE, LOCKS_FEATURE, Frame, ObjectKind, open_frame, seal
from agentfs.format.limits import (
    DIGEST_BYTES,
    INTEGER_MAX,
    SEQUENCE_MAX,
    SNAPSHOT_PAGE_BYTES_MAX,
    SNAPSHOT_PAGE_ROWS_MAX,
    SNAPSHOT_PAGES_MAX,
    SNAPSHOT_RAW_BYTES_MAX,
    SNAPSHOT_RAW_RATIO_MAX,
)
from agentfs.format.locks import lock_fields, read_locks
from agentfs.format.origins import features, origin_fields, read_origins
from agentfs.format.snapshot_pages import (
    decode_inode_page,
    decode_link_page,
    encode_inode_page,
    encode_link_page,
    inode_pages,
    link_pages,
)
from agentfs.format.snapshot_rows import (
    PLACE_CHUNKED,
    PLACE_INLINE,
    PLACE_NONE,
    InodeRow,
    LinkRow,
    SnapshotRows,
    check_rows,
)
from agentfs.format.validation import need
from agentfs.model.records import ChunkedContent, Content, InlineContent, InodeRecord, Kind, Link, Snapshot

INODE_PAGE, LINK_PAGE = 0, 1
_LEVEL = 1
"""Of deflate: columns of integers shrink to a tenth already; level 6 takes four times as long for 8 % less."""


@dataclass(frozen=True, slots=True)
class _Page:
    kind: int
    count: int
    stored_bytes: int
    raw_bytes: int


def encode_snapshot(snapshot: Snapshot) -> bytes:
    """The bytes of `snapshot`, whatever the order of its inodes and links. Raises `ValueError` if it is not a
    legal tree. Equal trees at one sequence give equal bytes (with one version of zlib)."""
    inodes = sorted((inode_row(record) for record in snapshot.inodes), key=lambda it: it[0])
    links = sorted((it.parent, it.name, it.child) for it in snapshot.links)
    return encode_snapshot_rows(
        SnapshotRows(
            snapshot.volume,
            snapshot.sequence,
            snapshot.commit_digest,
            snapshot.time_ns,
            inodes,
            links,
            locks=sorted(snapshot.locks, key=lambda it: it[0]),
        )
    )


def encode_snapshot_rows(snapshot: SnapshotRows) -> bytes:
    """As `encode_snapshot`, from rows that are sorted already."""
    check_rows(snapshot)
    raw = [(INODE_PAGE, len(page), encode_inode_page(page)) for page in inode_pages(snapshot.inodes)]
    raw += [(LINK_PAGE, len(page), encode_link_page(page)) for page in link_pages(snapshot.links)]
    need(len(raw) <= SNAPSHOT_PAGES_MAX, f"the tree takes {len(raw)} pages; {SNAPSHOT_PAGES_MAX} are possible")
    stored = [zlib.compress(data, _LEVEL) for _, _, data in raw]
    header = {
        "volume": snapshot.volume,
        "sequence": snapshot.sequence,
        "digest": snapshot.commit_digest,
        "time": snapshot.time_ns,
        "pages": [
            [kind, count, len(deflated), len(data)] for (kind, count, data), deflated in zip(raw, stored, strict=True)
        ],
        "requires": [
            *features(snapshot.origins),
            *([LOCKS_FEATURE] if snapshot.locks else []),
            *([COLLECTION_FEATURE] if snapshot.collected else []),
        ],
        **origin_fields(snapshot.origins),
        **lock_fields(snapshot.locks),
    }
    data, _ = seal(ObjectKind.SNAPSHOT, header, stored)
    return data


def decode_snapshot_rows(data: bytes, *, volume: str) -> SnapshotRows:
    """The tree in `data`, which must be a snapshot of `volume`, as rows in the order of `SnapshotRows`.

    Everything is verified, the shape of the tree included. Raises `Corrupt` or `NewerFormat`.
    """
    try:
        frame = open_frame(data, kind=ObjectKind.SNAPSHOT)
        snapshot = _rows(data, frame)
        check_rows(snapshot)
        need(snapshot.volume == volume, f"it belongs to {snapshot.volume}")
    except (Corrupt, ValueError) as error:
        raise Corrupt(f"a snapshot of {volume} is damaged and was not used: {error}") from error
    return snapshot


def decode_snapshot(data: bytes, *, volume: str) -> Snapshot:
    """As `decode_snapshot_rows`, as values of the model."""
    found = decode_snapshot_rows(data, volume=volume)
    return Snapshot(
        volume=found.volume,
        sequence=found.sequence,
        commit_digest=found.commit_digest,
        time_ns=found.time_ns,
        inodes=tuple(inode_record(it) for it in found.inodes),
        links=tuple(Link(*it) for it in found.links),
        locks=tuple(found.locks),
    )


def inode_row(record: InodeRecord) -> InodeRow:
    """A record as a row (see `InodeRow` for the order)."""
    place, size, digest, at, offset, chunks = PLACE_NONE, 0, b"", 0, 0, b""
    content = record.content
    if isinstance(content, InlineContent):
        place, size, digest = PLACE_INLINE, content.size_bytes, content.digest
        at, offset = content.sequence, content.offset
    elif content is not None:
        place, size, digest = PLACE_CHUNKED, content.size_bytes, content.digest
        chunks = b"".join(content.chunks)
    return (
        record.id,
        int(record.kind),
        record.mode,
        record.uid,
        record.gid,
        record.mtime_ns,
        record.ctime_ns,
        record.birth_ns,
        record.rdev,
        record.target,
        record.xattrs,
        place,
        size,
        digest,
        at,
        offset,
        chunks,
    )


def inode_record(inode: InodeRow) -> InodeRecord:
    """A row as a record."""
    id_, kind, mode, uid, gid, mtime, ctime, birth, rdev, target, xattrs = inode[:11]
    place, size, digest, at, offset, chunks = inode[11:]
    content: Content | None = None
    if place == PLACE_INLINE:
        content = InlineContent(size, digest, at, offset)
    elif place == PLACE_CHUNKED:
        content = ChunkedContent(size, digest, split_digests(chunks))
    return InodeRecord(id_, Kind(kind), mode, uid, gid, mtime, ctime, birth, rdev, target, xattrs, content)


def _rows(data: bytes, frame: Frame) -> SnapshotRows:
    header = frame.header
    inodes: list[InodeRow] = []
    links: list[LinkRow] = []
    start = frame.body_start
    for page in _pages(header.get("pages"), frame.body_end - frame.body_start):
        raw = _inflate(data[start : start + page.stored_bytes], page.raw_bytes)
        start += page.stored_bytes
        if page.kind == INODE_PAGE:
            inodes += decode_inode_page(raw, page.count)
        else:
            links += decode_link_page(raw, page.count)
    return SnapshotRows(
        volume=text(required(header, "volume"), "'volume'", bytes_max=256),
        sequence=integer(required(header, "sequence"), "'sequence'", low=1, high=SEQUENCE_MAX),
        commit_digest=octets(required(header, "digest"), "'digest'", low=DIGEST_BYTES, high=DIGEST_BYTES),
        time_ns=integer(required(header, "time"), "'time'", low=0, high=INTEGER_MAX),
        inodes=inodes,
        links=links,
        origins=read_origins(header.get("origins", [])),
        locks=read_locks(header),
    )


def _pages(value: object, body_bytes: int) -> Iterator[_Page]:
    """The pages of the header, bounded and adding up to the body *before* the first is inflated."""
    pages = [_page(it) for it in rows(value, "'pages'", count_max=SNAPSHOT_PAGES_MAX)]
    need(sum(page.stored_bytes for page in pages) == body_bytes, "the pages do not fill the body")
    need(sum(page.raw_bytes for page in pages) <= SNAPSHOT_RAW_BYTES_MAX, "the tree is too large")
    yield from pages


def _page(value: object) -> _Page:
    kind, count, stored, raw = row(value, "'pages'", width=4)
    stored_bytes = integer(stored, "a page's length", low=1, high=SNAPSHOT_PAGE_BYTES_MAX)
    raw_max = min(SNAPSHOT_PAGE_BYTES_MAX, stored_bytes * SNAPSHOT_RAW_RATIO_MAX)
    return _Page(
        integer(kind, "a page's kind", low=INODE_PAGE, high=LINK_PAGE),
        integer(count, "a page's row count", low=1, high=SNAPSHOT_PAGE_ROWS_MAX),
        stored_bytes,
        integer(raw, "a page's inflated length", low=1, high=raw_max),
    )


def _inflate(stored: bytes, raw_bytes: int) -> bytes:
    """Never allocates more than `raw_bytes` + 1, whatever the stream says."""
    stream = zlib.decompressobj()
    try:
        raw = stream.decompress(stored, raw_bytes + 1)
    except zlib.error as error:
        raise Corrupt("a page cannot be inflated") from error
    if len(raw) != raw_bytes or not stream.eof or stream.unused_data:
        raise Corrupt("a page does not have the length that was declared")
    return raw
