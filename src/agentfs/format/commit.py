"""Commits as bytes (docs/format.md, F-30 ff.).

The header holds the changes; the body is the inline contents one after the other, without gaps, so that one file
is one ranged get, verified by its own digest.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from agentfs.errors import Corrupt
from agentfs.format.fields import integer, octets, required, row, rows, text
from agentfs.format.framing import (
    COLLECTION_FEATURE,
    LOCKS_FEATURE,
    PREAMBLE_BYTES,
    Frame,
    ObjectKind,
    open_frame,
    pack,
    seal,
)
from agentfs.format.limits import (
    CAUSE_BYTES_MAX,
    COMMIT_ID_BYTES,
    COMMIT_IMPORTED_MAX,
    COMMIT_LINKS_MAX,
    CONFLICT_DETAIL_BYTES_MAX,
    DIGEST_BYTES,
    FILE_BYTES_MAX,
    FILE_CHUNKS_MAX,
    INTEGER_MAX,
    INTEGER_MIN,
    SEQUENCE_MAX,
    TARGET_BYTES_MAX,
    VIEW_NAME_BYTES_MAX,
    XATTR_NAME_BYTES_MAX,
    XATTR_VALUE_BYTES_MAX,
    XATTRS_MAX,
)
from agentfs.format.locks import commit_lock_fields, read_commit_locks
from agentfs.format.validation import check_commit, need
from agentfs.model.records import (
    COMMIT_BYTES_MAX,
    COMMIT_INODES_MAX,
    INLINE_BYTES_MAX,
    NAME_BYTES_MAX,
    ChunkedContent,
    Commit,
    Conflict,
    ConflictId,
    Content,
    Imported,
    InlineContent,
    InodeId,
    InodeRecord,
    Kind,
    Link,
    Sides,
    Unlink,
)

_HERE, _EARLIER, _CHUNKED = 0, 1, 2


@dataclass(frozen=True, slots=True)
class EncodedCommit:
    """A commit ready to be put."""

    data: bytes
    digest: bytes
    """The trailing SHA-256: the commit's identity, and the `parent` of the next."""
    commit: Commit
    """As given, with every inline content's place resolved to (sequence, offset)."""


def encode_commit(commit: Commit, contents: Mapping[InodeId, bytes]) -> EncodedCommit:
    """The bytes of `commit`, with the bytes in `contents` (by inode) inline; equal bytes are stored once.

    Every file of `commit.inodes` is either in `contents` (its `content`, if any, is replaced) or refers to what is
    on the store already: chunks, or an inline content of an earlier commit. Raises `ValueError` when the commit
    is not legal or not within the limits (F-60). Deterministic: equal arguments give equal bytes.
    """
    sections, places = _lay_out(contents, commit)
    header = _header(commit, places)
    body_start = PREAMBLE_BYTES + len(pack(header))
    resolved = replace(
        commit,
        inodes=tuple(
            replace(record, content=_moved(places[record.id], body_start)) if record.id in places else record
            for record in commit.inodes
        ),
    )
    check_commit(resolved)
    data, digest = seal(ObjectKind.COMMIT, header, sections)
    return EncodedCommit(data, digest, resolved)


def decode_commit(data: bytes, *, volume: str, sequence: int) -> tuple[Commit, bytes]:
    """The commit in `data` and its digest. `data` must be entry `sequence` of the log of `volume`.

    Everything is verified: frame, types, limits, legality, and each inline content against its digest. Raises
    `Corrupt`, or `NewerFormat` for an intact commit of a later format.
    """
    try:
        frame = open_frame(data, kind=ObjectKind.COMMIT)
        commit = _commit(frame)
        check_commit(commit)
        _check_body(data, frame, commit)
        need(commit.volume == volume, f"it belongs to {commit.volume}")
        need(commit.sequence == sequence, f"it belongs at {commit.sequence}")
    except (Corrupt, ValueError) as error:
        raise Corrupt(f"commit {sequence} of {volume} is damaged and was not used: {error}") from error
    return commit, frame.digest


def inline_bytes(data: bytes, content: InlineContent) -> bytes:
    """The bytes of `content`, cut from the whole commit that holds them. Raises `Corrupt`."""
    return checked_content(data[content.offset : content.offset + content.size_bytes], content)


def checked_content(section: bytes, content: Content) -> bytes:
    """`section` itself, if it is what `content` says (for a ranged get). Raises `Corrupt`."""
    if len(section) != content.size_bytes or hashlib.sha256(section).digest() != content.digest:
        raise Corrupt(f"a file's content of {content.size_bytes} bytes does not match its digest; it was not used")
    return section


# ---- encoding -----------------------------------------------------------------------------------------------


def _lay_out(contents: Mapping[InodeId, bytes], commit: Commit) -> tuple[list[bytes], dict[InodeId, InlineContent]]:
    """The body's sections in order, and each inode's content with an offset *in the body*."""
    need(contents.keys() <= {record.id for record in commit.inodes}, "a content is given for an unknown inode")
    sections: list[bytes] = []
    places: dict[InodeId, InlineContent] = {}
    known: dict[bytes, InlineContent] = {}
    body_bytes = 0
    for record in commit.inodes:
        if record.id not in contents:
            place = record.content
            earlier = not isinstance(place, InlineContent) or place.sequence < commit.sequence
            need(earlier, f"the content of inode {record.id} is not given")
            continue
        section = bytes(contents[record.id])
        need(len(section) <= INLINE_BYTES_MAX, f"inode {record.id}: {len(section)} bytes are too many to inline")
        digest = hashlib.sha256(section).digest()
        if digest not in known:
            offset = body_bytes if section else 0
            known[digest] = InlineContent(len(section), digest, commit.sequence, offset)
            sections.append(section)
            body_bytes += len(section)
        places[record.id] = known[digest]
    need(body_bytes <= COMMIT_BYTES_MAX, f"{body_bytes} bytes of contents; {COMMIT_BYTES_MAX} fit one commit")
    return sections, places


def _moved(content: InlineContent, by: int) -> InlineContent:
    return replace(content, offset=content.offset + by)


def _header(commit: Commit, places: Mapping[InodeId, InlineContent]) -> dict[str, object]:
    return {
        "volume": commit.volume,
        "sequence": commit.sequence,
        "id": commit.commit_id,
        "parent": commit.parent,
        "time": commit.time_ns,
        "author": commit.author,
        "replica": commit.replica,
        "inodes": [_inode_row(record, places.get(record.id)) for record in commit.inodes],
        "unlinks": [[it.parent, it.name] for it in commit.unlinks],
        "links": [[it.parent, it.name, it.child] for it in commit.links],
        "conflicts": [[it.kind, it.parent, it.name, it.kept_as, it.detail] for it in commit.conflicts],
        "requires": [
            *([LOCKS_FEATURE] if commit.locks or commit.fences else []),
            *([COLLECTION_FEATURE] if commit.collection else []),
        ],
        **_later_fields(commit),
    }


def _later_fields(commit: Commit) -> dict[str, object]:
    """What came to the format later: absent where it is empty, so that old commits keep their bytes."""
    fields: dict[str, object] = {}
    if commit.sides:
        fields["sides"] = [
            [it.conflict, it.met, *(content_row(content, None) for content in (it.base, it.earlier, it.later))]
            for it in commit.sides
        ]
    if commit.resolved:
        fields["resolved"] = [[it.sequence, it.index] for it in commit.resolved]
    if commit.imported:
        fields["imported"] = [[it.name, it.digest, it.modified_s] for it in commit.imported]
    if commit.cause:
        fields["cause"] = commit.cause
    if commit.collection:
        fields["collection"] = commit.collection
    return fields | commit_lock_fields(commit)


def _inode_row(record: InodeRecord, here: InlineContent | None) -> list[object]:
    return [
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
        [[name, value] for name, value in record.xattrs],
        content_row(record.content, here),
    ]


def content_row(content: Content | None, here: InlineContent | None = None) -> list[object] | None:
    """A content as a row of a header (F-33); `here`: where it lies in the body of the commit itself."""
    if here is not None:
        return [_HERE, here.size_bytes, here.digest, here.offset]
    if isinstance(content, InlineContent):
        return [_EARLIER, content.size_bytes, content.digest, content.sequence, content.offset]
    if content is not None:
        return [_CHUNKED, content.size_bytes, content.digest, b"".join(content.chunks)]
    return None


# ---- decoding -----------------------------------------------------------------------------------------------


def _commit(frame: Frame) -> Commit:
    header = frame.header
    sequence = integer(required(header, "sequence"), "'sequence'", low=1, high=SEQUENCE_MAX)
    inodes = rows(required(header, "inodes"), "'inodes'", count_max=COMMIT_INODES_MAX)
    unlinks = rows(required(header, "unlinks"), "'unlinks'", count_max=COMMIT_LINKS_MAX)
    links = rows(required(header, "links"), "'links'", count_max=COMMIT_LINKS_MAX)
    conflicts = rows(required(header, "conflicts"), "'conflicts'", count_max=COMMIT_LINKS_MAX)
    sides = rows(header.get("sides", []), "'sides'", count_max=COMMIT_LINKS_MAX)
    resolved = rows(header.get("resolved", []), "'resolved'", count_max=COMMIT_LINKS_MAX)
    imported = rows(header.get("imported", []), "'imported'", count_max=COMMIT_IMPORTED_MAX)
    locks, fences = read_commit_locks(header, sequence)
    return Commit(
        volume=text(required(header, "volume"), "'volume'", bytes_max=256),
        sequence=sequence,
        commit_id=octets(required(header, "id"), "'id'", low=COMMIT_ID_BYTES, high=COMMIT_ID_BYTES),
        parent=octets(required(header, "parent"), "'parent'", low=DIGEST_BYTES, high=DIGEST_BYTES),
        time_ns=integer(required(header, "time"), "'time'", low=0, high=INTEGER_MAX),
        author=text(required(header, "author"), "'author'", bytes_max=128),
        replica=text(required(header, "replica"), "'replica'", bytes_max=128),
        inodes=tuple(_inode(it, sequence, frame.body_start) for it in inodes),
        unlinks=tuple(_unlink(it) for it in unlinks),
        links=tuple(_link(it) for it in links),
        conflicts=tuple(_conflict(it) for it in conflicts),
        sides=tuple(_sides(it, sequence, frame.body_start) for it in sides),
        resolved=tuple(_conflict_id(it, sequence) for it in resolved),
        imported=tuple(_imported(it) for it in imported),
        locks=locks,
        fences=fences,
        cause=text(header.get("cause", ""), "'cause'", bytes_max=CAUSE_BYTES_MAX),
        collection=integer(header.get("collection", 0), "'collection'", low=0, high=SEQUENCE_MAX),
    )


def _inode(value: object, sequence: int, body_start: int) -> InodeRecord:
    (id_, kind, mode, uid, gid, mtime, ctime, birth, rdev, target, xattrs, content) = row(value, "'inodes'", width=12)
    return InodeRecord(
        id=_number(id_, "an inode's id"),
        kind=_kind(kind),
        mode=_number(mode, "a mode"),
        uid=_number(uid, "an owner"),
        gid=_number(gid, "a group"),
        mtime_ns=_time(mtime),
        ctime_ns=_time(ctime),
        birth_ns=_time(birth),
        rdev=_number(rdev, "a device number"),
        target=octets(target, "a target", high=TARGET_BYTES_MAX),
        xattrs=tuple(_xattr(it) for it in rows(xattrs, "a list of xattrs", count_max=XATTRS_MAX)),
        content=read_content(content, sequence, body_start),
    )


def _kind(value: object) -> Kind:
    return Kind(integer(value, "a kind", low=min(Kind), high=max(Kind)))


def _xattr(value: object) -> tuple[bytes, bytes]:
    name, content = row(value, "xattrs", width=2)
    return (
        octets(name, "an xattr's name", high=XATTR_NAME_BYTES_MAX),
        octets(content, "an xattr's value", high=XATTR_VALUE_BYTES_MAX),
    )


def read_content(value: object, sequence: int, body_start: int = 0) -> Content | None:
    """The content in a row of an object at `sequence`. Raises `Corrupt`."""
    if value is None:
        return None
    if type(value) is not list or len(value) < 4:
        raise Corrupt("a content is not an array of at least 4")
    size_bytes = integer(value[1], "a content's size", low=0, high=FILE_BYTES_MAX)
    digest = octets(value[2], "a content's digest", low=DIGEST_BYTES, high=DIGEST_BYTES)
    place = integer(value[0], "a content's place", low=_HERE, high=_CHUNKED)
    if place == _HERE:
        _, _, _, offset = row(value, "a content here", width=4)
        start = integer(offset, "a content's offset", low=0, high=COMMIT_BYTES_MAX)
        return InlineContent(size_bytes, digest, sequence, body_start + start)
    if place == _EARLIER:
        _, _, _, earlier, offset = row(value, "an earlier content", width=5)
        at = integer(earlier, "a content's sequence", low=1, high=sequence - 1)
        return InlineContent(size_bytes, digest, at, _number(offset, "a content's offset"))
    _, _, _, chunks = row(value, "a chunked content", width=4)
    joined = octets(chunks, "the chunks", high=FILE_CHUNKS_MAX * DIGEST_BYTES)
    return ChunkedContent(size_bytes, digest, split_digests(joined))


def split_digests(joined: bytes) -> tuple[bytes, ...]:
    """Digests stored one after the other. Raises `Corrupt`."""
    if len(joined) % DIGEST_BYTES:
        raise Corrupt("a list of digests ends inside a digest")
    return tuple(joined[at : at + DIGEST_BYTES] for at in range(0, len(joined), DIGEST_BYTES))


def _unlink(value: object) -> Unlink:
    parent, name = row(value, "'unlinks'", width=2)
    return Unlink(_number(parent, "a parent"), _name(name))


def _link(value: object) -> Link:
    parent, name, child = row(value, "'links'", width=3)
    return Link(_number(parent, "a parent"), _name(name), _number(child, "a child"))


def _conflict(value: object) -> Conflict:
    kind, parent, name, kept_as, detail = row(value, "'conflicts'", width=5)
    return Conflict(
        kind=text(kind, "a conflict's kind", bytes_max=64),
        parent=_number(parent, "a parent"),
        name=_name(name),
        kept_as=_name(kept_as),
        detail=text(detail, "a conflict's detail", bytes_max=CONFLICT_DETAIL_BYTES_MAX),
    )


def _sides(value: object, sequence: int, body_start: int) -> Sides:
    conflict, met, base, earlier, later = row(value, "'sides'", width=5)
    return Sides(
        conflict=_number(conflict, "a conflict's place"),
        met=integer(met, "a sequence", low=0, high=sequence),
        base=read_content(base, sequence, body_start),
        earlier=read_content(earlier, sequence, body_start),
        later=read_content(later, sequence, body_start),
    )


def _conflict_id(value: object, sequence: int) -> ConflictId:
    at, index = row(value, "'resolved'", width=2)
    return ConflictId(integer(at, "a conflict's sequence", low=1, high=sequence - 1), _number(index, "its place"))


def _imported(value: object) -> Imported:
    name, digest, modified = row(value, "'imported'", width=3)
    return Imported(
        name=text(name, "the name of an object", bytes_max=VIEW_NAME_BYTES_MAX),
        digest=octets(digest, "the digest of an object", low=DIGEST_BYTES, high=DIGEST_BYTES),
        modified_s=_number(modified, "an object's time"),
    )


def _number(value: object, what: str) -> int:
    return integer(value, what, low=0, high=INTEGER_MAX)


def _time(value: object) -> int:
    return integer(value, "a time", low=INTEGER_MIN, high=INTEGER_MAX)


def _name(value: object) -> bytes:
    return octets(value, "a name", high=NAME_BYTES_MAX)


def _check_body(data: bytes, frame: Frame, commit: Commit) -> None:
    """The contents that lie here tile the body exactly, each with the digest that its inode gives (F-34)."""
    need(frame.body_end - frame.body_start <= COMMIT_BYTES_MAX, "the contents are longer than a commit may be")
    here = {
        it.content
        for it in commit.inodes
        if isinstance(it.content, InlineContent) and it.content.sequence == commit.sequence
    }
    end = frame.body_start
    for content in sorted(here, key=lambda it: (it.offset, it.size_bytes)):
        if content.size_bytes:
            need(content.offset == end, "the contents do not follow each other")
            end += content.size_bytes
        need(content.size_bytes > 0 or content.offset == frame.body_start, "an empty content is misplaced")
        need(end <= frame.body_end, "a content is longer than the body")
        inline_bytes(data, content)
    need(end == frame.body_end, "there are bytes that belong to no content")
