"""What makes a commit or an inode legal (docs/format.md, F-31 to F-37), for encoder and decoder alike.

Every function raises `ValueError` saying what is wrong: for the encoder that is a caller's mistake, a decoder turns
it into `Corrupt`. Types are taken as given (decoders check them when they read).
"""

from collections.abc import Iterable, Sequence

from agentfs.errors import AgentFSError
from agentfs.format.layout import parse_volume_name
from agentfs.format.limits import (
    CAUSE_BYTES_MAX,
    COMMIT_ID_BYTES,
    COMMIT_IMPORTED_MAX,
    COMMIT_LINKS_MAX,
    COMMIT_LOCKS_MAX,
    CONFLICT_DETAIL_BYTES_MAX,
    CONFLICT_KIND_CHARACTERS_MAX,
    DIGEST_BYTES,
    FILE_BYTES_MAX,
    HOLDER_CHARACTERS_MAX,
    ID_32_MAX,
    INTEGER_MAX,
    INTEGER_MIN,
    NO_PARENT,
    REPLICA_CHARACTERS_MAX,
    SEQUENCE_FIRST,
    SEQUENCE_MAX,
    TARGET_BYTES_MAX,
    VIEW_NAME_BYTES_MAX,
    XATTR_NAME_BYTES_MAX,
    XATTR_VALUE_BYTES_MAX,
    XATTRS_MAX,
)
from agentfs.model.names import check_id, check_name
from agentfs.model.records import (
    CHUNK_BYTES,
    COMMIT_INODES_MAX,
    INDEX_BITS,
    INLINE_BYTES_MAX,
    LOCK_SECONDS_MAX,
    ROOT_ID,
    ChunkedContent,
    Commit,
    Conflict,
    Content,
    InlineContent,
    InodeId,
    InodeRecord,
    Kind,
    Link,
    Unlink,
)

DEVICES = (Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE)


def need(condition: bool, reason: str) -> None:
    if not condition:
        raise ValueError(reason)


def chunk_count(size_bytes: int) -> int:
    """How many chunks a chunked content of this size has."""
    return -(-size_bytes // CHUNK_BYTES)


def check_commit(commit: Commit) -> None:
    """Everything about a commit but where its inline contents lie."""
    check_head(commit.volume, commit.sequence, commit.parent, commit.time_ns)
    need(len(commit.commit_id) == COMMIT_ID_BYTES, f"the commit id is not {COMMIT_ID_BYTES} bytes long")
    need(_is_id(commit.author), "the author is not an agent id")
    need(
        0 < len(commit.replica) <= REPLICA_CHARACTERS_MAX
        and commit.replica.isascii()
        and commit.replica.isprintable(),
        f"the replica is not 1 to {REPLICA_CHARACTERS_MAX} printable ASCII characters",
    )
    need(len(commit.cause.encode()) <= CAUSE_BYTES_MAX, f"the cause is longer than {CAUSE_BYTES_MAX} bytes")
    need(commit.cause.isprintable(), "the cause has a character that does not print")
    need(len(commit.inodes) <= COMMIT_INODES_MAX, f"there are more than {COMMIT_INODES_MAX} inodes")
    for count in map(len, (commit.unlinks, commit.links, commit.conflicts)):
        need(count <= COMMIT_LINKS_MAX, f"there are more than {COMMIT_LINKS_MAX} links, unlinks or conflicts")
    for record in commit.inodes:
        check_inode(record, commit.sequence)
    need(len({record.id for record in commit.inodes}) == len(commit.inodes), "an inode stands twice")
    for unlink in commit.unlinks:
        check_dentry(unlink.parent, unlink.name, commit.sequence)
    for link in commit.links:
        check_link(link, commit.sequence)
    _check_unique(commit.unlinks, "unlinked")
    _check_unique(commit.links, "linked")
    for conflict in commit.conflicts:
        _check_conflict(conflict, commit.sequence)
    _check_sides(commit)
    _check_imported(commit)
    _check_locks(commit)


def check_head(volume: str, sequence: int, parent: bytes, time_ns: int) -> None:
    """What commits and stubs share."""
    check_head_digest(volume, sequence, parent, time_ns)
    need((parent == NO_PARENT) == (sequence == SEQUENCE_FIRST), "the first commit, and no other, has no parent")


def check_head_digest(volume: str, sequence: int, digest: bytes, time_ns: int) -> None:
    """What all objects share."""
    try:
        parse_volume_name(volume)
    except AgentFSError as error:
        raise ValueError(str(error)) from error
    need(SEQUENCE_FIRST <= sequence <= SEQUENCE_MAX, f"the sequence is {sequence}")
    need(len(digest) == DIGEST_BYTES, f"a commit's digest is not {DIGEST_BYTES} bytes long")
    need(0 <= time_ns <= INTEGER_MAX, f"the time is {time_ns}")


def check_inode(record: InodeRecord, sequence: int) -> None:
    """One inode as commit `sequence`, or a snapshot there, may hold it."""
    try:
        _check_inode(record, sequence)
    except ValueError as error:
        raise ValueError(f"inode {record.id}: {error}") from error


def _check_inode(record: InodeRecord, sequence: int) -> None:
    check_inode_id(record.id, sequence)
    need(record.id != ROOT_ID or record.kind is Kind.DIRECTORY, "the root is not a directory")
    need(0 <= record.mode <= 0o7777, f"the mode is {record.mode:o}")
    need(0 <= record.uid <= ID_32_MAX and 0 <= record.gid <= ID_32_MAX, "the owner is out of range")
    for time_ns in (record.mtime_ns, record.ctime_ns, record.birth_ns):
        need(INTEGER_MIN <= time_ns <= INTEGER_MAX, "a time is out of range")
    need(0 <= record.rdev <= INTEGER_MAX, "the device number is out of range")
    need(record.rdev == 0 or record.kind in DEVICES, "only a device has a device number")
    check_target(record.target, symlink=record.kind is Kind.SYMLINK)
    check_xattrs(record.xattrs)
    need((record.content is not None) == (record.kind is Kind.FILE), "files, and only files, have a content")
    if record.content is not None:
        check_content(record.content, sequence)


def check_inode_id(inode: InodeId, sequence: int) -> None:
    need(inode == ROOT_ID or 1 <= inode >> INDEX_BITS <= sequence, f"inode {inode} cannot exist at {sequence}")


def check_target(target: bytes, *, symlink: bool) -> None:
    need(bool(target) == symlink, "symbolic links, and only they, have a target")
    need(len(target) <= TARGET_BYTES_MAX and b"\0" not in target, "the target is not valid")


def check_xattrs(xattrs: Sequence[tuple[bytes, bytes]]) -> None:
    need(len(xattrs) <= XATTRS_MAX, f"there are more than {XATTRS_MAX} extended attributes")
    last = b""
    for name, value in xattrs:
        need(last < name, "the extended attributes are not sorted by name, once each")
        need(len(name) <= XATTR_NAME_BYTES_MAX and b"\0" not in name, "an extended attribute's name is not valid")
        need(len(value) <= XATTR_VALUE_BYTES_MAX, "an extended attribute's value is too long")
        last = name


def check_content(content: Content, sequence: int) -> None:
    """A content that an inode at `sequence` refers to."""
    need(len(content.digest) == DIGEST_BYTES, f"a content's digest is not {DIGEST_BYTES} bytes long")
    if isinstance(content, InlineContent):
        need(0 <= content.size_bytes <= INLINE_BYTES_MAX, f"an inline content of {content.size_bytes} bytes")
        need(SEQUENCE_FIRST <= content.sequence <= sequence, f"a content in commit {content.sequence}")
        need(0 <= content.offset <= INTEGER_MAX, f"a content at offset {content.offset}")
    else:
        _check_chunks(content)


def _check_chunks(content: ChunkedContent) -> None:
    need(1 <= content.size_bytes <= FILE_BYTES_MAX, f"a chunked content of {content.size_bytes} bytes")
    need(
        len(content.chunks) == chunk_count(content.size_bytes),
        f"{len(content.chunks)} chunks for {content.size_bytes} bytes",
    )
    need(all(len(chunk) == DIGEST_BYTES for chunk in content.chunks), "a chunk's digest is of the wrong length")


def check_dentry(parent: InodeId, name: bytes, sequence: int) -> None:
    check_inode_id(parent, sequence)
    try:
        check_name(name)
    except AgentFSError as error:
        raise ValueError(str(error)) from error


def check_link(link: Link, sequence: int) -> None:
    check_dentry(link.parent, link.name, sequence)
    check_inode_id(link.child, sequence)
    need(link.child not in (ROOT_ID, link.parent), f"inode {link.child} cannot be in {link.parent}")


def _check_unique(dentries: Iterable[Link | Unlink], what: str) -> None:
    seen: set[tuple[InodeId, bytes]] = set()
    for dentry in dentries:
        place = (dentry.parent, dentry.name)
        need(place not in seen, f"{dentry.name!r} in {dentry.parent} is {what} twice")
        seen.add(place)


def _check_conflict(conflict: Conflict, sequence: int) -> None:
    need(
        0 < len(conflict.kind) <= CONFLICT_KIND_CHARACTERS_MAX
        and conflict.kind.isascii()
        and conflict.kind.islower(),
        "a conflict's kind is not a lower-case word",
    )
    check_dentry(conflict.parent, conflict.name, sequence)
    if conflict.kept_as:
        check_dentry(conflict.parent, conflict.kept_as, sequence)
    need(len(conflict.detail.encode()) <= CONFLICT_DETAIL_BYTES_MAX, "a conflict's detail is too long")


def _check_sides(commit: Commit) -> None:
    places = [it.conflict for it in commit.sides]
    need(all(0 <= it < len(commit.conflicts) for it in places), "sides are given of a conflict that is not here")
    need(len(set(places)) == len(places), "the sides of a conflict are given twice")
    for it in commit.sides:
        need(0 <= it.met < commit.sequence, f"a conflict met commit {it.met}")
        for content in (it.base, it.earlier, it.later):
            if content is not None:
                check_content(content, commit.sequence)
                here = isinstance(content, InlineContent) and content.sequence == commit.sequence
                need(not here, "a side's content lies in this commit")
    need(len(commit.resolved) <= COMMIT_LINKS_MAX, f"there are more than {COMMIT_LINKS_MAX} resolved conflicts")
    need(len(set(commit.resolved)) == len(commit.resolved), "a conflict is resolved twice")
    for one in commit.resolved:
        need(1 <= one.sequence < commit.sequence, f"a conflict of commit {one.sequence} is resolved")
        need(0 <= one.index < COMMIT_LINKS_MAX, f"conflict {one.index} is resolved")


def _check_imported(commit: Commit) -> None:
    need(len(commit.imported) <= COMMIT_IMPORTED_MAX, f"there are more than {COMMIT_IMPORTED_MAX} imported objects")
    need(len({it.name for it in commit.imported}) == len(commit.imported), "an object is imported twice")
    for it in commit.imported:
        need(0 < len(it.name.encode()) <= VIEW_NAME_BYTES_MAX, "the name of an imported object is too long or empty")
        need(0 <= it.modified_s <= INTEGER_MAX, f"an object's time is {it.modified_s}")
        need(len(it.digest) == DIGEST_BYTES, f"an object's digest is not {DIGEST_BYTES} bytes long")


def _check_locks(commit: Commit) -> None:
    for rows in (commit.locks, commit.fences):
        need(len(rows) <= COMMIT_LOCKS_MAX, f"there are more than {COMMIT_LOCKS_MAX} locks or fences")
        need(len({it.inode for it in rows}) == len(rows), "an inode is locked or fenced twice")
    for lock in commit.locks:
        check_inode_id(lock.inode, commit.sequence)
        check_holder(lock.holder)
        need(0 <= lock.seconds <= LOCK_SECONDS_MAX, f"a lock for {lock.seconds} seconds")
    for fence in commit.fences:
        check_inode_id(fence.inode, commit.sequence)
        need(1 <= fence.token < commit.sequence, f"a fence with token {fence.token}")


def check_holder(holder: str) -> None:
    """Who a lock says that it is held by."""
    need(
        0 < len(holder) <= HOLDER_CHARACTERS_MAX and holder.isascii() and holder.isprintable(),
        f"a lock's holder is not 1 to {HOLDER_CHARACTERS_MAX} printable ASCII characters",
    )


def _is_id(value: str) -> bool:
    try:
        check_id(value)
    except AgentFSError:
        return False
    return True
