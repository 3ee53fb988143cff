"""Commits: round trips, damage at every byte, hostile headers, limits."""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from format_values import commits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentfs.errors import AgentFSError, Corrupt, NewerFormat
from agentfs.format.commit import EncodedCommit, checked_content, decode_commit, encode_commit, inline_bytes
from agentfs.format.framing import ObjectKind, open_frame, seal
from agentfs.model.records import (
    CHUNK_BYTES,
    COMMIT_BYTES_MAX,
    INLINE_BYTES_MAX,
    ROOT_ID,
    ChunkedContent,
    Commit,
    InlineContent,
    InodeRecord,
    Kind,
    Link,
    inode_id,
)

NEW = inode_id(2, 0)
OTHER = inode_id(2, 1)
FILE = InodeRecord(NEW, Kind.FILE, 0o644, 0, 0, 0, 0, 0, xattrs=((b"user.a", b"1"),))
SMALL = Commit(
    volume="home-a",
    sequence=2,
    commit_id=b"i" * 16,
    parent=b"p" * 32,
    time_ns=1,
    author="a",
    replica="r",
    inodes=(FILE, replace(FILE, id=OTHER)),
    links=(Link(ROOT_ID, b"f", NEW), Link(ROOT_ID, b"g", OTHER)),
)
CONTENTS = {NEW: b"some bytes", OTHER: b"other bytes"}


def small() -> EncodedCommit:
    return encode_commit(SMALL, CONTENTS)


def read(data: bytes) -> Commit:
    return decode_commit(data, volume="home-a", sequence=2)[0]


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(commits())
def test_what_is_written_is_read(case: tuple[Commit, dict[int, bytes]]) -> None:
    commit, contents = case
    encoded = encode_commit(commit, contents)
    found, digest = decode_commit(encoded.data, volume=commit.volume, sequence=commit.sequence)
    assert found == encoded.commit
    assert digest == encoded.digest == hashlib.sha256(encoded.data[:-32]).digest() == encoded.data[-32:]
    assert encode_commit(commit, contents).data == encoded.data
    for record in found.inodes:
        if record.id in contents:
            assert isinstance(record.content, InlineContent)
            assert inline_bytes(encoded.data, record.content) == contents[record.id]


def test_equal_contents_are_stored_once() -> None:
    same = bytes(range(256)) * 100
    encoded = encode_commit(SMALL, {NEW: same, OTHER: same})
    assert encoded.data.count(same) == 1
    assert encoded.commit.inodes[0].content == encoded.commit.inodes[1].content


@pytest.mark.parametrize("at", range(len(small().data)))
def test_a_flipped_bit_is_corrupt(at: int) -> None:
    data = small().data
    for bit in range(8):
        damaged = bytearray(data)
        damaged[at] ^= 1 << bit
        with pytest.raises(Corrupt):
            read(bytes(damaged))


def test_a_cut_or_extended_object_is_corrupt() -> None:
    data = small().data
    for cut in (*(data[:end] for end in range(len(data))), data + b"\0", data[1:], data + data):
        with pytest.raises(Corrupt):
            read(cut)


def test_another_volume_or_place_is_corrupt() -> None:
    data = small().data
    for volume, sequence in (("home-b", 2), ("space-a", 2), ("home-a", 3)):
        with pytest.raises(Corrupt, match="belongs"):
            decode_commit(data, volume=volume, sequence=sequence)


def resealed(change: Callable[[dict[str, Any]], object], body: bytes | None = None) -> bytes:
    """The small commit with its header changed by `change`, and a right digest: what a hostile writer can make."""
    data = small().data
    frame = open_frame(data, kind=ObjectKind.COMMIT)
    header: Any = dict(frame.header)
    change(header)
    kept = data[frame.body_start : frame.body_end] if body is None else body
    return seal(ObjectKind.COMMIT, header, [kept])[0]


def column(index: int, value: object) -> Callable[[dict[str, Any]], object]:
    return lambda header: header["inodes"][0].__setitem__(index, value)


HOSTILE: dict[str, Callable[[dict[str, Any]], object]] = {
    "no volume": lambda it: it.pop("volume"),
    "no inodes": lambda it: it.pop("inodes"),
    "volume is bytes": lambda it: it.update(volume=b"home-a"),
    "sequence is a boolean": lambda it: it.update(sequence=True),
    "sequence is huge": lambda it: it.update(sequence=1 << 62),
    "short id": lambda it: it.update(id=b"i"),
    "no parent but not the first": lambda it: it.update(parent=bytes(32)),
    "negative time": lambda it: it.update(time=-1),
    "author is a path": lambda it: it.update(author="../x"),
    "replica has a control character": lambda it: it.update(replica="a\nb"),
    "inodes is a map": lambda it: it.update(inodes={}),
    "an inode is a number": lambda it: it.update(inodes=[1]),
    "an inode is short": lambda it: it["inodes"][0].pop(),
    "an inode is long": lambda it: it["inodes"][0].append(1),
    "an inode twice": lambda it: it["inodes"].append(it["inodes"][0]),
    "an inode of the future": column(0, inode_id(3, 0)),
    "an inode of sequence 0": column(0, 5),
    "a root that is a file": column(0, ROOT_ID),
    "an unknown kind": column(1, 8),
    "kind is text": column(1, "file"),
    "a device without content": column(1, 6),
    "mode with type bits": column(2, 0o100644),
    "uid of 33 bits": column(3, 1 << 32),
    "time of 64 bits": column(5, 1 << 63),
    "a file with a device number": column(8, 1),
    "a file with a target": column(9, b"x"),
    "xattrs unsorted": column(10, [[b"b", b""], [b"a", b""]]),
    "xattr twice": column(10, [[b"a", b""], [b"a", b""]]),
    "xattr of one column": column(10, [[b"a"]]),
    "a file without content": column(11, None),
    "content of unknown place": column(11, [3, 1, bytes(32), b""]),
    "content beyond the body": column(11, [0, 10, bytes(32), 1000]),
    "content of another digest": column(11, [0, 10, bytes(32), 0]),
    "content in this commit as earlier": column(11, [1, 10, bytes(32), 2, 100]),
    "content not used": column(11, [1, 10, bytes(32), 1, 100]),
    "content of negative size": column(11, [1, -1, bytes(32), 1, 100]),
    "too few chunks": column(11, [2, CHUNK_BYTES + 1, bytes(32), bytes(32)]),
    "half a chunk digest": column(11, [2, CHUNK_BYTES, bytes(32), bytes(31)]),
    "chunked and empty": column(11, [2, 0, bytes(32), b""]),
    "link twice": lambda it: it["links"].append(it["links"][0]),
    "link to a path": lambda it: it["links"][0].__setitem__(1, b"../x"),
    "link to dot": lambda it: it["links"][0].__setitem__(1, b".."),
    "long name": lambda it: it["links"][0].__setitem__(1, b"x" * 256),
    "link to the root": lambda it: it["links"][0].__setitem__(2, ROOT_ID),
    "link into itself": lambda it: it["links"][0].__setitem__(0, NEW),
    "unlink twice": lambda it: it.update(unlinks=[[1, b"x"], [1, b"x"]]),
    "conflict of no kind": lambda it: it.update(conflicts=[["", 1, b"x", b"", ""]]),
    "conflict kept as a path": lambda it: it.update(conflicts=[["name", 1, b"x", b"a/b", ""]]),
    "requires a number": lambda it: it.update(requires=[1]),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_header_is_corrupt(name: str) -> None:
    with pytest.raises(Corrupt):
        read(resealed(HOSTILE[name]))


def test_bytes_in_no_content_are_corrupt() -> None:
    with pytest.raises(Corrupt, match="no content"):
        read(resealed(lambda it: None, body=b"some bytesother bytes+"))


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.binary(max_size=40) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None)
@given(st.sampled_from(sorted(open_frame(small().data, kind=ObjectKind.COMMIT).header)), values)
def test_any_value_in_any_field_is_refused_or_legal(key: str, value: object) -> None:
    """Never another exception than the format's own; what is accepted can be written again."""
    try:
        found = read(resealed(lambda it: it.update({key: value})))
    except AgentFSError as error:
        assert isinstance(error, Corrupt | NewerFormat)
    else:
        assert found.volume == "home-a"


@settings(deadline=None)
@given(st.integers(0, 11), values)
def test_any_value_in_any_column_is_refused_or_legal(index: int, value: object) -> None:
    with suppress(Corrupt):
        read(resealed(column(index, value)))


def test_an_unknown_optional_field_is_ignored() -> None:
    data = resealed(lambda it: it.update(mood={"of": ["the", "writer"]}))
    found = read(data)
    assert (found.commit_id, found.links) == (SMALL.commit_id, SMALL.links)
    for record in found.inodes:
        assert isinstance(record.content, InlineContent)
        assert inline_bytes(data, record.content) == CONTENTS[record.id]


def test_an_unknown_required_feature_is_a_newer_format() -> None:
    with pytest.raises(NewerFormat, match="upgrade"):
        read(resealed(lambda it: it.update(requires=["packs"])))


@pytest.mark.parametrize(
    "broken",
    [
        replace(SMALL, parent=bytes(32)),
        replace(SMALL, commit_id=b""),
        replace(SMALL, author="a/b"),
        replace(SMALL, inodes=(replace(FILE, id=inode_id(3, 0)),)),
        replace(SMALL, links=(Link(ROOT_ID, b"a/b", NEW),)),
        replace(SMALL, inodes=(replace(FILE, kind=Kind.FIFO), SMALL.inodes[1])),
        replace(SMALL, inodes=()),
    ],
)
def test_an_illegal_commit_is_not_written(broken: Commit) -> None:
    with pytest.raises(ValueError):
        encode_commit(broken, CONTENTS)


def test_a_file_needs_its_content() -> None:
    with pytest.raises(ValueError):
        encode_commit(SMALL, {NEW: b""})
    with pytest.raises(ValueError, match="not given"):
        here = replace(FILE, content=InlineContent(1, bytes(32), 2, 100))
        encode_commit(replace(SMALL, inodes=(here, SMALL.inodes[1])), {OTHER: b""})


def test_limits_of_inline_contents() -> None:
    encode_commit(SMALL, {NEW: bytes(INLINE_BYTES_MAX), OTHER: b""})
    with pytest.raises(ValueError, match="too many to inline"):
        encode_commit(SMALL, {NEW: bytes(INLINE_BYTES_MAX + 1), OTHER: b""})
    count = COMMIT_BYTES_MAX // INLINE_BYTES_MAX + 1
    records = tuple(replace(FILE, id=inode_id(2, index)) for index in range(count))
    full = {it.id: it.id.to_bytes(8, "big") * (INLINE_BYTES_MAX // 8) for it in records}
    with pytest.raises(ValueError, match="fit one commit"):
        encode_commit(replace(SMALL, inodes=records, links=()), full)


def test_a_section_from_a_ranged_get_is_verified() -> None:
    encoded = small()
    content = encoded.commit.inodes[0].content
    assert isinstance(content, InlineContent)
    section = encoded.data[content.offset :][: content.size_bytes]
    assert checked_content(section, content) == b"some bytes"
    for wrong in (section[:-1], section + b"\0", b"x" * len(section), b""):
        with pytest.raises(Corrupt):
            checked_content(wrong, content)
    chunked = ChunkedContent(10, content.digest, (content.digest,))
    assert checked_content(section, chunked) == section
