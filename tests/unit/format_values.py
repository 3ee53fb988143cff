"""Hypothesis strategies for legal commits and trees."""

import hashlib
from dataclasses import replace

from hypothesis import strategies as st

from agentfs.model.records import (
    CHUNK_BYTES,
    ROOT_ID,
    ChunkedContent,
    Commit,
    Conflict,
    ConflictId,
    Content,
    Imported,
    InlineContent,
    InodeRecord,
    Kind,
    Link,
    Sides,
    Snapshot,
    Unlink,
    inode_id,
)

int64 = st.integers(-(1 << 63), (1 << 63) - 1)
digests = st.binary(min_size=32, max_size=32)
names = st.binary(min_size=1, max_size=255).filter(
    lambda it: it not in (b".", b"..") and b"/" not in it and b"\0" not in it
)
xattrs = st.dictionaries(
    st.binary(min_size=1, max_size=20).filter(lambda it: b"\0" not in it), st.binary(max_size=50)
)
imports = st.builds(Imported, st.text(min_size=1, max_size=40), digests, st.integers(0, 1 << 40))
DEVICES = (Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE)


@st.composite
def contents_before(draw: st.DrawFn, sequence: int) -> Content:
    """A content that is on the store before commit `sequence`."""
    if sequence > 1 and draw(st.booleans()):
        return InlineContent(
            draw(st.integers(0, 128 * 1024)),
            draw(digests),
            draw(st.integers(1, sequence - 1)),
            draw(st.integers(0, 1 << 40)),
        )
    chunks = tuple(draw(st.lists(digests, min_size=1, max_size=4)))
    size = (len(chunks) - 1) * CHUNK_BYTES + draw(st.integers(1, CHUNK_BYTES))
    return ChunkedContent(size, draw(digests), chunks)


@st.composite
def inodes(draw: st.DrawFn, number: int, sequence: int, kind: Kind) -> InodeRecord:
    return InodeRecord(
        id=number,
        kind=kind,
        mode=draw(st.integers(0, 0o7777)),
        uid=draw(st.integers(0, (1 << 32) - 1)),
        gid=draw(st.integers(0, (1 << 32) - 1)),
        mtime_ns=draw(int64),
        ctime_ns=draw(int64),
        birth_ns=draw(int64),
        rdev=draw(st.integers(0, 1 << 62)) if kind in DEVICES else 0,
        target=draw(st.binary(min_size=1, max_size=60).filter(lambda it: b"\0" not in it))
        if kind is Kind.SYMLINK
        else b"",
        xattrs=tuple(sorted(draw(xattrs).items())) if draw(st.booleans()) else (),
        content=draw(contents_before(sequence)) if kind is Kind.FILE else None,
    )


@st.composite
def commits(draw: st.DrawFn) -> tuple[Commit, dict[int, bytes]]:
    """A legal commit and the contents to put inline."""
    sequence = draw(st.integers(1, 1000) | st.just((1 << 39) - 1))
    new = [inode_id(sequence, index) for index in draw(st.sets(st.integers(0, 1 << 20), max_size=4))]
    old = [inode_id(at, 7) for at in draw(st.sets(st.integers(1, sequence - 1), max_size=2))] if sequence > 1 else []
    records = tuple(draw(inodes(it, sequence, draw(st.sampled_from(Kind)))) for it in new + old)
    contents = {
        it.id: draw(st.binary(max_size=100)) for it in records if it.kind is Kind.FILE and draw(st.booleans())
    }
    records = tuple(replace(it, content=None) if it.id in contents else it for it in records)
    ids = st.sampled_from([*new, *old, inode_id(1, 3)])
    links = draw(st.lists(st.builds(Link, st.just(ROOT_ID), names, ids), max_size=4, unique_by=lambda it: it.name))
    unlinks = draw(st.lists(st.builds(Unlink, ids, names), max_size=3, unique=True))
    kinds = st.sampled_from(["content", "name", "delete"])
    conflict = st.builds(Conflict, kinds, ids, names, st.just(b"") | names, st.text(max_size=30))
    conflicts = tuple(draw(st.lists(conflict, max_size=2)))
    side = st.none() | contents_before(sequence)
    sides = tuple(
        draw(st.builds(Sides, st.just(at), st.integers(0, sequence - 1), side, side, side))
        for at in range(len(conflicts))
        if draw(st.booleans())
    )
    before = st.builds(ConflictId, st.integers(1, max(1, sequence - 1)), st.integers(0, 9))
    resolved = draw(st.lists(before, max_size=2, unique=True)) if sequence > 1 else []
    return (
        Commit(
            volume="home-a.b-c",
            sequence=sequence,
            commit_id=draw(st.binary(min_size=16, max_size=16)),
            parent=bytes(32) if sequence == 1 else draw(digests.filter(any)),
            time_ns=draw(st.integers(0, (1 << 63) - 1)),
            author="agent-1",
            replica="r1",
            inodes=records,
            unlinks=tuple(unlinks),
            links=tuple(links),
            conflicts=conflicts,
            sides=sides,
            resolved=tuple(resolved),
            imported=tuple(draw(st.lists(imports, max_size=2, unique_by=lambda it: it.name))),
        ),
        contents,
    )


@st.composite
def trees(draw: st.DrawFn) -> Snapshot:
    """A legal tree: every inode named, directories once."""
    sequence = draw(st.integers(1, 1000))
    records = [draw(inodes(ROOT_ID, sequence, Kind.DIRECTORY))]
    links: dict[tuple[int, bytes], int] = {}
    directories = [ROOT_ID]
    for index in range(draw(st.integers(0, 8))):
        kind = draw(st.sampled_from(Kind))
        number = inode_id(draw(st.integers(1, sequence)), index)
        place = (draw(st.sampled_from(directories)), draw(names))
        if place in links:
            continue
        links[place] = number
        records.append(draw(inodes(number, sequence + 1, kind)))
        if kind is Kind.DIRECTORY:
            directories.append(number)
        elif draw(st.booleans()):
            links.setdefault((ROOT_ID, draw(names)), number)
    return Snapshot(
        volume="space-team",
        sequence=sequence,
        commit_digest=hashlib.sha256(b"x").digest(),
        time_ns=draw(st.integers(0, (1 << 63) - 1)),
        inodes=tuple(sorted(records, key=lambda it: it.id)),
        links=tuple(Link(parent, name, child) for (parent, name), child in sorted(links.items())),
    )
