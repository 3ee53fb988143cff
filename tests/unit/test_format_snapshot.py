"""Snapshots, stubs and the store file: round trips, damage, hostile pages."""

import hashlib
import json
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from format_values import trees
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentfs.errors import AgentFSError, Corrupt, NewerFormat
from agentfs.format import snapshot_pages
from agentfs.format.framing import ObjectKind, open_frame, pack, seal, unpack_map
from agentfs.format.snapshot import decode_snapshot, decode_snapshot_rows, encode_snapshot, inode_record
from agentfs.format.store_file import decode_store_file, encode_store_file, new_store_file
from agentfs.format.stub import Stub, decode_stub, encode_stub
from agentfs.model.records import (
    CHUNK_BYTES,
    ROOT_ID,
    ChunkedContent,
    InlineContent,
    InodeRecord,
    Kind,
    Link,
    Snapshot,
    inode_id,
)

ROOT = InodeRecord(ROOT_ID, Kind.DIRECTORY, 0o755, 0, 0, 0, 0, 0)
FOLDER, NOTE, BIG, LINK = (inode_id(1, index) for index in range(4))
DIGEST = hashlib.sha256(b"").digest()
SMALL = Snapshot(
    volume="home-a",
    sequence=3,
    commit_digest=b"d" * 32,
    time_ns=5,
    inodes=(
        ROOT,
        replace(ROOT, id=FOLDER),
        InodeRecord(NOTE, Kind.FILE, 0o644, 0, 0, 0, 0, 0, content=InlineContent(0, DIGEST, 1, 99)),
        InodeRecord(BIG, Kind.FILE, 0o644, 0, 0, 0, 0, 0, content=ChunkedContent(CHUNK_BYTES, DIGEST, (DIGEST,))),
        InodeRecord(LINK, Kind.SYMLINK, 0o777, 0, 0, 0, 0, 0, target=b"x", xattrs=((b"a", b"b"),)),
    ),
    links=(
        Link(ROOT_ID, b"big", BIG),
        Link(ROOT_ID, b"folder", FOLDER),
        Link(ROOT_ID, b"link", LINK),
        Link(FOLDER, b"note", NOTE),
    ),
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(trees())
def test_what_is_written_is_read(tree: Snapshot) -> None:
    data = encode_snapshot(tree)
    assert decode_snapshot(data, volume=tree.volume) == tree
    rows = decode_snapshot_rows(data, volume=tree.volume)
    assert tuple(inode_record(it) for it in rows.inodes) == tree.inodes
    shuffled = replace(tree, inodes=tree.inodes[::-1], links=tree.links[::-1])
    assert encode_snapshot(shuffled) == data


def test_many_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_pages, "SNAPSHOT_PAGE_ROWS_MAX", 2)
    data = encode_snapshot(SMALL)
    assert len(open_frame(data, kind=ObjectKind.SNAPSHOT).header["pages"]) == 5  # type: ignore[arg-type]
    assert decode_snapshot(data, volume="home-a") == SMALL
    monkeypatch.setattr(snapshot_pages, "SNAPSHOT_PAGE_VARIABLE_BYTES", 0)
    assert decode_snapshot(encode_snapshot(SMALL), volume="home-a") == SMALL


def test_damage_anywhere_is_corrupt() -> None:
    data = encode_snapshot(SMALL)
    for at in range(len(data)):
        damaged = bytearray(data)
        damaged[at] ^= 1 << at % 8
        for wrong in (bytes(damaged), data[:at]):
            with pytest.raises(Corrupt):
                decode_snapshot(wrong, volume="home-a")
    with pytest.raises(Corrupt, match="belongs"):
        decode_snapshot(data, volume="home-b")


def resealed(change: Callable[[dict[str, Any], list[dict[str, Any]]], object]) -> bytes:
    """The small snapshot with header and page columns changed, lengths and digest made right."""
    data = encode_snapshot(SMALL)
    frame = open_frame(data, kind=ObjectKind.SNAPSHOT)
    header: Any = dict(frame.header)
    pages, start = [], frame.body_start
    for _, _, stored, _ in header["pages"]:
        pages.append(unpack_map(zlib.decompress(data[start : start + stored]), "a page"))
        start += stored
    change(header, pages)
    raw = [pack(it) for it in pages]
    stored_pages = [zlib.compress(it) for it in raw]
    for row, page, stored_page in zip(header["pages"], raw, stored_pages, strict=True):
        row[2:] = len(stored_page), len(page)
    return seal(ObjectKind.SNAPSHOT, header, stored_pages)[0]


def u64(*numbers: int) -> bytes:
    return b"".join(it.to_bytes(8, "little") for it in numbers)


HOSTILE: dict[str, Callable[[dict[str, Any], list[dict[str, Any]]], object]] = {
    "no id column": lambda header, pages: pages[0].pop("id"),
    "short column": lambda header, pages: pages[0].update(uid=bytes(19)),
    "column of numbers": lambda header, pages: pages[0].update(uid=[0] * 5),
    "ids unsorted": lambda header, pages: pages[0].update(id=u64(ROOT_ID, NOTE, FOLDER, BIG, LINK)),
    "an id twice": lambda header, pages: pages[0].update(id=u64(ROOT_ID, FOLDER, FOLDER, BIG, LINK)),
    "no root": lambda header, pages: pages[0].update(id=u64(2, FOLDER, NOTE, BIG, LINK)),
    "an id of the future": lambda header, pages: pages[0].update(id=u64(ROOT_ID, FOLDER, NOTE, BIG, inode_id(4, 0))),
    "an unknown kind": lambda header, pages: pages[0].update(kind=bytes([2, 2, 1, 1, 9])),
    "an unknown place": lambda header, pages: pages[0].update(place=bytes([0, 0, 1, 2, 3])),
    "a directory with content": lambda header, pages: pages[0].update(place=bytes([0, 1, 1, 2, 0])),
    "mode with type bits": lambda header, pages: pages[0].update(mode=b"\xff" * 10),
    "a device number for a file": lambda header, pages: pages[0].update(rdev=u64(0, 0, 1, 0, 0)),
    "no target": lambda header, pages: pages[0].update(target=[]),
    "a target for a file": lambda header, pages: pages[0].update(target=[[2, b"x"], [4, b"x"]]),
    "a target beyond the page": lambda header, pages: pages[0].update(target=[[5, b"x"]]),
    "a target twice": lambda header, pages: pages[0].update(target=[[4, b"x"], [4, b"y"]]),
    "xattrs of text": lambda header, pages: pages[0].update(xattrs=[[4, [["a", "b"]]]]),
    "size of 64 bits": lambda header, pages: pages[0].update(size=u64(0, 0, (1 << 64) - 1, CHUNK_BYTES, 0)),
    "chunked size of 64 bits": lambda header, pages: pages[0].update(size=u64(0, 0, 0, (1 << 64) - 1, 0)),
    "chunks missing": lambda header, pages: pages[0].update(chunks=b""),
    "content of the future": lambda header, pages: pages[0].update(sequence=u64(0, 0, 4, 0, 0)),
    "content without sequence": lambda header, pages: pages[0].update(sequence=u64(0, 0, 0, 0, 0)),
    "a digest without content": lambda header, pages: pages[0].update(digest=b"d" * 160),
    "a name missing": lambda header, pages: pages[1].update(name=b"big/folder/link"),
    "an empty name": lambda header, pages: pages[1].update(name=b"big/folder//note"),
    "the name dot dot": lambda header, pages: pages[1].update(name=b"../folder/link/note"),
    "a name with NUL": lambda header, pages: pages[1].update(name=b"big/folder/li\0k/note"),
    "a long name": lambda header, pages: pages[1].update(name=b"big/folder/" + b"l" * 256 + b"/note"),
    "names unsorted": lambda header, pages: pages[1].update(name=b"folder/big/link/note"),
    "a name twice": lambda header, pages: pages[1].update(name=b"big/link/link/note"),
    "a name in a file": lambda header, pages: pages[1].update(parent=u64(ROOT_ID, ROOT_ID, ROOT_ID, NOTE)),
    "an inode without a name": lambda header, pages: pages[1].update(child=u64(BIG, FOLDER, BIG, NOTE)),
    "a name without an inode": lambda header, pages: pages[1].update(child=u64(BIG, FOLDER, LINK, 77)),
    "the root has a name": lambda header, pages: pages[1].update(child=u64(BIG, FOLDER, LINK, ROOT_ID)),
    "a directory in itself": lambda header, pages: pages[1].update(
        parent=u64(ROOT_ID, ROOT_ID, FOLDER, FOLDER), child=u64(BIG, LINK, FOLDER, NOTE)
    ),
    "no pages": lambda header, pages: (header.update(pages=[]), pages.clear()),
    "a page of no rows": lambda header, pages: header["pages"][0].__setitem__(1, 0),
    "a page of more rows": lambda header, pages: header["pages"][0].__setitem__(1, 6),
    "a page of unknown kind": lambda header, pages: header["pages"][0].__setitem__(0, 2),
    "pages is a map": lambda header, pages: (header.update(pages={}), pages.clear()),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_snapshot_is_corrupt(name: str) -> None:
    with pytest.raises(Corrupt):
        decode_snapshot_rows(resealed(HOSTILE[name]), volume="home-a")


def test_a_circle_of_directories_is_refused() -> None:
    one, two = inode_id(1, 0), inode_id(1, 1)
    circle = replace(
        SMALL,
        inodes=(ROOT, replace(ROOT, id=one), replace(ROOT, id=two)),
        links=(Link(one, b"two", two), Link(two, b"one", one)),
    )
    with pytest.raises(ValueError, match="circle"):
        encode_snapshot(circle)


@settings(deadline=None)
@given(st.integers(0, 1), st.data(), st.binary(max_size=50) | st.integers() | st.lists(st.integers(), max_size=3))
def test_any_value_in_any_column_is_refused_or_legal(page: int, data: st.DataObject, value: object) -> None:
    keys = ("parent", "child", "name") if page else (*(it[0] for it in snapshot_pages.INTEGER_COLUMNS), "digest",
                                                     "chunks", "target", "xattrs")  # fmt: skip
    key = data.draw(st.sampled_from(keys))
    try:
        decode_snapshot(resealed(lambda header, pages: pages[page].update({key: value})), volume="home-a")
    except OverflowError:
        pass  # msgpack cannot write the integer
    except AgentFSError as error:
        assert isinstance(error, Corrupt)


def test_a_bomb_does_not_go_off() -> None:
    """A page that inflates to more than it says, and one that says more than deflate can do."""
    bomb = zlib.compress(bytes(50_000_000), 9)
    for raw_bytes in (1000, 50_000_000, 200_000_000):
        header = {"volume": "home-a", "sequence": 3, "digest": b"d" * 32, "time": 5}
        header["pages"] = [[0, 1, len(bomb), raw_bytes]]
        data, _ = seal(ObjectKind.SNAPSHOT, header, [bomb])
        with pytest.raises(Corrupt):
            decode_snapshot_rows(data, volume="home-a")


# ---- stubs --------------------------------------------------------------------------------------------------

STUB = Stub("home-a", 4, b"i" * 16, b"d" * 32, b"p" * 32, 7, 9)


def test_a_stub_goes_both_ways_or_is_corrupt() -> None:
    data = encode_stub(STUB)
    assert decode_stub(data, volume="home-a", sequence=4) == STUB
    for at in range(len(data)):
        damaged = bytearray(data)
        damaged[at] ^= 1 << at % 8
        for wrong in (bytes(damaged), data[:at]):
            with pytest.raises(Corrupt):
                decode_stub(wrong, volume="home-a", sequence=4)
    for volume, sequence in (("home-b", 4), ("home-a", 5)):
        with pytest.raises(Corrupt, match="belongs"):
            decode_stub(data, volume=volume, sequence=sequence)


@pytest.mark.parametrize("change", [{"snapshot": 3}, {"commit_digest": b""}, {"parent": bytes(32)}, {"time_ns": -1}])
def test_an_illegal_stub_is_not_written(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        encode_stub(replace(STUB, **change))


# ---- the store file -----------------------------------------------------------------------------------------


def test_the_store_file_is_plain_json() -> None:
    data = encode_store_file(new_store_file(1_767_225_600_999_999_999))
    assert json.loads(data) == {"agentfs": "store", "format": 1, "created": "2026-01-01T00:00:00Z", "requires": []}
    assert decode_store_file(data) == new_store_file(1_767_225_600_000_000_000)


def test_unknown_facts_of_the_store_are_ignored_unless_required() -> None:
    facts = {"agentfs": "store", "format": 1, "created": "2026-01-01T00:00:00Z", "requires": [], "color": "blue"}
    decode_store_file(json.dumps(facts).encode())
    for news in ({"format": 2}, {"requires": ["encryption"]}):
        with pytest.raises(NewerFormat, match=r"cannot be opened.*upgrade"):
            decode_store_file(json.dumps({**facts, **news}).encode())


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"[]", b"\xff", b"null", b"[" * 60_000, b'{"agentfs": "store"}',
     b'{"agentfs": "store", "format": true}',
     b'{"agentfs": "store", "format": 1, "created": "now"}', b" " * 70_000],
    ids=range(10),
)  # fmt: skip
def test_what_is_not_a_store_file(data: bytes) -> None:
    with pytest.raises(Corrupt):
        decode_store_file(data)
