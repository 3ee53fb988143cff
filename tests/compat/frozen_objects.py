"""What the frozen objects of format version 1 hold. `python tests/compat/frozen_objects.py` writes missing files of
`tests/compat/v1/`; it never changes one that is there: a frozen file is a promise, not a product."""

import hashlib
from pathlib import Path

from agentfs.format.carried import CarriedHeader, encode_carried, stored_page
from agentfs.format.carried_pages import CarriedFile, CarriedPassage
from agentfs.format.collection import (
    Announcement,
    BlobId,
    PolicyRecord,
    encode_announcement,
    encode_policy,
)
from agentfs.format.commit import encode_commit
from agentfs.format.lifecycle import LifecycleRecord, encode_lifecycle
from agentfs.format.pack import Evidence, Lineage, Pack, State, encode_pack
from agentfs.format.pin import Pin, encode_pin
from agentfs.format.snapshot import encode_snapshot
from agentfs.format.store_file import encode_store_file, new_store_file
from agentfs.format.stub import Stub, encode_stub, stub_of
from agentfs.model.records import (
    CHUNK_BYTES,
    ROOT_ID,
    ChunkedContent,
    Commit,
    Conflict,
    InlineContent,
    InodeRecord,
    Kind,
    Link,
    Snapshot,
    Unlink,
    inode_id,
)

FOLDER = Path(__file__).parent / "v1"
VOLUME = "home-frozen"
NOTE = b"# Notes\n\nThe sky is blue.\n"
CONTENTS = {inode_id(2, 0): NOTE, inode_id(2, 1): b"", inode_id(2, 2): NOTE}
NS = 1_767_225_600_123_456_789
DIGEST = bytes(range(32))


def file(number: int, **more: object) -> InodeRecord:
    facts: dict[str, object] = {"mode": 0o644, "uid": 1000, "gid": 1000, "mtime_ns": NS, "ctime_ns": NS + 1}
    return InodeRecord(id=number, kind=Kind.FILE, birth_ns=NS - 1, **{**facts, **more})  # type: ignore[arg-type]


def commit() -> Commit:
    earlier = InlineContent(9, DIGEST, 1, 4711)
    chunked = ChunkedContent(CHUNK_BYTES + 1, DIGEST[::-1], (DIGEST, DIGEST[::-1]))
    return Commit(
        volume=VOLUME,
        sequence=2,
        commit_id=bytes(range(16)),
        parent=DIGEST,
        time_ns=NS,
        author="frozen",
        replica="r-0001",
        inodes=(
            file(inode_id(2, 0), xattrs=((b"user.empty", b""), (b"user.tag", b"\xff\x00"))),
            file(inode_id(2, 1)),
            file(inode_id(2, 2), mode=0o4755),
            file(inode_id(1, 0), content=earlier),
            file(inode_id(1, 1), content=chunked, mtime_ns=-1),
            InodeRecord(inode_id(2, 3), Kind.DIRECTORY, 0o1777, 0, 0, NS, NS, NS),
            InodeRecord(inode_id(2, 4), Kind.SYMLINK, 0o777, 0, 0, NS, NS, NS, target="../ü".encode()),
            InodeRecord(inode_id(2, 5), Kind.CHARACTER_DEVICE, 0o600, 0, 0, NS, NS, NS, rdev=0x103),
        ),
        unlinks=(Unlink(ROOT_ID, b"old"),),
        links=(
            Link(ROOT_ID, b"notes.md", inode_id(2, 0)),
            Link(ROOT_ID, b"\xff not UTF-8", inode_id(2, 1)),
            Link(inode_id(2, 3), b"copy.md", inode_id(2, 2)),
            Link(ROOT_ID, b"dir", inode_id(2, 3)),
            Link(ROOT_ID, b"link", inode_id(2, 4)),
            Link(ROOT_ID, b"null", inode_id(2, 5)),
        ),
        conflicts=(Conflict("content", ROOT_ID, b"notes.md", b"notes.conflict-a-1.md", "both changed it"),),
    )


def snapshot() -> Snapshot:
    encoded = encode_commit(commit(), CONTENTS)
    root = InodeRecord(ROOT_ID, Kind.DIRECTORY, 0o755, 1000, 1000, NS, NS, NS)
    kept = (Link(ROOT_ID, b"a", inode_id(1, 0)), Link(ROOT_ID, b"b", inode_id(1, 1)))
    return Snapshot(
        volume=VOLUME,
        sequence=2,
        commit_digest=encoded.digest,
        time_ns=NS,
        inodes=tuple(sorted((root, *encoded.commit.inodes), key=lambda it: it.id)),
        links=tuple(sorted((*kept, *encoded.commit.links), key=lambda it: (it.parent, it.name))),
    )


def stub() -> Stub:
    encoded = encode_commit(commit(), CONTENTS)
    return stub_of(encoded.commit, encoded.digest, snapshot=5)


def barrier() -> Commit:
    return Commit(VOLUME, 3, bytes(16), DIGEST, NS, "frozen", "clean-up", collection=2)


def packed_stub() -> Stub:
    encoded = encode_commit(commit(), CONTENTS)
    return stub_of(encoded.commit, encoded.digest, snapshot=5, packed=True)


def pin() -> Pin:
    return Pin(VOLUME, bytes(range(16)), "fork", "home-experiment", 5, DIGEST, NS, "frozen", "für später", held=True)


def announcement() -> Announcement:
    blobs = (BlobId(DIGEST, 0), BlobId(DIGEST, 1), BlobId(DIGEST[::-1], 0))
    return Announcement(VOLUME, 2, 5, NS, "frozen", "30d 10 versions", blobs, (DIGEST,))


def policy() -> PolicyRecord:
    return PolicyRecord(VOLUME, 2, "30d 10 versions", "frozen", NS)


def rules() -> LifecycleRecord:
    text = '[[lifecycle]]\nglob = "logs/**"\nexpire = "30d"  # für später\n'
    return LifecycleRecord(VOLUME, 2, text, "frozen", NS)


def applied() -> Commit:
    """What a lifecycle rule did."""
    return Commit(
        VOLUME, 3, bytes(16), DIGEST, NS, "lifecycle", "lifecycle 0123", unlinks=(Unlink(ROOT_ID, b"old.md"),),
        cause="rule logs/** expire 30d",
    )  # fmt: skip


def pack() -> tuple[Pack, list[bytes]]:
    inline = InlineContent(len(NOTE), hashlib.sha256(NOTE).digest(), 2, 4711)
    chunked = ChunkedContent(CHUNK_BYTES + 1, DIGEST[::-1], (DIGEST, DIGEST[::-1]))
    states = (
        State(1, NS, "frozen", ROOT_ID, b"old.md", inode_id(1, 0), 0o644, -1, chunked),
        State(2, NS + 1, "other", ROOT_ID, b"\xff not UTF-8", inode_id(2, 0), 0o4755, NS, inline),
    )
    met = Evidence(
        2, 0, "content", ROOT_ID, b"notes.md", b"notes.conflict-a-1.md", "both changed it", NS, "frozen", 1, None,
        InlineContent(9, DIGEST, 1, 4711), chunked,
    )  # fmt: skip
    bodies = [NOTE, b"second"]
    contents = tuple((hashlib.sha256(body).digest(), len(body)) for body in bodies)
    lineages = (Lineage(ROOT_ID, b"notes.md", states),)
    return Pack(VOLUME, bytes(range(16)), 1, 2, contents, lineages, (met,)), bodies


def carried() -> tuple[CarriedHeader, list[list[CarriedFile]]]:
    passage = CarriedPassage(
        3, 3, 9, 26, 6, 7, None, "The sky is blue.", "Notes", "ann", "ann", "", "note note", "sky", "the sky is blue"
    )
    note = CarriedFile(
        inode_id(2, 0), hashlib.sha256(NOTE).digest(), f"{NS}.1.md", indexed=True, mtime_ns=NS, created_ns=-1,
        importance=0.5, pinned=True, path=b"\xff notes.md", kind="markdown", title="Nötes", tags=("sky",),
        links=("b", "c"), passages=(passage, passage._replace(said_ns=NS)),
    )  # fmt: skip
    photo = CarriedFile(inode_id(1, 1), DIGEST, "0.2.jpg", indexed=False)
    return CarriedHeader(VOLUME, 2, NS, "frozen", "1.3 llama-2"), [[note, photo], [photo]]


def encoded_objects() -> dict[str, bytes]:
    """File name → bytes, as today's encoders write them."""
    return {
        "announcement.bin": encode_announcement(announcement()),
        "applied.bin": encode_commit(applied(), {}).data,
        "index.bin": encode_carried(carried()[0], [stored_page(it) for it in carried()[1]]),
        "barrier.bin": encode_commit(barrier(), {}).data,
        "lifecycle.bin": encode_lifecycle(rules()),
        "pack.bin": encode_pack(*pack())[0],
        "packed-stub.bin": encode_stub(packed_stub()),
        "pin.bin": encode_pin(pin()),
        "policy.bin": encode_policy(policy()),
        "commit.bin": encode_commit(commit(), CONTENTS).data,
        "snapshot.bin": encode_snapshot(snapshot()),
        "stub.bin": encode_stub(stub()),
        "store.json": encode_store_file(new_store_file(NS)),
    }


if __name__ == "__main__":
    for name, data in encoded_objects().items():
        if not (FOLDER / name).exists():
            FOLDER.mkdir(exist_ok=True)
            (FOLDER / name).write_bytes(data)
            print(f"wrote {name}, {len(data)} bytes")
